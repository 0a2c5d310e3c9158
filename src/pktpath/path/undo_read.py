"""Read undo records and prove them before anything is cut by them.

Enters: a parsed batch from a capture. Leaves: a `Plan`, one row a frame: whether its record holds
together, and where its segments' part starts. A record that contradicts itself or its frame is
left aside and counted: the frame is then cut as if there were none.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pktpath.batch import FRAMES, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4
from pktpath.jit import inlined, kernel
from pktpath.path.undo import (
    CUT,
    ENTERPRISE,
    EXPLICIT,
    GROUP_START,
    MAGIC,
    OPTION_CODE,
    OPTION_HEADER,
    PLACES,
    WITHOUT_SIGN,
    get_number,
)
from pktpath.wire import tcp, udp
from pktpath.wire.load import load8


class Plan(NamedTuple):
    """What the records of a batch say; rows are frames."""

    flags: NDArray[np.int32]
    """`CUT`, `PLACES`, `GROUP_START`, `EXPLICIT` of a proved record, 0 without one."""
    segments: NDArray[np.int32]
    """Original frames in it, 1 without a record."""
    total: NDArray[np.int64]
    """Original frames in the group that starts here, else 0."""
    gso_type: NDArray[np.uint32]
    gso_size: NDArray[np.int32]
    payload_at: NDArray[np.int64]
    """Offset in the frame at which the payload of `EXPLICIT` segments starts."""
    at: NDArray[np.int64]
    """Address of the first segment's part of the record."""
    end: NDArray[np.int64]
    """Address behind the record."""
    damaged: NDArray[np.int64]
    """(1,) records that were left aside."""


def make_plan(frames: int) -> Plan:
    """Make a plan for batches of up to so many frames."""
    return Plan(
        np.zeros(frames, np.int32),
        np.ones(frames, np.int32),
        np.zeros(frames, np.int64),
        np.zeros(frames, np.uint32),
        np.zeros(frames, np.int32),
        np.zeros(frames, np.int64),
        np.zeros(frames, np.int64),
        np.zeros(frames, np.int64),
        np.zeros(1, np.int64),
    )


@kernel
def read_records(batch, plan):
    """Fill `plan`, and take the records out of the frames' own options."""
    for i in range(batch.used[FRAMES]):
        plan.flags[i] = 0
        plan.segments[i] = 1
        plan.total[i] = 0
        if batch.frames[i].option_len == 0:
            continue
        start, end = _join_record(batch, i)
        if start == end:
            continue
        if not _prove(batch, i, plan, start, end):
            plan.flags[i] = 0
            plan.segments[i] = 1
            plan.total[i] = 0
            plan.damaged[0] += 1


@kernel
def whole_groups(batch):
    """Number of frames up to the end of the last whole group: what stands behind it waits for the rest of its group."""
    open_from = np.int64(-1)
    missing = np.int64(0)
    for i in range(batch.used[FRAMES]):
        flags, total, segments = _group_of(batch, i)
        if flags & GROUP_START:
            open_from, missing = np.int64(i), total
        if not flags & PLACES or open_from < 0:
            open_from = np.int64(-1)
            continue
        missing -= segments
        if missing <= 0:
            open_from = np.int64(-1)
    return open_from if open_from >= 0 else batch.used[FRAMES]


@inlined
def _group_of(batch, i):
    """Return (flags, total, segments) as the record of frame `i` claims, zeros without one."""
    mem = batch.pool.mem
    at = batch.frames[i].option_addr
    end = at + batch.frames[i].option_len
    while at + 4 <= end:
        length = _little(mem, at + 2, 2)
        if _is_record(mem, at, length, end):
            flags, _, total, _, _, _, segments, at = _record_head(mem, at + OPTION_HEADER, at + 4 + length)
            return (flags, total, segments) if at >= 0 else (np.int64(0), np.int64(0), np.int64(0))
        at += 4 + (length + 3 & ~3)
    return np.int64(0), np.int64(0), np.int64(0)


@inlined
def _little(mem, at, size):
    value = np.int64(0)
    for k in range(size):
        value |= load8(mem, at + k) << 8 * k
    return value


@inlined
def _is_record(mem, at, length, end):
    """Whether the option at `at`, whose value has `length` bytes, is a part of an undo record."""
    return (
        length >= OPTION_HEADER - 4
        and at + 4 + length <= end
        and _little(mem, at, 2) == OPTION_CODE
        and _little(mem, at + 4, 4) == ENTERPRISE
        and _little(mem, at + 8, 4) == MAGIC
    )


@inlined
def _join_record(batch, i):
    """Move the parts of a record together and the other options before them; returns its (start, end)."""
    frame = batch.frames[i]
    mem = batch.pool.mem
    at = frame.option_addr
    end = at + frame.option_len
    kept = at
    start = np.int64(0)
    joined = np.int64(0)
    while at + 4 <= end:
        length = _little(mem, at + 2, 2)
        padded = 4 + (length + 3 & ~3)
        if at + padded > end:
            break
        if _is_record(mem, at, length, end):
            if start == 0:
                start = joined = at + OPTION_HEADER
            for k in range(length - (OPTION_HEADER - 4)):
                mem[joined + k] = mem[at + OPTION_HEADER + k]
            joined += length - (OPTION_HEADER - 4)
        elif start == 0:
            kept = at + padded
        at += padded
    if start == 0:
        return np.int64(0), np.int64(0)
    # pktpath writes its records last; what another tool put behind them is not carried over.
    frame.option_len = kept - frame.option_addr
    return start, joined


@inlined
def _record_head(mem, at, end):
    """Read what stands before the segments; the last value is the next address, -1 when something is missing."""
    flags, at = get_number(mem, at, end)
    frame_len, at = _next(mem, at, end)
    total = gso_type = gso_size = payload_at = np.int64(0)
    if flags & GROUP_START:
        total, at = _next(mem, at, end)
    if flags & CUT:
        gso_type, at = _next(mem, at, end)
        gso_size, at = _next(mem, at, end)
    if flags & EXPLICIT:
        payload_at, at = _next(mem, at, end)
    segments, at = _next(mem, at, end)
    if flags > CUT | PLACES | GROUP_START | EXPLICIT or payload_at < 0 or segments < 1:
        at = np.int64(-1)
    return flags, frame_len, total, gso_type, gso_size, payload_at, segments, at


@inlined
def _prove(batch, i, plan, at, end):
    """Check a whole record against its frame and fill its row; False when anything is wrong."""
    frame = batch.frames[i]
    mem = batch.pool.mem
    flags, frame_len, total, gso_type, gso_size, payload_at, segments, at = _record_head(mem, at, end)
    if at < 0 or frame_len != frame.frame_len or frame_len != frame.wire_len:
        return False
    if flags & CUT and not _cut_fits(batch, i, gso_type, gso_size, segments):
        return False
    if segments > 1 and flags & (CUT | EXPLICIT) == 0:
        return False
    plan.flags[i] = flags
    plan.segments[i] = segments
    plan.total[i] = total
    plan.gso_type[i] = gso_type
    plan.gso_size[i] = gso_size
    plan.payload_at[i] = payload_at
    plan.at[i] = at
    plan.end[i] = end
    head = np.int64(frame.payload_offset)
    left = np.int64(frame.frame_len) - payload_at
    for _ in range(segments):
        place, _ticks, at = start_of_segment(mem, at, end, flags)
        if flags & EXPLICIT:
            at, used = _prove_explicit(mem, at, end)
            left -= used
        elif flags & CUT:
            at = _prove_patches(mem, at, end, head)
        if at < 0 or left < 0 or place < 0:
            return False
    return at == end and (left == 0 or not flags & EXPLICIT)


@inlined
def _cut_fits(batch, i, gso_type, gso_size, segments):
    """Whether cutting this frame by this size gives this many segments."""
    frame = batch.frames[i]
    if gso_size < 1 or frame.payload_offset == 0:
        return False
    wanted = GSO_UDP_L4
    if frame.protocol == tcp.PROTOCOL:
        wanted = GSO_TCPV4 if frame.network == 4 else GSO_TCPV6
    elif frame.protocol != udp.PROTOCOL:
        return False
    return gso_type & wanted != 0 and segments == -(-np.int64(frame.payload_len) // gso_size)


@inlined
def _next(mem, at, end):
    """Read a number that stands where the last one ended, if that one was whole."""
    if at < 0:
        return np.int64(0), np.int64(-1)
    return get_number(mem, at, end)


@inlined
def start_of_segment(mem, at, end, flags):
    """Read what every segment starts with; returns (place, folded ticks, next address or -1)."""
    place = np.int64(0)
    if flags & PLACES:
        place, at = _next(mem, at, end)
    ticks, at = _next(mem, at, end)
    return place, ticks, at


@inlined
def skip_bytes(mem, at, end):
    """Pass a length and that many bytes; returns (start, length, next address or -1)."""
    length, at = _next(mem, at, end)
    if at < 0 or length < 0 or length > end - at:
        return np.int64(0), np.int64(0), np.int64(-1)
    return at, length, at + length


@inlined
def _prove_patches(mem, at, end, head):
    """Pass the options and patches of a segment whose header has `head` bytes; next address or -1."""
    count, at = _next(mem, at, end)
    if count & 1:
        _, _, at = skip_bytes(mem, at, end)
    offset = np.int64(0)
    for _ in range(count >> 1 & WITHOUT_SIGN):
        gap, at = _next(mem, at, end)
        if at < 0 or gap < 0 or gap > head:
            return np.int64(-1)
        _, length, at = skip_bytes(mem, at, end)
        offset += gap + length
        if at < 0 or offset > head:
            return np.int64(-1)
    return at


@inlined
def _prove_explicit(mem, at, end):
    """Pass a segment that is written out; returns (next address or -1, payload bytes it takes)."""
    count, at = _next(mem, at, end)
    if count & 1:
        _, _, at = skip_bytes(mem, at, end)
    _, _, at = skip_bytes(mem, at, end)
    payload, at = _next(mem, at, end)
    _, _, at = skip_bytes(mem, at, end)
    if payload < 0:
        return np.int64(-1), np.int64(0)
    return at, payload
