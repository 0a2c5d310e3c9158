"""When a card interrupts: at once, after rx-frames, after rx-usecs, or as the load demands.

A card's timer starts with the first frame that no interrupt has told yet. Adaptive moderation is the
kernel's (lib/dim: net_dim.c): after 64 interrupts it compares bytes, frames and interrupts per millisecond
with the sample before, climbs along five profiles while that gets better, and rests on top.
Sources: ethtool(8) -C, include/linux/dim.h, Documentation/networking/net_dim.rst.
"""

from typing import Any

import numpy as np

from pktpath.jit import inlined
from pktpath.nic.clock import NEVER

_MICROSECOND = 1000

QUEUE = np.dtype(
    [(name, "i8") for name in ("irq_at", "usecs", "frames", "untold", "masked", "adaptive")]
    + [(name, "i8") for name in ("tune", "profile", "left", "right", "tired")]
    + [(name, "i8") for name in ("events", "start_at", "start_events", "start_frames", "start_bytes")]
    + [(name, "i8") for name in ("bytes_rate", "frames_rate", "events_rate")]
)
"""One queue's interrupt. irq_at: when it comes, NEVER while nothing asks for it; usecs, frames: what it waits for;
untold: frames since the last one; masked: by the driver; adaptive: whether the rest is in use. tune: what the
search does; profile; left, right: steps since it turned; tired: steps since it rested; start_*: the sample that
runs; *_rate: those of the last one, a millisecond."""

PROFILES = ((1, 256), (8, 256), (64, 256), (128, 256), (256, 256))
"""(rx-usecs, rx-frames) of the kernel's profiles for cards whose timer starts with the event (EQE)."""
START_PROFILE = 1
_USECS = np.array([usecs for usecs, _ in PROFILES])
_FRAMES = np.array([frames for _, frames in PROFILES])
_EVENTS = 64
"""Interrupts in a sample."""
_LAST = len(PROFILES) - 1
_MOST_STEPS = 2 * len(PROFILES)
ON_TOP, TIRED, RIGHT, LEFT = 0, 1, 2, 3
"""The search: rests where it is best; rests because it moved too often; climbs; descends."""
_SAME, _BETTER, _WORSE = 0, 1, 2


def make_queues(count: int, *, usecs: int = 0, frames: int = 0, adaptive: bool = False) -> Any:
    """Return `count` queues with unmasked interrupts."""
    queues = np.zeros(count, QUEUE).view(np.recarray)
    queues.irq_at = NEVER
    queues.usecs, queues.frames = (PROFILES[START_PROFILE]) if adaptive else (usecs, frames)
    queues.adaptive = adaptive
    queues.profile = START_PROFILE
    queues.tune = RIGHT
    return queues


@inlined
def irq_arm(queue, now, frames):
    """Tell an unmasked queue of `frames` more frames in its ring: its interrupt comes at `irq_at`."""
    queue.untold += frames
    if queue.irq_at <= now:
        return
    if (queue.usecs == 0 and queue.frames <= 1) or 0 < queue.frames <= queue.untold:
        queue.irq_at = now
    elif queue.usecs > 0:
        queue.irq_at = min(np.int64(queue.irq_at), now + queue.usecs * _MICROSECOND)


@inlined
def irq_fire(queue):
    """The interrupt came."""
    queue.irq_at = NEVER
    queue.untold = 0
    queue.events += 1


@inlined
def irq_mask(queue):
    """The driver masks the interrupt."""
    queue.masked = 1
    queue.irq_at = NEVER


@inlined
def irq_unmask(queue, now, waiting):
    """The driver unmasks the interrupt; what arrived meanwhile asks for one."""
    queue.masked = 0
    if waiting > 0:
        queue.untold = 0
        irq_arm(queue, now, waiting)


@inlined
def adapt(queue, now, frames, octets):
    """At the end of a poll: choose a profile. `frames` and `octets` count what the queue received since the start."""
    if not queue.adaptive or queue.events - queue.start_events < _EVENTS:
        return
    micros = (now - queue.start_at) // _MICROSECOND
    if micros <= 0:
        return
    taken = frames - queue.start_frames
    sample_bytes = _rate(octets - queue.start_bytes, micros)
    sample_frames = _rate(taken, micros)
    sample_events = _rate(queue.events - queue.start_events, micros)
    _decide(queue, sample_bytes, sample_frames, sample_events)
    queue.usecs = _USECS[queue.profile]
    queue.frames = _FRAMES[queue.profile]
    queue.start_at = now
    queue.start_events = queue.events
    queue.start_frames = frames
    queue.start_bytes = octets


@inlined
def _rate(count, micros):
    return (count * 1000 + micros - 1) // micros


@inlined
def _decide(queue, octets, frames, events):
    """Take one step of the search with a new sample."""
    rested = queue.tune == ON_TOP
    if queue.tune == TIRED:
        queue.tired -= 1
        if queue.tired == 0:
            _leave_rest(queue)
    else:
        compared = _compare(queue, octets, frames, events)
        if rested:
            if compared != _SAME:
                _leave_rest(queue)
        else:
            if compared != _BETTER:
                _turn(queue)
            if _on_top(queue):
                _rest(queue, ON_TOP)
            else:
                _step(queue)
    if not (rested and queue.tune == ON_TOP):
        queue.bytes_rate = octets
        queue.frames_rate = frames
        queue.events_rate = events


@inlined
def _compare(queue, octets, frames, events):
    verdict = _more(octets, queue.bytes_rate)
    if verdict == _SAME:
        verdict = _more(frames, queue.frames_rate)
    if verdict == _SAME and queue.bytes_rate > 0 and queue.frames_rate > 0 and queue.events_rate > 0:
        verdict = _more(queue.events_rate, events) if _differs(events, queue.events_rate) else _SAME
    return verdict


@inlined
def _differs(value, reference):
    """More than a tenth."""
    return abs(value - reference) * 100 // reference > 10


@inlined
def _more(value, reference):
    if reference == 0:
        return _BETTER if value > 0 else _SAME
    if not _differs(value, reference):
        return _SAME
    return _BETTER if value > reference else _WORSE


@inlined
def _on_top(queue):
    """Whether the search turned round the best profile: it went at least two steps there and one back."""
    if queue.tune == RIGHT:
        return queue.left > 1 and queue.right == 1
    return queue.right > 1 and queue.left == 1


@inlined
def _turn(queue):
    if queue.tune == RIGHT:
        queue.tune = LEFT
        queue.left = 0
    else:
        queue.tune = RIGHT
        queue.right = 0


@inlined
def _rest(queue, where):
    queue.left = 0
    queue.right = 0
    queue.tune = where
    if where == ON_TOP:
        queue.tired = 0


@inlined
def _leave_rest(queue):
    queue.tune = LEFT if queue.profile > 0 else RIGHT
    _step(queue)


@inlined
def _step(queue):
    if queue.tired == _MOST_STEPS:
        _rest(queue, TIRED)
    elif (queue.tune == RIGHT and queue.profile == _LAST) or (queue.tune == LEFT and queue.profile == 0):
        _rest(queue, ON_TOP)
    else:
        if queue.tune == RIGHT:
            queue.profile += 1
            queue.right += 1
        else:
            queue.profile -= 1
            queue.left += 1
        queue.tired += 1
