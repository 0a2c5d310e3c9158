"""Read undo records and prove them before anything is cut by them.

Enters: a parsed batch from a capture. Leaves: a `Plan`, one row a frame: whether its record holds
together, and where its segments' part starts. A record that contradicts itself or its frame is
left aside and counted: the frame is then cut as if there were none.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pktpath.batch import FRAMES, GSO_TCP_ACCECN, GSO_TCP_ECN, GSO_TCP_FIXEDID, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4
from pktpath.jit import inlined, kernel
from pktpath.path.undo import (
    CUT,
    ENTERPRISE,
    EXPLICIT,
    GROUP_START,
    MAGIC,
    MAGIC_MORE,
    OPTION_CODE,
    OPTION_HEADER,
    PLACES,
    WITHOUT_SIGN,
    get_number,
    unfold,
)
from pktpath.port.pcapng_options import options_length
from pktpath.wire import tcp, udp
from pktpath.wire.load import load8
from pktpath.wire.parse import JUMBO

_TCP_BITS = GSO_TCP_ECN | GSO_TCP_FIXEDID | GSO_TCP_ACCECN
_LONGEST = 0x7FFFFFFF
"""What a length column holds."""


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
        if start < 0:
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
    at = find_record(mem, batch.frames[i].option_addr, batch.frames[i].option_len)
    flags = total = segments = np.int64(0)
    if at >= 0:
        flags, _, total, _, _, _, segments, at = _record_head(mem, at + OPTION_HEADER, at + 4 + _little(mem, at + 2, 2))
    if at < 0:
        flags = total = segments = np.int64(0)
    return flags, total, segments


@inlined
def find_record(mem, at, length):
    """Address of the option in which the last record among `length` bytes of options starts, or -1."""
    end = at + length
    found = np.int64(-1)
    while at + 4 <= end:
        size = _little(mem, at + 2, 2)
        if _is_record(mem, at, size, end, MAGIC):
            found = np.int64(at)
        at += 4 + (size + 3 & ~3)
    return found


@inlined
def _little(mem, at, size):
    value = np.int64(0)
    for k in range(size):
        value |= load8(mem, at + k) << 8 * k
    return value


@inlined
def _is_record(mem, at, length, end, magic):
    """Whether the option at `at`, whose value has `length` bytes, is a part of an undo record: its start, or more."""
    return (
        length >= OPTION_HEADER - 4
        and at + 4 + (length + 3 & ~3) <= end
        and _little(mem, at, 2) == OPTION_CODE
        and _little(mem, at + 4, 4) == ENTERPRISE
        and _little(mem, at + 8, 4) == magic
    )


@inlined
def _join_record(batch, i):
    """Move the parts of a record together, behind the frame's other options; returns its (start, end), start -1 without one."""
    frame = batch.frames[i]
    mem = batch.pool.mem
    start = find_record(mem, frame.option_addr, frame.option_len)
    if start < 0:
        return start, start
    end = np.int64(frame.option_addr + frame.option_len)
    at = joined = start + OPTION_HEADER
    length = _little(mem, start + 2, 2)
    following = start
    while True:
        size = length - (OPTION_HEADER - 4)
        for k in range(size):
            mem[joined + k] = mem[following + OPTION_HEADER + k]
        joined += size
        following += 4 + (length + 3 & ~3)
        length = _little(mem, following + 2, 2) if following + OPTION_HEADER <= end else np.int64(0)
        if not _is_record(mem, following, length, end, MAGIC_MORE):
            break
    if following < end:  # another tool added options behind the record: they change places
        _reverse(mem, start, following)
        _reverse(mem, following, end)
        _reverse(mem, start, end)
        moved = end - following
        start, at, joined = start + moved, at + moved, joined + moved
    frame.option_len = start - frame.option_addr
    return at, joined


@inlined
def _reverse(mem, start, end):
    while start < end - 1:
        end -= 1
        byte = mem[start]
        mem[start] = mem[end]
        mem[end] = byte
        start += 1


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
    if at < 0 or (flags & (CUT | EXPLICIT) and (frame_len != frame.frame_len or frame_len != frame.wire_len)):
        return False
    if flags & CUT and not _cut_fits(batch, i, gso_type, gso_size, segments):
        return False
    if segments > end - at:  # each takes more than a byte
        return False
    if (segments > 1 and flags & (CUT | EXPLICIT) == 0) or flags & (CUT | EXPLICIT) == CUT | EXPLICIT:
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
    if not 1 <= gso_size <= frame.payload_len or segments < 2 or frame.payload_offset == 0 or frame.shape_flags & JUMBO:
        return False
    if frame.protocol == tcp.PROTOCOL:
        gso_type &= ~_TCP_BITS
        wanted = GSO_TCPV4 if frame.network == 4 else GSO_TCPV6
    elif frame.protocol == udp.PROTOCOL:
        wanted = GSO_UDP_L4
    else:
        return False
    return gso_type == wanted and segments == -(-np.int64(frame.payload_len) // gso_size)


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
    count, at = _prove_options(mem, at, end)
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
    _, at = _prove_options(mem, at, end)
    _, head, at = skip_bytes(mem, at, end)
    payload, at = _next(mem, at, end)
    _, tail, at = skip_bytes(mem, at, end)
    missing, at = _next(mem, at, end)
    if not 0 <= payload <= _LONGEST or not 0 <= unfold(missing) + head + payload + tail <= _LONGEST:
        return np.int64(-1), np.int64(0)
    return at, payload


@inlined
def _prove_options(mem, at, end):
    """Pass the count of patches and the segment's own options; returns (count, next address or -1)."""
    count, at = _next(mem, at, end)
    if count & 1:
        start, length, at = skip_bytes(mem, at, end)
        if at >= 0 and options_length(mem, start, start + length, False) != length:
            at = np.int64(-1)
    return count, at
