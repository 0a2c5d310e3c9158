"""How Open vSwitch reads IP and ARP headers: what must be so before a field of theirs counts.

It differs from `wire.parse` at the edges: versions are not judged, an IP length of 0 is a lie unless the frame is a
super-frame, an authentication header is looked through, and 802.3 frames may hold IP behind SNAP. Addresses are
places in `mem`; what is not in the linear head does not exist.
"""

import numpy as np

from pktpath.jit import inlined
from pktpath.switch.fields import FRAG_ANY, FRAG_LATER
from pktpath.wire import arp, ethernet, icmp, ipv4, ipv6
from pktpath.wire.load import load8, load16, load64

DL_TYPE_NONE = 0x05FF
"""dl_type of an 802.3 frame without an Ethertype."""
_MAX_PADDING = 0xFFFF
_QUARTER = np.uint64(16)


@inlined
def behind_snap(mem, base, head, offset):
    """Return (dl_type, offset behind it) of an 802.3 frame whose 802.2 header is at `offset`."""
    if offset + ethernet.SNAP_LENGTH <= head and load64(mem, base + offset) >> _QUARTER == np.uint64(ethernet.SNAP_WORD):
        dl_type = load16(mem, base + offset + ethernet.SNAP_TYPE)
        offset += ethernet.SNAP_LENGTH
        if dl_type >= ethernet.LEAST_ETHERTYPE:
            return dl_type, offset
    return np.int64(DL_TYPE_NONE), offset


@inlined
def ipv4_lengths(mem, at, head, size, whole):
    """Return (header, total length) of the IPv4 packet at `at`, or the length -1 where they contradict what is there.

    `head` bytes from `at` on can be read, `size` exist. `whole`: a length of 0 means all that exists.
    """
    if head < ipv4.LENGTH:
        return np.int64(0), np.int64(-1)
    header = (load8(mem, at) & 15) * 4
    length = load16(mem, at + ipv4.TOTAL_LENGTH)
    if length == 0 and whole:
        length = size
    if header < ipv4.LENGTH or header > head or header > length or length > size or size - length > _MAX_PADDING:
        return header, np.int64(-1)
    return header, length


@inlined
def ipv4_frag(mem, at):
    """Return nw_frag of the IPv4 packet at `at`."""
    place = load16(mem, at + ipv4.FRAGMENT)
    if place & ipv4.OFFSET_MASK:
        return np.int64(FRAG_ANY | FRAG_LATER)
    return np.int64(FRAG_ANY) if place & ipv4.MF else np.int64(0)


@inlined
def ipv6_length(mem, at, head, size, whole):
    """Return the length with its header of the IPv6 packet at `at`, or -1; arguments as in `ipv4_lengths`."""
    if head < ipv6.LENGTH:
        return np.int64(-1)
    length = load16(mem, at + ipv6.PAYLOAD_LENGTH) + ipv6.LENGTH
    if length == ipv6.LENGTH and whole:
        length = size
    return length if length <= size <= length + _MAX_PADDING else np.int64(-1)


@inlined
def behind_extensions(mem, at, end):
    """Walk the extension headers of the IPv6 packet at `at` whose bytes end at `end`.

    Returns (protocol or -1, nw_frag, address of the transport, whether a routing header has segments left: then the
    transport's checksum is made with an address that is not the destination of this header).
    """
    protocol = load8(mem, at + ipv6.NEXT_HEADER)
    at += ipv6.LENGTH
    frag = np.int64(0)
    routed = False
    while protocol in (
        ipv6.HOP_BY_HOP,
        ipv6.ROUTING,
        ipv6.DESTINATION_OPTIONS,
        ipv6.AUTHENTICATION,
        ipv6.FRAGMENT_HEADER,
    ):
        if at + 8 > end:
            return np.int64(-1), frag, at, routed
        length = (load8(mem, at + 1) + 1) * 8
        if protocol == ipv6.AUTHENTICATION:
            length = (load8(mem, at + 1) + 2) * 4
        elif protocol == ipv6.FRAGMENT_HEADER:
            length = np.int64(ipv6.FRAGMENT_LENGTH)
            place = load16(mem, at + ipv6.FRAGMENT_OFFSET)
            if place >> 3:
                return np.int64(ipv6.FRAGMENT_HEADER), np.int64(FRAG_ANY | FRAG_LATER), at, routed
            if place:
                frag = np.int64(FRAG_ANY)
        elif protocol == ipv6.ROUTING and load8(mem, at + ipv6.SEGMENTS_LEFT):
            routed = True
        if at + length > end:
            return np.int64(-1), frag, at, routed
        protocol = load8(mem, at)
        at += length
    return protocol, frag, at, routed


@inlined
def is_arp(mem, at, head):
    """Whether the `head` bytes at `at` are ARP for IPv4 over Ethernet."""
    return (
        head >= arp.LENGTH
        and load16(mem, at + arp.HARDWARE) == arp.ETHERNET
        and load16(mem, at + arp.PROTOCOL) == ethernet.IPV4
        and load16(mem, at + arp.SIZES) == arp.ADDRESS_SIZES
    )


@inlined
def is_discovery(mem, transport, end):
    """Whether the ICMPv6 at `transport` is a neighbour solicitation or advertisement with its target address."""
    if transport + icmp.OPTIONS > end or load8(mem, transport + icmp.CODE) != 0:
        return False
    kind = load8(mem, transport + icmp.TYPE)
    return kind == icmp.SOLICITATION or kind == icmp.ADVERTISEMENT
