"""Generic segmentation: super-frames become frames that the port they leave by can carry.

Enters: a parsed batch. Leaves: the same frames in order in another batch; a super-frame that the
port's features do not carry is cut, a partial checksum that the port does not complete is completed,
fragments that it does not gather are copied together. Payload is shared where the port gathers
(SG) and read at most once, for its checksum.

Source: net/core/gso.c `__skb_gso_segment`, net/core/dev.c `validate_xmit_skb`.
"""

import numpy as np

from pktpath.batch import FRAGS, FRAMES, Batch, make_batch, release
from pktpath.features import Feature
from pktpath.jit import inlined, kernel
from pktpath.offload.gso_cut import FITS, LATER, cut_frame, cut_room, payload_present, sum_payload
from pktpath.offload.gso_header import CUT_UFO, cut_datagram, cut_partial
from pktpath.offload.gso_pass import (
    checksum_in_head,
    complete_checksum,
    copy_frame,
    move_frame,
    must_copy,
    needs_checksum,
    present_is_whole,
    private_room,
)
from pktpath.offload.gso_plan import carries, completes_checksum, cut_kind, is_super, plan_cut, refusal
from pktpath.offload.reason import Reason
from pktpath.offload.rules import DEFAULT_RULES, RULES, KernelRules
from pktpath.pool import NO_CHUNK, chunk_put

_SG, _PARTIAL = int(Feature.SG), int(Feature.GSO_PARTIAL)
_MALFORMED, _NO_MEMORY = int(Reason.MALFORMED), int(Reason.NO_MEMORY)


@kernel
def gso_segment(batch, first, out, features, rules):
    """Move frames from `batch` to `out` and cut those that `features` cannot carry.

    Args:
        batch: a parsed batch; the frames before `first` have left it.
        first: index of the frame to begin with.
        out: batch over the same pool; frames are added after those that it holds. Its fragment table
            is at least as long as that of `batch`.
        features: `Feature` bits of the port that the frames leave by, as an integer.
        rules: `KernelRules`.

    Returns:
        Index of the first frame that found no room in `out` or no chunk in the pool: send and release
        `out`, and go on there. When all frames have left, `batch` is empty (`used` is 0) and the
        number of frames that it held is returned. `release` is safe on it at any time.

    A super-frame that is not understood, or that no output of this size could hold, passes unchanged
    with its `Reason`. A frame that holds no more than `gso_size` bytes of payload is an ordinary one.

    """
    frames = batch.used[FRAMES]
    for i in range(first, frames):
        if not _segment_frame(batch, i, out, features, rules):
            return i
    for row in range(batch.used[FRAGS]):
        chunk_put(batch.pool, batch.frag_chunk[row])
    batch.used[FRAMES] = 0
    batch.used[FRAGS] = 0
    return frames


@inlined
def _segment_frame(batch, i, out, features, rules):
    """Move or cut frame `i`; False where there is no room for it now."""
    if not is_super(batch, i):
        return _pass_ordinary(batch, i, out, features)
    if carries(batch, i, features):
        return move_frame(batch, i, out)
    kind = cut_kind(batch, i)
    reason = refusal(batch, i, kind, rules)
    if reason == 0 and not present_is_whole(batch, i):
        reason = _MALFORMED
    if reason == 0:
        complete = not completes_checksum(batch.network[i], features)
        gather = features & _SG != 0
        cut = plan_cut(batch, i, kind, rules)
        if kind == CUT_UFO:
            cut = cut_datagram(cut, sum_payload(batch, i, cut.payload_offset, cut.payload_len), batch.origin[i])
            complete = True
        elif features & _PARTIAL and gather and not complete:
            cut = cut_partial(cut)
        room = cut_room(batch, i, out, cut, gather)
        if room == FITS:
            cut_frame(batch, i, out, cut, gather, complete)
            _free_frame(batch, i)
            return True
        if room == LATER:
            return False
        reason = _NO_MEMORY
    return _refuse(batch, i, out, reason)


@inlined
def _pass_ordinary(batch, i, out, features):
    """Move a frame that is one segment; complete its checksum and make it linear where the port needs that."""
    gather = features & _SG != 0
    writes = needs_checksum(batch, i, features)
    if writes and not checksum_in_head(batch, i):
        return _refuse(batch, i, out, _MALFORMED)
    if must_copy(batch, i, gather, writes):
        if not present_is_whole(batch, i):
            return _refuse(batch, i, out, _MALFORMED)
        room = private_room(batch, i, out, gather)
        if room == LATER:
            return False
        if room != FITS:
            return _refuse(batch, i, out, _NO_MEMORY)
        copy_frame(batch, i, out, gather)
    elif not move_frame(batch, i, out):
        return False
    j = out.used[FRAMES] - 1
    out.gso_type[j] = 0
    out.gso_size[j] = 0
    out.gso_segs[j] = 1
    if writes:
        complete_checksum(out, j)
    return True


@inlined
def _refuse(batch, i, out, reason):
    """Move frame `i` unchanged and say why."""
    if not move_frame(batch, i, out):
        return False
    out.reason[out.used[FRAMES] - 1] = reason
    return True


@inlined
def _free_frame(batch, i):
    """Give back what a cut frame held; its segments hold what they share."""
    chunk_put(batch.pool, batch.head_chunk[i])
    batch.head_chunk[i] = NO_CHUNK
    for row in range(batch.frag_first[i], batch.frag_first[i] + batch.frag_count[i]):
        chunk_put(batch.pool, batch.frag_chunk[row])
        batch.frag_chunk[row] = NO_CHUNK


def gso_count(batch: Batch) -> tuple[int, int]:
    """Return an upper bound of (frames, fragments) that `gso_segment` makes of a batch."""
    frames = int(batch.used[FRAMES])
    sizes = batch.gso_size[:frames].astype(np.int64)
    # UFO rounds its size down to a multiple of 8 and counts 8 bytes of header as payload.
    units = np.maximum(np.where(sizes > 8, sizes & ~7, sizes), 1)
    segments = np.where(sizes > 0, (batch.frame_len[:frames] + 8) // units + 1, 1)
    count = int(segments.sum())
    return count, count + 2 * frames + int(batch.used[FRAGS])


def gso(batch: Batch, features: Feature = Feature.NONE, rules: KernelRules = RULES[DEFAULT_RULES]) -> Batch:
    """Return a new batch with every frame of `batch` as a port with these features can carry it.

    The frames, and with them their chunks, leave `batch`. By default super-frames are cut to wire
    frames, linear, with all checksums complete; `origin` names the frame that each came from.

    Args:
        batch: a parsed batch, for instance of `port.memory.load`.
        features: what the port that they leave by does itself.
        rules: of which kernel.

    Raises:
        MemoryError: the pool has too few free chunks for the segments: one a segment, of a class that
            holds its headers (with `Feature.SG`) or all of it. `batch` keeps the frames that did not fit.

    """
    frames, fragments = gso_count(batch)
    out = make_batch(batch.pool, max(frames, 1), max(fragments, 1))
    total = int(batch.used[FRAMES])
    done = gso_segment(batch, 0, out, int(features), rules)
    if done < total:
        release(out)
        free = ", ".join(f"{count} of {size}" for count, size in zip(batch.pool.free_count, batch.pool.size, strict=True))
        message = f"frame {done} of {total}: the pool has too few chunks for its segments (free: {free} bytes)"
        raise MemoryError(message)
    return out
