"""Cut the super-frames of a capture: one compiled pass over a batch, records and learnt sizes together.

Enters: a parsed batch, its `Plan`, the table of segment sizes. Leaves: wire frames in another batch,
and the order in which the originals stood.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from pktpath.batch import FRAGS, FRAMES, GSO_TCPV4, GSO_TCPV6, GSO_UDP, GSO_UDP_L4, copy_descriptor
from pktpath.jit import inlined, kernel
from pktpath.path.mss import DEFAULT_MTU, UNDO, WIRE_SIZE, learn_frame, segment_size
from pktpath.path.undo import CUT, EXPLICIT, GROUP_START, PLACES, get_number, unfold
from pktpath.path.undo_read import skip_bytes, start_of_segment
from pktpath.pool import HEADER, NO_CHUNK, NORMAL
from pktpath.port.capture_bytes import ns_to_ticks, ticks_to_ns
from pktpath.wire import ipv6, tcp, udp
from pktpath.wire.parse import CUT as CUT_BY_SNAPLEN

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
    recorded: bool
    """The section holds undo records: a frame without one was not merged."""


@kernel
def choose_sizes(batch, plan, sizes, wishes, basis, counts):
    """Give every super-frame its gso_type and gso_size, by its record or by what was learnt; `basis` gets the `Basis`.

    Frame by frame: what is chosen must not depend on where a batch ends.
    """
    for i in range(batch.used[FRAMES]):
        frame = batch.frames[i]
        frame.origin = i
        learn_frame(batch, i, sizes)
        if wishes.mtu > 0:
            plan.flags[i] = 0
            plan.segments[i] = 1
        flags = np.int64(plan.flags[i])
        basis[i] = WIRE_SIZE
        if flags & (CUT | EXPLICIT):
            basis[i] = UNDO
        elif flags == 0 and not wishes.recorded:
            basis[i] = _choose_size(batch, i, sizes, wishes, counts)
            if basis[i] != WIRE_SIZE:
                plan.segments[i] = (np.int64(frame.payload_len) + udp.LENGTH) // max(frame.gso_size & ~7, 1) + 1
        if flags & CUT:
            frame.gso_type = plan.gso_type[i]
            frame.gso_size = plan.gso_size[i]


@kernel
def run_end(batch, first, last, out, plan):
    """Index up to which frames from `first` on can be cut into `out` in one go; -1 when it must be emptied first.

    A run ends before a frame that is written out by its record, and before a group or a frame that may
    not fit. A run of no frames means that frame `first` is written out.
    """
    pool = out.pool
    room = min(len(out.frames) - out.used[FRAMES], (len(out.frag_addr) - out.used[FRAGS]) // 2)
    room = min(room, pool.free_count[HEADER], pool.free_count[NORMAL])
    i = first
    while i < last:
        end = i + 1
        needed = np.int64(plan.segments[i])
        while plan.flags[i] & GROUP_START and end < last and plan.flags[end] & (PLACES | GROUP_START) == PLACES:
            needed += plan.segments[end]
            end += 1
        if needed > room and (out.used[FRAMES] > 0 or i > first):
            return i if i > first else -1
        while i < end and not plan.flags[i] & EXPLICIT:
            room -= plan.segments[i]
            i += 1
        if i < end:
            break
    return i


@kernel
def replay(batch, first, last, out, start, plan, wishes, basis, ticks_per_second, counts, group, place):
    """Finish what became of frames `first` to `last` (excluded), which stands in `out` from row `start` on.

    `group` gets the number of frames of a group in its first row, else 0, and `place` each frame's place in it.
    """
    j = start
    for i in range(first, last):
        end = j + 1
        while end < out.used[FRAMES] and out.frames[end].origin == out.frames[j].origin:
            end += 1
        for row in range(j, end):
            group[row] = 0
            place[row] = -1
        rate = ticks_per_second[batch.frames[i].in_port]
        if plan.flags[i] != 0 and end - j == plan.segments[i]:
            _replay(batch, i, out, j, end, plan, rate, place)
            group[j] = plan.total[i]
        elif wishes.spread > 0:
            _spread(out, j, end, wishes.spread, rate)
        if basis[i] == WIRE_SIZE:
            counts[_PASSED] += 1
        elif end - j > 1:
            counts[basis[i]] += 1
            counts[_SEGMENTS] += end - j
        else:
            counts[_REFUSED] += 1
        j = end


@kernel
def put_in_order(count, group, place, order, counts):
    """Fill `order`: which of `count` rows stands at each place. A group that is not whole keeps its order."""
    j = 0
    torn = False  # rows with places stand here whose group was counted already
    while j < count:
        size = group[j]
        order[j] = j
        if size <= 0:
            counts[_DISORDERED] += place[j] >= 0 and not torn
            torn = place[j] >= 0
            j += 1
            continue
        whole = size <= count - j
        end = j + (size if whole else 1)
        for at in range(j, end):
            order[at] = -1
        for row in range(j, end):
            at = j + place[row]
            whole = whole and 0 <= place[row] < size and (row == j or group[row] == 0)
            whole = whole and order[at] < 0
            if whole:
                order[at] = row
        if not whole:
            counts[_DISORDERED] += 1
            for row in range(j, end):
                order[row] = row
                if row > j and group[row] > 0:
                    end = row
                    break
        torn = not whole
        j = end


@inlined
def _choose_size(batch, i, sizes, wishes, counts):
    """Give frame `i` a gso_type and a gso_size where it needs them, and return the basis of the size."""
    frame = batch.frames[i]
    if frame.shape_flags & CUT_BY_SNAPLEN and frame.network != 0:
        mtu = wishes.mtu if wishes.mtu > 0 else DEFAULT_MTU
        counts[_SNAPLEN] += frame.wire_len - frame.network_offset > mtu
        return np.int64(WIRE_SIZE)
    size, basis = segment_size(batch, i, sizes, wishes.mtu)
    if basis == WIRE_SIZE:
        return np.int64(WIRE_SIZE)
    if frame.protocol == tcp.PROTOCOL:
        frame.gso_type = GSO_TCPV4 if frame.network == 4 else GSO_TCPV6
    elif wishes.ufo:
        frame.gso_type = GSO_UDP
        size += udp.LENGTH - (0 if frame.network == 4 else ipv6.FRAGMENT_LENGTH)
    else:
        frame.gso_type = GSO_UDP_L4
    frame.gso_size = size
    return np.int64(basis)


@inlined
def _replay(batch, i, out, start, end, plan, rate, place):
    """Give the segments of frame `i` what its record kept: places, times, options, header bytes."""
    frame = batch.frames[i]
    mem = batch.pool.mem
    flags = np.int64(plan.flags[i])
    at = plan.at[i]
    stop = plan.end[i]
    ticks = np.int64(frame.ticks)
    shift = frame.timestamp - ticks_to_ns(frame.ticks, rate, 0)
    for j in range(start, end):
        value, folded, at = start_of_segment(mem, at, stop, flags)
        place[j] = value if flags & PLACES else -1
        ticks += unfold(folded)
        out.frames[j].ticks = np.uint64(ticks)
        out.frames[j].timestamp = ticks_to_ns(out.frames[j].ticks, rate, 0) + shift
        count, at = get_number(mem, at, stop)
        if count & 1:
            out.frames[j].option_addr, out.frames[j].option_len, at = skip_bytes(mem, at, stop)
        if flags & EXPLICIT:
            _, _, at = skip_bytes(mem, at, stop)
            _, at = get_number(mem, at, stop)
            _, _, at = skip_bytes(mem, at, stop)
            _, at = get_number(mem, at, stop)
        elif flags & CUT:
            offset = np.int64(0)
            for _ in range(count >> 1):
                gap, at = get_number(mem, at, stop)
                patch, length, at = skip_bytes(mem, at, stop)
                offset += gap
                for k in range(length):
                    mem[out.frames[j].head_addr + offset + k] = mem[patch + k]
                offset += length


@inlined
def _spread(out, start, end, bits_per_second, rate):
    """Let the segments of a frame follow each other as they would on a link of this rate."""
    sent = np.int64(0)
    for j in range(start, end):
        late = sent * 8 * _SECOND // bits_per_second
        out.frames[j].timestamp += late
        out.frames[j].ticks += ns_to_ticks(late, rate, 0)
        sent += out.frames[j].frame_len + _BETWEEN_FRAMES


@kernel
def write_out(batch, i, out, plan):
    """Make the frames that a record holds written out; their payload stays where it is. False without room."""
    mem = batch.pool.mem
    flags = np.int64(plan.flags[i])
    segments = np.int64(plan.segments[i])
    j = out.used[FRAMES]
    row = out.used[FRAGS]
    if j + segments > len(out.frames) or row + 2 * segments > len(out.frag_addr):
        return False
    at = plan.at[i]
    stop = plan.end[i]
    payload = batch.frames[i].head_addr + plan.payload_at[i]
    for k in range(segments):
        _, _, at = start_of_segment(mem, at, stop, flags)
        count, at = get_number(mem, at, stop)
        if count & 1:
            _, _, at = skip_bytes(mem, at, stop)
        head, head_len, at = skip_bytes(mem, at, stop)
        length, at = get_number(mem, at, stop)
        tail, tail_len, at = skip_bytes(mem, at, stop)
        missing, at = get_number(mem, at, stop)
        copy_descriptor(batch, i, out, j)
        out.frames[j].origin = i
        out.frames[j].head_addr, out.frames[j].head_len, out.frames[j].head_chunk = head, head_len, NO_CHUNK
        out.frames[j].frag_first, out.frames[j].frag_count = row, 2
        out.frag_addr[row], out.frag_len[row], out.frag_chunk[row] = payload, length, NO_CHUNK
        out.frag_addr[row + 1], out.frag_len[row + 1], out.frag_chunk[row + 1] = tail, tail_len, NO_CHUNK
        out.frames[j].frame_len = head_len + length + tail_len
        out.frames[j].wire_len = out.frames[j].frame_len + unfold(missing)
        if k > 0:
            out.frames[j].option_len = 0
        payload += length
        row += 2
        j += 1
    out.used[FRAMES] = j
    out.used[FRAGS] = row
    return True
