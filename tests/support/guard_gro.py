"""Mutated frames through parse and GRO, each ending where reading ends: a load beyond a frame is a SIGSEGV."""

import ctypes
import mmap
import random

import numpy as np

from pktpath.batch import make_batch
from pktpath.offload.gro import DEFAULT_FEATURES, UNLIMITED, gro_flush, gro_receive, make_gro_table
from pktpath.offload.reason import REASONS, Reason
from pktpath.offload.rules import RULES
from pktpath.pool import make_pool
from pktpath.wire.link import Link
from pktpath.wire.parse import parse
from support.hostile import hostile_round

SLOTS = 64
SPAN = 4 * mmap.PAGESIZE
"""Three pages for a frame, one that may not be touched."""
MOST = SPAN - mmap.PAGESIZE
_PROT_NONE = 0


class Guarded:
    """A batch of SLOTS frames in a window where each ends at a page without access."""

    def __init__(self) -> None:
        window = SLOTS * SPAN
        memory = mmap.mmap(-1, window + 64 * 256)
        self.mem = np.frombuffer(memory, np.uint8)
        libc = ctypes.CDLL(None, use_errno=True)
        for slot in range(SLOTS):
            page = self.mem.ctypes.data + slot * SPAN + MOST
            if libc.mprotect(ctypes.c_void_p(page), mmap.PAGESIZE, _PROT_NONE):
                raise OSError(ctypes.get_errno(), "mprotect")
        pool = make_pool(window=window, header=64, mem=self.mem)
        self.batch = make_batch(pool, SLOTS)
        self.batch.head_chunk[:] = -1
        self.batch.gso_segs[:] = 1
        self.batch.origin[:] = np.arange(SLOTS)

    def put(self, frames: list[bytes], links: list[int]) -> None:
        """Place frames, each at the end of its slot, and parse them."""
        for i, frame in enumerate(frames):
            at = i * SPAN + MOST - len(frame)
            self.mem[at : at + len(frame)] = np.frombuffer(frame, np.uint8)
            self.batch.head_addr[i] = at
            for column in (self.batch.head_len, self.batch.frame_len, self.batch.wire_len):
                column[i] = len(frame)
            self.batch.link[i] = links[i]
        self.batch.payload_sum[:] = -1
        self.batch.ip_summed[:] = 0
        self.batch.used[0] = len(frames)
        parse(self.batch, 0, len(frames))


def mutated(rng: random.Random, frame: bytes) -> bytes:
    """Return a frame with bytes changed, cut or added, most of the changes in its headers."""
    data = bytearray(frame[:MOST])
    for _ in range(rng.choice((0, 1, 1, 2, 8))):
        if data:
            at = rng.randrange(min(len(data), rng.choice((20, 80, len(data)))))
            data[at] = rng.choice((0, 0xFF, rng.randrange(256), data[at] ^ 1 << rng.randrange(8)))
    if rng.random() < 0.2:
        del data[rng.randrange(len(data) + 1) :]
    return bytes(data)


def run(frames: int) -> None:
    """Send at least so many mutated frames through both kinds of table and print what became of them."""
    rng = random.Random(1)
    guarded = Guarded()
    tables = [make_gro_table(), make_gro_table(depth=UNLIMITED, frames=SLOTS)]
    out = make_batch(guarded.batch.pool, SLOTS, SLOTS)
    links = [int(link) for link in Link]
    done = 0
    while done < frames:
        odd = rng.random() < 0.2
        batch = [mutated(rng, frame) for frame in hostile_round(rng.randrange(1 << 30), SLOTS)]
        for table in tables:
            guarded.put(batch, [rng.choice(links) if odd else int(Link.ETHERNET) for _ in batch])
            # A checksum that somebody vouched for opens the way to every rule behind it.
            guarded.batch.ip_summed[:] = rng.choice((0, 1))
            gro_receive(guarded.batch, 0, len(batch), out, table, RULES["6.18"], int(DEFAULT_FEATURES), False)
            gro_flush(out, table, RULES["6.18"])
            give_back(out)
            done += len(batch)
    counts = sum(table.counts for table in tables)
    print({Reason(reason).word: int(counts[reason]) for reason in range(REASONS) if counts[reason]})


def give_back(out) -> None:
    """Free the headers of what was delivered, and empty the batch."""
    for i in range(int(out.used[0])):
        chunk = int(out.head_chunk[i])
        if chunk >= 0:
            out.pool.refs[chunk] = 0
            out.pool.free[out.pool.free_count[0]] = chunk
            out.pool.free_count[0] += 1
    out.used[:] = 0


def trip() -> None:
    """Read one byte behind a frame."""
    guarded = Guarded()
    print(guarded.mem[MOST])
