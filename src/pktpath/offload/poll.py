"""Where the polls of a batch end, for every engine that merges frames poll by poll."""

import numpy as np
from numpy.typing import NDArray

from pktpath.batch import FRAMES, Batch
from pktpath.jit import inlined

POLL, FLUSH_TIMEOUT_NS = 64, 100_000
"""Where a capture's polls end: after the frames of one NAPI weight, or at a gap."""
NO_GAP = np.iinfo(np.int64).max


@inlined
def end_of_poll(batch, first, poll, flush_timeout_ns):
    """Return the frame after the poll that starts with frame `first`: `poll` frames, or up to a gap above the timeout."""
    last = first + 1
    end = min(batch.used[FRAMES] - first, poll) + first
    while last < end and batch.frames[last].timestamp - batch.frames[last - 1].timestamp <= flush_timeout_ns:
        last += 1
    return last


def poll_numbers(out: Batch) -> NDArray[np.int32]:
    """Return the `out_poll` argument of `gro_polls` and `lro_polls` for this output batch."""
    return np.zeros(len(out.head_addr), np.int32)
