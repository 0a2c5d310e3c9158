"""The virtio_net_hdr that a TAP or packet socket puts before a frame, to a descriptor and back.

Sources: VirtIO 1.2, section 5.1.6 (Device Operation); what Linux accepts of it and what it tells (include/linux/virtio_net.h).
Numbers are in the machine's byte order (little-endian), as these sockets have it without TUNSETVNETLE. Who writes one is not
trusted: a header that contradicts itself or its frame is refused, and the frame is dropped.
"""

import numpy as np

from pktpath.batch import (
    CHECKSUM_PARTIAL,
    CHECKSUM_UNNECESSARY,
    GSO_TCP_ACCECN,
    GSO_TCP_ECN,
    GSO_TCP_FIXEDID,
    GSO_TCPV4,
    GSO_TCPV6,
    GSO_UDP,
    GSO_UDP_L4,
)  # fmt: skip
from pktpath.jit import inlined
from pktpath.port.fresh_frame import no_offload
from pktpath.wire import tcp, udp
from pktpath.wire.load import word32
from pktpath.wire.parse import CUT, FRAGMENT, MALFORMED

HEADER_LENGTH = 10
NEEDS_CSUM, DATA_VALID = 1, 2
"""flags"""
NONE, TCPV4, UDP, TCPV6, UDP_L4, ECN = 0, 1, 3, 4, 5, 0x80
"""gso_type; ECN is a bit beside TCPV4 or TCPV6."""
_BY_FRAGS = 0xFFFF
"""A gso_size that Linux keeps for itself."""
_ETHERNET_HEADER = 14
_TCP_BITS = GSO_TCP_ECN | GSO_TCP_FIXEDID | GSO_TCP_ACCECN


@inlined
def _put16(headers, row, at, value):
    headers[row, at] = value & 0xFF
    headers[row, at + 1] = value >> 8 & 0xFF


@inlined
def virtio_to_frame(mem, at, frame):
    """Say in a descriptor what the header at address `at` says; return False where the frame must be dropped.

    Enters: `head_len` and `frame_len` of the descriptor. Leaves: ip_summed, csum_start, csum_offset, gso_type, gso_size,
    gso_segs (1: only `wire.parse` finds out how long the payload is; `super_frame_holds` counts them then).
    """
    first = word32(mem, at)
    no_offload(frame)
    if first & 0xFFFF == 0:
        return True
    second = word32(mem, at + 4)
    if first & NEEDS_CSUM:
        start = second >> 16
        offset = word32(mem, at + 6) >> 16
        # Who completes the checksum later writes it into the head, behind the Ethernet header.
        if start < _ETHERNET_HEADER or start + offset + 2 > frame.head_len:
            return False
        frame.ip_summed = CHECKSUM_PARTIAL
        frame.csum_start = start
        frame.csum_offset = offset
    elif first & DATA_VALID:
        frame.ip_summed = CHECKSUM_UNNECESSARY
    kind = first >> 8 & 0xFF
    bits = 0
    if kind == TCPV4 or kind == TCPV4 | ECN:
        bits = GSO_TCPV4
    elif kind == TCPV6 or kind == TCPV6 | ECN:
        bits = GSO_TCPV6
    elif kind == UDP_L4:
        bits = GSO_UDP_L4
    elif kind == UDP:
        bits = GSO_UDP
    elif kind != NONE:
        # Tunnels are not offered.
        return False
    size = second & 0xFFFF
    frame.gso_type = bits | GSO_TCP_ECN if kind & ECN else bits
    frame.gso_size = size if bits else 0
    return bits == 0 or (0 < size < _BY_FRAGS and first >> 16 <= frame.frame_len)


@inlined
def super_frame_holds(frame):
    """Whether a parsed frame is what its gso_type says; sets gso_segs. One that is too short for two segments is no super-frame.

    Without this the segmenter would write headers into what is none.
    """
    bits = np.int64(frame.gso_type)
    if bits & GSO_UDP:
        # UFO is not offered: Linux has no such device any more.
        return False
    is_udp = bits & GSO_UDP_L4 != 0
    check = udp.CHECKSUM if is_udp else tcp.CHECKSUM
    if frame.protocol != (udp.PROTOCOL if is_udp else tcp.PROTOCOL) or frame.payload_offset == 0:
        return False
    if (bits & GSO_TCPV4 and frame.network != 4) or (bits & GSO_TCPV6 and frame.network != 6):
        return False
    if frame.shape_flags & (MALFORMED | CUT | FRAGMENT):
        return False
    if frame.csum_start != frame.transport_offset or frame.csum_offset != check:
        return False
    size = np.int64(frame.gso_size)
    payload = np.int64(frame.payload_len)
    if payload <= size:
        frame.gso_type = 0
        frame.gso_size = 0
    else:
        frame.gso_segs = (payload + size - 1) // size
    return True


@inlined
def frame_to_virtio(frame, headers, row):
    """Write into `headers[row]` what a descriptor says; return False where a virtio_net_hdr has no word for its gso_type.

    That a merged IPv4 ID stood still, and accurate ECN, it cannot say either, but Linux forgets the same.
    """
    for at in range(HEADER_LENGTH):
        headers[row, at] = 0
    summed = frame.ip_summed
    if summed == CHECKSUM_PARTIAL:
        headers[row, 0] = NEEDS_CSUM
        _put16(headers, row, 6, np.int64(frame.csum_start))
        _put16(headers, row, 8, np.int64(frame.csum_offset))
    elif summed == CHECKSUM_UNNECESSARY:
        headers[row, 0] = DATA_VALID
    bits = np.int64(frame.gso_type)
    if bits == 0:
        return True
    kind = 0
    if bits & ~_TCP_BITS == GSO_TCPV4:
        kind = TCPV4
    elif bits & ~_TCP_BITS == GSO_TCPV6:
        kind = TCPV6
    elif bits == GSO_UDP_L4:
        kind = UDP_L4
    elif bits == GSO_UDP:
        kind = UDP
    if kind == 0 or frame.gso_size <= 0 or frame.gso_size >= _BY_FRAGS:
        return False
    if bits & (GSO_TCP_ECN | GSO_TCP_ACCECN):
        kind |= ECN
    headers[row, 1] = kind
    _put16(headers, row, 2, np.int64(frame.payload_offset))
    _put16(headers, row, 4, np.int64(frame.gso_size))
    return True
