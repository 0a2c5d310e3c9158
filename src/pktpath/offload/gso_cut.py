"""Cut one super-frame: its headers per segment, its payload shared or copied.

Enters: a frame of one batch and the plan of its cut. Leaves: its segments at the end of another
batch. The payload is walked once, piece by piece: the rest of the linear head, then each fragment.

Source: net/core/skbuff.c `skb_segment`.
"""

import numpy as np

from pktpath.batch import CHECKSUM_PARTIAL, CHECKSUM_UNNECESSARY, FRAGS, FRAMES, GSO_PARTIAL, copy_descriptor, repeat_descriptor
from pktpath.jit import inlined
from pktpath.offload.gso_header import copy_headers, patch_header
from pktpath.offload.gso_layout import CUT_TCP, CUT_UFO, partial_segments, segment_header_len, segment_payload_len
from pktpath.pool import HEADROOM, NO_CHUNK, chunk_alloc_run, chunk_class_for, chunk_get, chunk_put
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
    pool = batch.pool
    first = out.used[FRAMES]
    end = first + cut.frames
    kinds = np.int64(batch.gso_type[i])
    _describe(batch, i, out, first, cut, complete)
    # All segments are as the second one, but for the first and the last.
    _measure(out, first, cut, 1, kinds, gather)
    repeat_descriptor(out, first, end)
    _measure(out, first, cut, 0, kinds, gather)
    _measure(out, end - 1, cut, cut.frames - 1, kinds, gather)
    out.option_len[first] = batch.option_len[i]
    chunk_alloc_run(pool, cut_class(cut, gather), cut.frames, out.head_chunk, out.head_addr, first)
    _walk_payload(batch, i, out, first, cut, gather, complete and cut.kind != CUT_UFO)
    _write_headers(pool.mem, out, first, cut)
    out.used[FRAMES] = end
    chunk_put(pool, batch.head_chunk[i])
    batch.head_chunk[i] = NO_CHUNK
    for source in range(batch.frag_first[i], batch.frag_first[i] + batch.frag_count[i]):
        chunk_put(pool, batch.frag_chunk[source])
        batch.frag_chunk[source] = NO_CHUNK


@inlined
def _describe(batch, i, out, j, cut, complete):
    """Set the columns of frame `j` that are the same in all segments of frame `i`."""
    transport = cut.transport_offset + cut.moved
    shape = np.int64(batch.shape[i]) & (_KEPT_SHAPE if cut.kind == CUT_UFO else _KEPT_SHAPE | _RESERVED_BIT)
    if cut.kind == CUT_UFO:
        shape |= _FRAGMENT
    if cut.network == 6 and transport > cut.network_offset + ipv6.LENGTH:
        shape |= _EXTENSION_HEADERS
    copy_descriptor(batch, i, out, j)
    out.option_len[j] = 0
    out.ip_summed[j] = CHECKSUM_UNNECESSARY if complete else CHECKSUM_PARTIAL
    out.csum_start[j] = 0 if complete else transport
    out.csum_offset[j] = 0 if complete else tcp.CHECKSUM if cut.kind == CUT_TCP else udp.CHECKSUM
    out.shape[j] = shape
    out.reason[j] = 0


@inlined
def _measure(out, j, cut, k, kinds, gather):
    """Set the columns of frame `j`, segment `k`, that tell its lengths and what of it can be seen."""
    length = segment_payload_len(cut, k)
    header = segment_header_len(cut, k)
    out.head_len[j] = header if gather else header + length
    out.frame_len[j] = header + length
    out.wire_len[j] = header + length
    segments = partial_segments(cut, length)
    out.gso_type[j] = kinds | GSO_PARTIAL if segments > 1 else 0
    out.gso_size[j] = cut.size if segments > 1 else 0
    out.gso_segs[j] = segments
    # Of IP fragments only the first one has a transport header to see.
    visible = cut.kind != CUT_UFO or k == 0
    out.transport_offset[j] = cut.transport_offset + cut.moved if visible else 0
    out.payload_offset[j] = cut.payload_offset + cut.moved if visible else 0
    out.payload_len[j] = length if visible else 0


@inlined
def _walk_payload(batch, i, out, first, cut, gather, summing):
    """Share or copy, and sum, the payload of frame `i` piece by piece: the rest of the linear head, then each fragment."""
    pool = batch.pool
    mem = pool.mem
    row = out.used[FRAGS]
    # The piece being walked, and the row of the fragment after it.
    at = batch.head_addr[i] + cut.payload_offset
    left = np.int64(batch.head_len[i]) - cut.payload_offset
    chunk = np.int64(batch.head_chunk[i])
    origin = batch.origin[i]
    following = np.int64(batch.frag_first[i])
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
                copy_bytes(mem, out.head_addr[j] + HEADROOM + segment_header_len(cut, k) + taken, at, take)
            if summing:
                part = sum_bytes(mem, at, take)
                total += swap(part) if taken & 1 else part
            taken += take
            at += take
            left -= take
        out.frag_first[j] = start
        out.frag_count[j] = row - start
        out.payload_sum[j] = fold(total) if summing else -1
    out.used[FRAGS] = row


@inlined
def _write_headers(mem, out, first, cut):
    """Write the headers of all segments, whose chunks and payload sums are known."""
    model = out.head_addr[first] + HEADROOM
    copy_headers(mem, model, cut)
    for k in range(cut.frames):
        j = np.uint64(first + k)
        head = out.head_addr[j] + HEADROOM
        out.head_addr[j] = head
        if k > 0:
            copy_header(mem, head, model, cut.header_len)
        patch_header(mem, head, cut, k, segment_payload_len(cut, k), np.int64(out.payload_sum[j]))
