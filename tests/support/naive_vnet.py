"""The virtio_net_hdr read and written the obvious way, over bytes."""

import struct

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

KINDS = {0: 0, 1: GSO_TCPV4, 3: GSO_UDP, 4: GSO_TCPV6, 5: GSO_UDP_L4}
ECN = 0x80


def read(header: bytes, head_len: int, frame_len: int) -> tuple[int, int, int, int, int] | None:
    """Return (ip_summed, csum_start, csum_offset, gso_type, gso_size), or None for a header that cannot be true."""
    flags, kind, length, size, start, offset = struct.unpack("<BBHHHH", header)
    if kind & ~ECN not in KINDS:
        return None
    if kind & ECN and kind & ~ECN not in (1, 4):
        return None
    if kind and (size == 0 or length > frame_len):
        return None
    if flags & 1 and (start < 14 or start + offset + 2 > head_len):
        return None
    bits = KINDS[kind & ~ECN] | (GSO_TCP_ECN if kind & ECN else 0)
    summed = CHECKSUM_PARTIAL if flags & 1 else CHECKSUM_UNNECESSARY if flags & 2 else CHECKSUM_NONE
    return summed, start if flags & 1 else 0, offset if flags & 1 else 0, bits, size if kind else 0


def write(summed: int, start: int, offset: int, bits: int, size: int, payload_offset: int) -> bytes | None:
    """Return the header for these fields, None where there is none."""
    kinds = {bits: kind for kind, bits in KINDS.items()}
    ecn = bits & GSO_TCP_ECN
    if bits & ~GSO_TCP_ECN not in kinds or (ecn and bits & ~GSO_TCP_ECN not in (GSO_TCPV4, GSO_TCPV6)):
        return None
    partial = summed == CHECKSUM_PARTIAL
    kind = kinds[bits & ~GSO_TCP_ECN] | (ECN if ecn else 0)
    fields = (payload_offset, size) if bits else (0, 0)
    return struct.pack("<BBHHHH", partial, kind, *fields, *((start, offset) if partial else (0, 0)))
