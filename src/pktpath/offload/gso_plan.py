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
from pktpath.offload.gso_header import CUT_TCP, CUT_UFO, CUT_USO, has_jumbo_header, make_cut
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

_KNOWN_TYPES = (
    GSO_TCPV4 | GSO_TCPV6 | GSO_TCP_ECN | GSO_TCP_FIXEDID | GSO_TCP_ACCECN | GSO_PARTIAL | GSO_UDP | GSO_UDP_L4
)


@inlined
def completes_checksum(network, features):
    """Whether a port with these features completes a partial checksum behind an IPv4 (4), IPv6 (6) or other header."""
    if features & _HW_CSUM:
        return True
    return features & (_IP_CSUM if network == 4 else _IPV6_CSUM if network == 6 else 0) != 0


@inlined
def carries(batch, i, features):
    """Whether a port with these features takes super-frame `i` as it is."""
    kinds = np.int64(batch.gso_type[i])
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
        if batch.network[i] == 4 and not _dont_fragment(batch, i):
            return False
    if kinds & GSO_UDP_L4:
        needed |= _USO
    if kinds & GSO_UDP:
        needed |= _UFO
    if kinds & GSO_PARTIAL:
        needed |= _PARTIAL
    if batch.frag_count[i] > 0:
        needed |= _SG
    summed = batch.ip_summed[i]
    return (
        needed & (_TSO | _TSO6 | _USO | _UFO) != 0
        and features & needed == needed
        and kinds & ~_KNOWN_TYPES == 0
        and (summed == CHECKSUM_PARTIAL or summed == CHECKSUM_UNNECESSARY)
        and completes_checksum(batch.network[i], features)
    )


@inlined
def _dont_fragment(batch, i):
    return load16(batch.pool.mem, batch.head_addr[i] + batch.network_offset[i] + ipv4.FRAGMENT) & ipv4.DF != 0


@inlined
def super_payload(batch, i):
    """Transport payload of super-frame `i`: a GSO_PARTIAL frame's IP length is that of one segment."""
    if np.int64(batch.gso_type[i]) & GSO_PARTIAL:
        return np.int64(batch.frame_len[i]) - batch.payload_offset[i]
    return np.int64(batch.payload_len[i])


@inlined
def cut_kind(batch, i):
    """How super-frame `i` is cut, by its headers: a `CUT_*`, or -1 where headers and `gso_type` disagree."""
    kinds = np.int64(batch.gso_type[i])
    if kinds & ~_KNOWN_TYPES:
        return -1
    if batch.protocol[i] == tcp.PROTOCOL:
        return CUT_TCP if kinds & (GSO_TCPV4 if batch.network[i] == 4 else GSO_TCPV6) else -1
    if batch.protocol[i] == udp.PROTOCOL:
        if kinds & GSO_UDP_L4:
            return CUT_USO
        if kinds & GSO_UDP:
            return CUT_UFO
    return -1


@inlined
def is_super(batch, i):
    """Whether frame `i` is longer than one segment; one that is not passes as an ordinary frame."""
    if batch.gso_size[i] <= 0:
        return False
    if batch.transport_offset[i] == 0:
        return True
    payload = super_payload(batch, i)
    if np.int64(batch.gso_type[i]) & GSO_UDP and batch.protocol[i] == udp.PROTOCOL:
        payload += udp.LENGTH
    return payload > batch.gso_size[i]


@inlined
def refusal(batch, i, kind, rules):
    """Reason why super-frame `i` cannot be cut, or 0."""
    shape = np.int64(batch.shape[i])
    if batch.network[i] == 0:
        return _NOT_IP
    if shape & _SHAPE_MALFORMED:
        return _MALFORMED
    if shape & _SHAPE_CUT:
        return _CUT_BY_SNAPLEN
    if shape & _SHAPE_FRAGMENT:
        return _IP_FRAGMENT
    if kind < 0 or batch.transport_offset[i] == 0:
        return _OTHER_PROTOCOL
    at = batch.head_addr[i] + batch.network_offset[i]
    size = np.int64(batch.gso_size[i])
    counted = size + batch.payload_offset[i] - batch.network_offset[i] - (0 if batch.network[i] == 4 else ipv6.LENGTH)
    if kind == CUT_UFO:
        if super_payload(batch, i) + udp.LENGTH > ipv4.MAX_LENGTH or size < 8:
            return _BAD_UDP_LENGTH
        counted += ipv6.FRAGMENT_LENGTH if batch.network[i] == 6 else 0
        counted -= udp.LENGTH
    if shape & _SHAPE_JUMBO and not has_jumbo_header(batch.pool.mem, at):
        return _MALFORMED
    if counted > ipv4.MAX_LENGTH:
        return _MALFORMED
    if rules.fixed_id_needs_df and np.int64(batch.gso_type[i]) & GSO_TCP_FIXEDID and batch.network[i] == 4:
        return 0 if _dont_fragment(batch, i) else _IP_ID
    return 0


@inlined
def plan_cut(batch, i, kind, rules):
    """Plan the cut of super-frame `i`, which `refusal` let pass: a `gso_header.Cut`.

    For GSO_PARTIAL and UFO the plan goes through `cut_partial` or `cut_datagram` besides.
    """
    kinds = np.int64(batch.gso_type[i])
    return make_cut(
        batch.pool.mem,
        batch.head_addr[i],
        kind,
        np.int64(batch.network[i]),
        np.int64(batch.network_offset[i]),
        np.int64(batch.transport_offset[i]),
        np.int64(batch.payload_offset[i]),
        super_payload(batch, i),
        np.int64(batch.gso_size[i]),
        kinds & GSO_TCP_FIXEDID != 0,
        kinds & GSO_TCP_ACCECN != 0 and rules.accurate_ecn,
    )
