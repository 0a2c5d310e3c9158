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
    if not _same_options(mem, here, there, payload_offset - transport):
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
def tcp_continues(held, mem, at, network_offset, transport, payload_offset, payload):
    """Whether a segment differs in nothing from what a merged frame expects next: the common case of all rules at once.

    A held frame has no SYN, FIN, RST, PSH or URG, so a segment with its flags has none either.
    """
    here = at + transport
    there = held.at + transport
    return (
        payload == held.mss
        and load32(mem, here + tcp.SEQUENCE) == held.next_seq
        # Acknowledgment, data offset, flags and window.
        and word64(mem, here + tcp.ACKNOWLEDGMENT) == word64(mem, there + tcp.ACKNOWLEDGMENT)
        and load16(mem, here + tcp.FLAG_WORD) & tcp.CWR == 0
        and _same_options(mem, here, there, payload_offset - transport)
        and _network_continues(held, mem, at + network_offset, held.at + network_offset, transport - network_offset)
    )


@inlined
def _network_continues(held, mem, here, there, length):
    if length == ipv4.LENGTH:
        return (
            load32(mem, here + ipv4.ID) == held.next_id
            and load16(mem, here) == load16(mem, there)
            and load16(mem, here + ipv4.TTL) == load16(mem, there + ipv4.TTL)
        )
    return load16(mem, here) == load16(mem, there) and load16(mem, here + ipv6.NEXT_HEADER) == load16(
        mem, there + ipv6.NEXT_HEADER
    )


@inlined
def _same_options(mem, here, there, length):
    for k in range(tcp.LENGTH, length, 4):  # noqa: SIM110  a kernel has no generators
        if word32(mem, here + k) != word32(mem, there + k):
            return False
    return True
