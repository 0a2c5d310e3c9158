"""Receive rings: where a card puts frames and a poll finds them. A full one drops, and only here.

Producer and consumer count frames since the start; their difference is what waits.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pktpath.batch import FRAMES, make_descriptors
from pktpath.jit import inlined


class RxRings(NamedTuple):
    """The rings of one card."""

    slots: Any
    """(queues, size) descriptors; the size is a power of two."""
    produced: NDArray[np.int64]
    """(queues,) frames that the card put in."""
    consumed: NDArray[np.int64]
    """(queues,) frames that polls took out."""
    dropped: NDArray[np.int64]
    """(queues,) frames that found the ring full."""


def make_rings(queues: int, size: int) -> RxRings:
    """Return empty rings of `size` descriptors each.

    Raises:
        ValueError: `size` is no power of two.

    """
    if size < 1 or size & (size - 1):
        message = f"a ring of {size} descriptors: the size must be a power of two"
        raise ValueError(message)
    slots = make_descriptors(queues * size).reshape(queues, size).view(np.recarray)
    return RxRings(slots, *(np.zeros(queues, np.int64) for _ in range(3)))


@inlined
def ring_waiting(rings, queue):
    """Return how many frames wait in a ring."""
    return rings.produced[queue] - rings.consumed[queue]


@inlined
def ring_full(rings, queue):
    """Whether a ring has room for no frame more."""
    return ring_waiting(rings, queue) >= rings.slots.shape[1]


@inlined
def ring_drop(rings, queue):
    """Count a frame that found its ring full."""
    rings.dropped[queue] += 1


@inlined
def ring_put(rings, queue, batch, i):
    """Put frame `i`, whose bytes are linear, into a ring that is not full."""
    last = rings.slots.shape[1] - 1
    rings.slots[np.uint64(queue), np.uint64(rings.produced[queue] & last)] = batch.frames[np.uint64(i)]
    rings.produced[queue] += 1


@inlined
def ring_take(rings, queue, batch, most):
    """Move up to `most` frames to the end of a batch and return how many."""
    last = rings.slots.shape[1] - 1
    count = min(ring_waiting(rings, queue), most)
    first = rings.consumed[queue]
    end = batch.used[FRAMES]
    for k in range(count):
        batch.frames[np.uint64(end + k)] = rings.slots[np.uint64(queue), np.uint64((first + k) & last)]
    rings.consumed[queue] = first + count
    batch.used[FRAMES] = end + count
    return count
