"""What segment size a flow uses on the wire: learnt from its own frames, direction by direction.

Enters: parsed batches, in the order of the capture. Leaves: for a super-frame the payload size of
its segments and the basis of that answer. The table is bounded (oldest of four gives way), so a
capture of any length is learnt in the same memory.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pktpath.batch import FRAMES
from pktpath.jit import inlined, kernel
from pktpath.wire import ipv4, ipv6, tcp, udp
from pktpath.wire.load import load8, load16, load32
from pktpath.wire.parse import CUT, FRAGMENT, MALFORMED

DEFAULT_MTU = 1500
SMALLEST_MSS = 64
"""A smaller announced or seen size is no segment size: cutting by it would only make noise."""
DEFAULT_MSS = 536
"""The size every host takes (RFC 9293, 3.7.1); what was seen below it is a short message, not a full segment."""

_WAYS = 4


class Basis(IntEnum):
    """Where a segment size came from, first that applies."""

    WIRE_SIZE = 0
    """No super-frame: it fits as it is."""
    MTU = 1
    """The `--mtu` that was asked for."""
    UNDO = 2
    """The undo record in the capture."""
    SYN = 3
    """The MSS that the flow's SYNs announced, less the TCP options in use."""
    SEEN = 4
    """The largest wire-size segment seen in this direction."""
    DEFAULT = 5
    """Nothing is known: 1500 bytes of IP."""


WIRE_SIZE, MTU, UNDO, SYN, SEEN, DEFAULT = (int(basis) for basis in Basis)


class MssTable(NamedTuple):
    """Directions of flows, four in a set; `clock[0]` counts look-ups."""

    key: NDArray[np.int64]
    announced: NDArray[np.int32]
    """MSS option of the SYN sent in this direction, 0 without one."""
    largest: NDArray[np.int32]
    """Largest transport payload of a packet of at most 1500 bytes sent in this direction."""
    used_at: NDArray[np.int64]
    clock: NDArray[np.int64]


def make_mss_table(directions: int = 1 << 15) -> MssTable:
    """Make a table for so many directions (a power of two)."""
    return MssTable(
        np.zeros(directions, np.int64),
        np.zeros(directions, np.int32),
        np.zeros(directions, np.int32),
        np.zeros(directions, np.int64),
        np.zeros(1, np.int64),
    )


@inlined
def _mix(lane, value, factor):
    """One round of a 32-bit lane; the product stays below 2**63."""
    lane = ((lane ^ value) * factor) & 0xFFFFFFFFFFFF
    return (lane ^ lane >> 17) & 0xFFFFFFFF


@inlined
def _direction_key(batch, i, backwards):
    """62-bit key of the direction of frame `i`, or of the opposite one; never 0."""
    mem = batch.pool.mem
    network = batch.head_addr[i] + batch.network_offset[i]
    transport = batch.head_addr[i] + batch.transport_offset[i]
    size, source = (4, ipv4.SOURCE) if batch.network[i] == 4 else (16, ipv6.SOURCE)
    first, second = (network + source + size, network + source) if backwards else (network + source, network + source + size)
    low = np.int64(batch.protocol[i])
    high = np.int64(batch.in_port[i])
    for k in range(0, size, 4):
        a = load32(mem, first + k)
        b = load32(mem, second + k)
        low = _mix(_mix(low, a, 0x2C1B3C6D), b, 0x297A2D39)
        high = _mix(_mix(high, b, 0x5BD1E995), a, 0x1B873593)
    a = load16(mem, transport)
    b = load16(mem, transport + 2)
    ports = (b << 16 | a) if backwards else (a << 16 | b)
    return _mix(low, ports, 0x297A2D39) << 30 ^ _mix(high, ports, 0x5BD1E995) | 1 << 62


@inlined
def _find(table, key, insert):
    """Row of a direction; -1 when it is unknown and `insert` is not set."""
    sets = len(table.key) // _WAYS
    first = (key & (sets - 1)) * _WAYS
    table.clock[0] += 1
    oldest = first
    for row in range(first, first + _WAYS):
        if table.key[row] == key:
            table.used_at[row] = table.clock[0]
            return row
        if table.used_at[row] < table.used_at[oldest]:
            oldest = row
    if not insert:
        return np.int64(-1)
    table.key[oldest] = key
    table.announced[oldest] = 0
    table.largest[oldest] = 0
    table.used_at[oldest] = table.clock[0]
    return oldest


@inlined
def _mss_option(mem, at, end):
    """Value of the MSS option between `at` and `end`, or 0."""
    while at < end:
        kind = load8(mem, at)
        if kind == tcp.OPTION_END:
            break
        if kind == tcp.OPTION_NOP:
            at += 1
            continue
        if at + 2 > end:
            break
        size = load8(mem, at + 1)
        if kind == tcp.OPTION_MSS and size == 4 and at + 4 <= end:
            return load16(mem, at + 2)
        if size < 2:
            break
        at += size
    return np.int64(0)


@inlined
def _ip_length(batch, i):
    return batch.payload_offset[i] - batch.network_offset[i] + batch.payload_len[i]


@inlined
def _usable(batch, i):
    """Whether frame `i` has a whole transport header that belongs to one packet."""
    return batch.transport_offset[i] > 0 and not batch.shape[i] & (FRAGMENT | MALFORMED)


@kernel
def learn(batch, table):
    """Learn announced and seen segment sizes from every frame of a batch."""
    mem = batch.pool.mem
    for i in range(batch.used[FRAMES]):
        if not _usable(batch, i):
            continue
        transport = batch.head_addr[i] + batch.transport_offset[i]
        if batch.protocol[i] == tcp.PROTOCOL and load8(mem, transport + tcp.FLAG_WORD + 1) & tcp.SYN:
            mss = _mss_option(mem, transport + tcp.LENGTH, batch.head_addr[i] + batch.payload_offset[i])
            if mss >= SMALLEST_MSS:
                table.announced[_find(table, _direction_key(batch, i, False), True)] = mss
        elif batch.payload_len[i] >= DEFAULT_MSS and _ip_length(batch, i) <= DEFAULT_MTU:
            row = _find(table, _direction_key(batch, i, False), True)
            table.largest[row] = max(table.largest[row], batch.payload_len[i])


@inlined
def segment_size(batch, i, table, mtu):
    """Return (payload bytes in a segment, basis) for frame `i`; `WIRE_SIZE` when it needs no cut.

    `mtu` is the explicit one, 0 for none.
    """
    if not _usable(batch, i) or batch.shape[i] & CUT:
        return np.int64(0), WIRE_SIZE
    payload = np.int64(batch.payload_len[i])
    if batch.protocol[i] != tcp.PROTOCOL and batch.protocol[i] != udp.PROTOCOL:
        return np.int64(0), WIRE_SIZE
    headers = np.int64(batch.payload_offset[i] - batch.network_offset[i])
    size = np.int64(mtu) - headers
    basis = MTU
    if mtu == 0:
        size, basis = _learnt_size(batch, i, table, headers)
    size = max(size, np.int64(1))
    if payload <= size:
        return np.int64(0), WIRE_SIZE
    return size, basis


@inlined
def _learnt_size(batch, i, table, headers):
    row = _find(table, _direction_key(batch, i, False), False)
    if batch.protocol[i] == tcp.PROTOCOL:
        options = np.int64(batch.payload_offset[i] - batch.transport_offset[i]) - tcp.LENGTH
        back = _find(table, _direction_key(batch, i, True), False)
        ours = np.int64(table.announced[row]) if row >= 0 else np.int64(0)
        theirs = np.int64(table.announced[back]) if back >= 0 else np.int64(0)
        mss = min(ours, theirs) if ours > 0 and theirs > 0 else max(ours, theirs)
        if mss - options >= SMALLEST_MSS:
            return mss - options, SYN
    if row >= 0 and table.largest[row] > 0 and _ip_length(batch, i) > DEFAULT_MTU:
        return np.int64(table.largest[row]), SEEN
    return DEFAULT_MTU - headers, DEFAULT
