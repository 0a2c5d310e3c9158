"""What the compiled scans of both formats share: their state, the interface table, a new descriptor."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pktpath.batch import FRAMES, copy_descriptor
from pktpath.jit import inlined, kernel
from pktpath.pool import NO_CHUNK
from pktpath.port.fresh_frame import no_offload
from pktpath.wire.load import copy_between

POSITION, CODE, NEED, PROBLEM, CLAIM, ODD, NEXT = 0, 1, 2, 3, 4, 5, 6
"""Index into the state of a scan: address of the first byte not taken; why it stopped there; bytes
that the record there needs; which field lies and what it claims; records whose fraction of a second
is one or more, or whose options are malformed; where the next frame's bytes go in a carry."""
STATE_LENGTH = 8

FULL, MORE, BLOCK, SECTION, BAD = 0, 1, 2, 3, 4
"""Why a scan stopped: the batch is full, the window ends, a block that is no packet (or a section
header) stands there, a field lies."""

BAD_CAPTURED, BAD_ORIGINAL, BAD_TOTAL, BAD_TRAILER, BAD_INTERFACE, BAD_MAGIC = 0, 1, 2, 3, 4, 5
PROBLEMS = ("captured length", "original length", "block total length", "second block total length", "interface id",
            "byte-order magic")  # fmt: skip


class InterfaceTable(NamedTuple):
    """What the scans need to know of each interface, as columns."""

    rate: NDArray[np.uint64]
    """Ticks per second, 0 where unknown."""
    offset: NDArray[np.int64]
    """Seconds to add."""
    link: NDArray[np.uint8]
    snaplen: NDArray[np.int64]
    big: NDArray[np.bool_]


@inlined
def new_frame(batch, i, address, captured, original):
    """Start descriptor `i`: one linear run of read-only bytes that no stage has looked at."""
    frame = batch.frames[i]
    frame.head_addr = address
    frame.head_len = captured
    frame.head_chunk = NO_CHUNK
    frame.frag_first = 0
    frame.frag_count = 0
    frame.frame_len = captured
    frame.wire_len = original
    frame.hash = 0
    frame.vlan_tci = 0
    frame.vlan_proto = 0
    frame.payload_sum = -1
    no_offload(frame)
    frame.reason = 0
    frame.origin = i


@kernel
def carry(source, first, last, target, state, move):
    """Make frames `first` to `last` of `source` the first ones of `target`.

    With `move` their bytes and options go to `state[NEXT]` of the target's window, which must not
    overlap where they are.
    """
    at = state[NEXT]
    for i in range(first, last):
        j = i - first
        copy_descriptor(source, i, target, j)
        target.frames[j].frag_first = 0
        target.frames[j].frag_count = 0
        target.frames[j].origin = j
        if move:
            length = np.int64(source.frames[i].head_len)
            copy_between(target.pool.mem, at, source.pool.mem, source.frames[i].head_addr, length)
            target.frames[j].head_addr = at
            at += length
            length = np.int64(source.frames[i].option_len)
            copy_between(target.pool.mem, at, source.pool.mem, source.frames[i].option_addr, length)
            target.frames[j].option_addr = at
            at += length
    state[NEXT] = at
    source.used[FRAMES] = first
    target.used[FRAMES] = last - first


@inlined
def poll_end(batch, first, last, poll, gap):
    """Index after the last frame of the poll that begins at `first`: `poll` frames, or a pause above `gap` ns."""
    end = min(first + poll, last)
    for i in range(first + 1, end):
        if batch.frames[i].timestamp - batch.frames[i - 1].timestamp > gap:
            return i
    return end


@kernel
def last_poll_end(batch, poll, gap):
    """Index after the last poll of a batch that no later frame can join."""
    first = 0
    last = batch.used[FRAMES]
    while first < last:
        end = poll_end(batch, first, last, poll, gap)
        if end == last and end - first < poll:
            break
        first = end
    return first
