"""Which super-frames are cut, and how: what a port can carry, and what headers and rules allow.

Source: include/linux/netdevice.h `net_gso_ok`, net/core/dev.c `gso_features_check`,
include/linux/virtio_net.h (a frame not longer than `gso_size` is not a super-frame).
"""

import numpy as np

from pktpath.batch import (
    CHECKSUM_PARTIAL,
    CHECKSUM_UNNECESSARY,
    GSO_PARTIAL,
    GSO_TCP_ACCECN,
    GSO_TCP_ECN,
    GSO_TCP_FIXEDID,
    GSO_TCPV4,
    GSO_TCPV6,
    GSO_UDP,
    GSO_UDP_L4,
)
from pktpath.features import Feature
from pktpath.jit import inlined
from pktpath.offload.gso_layout import CUT_TCP, CUT_UFO, CUT_USO, has_jumbo_header, make_cut, no_cut
from pktpath.offload.reason import Reason
from pktpath.wire import ipv4, ipv6, tcp, udp
from pktpath.wire.load import load16
from pktpath.wire.parse import Shape

_SG, _HW_CSUM, _IP_CSUM, _IPV6_CSUM = int(Feature.SG), int(Feature.HW_CSUM), int(Feature.IP_CSUM), int(Feature.IPV6_CSUM)
_TSO, _TSO6, _TSO_ECN, _TSO_ACCECN = int(Feature.TSO), int(Feature.TSO6), int(Feature.TSO_ECN), int(Feature.TSO_ACCECN)
_TSO_MANGLEID, _USO, _UFO = int(Feature.TSO_MANGLEID), int(Feature.GSO_UDP_L4), int(Feature.GSO_UDP)
_PARTIAL = int(Feature.GSO_PARTIAL)
_SHAPE_MALFORMED, _SHAPE_CUT, _SHAPE_FRAGMENT, _SHAPE_JUMBO = (
    int(bit) for bit in (Shape.MALFORMED, Shape.CUT, Shape.FRAGMENT, Shape.JUMBO)
)
_NOT_IP, _MALFORMED, _CUT_BY_SNAPLEN = int(Reason.NOT_IP), int(Reason.MALFORMED), int(Reason.CUT_BY_SNAPLEN)
_IP_FRAGMENT, _OTHER_PROTOCOL, _IP_ID = int(Reason.IP_FRAGMENT), int(Reason.OTHER_PROTOCOL), int(Reason.IP_ID)
_BAD_UDP_LENGTH = int(Reason.BAD_UDP_LENGTH)

_KNOWN_TYPES = GSO_TCPV4 | GSO_TCPV6 | GSO_TCP_ECN | GSO_TCP_FIXEDID | GSO_TCP_ACCECN | GSO_PARTIAL | GSO_UDP | GSO_UDP_L4


@inlined
def completes_checksum(network, features):
    """Whether a port with these features completes a partial checksum behind an IPv4 (4), IPv6 (6) or other header."""
    if features & _HW_CSUM:
        return True
    return features & (_IP_CSUM if network == 4 else _IPV6_CSUM if network == 6 else 0) != 0


@inlined
def carries(batch, i, features):
    """Whether a port with these features takes super-frame `i` as it is."""
    frame = batch.frames[i]
    kinds = np.int64(frame.gso_type)
    network = np.int64(frame.network)
    needed = np.int64(0)
    if kinds & GSO_TCPV4:
        needed |= _TSO
    if kinds & GSO_TCPV6:
        needed |= _TSO6
    if kinds & GSO_TCP_ECN:
        needed |= _TSO_ECN
    if kinds & GSO_TCP_ACCECN:
        needed |= _TSO_ACCECN
    if kinds & GSO_TCP_FIXEDID:
        needed |= _TSO_MANGLEID
        # Who may fragment a packet on the way needs its ID to be its own (gso_features_check).
        if network == 4 and not _dont_fragment(batch.pool.mem, frame.head_addr + frame.network_offset):
            return False
    if kinds & GSO_UDP_L4:
        needed |= _USO
    if kinds & GSO_UDP:
        needed |= _UFO
    if kinds & GSO_PARTIAL:
        needed |= _PARTIAL
    if frame.frag_count > 0:
        needed |= _SG
    summed = frame.ip_summed
    return (
        needed & (_TSO | _TSO6 | _USO | _UFO) != 0
        and features & needed == needed
        and kinds & ~_KNOWN_TYPES == 0
        and summed in (CHECKSUM_PARTIAL, CHECKSUM_UNNECESSARY)
        and completes_checksum(network, features)
    )


@inlined
def _dont_fragment(mem, at):
    return load16(mem, at + ipv4.FRAGMENT) & ipv4.DF != 0


@inlined
def is_super(batch, i):
    """Whether frame `i` is longer than one segment; one that is not passes as an ordinary frame."""
    frame = batch.frames[i]
    size = np.int64(frame.gso_size)
    if size <= 0 or frame.transport_offset == 0:
        return size > 0
    kinds = np.int64(frame.gso_type)
    counted = _super_payload(batch, i, kinds)
    if kinds & GSO_UDP and frame.protocol == udp.PROTOCOL:
        counted += udp.LENGTH
    return counted > size


@inlined
def _super_payload(batch, i, kinds):
    """Transport payload of a super-frame: the IP length of a GSO_PARTIAL frame is that of one segment."""
    frame = batch.frames[i]
    if kinds & GSO_PARTIAL:
        return np.int64(frame.frame_len) - frame.payload_offset
    return np.int64(frame.payload_len)


@inlined
def _cut_kind(kinds, network, protocol):
    """How a super-frame is cut, or -1 where its headers and `gso_type` disagree."""
    if kinds & ~_KNOWN_TYPES == 0:
        if protocol == tcp.PROTOCOL and kinds & (GSO_TCPV4 if network == 4 else GSO_TCPV6):
            return CUT_TCP
        if protocol == udp.PROTOCOL and kinds & GSO_UDP_L4:
            return CUT_USO
        if protocol == udp.PROTOCOL and kinds & GSO_UDP:
            return CUT_UFO
    return -1


@inlined
def _shape_refusal(network, shape):
    """Reason why a frame of this shape cannot be cut, or 0."""
    if network == 0:
        return _NOT_IP
    if shape & _SHAPE_MALFORMED:
        return _MALFORMED
    if shape & _SHAPE_CUT:
        return _CUT_BY_SNAPLEN
    return _IP_FRAGMENT if shape & _SHAPE_FRAGMENT else 0


@inlined
def plan_frame(batch, i, rules):
    """Return (reason, cut): how super-frame `i` is cut to its `gso_size`, or a `Reason` why it cannot be.

    The frame is parsed and `is_super`. For GSO_PARTIAL and UFO the plan goes through `cut_partial` or
    `cut_datagram` besides.
    """
    frame = batch.frames[i]
    mem = batch.pool.mem
    kinds = np.int64(frame.gso_type)
    network = np.int64(frame.network)
    shape = np.int64(frame.shape_flags)
    source = frame.head_addr
    size = np.int64(frame.gso_size)
    network_offset = np.int64(frame.network_offset)
    transport_offset = np.int64(frame.transport_offset)
    payload_offset = np.int64(frame.payload_offset)
    payload_len = _super_payload(batch, i, kinds)
    kind = _cut_kind(kinds, network, frame.protocol)
    reason = _shape_refusal(network, shape)
    if reason == 0 and (kind < 0 or transport_offset == 0):
        reason = _OTHER_PROTOCOL
    if reason != 0:
        return reason, no_cut()
    # What the length field of the IP header would say for a full segment.
    length = payload_offset + size - network_offset - (0 if network == 4 else ipv6.LENGTH)
    if kind == CUT_UFO:
        length += (ipv6.FRAGMENT_LENGTH if network == 6 else 0) - udp.LENGTH
        if size < 8 or payload_len + udp.LENGTH > ipv4.MAX_LENGTH:
            return _BAD_UDP_LENGTH, no_cut()
    if length > ipv4.MAX_LENGTH or (shape & _SHAPE_JUMBO and not has_jumbo_header(mem, source + network_offset)):
        return _MALFORMED, no_cut()
    fixed = kinds & GSO_TCP_FIXEDID != 0
    if fixed and rules.fixed_id_needs_df and network == 4 and not _dont_fragment(mem, source + network_offset):
        return _IP_ID, no_cut()
    keep_cwr = kinds & GSO_TCP_ACCECN != 0 and rules.accurate_ecn
    cut = make_cut(
        mem, source, kind, network, network_offset, transport_offset, payload_offset, payload_len, size, fixed, keep_cwr
    )
    return 0, cut
