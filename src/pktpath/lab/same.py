"""Are these the same frames? Compared byte for byte, in order within each flow.

Between flows the order may differ: whoever merges delivers a whole train at once. A flow is one
value of the receive hash, which every stage hands on.
"""

import numpy as np

from pktpath.batch import FRAMES, Batch
from pktpath.jit import inlined, kernel
from pktpath.wire.load import word64


def first_difference(left: Batch, right: Batch, first: int = 0) -> int | None:
    """Compare the frames of `left` with those of `right` from `first` on, one for one; return the first that differs.

    Frames are numbered as `left` has them; None where all are equal and the counts are too. The
    batches may have pools of their own. Frames are compared with as many frames of `right` as `left`
    has; it is for the caller to see that none is left over.
    """
    count = int(left.used[FRAMES])
    if first + count > int(right.used[FRAMES]):
        return count
    one = np.argsort(left.hash[:count], kind="stable")
    other = np.argsort(right.hash[first : first + count], kind="stable") + first
    at = int(compare_frames(left, one, right, other))
    return None if at < 0 else int(one[at])


@kernel
def compare_frames(left, one, right, other):
    """Return the first k for which frame `one[k]` of `left` is not frame `other[k]` of `right`, or -1."""
    for k in range(len(one)):
        if left.frames[one[k]].hash != right.frames[other[k]].hash or not same_frame(left, one[k], right, other[k]):
            return k
    return -1


@inlined
def same_frame(left, i, right, j):
    """Whether two frames have the same bytes, however they are cut into head and fragments."""
    if left.frames[i].frame_len != right.frames[j].frame_len:
        return False
    rest = np.int64(left.frames[i].frame_len)
    part, other = np.int64(-1), np.int64(-1)
    at, length = _range(left, i, part)
    there, room = _range(right, j, other)
    while rest > 0:
        while length == 0:
            part += 1
            at, length = _range(left, i, part)
        while room == 0:
            other += 1
            there, room = _range(right, j, other)
        size = min(length, room)
        if not _same_range(left.pool.mem, at, right.pool.mem, there, size):
            return False
        at, length, there, room, rest = at + size, length - size, there + size, room - size, rest - size
    return True


@inlined
def _range(batch, i, part):
    """Address and length of the head (part -1) or of a fragment."""
    frame = batch.frames[i]
    if part < 0:
        return np.int64(frame.head_addr), np.int64(frame.head_len)
    row = frame.frag_first + part
    return np.int64(batch.frag_addr[row]), np.int64(batch.frag_len[row])


@inlined
def _same_range(mem, at, other, there, size):
    k = 0
    while k + 8 <= size:
        if word64(mem, at + k) != word64(other, there + k):
            return False
        k += 8
    while k < size:
        if mem[at + k] != other[there + k]:
            return False
        k += 1
    return True
