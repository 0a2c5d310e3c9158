"""Hand a frame on that is not cut: as it is, or made fit for a port without checksums or scatter-gather.

Enters: a frame of one batch. Leaves: the same frame at the end of another; its chunks' counts go with it.

Source: net/core/dev.c `validate_xmit_skb`, `skb_checksum_help`.
"""

import numpy as np

from pktpath.batch import CHECKSUM_PARTIAL, CHECKSUM_UNNECESSARY, FRAGS, FRAMES, copy_descriptor
from pktpath.jit import inlined
from pktpath.offload.gso_cut import FITS, LATER, NEVER, payload_present, sum_payload
from pktpath.offload.gso_plan import completes_checksum
from pktpath.pool import HEADROOM, NO_CHUNK, chunk_address, chunk_alloc, chunk_class_for, chunk_put
from pktpath.wire.load import copy_bytes, store16


@inlined
def move_frame(batch, i, out):
    """Move frame `i` as it is: its counts are the output's from now on. False where `out` has no room."""
    j = out.used[FRAMES]
    rows = np.int64(batch.frag_count[i])
    if j >= len(out.head_addr) or out.used[FRAGS] + rows > len(out.frag_addr):
        return False
    copy_descriptor(batch, i, out, j)
    batch.head_chunk[i] = NO_CHUNK
    out.used[FRAMES] = j + 1
    _move_rows(batch, i, out, j)
    return True


@inlined
def _move_rows(batch, i, out, j):
    row = out.used[FRAGS]
    out.frag_first[j] = row
    out.frag_count[j] = batch.frag_count[i]
    for source in range(batch.frag_first[i], batch.frag_first[i] + batch.frag_count[i]):
        out.frag_addr[row] = batch.frag_addr[source]
        out.frag_len[row] = batch.frag_len[source]
        out.frag_chunk[row] = batch.frag_chunk[source]
        out.frag_origin[row] = batch.frag_origin[source]
        batch.frag_chunk[source] = NO_CHUNK
        row += 1
    out.used[FRAGS] = row


@inlined
def needs_checksum(batch, i, features):
    """Whether the port leaves the checksum of frame `i` to us."""
    return batch.ip_summed[i] == CHECKSUM_PARTIAL and not completes_checksum(batch.network[i], features)


@inlined
def checksum_in_head(batch, i):
    """Whether the checksum field of a partial frame, and where its sum starts, lie in the linear head."""
    start, offset = np.int64(batch.csum_start[i]), np.int64(batch.csum_offset[i])
    return start >= 0 and offset >= 0 and start + offset + 2 <= batch.head_len[i] and present_is_whole(batch, i)


@inlined
def present_is_whole(batch, i):
    """Whether the pieces of frame `i` are as long together as the frame says."""
    return payload_present(batch, i, 0) == batch.frame_len[i]


@inlined
def private_len(batch, i, gather):
    """Bytes of frame `i` that go to a chunk of its own: the headers, or all of it for a port that cannot gather."""
    if not gather:
        return np.int64(batch.frame_len[i])
    end = np.int64(batch.csum_start[i]) + batch.csum_offset[i] + 2
    return max(end, np.int64(batch.payload_offset[i]))


@inlined
def must_copy(batch, i, gather, writes):
    """Whether frame `i` needs a head of its own: it has fragments that cannot be gathered, or its head is read-only."""
    if not gather and batch.frag_count[i] > 0:
        return True
    chunk = batch.head_chunk[i]
    return writes and (chunk < 0 or batch.pool.refs[chunk] > 1)


@inlined
def private_room(batch, i, out, gather):
    """Whether a private copy of frame `i` has room: `FITS`, `LATER` or `NEVER`."""
    pool = batch.pool
    chunk_class = chunk_class_for(private_len(batch, i, gather))
    rows = np.int64(batch.frag_count[i]) + 1 if gather else np.int64(0)
    if chunk_class < 0 or pool.first[chunk_class + 1] == pool.first[chunk_class] or rows > len(out.frag_addr):
        return NEVER
    if out.used[FRAMES] >= len(out.head_addr) or out.used[FRAGS] + rows > len(out.frag_addr):
        return LATER
    return LATER if pool.free_count[chunk_class] == 0 else FITS


@inlined
def copy_frame(batch, i, out, gather):
    """Move frame `i` with a head of its own, where `private_room` found room.

    For a port that gathers, the headers are copied and the rest of the old head becomes the first
    fragment; otherwise the whole frame becomes linear.
    """
    pool = batch.pool
    mem = pool.mem
    length = private_len(batch, i, gather)
    own = chunk_alloc(pool, chunk_class_for(length))
    head = chunk_address(pool, own) + HEADROOM
    j = out.used[FRAMES]
    copy_descriptor(batch, i, out, j)
    out.head_addr[j] = head
    out.head_len[j] = length
    out.head_chunk[j] = own
    out.used[FRAMES] = j + 1
    linear = np.int64(batch.head_len[i])
    copy_bytes(mem, head, batch.head_addr[i], min(linear, length))
    if gather:
        row = out.used[FRAGS]
        rest = linear - length
        if rest > 0:
            out.frag_addr[row] = batch.head_addr[i] + length
            out.frag_len[row] = rest
            out.frag_chunk[row] = batch.head_chunk[i]
            out.frag_origin[row] = batch.origin[i]
            batch.head_chunk[i] = NO_CHUNK
            out.used[FRAGS] = row + 1
        _move_rows(batch, i, out, j)
        if rest > 0:
            out.frag_first[j] = row
            out.frag_count[j] += 1
    else:
        for row in range(batch.frag_first[i], batch.frag_first[i] + batch.frag_count[i]):
            copy_bytes(mem, head + linear, batch.frag_addr[row], np.int64(batch.frag_len[row]))
            linear += batch.frag_len[row]
            chunk_put(pool, batch.frag_chunk[row])
            batch.frag_chunk[row] = NO_CHUNK
        out.frag_first[j] = out.used[FRAGS]
        out.frag_count[j] = 0
    chunk_put(pool, batch.head_chunk[i])
    batch.head_chunk[i] = NO_CHUNK


@inlined
def complete_checksum(out, j):
    """Complete the partial checksum of frame `j` in its own head.

    The field holds the pseudo-header's sum. A checksum of 0 becomes 0xFFFF for every protocol, as in
    `skb_checksum_help`.
    """
    mem = out.pool.mem
    start = np.int64(out.csum_start[j])
    total = sum_payload(out, j, start, _checksum_end(out, j) - start)
    field = out.head_addr[j] + start + out.csum_offset[j]
    checksum = 0xFFFF - total
    store16(mem, field, 0xFFFF if checksum == 0 else checksum)
    out.ip_summed[j] = CHECKSUM_UNNECESSARY


@inlined
def _checksum_end(out, j):
    """Offset at which the sum ends: link padding is not part of the packet."""
    if out.csum_start[j] == out.transport_offset[j] and out.transport_offset[j] > 0:
        return min(np.int64(out.payload_offset[j]) + out.payload_len[j], np.int64(out.frame_len[j]))
    return np.int64(out.frame_len[j])
