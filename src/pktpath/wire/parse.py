"""The one parse: prove what a frame's linear head holds and write it down.

Enters: `head_addr`, `head_len`, `frame_len`, `wire_len`, `link` (and `vlan_proto`). Leaves:
`network`, `protocol`, `shape` and the offset columns. What is not set there was not proved, and no
later stage may load it. Headers must lie in the linear head; payload may continue in fragments.
"""

from enum import IntFlag

import numpy as np

from pktpath.jit import inlined, kernel
from pktpath.wire import ethernet, ipv4, ipv6, link, tcp, udp
from pktpath.wire.load import load8, load16, load32


class Shape(IntFlag):
    """What is special about a frame, by parsing alone."""

    TAGGED = 1
    """One or two VLAN tags stand in the frame."""
    FRAGMENT = 2
    """An IP fragment; only the first one has a transport header to see."""
    IP_OPTIONS = 4
    """IPv4 options."""
    EXTENSION_HEADERS = 8
    """IPv6 extension headers before the transport."""
    BAD_IP_CHECKSUM = 16
    """The IPv4 header checksum is wrong."""
    PADDED = 32
    """Bytes follow the end of the IP packet: Ethernet padding, or an IP length that is too small."""
    CUT = 64
    """The IP packet is longer than the bytes present: a snaplen cut it, or the length lies."""
    ZERO_LENGTH = 128
    """IPv4 total length 0 or IPv6 payload length 0 without a jumbo option: the frame's own length counts (BIG TCP, LSO)."""
    JUMBO = 256
    """IPv6 jumbo payload option (RFC 2675)."""
    MALFORMED = 512
    """A header contradicts itself or ends before its own length."""
    RESERVED_BIT = 1024
    """The reserved bit of the IPv4 fragment word is set."""


TAGGED, FRAGMENT, IP_OPTIONS, EXTENSION_HEADERS, BAD_IP_CHECKSUM, PADDED, CUT, ZERO_LENGTH, JUMBO, MALFORMED, RESERVED_BIT = (
    int(bit) for bit in Shape
)


@kernel
def parse(batch, first, last):
    """Parse frames `first` to `last` (excluded) of a batch."""
    for i in range(first, last):
        parse_frame(batch, i)


@inlined
def parse_frame(batch, i):
    """Parse frame `i`."""
    frame = batch.frames[i]
    mem = batch.pool.mem
    base = frame.head_addr
    end = np.int64(frame.head_len)
    frame.network = 0
    frame.protocol = 0
    frame.transport_offset = 0
    frame.payload_offset = 0
    frame.payload_len = 0
    frame.shape_flags = CUT if frame.wire_len > frame.frame_len else 0

    ethertype, offset = _link_header(mem, base, end, frame.link)
    while ethertype == ethernet.VLAN or ethertype == ethernet.QINQ:
        if offset + ethernet.TAG_LENGTH > end:
            frame.shape_flags |= MALFORMED
            ethertype = 0
            break
        frame.shape_flags |= TAGGED
        ethertype = load16(mem, base + offset + 2)
        offset += ethernet.TAG_LENGTH
    frame.network_offset = offset
    if ethertype == ethernet.IPV4:
        _parse_ipv4(batch, i, mem, base, end, offset)
    elif ethertype == ethernet.IPV6:
        _parse_ipv6(batch, i, mem, base, end, offset)


@inlined
def _link_header(mem, base, end, kind):
    """Return (ethertype or 0, offset of what follows) for one link header."""
    if kind == link.ETHERNET:
        if end < ethernet.LENGTH:
            return 0, end
        return load16(mem, base + ethernet.ETHERTYPE), np.int64(ethernet.LENGTH)
    if kind == link.RAW:
        return (_ethertype_of_version(mem, base) if end > 0 else 0), np.int64(0)
    if kind == link.SLL:
        return (load16(mem, base + 14), np.int64(16)) if end >= 16 else (0, end)
    if kind == link.SLL2:
        return (load16(mem, base), np.int64(20)) if end >= 20 else (0, end)
    if kind in (link.NULL, link.LOOP):
        return (_ethertype_of_family(mem, base), np.int64(4)) if end >= 4 else (0, end)
    return 0, np.int64(0)


@inlined
def _ethertype_of_version(mem, at):
    version = load8(mem, at) >> 4
    if version == 4:
        return ethernet.IPV4
    return ethernet.IPV6 if version == 6 else 0


@inlined
def _ethertype_of_family(mem, at):
    family = load32(mem, at)
    if family > 0xFFFF:  # written by a machine of the other byte order
        family = family >> 24 | (family >> 8 & 0xFF00)
    if family == link.AF_INET:
        return ethernet.IPV4
    return ethernet.IPV6 if family in link.AF_INET6_VALUES else 0


@inlined
def ip_header_sum(mem, at, length):
    """Folded ones' complement sum of an IPv4 header: 0xFFFF when its checksum is right."""
    total = np.int64(0)
    for k in range(0, length, 4):
        total += load32(mem, at + k)
    total = (total >> 32) + (total & 0xFFFFFFFF)
    total = (total >> 16) + (total & 0xFFFF)
    total = (total >> 16) + (total & 0xFFFF)
    return (total >> 16) + (total & 0xFFFF)


@inlined
def _parse_ipv4(batch, i, mem, base, end, offset):
    frame = batch.frames[i]
    if offset + ipv4.LENGTH > end:
        frame.shape_flags |= MALFORMED
        return
    at = base + offset
    version_ihl = load8(mem, at)
    header = (version_ihl & 15) * 4
    if version_ihl >> 4 != 4 or header < ipv4.LENGTH or offset + header > end:
        frame.shape_flags |= MALFORMED
        return
    frame.network = 4
    frame.protocol = mem[at + ipv4.PROTOCOL]
    shape = np.int64(frame.shape_flags)
    if header > ipv4.LENGTH:
        shape |= IP_OPTIONS
    if ip_header_sum(mem, at, header) != 0xFFFF:
        shape |= BAD_IP_CHECKSUM
    present = frame.frame_len - offset
    length = load16(mem, at + ipv4.TOTAL_LENGTH)
    if length == 0:
        shape |= ZERO_LENGTH
        length = np.int64(frame.wire_len) - offset
    elif length < header:
        frame.shape_flags = shape | MALFORMED
        return
    if length < present:
        shape |= PADDED
    elif length > present:
        shape |= CUT
    fragment = load16(mem, at + ipv4.FRAGMENT)
    if fragment & ipv4.RESERVED:
        shape |= RESERVED_BIT
    if fragment & (ipv4.MF | ipv4.OFFSET_MASK):
        shape |= FRAGMENT
    frame.shape_flags = shape
    if fragment & ipv4.OFFSET_MASK == 0:
        _parse_transport(batch, i, mem, base, end, offset + header, offset + length)


@inlined
def _parse_ipv6(batch, i, mem, base, end, offset):
    frame = batch.frames[i]
    at = base + offset
    if offset + ipv6.LENGTH > end or load8(mem, at) >> 4 != 6:
        frame.shape_flags |= MALFORMED
        return
    frame.network = 6
    shape = np.int64(frame.shape_flags)
    next_header = load8(mem, at + ipv6.NEXT_HEADER)
    length = load16(mem, at + ipv6.PAYLOAD_LENGTH)
    transport = offset + ipv6.LENGTH
    jumbo = np.int64(0)
    first_fragment = True
    while next_header in (ipv6.HOP_BY_HOP, ipv6.ROUTING, ipv6.DESTINATION_OPTIONS, ipv6.FRAGMENT_HEADER):
        if transport + 8 > end:
            shape |= MALFORMED
            break
        if next_header == ipv6.FRAGMENT_HEADER:
            size = np.int64(ipv6.FRAGMENT_LENGTH)
            shape |= FRAGMENT
            first_fragment = load16(mem, base + transport + ipv6.FRAGMENT_OFFSET) >> 3 == 0
        else:
            size = (load8(mem, base + transport + 1) + 1) * 8
            if transport + size > end:
                shape |= MALFORMED
                break
            if next_header == ipv6.HOP_BY_HOP and length == 0:
                jumbo = _jumbo_length(mem, base + transport + 2, base + transport + size)
        shape |= EXTENSION_HEADERS
        next_header = load8(mem, base + transport)
        transport += size
        if not first_fragment:
            break
    frame.protocol = next_header
    if length == 0 and jumbo > 0:
        shape |= JUMBO
        length = jumbo
    elif length == 0 and frame.wire_len - offset > ipv6.LENGTH:
        shape |= ZERO_LENGTH
        length = np.int64(frame.wire_len) - offset - ipv6.LENGTH
    present = frame.frame_len - offset - ipv6.LENGTH
    if length < present:
        shape |= PADDED
    elif length > present:
        shape |= CUT
    frame.shape_flags = shape
    if first_fragment and not shape & MALFORMED:
        _parse_transport(batch, i, mem, base, end, transport, offset + ipv6.LENGTH + length)


@inlined
def _jumbo_length(mem, at, end):
    """Value of the jumbo payload option between `at` and `end`, or 0."""
    while at + 1 < end:
        kind = load8(mem, at)
        if kind == 0:
            at += 1
            continue
        size = load8(mem, at + 1)
        if kind == ipv6.JUMBO_OPTION and size == 4 and at + 6 <= end:
            return load32(mem, at + 2)
        at += size + 2
    return 0


@inlined
def _parse_transport(batch, i, mem, base, end, transport, packet_end):
    """Prove a TCP or UDP header; `packet_end` is where the IP packet ends by its own length."""
    protocol = batch.frames[i].protocol
    if protocol == tcp.PROTOCOL:
        header = np.int64(tcp.LENGTH)
        if transport + header <= min(end, packet_end):
            header = (load8(mem, base + transport + tcp.FLAG_WORD) >> 4) * 4
    elif protocol == udp.PROTOCOL:
        header = np.int64(udp.LENGTH)
    else:
        return
    if transport + header > packet_end or (protocol == tcp.PROTOCOL and header < tcp.LENGTH):
        batch.frames[i].shape_flags |= MALFORMED
        return
    if transport + header > end:
        if not batch.frames[i].shape_flags & CUT:
            batch.frames[i].shape_flags |= MALFORMED
        return
    batch.frames[i].transport_offset = transport
    batch.frames[i].payload_offset = transport + header
    # A jumbo length may lie beyond what the column holds; such a frame is `CUT` anyway.
    batch.frames[i].payload_len = min(packet_end - transport - header, np.int64(0x7FFFFFFF))
