"""The TCP header of one segment of a super-frame.

Source: net/ipv4/tcp_offload.c `tcp_gso_segment`, RFC 9293, RFC 3168 section 6.1.2 (CWR).
"""

from pktpath.jit import inlined
from pktpath.wire import tcp
from pktpath.wire.checksum import fold, sum_bytes
from pktpath.wire.load import load16, load32, store16, store32


@inlined
def tcp_constant_sum(mem, at, length):
    """Sum of a TCP header of `length` bytes without sequence number, flag word and checksum."""
    total = load32(mem, at) + load32(mem, at + tcp.ACKNOWLEDGMENT) + load16(mem, at + tcp.WINDOW) + load16(mem, at + tcp.URGENT)
    return fold(total) + sum_bytes(mem, at + tcp.LENGTH, length - tcp.LENGTH)


@inlined
def tcp_segment(mem, at, cut, k, length, payload_sum):
    """Turn the TCP header of the super-frame or of another segment, copied to `at`, into that of segment `k`.

    FIN and PSH belong to the last segment, CWR to the first one unless ECN is accurate; all
    else, the urgent pointer too, is repeated.
    """
    sequence = cut.sequence + k * cut.unit & 0xFFFFFFFF
    flags = cut.flags
    if k > 0:
        flags &= cut.later_flags
    if k < cut.frames - 1:
        flags &= ~(tcp.FIN | tcp.PSH)
    length += cut.payload_offset - cut.transport_offset
    total = cut.pseudo + (length >> 16) + (length & 0xFFFF)
    checksum = fold(total)
    if payload_sum >= 0:
        checksum = 0xFFFF - fold(total + cut.constant + sequence + flags + payload_sum)
    store32(mem, at + tcp.SEQUENCE, sequence)
    store16(mem, at + tcp.FLAG_WORD, flags)
    store16(mem, at + tcp.CHECKSUM, checksum)
