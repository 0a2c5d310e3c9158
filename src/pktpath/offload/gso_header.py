"""The headers of one segment, written from those of its super-frame.

Enters: a `gso_layout.Cut`, the number of a segment, the length and the sum of its payload. Leaves: its
headers, at an address. No payload is touched here, so the same function cuts a frame and
predicts how it would be cut.

Source: net/ipv4/af_inet.c `inet_gso_segment`, net/ipv6/ip6_offload.c `ipv6_gso_segment`,
Documentation/networking/segmentation-offloads.rst, RFC 791, RFC 8200.
"""

import numpy as np

from pktpath.jit import inlined
from pktpath.offload.gso_layout import CUT_TCP, CUT_UFO, CUT_USO
from pktpath.offload.gso_tcp import tcp_segment
from pktpath.offload.gso_udp import udp_first_fragment, udp_segment
from pktpath.wire import ipv4, ipv6, udp
from pktpath.wire.checksum import fold
from pktpath.wire.load import copy_bytes, copy_header, load8, store16, store32


@inlined
def segment_header(mem, target, cut, k, length, payload_sum):
    """Write the headers of segment `k`, which carries `length` bytes of payload, at `target`.

    `payload_sum` is the folded sum of that payload, or -1: then the checksum stays partial, that is,
    the pseudo-header's sum stands in its field. UFO takes its checksum from the plan instead.
    """
    copy_headers(mem, target, cut)
    patch_header(mem, target, cut, k, length, payload_sum)


@inlined
def patch_header(mem, target, cut, k, length, payload_sum):
    """Turn the headers of another segment, or those that `copy_headers` left, at `target` into those of segment `k`."""
    at = target + cut.network_offset
    transport = target + cut.transport_offset + cut.moved
    # A device that repeats the headers wants the lengths of one segment (GSO_PARTIAL).
    counted = min(length, cut.size) if cut.unit > cut.size else length
    ip_length = cut.header_len - cut.network_offset + counted
    fragment = np.int64(0)
    if cut.kind == CUT_TCP:
        tcp_segment(mem, transport, cut, k, length, payload_sum)
    elif cut.kind == CUT_USO:
        udp_segment(mem, transport, cut, length, payload_sum)
    else:
        fragment = k * (cut.unit >> 3)
        if k == 0:
            udp_first_fragment(mem, cut.source + cut.transport_offset, transport, cut)
            ip_length += udp.LENGTH
    last = k == cut.frames - 1
    if cut.network == 4:
        ident = cut.ident + k * cut.step & 0xFFFF
        total = cut.network_sum + ip_length + ident
        if cut.kind == CUT_UFO:
            fragment |= 0 if last else ipv4.MF
            total += fragment
            store16(mem, at + ipv4.FRAGMENT, fragment)
        store16(mem, at + ipv4.TOTAL_LENGTH, ip_length)
        store16(mem, at + ipv4.ID, ident)
        store16(mem, at + ipv4.CHECKSUM, 0xFFFF - fold(total))
    else:
        store16(mem, at + ipv6.PAYLOAD_LENGTH, ip_length - ipv6.LENGTH)
        if cut.kind == CUT_UFO:
            header = transport - ipv6.FRAGMENT_LENGTH
            store16(mem, header + ipv6.FRAGMENT_OFFSET, fragment << 3 | (0 if last else 1))


@inlined
def copy_headers(mem, target, cut):
    """Copy the super-frame's headers; take out a jumbo header, put in a fragment header."""
    if cut.kind != CUT_UFO and cut.moved == 0:
        copy_header(mem, target, cut.source, cut.header_len)
        return
    start = cut.network_offset + ipv6.LENGTH
    added = np.int64(ipv6.FRAGMENT_LENGTH if cut.kind == CUT_UFO and cut.network == 6 else 0)
    removed = added - cut.moved
    if removed == 0:
        copy_bytes(mem, target, cut.source, cut.header_len - added)
    else:
        copy_bytes(mem, target, cut.source, start)
        copy_bytes(mem, target + start, cut.source + start + removed, cut.header_len - added - start)
        mem[target + cut.network_offset + ipv6.NEXT_HEADER] = mem[cut.source + start]
    if added:
        end = cut.header_len - added
        field = cut.network_offset + ipv6.NEXT_HEADER
        following = start
        while following < end:
            field = following
            following += (load8(mem, target + following + 1) + 1) * 8
        mem[target + end] = mem[target + field]
        mem[target + end + 1] = 0
        mem[target + field] = ipv6.FRAGMENT_HEADER
        store32(mem, target + end + ipv6.FRAGMENT_ID, cut.ident)
