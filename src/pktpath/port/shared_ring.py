"""A ring of frames in the window, from one thread to another: descriptors and bytes, in order, without a lock.

It begins with two words, each in a cache line of its own: bytes of records taken by the reader so far, and put by the
writer. A record is the frame's length, its descriptor and its bytes, gathered; it is never cut in two: where the end of
the room is too near, a mark says so.
"""

import errno as codes

import numpy as np

from pktpath.batch import FRAMES
from pktpath.jit import inlined, kernel
from pktpath.pool import NO_CHUNK
from pktpath.port.shared_words import DESCRIPTOR_BYTES, keep_descriptor, load_word, store_word, take_descriptor
from pktpath.wire.load import copy_bytes

HEAD, TAIL, RECORDS = 0, 64, 128
"""Offsets in a ring: the reader's word, the writer's, the first record."""
RECORD_HEADER = 8 + DESCRIPTOR_BYTES
_WRAP = -1


@kernel
def ring_keep(ring, room, batch, order, first, last, now):
    """Copy frames `order[first:last]` into the ring at address `ring` with `room` bytes (a multiple of 8) of records.

    A frame without a timestamp gets `now`. Returns how many found room, and their bytes.
    """
    mem = batch.pool.mem
    head = load_word(mem, ring + HEAD)
    tail = load_word(mem, ring + TAIL)
    size = np.int64(0)
    at = first
    while at < last:
        i = order[at]
        length = np.int64(batch.frames[i].frame_len)
        need = _record_bytes(length)
        rest = room - tail % room
        skip = 0 if need <= rest else rest
        if tail + skip + need - head > room:
            break
        if skip:
            store_word(mem, ring + RECORDS + tail % room, _WRAP)
            tail += skip
        _put(mem, ring + RECORDS + tail % room, batch, i, length, now)
        tail += need
        size += length
        at += 1
    store_word(mem, ring + TAIL, tail)
    return at - first, size


@inlined
def note_kept(own, asked, taken, size):
    """Count in a port's row how many frames, of those that were asked for, a ring has kept, and their bytes; return how many."""
    own.errno = 0 if taken == asked else codes.ENOBUFS
    own.tx_packets += taken
    own.tx_bytes += size
    own.tx_refused += asked - taken
    return taken


@inlined
def ring_take(ring, room, batch, head, budget, in_port):
    """Append up to `budget` frames from `head` on; return the new head, how many they are, and their bytes.

    The frames are read-only and stay where they are until the head is stored.
    """
    mem = batch.pool.mem
    tail = load_word(mem, ring + TAIL)
    n = batch.used[FRAMES]
    end = min(n + budget, len(batch.frames))
    start = n
    size = np.int64(0)
    while head < tail and n < end:
        at = ring + RECORDS + head % room
        length = load_word(mem, at)
        if length == _WRAP:
            head += room - head % room
            continue
        take_descriptor(batch.frames, n, mem, at + 8)
        frame = batch.frames[n]
        frame.head_addr = at + RECORD_HEADER
        frame.head_len = length
        frame.head_chunk = NO_CHUNK
        frame.frame_len = length
        frame.frag_first = 0
        frame.frag_count = 0
        frame.wire_len = max(np.int64(frame.wire_len), length)
        frame.option_len = 0
        frame.in_port = in_port
        frame.origin = n
        head += _record_bytes(length)
        size += length
        n += 1
    batch.used[FRAMES] = n
    return head, n - start, size


@inlined
def _record_bytes(length):
    return RECORD_HEADER + (length + 7 & -8)


@inlined
def _put(mem, at, batch, i, length, now):
    frame = batch.frames[i]
    before = np.int64(frame.timestamp)
    if before == 0:
        frame.timestamp = now
    keep_descriptor(mem, at + 8, batch.frames, i)
    frame.timestamp = before
    _gather(batch, i, at + RECORD_HEADER)
    store_word(mem, at, length)


@inlined
def _gather(batch, i, at):
    """Copy the bytes of frame `i`, its head and its fragments, to `at`."""
    mem = batch.pool.mem
    frame = batch.frames[i]
    length = np.int64(frame.head_len)
    copy_bytes(mem, at, frame.head_addr, length)
    at += length
    first = np.int64(frame.frag_first)
    for row in range(first, first + np.int64(frame.frag_count)):
        length = np.int64(batch.frag_len[row])
        copy_bytes(mem, at, batch.frag_addr[row], length)
        at += length
