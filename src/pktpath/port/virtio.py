"""The virtio_net_hdr that a TAP or packet socket puts before a frame, to a descriptor and back.

Sources: VirtIO 1.2, section 5.1.6 (Device Operation); what Linux accepts of it and what it tells (include/linux/virtio_net.h).
Numbers are in the machine's byte order (little-endian), as these sockets have it without TUNSETVNETLE. Who writes one is not
trusted: a header that contradicts itself or its frame is refused, and the frame is dropped.
"""

import numpy as np

from pktpath.batch import (
    CHECKSUM_NONE,
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
from pktpath.wire import tcp, udp
from pktpath.wire.parse import CUT, FRAGMENT, MALFORMED

HEADER_LENGTH = 10
NEEDS_CSUM, DATA_VALID = 1, 2
"""flags"""
NONE, TCPV4, UDP, TCPV6, UDP_L4, ECN = 0, 1, 3, 4, 5, 0x80
"""gso_type; ECN is a bit beside TCPV4 or TCPV6."""
_BY_FRAGS = 0xFFFF
"""A gso_size that Linux keeps for itself."""
_TCP_BITS = GSO_TCP_ECN | GSO_TCP_FIXEDID | GSO_TCP_ACCECN


@inlined
def _get16(headers, row, at):
    return np.int64(headers[row, at]) | np.int64(headers[row, at + 1]) << 8


@inlined
def _put16(headers, row, at, value):
    headers[row, at] = value & 0xFF
    headers[row, at + 1] = value >> 8 & 0xFF


@inlined
def virtio_to_frame(headers, row, frame):
    """Say in a descriptor what the header in `headers[row]` says; return False where the frame must be dropped.

    Enters: `head_len` and `frame_len` of the descriptor. Leaves: ip_summed, csum_start, csum_offset, gso_type,
    gso_size, gso_segs (1; `super_frame_holds` counts them). A super-frame must be asked of `super_frame_holds` too, once parsed.
    """
    flags = np.int64(headers[row, 0])
    kind = np.int64(headers[row, 1])
    frame.ip_summed = CHECKSUM_NONE
    frame.csum_start = 0
    frame.csum_offset = 0
    frame.gso_type = 0
    frame.gso_size = 0
    frame.gso_segs = 1
    if flags & NEEDS_CSUM:
        start = _get16(headers, row, 6)
        offset = _get16(headers, row, 8)
        # Who completes the checksum later writes it into the head.
        if start + offset + 2 > frame.head_len:
            return False
        frame.ip_summed = CHECKSUM_PARTIAL
        frame.csum_start = start
        frame.csum_offset = offset
    elif flags & DATA_VALID:
        frame.ip_summed = CHECKSUM_UNNECESSARY
    if kind == NONE:
        return True
    size = _get16(headers, row, 4)
    if size == 0 or size == _BY_FRAGS or _get16(headers, row, 2) > frame.frame_len or not flags & NEEDS_CSUM:
        return False
    if kind == TCPV4 or kind == TCPV4 | ECN:
        bits = GSO_TCPV4
    elif kind == TCPV6 or kind == TCPV6 | ECN:
        bits = GSO_TCPV6
    elif kind == UDP_L4:
        bits = GSO_UDP_L4
    else:
        # UFO is not offered (Linux has no such device any more), tunnels are not either.
        return False
    frame.gso_type = bits | GSO_TCP_ECN if kind & ECN else bits
    frame.gso_size = size
    return True


@inlined
def super_frame_holds(frame):
    """Whether a parsed frame is what its gso_type says; sets gso_segs. One that is too short for two segments is no super-frame.

    Without this the segmenter would write headers into what is none.
    """
    bits = np.int64(frame.gso_type)
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
