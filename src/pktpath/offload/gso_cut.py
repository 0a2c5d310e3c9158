"""Cut one super-frame: its headers per segment, its payload shared or copied.

Enters: a frame of one batch and the plan of its cut. Leaves: its segments at the end of another
batch. The payload is walked once, piece by piece: the rest of the linear head, then each fragment.

Source: net/core/skbuff.c `skb_segment`.
"""

import numpy as np

from pktpath.batch import CHECKSUM_PARTIAL, CHECKSUM_UNNECESSARY, FRAGS, FRAMES, GSO_PARTIAL, copy_descriptor
from pktpath.jit import inlined
from pktpath.offload.gso_header import segment_header
from pktpath.offload.gso_layout import CUT_TCP, CUT_UFO, partial_segments, segment_header_len, segment_payload_len
from pktpath.pool import HEADROOM, NO_CHUNK, chunk_address, chunk_alloc, chunk_class_for, chunk_get, chunk_put
from pktpath.wire import ipv6, tcp, udp
from pktpath.wire.checksum import fold, sum_bytes, swap
from pktpath.wire.load import copy_bytes
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
    mem = pool.mem
    chunk_class = cut_class(cut, gather)
    summing = complete and cut.kind != CUT_UFO
    transport = cut.transport_offset + cut.moved
    shape = np.int64(batch.shape[i]) & (_KEPT_SHAPE if cut.kind == CUT_UFO else _KEPT_SHAPE | _RESERVED_BIT)
    if cut.kind == CUT_UFO:
        shape |= _FRAGMENT
    if cut.network == 6 and transport > cut.network_offset + ipv6.LENGTH:
        shape |= _EXTENSION_HEADERS
    row = out.used[FRAGS]
    # The piece of payload being walked, and the row of the fragment after it.
    at = batch.head_addr[i] + cut.payload_offset
    left = np.int64(batch.head_len[i]) - cut.payload_offset
    chunk = np.int64(batch.head_chunk[i])
    origin = batch.origin[i]
    following = np.int64(batch.frag_first[i])
    for k in range(cut.frames):
        j = out.used[FRAMES] + k
        length = segment_payload_len(cut, k)
        header = segment_header_len(cut, k)
        own = chunk_alloc(pool, chunk_class)
        head = chunk_address(pool, own) + HEADROOM
        copy_descriptor(batch, i, out, j)
        out.frag_first[j] = row
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
                out.frag_addr[row] = at
                out.frag_len[row] = take
                out.frag_chunk[row] = chunk
                out.frag_origin[row] = origin
                chunk_get(pool, chunk)
                row += 1
            else:
                copy_bytes(mem, head + header + taken, at, take)
            if summing:
                part = sum_bytes(mem, at, take)
                total += swap(part) if taken & 1 else part
            taken += take
            at += take
            left -= take
        total = fold(total) if summing else np.int64(-1)
        segment_header(mem, head, cut, k, length, total)
        out.head_addr[j] = head
        out.head_len[j] = header if gather else header + length
        out.head_chunk[j] = own
        out.frag_count[j] = row - out.frag_first[j]
        out.frame_len[j] = header + length
        out.wire_len[j] = header + length
        out.ip_summed[j] = CHECKSUM_UNNECESSARY if complete else CHECKSUM_PARTIAL
        out.payload_sum[j] = total
        out.csum_start[j] = 0 if complete else transport
        out.csum_offset[j] = 0 if complete else tcp.CHECKSUM if cut.kind == CUT_TCP else udp.CHECKSUM
        out.shape[j] = shape
        segments = partial_segments(cut, length)
        out.gso_type[j] = np.int64(batch.gso_type[i]) | GSO_PARTIAL if segments > 1 else 0
        out.gso_size[j] = cut.size if segments > 1 else 0
        out.gso_segs[j] = segments
        out.reason[j] = 0
        # Of IP fragments only the first one has a transport header to see.
        visible = cut.kind != CUT_UFO or k == 0
        out.transport_offset[j] = transport if visible else 0
        out.payload_offset[j] = cut.payload_offset + cut.moved if visible else 0
        out.payload_len[j] = length if visible else 0
        if k > 0:
            out.option_len[j] = 0
    out.used[FRAMES] += cut.frames
    out.used[FRAGS] = row
    chunk_put(pool, batch.head_chunk[i])
    batch.head_chunk[i] = NO_CHUNK
    for source in range(batch.frag_first[i], batch.frag_first[i] + batch.frag_count[i]):
        chunk_put(pool, batch.frag_chunk[source])
        batch.frag_chunk[source] = NO_CHUNK
