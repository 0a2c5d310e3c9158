"""Generic segmentation: super-frames become frames that the port they leave by can carry.

Enters: a parsed batch. Leaves: the same frames in order in another batch; a super-frame that the
port's features do not carry is cut, a partial checksum that the port does not complete is completed,
fragments that it does not gather are copied together. Payload is shared where the port gathers
(SG) and read at most once, for its checksum.

Source: net/core/gso.c `__skb_gso_segment`, net/core/dev.c `validate_xmit_skb`.
"""

import numpy as np

from pktpath.batch import CHECKSUM_PARTIAL, CHECKSUM_UNNECESSARY, FRAGS, FRAMES, Batch, make_batch, release
from pktpath.features import Feature
from pktpath.jit import inlined, kernel
from pktpath.offload.gso_cut import cut_class, cut_frame, pieces_len, sum_pieces
from pktpath.offload.gso_layout import CUT_UFO, cut_datagram, cut_partial
from pktpath.offload.gso_pass import complete_checksum, pass_frame
from pktpath.offload.gso_plan import carries, completes_checksum, is_super, plan_frame
from pktpath.offload.reason import Reason
from pktpath.offload.rules import DEFAULT_RULES, RULES, KernelRules
from pktpath.pool import chunk_class_for, chunk_put
from pktpath.wire.parse import Shape

_SG, _PARTIAL = int(Feature.SG), int(Feature.GSO_PARTIAL)
_MALFORMED, _NO_MEMORY = int(Reason.MALFORMED), int(Reason.NO_MEMORY)
_CUT_BY_SNAPLEN, _SHAPE_CUT = int(Reason.CUT_BY_SNAPLEN), int(Shape.CUT)


@kernel
def gso_segment(batch, first, out, features, rules):
    """Move frames from `batch` to `out` and cut those that `features` cannot carry.

    Args:
        batch: a parsed batch; the frames before `first` have left it.
        first: index of the frame to begin with.
        out: batch over the same pool; frames are added after those that it holds. Its fragment table
            is longer than that of `batch`.
        features: `Feature` bits of the port that the frames leave by, as an integer.
        rules: `KernelRules`.

    Returns:
        Index of the first frame that found no room in `out` or no chunk in the pool: send and release
        `out`, and go on there. When all frames have left, `batch` is empty (`used` is 0) and the
        number of frames that it held is returned. `release` is safe on it at any time.

    A super-frame that is not understood, or that no output of this size could hold, passes unchanged
    with its `Reason`. A frame that holds no more than `gso_size` bytes of payload is an ordinary one. The checksum of a frame
    that is not whole stays as it is.

    """
    pool = batch.pool
    gather = features & _SG != 0
    frames = batch.used[FRAMES]
    capacity, table = len(out.frames), len(out.frag_addr)
    for i in range(first, frames):
        network = np.int64(batch.frames[i].network)
        rows = np.int64(batch.frames[i].frag_count)
        offloaded = completes_checksum(network, features)
        whole = (
            pieces_len(batch.frag_len, batch.frames[i].frag_first, rows) + batch.frames[i].head_len == batch.frames[i].frame_len
        )
        large = is_super(batch, i)
        reason = 0
        private = np.int64(0)
        writes = False
        if large and not carries(batch, i, features):
            reason, cut = plan_frame(batch, i, rules)
            if reason == 0 and not whole:
                reason = _MALFORMED
            if reason == 0:
                complete = not offloaded or cut.kind == CUT_UFO
                if cut.kind == CUT_UFO:
                    at = batch.frames[i].head_addr + cut.payload_offset
                    left = batch.frames[i].head_len - cut.payload_offset
                    row = np.int64(batch.frames[i].frag_first)
                    payload_sum = sum_pieces(pool.mem, at, left, batch.frag_addr, batch.frag_len, row, cut.payload_len)
                    cut = cut_datagram(cut, payload_sum, batch.frames[i].origin)
                elif features & _PARTIAL and gather and offloaded:
                    cut = cut_partial(cut)
                needed = cut.frames + rows + 1 if gather else np.int64(0)
                chunk_class = cut_class(cut, gather)
                if cut.frames <= capacity and needed <= table and _chunks(pool, chunk_class) >= cut.frames:
                    if (
                        cut.frames > capacity - out.used[FRAMES]
                        or needed > table - out.used[FRAGS]
                        or cut.frames > pool.free_count[chunk_class]
                    ):
                        return i
                    cut_frame(batch, i, out, cut, gather, complete)
                    continue
                reason = _NO_MEMORY
        elif not large:
            writes = batch.frames[i].ip_summed == CHECKSUM_PARTIAL and not offloaded
            field = np.int64(batch.frames[i].csum_start) + batch.frames[i].csum_offset
            if writes and not (0 <= batch.frames[i].csum_start <= field <= batch.frames[i].head_len - 2 and whole):
                reason = _MALFORMED
            elif writes and np.int64(batch.frames[i].shape_flags) & _SHAPE_CUT:
                reason = _CUT_BY_SNAPLEN
            elif not gather and rows > 0:
                private = np.int64(batch.frames[i].frame_len)
            elif writes and (batch.frames[i].head_chunk < 0 or pool.refs[batch.frames[i].head_chunk] > 1):
                private = (
                    max(field + 2, np.int64(batch.frames[i].payload_offset)) if gather else np.int64(batch.frames[i].frame_len)
                )
            if private > 0:
                chunk_class = chunk_class_for(private)
                if not whole:
                    reason = _MALFORMED
                elif _chunks(pool, chunk_class) == 0:
                    reason = _NO_MEMORY
                elif pool.free_count[chunk_class] == 0:
                    return i
        j = out.used[FRAMES]
        needed = rows + (1 if gather and private > 0 else 0)
        if j >= capacity or needed > table - out.used[FRAGS]:
            return i
        pass_frame(batch, i, out, 0 if reason else private, gather)
        if reason:
            out.frames[j].reason = reason
        elif not large:
            out.frames[j].gso_type = 0
            out.frames[j].gso_size = 0
            out.frames[j].gso_segs = 1
            if writes:
                start = np.int64(out.frames[j].csum_start)
                end = np.int64(out.frames[j].frame_len)
                if start == out.frames[j].transport_offset and start > 0:
                    # Link padding is not part of the packet.
                    end = min(end, np.int64(out.frames[j].payload_offset) + out.frames[j].payload_len)
                complete_checksum(
                    pool.mem, out.frames[j].head_addr, np.int64(out.frames[j].head_len), out.frag_addr, out.frag_len,
                    np.int64(out.frames[j].frag_first), start, end, start + out.frames[j].csum_offset,
                )  # fmt: skip
                out.frames[j].ip_summed = CHECKSUM_UNNECESSARY
    for unowned in range(batch.used[FRAGS]):
        chunk_put(pool, batch.frag_chunk[unowned])
    batch.used[FRAMES] = 0
    batch.used[FRAGS] = 0
    return frames


@inlined
def _chunks(pool, chunk_class):
    """Chunks of a class that the pool has at all; 0 for the class of what is too long."""
    return pool.first[chunk_class + 1] - pool.first[chunk_class] if chunk_class >= 0 else 0


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
            holds its headers (with `Feature.SG`) or all of it. `batch` keeps the
            frames from the first one that did not fit; those before it are lost.

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
