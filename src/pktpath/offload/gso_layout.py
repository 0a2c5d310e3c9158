"""How a super-frame is cut: one plan a super-frame, and what all its segments have in common.

Enters: the headers of a super-frame, proved by `wire.parse`. Leaves: a `Cut`, integers alone.

Source: net/core/skbuff.c `skb_segment`, net/ipv4/udp_offload.c, RFC 2675.
"""

from typing import NamedTuple

import numpy as np

from pktpath.jit import inlined
from pktpath.offload.gso_tcp import tcp_constant_sum
from pktpath.offload.gso_udp import udp_constant_sum
from pktpath.wire import ipv4, ipv6, tcp, udp
from pktpath.wire.checksum import addresses_sum, fold, sum_bytes
from pktpath.wire.load import load8, load16, load32

CUT_TCP, CUT_USO, CUT_UFO = 0, 1, 2
"""How a super-frame is cut: TCP segments, UDP datagrams, IP fragments of one UDP datagram."""

_JUMBO_HEADER = 8


class Cut(NamedTuple):
    """How one super-frame is cut, and what all its segments have in common; all are integers."""

    kind: np.int64
    """`CUT_TCP`, `CUT_USO` or `CUT_UFO`."""
    network: np.int64
    """4 or 6."""
    source: np.int64
    """Address of the super-frame's first byte."""
    network_offset: np.int64
    """Offset of the IP header, in the super-frame and in each segment."""
    transport_offset: np.int64
    """Offset of the transport header in the super-frame."""
    payload_offset: np.int64
    """Offset of the transport payload in the super-frame."""
    payload_len: np.int64
    """Bytes of transport payload in the super-frame."""
    moved: np.int64
    """How far the transport moves: -8 where a jumbo header goes, 8 where a fragment header comes."""
    header_len: np.int64
    """Bytes of headers in each segment; the first fragment of UFO has the UDP header besides."""
    unit: np.int64
    """Payload bytes in each segment but the last; with UFO the UDP header counts as payload."""
    frames: np.int64
    """Number of frames that leave."""
    size: np.int64
    """`gso_size`: differs from `unit` with GSO_PARTIAL and where UFO rounds down to 8."""
    step: np.int64
    """How many IP IDs each frame takes: 0 where the ID is fixed, more than 1 with GSO_PARTIAL."""
    sequence: np.int64
    """TCP sequence number of the super-frame."""
    flags: np.int64
    """TCP flag word of the super-frame."""
    later_flags: np.int64
    """TCP flags that segments after the first may carry, as a mask of the flag word."""
    network_sum: np.int64
    """Sum of the IPv4 header without the fields that differ between segments."""
    pseudo: np.int64
    """Sum of the pseudo-header without the length."""
    constant: np.int64
    """Sum of the transport header without the fields that differ between segments."""
    udp_checksum: np.int64
    """UFO: the checksum of the whole datagram."""
    ident: np.int64
    """IPv4 ID of the super-frame; with UFO over IPv6 the identification of the fragments."""


@inlined
def make_cut(mem, source, kind, network, network_offset, transport_offset, payload_offset, payload_len, size, fixed_id, keep_cwr):
    """Plan how the super-frame at `source` is cut to `size` bytes of payload a segment.

    Everything about it was proved by `wire.parse`. With `fixed_id` the IPv4 ID stays, with `keep_cwr`
    CWR does (SKB_GSO_TCP_FIXEDID, SKB_GSO_TCP_ACCECN). `cut_partial` and `cut_datagram` complete
    the plan for GSO_PARTIAL and UFO.
    """
    at = source + network_offset
    transport = source + transport_offset
    protocol = tcp.PROTOCOL if kind == CUT_TCP else udp.PROTOCOL
    moved = np.int64(0)
    unit = np.int64(size)
    header_len = np.int64(payload_offset)
    counted = np.int64(payload_len)
    if network == 6 and has_jumbo_header(mem, at):
        moved -= _JUMBO_HEADER
    if kind == CUT_UFO:
        unit &= ~7
        header_len = np.int64(transport_offset)
        counted += udp.LENGTH
        if network == 6:
            moved += ipv6.FRAGMENT_LENGTH
    network_sum = np.int64(0)
    ident = np.int64(0)
    if network == 4:
        ident = load16(mem, at + ipv4.ID)
        length = (load8(mem, at) & 15) * 4
        network_sum = load16(mem, at) + load16(mem, at + ipv4.TTL) + sum_bytes(mem, at + ipv4.SOURCE, length - ipv4.SOURCE)
        if kind != CUT_UFO:
            network_sum += load16(mem, at + ipv4.FRAGMENT)
    sequence = np.int64(0)
    flags = np.int64(0)
    if kind == CUT_TCP:
        sequence = load32(mem, transport + tcp.SEQUENCE)
        flags = load16(mem, transport + tcp.FLAG_WORD)
        constant = tcp_constant_sum(mem, transport, payload_offset - transport_offset)
    else:
        constant = udp_constant_sum(mem, transport)
    return Cut(
        np.int64(kind), np.int64(network), np.int64(source), np.int64(network_offset), np.int64(transport_offset),
        np.int64(payload_offset), np.int64(payload_len), moved, header_len + moved, unit, -(-counted // unit), np.int64(size),
        np.int64(0 if fixed_id or kind == CUT_UFO else 1), sequence, flags,
        np.int64(0xFFFF if keep_cwr else 0xFFFF & ~tcp.CWR), network_sum, addresses_sum(mem, at, network) + protocol,
        constant, np.int64(0), ident,
    )  # fmt: skip


@inlined
def no_cut():
    """Return the plan of a frame that is not cut."""
    none = np.int64(0)
    return Cut(
        none, none, none, none, none, none, none, none, none, none,
        none, none, none, none, none, none, none, none, none, none, none,
    )  # fmt: skip


@inlined
def cut_partial(cut):
    """Return the plan for a device that repeats headers itself: as many whole segments as fit in one frame.

    Source: `skb_segment` (net/core/skbuff.c), which stays below 65535 bytes of payload.
    """
    segments = min(cut.payload_len, np.int64(65534)) // cut.size
    if segments < 2:
        return cut
    unit = cut.size * segments
    return Cut(
        cut.kind, cut.network, cut.source, cut.network_offset, cut.transport_offset,
        cut.payload_offset, cut.payload_len, cut.moved, cut.header_len, unit, -(-cut.payload_len // unit), cut.size,
        cut.step * segments, cut.sequence, cut.flags, cut.later_flags, cut.network_sum, cut.pseudo, cut.constant,
        cut.udp_checksum, cut.ident,
    )  # fmt: skip


@inlined
def cut_datagram(cut, payload_sum, number):
    """Return the plan for UFO with the datagram's checksum, from the folded sum of its payload.

    The kernel draws the identification of IPv6 fragments at random; here it is the checksum and 16 bits
    of `number`, so that two runs cut alike and neighbours differ.
    """
    length = cut.payload_len + udp.LENGTH
    checksum = 0xFFFF - fold(cut.pseudo + cut.constant + 2 * length + payload_sum)
    if checksum == 0:
        checksum = np.int64(0xFFFF)
    return Cut(
        cut.kind, cut.network, cut.source, cut.network_offset, cut.transport_offset,
        cut.payload_offset, cut.payload_len, cut.moved, cut.header_len, cut.unit, cut.frames, cut.size,
        cut.step, cut.sequence, cut.flags, cut.later_flags, cut.network_sum, cut.pseudo, cut.constant,
        checksum, checksum << 16 | (number & 0xFFFF) if cut.network == 6 else cut.ident,
    )  # fmt: skip


@inlined
def segment_payload_len(cut, k):
    """Bytes of transport payload, without the UDP header, in segment `k`."""
    start = k * cut.unit
    end = start + cut.unit
    if cut.kind == CUT_UFO:
        end -= udp.LENGTH
        start = max(start - udp.LENGTH, np.int64(0))
    return min(end, cut.payload_len) - start


@inlined
def segment_header_len(cut, k):
    """Bytes of headers in segment `k`."""
    return cut.header_len + (udp.LENGTH if cut.kind == CUT_UFO and k == 0 else 0)


@inlined
def partial_segments(cut, length):
    """Segments that a device will cut out of an outgoing frame of `length` payload bytes; 1 for a wire frame."""
    return -(-length // cut.size) if cut.unit > cut.size else np.int64(1)


@inlined
def has_jumbo_header(mem, at):
    """Whether the IPv6 header at `at` is followed by a hop-by-hop header that holds a jumbo length alone (BIG TCP).

    Such a header is left out of the segments, also of a frame below 64 KiB, where the kernel
    (`ipv6_has_hopopt_jumbo`, include/net/ipv6.h) does not look for it: RFC 2675 allows it in neither.
    """
    return (
        load8(mem, at + ipv6.NEXT_HEADER) == ipv6.HOP_BY_HOP
        and load8(mem, at + ipv6.LENGTH + 1) == 0
        and load16(mem, at + ipv6.LENGTH + 2) == ipv6.JUMBO_OPTION << 8 | 4
    )
