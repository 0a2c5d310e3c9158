"""A head of one's own: before headers are written, they are copied out of shared or read-only memory."""

from pktpath.batch import FRAGS
from pktpath.jit import inlined
from pktpath.pool import HEADROOM, NO_CHUNK, chunk_address, chunk_alloc, chunk_class_for, chunk_put
from pktpath.wire.load import copy_bytes


@inlined
def private_head(batch, i, keep):
    """Make the first `keep` bytes of frame `i` its own to write, and say whether that worked.

    A head that nobody shares stays as it is. Otherwise `keep` bytes go to a fresh chunk, `HEADROOM`
    behind its start, and the rest of the old head becomes the first fragment: no payload is copied.
    False, with the frame unchanged, when the head is shorter, or the pool or the fragment table is full.
    """
    frame = batch.frames[i]
    if frame.head_chunk >= 0 and batch.pool.refs[frame.head_chunk] == 1:
        return keep <= frame.head_len
    return fresh_head(batch, i, keep)


@inlined
def fresh_head(batch, i, keep):
    """Copy the first `keep` bytes of frame `i` to a fresh chunk, whoever holds the old one, as `private_head` does."""
    frame = batch.frames[i]
    pool = batch.pool
    old = frame.head_chunk
    rest = frame.head_len - keep
    count = frame.frag_count
    rows = batch.used[FRAGS]
    chunk_class = chunk_class_for(keep)
    if rest < 0 or chunk_class < 0 or (rest > 0 and rows + count + 1 > len(batch.frag_addr)):
        return False
    chunk = chunk_alloc(pool, chunk_class)
    if chunk == NO_CHUNK:
        return False
    at = chunk_address(pool, chunk) + HEADROOM
    copy_bytes(pool.mem, at, frame.head_addr, keep)
    if rest > 0:
        _put_before(batch, i, frame.head_addr + keep, rest, old)
    else:
        chunk_put(pool, old)
    frame.head_addr = at
    frame.head_len = keep
    frame.head_chunk = chunk
    return True


@inlined
def _put_before(batch, i, at, length, chunk):
    """Make a range the first fragment of frame `i`; its rows move to the end of the table."""
    frame = batch.frames[i]
    first = frame.frag_first
    count = frame.frag_count
    rows = batch.used[FRAGS]
    for k in range(count):
        batch.frag_addr[rows + 1 + k] = batch.frag_addr[first + k]
        batch.frag_len[rows + 1 + k] = batch.frag_len[first + k]
        batch.frag_chunk[rows + 1 + k] = batch.frag_chunk[first + k]
        batch.frag_origin[rows + 1 + k] = batch.frag_origin[first + k]
        batch.frag_chunk[first + k] = NO_CHUNK
    batch.frag_addr[rows] = at
    batch.frag_len[rows] = length
    batch.frag_chunk[rows] = chunk
    batch.frag_origin[rows] = frame.origin
    frame.frag_first = rows
    frame.frag_count = count + 1
    batch.used[FRAGS] = rows + count + 1
