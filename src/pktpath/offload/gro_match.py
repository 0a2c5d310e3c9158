"""What must be equal for a frame to continue a held one of its flow, and what may never be held.

Sources: `tcp_gro_receive`, `udp_gro_receive_segment`, `gro_receive_network_flush` and, before 6.10,
the receive functions of IPv4 and IPv6. The kernel only wants to know whether anything differs; here
the first difference has a name, the one that tells most before those that follow from it.
"""

import numpy as np
from numpy.typing import NDArray

from pktpath.batch import CHECKSUM_UNNECESSARY
from pktpath.jit import inlined
from pktpath.offload.gro_table import NO_EXTENT
from pktpath.offload.reason import Reason
from pktpath.wire import ipv4, ipv6, tcp
from pktpath.wire.load import MOST_AT_ONCE, load16, load32, same_under, word32

_NONE, _EMPTY, _SYN, _RST, _FIN, _PSH, _URG = (
    int(reason) for reason in (Reason.NONE, Reason.EMPTY, Reason.SYN, Reason.RST, Reason.FIN, Reason.PSH, Reason.URG)
)
_CWR, _FLAGS_DIFFER, _WINDOW_DIFFERS = int(Reason.CWR), int(Reason.FLAGS_DIFFER), int(Reason.WINDOW_DIFFERS)
_ACK_DIFFERS, _OPTIONS_DIFFER, _OUT_OF_SEQUENCE = int(Reason.ACK_DIFFERS), int(Reason.OPTIONS_DIFFER), int(Reason.OUT_OF_SEQUENCE)
_TTL_DIFFERS, _TOS_DIFFERS, _DF_DIFFERS = int(Reason.TTL_DIFFERS), int(Reason.TOS_DIFFERS), int(Reason.DF_DIFFERS)
_IP_ID, _LONGER = int(Reason.IP_ID), int(Reason.LONGER)

_REASON = 0xFF << 48
"""The reason in `kind`: nobody has refused a frame that arrives."""
_MASK_IPV4, _MASK_IPV6 = MOST_AT_ONCE, 3 * MOST_AT_ONCE


def _masks() -> NDArray[np.uint8]:
    """Return what must be equal in two segments that follow each other, a mask for each network.

    An IP header starts at `_MASK_IPV4` or `_MASK_IPV6`, the link header lies before it. The ID word
    and the sequence number are looked at by themselves; the checksums were right.
    """
    masks = np.full(4 * MOST_AT_ONCE, 0xFF, np.uint8)
    for start, length in ((_MASK_IPV4, ipv4.LENGTH), (_MASK_IPV6, ipv6.LENGTH)):
        masks[start + length + tcp.SEQUENCE : start + length + tcp.ACKNOWLEDGMENT] = 0
        masks[start + length + tcp.CHECKSUM : start + length + tcp.URGENT] = 0
    masks[_MASK_IPV4 + ipv4.ID : _MASK_IPV4 + ipv4.FRAGMENT] = 0
    masks[_MASK_IPV4 + ipv4.CHECKSUM : _MASK_IPV4 + ipv4.SOURCE] = 0
    return masks


_MASKS = _masks()
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
    if load32(mem, here + tcp.SEQUENCE) != np.int64(held.next_seq):
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
        step = np.int64(0) if still else np.int64(0x10000)
        held.id_step = step
        held.next_id = (first + step) & 0xFFFFFFFF
    return _IP_ID if word >> 16 != np.int64(held.next_id) >> 16 else _NONE


@inlined
def short_way(frame, at, mem):
    """Return (extent, kind, mask) for `continues`, from a frame just merged; `at` is where the merged headers are.

    Verified TCP right behind the IP header, without CWR, without a tag beside the frame, and headers that
    `same_under` can compare; extent is NO_EXTENT for all else.
    """
    ip_length = frame.transport_offset - frame.network_offset
    if (
        frame.protocol != tcp.PROTOCOL
        or frame.ip_summed != CHECKSUM_UNNECESSARY
        or ip_length != (ipv4.LENGTH if frame.network == 4 else ipv6.LENGTH)
        or frame.payload_offset > MOST_AT_ONCE
        or frame.tag != 0
        or load16(mem, at + frame.transport_offset + tcp.FLAG_WORD) & tcp.CWR
    ):
        return np.int64(NO_EXTENT), np.int64(0), np.int64(0)
    mask = np.int64(_MASK_IPV4 if frame.network == 4 else _MASK_IPV6) - frame.network_offset
    return frame.extent, frame.kind & ~_REASON, mask


@inlined
def continues(frame, held, mem):
    """Whether a frame is the next full segment of a merged one: all rules at once, for the common case.

    Extent and kind being equal, the frame has the length, the header places, the protocol and the verified
    checksum of its forerunners. A held frame has no SYN, FIN, RST, PSH or URG, so a segment with its
    flags has none either. What a rule would forgive may fail here: the long way then decides.
    """
    if (frame.flow ^ held.key) | (frame.extent ^ held.extent) | (frame.kind ^ held.kind) | frame.parts | np.int64(frame.tag):
        return False
    here = frame.head_addr
    # IPv6 has its length, next header and hop limit where IPv4 has the ID word; these stand still.
    word = load32(mem, here + frame.network_offset + ipv4.ID)
    sequence = load32(mem, here + frame.transport_offset + tcp.SEQUENCE)
    if (word ^ np.int64(held.next_id)) | (sequence ^ np.int64(held.next_seq)):
        return False
    return same_under(mem, here, held.at, _MASKS, np.int64(held.mask), np.int64(frame.payload_offset))
