"""Mutated frames that end at a page nobody may touch, through verify, complete and reassemble.

Run as a program, for a touch ends the process: fuzz_checksum ROUNDS SEED. Prints what was reached.
"""

import ctypes
import mmap
import random
import sys
from collections import Counter

import numpy as np

from pktpath.batch import FRAMES, make_batch, release
from pktpath.offload.checksum import ChecksumState, classify, complete, verify
from pktpath.offload.reason import Reason
from pktpath.offload.reassembly import make_reassembly_table, reassemble
from pktpath.pool import NO_CHUNK, make_pool, pool_bytes
from pktpath.wire.parse import parse
from support.checksum_frames import mutated, random_frame
from support.fragment_frames import hostile_stream

PAGE = mmap.PAGESIZE
SLOT = 20 * PAGE
COUNT = 32
SHAPE = {"window": SLOT * COUNT, "header": 2 * COUNT, "normal": 4}


def guarded_pool():
    """Return a pool whose window has a closed page at the end of each slot."""
    area = mmap.mmap(-1, pool_bytes(**SHAPE))
    start = ctypes.addressof(ctypes.c_char.from_buffer(area))
    libc = ctypes.CDLL(None, use_errno=True)
    for slot in range(COUNT):
        address = start + (slot + 1) * SLOT - PAGE
        if libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(PAGE), 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    return make_pool(**SHAPE, mem=np.frombuffer(area, np.uint8))


def place(batch, frames, rng):
    """Put each frame right before a closed page."""
    release(batch)
    for i, frame in enumerate(frames):
        end = (i + 1) * SLOT - PAGE
        batch.pool.mem[end - len(frame) : end] = np.frombuffer(frame, np.uint8)
        batch.head_addr[i] = end - len(frame)
        batch.head_len[i] = batch.frame_len[i] = len(frame)
        batch.wire_len[i] = len(frame) + (rng.randrange(100) if rng.random() < 0.1 else 0)
        batch.timestamp[i] = i * rng.choice((1, 10**10))
    for column, value in (
        (batch.head_chunk, NO_CHUNK),
        (batch.frag_count, 0),
        (batch.link, 1),
        (batch.payload_sum, -1),
        (batch.ip_summed, 0),
    ):
        column[:] = value
    batch.used[FRAMES] = len(frames)
    parse(batch, 0, len(frames))


def main(rounds, seed):
    rng = random.Random(seed)
    pool = guarded_pool()
    batch, out = make_batch(pool, COUNT), make_batch(pool, COUNT)
    batch.origin[:] = np.arange(COUNT)
    table = make_reassembly_table(COUNT)
    transport, header = np.zeros(COUNT, np.uint8), np.zeros(COUNT, np.uint8)
    reached = Counter()
    chunks = int(pool.free_count.sum())
    for _ in range(0, rounds, 2 * COUNT):
        frames = [mutated(random_frame(rng), rng) for _ in range(COUNT)]
        place(batch, frames, rng)
        classify(batch, 0, COUNT, transport, header)
        reached.update(ChecksumState(state).name for state in transport)
        batch.payload_sum[:] = -1
        verify(batch, 0, COUNT)
        complete(batch, 0, COUNT, bool(rng.getrandbits(1)))
        frames = [mutated(frame, rng) if rng.random() < 0.3 else frame for frame in hostile_stream(rng, 8)[0][:COUNT]]
        place(batch, frames, rng)
        reassemble(batch, out, table)
        release(out)
        assert int(pool.free_count.sum()) == chunks, "a chunk was lost"
    reached.update({Reason(k).name: int(count) for k, count in enumerate(table.counts) if count})
    print(dict(reached))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
