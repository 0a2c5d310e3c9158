"""Which frames may be held at all: every rule that looks at one frame alone.

A frame that GRO does not understand *passes*: it is delivered at once, and what is held of its flow
stays held, so it overtakes it. One whose IP length or reserved bit is wrong *ends* what is held of
its flow, and then passes. Sources: `inet_gro_receive`, `ipv6_gro_receive`, `tcp4_gro_receive`,
`udp4_gro_receive`, `udp_gro_receive_segment`; the order of the checks is theirs.
"""

import numpy as np

from pktpath.batch import CHECKSUM_BAD, CHECKSUM_NONE, CHECKSUM_PARTIAL, CHECKSUM_UNNECESSARY
from pktpath.features import Feature
from pktpath.jit import inlined
from pktpath.offload.reason import Reason
from pktpath.wire import ipv4, ipv6, parse, tcp, udp
from pktpath.wire.checksum import fold, pseudo_sum, sum_bytes
from pktpath.wire.load import load8, load16

CANDIDATE, ENDS, PASSES = 0, 1, 2
"""Verdicts: may merge or be held; completes what is held of its flow and passes; passes."""

NOT_HARMLESS = ~(parse.TAGGED | parse.EXTENSION_HEADERS) & 0xFFFF
"""Shapes that need a look: all but tags and extension headers."""
GRO, _UDP_FORWARD = int(Feature.GRO), int(Feature.GRO_UDP_FWD)

_NONE, _NOT_IP, _MALFORMED, _CUT_BY_SNAPLEN = (
    int(Reason.NONE),
    int(Reason.NOT_IP),
    int(Reason.MALFORMED),
    int(Reason.CUT_BY_SNAPLEN),
)
_IP_OPTIONS, _IP_FRAGMENT, _BAD_IP_CHECKSUM = int(Reason.IP_OPTIONS), int(Reason.IP_FRAGMENT), int(Reason.BAD_IP_CHECKSUM)
_LENGTH_MISMATCH, _RESERVED_BIT, _OTHER_PROTOCOL = (
    int(Reason.LENGTH_MISMATCH),
    int(Reason.RESERVED_BIT),
    int(Reason.OTHER_PROTOCOL),
)
_UDP_OFF, _SUPER_FRAME, _GRO_OFF = int(Reason.UDP_OFF), int(Reason.SUPER_FRAME), int(Reason.GRO_OFF)
_FIRST_OF_REASSEMBLY = int(Reason.BAD_FRAGMENT)
_BAD_CHECKSUM, _PARTIAL_CHECKSUM = int(Reason.BAD_CHECKSUM), int(Reason.PARTIAL_CHECKSUM)
_ZERO_CHECKSUM, _BAD_UDP_LENGTH = int(Reason.ZERO_CHECKSUM), int(Reason.BAD_UDP_LENGTH)


@inlined
def fragment_reason(batch, i):
    """Return what reassembly said of a fragment, if it was asked."""
    said = np.int64(batch.frames[i].reason)
    return said if said >= _FIRST_OF_REASSEMBLY else _IP_FRAGMENT


@inlined
def admit(batch, i, features, trust_partial):
    """Return (verdict, reason, protocol, transport offset) of frame `i`; verify its checksum if nobody has.

    The columns of the transport are not trusted to be there: the kernel looks for a transport header
    by the bytes present, also where the IP length denies it.
    """
    frame = batch.frames[i]
    mem = batch.pool.mem
    shape = np.int64(frame.shape_flags)
    base = frame.head_addr
    network = np.int64(frame.network)
    offset = np.int64(frame.network_offset)
    end = np.int64(frame.head_len)
    protocol = np.int64(frame.protocol)
    transport = np.int64(frame.transport_offset)
    nowhere = np.int64(0)
    if not features & GRO:
        return PASSES, _GRO_OFF, protocol, nowhere
    if network == 0:
        return PASSES, _MALFORMED if shape & parse.MALFORMED else _NOT_IP, protocol, nowhere
    if frame.wire_len > frame.frame_len:
        return PASSES, _CUT_BY_SNAPLEN, protocol, nowhere
    at = base + offset
    reason = _NONE
    if network == 4:
        fragment = load16(mem, at + ipv4.FRAGMENT)
        if shape & parse.IP_OPTIONS:
            return PASSES, _IP_OPTIONS, protocol, nowhere
        if fragment & (ipv4.MF | ipv4.OFFSET_MASK):
            return PASSES, fragment_reason(batch, i), protocol, nowhere
        if shape & parse.BAD_IP_CHECKSUM:
            return PASSES, _BAD_IP_CHECKSUM, protocol, nowhere
        if fragment & ipv4.RESERVED:
            reason = _RESERVED_BIT
        length = load16(mem, at + ipv4.TOTAL_LENGTH)
        transport = offset + ipv4.LENGTH
    else:
        if shape & parse.FRAGMENT:
            return PASSES, fragment_reason(batch, i), protocol, nowhere
        length = load16(mem, at + ipv6.PAYLOAD_LENGTH) + ipv6.LENGTH
        if transport == 0:
            protocol, transport = _walk_extensions(mem, base, end, offset)
    if length != frame.frame_len - offset:
        reason = _LENGTH_MISMATCH
    if frame.gso_size > 0 or frame.frag_count > 0:
        reason = _SUPER_FRAME
    if protocol == tcp.PROTOCOL:
        return _admit_tcp(batch, i, mem, base, network, end, transport, reason, trust_partial)
    if protocol == udp.PROTOCOL:
        return _admit_udp(batch, i, mem, base, network, end, transport, reason, features, trust_partial)
    return PASSES, _MALFORMED if shape & parse.MALFORMED else _OTHER_PROTOCOL, protocol, nowhere


@inlined
def _walk_extensions(mem, base, end, offset):
    """Return (protocol, transport offset) after the extension headers that the kernel skips."""
    protocol = load8(mem, base + offset + ipv6.NEXT_HEADER)
    transport = offset + ipv6.LENGTH
    while protocol in (ipv6.HOP_BY_HOP, ipv6.ROUTING, ipv6.DESTINATION_OPTIONS) and transport + 8 <= end:
        size = (load8(mem, base + transport + 1) + 1) * 8
        if transport + size > end:
            break
        protocol = load8(mem, base + transport)
        transport += size
    return protocol, transport


@inlined
def _admit_tcp(batch, i, mem, base, network, end, transport, reason, trust_partial):
    protocol = np.int64(tcp.PROTOCOL)
    if transport + tcp.LENGTH > end:
        return PASSES, _MALFORMED, protocol, transport
    if reason == _NONE:
        wrong = _verify(batch, i, mem, base, network, protocol, transport, tcp.CHECKSUM, trust_partial)
        if wrong:
            return PASSES, wrong, protocol, transport
    header = (load8(mem, base + transport + tcp.FLAG_WORD) >> 4) * 4
    if header < tcp.LENGTH or transport + header > end:
        return PASSES, _MALFORMED, protocol, transport
    return CANDIDATE if reason == _NONE else ENDS, reason, protocol, transport


@inlined
def _admit_udp(batch, i, mem, base, network, end, transport, reason, features, trust_partial):
    frame = batch.frames[i]
    protocol = np.int64(udp.PROTOCOL)
    if transport + udp.LENGTH > end:
        return PASSES, _MALFORMED, protocol, transport
    field = load16(mem, base + transport + udp.CHECKSUM)
    if reason == _NONE:
        if field == 0:
            if frame.ip_summed == CHECKSUM_NONE:
                frame.ip_summed = CHECKSUM_UNNECESSARY
        else:
            wrong = _verify(batch, i, mem, base, network, protocol, transport, udp.CHECKSUM, trust_partial)
            if wrong:
                return PASSES, wrong, protocol, transport
    if not features & _UDP_FORWARD:
        return PASSES, _UDP_OFF, protocol, transport
    if field == 0:
        return PASSES, _ZERO_CHECKSUM, protocol, transport
    length = load16(mem, base + transport + udp.UDP_LENGTH)
    if length <= udp.LENGTH or length != frame.frame_len - transport:
        return PASSES, _BAD_UDP_LENGTH, protocol, transport
    return CANDIDATE if reason == _NONE else ENDS, reason, protocol, transport


@inlined
def _verify(batch, i, mem, base, network, protocol, transport, field, trust_partial):
    """Return 0 where the transport checksum is right, now and in `ip_summed`; else the reason why not."""
    frame = batch.frames[i]
    summed = frame.ip_summed
    if summed == CHECKSUM_UNNECESSARY:
        return _NONE
    if summed == CHECKSUM_BAD:
        return _BAD_CHECKSUM
    if summed == CHECKSUM_PARTIAL:
        return _NONE if trust_partial else _PARTIAL_CHECKSUM
    length = np.int64(frame.frame_len) - transport
    pseudo = pseudo_sum(mem, base + np.int64(frame.network_offset), network, protocol, length)
    payload = np.int64(frame.payload_offset)
    if payload == 0:  # no header was proved: its own length is a lie, the sum may still be right
        total = sum_bytes(mem, base + transport, length)
    else:
        total = np.int64(frame.payload_sum)
        if total < 0:
            total = sum_bytes(mem, base + payload, length - (payload - transport))
            frame.payload_sum = total
        total += sum_bytes(mem, base + transport, payload - transport)
    if fold(total + pseudo) == 0xFFFF:
        frame.ip_summed = CHECKSUM_UNNECESSARY
        return _NONE
    if load16(mem, base + transport + field) != pseudo:
        frame.ip_summed = CHECKSUM_BAD
        return _BAD_CHECKSUM
    if not trust_partial:
        return _PARTIAL_CHECKSUM
    frame.ip_summed = CHECKSUM_PARTIAL
    frame.csum_start = transport
    frame.csum_offset = field
    return _NONE
