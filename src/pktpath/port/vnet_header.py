"""The virtio_net_hdr before a frame of a packet socket: read into a descriptor, written from one.

Ten bytes in the machine's order, which is the little-endian one here. Sources: VirtIO 1.2, section 5.1.6;
include/linux/virtio_net.h (`virtio_net_hdr_from_skb`, `virtio_net_hdr_to_skb`) of Linux 6.18.
"""

import numpy as np

from pktpath.batch import (
    CHECKSUM_NONE,
    CHECKSUM_PARTIAL,
    CHECKSUM_UNNECESSARY,
    GSO_TCP_ECN,
    GSO_TCPV4,
    GSO_TCPV6,
    GSO_UDP,
    GSO_UDP_L4,
)
from pktpath.jit import inlined
from pktpath.wire.load import word32

VNET_LENGTH = 10
"""Bytes of a virtio_net_hdr without the number of buffers."""
_NEEDS_CSUM, _DATA_VALID = 1, 2
_TCPV4, _UDP, _TCPV6, _UDP_L4, _ECN = 1, 3, 4, 5, 0x80
_ETHERNET = 14


@inlined
def read_vnet(mem, at, frame):
    """Write into a descriptor, whose lengths are set, what the header at address `at` says; return whether it can be true.

    `gso_segs` stays 1: only `wire.parse` finds out how long the payload is.
    """
    first = word32(mem, at)
    frame.gso_segs = 1
    if first & 0xFFFF == 0:
        frame.ip_summed = CHECKSUM_NONE
        frame.gso_type = 0
        frame.gso_size = 0
        frame.csum_start = 0
        frame.csum_offset = 0
        return True
    second = word32(mem, at + 4)
    start = second >> 16
    offset = word32(mem, at + 6) >> 16
    frame.ip_summed = CHECKSUM_UNNECESSARY if first & _DATA_VALID else CHECKSUM_NONE
    frame.csum_start = 0
    frame.csum_offset = 0
    if first & _NEEDS_CSUM:
        if start < _ETHERNET or start + offset + 2 > frame.head_len:
            return False
        frame.ip_summed = CHECKSUM_PARTIAL
        frame.csum_start = start
        frame.csum_offset = offset
    kind = first >> 8 & 0x7F
    bits = 0
    if kind == _TCPV4:
        bits = GSO_TCPV4
    elif kind == _TCPV6:
        bits = GSO_TCPV6
    elif kind == _UDP_L4:
        bits = GSO_UDP_L4
    elif kind == _UDP:
        bits = GSO_UDP
    elif kind:
        return False
    if first >> 8 & _ECN:
        if kind != _TCPV4 and kind != _TCPV6:
            return False
        bits |= GSO_TCP_ECN
    size = second & 0xFFFF
    frame.gso_type = bits
    frame.gso_size = size if bits else 0
    return bits == 0 or (size > 0 and first >> 16 <= frame.frame_len)


@inlined
def write_vnet(headers, k, frame):
    """Write row `k` of `headers` from a descriptor; return whether a virtio_net_hdr can say it."""
    kind = np.int64(0)
    length = np.int64(0)
    size = np.int64(0)
    bits = np.int64(frame.gso_type)
    if bits:
        if bits == GSO_UDP_L4:
            kind = np.int64(_UDP_L4)
        elif bits == GSO_UDP:
            kind = np.int64(_UDP)
        elif bits & ~GSO_TCP_ECN == GSO_TCPV4:
            kind = np.int64(_TCPV4)
        elif bits & ~GSO_TCP_ECN == GSO_TCPV6:
            kind = np.int64(_TCPV6)
        else:
            return False
        if bits & GSO_TCP_ECN:
            kind |= _ECN
        length = np.int64(frame.payload_offset)
        size = np.int64(frame.gso_size)
    start = np.int64(0)
    offset = np.int64(0)
    needs = np.int64(0)
    if frame.ip_summed == CHECKSUM_PARTIAL:
        needs = np.int64(_NEEDS_CSUM)
        start = np.int64(frame.csum_start)
        offset = np.int64(frame.csum_offset)
    headers[k, 0] = needs
    headers[k, 1] = kind
    headers[k, 2] = length & 0xFF
    headers[k, 3] = length >> 8 & 0xFF
    headers[k, 4] = size & 0xFF
    headers[k, 5] = size >> 8 & 0xFF
    headers[k, 6] = start & 0xFF
    headers[k, 7] = start >> 8 & 0xFF
    headers[k, 8] = offset & 0xFF
    headers[k, 9] = offset >> 8 & 0xFF
    return True
