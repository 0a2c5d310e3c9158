"""Mutated captures through the real reader, in windows that end at a page nobody may touch. Run as a program.

Each file is also read by the naive reader; both must find the same frames and the same end.
Usage: python -m support.fuzz_captures SEED FILES. Prints how many files ended in which way.
"""

import ctypes
import io
import mmap
import random
import struct
import sys
from collections import Counter

import numpy as np

from pktpath.pool import make_pool
from pktpath.port import capture_window
from support import naive_capture as naive
from support.captures import contents_of

WINDOW = 4096

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def guarded_pool(*, window, header, normal):
    """A pool that is all window, the page behind which faults."""
    assert header == normal == 0
    area = mmap.mmap(-1, window + mmap.PAGESIZE)
    mem = np.frombuffer(area, np.uint8)
    if _libc.mprotect(mem.ctypes.data + window, mmap.PAGESIZE, 0):
        raise OSError(ctypes.get_errno(), "mprotect")
    return make_pool(window=window, header=0, mem=mem[:window])


def seeds() -> list[bytes]:
    frames = [naive.Frame(bytes(range(1, k + 1)), k + (k & 1), 10**9 + k, k % 2) for k in (0, 1, 14, 60, 200)]
    frames.append(
        naive.Frame(bytes.fromhex("00000000000000000000000008004500001c00010000401100000a0000010a000002") + bytes(8), 42, 5)
    )
    found = [naive.pcap_file(frames, order=order, nanoseconds=ns) for order in "<>" for ns in (False, True)]
    for order in "<>":
        options = naive.option(1, b"comment", order) + naive.option(2, bytes(4), order) + naive.option(2989, b"1234567", order)
        part = (
            naive.section(order)
            + naive.interface(order, resolution=9)
            + naive.interface(order, resolution=0x8A, offset=3, linktype=101)
        )
        part += b"".join(naive.packet(frame, order, raw_options=options if frame.wire_len & 4 else b"") for frame in frames)
        part += naive.block(5, struct.pack(order + "III", 0, 1, 2), order)
        part += naive.block(3, struct.pack(order + "I", 5) + b"plain", order)
        part += naive.block(2, struct.pack(order + "HH4I", 1, 0, 1, 2, 3, 3) + b"old\0", order)
        found.append(part)
    found.append(found[-1] + found[-2])
    return found


def mutated(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(4, len(out))
        kind = rng.randrange(5)
        if kind == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            out[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == 2:
            at &= ~3
            out[at : at + 4] = struct.pack(
                rng.choice("<>") + "I", rng.choice((0, 3, 12, 28, 32, 2**26, 2**26 + 1, 2**31, 2**32 - 1))
            )
        elif kind == 3:
            del out[at : at + rng.randrange(1, 9)]
        else:
            del out[at:]
        if len(out) < 28:
            break
    return bytes(out)


def stretched(data: bytes) -> bytes:
    """The file with one more frame or block in front, so that it ends where the window ends."""
    room = WINDOW - len(data)
    if data[:4] == b"\x0a\x0d\x0d\x0a":
        order = ">" if data[8:12] == b"\x1a\x2b\x3c\x4d" else "<"
        return data[:28] + naive.block(0x0BAD, bytes((room - 12) & ~3), order) + data[28:]
    order = "<" if struct.unpack("<I", data[:4])[0] in naive.MAGICS else ">"
    return data[:24] + struct.pack(order + "4I", 1, 2, room - 16, room - 16) + bytes(room - 16) + data[24:]


def main(seed: int, files: int) -> None:
    capture_window.make_pool = guarded_pool
    rng = random.Random(seed)
    originals = seeds()
    ends = Counter()
    for k in range(files):
        data = mutated(rng, rng.choice(originals))
        if len(data) < 28:
            continue
        data = stretched(data)
        try:
            expected = naive.read(data)
        except (KeyError, OverflowError):
            continue  # the magic number went: not a capture any more
        align = rng.choice((None, (2, 10**6)))
        found, lines = contents_of(
            io.BytesIO(data), window=WINDOW, header_chunks=0, batch_size=rng.choice((2, 7, 64)), align=align
        )
        for frame in found.frames + expected.frames:
            frame.nanoseconds = 0
        assert found.items == expected.items, (seed, k, lines, data.hex())
        assert found.end == expected.end, (seed, k, found.end, expected.end, lines, data.hex())
        assert all(line.count("\n") == 0 for line in lines)
        assert found.end == "whole" or "offset" in lines[0], lines
        ends[found.end] += 1
    print(*(f"{end} {count}" for end, count in sorted(ends.items())))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
