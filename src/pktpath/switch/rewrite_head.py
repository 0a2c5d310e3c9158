"""Headers of one's own, and frames that share theirs until one of them writes."""

import numpy as np

from pktpath.batch import FRAGS, FRAMES, copy_descriptor, hold_frame
from pktpath.jit import inlined
from pktpath.offload.head import private_head
from pktpath.pool import CHUNK_SIZE, HEADER, HEADROOM
from pktpath.wire.parse import EXTENSION_HEADERS

_HEADER_ROOM = CHUNK_SIZE[HEADER] - HEADROOM
"""Bytes that a small chunk holds: copied whole, so that a short frame stays in one piece."""


@inlined
def writable(batch, i, need):
    """Make the headers of frame `i` its own to write: its first `need` bytes at least, and all headers that are proved.

    A read-only or shared head is copied, the rest of it becomes the first fragment. False, with the frame as it was, where the
    pool or the fragment table is full or the head is shorter than `need`: the caller drops the frame (no_memory).
    """
    if need > batch.frames[i].head_len:
        return False
    return private_head(batch, i, header_part(batch, i, need))


@inlined
def header_part(batch, i, need):
    """Return how many bytes of the head of frame `i` to copy when its headers must be private."""
    frame = batch.frames[i]
    length = np.int64(frame.head_len)
    known = np.int64(frame.payload_offset)
    if length <= _HEADER_ROOM or (known == 0 and frame.shape_flags & EXTENSION_HEADERS):
        return length
    # Without a transport that is proved nobody knows where headers end: as much as fits.
    return min(length, max(need, known if known > 0 else np.int64(_HEADER_ROOM)))


@inlined
def clone_frame(batch, i):
    """Append a frame with the bytes of frame `i`, shared by both until one of them writes; return its index.

    -1, and nothing has changed, where the batch has no descriptor or no fragment rows left.
    """
    j = batch.used[FRAMES]
    row = batch.used[FRAGS]
    count = np.int64(batch.frames[i].frag_count)
    if j >= len(batch.frames) or row + count > len(batch.frag_addr):
        return np.int64(-1)
    copy_descriptor(batch, i, batch, j)
    first = np.int64(batch.frames[i].frag_first)
    for k in range(count):
        batch.frag_addr[row + k] = batch.frag_addr[first + k]
        batch.frag_len[row + k] = batch.frag_len[first + k]
        batch.frag_chunk[row + k] = batch.frag_chunk[first + k]
        batch.frag_origin[row + k] = batch.frag_origin[first + k]
    batch.frames[j].frag_first = row
    hold_frame(batch, j)
    batch.used[FRAMES] = j + 1
    batch.used[FRAGS] = row + count
    return np.int64(j)
