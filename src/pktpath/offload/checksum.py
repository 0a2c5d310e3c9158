"""Checksum offload: what a transport checksum says, and writing the ones that were left to a device.

Enters: parsed frames. `classify` only looks; `verify` notes the answer as a device would
(`ip_summed`, `payload_sum`); `complete` writes. A *partial* checksum is the folded sum of the
pseudo-header, not complemented: a sender leaves it for its network card to add the rest
(Documentation/networking/checksum-offloads.rst). Windows leaves the length out of that sum when
the card is to cut the frame (NDIS large send offload).
"""

from enum import IntEnum

import numpy as np

from pktpath.batch import CHECKSUM_BAD, CHECKSUM_NONE, CHECKSUM_PARTIAL, CHECKSUM_UNNECESSARY
from pktpath.jit import inlined, kernel
from pktpath.offload.head import private_head
from pktpath.wire import ipv4, ipv6, tcp, udp
from pktpath.wire.checksum import fold, pseudo_sum, sum_bytes, swap
from pktpath.wire.load import load8, load16, store16
from pktpath.wire.parse import (
    BAD_IP_CHECKSUM,
    EXTENSION_HEADERS,
    FRAGMENT,
    JUMBO,
    MALFORMED,
    ZERO_LENGTH,
    ip_header_sum,
)


class ChecksumState(IntEnum):
    """What one checksum field turned out to be."""

    NOT_APPLICABLE = 0
    """The frame has no such checksum, or one of a protocol that is not looked at."""
    RIGHT = 1
    WRONG = 2
    PARTIAL = 3
    """The sum of the pseudo-header with the length: left to the device."""
    PARTIAL_NO_LENGTH = 4
    """The sum of the pseudo-header without the length: left to the device, which cuts the frame too."""
    ZERO = 5
    """UDP without a checksum; an IPv4 header checksum that was left to the device."""
    NOT_VERIFIABLE = 6
    """Not all that is summed is here: cut by a snaplen, a fragment, malformed, on its way through a routing header."""


NOT_APPLICABLE, RIGHT, WRONG, PARTIAL, PARTIAL_NO_LENGTH, ZERO, NOT_VERIFIABLE = (int(state) for state in ChecksumState)

ICMP, ICMPV6 = 1, 58
_ICMP_LENGTH = 8


@kernel
def classify(batch, first, last, transport, header):
    """Write the `ChecksumState` of frames `first` to `last` (excluded) into two uint8 columns.

    `transport` gets that of TCP, UDP, ICMP and ICMPv6, `header` that of the IPv4 header, both at the
    index of the frame. Nothing else changes but `payload_sum`, which is filled on the way.
    """
    for i in range(first, last):
        transport[i] = transport_state(batch, i)
        header[i] = header_state(batch, i)


@kernel
def verify(batch, first, last):
    """Set `ip_summed` of frames `first` to `last` (excluded) where it is `CHECKSUM_NONE`.

    Right becomes `CHECKSUM_UNNECESSARY`, wrong `CHECKSUM_BAD`, partial `CHECKSUM_PARTIAL` with
    `csum_start` and `csum_offset`; what cannot be judged, and UDP without a checksum, stays.
    """
    for i in range(first, last):
        if batch.ip_summed[i] == CHECKSUM_NONE:
            verify_frame(batch, i)


@kernel
def complete(batch, first, last, repair):
    """Write the checksums of frames `first` to `last` (excluded) that were left to the device.

    These are the transport checksums of frames that are `CHECKSUM_PARTIAL` and IPv4 header
    checksums of 0; with `repair` also `CHECKSUM_BAD` ones and wrong header checksums. Returns how many
    transport and how many header checksums were written, and how many were not because the pool had no
    chunk for their headers.
    """
    transports = headers = missed = 0
    for i in range(first, last):
        state = batch.ip_summed[i]
        if (state == CHECKSUM_PARTIAL or (repair and state == CHECKSUM_BAD)) and covered_length(batch, i) > 0:
            if complete_frame(batch, i):
                transports += 1
            else:
                missed += 1
        header = header_state(batch, i)
        if header == ZERO or (repair and header == WRONG):
            if complete_header(batch, i):
                headers += 1
            else:
                missed += 1
    return transports, headers, missed


@inlined
def verify_frame(batch, i):
    """Set `ip_summed` of frame `i` (see `verify`) and return its `ChecksumState`."""
    state = transport_state(batch, i)
    if state == RIGHT:
        batch.ip_summed[i] = CHECKSUM_UNNECESSARY
    elif state == WRONG:
        batch.ip_summed[i] = CHECKSUM_BAD
    elif state in (PARTIAL, PARTIAL_NO_LENGTH):
        _set_partial(batch, i)
    return state


@inlined
def _set_partial(batch, i):
    batch.ip_summed[i] = CHECKSUM_PARTIAL
    batch.csum_start[i] = batch.transport_offset[i]
    batch.csum_offset[i] = _field_offset(batch, i)


@inlined
def header_state(batch, i):
    """Return the `ChecksumState` of the IPv4 header of frame `i`."""
    if batch.network[i] != 4:
        return NOT_APPLICABLE
    if not batch.shape[i] & BAD_IP_CHECKSUM:
        return RIGHT
    field = load16(batch.pool.mem, batch.head_addr[i] + batch.network_offset[i] + ipv4.CHECKSUM)
    return ZERO if field == 0 else WRONG


@inlined
def transport_state(batch, i):
    """Return the `ChecksumState` of the transport of frame `i`, and fill `payload_sum` of TCP and UDP."""
    protocol = batch.protocol[i]
    if batch.shape[i] & MALFORMED:
        return NOT_VERIFIABLE
    if batch.network[i] == 0:
        return NOT_APPLICABLE
    if protocol == tcp.PROTOCOL or protocol == udp.PROTOCOL:
        return _tcp_udp_state(batch, i)
    if protocol == (ICMP if batch.network[i] == 4 else ICMPV6):
        return _icmp_state(batch, i)
    return NOT_APPLICABLE


@inlined
def _tcp_udp_state(batch, i):
    length = covered_length(batch, i)
    if length == 0:
        return NOT_VERIFIABLE
    mem = batch.pool.mem
    protocol = np.int64(batch.protocol[i])
    field = load16(mem, batch.head_addr[i] + batch.transport_offset[i] + _field_offset(batch, i))
    if field == 0 and protocol == udp.PROTOCOL:
        return ZERO
    pseudo = _pseudo(batch, i, length)
    if fold(pseudo + _transport_sum(batch, i, length)) == 0xFFFF:
        return RIGHT
    return _partial_or_wrong(batch, i, field, pseudo, protocol)


@inlined
def _partial_or_wrong(batch, i, field, pseudo, protocol):
    if field == pseudo:
        return PARTIAL
    at = batch.head_addr[i] + batch.network_offset[i]
    without_length = pseudo_sum(batch.pool.mem, at, np.int64(batch.network[i]), protocol, np.int64(0))
    return PARTIAL_NO_LENGTH if field == without_length else WRONG


@inlined
def covered_length(batch, i):
    """Bytes that the TCP or UDP checksum of frame `i` covers, or 0 where not all of them are here."""
    transport = np.int64(batch.transport_offset[i])
    length = batch.payload_offset[i] + batch.payload_len[i] - transport
    shape = batch.shape[i]
    if transport == 0 or transport + length > batch.frame_len[i] or shape & MALFORMED:
        return np.int64(0)
    if shape & (FRAGMENT | EXTENSION_HEADERS) and upper_layer(batch, i) == 0:
        return np.int64(0)
    if batch.protocol[i] == udp.PROTOCOL:
        told = load16(batch.pool.mem, batch.head_addr[i] + transport + udp.UDP_LENGTH)
        if told == 0 and shape & (JUMBO | ZERO_LENGTH):  # RFC 2675, section 4
            return length
        return told if udp.LENGTH <= told <= length else np.int64(0)
    return length


@inlined
def upper_layer(batch, i):
    """Offset of the upper-layer header of frame `i`, 0 where its checksum cannot be judged.

    That is a fragment that is not the whole packet, and an IPv6 routing header with segments left: the
    checksum is that of the last destination (RFC 8200, section 8.1). `network` and no `MALFORMED` are proved.
    """
    mem = batch.pool.mem
    base = batch.head_addr[i]
    offset = np.int64(batch.network_offset[i])
    if batch.network[i] == 4:
        return np.int64(0) if batch.shape[i] & FRAGMENT else offset + (load8(mem, base + offset) & 15) * 4
    kind = load8(mem, base + offset + ipv6.NEXT_HEADER)
    offset += ipv6.LENGTH
    while kind in (ipv6.HOP_BY_HOP, ipv6.ROUTING, ipv6.DESTINATION_OPTIONS, ipv6.FRAGMENT_HEADER):
        size = (load8(mem, base + offset + 1) + 1) * 8
        if kind == ipv6.FRAGMENT_HEADER:
            size = np.int64(ipv6.FRAGMENT_LENGTH)
            if load16(mem, base + offset + ipv6.FRAGMENT_OFFSET) & ipv6.FRAGMENT_PLACE:
                return np.int64(0)
        elif kind == ipv6.ROUTING and load8(mem, base + offset + ipv6.SEGMENTS_LEFT) > 0:
            return np.int64(0)
        kind = load8(mem, base + offset)
        offset += size
    return offset


@inlined
def _field_offset(batch, i):
    return np.int64(tcp.CHECKSUM if batch.protocol[i] == tcp.PROTOCOL else udp.CHECKSUM)


@inlined
def _pseudo(batch, i, length):
    at = batch.head_addr[i] + batch.network_offset[i]
    return pseudo_sum(batch.pool.mem, at, np.int64(batch.network[i]), np.int64(batch.protocol[i]), length)


@inlined
def _transport_sum(batch, i, length):
    """Folded sum of `length` bytes from the transport header of frame `i` on."""
    header = np.int64(batch.payload_offset[i] - batch.transport_offset[i])
    total = sum_bytes(batch.pool.mem, batch.head_addr[i] + batch.transport_offset[i], header)
    if length == header + batch.payload_len[i]:
        return fold(total + payload_sum_of(batch, i))
    return fold(total + range_sum(batch, i, np.int64(batch.payload_offset[i]), length - header))


@inlined
def payload_sum_of(batch, i):
    """Folded sum of the transport payload of frame `i`: from its column, else summed and noted there."""
    known = np.int64(batch.payload_sum[i])
    if known >= 0:
        return known
    total = range_sum(batch, i, np.int64(batch.payload_offset[i]), np.int64(batch.payload_len[i]))
    batch.payload_sum[i] = total
    return total


@inlined
def range_sum(batch, i, offset, length):
    """Folded sum of `length` bytes of frame `i` from `offset` on, over its head and its fragments."""
    first = np.int64(batch.frag_first[i])
    total = np.int64(0)
    odd = False
    for row in range(first - 1, first + batch.frag_count[i]):
        if row < first:
            at, size = batch.head_addr[i], np.int64(batch.head_len[i])
        else:
            at, size = batch.frag_addr[row], np.int64(batch.frag_len[row])
        skipped = min(offset, size)
        taken = min(size - skipped, length)
        part = sum_bytes(batch.pool.mem, at + skipped, taken)
        total += swap(part) if odd else part
        odd ^= taken & 1 == 1
        offset -= skipped
        length -= taken
    return fold(total)


@inlined
def _icmp_state(batch, i):
    # A jumbo packet is a super-frame, and ICMP has none.
    offset = np.int64(0) if batch.shape[i] & JUMBO else upper_layer(batch, i)
    end = _packet_end(batch, i)
    if offset == 0 or end > batch.frame_len[i] or offset + _ICMP_LENGTH > end:
        return NOT_VERIFIABLE
    total = range_sum(batch, i, offset, end - offset)
    if batch.network[i] == 6:
        total = fold(total + _pseudo(batch, i, end - offset))
    return RIGHT if total == 0xFFFF else WRONG


@inlined
def _packet_end(batch, i):
    """Offset at which the IP packet of frame `i` ends, by its own length."""
    if batch.shape[i] & ZERO_LENGTH:
        return np.int64(batch.wire_len[i])
    offset = np.int64(batch.network_offset[i])
    at = batch.head_addr[i] + offset
    if batch.network[i] == 4:
        return offset + load16(batch.pool.mem, at + ipv4.TOTAL_LENGTH)
    return offset + ipv6.LENGTH + load16(batch.pool.mem, at + ipv6.PAYLOAD_LENGTH)


@inlined
def complete_frame(batch, i):
    """Write the whole TCP or UDP checksum of frame `i`, and say whether it could.

    Shared or read-only headers are copied first (`private_head`). False where the pool has no chunk,
    or not all that is summed is here: then the frame is as it was.
    """
    length = covered_length(batch, i)
    if length == 0 or not private_head(batch, i, batch.payload_offset[i]):
        return False
    mem = batch.pool.mem
    field = batch.head_addr[i] + batch.transport_offset[i] + _field_offset(batch, i)
    store16(mem, field, np.int64(0))
    value = 0xFFFF - fold(_pseudo(batch, i, length) + _transport_sum(batch, i, length))
    if value == 0 and batch.protocol[i] == udp.PROTOCOL:
        value = np.int64(0xFFFF)
    store16(mem, field, value)
    batch.ip_summed[i] = CHECKSUM_UNNECESSARY
    return True


@inlined
def partial_frame(batch, i):
    """Write the kernel's partial form into the TCP or UDP checksum of frame `i`, and say whether it could."""
    length = covered_length(batch, i)
    if length == 0 or not private_head(batch, i, batch.payload_offset[i]):
        return False
    field = batch.head_addr[i] + batch.transport_offset[i] + _field_offset(batch, i)
    store16(batch.pool.mem, field, _pseudo(batch, i, length))
    _set_partial(batch, i)
    return True


@inlined
def complete_header(batch, i):
    """Write the header checksum of frame `i`, which is IPv4, and say whether there was a chunk for it."""
    offset = np.int64(batch.network_offset[i])
    header = (load8(batch.pool.mem, batch.head_addr[i] + offset) & 15) * 4
    if not private_head(batch, i, max(offset + header, np.int64(batch.payload_offset[i]))):
        return False
    at = batch.head_addr[i] + offset
    store16(batch.pool.mem, at + ipv4.CHECKSUM, np.int64(0))
    store16(batch.pool.mem, at + ipv4.CHECKSUM, 0xFFFF - ip_header_sum(batch.pool.mem, at, header))
    batch.shape[i] &= ~np.uint16(BAD_IP_CHECKSUM)
    return True
