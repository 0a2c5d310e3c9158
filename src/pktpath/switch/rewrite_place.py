"""Where the headers of a frame are, behind however many tags it has by now: what `set_field` writes into."""

import numpy as np

from pktpath.jit import inlined
from pktpath.switch.fields import FRAG_ANY, FRAG_LATER
from pktpath.switch.ip_headers import behind_extensions, behind_snap, ipv4_frag, ipv4_lengths, ipv6_length, is_arp
from pktpath.wire import ethernet, icmp, ipv4, link
from pktpath.wire.load import load8, load16


@inlined
def headers_of(batch, i):
    """Return what stands where in frame `i`.

    (dl_type or 0, address of the network header, protocol, address of the transport header or 0, address where the
    packet or the head ends, bytes of transport or 0 where a fragment does not say, whether a routing header has segments
    left). dl_type is 0 where the network header cannot be trusted, and ARP's for RARP too.
    """
    frame = batch.frames[i]
    mem = batch.pool.mem
    base = frame.head_addr
    head = np.int64(frame.head_len)
    size = np.int64(frame.frame_len)
    whole = frame.gso_size > 0
    nothing = np.int64(0)
    offset = np.int64(frame.network_offset)
    if frame.link != link.ETHERNET or offset < ethernet.LENGTH or offset > head:
        return nothing, base, nothing, nothing, base, nothing, False
    kind = load16(mem, base + offset - 2)
    if kind < ethernet.LEAST_ETHERTYPE:
        kind, offset = behind_snap(mem, base, head, offset)
    at = base + offset
    if kind == ethernet.IPV4:
        header, length = ipv4_lengths(mem, at, head - offset, size - offset, whole)
        if length < 0:
            return nothing, at, nothing, nothing, at, nothing, False
        frag = ipv4_frag(mem, at)
        transport = at + header if frag & FRAG_LATER == 0 else nothing
        left = length - header if frag == 0 else nothing
        return kind, at, load8(mem, at + ipv4.PROTOCOL), transport, base + min(head, offset + length), left, False
    if kind == ethernet.IPV6:
        length = ipv6_length(mem, at, head - offset, size - offset, whole)
        if length < 0:
            return nothing, at, nothing, nothing, at, nothing, False
        end = base + min(head, offset + length)
        protocol, frag, transport, routed = behind_extensions(mem, at, end)
        left = at + length - transport if frag & FRAG_ANY == 0 else nothing
        if protocol < 0 or frag & FRAG_LATER:
            transport = nothing
        return kind, at, protocol, transport, end, left, routed
    if (kind == ethernet.ARP or kind == ethernet.RARP) and is_arp(mem, at, head - offset):
        return np.int64(ethernet.ARP), at, nothing, nothing, base + head, nothing, False
    return nothing, at, nothing, nothing, at, nothing, False


@inlined
def discovery_option(mem, transport, end, wanted):
    """Return the address of the link-layer address `wanted` (an option type) in a solicitation or advertisement, or 0."""
    option = transport + icmp.OPTIONS
    while option + icmp.OPTION_UNIT <= end:
        units = load8(mem, option + 1)
        if units == 0:
            break
        if units == 1 and load8(mem, option) == wanted:
            return option + 2
        option += units * icmp.OPTION_UNIT
    return np.int64(0)
