"""What must be equal for a frame to continue a held one of its flow, and what may never be held.

Sources: `tcp_gro_receive`, `udp_gro_receive_segment`, `gro_receive_network_flush` and, before 6.10,
the receive functions of IPv4 and IPv6. The kernel only wants to know whether anything differs; here
the first difference has a name, the one that tells most before those that follow from it.
"""

import numpy as np

from pktpath.jit import inlined
from pktpath.offload.reason import Reason
from pktpath.wire import ipv4, ipv6, tcp
from pktpath.wire.load import load16, load32, word32, word64

_NONE, _EMPTY, _SYN, _RST, _FIN, _PSH, _URG = (
    int(reason) for reason in (Reason.NONE, Reason.EMPTY, Reason.SYN, Reason.RST, Reason.FIN, Reason.PSH, Reason.URG)
)
_CWR, _FLAGS_DIFFER, _WINDOW_DIFFERS = int(Reason.CWR), int(Reason.FLAGS_DIFFER), int(Reason.WINDOW_DIFFERS)
_ACK_DIFFERS, _OPTIONS_DIFFER, _OUT_OF_SEQUENCE = int(Reason.ACK_DIFFERS), int(Reason.OPTIONS_DIFFER), int(Reason.OUT_OF_SEQUENCE)
_TTL_DIFFERS, _TOS_DIFFERS, _DF_DIFFERS = int(Reason.TTL_DIFFERS), int(Reason.TOS_DIFFERS), int(Reason.DF_DIFFERS)
_IP_ID, _LONGER = int(Reason.IP_ID), int(Reason.LONGER)

_WITH_TIMESTAMPS = tcp.LENGTH + 12
_FINAL = tcp.URG | tcp.PSH | tcp.RST | tcp.SYN | tcp.FIN


@inlined
def tcp_finality(flags, payload):
    """Return why a TCP frame can never be held, 0 if it can. After a FIN or PSH it may still be merged."""
    if flags & _FINAL == 0 and payload > 0:
        return _NONE
    if flags & tcp.SYN:
        return _SYN
    if flags & tcp.RST:
        return _RST
    if flags & tcp.URG:
        return _URG
    if flags & tcp.FIN and payload == 0:
        return _FIN
    if payload == 0:
        return _EMPTY
    return _FIN if flags & tcp.FIN else _PSH


@inlined
def tcp_difference(held, mem, at, transport, payload_offset, payload, rules):
    """Return 0 if this segment is the next one of the held frame, else the first difference."""
    here = at + transport
    there = held.at + transport
    if load32(mem, here + tcp.SEQUENCE) != held.next_seq:
        return _OUT_OF_SEQUENCE
    word = load32(mem, here + tcp.FLAG_WORD)
    changed = word ^ load32(mem, there + tcp.FLAG_WORD)
    if changed & ~(rules.ignored_flags << 16):
        return _FLAGS_DIFFER if (changed >> 16) & ~rules.ignored_flags else _WINDOW_DIFFERS
    if rules.cwr_flushes and word & (tcp.CWR << 16):
        return _CWR
    if word32(mem, here + tcp.ACKNOWLEDGMENT) != word32(mem, there + tcp.ACKNOWLEDGMENT):
        return _ACK_DIFFERS
    for k in range(tcp.LENGTH, payload_offset - transport, 4):
        if word32(mem, here + k) != word32(mem, there + k):
            return _OPTIONS_DIFFER
    return _LONGER if payload > held.mss else _NONE


@inlined
def network_difference(held, mem, at, offset, transport, rules):
    """Return 0 if the network header continues that of the held frame, else the first difference."""
    here = at + offset
    there = held.at + offset
    if transport - offset != ipv4.LENGTH:
        if load16(mem, here + ipv6.NEXT_HEADER) != load16(mem, there + ipv6.NEXT_HEADER):
            return _TTL_DIFFERS
        return _NONE if load16(mem, here) == load16(mem, there) else _TOS_DIFFERS
    if load16(mem, here + ipv4.TTL) != load16(mem, there + ipv4.TTL):
        return _TTL_DIFFERS
    if load16(mem, here) != load16(mem, there):
        return _TOS_DIFFERS
    word = load32(mem, here + ipv4.ID)
    first = load32(mem, there + ipv4.ID)
    if (word ^ first) & ipv4.DF:
        return _DF_DIFFERS
    if held.count == 1:
        # The second frame decides whether the ID of this train stands still or counts.
        still = word >> 16 == first >> 16 and (word & ipv4.DF != 0 or not rules.fixed_id_needs_df)
        held.id_step = np.int64(0) if still else np.int64(0x10000)
        held.next_id = (first + held.id_step) & 0xFFFFFFFF
    return _IP_ID if word >> 16 != held.next_id >> 16 else _NONE


@inlined
def continues(frame, held, mem):
    """Whether a frame is the next full segment of a merged one: all rules at once, for the common case.

    Extent and kind being equal, the frame has the length, the header places, the protocol and the verified
    checksum of its forerunners. A held frame has no SYN, FIN, RST, PSH or URG, so a segment with its
    flags has none either. Words overlap so that few of them cover all that must be equal.
    """
    if (frame.flow ^ held.key) | (frame.extent ^ held.extent) | (frame.kind ^ held.kind) | frame.parts | np.int64(frame.tag):
        return False
    here = frame.head_addr
    there = held.at
    network = np.int64(frame.network_offset)
    # The link header, and the version, header length, TOS or traffic class behind it.
    last = network - 6
    differ = word64(mem, here) ^ word64(mem, there) | word64(mem, here + 6) ^ word64(mem, there + 6)
    differ |= word64(mem, here + last) ^ word64(mem, there + last)
    at = here + network
    other = there + network
    if frame.network == 4:
        differ |= np.uint64(
            (load32(mem, at + ipv4.ID) ^ held.next_id) | (load16(mem, at + ipv4.TTL) ^ load16(mem, other + ipv4.TTL))
        )
        differ |= word64(mem, at + ipv4.SOURCE) ^ word64(mem, other + ipv4.SOURCE)
    else:
        differ |= np.uint64(word32(mem, at) ^ word32(mem, other))
        differ |= np.uint64(load16(mem, at + ipv6.NEXT_HEADER) ^ load16(mem, other + ipv6.NEXT_HEADER))
        for k in range(ipv6.SOURCE, ipv6.LENGTH, 8):
            differ |= word64(mem, at + k) ^ word64(mem, other + k)
    at = here + frame.transport_offset
    other = there + frame.transport_offset
    differ |= np.uint64(word32(mem, at) ^ word32(mem, other)) | np.uint64(load32(mem, at + tcp.SEQUENCE) ^ held.next_seq)
    # Acknowledgment, data offset, flags and window; then the options, which most often are timestamps alone.
    differ |= word64(mem, at + tcp.ACKNOWLEDGMENT) ^ word64(mem, other + tcp.ACKNOWLEDGMENT)
    length = np.int64(frame.payload_offset) - frame.transport_offset
    if length == _WITH_TIMESTAMPS:
        differ |= word64(mem, at + tcp.LENGTH) ^ word64(mem, other + tcp.LENGTH)
        differ |= np.uint64(word32(mem, at + tcp.LENGTH + 8) ^ word32(mem, other + tcp.LENGTH + 8))
        return differ == 0
    for k in range(tcp.LENGTH, length, 4):
        differ |= np.uint64(word32(mem, at + k) ^ word32(mem, other + k))
    return differ == 0
