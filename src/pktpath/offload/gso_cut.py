"""Cut one super-frame: its headers per segment, its payload shared or copied.

Enters: a frame of one batch and the plan of its cut. Leaves: its segments at the end of another
batch. The payload is walked once, piece by piece: the rest of the linear head, then each fragment.

Source: net/core/skbuff.c `skb_segment`.
"""

import numpy as np

from pktpath.batch import (
    CHECKSUM_PARTIAL,
    CHECKSUM_UNNECESSARY,
    FRAGS,
    FRAMES,
    GSO_PARTIAL,
    alloc_heads,
    copy_descriptor,
    repeat_descriptor,
)
from pktpath.jit import inlined
from pktpath.offload.gso_header import copy_headers, patch_header
from pktpath.offload.gso_layout import CUT_TCP, CUT_UFO, partial_segments, segment_header_len, segment_payload_len
from pktpath.pool import NO_CHUNK, chunk_class_for, chunk_get, chunk_put
from pktpath.wire import ipv6, tcp, udp
from pktpath.wire.checksum import fold, sum_bytes, swap
from pktpath.wire.load import copy_bytes, copy_header
from pktpath.wire.parse import Shape

_EXTENSION_HEADERS, _FRAGMENT = int(Shape.EXTENSION_HEADERS), int(Shape.FRAGMENT)
_RESERVED_BIT = int(Shape.RESERVED_BIT)
_KEPT_SHAPE = int(Shape.TAGGED | Shape.IP_OPTIONS)


@inlined
def cut_class(cut, gather):
    """Class of chunk for each segment, or -1 where none is large enough."""
    length = cut.header_len + (udp.LENGTH if cut.kind == CUT_UFO else 0)
    return chunk_class_for(length if gather else length + min(cut.unit, cut.payload_len))


@inlined
def pieces_len(frag_len, first, count):
    """Bytes in `count` fragments of a table from row `first` on."""
    total = np.int64(0)
    for row in range(first, first + count):
        total += frag_len[row]
    return total


@inlined
def sum_pieces(mem, at, left, frag_addr, frag_len, row, length):
    """Folded sum of `length` bytes: `left` of them at `at`, the rest in the fragments from `row` on."""
    total = np.int64(0)
    taken = np.int64(0)
    while True:
        take = min(left, length - taken)
        part = sum_bytes(mem, at, take)
        total += swap(part) if taken & 1 else part
        taken += take
        if taken == length:
            return fold(total)
        at = frag_addr[row]
        left = np.int64(frag_len[row])
        row += 1


@inlined
def cut_frame(batch, i, out, cut, gather, complete):
    """Append the segments of frame `i` to `out`, which has room for them, and let go of the frame.

    With `gather` each segment is a header of its own and shared fragments, otherwise one linear
    copy. With `complete` checksums are computed, otherwise left partial.
    """
    frame = batch.frames[i]
    pool = batch.pool
    first = out.used[FRAMES]
    end = first + cut.frames
    kinds = np.int64(frame.gso_type)
    _describe(batch, i, out, first, cut, complete)
    # All segments are as the second one, but for the first and the last.
    _measure(out, first, cut, 1, kinds, gather)
    repeat_descriptor(out, first, end)
    _measure(out, first, cut, 0, kinds, gather)
    _measure(out, end - 1, cut, cut.frames - 1, kinds, gather)
    out.frames[first].option_len = frame.option_len
    alloc_heads(out, cut_class(cut, gather), first, end)
    _walk_payload(batch, i, out, first, cut, gather, complete and cut.kind != CUT_UFO)
    _write_headers(pool.mem, out, first, cut)
    out.used[FRAMES] = end
    chunk_put(pool, frame.head_chunk)
    frame.head_chunk = NO_CHUNK
    for source in range(frame.frag_first, frame.frag_first + frame.frag_count):
        chunk_put(pool, batch.frag_chunk[source])
        batch.frag_chunk[source] = NO_CHUNK


@inlined
def _describe(batch, i, out, j, cut, complete):
    """Set the columns of frame `j` that are the same in all segments of frame `i`."""
    to = out.frames[j]
    transport = cut.transport_offset + cut.moved
    shape = np.int64(batch.frames[i].shape_flags) & (_KEPT_SHAPE if cut.kind == CUT_UFO else _KEPT_SHAPE | _RESERVED_BIT)
    if cut.kind == CUT_UFO:
        shape |= _FRAGMENT
    if cut.network == 6 and transport > cut.network_offset + ipv6.LENGTH:
        shape |= _EXTENSION_HEADERS
    copy_descriptor(batch, i, out, j)
    to.option_len = 0
    to.ip_summed = CHECKSUM_UNNECESSARY if complete else CHECKSUM_PARTIAL
    to.csum_start = 0 if complete else transport
    to.csum_offset = 0 if complete else tcp.CHECKSUM if cut.kind == CUT_TCP else udp.CHECKSUM
    to.shape_flags = shape
    to.reason = 0


@inlined
def _measure(out, j, cut, k, kinds, gather):
    """Set the columns of frame `j`, segment `k`, that tell its lengths and what of it can be seen."""
    length = segment_payload_len(cut, k)
    header = segment_header_len(cut, k)
    out.frames[j].head_len = header if gather else header + length
    out.frames[j].frame_len = header + length
    out.frames[j].wire_len = header + length
    segments = partial_segments(cut, length)
    out.frames[j].gso_type = kinds | GSO_PARTIAL if segments > 1 else 0
    out.frames[j].gso_size = cut.size if segments > 1 else 0
    out.frames[j].gso_segs = segments
    # Of IP fragments only the first one has a transport header to see.
    visible = cut.kind != CUT_UFO or k == 0
    out.frames[j].transport_offset = cut.transport_offset + cut.moved if visible else 0
    out.frames[j].payload_offset = cut.payload_offset + cut.moved if visible else 0
    out.frames[j].payload_len = length if visible else 0


@inlined
def _walk_payload(batch, i, out, first, cut, gather, summing):
    """Share or copy, and sum, the payload of frame `i` piece by piece: the rest of the linear head, then each fragment."""
    frame = batch.frames[i]
    pool = batch.pool
    mem = pool.mem
    row = out.used[FRAGS]
    # The piece being walked, and the row of the fragment after it.
    at = frame.head_addr + cut.payload_offset
    left = np.int64(frame.head_len) - cut.payload_offset
    chunk = np.int64(frame.head_chunk)
    origin = frame.origin
    following = np.int64(frame.frag_first)
    for k in range(cut.frames):
        j = np.uint64(first + k)
        length = segment_payload_len(cut, k)
        start = row
        total = np.int64(0)
        taken = np.int64(0)
        while taken < length:
            while left == 0:
                at = batch.frag_addr[following]
                left = np.int64(batch.frag_len[following])
                chunk = np.int64(batch.frag_chunk[following])
                origin = batch.frag_origin[following]
                following += 1
            take = min(left, length - taken)
            if gather:
                fragment = np.uint64(row)
                out.frag_addr[fragment] = at
                out.frag_len[fragment] = take
                out.frag_chunk[fragment] = chunk
                out.frag_origin[fragment] = origin
                chunk_get(pool, chunk)
                row += 1
            else:
                copy_bytes(mem, out.frames[j].head_addr + segment_header_len(cut, k) + taken, at, take)
            if summing:
                part = sum_bytes(mem, at, take)
                total += swap(part) if taken & 1 else part
            taken += take
            at += take
            left -= take
        out.frames[j].frag_first = start
        out.frames[j].frag_count = row - start
        out.frames[j].payload_sum = fold(total) if summing else -1
    out.used[FRAGS] = row


@inlined
def _write_headers(mem, out, first, cut):
    """Write the headers of all segments, whose chunks and payload sums are known."""
    model = out.frames[first].head_addr
    copy_headers(mem, model, cut)
    for k in range(cut.frames):
        j = np.uint64(first + k)
        head = out.frames[j].head_addr
        if k > 0:
            copy_header(mem, head, model, cut.header_len)
        patch_header(mem, head, cut, k, segment_payload_len(cut, k), np.int64(out.frames[j].payload_sum))
