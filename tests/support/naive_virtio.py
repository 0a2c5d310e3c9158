"""A virtio_net_hdr, read and written as the rules say, over bytes."""

import struct

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

KINDS = {
    1: GSO_TCPV4, 3: GSO_UDP, 4: GSO_TCPV6, 5: GSO_UDP_L4, 0x81: GSO_TCPV4 | GSO_TCP_ECN, 0x84: GSO_TCPV6 | GSO_TCP_ECN,
}  # fmt: skip


def read(header: bytes, head_len: int, frame_len: int) -> dict[str, int] | None:
    """What a descriptor must say, None for a frame to drop."""
    flags, kind, hdr_len, size, start, offset = struct.unpack("<BBHHHH", header)
    said = {"ip_summed": CHECKSUM_NONE, "csum_start": 0, "csum_offset": 0, "gso_type": 0, "gso_size": 0, "gso_segs": 1}
    partial = flags & 1
    if partial:
        said |= {"ip_summed": CHECKSUM_PARTIAL, "csum_start": start, "csum_offset": offset}
        if not set(range(start + offset, start + offset + 2)) <= set(range(14, head_len)) or start < 14:
            return None
    elif flags & 2:
        said["ip_summed"] = CHECKSUM_UNNECESSARY
    if kind:
        if kind not in KINDS or size in (0, 0xFFFF) or hdr_len > frame_len:
            return None
        said |= {"gso_type": KINDS[kind], "gso_size": size}
    return said


def write(fields: dict[str, int]) -> bytes | None:
    """The header of a descriptor with these fields, None where there is none."""
    flags = start = offset = kind = hdr_len = size = 0
    if fields["ip_summed"] == CHECKSUM_PARTIAL:
        flags, start, offset = 1, fields["csum_start"], fields["csum_offset"]
    if fields["ip_summed"] == CHECKSUM_UNNECESSARY:
        flags = 2
    bits = fields["gso_type"]
    if bits:
        tcp_words = GSO_TCP_ECN | GSO_TCP_FIXEDID | GSO_TCP_ACCECN
        plain = {GSO_TCPV4: 1, GSO_TCPV6: 4}.get(bits & ~tcp_words) or {GSO_UDP: 3, GSO_UDP_L4: 5}.get(bits)
        if plain is None or not 0 < fields["gso_size"] < 0xFFFF:
            return None
        kind = plain | (0x80 if bits & (GSO_TCP_ECN | GSO_TCP_ACCECN) else 0)
        hdr_len, size = fields["payload_offset"], fields["gso_size"]
    return struct.pack("<BBHHHH", flags, kind, hdr_len, size, start, offset)
