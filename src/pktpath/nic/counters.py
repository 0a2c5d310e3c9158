"""What is counted on the way from the wire to the stack, and where time goes."""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pktpath.jit import inlined


class QueueCount(IntEnum):
    """Columns of a queue's counters, named as in `ethtool -S`."""

    TAKEN = 0
    """Frames that polls, or the handler before NAPI, took out of the ring."""
    BYTES = 1
    """Bytes of these."""
    NO_BUFFER = 2
    """Frames dropped because no memory was free for them."""
    INTERRUPTS = 3
    TIMERS = 4
    """Polls that gro_flush_timeout asked for, not an interrupt of the card."""
    POLLS = 5
    EMPTY_POLLS = 6
    FULL_POLLS = 7
    """Polls that used their weight."""
    BUSY_POLLS = 8
    """Polls of a busy polling reader that found frames."""


class Stage(IntEnum):
    """Where the time of a CPU goes."""

    IRQ = 0
    """Interrupts of the card and timers."""
    POLL = 1
    """Calls of poll, whatever they find; wake-ups of threads."""
    DRIVER = 2
    """Frames out of the ring."""
    OFFLOAD = 3
    """GRO or LRO, and checksums in software."""
    STACK = 4
    STEER = 5
    """Interrupts from other CPUs, and their backlogs."""
    SPIN = 6
    """Busy polling in vain."""
    LOST = 7
    """Interrupts and driver for frames that were dropped afterwards."""


class Event(IntEnum):
    """Rows of the timeline."""

    ARRIVED = 0
    DROPPED = 1
    INTERRUPT = 2
    POLL = 3
    DELIVERED = 4
    """Frames that the stack saw."""


QUEUE_COUNTS, STAGES, EVENTS = len(QueueCount), len(Stage), len(Event)
POLL_SIZES = 65
"""A poll of more frames than that, of a larger weight, counts as one of so many."""
_STEPS = 8
WAITS = 64 * _STEPS
"""Buckets of waiting times: eight for each power of two nanoseconds."""
BINS = 480


class Timeline(NamedTuple):
    """Events by time: when the end is reached, neighbours are put together and each bin is twice as wide."""

    bins: NDArray[np.int64]
    """(BINS, EVENTS)."""
    width: NDArray[np.int64]
    """(1,) a bin is so many times doubled nanoseconds wide: a power of two, since every frame is noted."""
    recording: bool
    """Whether anything is noted."""


def make_timeline(*, recording: bool, width: int = 10) -> Timeline:
    """Return an empty timeline whose bins are `2 ** width` nanoseconds wide at first."""
    return Timeline(np.zeros((BINS, EVENTS), np.int64), np.full(1, width, np.int64), recording)


@inlined
def note(timeline, event, now, count):
    """Count events at a time in nanoseconds since the start."""
    if not timeline.recording:
        return
    while now >> timeline.width[0] >= BINS:
        for k in range(BINS // 2):
            for row in range(EVENTS):
                timeline.bins[k, row] = timeline.bins[2 * k, row] + timeline.bins[2 * k + 1, row]
        for k in range(BINS // 2, BINS):
            for row in range(EVENTS):
                timeline.bins[k, row] = 0
        timeline.width[0] += 1
    timeline.bins[np.uint64(now >> timeline.width[0]), event] += count


@inlined
def wait_bucket(nanoseconds):
    """Return the bucket of a waiting time."""
    value = max(nanoseconds, 0)
    power = 0
    while value >= 2 * _STEPS:
        value >>= 1
        power += 1
    return power * _STEPS + value


def bucket_start(bucket: int) -> int:
    """Return the least waiting time in a bucket, in nanoseconds."""
    if bucket < 2 * _STEPS:
        return bucket
    power = bucket // _STEPS - 1
    return (bucket - power * _STEPS) << power
