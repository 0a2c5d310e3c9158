"""Cut one super-frame: its headers per segment, its payload shared or copied.

Enters: a frame of one batch and the plan of its cut. Leaves: its segments at the end of another
batch. The payload is walked once, piece by piece: the rest of the linear head, then each fragment.

Source: net/core/skbuff.c `skb_segment`.
"""

import numpy as np

from pktpath.batch import CHECKSUM_PARTIAL, CHECKSUM_UNNECESSARY, FRAGS, FRAMES, GSO_PARTIAL
from pktpath.jit import inlined
from pktpath.offload.gso_header import CUT_TCP, CUT_UFO, partial_segments, segment_header, segment_header_len, segment_payload
from pktpath.pool import HEADROOM, chunk_address, chunk_alloc, chunk_class_for, chunk_get
from pktpath.wire import tcp, udp
from pktpath.wire.checksum import fold, sum_bytes, swap
from pktpath.wire.load import copy_bytes
from pktpath.wire.parse import Shape

FITS, LATER, NEVER = 0, 1, 2
"""Whether an output has room: now, after it was emptied, or not at all."""

_EXTENSION_HEADERS, _FRAGMENT = int(Shape.EXTENSION_HEADERS), int(Shape.FRAGMENT)
_KEPT_SHAPE = int(Shape.TAGGED | Shape.IP_OPTIONS | Shape.EXTENSION_HEADERS | Shape.RESERVED_BIT)
_RESERVED_BIT = int(Shape.RESERVED_BIT)


@inlined
def cut_class(cut, gather):
    """Class of chunk for each segment, or -1 where none is large enough."""
    length = cut.header_len + (udp.LENGTH if cut.kind == CUT_UFO else 0)
    return chunk_class_for(length if gather else length + min(cut.unit, cut.payload_len))


@inlined
def cut_room(batch, i, out, cut, gather):
    """Whether `out` and the pool have room for every segment of frame `i`: `FITS`, `LATER` or `NEVER`."""
    pool = batch.pool
    rows = cut.count + batch.frag_count[i] + 1 if gather else np.int64(0)
    chunk_class = cut_class(cut, gather)
    if chunk_class < 0 or cut.count > len(out.head_addr) or rows > len(out.frag_addr):
        return NEVER
    if cut.count > pool.first[chunk_class + 1] - pool.first[chunk_class]:
        return NEVER
    if cut.count > len(out.head_addr) - out.used[FRAMES] or rows > len(out.frag_addr) - out.used[FRAGS]:
        return LATER
    return LATER if cut.count > pool.free_count[chunk_class] else FITS


@inlined
def payload_present(batch, i, start):
    """Bytes that frame `i` holds from offset `start` of its head on."""
    total = np.int64(batch.head_len[i]) - start
    for row in range(batch.frag_first[i], batch.frag_first[i] + batch.frag_count[i]):
        total += batch.frag_len[row]
    return total


@inlined
def sum_payload(batch, i, start, length):
    """Folded sum of `length` bytes of frame `i` from offset `start` of its head on, through its fragments."""
    mem = batch.pool.mem
    at = batch.head_addr[i] + start
    left = np.int64(batch.head_len[i]) - start
    row = np.int64(batch.frag_first[i])
    total = np.int64(0)
    taken = np.int64(0)
    while taken < length:
        take = min(left, length - taken)
        part = sum_bytes(mem, at, take)
        total += swap(part) if taken & 1 else part
        taken += take
        if taken < length:
            at = batch.frag_addr[row]
            left = np.int64(batch.frag_len[row])
            row += 1
    return fold(total)


@inlined
def cut_frame(batch, i, out, cut, gather, complete):
    """Append the segments of frame `i` to `out`, where `cut_room` found room; the caller frees the frame.

    With `gather` each segment is a header of its own and shared fragments, otherwise one linear
    copy. With `complete` checksums are computed, otherwise left partial.
    """
    pool = batch.pool
    mem = pool.mem
    chunk_class = cut_class(cut, gather)
    summing = complete and cut.kind != CUT_UFO
    first = out.used[FRAMES]
    row = out.used[FRAGS]
    # The piece of payload being walked, and the row of the fragment after it.
    at = batch.head_addr[i] + cut.payload_offset
    left = np.int64(batch.head_len[i]) - cut.payload_offset
    chunk = np.int64(batch.head_chunk[i])
    origin = batch.origin[i]
    following = np.int64(batch.frag_first[i])
    _fill_columns(batch, i, out, cut, first, complete)
    for k in range(cut.count):
        j = first + k
        _start, length = segment_payload(cut, k)
        header = segment_header_len(cut, k)
        own = chunk_alloc(pool, chunk_class)
        head = chunk_address(pool, own) + HEADROOM
        total = np.int64(0)
        taken = np.int64(0)
        out.frag_first[j] = row
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
        out.payload_sum[j] = total
        out.payload_len[j] = length
    out.used[FRAMES] = first + cut.count
    out.used[FRAGS] = row
    if cut.unit > cut.size:
        _describe_partial(batch, i, out, cut, first)
    if cut.kind == CUT_UFO:
        _describe_fragments(out, cut, first)


@inlined
def _fill(column, first, count, value):
    for j in range(first, first + count):
        column[j] = value


@inlined
def _fill_columns(batch, i, out, cut, first, complete):
    """Write the columns that all segments have in common, a column at a time."""
    count = cut.count
    transport = cut.transport_offset + cut.moved
    shape = np.int64(batch.shape[i]) & _KEPT_SHAPE
    if cut.network == 6 and transport == cut.network_offset + 40:
        shape &= ~_EXTENSION_HEADERS
    _fill(out.timestamp, first, count, batch.timestamp[i])
    _fill(out.ticks, first, count, batch.ticks[i])
    _fill(out.option_addr, first, count, batch.option_addr[i])
    _fill(out.option_len, first, count, 0)
    out.option_len[first] = batch.option_len[i]
    _fill(out.in_port, first, count, batch.in_port[i])
    _fill(out.link, first, count, batch.link[i])
    _fill(out.hash, first, count, batch.hash[i])
    _fill(out.vlan_tci, first, count, batch.vlan_tci[i])
    _fill(out.vlan_proto, first, count, batch.vlan_proto[i])
    _fill(out.ip_summed, first, count, CHECKSUM_UNNECESSARY if complete else CHECKSUM_PARTIAL)
    _fill(out.gso_type, first, count, 0)
    _fill(out.gso_size, first, count, 0)
    _fill(out.gso_segs, first, count, 1)
    _fill(out.csum_start, first, count, 0 if complete else transport)
    _fill(out.csum_offset, first, count, 0 if complete else tcp.CHECKSUM if cut.kind == CUT_TCP else udp.CHECKSUM)
    _fill(out.network, first, count, cut.network)
    _fill(out.protocol, first, count, batch.protocol[i])
    _fill(out.shape, first, count, shape)
    _fill(out.network_offset, first, count, cut.network_offset)
    _fill(out.transport_offset, first, count, transport)
    _fill(out.payload_offset, first, count, cut.payload_offset + cut.moved)
    _fill(out.reason, first, count, 0)
    _fill(out.origin, first, count, batch.origin[i])


@inlined
def _describe_partial(batch, i, out, cut, first):
    """Mark the frames that a device cuts further (SKB_GSO_PARTIAL); their IP length says one segment."""
    for j in range(first, first + cut.count):
        segments = partial_segments(cut, np.int64(out.payload_len[j]))
        if segments > 1:
            out.gso_type[j] = np.int64(batch.gso_type[i]) | GSO_PARTIAL
            out.gso_size[j] = cut.size
            out.gso_segs[j] = segments


@inlined
def _describe_fragments(out, cut, first):
    """IP fragments: only the first one has a transport header to see."""
    for j in range(first, first + cut.count):
        out.shape[j] = (np.int64(out.shape[j]) | _FRAGMENT | (_EXTENSION_HEADERS if cut.network == 6 else 0)) & ~_RESERVED_BIT
        out.payload_sum[j] = -1
        if j > first:
            out.transport_offset[j] = 0
            out.payload_offset[j] = 0
            out.payload_len[j] = 0
