"""Which IP fragments of a batch belong together, and which datagrams they make whole.

The first half of reassembly: nothing moves here. Fragments of one datagram are chained in the order
of their offsets; a datagram ends as `WHOLE` or with the `Reason` that all its fragments get.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pktpath.jit import inlined
from pktpath.offload.reason import REASONS, Reason
from pktpath.pool import NO_CHUNK, chunk_alloc, chunk_class_for
from pktpath.wire import ipv4, ipv6
from pktpath.wire.load import load8, load16, load32, same_bytes
from pktpath.wire.parse import BAD_IP_CHECKSUM, CUT, FRAGMENT, JUMBO, MALFORMED, RESERVED_BIT, ZERO_LENGTH

OPEN, WHOLE = 0, -1
"""State of a datagram, where it is no `Reason`."""
NOBODY = -1

TIMEOUT_IPV4, TIMEOUT_IPV6 = 30_000_000_000, 60_000_000_000
"""Nanoseconds from the first fragment (ipfrag_time, ip6frag_time; RFC 8200 says 60 s)."""

_MAX_DATAGRAM = 65535
_NOT_ECT, _CE = 1 << 0, 1 << 3
"""Bits of `ReassemblyTable.ecn`: 1 << (ECN field)."""

(_NONE, _MALFORMED, _CUT, _BAD_IP_CHECKSUM, _RESERVED, _OTHER_PROTOCOL, _SUPER_FRAME, _NO_MEMORY, _BAD, _DUPLICATE,
 _OVERLAPPING, _TOO_LONG, _ECN, _MISSING, _TIMEOUT, _TABLE_FULL) = (
    int(reason) for reason in (
        Reason.NONE, Reason.MALFORMED, Reason.CUT_BY_SNAPLEN, Reason.BAD_IP_CHECKSUM, Reason.RESERVED_BIT,
        Reason.OTHER_PROTOCOL, Reason.SUPER_FRAME, Reason.NO_MEMORY, Reason.BAD_FRAGMENT, Reason.DUPLICATE_FRAGMENT,
        Reason.OVERLAPPING_FRAGMENT, Reason.DATAGRAM_TOO_LONG, Reason.FRAGMENT_ECN, Reason.MISSING_FRAGMENT,
        Reason.FRAGMENT_TIMEOUT, Reason.TOO_MANY_DATAGRAMS,
    )
)  # fmt: skip


class ReassemblyTable(NamedTuple):
    """Datagrams of one batch; made once and used for batch after batch."""

    slots: NDArray[np.int32]
    """Hash table of datagram numbers, `NOBODY` where free; a power of two, at most half full."""
    used: NDArray[np.int64]
    """(1,) datagrams in use."""
    counts: NDArray[np.int64]
    """(REASONS,) fragments by what became of them: `NONE` counts those that were put together."""

    first: NDArray[np.int32]
    """(datagrams,) fragment with the lowest offset."""
    last: NDArray[np.int32]
    """(datagrams,) fragment with the highest offset."""
    started: NDArray[np.int64]
    """(datagrams,) timestamp of the fragment that came first."""
    latest: NDArray[np.int32]
    """(datagrams,) fragment that came last: it completes a whole datagram."""
    state: NDArray[np.int32]
    """(datagrams,) `OPEN`, `WHOLE` or a `Reason`."""
    total: NDArray[np.int32]
    """(datagrams,) bytes of payload, -1 until the last fragment was seen."""
    received: NDArray[np.int32]
    """(datagrams,) bytes of payload that are there."""
    members: NDArray[np.int32]
    """(datagrams,) fragments in the chain."""
    ecn: NDArray[np.uint8]
    """(datagrams,) the ECN fields seen, one bit each."""
    chunk: NDArray[np.int32]
    """(datagrams,) chunk for the head of a whole datagram."""

    datagram: NDArray[np.int32]
    """(frames,) datagram of a fragment, or `NOBODY`."""
    why: NDArray[np.uint8]
    """(frames,) `Reason` of a fragment that belongs to no datagram."""
    next: NDArray[np.int32]
    """(frames,) fragment with the next higher offset, or `NOBODY`."""
    place: NDArray[np.int32]
    """(frames,) offset of a fragment in its datagram, in bytes."""
    size: NDArray[np.int32]
    """(frames,) bytes of payload in a fragment."""
    payload: NDArray[np.int32]
    """(frames,) offset of that payload in the frame."""


def make_reassembly_table(frames: int = 4096, datagrams: int = 1024) -> ReassemblyTable:
    """Make a table for batches of up to `frames` frames with fragments of up to `datagrams` datagrams."""
    slots = np.full(1 << (2 * datagrams - 1).bit_length(), NOBODY, np.int32)
    each = {
        name: np.zeros(datagrams, np.int32)
        for name in ("first", "last", "latest", "state", "total", "received", "members", "chunk")
    }
    frame = {name: np.zeros(frames, np.int32) for name in ("datagram", "next", "place", "size", "payload")}
    return ReassemblyTable(
        slots=slots,
        used=np.zeros(1, np.int64),
        counts=np.zeros(REASONS, np.int64),
        started=np.zeros(datagrams, np.int64),
        ecn=np.zeros(datagrams, np.uint8),
        why=np.zeros(frames, np.uint8),
        **each,
        **frame,
    )


@inlined
def collect(batch, table, i):
    """Find the datagram of frame `i` and add the frame to it."""
    table.datagram[i] = NOBODY
    table.why[i] = _NONE
    if not batch.frames[i].shape_flags & FRAGMENT:
        return
    why, place, size, payload, more = fragment_bounds(batch, i)
    if why != _NONE or (place == 0 and not more):  # an IPv6 fragment that is the whole packet (RFC 6946)
        table.why[i] = why
        return
    d = _datagram_of(batch, table, i)
    if d == NOBODY:
        table.why[i] = _TABLE_FULL
        return
    table.place[i], table.size[i], table.payload[i] = place, size, payload
    if table.state[d] == OPEN and _is_duplicate(table, d, place, size):
        table.why[i] = _DUPLICATE
        return
    table.datagram[i] = d
    if table.state[d] == OPEN:
        table.state[d] = _add(batch, table, d, i, more)
        table.latest[d] = i


@inlined
def verdict(table, i):
    """`Reason` of a fragment that stays as it is; `NONE` for one of a whole datagram and for other frames."""
    d = table.datagram[i]
    if d == NOBODY:
        return np.int64(table.why[i])
    state = np.int64(table.state[d])
    if state == OPEN:
        return np.int64(_MISSING)
    return np.int64(_NONE) if state == WHOLE else state


@inlined
def fragment_bounds(batch, i):
    """Return (reason, offset in the datagram, bytes, their offset in the frame, more follow) of a fragment."""
    frame = batch.frames[i]
    shape = frame.shape_flags
    zero = np.int64(0)
    if shape & MALFORMED:
        return _MALFORMED, zero, zero, zero, False
    if shape & CUT:
        return _CUT, zero, zero, zero, False
    if shape & BAD_IP_CHECKSUM:
        return _BAD_IP_CHECKSUM, zero, zero, zero, False
    if shape & RESERVED_BIT:
        return _RESERVED, zero, zero, zero, False
    if frame.frag_count > 0:
        return _SUPER_FRAME, zero, zero, zero, False
    mem = batch.pool.mem
    network = np.int64(frame.network_offset)
    at = frame.head_addr + network
    if frame.network == 4:
        header = (load8(mem, at) & 15) * 4
        word = load16(mem, at + ipv4.FRAGMENT)
        place = (word & ipv4.OFFSET_MASK) * 8
        more = word & ipv4.MF != 0
        size = load16(mem, at + ipv4.TOTAL_LENGTH) - header
    else:
        _, header = fragment_header(mem, at)
        word = load16(mem, at + header + ipv6.FRAGMENT_OFFSET)
        place = word & 0xFFF8
        more = word & 1 != 0
        header += ipv6.FRAGMENT_LENGTH
        size = load16(mem, at + ipv6.PAYLOAD_LENGTH) + ipv6.LENGTH - header
    bad = size <= 0 or (more and size & 7 != 0) or shape & (ZERO_LENGTH | JUMBO) != 0
    return (_BAD if bad else _NONE), place, size, network + header, more


@inlined
def fragment_header(mem, at):
    """Offsets, from the IPv6 header at `at`, of the byte that announces its fragment header, and of that header."""
    announced = np.int64(ipv6.NEXT_HEADER)
    kind = load8(mem, at + announced)
    header = np.int64(ipv6.LENGTH)
    while kind != ipv6.FRAGMENT_HEADER:
        announced = header
        kind = load8(mem, at + announced)
        header += (load8(mem, at + announced + 1) + 1) * 8
    return announced, header


@inlined
def congestion(mem, at, network):
    """ECN field of the IP header at `at`."""
    return load8(mem, at + ipv4.TOS) & 3 if network == 4 else load8(mem, at + 1) >> 4 & 3


@inlined
def marked(table, d):
    """Whether the congestion mark of one fragment goes to the whole datagram."""
    return table.ecn[d] & _CE != 0


@inlined
def _datagram_of(batch, table, i):
    """Return the datagram of frame `i`, a new one where there is none that still waits; NOBODY when full."""
    mask = len(table.slots) - 1
    slot = _hash(batch, i) & mask
    while table.slots[slot] != NOBODY:
        d = np.int64(table.slots[slot])
        other = table.first[d]
        if _same_datagram(batch, i, other):
            if table.state[d] != WHOLE and not _too_late(batch, i, table.started[d]):
                return d
            if table.state[d] == OPEN:
                table.state[d] = _TIMEOUT
            break
        slot = (slot + 1) & mask
    d = np.int64(table.used[0])
    if d == len(table.first):
        return np.int64(NOBODY)
    table.used[0] = d + 1
    table.slots[slot] = d
    table.first[d] = i
    table.last[d] = NOBODY
    table.started[d] = batch.frames[i].timestamp
    table.state[d] = OPEN
    table.total[d] = -1
    table.received[d] = 0
    table.members[d] = 0
    table.ecn[d] = 0
    return d


@inlined
def _hash(batch, i):
    """Mix the identification and the addresses of frame `i`."""
    frame = batch.frames[i]
    mem = batch.pool.mem
    at = frame.head_addr + frame.network_offset
    if frame.network == 4:
        mixed = load16(mem, at + ipv4.ID) ^ load32(mem, at + ipv4.SOURCE) ^ load32(mem, at + ipv4.DESTINATION) << 16
    else:
        _, header = fragment_header(mem, at)
        mixed = load32(mem, at + header + ipv6.FRAGMENT_ID) ^ load32(mem, at + ipv6.DESTINATION - 4)
        mixed ^= load32(mem, at + ipv6.LENGTH - 4) << 16
    mixed = (mixed & 0xFFFFFFFF) * 0x1E3779B1
    return mixed >> 16 & 0xFFFFFFFF


@inlined
def _same_datagram(batch, i, k):
    """Whether fragments `i` and `k` came the same way and name the same datagram (RFC 791, RFC 8200)."""
    frame = batch.frames[i]
    network = np.int64(frame.network_offset)
    if (
        frame.network != batch.frames[k].network
        or network != batch.frames[k].network_offset
        or frame.in_port != batch.frames[k].in_port
        or frame.link != batch.frames[k].link
        or frame.vlan_tci != batch.frames[k].vlan_tci
        or frame.vlan_proto != batch.frames[k].vlan_proto
    ):
        return False
    mem = batch.pool.mem
    a, b = frame.head_addr, batch.frames[k].head_addr
    if not same_bytes(mem, a, b, network):
        return False
    a += network
    b += network
    if frame.network == 4:
        return (
            load16(mem, a + ipv4.ID) == load16(mem, b + ipv4.ID)
            and frame.protocol == batch.frames[k].protocol
            and same_bytes(mem, a + ipv4.SOURCE, b + ipv4.SOURCE, np.int64(8))
        )
    _, one = fragment_header(mem, a)
    _, other = fragment_header(mem, b)
    return load32(mem, a + one + ipv6.FRAGMENT_ID) == load32(mem, b + other + ipv6.FRAGMENT_ID) and same_bytes(
        mem, a + ipv6.SOURCE, b + ipv6.SOURCE, np.int64(32)
    )


@inlined
def _too_late(batch, i, started):
    limit = TIMEOUT_IPV4 if batch.frames[i].network == 4 else TIMEOUT_IPV6
    return batch.frames[i].timestamp - started > limit


@inlined
def _before(table, d, place):
    """Fragment of datagram `d` after which one at `place` belongs, or NOBODY."""
    if table.members[d] == 0:
        return np.int64(NOBODY)
    last = np.int64(table.last[d])
    if table.place[last] <= place:
        return last
    before = np.int64(NOBODY)
    after = np.int64(table.first[d])
    while table.place[after] <= place:
        before = after
        after = np.int64(table.next[after])
    return before


@inlined
def _is_duplicate(table, d, place, size):
    k = _before(table, d, place)
    return k != NOBODY and table.place[k] == place and table.size[k] == size


@inlined
def _add(batch, table, d, i, more):
    """Put fragment `i` into the chain of datagram `d` and return the new state of the datagram."""
    frame = batch.frames[i]
    place = np.int64(table.place[i])
    end = place + table.size[i]
    if end > _MAX_DATAGRAM:
        return np.int64(_TOO_LONG)
    total = np.int64(table.total[d])
    empty = table.members[d] == 0
    before = _before(table, d, place)
    after = np.int64(NOBODY)
    if not empty:
        after = np.int64(table.first[d]) if before == NOBODY else np.int64(table.next[before])
        last = table.last[d]
        if (
            (before != NOBODY and table.place[before] + table.size[before] > place)
            or (after != NOBODY and end > table.place[after])
            or (not more and (total >= 0 or table.place[last] + table.size[last] > end))
            or (total >= 0 and end > total)
        ):
            return np.int64(_OVERLAPPING)
    table.next[i] = after
    if before == NOBODY:
        table.first[d] = i
    else:
        table.next[before] = i
    if after == NOBODY:
        table.last[d] = i
    if not more:
        table.total[d] = total = end
    table.members[d] += 1
    table.received[d] += table.size[i]
    table.ecn[d] |= 1 << congestion(batch.pool.mem, frame.head_addr + frame.network_offset, frame.network)
    return _whole(batch, table, d) if table.received[d] == total else np.int64(OPEN)


@inlined
def _whole(batch, table, d):
    """State of a datagram that has all its bytes: `WHOLE`, with a chunk for its head, or why not."""
    first = np.int64(table.first[d])
    headers = table.payload[first] - batch.frames[first].network_offset
    if batch.frames[first].network == 6:
        headers -= ipv6.LENGTH + ipv6.FRAGMENT_LENGTH
    if headers + table.total[d] > _MAX_DATAGRAM:
        return np.int64(_TOO_LONG)
    if table.ecn[d] & _CE and table.ecn[d] & _NOT_ECT:
        return np.int64(_ECN)
    if batch.frames[first].network == 6 and batch.frames[first].payload_offset == 0 and _extended(batch, table, first):
        return np.int64(_OTHER_PROTOCOL)
    chunk_class = chunk_class_for(head_end(batch, table, first))
    chunk = np.int64(NO_CHUNK) if chunk_class < 0 else np.int64(chunk_alloc(batch.pool, chunk_class))
    table.chunk[d] = chunk
    return np.int64(_NO_MEMORY) if chunk == NO_CHUNK else np.int64(WHOLE)


@inlined
def head_end(batch, table, first):
    """Offset in the first fragment at which the head of its datagram ends: the transport payload, where it is known."""
    return max(np.int64(table.payload[first]), np.int64(batch.frames[first].payload_offset))


@inlined
def _extended(batch, table, first):
    """Whether more extension headers follow the fragment header: they would have to be in the head."""
    kind = load8(batch.pool.mem, batch.frames[first].head_addr + table.payload[first] - ipv6.FRAGMENT_LENGTH)
    return kind in (ipv6.HOP_BY_HOP, ipv6.ROUTING, ipv6.DESTINATION_OPTIONS, ipv6.FRAGMENT_HEADER)
