"""The clock of a replay: from a capture's timestamps, which may lie, to times since the start that never go back.

Times start at 0, never go back, and grow by a day at most from one frame to the next. A frame older than the newest
before it is late and arrives together with that.

One broken timestamp in the future must not hold up all that follow. A frame is *alone ahead* if its timestamp is more
than a second after those of its two neighbours, and further from the later of them than they are from each other; it
arrives with the frame before it. Its neighbours are the newest before it and the next; for the first of a capture the
next two, if they are in its batch. The last of a batch has no next yet: it arrives at its time, a day on at the most, and
when the next batch shows that it was alone ahead, time goes on from there. Nothing else is mended: what two frames in a
row say is believed, and what follows is late until time has caught up with them.
"""

from enum import IntEnum
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from pktpath.jit import inlined, kernel

_SECOND = 1_000_000_000
_DAY = 86_400 * _SECOND
_END = (1 << 63) - 1
_MOST = 1 << 61
"""Nanoseconds, 73 years: no time is later."""


class State(IntEnum):
    """What is kept between two batches; of each kind of lie how many there were and the number of the first frame."""

    NEWEST = 0
    BEFORE = 1
    """The newest timestamp without the last frame."""
    ELAPSED = 2
    SEEN = 3
    LATE = 4
    FIRST_LATE = 5
    ALONE = 6
    FIRST_ALONE = 7
    GAPS = 8
    FIRST_GAP = 9


_NEWEST, _BEFORE, _ELAPSED, _SEEN = (int(state) for state in (State.NEWEST, State.BEFORE, State.ELAPSED, State.SEEN))
_LATE, _ALONE, _GAPS = int(State.LATE), int(State.ALONE), int(State.GAPS)


@inlined
def _ahead(later, earlier):
    """Nanoseconds from one timestamp to another, 0 if it is not later, all that 64 bits hold if it is more."""
    if later <= earlier:
        return np.int64(0)
    if earlier < 0 and later > _END + earlier:
        return np.int64(_END)
    return later - earlier


@inlined
def _alone_ahead(stamp, one, other):
    """Whether a timestamp is more than a second after both of its neighbours, and further than they are from each other."""
    later, earlier = max(one, other), min(one, other)
    lead = _ahead(stamp, later)
    return lead > _SECOND and lead > _ahead(later, earlier)


@inlined
def _count(state, kind, number):
    """Count a lie and remember the first of its kind."""
    if state[kind] == 0:
        state[kind + 1] = number
    state[kind] += 1


@kernel
def tell_times(stamps, count, state, most, times):
    """Fill `times` with nanoseconds since the first frame, `most` at the most; the stamps of a batch, in the file's order."""
    newest, before = state[_NEWEST], state[_BEFORE]
    elapsed, seen = state[_ELAPSED], state[_SEEN]
    if seen == 0 and count > 0:
        newest = np.int64(stamps[0])
        if count > 2 and _alone_ahead(newest, np.int64(stamps[1]), np.int64(stamps[2])):
            newest = np.int64(stamps[1])
    elif count > 0 and _alone_ahead(newest, before, np.int64(stamps[0])):
        _count(state, _ALONE, seen)
        newest = before
    for i in range(count):
        stamp = np.int64(stamps[i])
        seen += 1
        if i + 1 < count and _alone_ahead(stamp, newest, np.int64(stamps[i + 1])):
            _count(state, _ALONE, seen)
            stamp = newest
        elif stamp < newest:
            _count(state, _LATE, seen)
            stamp = newest
        step = _ahead(stamp, newest)
        if step > _DAY:
            _count(state, _GAPS, seen)
            step = np.int64(_DAY)
        before = newest
        newest = stamp
        elapsed = min(elapsed + step, np.int64(most))
        times[i] = elapsed
    state[_NEWEST] = newest
    state[_BEFORE] = before
    state[_ELAPSED] = elapsed
    state[_SEEN] = seen


class CaptureClock:
    """Times of one capture at one speed."""

    def __init__(self, speed: Fraction = Fraction(1)) -> None:
        """Start at zero; `speed` times as fast as captured, of a numerator and a denominator below 2**31."""
        self._speed = speed
        self._state = np.zeros(len(State), np.int64)
        # What can be multiplied below without leaving 64 bits.
        self._most = min(_MOST // speed.denominator * speed.numerator, _MOST)
        self.last = 0
        """Nanoseconds at which the last frame so far arrives."""

    def tell(self, stamps: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return when the frames with these timestamps, the next ones of the capture, arrive: nanoseconds since the first.

        None is later than 73 years, and those that would be arrive together.
        """
        elapsed = np.zeros(len(stamps), np.int64)
        tell_times(stamps, len(stamps), self._state, self._most, elapsed)
        numerator, denominator = self._speed.numerator, self._speed.denominator
        times: NDArray[np.int64] = elapsed // numerator * denominator + elapsed % numerator * denominator // numerator
        if len(times):
            self.last = int(times[-1])
        return times

    def lies(self) -> list[str]:
        """Return a line for each way in which the timestamps lied."""
        late, alone, gaps = (int(self._state[kind]) for kind in (State.LATE, State.ALONE, State.GAPS))
        first = {kind: int(self._state[kind]) for kind in (State.FIRST_LATE, State.FIRST_ALONE, State.FIRST_GAP)}
        lines = []
        if late:
            lines.append(
                f"{_frames(late, first[State.FIRST_LATE])} older than the newest before: "
                f"{'it arrives' if late == 1 else 'each arrives'} together with that"
            )
        if alone:
            lines.append(
                f"{_frames(alone, first[State.FIRST_ALONE])} more than a second ahead of the frames around: "
                f"{'it arrives' if alone == 1 else 'each arrives'} with the one before"
            )
        if gaps:
            lines.append(f"{_frames(gaps, first[State.FIRST_GAP])} more than a day after the one before: taken for one day")
        if self._state[State.ELAPSED] == self._most:
            lines.append("the replay takes longer than 73 years: the frames that come later arrive together")
        return lines


def _frames(count: int, first: int) -> str:
    """Name the frames that lied, as the subject of a sentence."""
    return f"frame {first} is" if count == 1 else f"{count:,} frames, the first of them frame {first}, are"
