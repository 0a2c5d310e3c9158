"""What a frame is hashed by: the IP header and the ports, of the frame itself or of what its tunnel carries.

`wire.parse` proves one IP header and the header of a TCP or UDP segment that is whole. A device needs less, four bytes of
ports, and they are there in many frames that a snaplen cut; and it may look into a tunnel. So this walks again
where parsing gives no answer, and loads only what it has proved itself.
"""

import numpy as np

from pktpath.jit import inlined
from pktpath.wire import ethernet, ipv4, ipv6, tcp, udp
from pktpath.wire.load import load8, load16
from pktpath.wire.parse import FRAGMENT

SCTP, GRE, IPV4_INSIDE, IPV6_INSIDE = 132, 47, 4, 41
"""Protocol numbers (RFC 9260, RFC 2784, RFC 2003, RFC 2473)."""
VXLAN_PORT, GENEVE_PORT = 4789, 6081
IN_FRAGMENT = -1
"""Instead of an address of ports."""
NO_TUNNEL, VXLAN, GENEVE, GRE_TUNNEL, IP_IN_IP = range(5)
"""What `locate` found around the header."""
TUNNELS = ("", "VXLAN", "Geneve", "GRE", "IP in IP")

_TUNNEL_HEADER = 8
"""Bytes of a VXLAN header (RFC 7348) and of a Geneve header without options (RFC 8926)."""
_VXLAN_HAS_ID = 0x08
_TRANSPARENT_ETHERNET = 0x6558
_GRE_CHECKSUM, _GRE_ROUTING, _GRE_KEY, _GRE_SEQUENCE, _GRE_VERSION = 0x8000, 0x4000, 0x2000, 0x1000, 7


@inlined
def locate(batch, i, inner):
    """Return (network, address of the IP header, protocol, address of the ports, tunnel) that frame `i` is hashed by.

    network is 0 for a frame without an IP header. The address of the ports is `IN_FRAGMENT` in any IP fragment, and 0 in other
    protocols than TCP, UDP and SCTP and where they are not here. With `inner` the innermost of at most two IP headers
    counts, and `tunnel` tells what it was in.
    """
    frame = batch.frames[i]
    mem = batch.pool.mem
    base = frame.head_addr
    network = np.int64(frame.network)
    if network == 0:
        return np.int64(0), np.int64(0), np.int64(0), np.int64(0), NO_TUNNEL
    at = base + np.int64(frame.network_offset)
    if frame.transport_offset > 0 and not frame.shape_flags & FRAGMENT:
        protocol = np.int64(frame.protocol)
        ports = base + np.int64(frame.transport_offset)
        if not inner or protocol == tcp.PROTOCOL:
            return network, at, protocol, ports, NO_TUNNEL
    _, protocol, ports, transport, limit = _ip_header(mem, at, base + np.int64(frame.head_len), network)
    if inner and transport > 0:
        ethertype, start, tunnel = _tunnel(mem, protocol, transport, limit)
        if tunnel != NO_TUNNEL:
            inside = 4 if ethertype == ethernet.IPV4 else 6 if ethertype == ethernet.IPV6 else 0
            good, inner_protocol, inner_ports, _, _ = _ip_header(mem, start, limit, inside)
            if good:
                return np.int64(inside), start, inner_protocol, inner_ports, tunnel
    return network, at, protocol, ports, NO_TUNNEL


@inlined
def tunnel_of(batch, i):
    """Return in which tunnel frame `i` carries an IP packet: `NO_TUNNEL` or one of its neighbours."""
    return locate(batch, i, True)[4]


@inlined
def _ip_header(mem, at, end, network):
    """Return (is one, protocol, ports as `locate` says, address of the transport, end of the packet) of an IP header.

    The transport is 0 in a fragment and where it is not here; the end is that of the bytes of the packet that are here.
    """
    if network == 4:
        return _ipv4_header(mem, at, end)
    if network == 6:
        return _ipv6_header(mem, at, end)
    return False, np.int64(0), np.int64(0), np.int64(0), end


@inlined
def _ipv4_header(mem, at, end):
    none = np.int64(0)
    if at + ipv4.LENGTH > end:
        return False, none, none, none, end
    version = load8(mem, at)
    header = (version & 15) * 4
    if version >> 4 != 4 or header < ipv4.LENGTH or at + header > end:
        return False, none, none, none, end
    protocol = load8(mem, at + ipv4.PROTOCOL)
    length = load16(mem, at + ipv4.TOTAL_LENGTH)
    limit = min(end, at + length) if length > 0 else end
    transport = at + header
    if load16(mem, at + ipv4.FRAGMENT) & (ipv4.MF | ipv4.OFFSET_MASK):
        return True, protocol, np.int64(IN_FRAGMENT), none, limit
    if transport > limit:
        return True, protocol, none, none, limit
    return True, protocol, _ports(protocol, transport, limit), transport, limit


@inlined
def _ipv6_header(mem, at, end):
    none = np.int64(0)
    if at + ipv6.LENGTH > end or load8(mem, at) >> 4 != 6:
        return False, none, none, none, end
    protocol = load8(mem, at + ipv6.NEXT_HEADER)
    length = load16(mem, at + ipv6.PAYLOAD_LENGTH)
    limit = min(end, at + ipv6.LENGTH + length) if length > 0 else end
    transport = at + ipv6.LENGTH
    while protocol == ipv6.HOP_BY_HOP or protocol == ipv6.ROUTING or protocol == ipv6.DESTINATION_OPTIONS:
        if transport + 8 > limit:
            return True, protocol, none, none, limit
        size = (load8(mem, transport + 1) + 1) * 8
        if transport + size > limit:
            return True, protocol, none, none, limit
        protocol = load8(mem, transport)
        transport += size
    if protocol == ipv6.FRAGMENT_HEADER:
        if transport + 8 <= limit:
            protocol = load8(mem, transport)
        return True, protocol, np.int64(IN_FRAGMENT), none, limit
    return True, protocol, _ports(protocol, transport, limit), transport, limit


@inlined
def _ports(protocol, transport, limit):
    """Return `transport` where it starts with four bytes of ports that are here, else 0."""
    hashed = protocol == tcp.PROTOCOL or protocol == udp.PROTOCOL or protocol == SCTP
    return transport if hashed and transport + 4 <= limit else np.int64(0)


@inlined
def _tunnel(mem, protocol, at, end):
    """Return (ethertype, address of what a tunnel carries, kind of tunnel), the header of which starts at `at`.

    The ethertype is that behind an inner Ethernet header and its VLAN tags; 0 where the tunnel carries no IP.
    """
    ethertype, tunnel = np.int64(0), NO_TUNNEL
    if protocol == udp.PROTOCOL:
        if at + udp.LENGTH + _TUNNEL_HEADER > end:
            return ethertype, at, NO_TUNNEL
        port = load16(mem, at + udp.DESTINATION_PORT)
        header = at + udp.LENGTH
        at = header + _TUNNEL_HEADER
        if port == VXLAN_PORT and load8(mem, header) & _VXLAN_HAS_ID:
            ethertype, tunnel = np.int64(_TRANSPARENT_ETHERNET), VXLAN
        elif port == GENEVE_PORT and load8(mem, header) >> 6 == 0:
            ethertype, tunnel = load16(mem, header + 2), GENEVE
            at += (load8(mem, header) & 0x3F) * 4
    elif protocol == GRE:
        if at + 4 > end:
            return ethertype, at, NO_TUNNEL
        flags = load16(mem, at)
        if flags & (_GRE_ROUTING | _GRE_VERSION) == 0:
            ethertype, tunnel = load16(mem, at + 2), GRE_TUNNEL
        at += 4
        for bit in (_GRE_CHECKSUM, _GRE_KEY, _GRE_SEQUENCE):
            if flags & bit:
                at += 4
    elif protocol == IPV4_INSIDE:
        ethertype, tunnel = np.int64(ethernet.IPV4), IP_IN_IP
    elif protocol == IPV6_INSIDE:
        ethertype, tunnel = np.int64(ethernet.IPV6), IP_IN_IP
    if ethertype == _TRANSPARENT_ETHERNET:
        if at + ethernet.LENGTH > end:
            return np.int64(0), at, NO_TUNNEL
        ethertype = load16(mem, at + ethernet.ETHERTYPE)
        at += ethernet.LENGTH
        while ethertype == ethernet.VLAN or ethertype == ethernet.QINQ:
            if at + ethernet.TAG_LENGTH > end:
                return np.int64(0), at, NO_TUNNEL
            ethertype = load16(mem, at + 2)
            at += ethernet.TAG_LENGTH
    if ethertype != ethernet.IPV4 and ethertype != ethernet.IPV6:
        tunnel = NO_TUNNEL
    return ethertype, at, tunnel
