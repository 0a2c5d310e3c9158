"""Numbers of either byte order in capture files, and the time that ticks stand for."""

import numpy as np

from pktpath.jit import inlined
from pktpath.wire.load import load16, load32, store32, word32

_SECOND = 1_000_000_000


@inlined
def swap16(value):
    """Turn the two bytes of a 16-bit value around."""
    return (value & 0xFF) << 8 | value >> 8 & 0xFF


@inlined
def swap32(value):
    """Turn the four bytes of a 32-bit value around."""
    return (value & 0xFF) << 24 | (value & 0xFF00) << 8 | value >> 8 & 0xFF00 | value >> 24 & 0xFF


@inlined
def get16(mem, at, big):
    """16-bit value in the file's byte order."""
    value = load16(mem, at)
    return value if big else swap16(value)


@inlined
def get32(mem, at, big):
    """32-bit value in the file's byte order."""
    return load32(mem, at) if big else word32(mem, at)


@inlined
def put32(mem, at, value, big):
    """Store the low 32 bits of a value in the file's byte order."""
    store32(mem, at, value if big else swap32(value))


@inlined
def ticks_to_ns(ticks, rate, offset):
    """Nanoseconds of a count of ticks at `rate` a second (0: unknown) with `offset` seconds added.

    Rounds down; exact for every rate below 2^60.
    """
    if rate == np.uint64(0):
        return np.int64(0)
    second = np.uint64(_SECOND)
    if rate <= second and second % rate == np.uint64(0):
        return np.int64(ticks * (second // rate)) + offset * _SECOND
    seconds = np.int64(ticks // rate)
    rest = ticks % rate
    if rate >= np.uint64(1 << 60):  # ten times the rest must fit into 64 bits
        rest >>= np.uint64(4)
        rate >>= np.uint64(4)
    ns = np.int64(0)
    for _ in range(9):
        rest *= np.uint64(10)
        ns = ns * 10 + np.int64(rest // rate)
        rest %= rate
    return (seconds + offset) * _SECOND + ns


@inlined
def ns_to_ticks(ns, rate, offset):
    """Ticks at `rate` a second of a time in nanoseconds; rounds down, times before the offset are 0."""
    seconds = ns // _SECOND - offset
    if seconds < 0:
        return np.uint64(0)
    second = np.uint64(_SECOND)
    rest = np.uint64(ns % _SECOND)
    fine = rest * (rate // second) + rest * (rate % second) // second
    return np.uint64(seconds) * rate + fine
