"""Captures as a live port, compiled: frames from an index in the window, frames into a buffer there.

The file is read once, at open; its frames lie in the window and are nobody's chunk, and an entry of 24 bytes tells of
each. Ready descriptors to copy were as fast with few frames, and slower with 100,000, where 128 bytes a frame come from
memory. A transmit copies bytes into a ring of records, which `pcap_drain` hands to the writer as a batch. One thread
transmits into a row, one drains it.
"""

import numpy as np

from pktpath.batch import FRAMES
from pktpath.jit import inlined, kernel
from pktpath.nic.clock import monotonic
from pktpath.pool import NO_CHUNK
from pktpath.port.fresh_frame import fresh_frame, no_offload
from pktpath.port.rows import row_type
from pktpath.port.shared_ring import note_kept, ring_keep, ring_take
from pktpath.port.shared_words import load_word, store_word
from pktpath.wire.load import copy_between

PCAP_ROW = row_type(
    "index",  # rx: address of the first of `frame_count` entries
    "frame_count",
    "position",  # rx: the next one
    "endless",
    "passes",  # rx: times that the whole file was sent
    "pps",  # rx: frames a second; 0: as fast as they are asked for
    "started",  # rx: nanoseconds (monotonic) at which `paced` was 0
    "paced",
    "ring",  # tx: address of the ring of records; 0: discard
    "room",  # tx: bytes of its records
    "epoch",  # tx: what to add to the monotonic clock for the time of day
)
ENTRY = 24
"""Bytes that tell of a frame: its address; length and length on the wire, 32 bits each; nanoseconds."""
FRAME_ALIGN = 64
"""A frame in the window starts at a cache line."""
_SECOND = 1_000_000_000


@inlined
def _allowed(row, budget, scratch):
    """Frames that the rate allows now, at most `budget`."""
    now = monotonic(scratch.chunks[0])
    if row.started == 0:
        row.started = now
    owed = min(now - row.started, 2 * _SECOND) * row.pps // _SECOND - row.paced
    if owed > budget:
        # Nobody asked for a while: what was not sent then is not made up for in one burst.
        row.paced += owed - budget
        owed = budget
    row.paced += owed
    if now - row.started > _SECOND:
        # Begin to count anew before the product grows large, and keep the part of a frame that is owed.
        row.started += row.paced * _SECOND // row.pps
        row.paced = 0
        if now - row.started > _SECOND:
            row.started = now
    return owed


@kernel
def pcap_store(batch, target, entry, at):
    """Copy the frames of a batch of a capture to `at` in `target`, and tell of each in `entry`; return the next `at`."""
    for i in range(batch.used[FRAMES]):
        frame = batch.frames[i]
        length = np.int64(frame.head_len)
        copy_between(target, at, batch.pool.mem, frame.head_addr, length)
        store_word(target, entry, at)
        store_word(target, entry + 8, length << 32 | np.int64(frame.wire_len))
        store_word(target, entry + 16, frame.timestamp)
        entry += ENTRY
        at += length + FRAME_ALIGN - 1 & -FRAME_ALIGN
    return at


@inlined
def _fill(frame, mem, entry, in_port, i):
    """Write the descriptor that an entry tells of; return its bytes."""
    lengths = load_word(mem, entry + 8)
    length = lengths >> 32
    frame.head_addr = load_word(mem, entry)
    frame.head_len = length
    frame.head_chunk = NO_CHUNK
    frame.frame_len = length
    frame.frag_first = 0
    frame.frag_count = 0
    frame.wire_len = lengths & 0xFFFFFFFF
    fresh_frame(frame, in_port, i)
    no_offload(frame)
    frame.timestamp = load_word(mem, entry + 16)
    return length


@kernel
def pcap_receive(queues, row, batch, budget, scratch):
    """Append up to `budget` frames of the capture to `batch`; return how many.

    Frames are read-only (`NO_CHUNK`), `wire_len` is more than `frame_len` where a snaplen cut them, timestamps are the
    capture's. A capture that is not endless gives nothing once it is through.
    """
    own = queues.pcap[row]
    n = batch.used[FRAMES]
    budget = min(budget, len(batch.frames) - n)
    if own.pps:
        budget = _allowed(own, budget, scratch)
    mem = batch.pool.mem
    count = own.frame_count
    in_port = own.in_port
    got = size = 0
    while got < budget:
        position = own.position
        if position == count:
            if own.endless == 0 or count == 0:
                break
            position = 0
        run = min(count - position, budget - got)
        entry = own.index + position * ENTRY
        for i in range(n + got, n + got + run):
            size += _fill(batch.frames[np.uint64(i)], mem, entry, in_port, i)
            entry += ENTRY
        got += run
        position += run
        if position == count:
            own.passes += 1
        own.position = position
    batch.used[FRAMES] = n + got
    own.rx_packets += got
    own.rx_bytes += size
    return got


@kernel
def pcap_give_back(queues, row):
    """Nothing to return: the bytes of a capture stay where they are."""


@kernel
def pcap_transmit(queues, row, batch, order, first, last, scratch):
    """Copy frames `order[first:last]` into the row's buffer, or discard them where it has none; return how many were taken.

    A frame with a timestamp keeps it, another gets the time of day. A full buffer takes no more: ENOBUFS.
    """
    own = queues.pcap[row]
    if own.ring:
        now = monotonic(scratch.chunks[0]) + own.epoch
        taken, size = ring_keep(own.ring, own.room, batch, order, first, last, now)
    else:
        taken = last - first
        size = 0
        for at in range(first, last):
            size += batch.frames[np.uint64(order[np.uint64(at)])].frame_len
    return note_kept(own, last - first, taken, size)


@kernel
def pcap_drain(rows, row, batch, head):
    """Put frames of a row's buffer from `head` on into an empty batch over the same memory; return the new head.

    The frames' bytes stay where they are until the head is stored.
    """
    own = rows[row]
    head, _, _ = ring_take(own.ring, own.room, batch, head, len(batch.frames), 0)
    return head
