"""The virtio_net_hdr (VirtIO 1.2, section 5.1.6) that a frame's descriptor stands for."""

from pktpath.batch import (
    CHECKSUM_PARTIAL,
    CHECKSUM_UNNECESSARY,
    GSO_TCP_ACCECN,
    GSO_TCP_ECN,
    GSO_TCPV4,
    GSO_TCPV6,
    GSO_UDP_L4,
    Batch,
)
from pktpath.port.memory import unload
from support.kernel_gro import LINEAR

NEEDS_CSUM, DATA_VALID = 1, 2
GSO_ECN = 0x80


def vnet_hdr(batch: Batch, i: int) -> tuple[int, int, int, int, int, int]:
    """Return (flags, gso_type, hdr_len, gso_size, csum_start, csum_offset) as a packet socket reports it.

    hdr_len is the linear length of the kernel's skb: for a merged frame all of its first segment.
    """
    summed = batch.ip_summed[i]
    flags = start = offset = kind = size = linear = 0
    if summed == CHECKSUM_PARTIAL:
        flags, start, offset = NEEDS_CSUM, int(batch.csum_start[i]), int(batch.csum_offset[i])
    elif summed == CHECKSUM_UNNECESSARY:
        flags = DATA_VALID
    bits = int(batch.gso_type[i])
    if bits:
        kind = next(number for bit, number in ((GSO_TCPV4, 1), (GSO_TCPV6, 4), (GSO_UDP_L4, 5)) if bits & bit)
        if bits & (GSO_TCP_ECN | GSO_TCP_ACCECN):
            kind |= GSO_ECN
        size = int(batch.gso_size[i])
        linear = int(batch.head_len[i])
        if batch.frag_count[i]:
            linear += int(batch.frag_len[batch.frag_first[i]])
    return flags, kind, linear, size, start, offset


def as_kernel_tells(batch: Batch) -> list[tuple[tuple[int, ...], bytes]]:
    """Return vnet_hdr and bytes of each frame, the linear length cut where the TAP driver cuts it."""
    told = []
    for i, data in enumerate(unload(batch)):
        flags, kind, linear, *rest = vnet_hdr(batch, i)
        told.append(((flags, kind, min(linear, LINEAR), *rest), data))
    return told
