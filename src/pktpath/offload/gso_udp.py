"""The UDP header of one datagram of a super-frame (USO), or of a datagram that leaves as IP fragments (UFO).

Source: net/ipv4/udp_offload.c `__udp_gso_segment`, `udp4_ufo_fragment`, net/ipv6/udp_offload.c, RFC 768.
"""

from pktpath.jit import inlined
from pktpath.wire import udp
from pktpath.wire.checksum import fold
from pktpath.wire.load import copy_bytes, load32, store16


@inlined
def udp_constant_sum(mem, at):
    """Sum of a UDP header without length and checksum."""
    return load32(mem, at)


@inlined
def udp_segment(mem, at, cut, length, payload_sum):
    """Turn the super-frame's UDP header, copied to `at`, into that of a datagram with `length` bytes of payload.

    A datagram whose checksum comes out as 0 says 0xFFFF: 0 means that there is none.
    """
    length += udp.LENGTH
    total = cut.pseudo + (length >> 16) + (length & 0xFFFF)
    if payload_sum < 0:
        checksum = fold(total)
    else:
        # The length counts twice: in the pseudo-header and in the header.
        checksum = 0xFFFF - fold(total + cut.constant + length + payload_sum)
        if checksum == 0:
            checksum = 0xFFFF
    store16(mem, at + udp.UDP_LENGTH, length)
    store16(mem, at + udp.CHECKSUM, checksum)


@inlined
def udp_first_fragment(mem, source, at, cut):
    """Write the UDP header of the whole datagram, whose checksum the plan holds, at `at`."""
    copy_bytes(mem, at, source, udp.UDP_LENGTH)
    store16(mem, at + udp.UDP_LENGTH, cut.payload_len + udp.LENGTH)
    store16(mem, at + udp.CHECKSUM, cut.udp_checksum)
