"""Hand on a frame that is not cut: as it is, or made fit for a port without checksums or scatter-gather.

Enters: a frame of one batch. Leaves: the same frame at the end of another; its chunks' counts go with it.

Source: net/core/dev.c `validate_xmit_skb`, `skb_checksum_help`.
"""

import numpy as np

from pktpath.batch import FRAGS, FRAMES, copy_descriptor
from pktpath.jit import inlined
from pktpath.offload.gso_cut import sum_pieces
from pktpath.pool import HEADROOM, NO_CHUNK, chunk_address, chunk_alloc, chunk_class_for, chunk_put
from pktpath.wire.load import copy_bytes, store16


@inlined
def pass_frame(batch, i, out, private, gather):
    """Move frame `i` to `out`, which has room, with its first `private` bytes in a chunk of its own.

    0 moves the frame as it is. For a port that gathers, the rest of the old head becomes the first
    fragment; for another one `private` is the whole frame, and the frame becomes linear.
    """
    frame = batch.frames[i]
    pool = batch.pool
    mem = pool.mem
    j = out.used[FRAMES]
    row = out.used[FRAGS]
    copy_descriptor(batch, i, out, j)
    out.frames[j].frag_first = row
    linear = np.int64(frame.head_len)
    if private > 0:
        own = chunk_alloc(pool, chunk_class_for(private))
        head = chunk_address(pool, own) + HEADROOM
        copy_bytes(mem, head, frame.head_addr, min(linear, private))
        if linear > private:
            out.frag_addr[row] = frame.head_addr + private
            out.frag_len[row] = linear - private
            out.frag_chunk[row] = frame.head_chunk
            out.frag_origin[row] = frame.origin
            row += 1
        else:
            chunk_put(pool, frame.head_chunk)
        out.frames[j].head_addr = head
        out.frames[j].head_len = private
        out.frames[j].head_chunk = own
    frame.head_chunk = NO_CHUNK
    for source in range(frame.frag_first, frame.frag_first + frame.frag_count):
        length = np.int64(batch.frag_len[source])
        if private > 0 and not gather:
            copy_bytes(mem, out.frames[j].head_addr + linear, batch.frag_addr[source], length)
            linear += length
            chunk_put(pool, batch.frag_chunk[source])
        else:
            out.frag_addr[row] = batch.frag_addr[source]
            out.frag_len[row] = length
            out.frag_chunk[row] = batch.frag_chunk[source]
            out.frag_origin[row] = batch.frag_origin[source]
            row += 1
        batch.frag_chunk[source] = NO_CHUNK
    out.frames[j].frag_count = row - out.frames[j].frag_first
    out.used[FRAMES] = j + 1
    out.used[FRAGS] = row


@inlined
def complete_checksum(mem, at, head_len, frag_addr, frag_len, row, start, end, field):
    """Complete a partial checksum whose field lies at offset `field` of the head at `at`.

    The field holds the pseudo-header's sum; the sum goes from offset `start` to `end` of the frame,
    whose fragments begin at `row`. A checksum of 0 becomes 0xFFFF whatever the protocol, as in `skb_checksum_help`.
    """
    total = sum_pieces(mem, at + start, head_len - start, frag_addr, frag_len, row, end - start)
    store16(mem, at + field, 0xFFFF if total == 0xFFFF else 0xFFFF - total)
