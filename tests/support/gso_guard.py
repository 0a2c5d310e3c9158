"""Fuzz parse and segmentation over frames that end at a page which nobody may touch.

A program of its own, because a load beyond the end kills the process: `python -m support.gso_guard
ROUNDS SEED` prints how often each outcome came, as JSON.
"""

import ctypes
import json
import mmap
import random
import sys
from collections import Counter

import numpy as np

from pktpath.batch import FRAGS, FRAMES, GSO_UDP, frame_bytes, make_batch, release
from pktpath.features import Feature
from pktpath.offload.gso import gso_segment
from pktpath.offload.reason import Reason
from pktpath.offload.rules import RULES
from pktpath.pool import NO_CHUNK, make_pool, pool_bytes
from pktpath.wire.parse import parse
from support.gso_frames import assert_all_free, random_super

SLOTS, SLOT = 16, 8192
CHUNKS = {"header": 600, "normal": 400, "large": 8}
TYPES = (0, 1, 1 << 2, 1 << 3, 1 << 4, 1 << 13, 1 << 16, 1 << 17, 1 << 19, 1 << 9)


def guarded_pool():
    """Return a pool whose memory ends in slots, each followed by a page without any right, and the slots' ends."""
    start = -(-pool_bytes(**CHUNKS) // mmap.PAGESIZE) * mmap.PAGESIZE
    area = mmap.mmap(-1, start + SLOTS * (SLOT + mmap.PAGESIZE))
    mem = np.frombuffer(area, np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    ends = []
    for slot in range(SLOTS):
        end = start + slot * (SLOT + mmap.PAGESIZE) + SLOT
        if libc.mprotect(ctypes.c_void_p(mem.ctypes.data + end), ctypes.c_size_t(mmap.PAGESIZE), 0):
            raise OSError(ctypes.get_errno(), "mprotect")
        ends.append(end)
    return make_pool(mem=mem, **CHUNKS), ends


def mutate(rng, frame):
    """Return the frame's bytes with some of the headers changed, perhaps cut short."""
    data = bytearray(frame.data[: SLOT - 200])
    for _ in range(rng.choice((0, 0, 1, 1, 2, 8))):
        at = rng.randrange(min(len(data), frame.payload_at + 8))
        data[at] = rng.choice((0, 255, data[at] ^ 1 << rng.randrange(8), rng.randrange(256)))
    if rng.random() < 0.15:
        del data[rng.randrange(len(data) + 1) :]
    return bytes(data)


def place(rng, batch, i, frame, data, end):
    """Put a frame so that its last byte, or that of its head, is the last before the guard."""
    batch.head_addr[i] = end - len(data)
    batch.pool.mem[end - len(data) : end] = np.frombuffer(data, np.uint8)
    head = len(data)
    batch.frag_first[i] = batch.used[FRAGS]
    batch.frag_count[i] = 0
    if rng.random() < 0.4 and len(data) > frame.payload_at:
        head = rng.randrange(frame.payload_at, len(data))
        row = int(batch.used[FRAGS])
        batch.frag_addr[row], batch.frag_len[row], batch.frag_chunk[row] = end - (len(data) - head), len(data) - head, NO_CHUNK
        if rng.random() < 0.5:
            # The head at the guard, the rest before it.
            batch.pool.mem[end - len(data) : end] = np.frombuffer(data[head:] + data[:head], np.uint8)
            batch.frag_addr[row], batch.head_addr[i] = end - len(data), end - head
        batch.frag_count[i] = 1
        batch.used[FRAGS] = row + 1
    batch.head_len[i] = head
    batch.frame_len[i] = len(data)
    batch.wire_len[i] = len(data) + (rng.choice((1, 60, 100_000)) if rng.random() < 0.05 else 0)
    batch.head_chunk[i] = NO_CHUNK
    batch.link[i] = frame.link
    wild = rng.random() < 0.3
    batch.gso_size[i] = rng.choice((0, 1, 7, 8, 536, 65535, 2**31 - 1, -1)) if wild else frame.gso_size
    batch.gso_type[i] = rng.choice(TYPES) | rng.choice(TYPES) if rng.random() < 0.2 else frame.gso_type
    batch.ip_summed[i] = rng.randrange(4)
    batch.csum_start[i] = rng.choice((0, -1, 65535, 2**31 - 1, len(data), len(data) - 2)) if wild else frame.transport_at
    batch.csum_offset[i] = rng.choice((0, -1, 65535, 2**31 - 1)) if rng.random() < 0.1 else frame.field
    batch.origin[i] = i


def fuzz(rounds, seed):
    """Run this many frames; return a Counter of outcomes."""
    rng = random.Random(seed)
    pool, ends = guarded_pool()
    batch, out = make_batch(pool, SLOTS), make_batch(pool, 600, 1200)
    seen = Counter()
    features = [sum(rng.sample([int(f) for f in Feature], rng.randrange(8))) for _ in range(30)]
    features += [0, int(Feature.SG), int(Feature.SG | Feature.HW_CSUM | Feature.GSO_PARTIAL)]
    for first in range(0, rounds, SLOTS):
        if first % (SLOTS * 8) == 0:
            frames = [random_super(rng, links=True, small=True) for _ in range(SLOTS)]
        sources = [mutate(rng, frame) for frame in frames]
        for i, (frame, data, end) in enumerate(zip(frames, sources, ends, strict=True)):
            place(rng, batch, i, frame, data, end)
        batch.used[FRAMES] = SLOTS
        parse(batch, 0, SLOTS)
        following, port, rules = 0, rng.choice(features), RULES[rng.choice(list(RULES))]
        while following < SLOTS:
            before = following
            following = gso_segment(batch, following, out, port, rules)
            assert following > before
            check(out, sources, seen)
            release(out)
        assert batch.used[FRAMES] == 0
        assert_all_free(pool)
    return seen


def check(out, sources, seen):
    """Every refused frame is as it was; every outcome is counted."""
    count = int(out.used[FRAMES])
    seen["frames out"] += count
    _, counts = np.unique(out.origin[:count], return_counts=True)
    seen["cut"] += int((counts > 1).sum())
    seen["ufo"] += int(((out.gso_type[:count] & GSO_UDP) > 0).sum())
    for j in range(count):
        reason = Reason(int(out.reason[j]))
        if reason:
            seen[reason.word] += 1
            assert frame_bytes(out, j) == sources[out.origin[j]]


if __name__ == "__main__":
    print(json.dumps(fuzz(int(sys.argv[1]), int(sys.argv[2]))))
