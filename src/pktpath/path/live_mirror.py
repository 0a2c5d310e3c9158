"""Copies of frames for whoever watches: a ring of records from each worker to Python, without a lock.

A record is a header of eight 64-bit words and the bytes of the frame, padded to a word. What finds no room is
counted and not copied: watching never holds frames up.
"""

from collections.abc import Iterator
from enum import IntFlag
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pktpath.jit import inlined, kernel
from pktpath.wire import ethernet
from pktpath.wire.load import copy_between

RING = 1 << 23
_HEADER = 64
_WRAP = -1
_READ, _WRITTEN, _DROPPED, _WANTED = 0, 1, 2, 3


class At(IntFlag):
    """Where frames are watched."""

    WIRE_IN = 1
    """As the port gave them, before GRO."""
    DATAPATH = 2
    """As the datapath looks them up."""
    WIRE_OUT = 4
    """As they are handed to the port, after GSO."""


WIRE_IN, DATAPATH, WIRE_OUT = (int(at) for at in At)


class Mirror(NamedTuple):
    """The ring of one worker."""

    mem: NDArray[np.uint8]
    """(RING,) bytes of records."""
    words: NDArray[np.int64]
    """(RING / 8,) the same as words."""
    state: NDArray[np.int64]
    """(4,) bytes read, bytes written, frames that found no room, `At` bits that somebody wants."""


class Watched(NamedTuple):
    """One copied frame."""

    at: At
    port: int
    time_ns: int
    """Nanoseconds of the monotonic clock."""
    wire_len: int
    gso_size: int
    gso_segs: int
    frame: bytes


def make_mirror() -> Mirror:
    """Return an empty ring that nobody wants filled; it costs memory when somebody does."""
    mem = np.zeros(RING, np.uint8)
    return Mirror(mem, mem.view(np.int64), np.zeros(4, np.int64))


@inlined
def watch(mirror, batch, i, at, port, now):
    """Copy frame `i` of a batch into the ring."""
    frame = batch.frames[i]
    length = np.int64(frame.frame_len)
    needed = _HEADER + (length + 7 & -8)
    written = mirror.state[_WRITTEN]
    offset = written & (RING - 1)
    skip = RING - offset if RING - offset < needed else np.int64(0)
    if written + skip + needed - mirror.state[_READ] > RING:
        mirror.state[_DROPPED] += 1
        return
    if skip > 0:
        mirror.words[offset >> 3] = _WRAP
        offset = np.int64(0)
    word = offset >> 3
    mirror.words[word] = length
    mirror.words[word + 1] = at
    mirror.words[word + 2] = port
    mirror.words[word + 3] = now
    mirror.words[word + 4] = frame.wire_len
    mirror.words[word + 5] = frame.gso_size
    mirror.words[word + 6] = frame.gso_segs
    mirror.words[word + 7] = np.int64(frame.vlan_proto) << 16 | frame.vlan_tci
    target = offset + _HEADER
    copy_between(mirror.mem, target, batch.pool.mem, frame.head_addr, np.int64(frame.head_len))
    target += np.int64(frame.head_len)
    for row in range(frame.frag_first, frame.frag_first + frame.frag_count):
        copy_between(mirror.mem, target, batch.pool.mem, batch.frag_addr[row], np.int64(batch.frag_len[row]))
        target += np.int64(batch.frag_len[row])
    mirror.state[_WRITTEN] = written + skip + needed


@inlined
def wanted(mirror, at):
    """Whether somebody watches there."""
    return mirror.state[_WANTED] & at != 0


@kernel
def watch_all(mirror, batch, first, last, at, now):
    """Copy frames `first` to `last` (excluded), each as one of the port that it came from."""
    for i in range(first, last):
        watch(mirror, batch, i, at, np.int64(batch.frames[i].in_port), now)


@kernel
def watch_listed(mirror, batch, order, first, last, port, now):
    """Copy frames `order[first:last]` as sent by a port."""
    for nth in range(first, last):
        watch(mirror, batch, order[nth], WIRE_OUT, port, now)


def want(mirror: Mirror, at: At) -> None:
    """Say what is watched; nothing with 0."""
    mirror.state[_WANTED] = int(at)


def dropped(mirror: Mirror) -> int:
    """Return how many frames found no room so far."""
    return int(mirror.state[_DROPPED])


def watched(mirror: Mirror) -> Iterator[Watched]:
    """Take out the records that are there, tags back in their places."""
    written = int(mirror.state[_WRITTEN])
    while int(mirror.state[_READ]) < written:
        read = int(mirror.state[_READ])
        offset = read & (RING - 1)
        word = offset >> 3
        if int(mirror.words[word]) == _WRAP:
            mirror.state[_READ] = read + RING - offset
            continue
        length, at, port, now, wire_len, gso_size, gso_segs, tag = mirror.words[word : word + 8].tolist()
        frame = mirror.mem[offset + _HEADER : offset + _HEADER + length].tobytes()
        if tag >> 16:
            frame = frame[: ethernet.ETHERTYPE] + tag.to_bytes(ethernet.TAG_LENGTH, "big") + frame[ethernet.ETHERTYPE :]
            wire_len += ethernet.TAG_LENGTH
        mirror.state[_READ] = read + _HEADER + (length + 7 & -8)
        yield Watched(At(at), port, now, wire_len, gso_size, gso_segs, frame)
