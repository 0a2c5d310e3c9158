"""Cut the super-frames of a capture: one compiled pass over a batch, records and learnt sizes together.

Enters: a parsed batch, its `Plan`, the table of segment sizes. Leaves: wire frames in another batch,
and the order in which the originals stood.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from pktpath.batch import FRAGS, FRAMES, GSO_TCPV4, GSO_TCPV6, GSO_UDP, GSO_UDP_L4, copy_descriptor
from pktpath.features import Feature
from pktpath.jit import inlined, kernel
from pktpath.offload.gso import segment_frame
from pktpath.path.mss import DEFAULT_MTU, UNDO, WIRE_SIZE, segment_size
from pktpath.path.undo import CUT, EXPLICIT, GROUP_START, PLACES, get_number, unfold
from pktpath.path.undo_read import skip_bytes, start_of_segment
from pktpath.pool import HEADER, NO_CHUNK, NORMAL
from pktpath.wire import ipv6, tcp, udp
from pktpath.wire.parse import CUT as CUT_BY_SNAPLEN

_FEATURES = int(Feature.SG)
"""What a file can do: gather. Everything else, checksums too, is done before it."""
_SECOND = 1_000_000_000
_BETWEEN_FRAMES = 24
"""Bytes that an Ethernet link sends besides the frame: preamble 8, check sequence 4, gap 12."""


class Count(IntEnum):
    """Rows of the counters; the first six are super-frames by the `Basis` of their size."""

    SEGMENTS = 6
    """Frames that super-frames were cut into."""
    SNAPLEN = 7
    """Super-frames that a snaplen cut: kept as they are."""
    REFUSED = 8
    """Super-frames that could not be cut: kept as they are."""
    DISORDERED = 9
    """Groups of an undo record that were not whole: their frames keep the order they have."""
    PASSED = 10
    """Frames that were no super-frames."""


COUNTS = len(Count) + 6
_SEGMENTS, _SNAPLEN, _REFUSED, _DISORDERED, _PASSED = (int(count) for count in Count)


class Wishes(NamedTuple):
    """What the user asked for, as compiled code takes it."""

    mtu: int
    """IP bytes in a frame; 0 to learn sizes."""
    ufo: bool
    """UDP super-frames become IP fragments, not datagrams."""
    spread: int
    """Bits a second by which segments follow each other; 0 leaves all at the time of their frame."""


@kernel
def cut_capture(batch, first, out, plan, sizes, wishes, rules, ticks_per_second, counts, order, place):
    """Move and cut frames from `first` on; returns the first one that has to wait for an empty `out`.

    `order` is filled with the row of `out` that stands at each place; `place` is room of the same
    length. What went is gone from `batch`; when all went, the number of its frames is returned.
    """
    frames = batch.used[FRAMES]
    group = np.int64(-1)
    missing = np.int64(0)
    for i in range(first, frames):
        flags = np.int64(plan.flags[i]) if wishes.mtu == 0 else np.int64(0)
        if group >= 0 and (flags & GROUP_START or not flags & PLACES):
            _end_group(out, group, missing, counts, order, place)
            group = np.int64(-1)
        if flags & GROUP_START and 0 < plan.total[i] <= len(order):
            if not _room_for(out, plan.total[i]):
                return i
            group, missing = out.used[FRAMES], plan.total[i]
        start = out.used[FRAMES]
        if not _cut_one(batch, i, out, plan, flags, sizes, wishes, rules, ticks_per_second, counts, place):
            _end_group(out, group, missing, counts, order, place)
            return i
        for j in range(start, out.used[FRAMES]):
            order[j] = j
        missing -= out.used[FRAMES] - start
        if group >= 0 and missing <= 0:
            _end_group(out, group, missing, counts, order, place)
            group = np.int64(-1)
    _end_group(out, group, missing, counts, order, place)
    batch.used[FRAMES] = 0
    return frames


@inlined
def _room_for(out, frames):
    """Whether so many frames fit whatever they are; an empty output is all the room there can be."""
    used = out.used[FRAMES]
    if used == 0:
        return True
    pool = out.pool
    return (
        used + frames <= len(out.head_addr)
        and out.used[FRAGS] + 2 * frames <= len(out.frag_addr)
        and frames <= pool.free_count[HEADER]
        and frames <= pool.free_count[NORMAL]
    )


@inlined
def _end_group(out, group, missing, counts, order, place):
    """Put the frames from row `group` on into the order of their places, where these make one."""
    if group < 0:
        return
    end = out.used[FRAMES]
    whole = missing == 0
    for j in range(group, end):
        order[j] = -1
    for j in range(group, end):
        at = group + place[j]
        if whole and 0 <= place[j] < end - group and order[at] < 0:
            order[at] = j
        else:
            whole = False
    if not whole:
        counts[_DISORDERED] += 1
        for j in range(group, end):
            order[j] = j


@inlined
def _cut_one(batch, i, out, plan, flags, sizes, wishes, rules, ticks_per_second, counts, place):
    """Move or cut frame `i`; False where there is no room for it now."""
    start = out.used[FRAMES]
    if flags & EXPLICIT:
        if not _write_out(batch, i, out, plan):
            return False
        basis = UNDO
    else:
        basis = WIRE_SIZE
        if flags & CUT:
            basis = UNDO
            batch.gso_type[i] = plan.gso_type[i]
            batch.gso_size[i] = plan.gso_size[i]
        elif plan.segments[i] == 1 or wishes.mtu > 0:
            basis = _choose_size(batch, i, sizes, wishes, counts)
        if not segment_frame(batch, i, out, _FEATURES, rules):
            return False
    end = out.used[FRAMES]
    rate = np.int64(ticks_per_second[batch.in_port[i]])
    if flags != 0:
        _replay(batch, i, out, start, end, plan, flags, rate, place)
    elif wishes.spread > 0:
        _spread(out, start, end, wishes.spread, rate)
    if basis == WIRE_SIZE:
        counts[_PASSED] += 1
    elif end - start > 1:
        counts[basis] += 1
        counts[_SEGMENTS] += end - start
    else:
        counts[_REFUSED] += 1
    return True


@inlined
def _choose_size(batch, i, sizes, wishes, counts):
    """Give frame `i` a gso_type and a gso_size where it needs them, and return the basis of the size."""
    if batch.shape[i] & CUT_BY_SNAPLEN and batch.network[i] != 0:
        mtu = wishes.mtu if wishes.mtu > 0 else DEFAULT_MTU
        counts[_SNAPLEN] += batch.wire_len[i] - batch.network_offset[i] > mtu
        return np.int64(WIRE_SIZE)
    size, basis = segment_size(batch, i, sizes, wishes.mtu)
    if basis == WIRE_SIZE:
        return np.int64(WIRE_SIZE)
    if batch.protocol[i] == tcp.PROTOCOL:
        batch.gso_type[i] = GSO_TCPV4 if batch.network[i] == 4 else GSO_TCPV6
    elif wishes.ufo:
        batch.gso_type[i] = GSO_UDP
        size += udp.LENGTH - (0 if batch.network[i] == 4 else ipv6.FRAGMENT_LENGTH)
    else:
        batch.gso_type[i] = GSO_UDP_L4
    batch.gso_size[i] = size
    return np.int64(basis)


@inlined
def _replay(batch, i, out, start, end, plan, flags, rate, place):
    """Give the segments of frame `i` what its record kept: places, times, options, header bytes."""
    mem = batch.pool.mem
    at = plan.at[i]
    stop = plan.end[i]
    ticks = np.int64(batch.ticks[i])
    passed = np.int64(0)
    for j in range(start, end):
        place[j], folded, at = start_of_segment(mem, at, stop, flags)
        delta = unfold(folded)
        ticks += delta
        passed += delta
        out.ticks[j] = np.uint64(ticks)
        out.timestamp[j] = batch.timestamp[i] + _nanoseconds(passed, rate)
        count, at = get_number(mem, at, stop)
        if count & 1:
            out.option_addr[j], out.option_len[j], at = skip_bytes(mem, at, stop)
        if flags & EXPLICIT:
            _, _, at = skip_bytes(mem, at, stop)
            _, at = get_number(mem, at, stop)
            _, _, at = skip_bytes(mem, at, stop)
        elif flags & CUT:
            offset = np.int64(0)
            for _ in range(count >> 1):
                gap, at = get_number(mem, at, stop)
                patch, length, at = skip_bytes(mem, at, stop)
                offset += gap
                for k in range(length):
                    mem[out.head_addr[j] + offset + k] = mem[patch + k]
                offset += length


@inlined
def _nanoseconds(ticks, rate):
    """Nanoseconds of so many ticks, for clocks of up to a billion ticks a second exactly."""
    if rate <= 0:
        return np.int64(0)
    if rate <= _SECOND:
        return ticks // rate * _SECOND + ticks % rate * _SECOND // rate
    return np.int64(ticks * (_SECOND / rate))


@inlined
def _spread(out, start, end, bits_per_second, rate):
    """Let the segments of a frame follow each other as they would on a link of this rate."""
    sent = np.int64(0)
    for j in range(start, end):
        late = sent * 8 * _SECOND // bits_per_second
        out.timestamp[j] += late
        out.ticks[j] += np.uint64(late * rate // _SECOND if rate <= _SECOND else late * (rate // _SECOND))
        sent += out.frame_len[j] + _BETWEEN_FRAMES


@inlined
def _write_out(batch, i, out, plan):
    """Make the frames that a record holds written out; their payload stays where it is. False without room."""
    mem = batch.pool.mem
    flags = np.int64(plan.flags[i])
    segments = np.int64(plan.segments[i])
    j = out.used[FRAMES]
    row = out.used[FRAGS]
    if j + segments > len(out.head_addr) or row + 2 * segments > len(out.frag_addr):
        return False
    at = plan.at[i]
    stop = plan.end[i]
    payload = batch.head_addr[i] + plan.payload_at[i]
    for k in range(segments):
        _, _, at = start_of_segment(mem, at, stop, flags)
        count, at = get_number(mem, at, stop)
        if count & 1:
            _, _, at = skip_bytes(mem, at, stop)
        head, head_len, at = skip_bytes(mem, at, stop)
        length, at = get_number(mem, at, stop)
        tail, tail_len, at = skip_bytes(mem, at, stop)
        copy_descriptor(batch, i, out, j)
        out.head_addr[j], out.head_len[j], out.head_chunk[j] = head, head_len, NO_CHUNK
        out.frag_first[j], out.frag_count[j] = row, 2
        out.frag_addr[row], out.frag_len[row], out.frag_chunk[row] = payload, length, NO_CHUNK
        out.frag_addr[row + 1], out.frag_len[row + 1], out.frag_chunk[row + 1] = tail, tail_len, NO_CHUNK
        out.frame_len[j] = out.wire_len[j] = head_len + length + tail_len
        if k > 0:
            out.option_len[j] = 0
        payload += length
        row += 2
        j += 1
    out.used[FRAMES] = j
    out.used[FRAGS] = row
    return True
