"""The memory port: frames from Python bytes into a batch and back.

For tests, the demo and interactive use; a fast path never holds a frame as a Python object.
"""

from collections.abc import Sequence

import numpy as np

from pktpath.batch import FRAMES, Batch, frame_bytes, make_batch
from pktpath.pool import NO_CHUNK, Pool, make_pool
from pktpath.wire.link import Link
from pktpath.wire.parse import parse


def load(
    frames: Sequence[bytes], *, link: Link = Link.ETHERNET, timestamps: Sequence[int] | None = None, pool: Pool | None = None
) -> Batch:
    """Return a parsed batch of these frames.

    Args:
        frames: whole frames, each starting with its link header.
        link: what the first byte belongs to.
        timestamps: nanoseconds, one a frame; 0 without.
        pool: a pool whose window is large enough; one is made otherwise, with header chunks for every
            frame and for segments of 128 bytes and more, and chunks for copies of segments of 512 and more.

    Raises:
        ValueError: the window of the given pool is too small.

    """
    total = sum(map(len, frames))
    if pool is None:
        pool = make_pool(window=total, header=2 * len(frames) + total // 128 + 64, normal=total // 512 + 64, large=16)
    elif total > pool.base[0]:
        message = f"{total} bytes of frames do not fit into a window of {pool.base[0]}"
        raise ValueError(message)
    batch = make_batch(pool, max(len(frames), 1))
    pool.mem[:total] = np.frombuffer(b"".join(frames), np.uint8)
    lengths = np.array([len(frame) for frame in frames], np.int64)
    count = len(frames)
    batch.head_addr[:count] = np.cumsum(lengths) - lengths
    for column in (batch.head_len, batch.frame_len, batch.wire_len):
        column[:count] = lengths
    batch.head_chunk[:] = NO_CHUNK
    batch.link[:] = link
    batch.payload_sum[:] = -1
    batch.gso_segs[:] = 1
    batch.origin[:] = np.arange(len(batch.origin))
    if timestamps is not None:
        batch.timestamp[:count] = timestamps
    batch.used[FRAMES] = count
    parse(batch, 0, count)
    return batch


def unload(batch: Batch) -> list[bytes]:
    """Return a copy of every frame of a batch."""
    return [frame_bytes(batch, i) for i in range(int(batch.used[FRAMES]))]
