"""The clock of a replay: what it promises of timestamps that lie, and its naive twin."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pktpath.path.replay_clock import CaptureClock, State, tell_times
from support.naive_clock import DAY, END, MOST, SECOND, naive_times

NOW = 1_700_000_000 * SECOND
LEAST = -END - 1


def told(stamps, *, speed=Fraction(1), cut=()):
    """Return the times of the stamps, cut into batches before these places, and the lines about lies."""
    clock = CaptureClock(speed)
    batches = [batch.tolist() for batch in np.split(np.array(stamps, np.int64), cut)]
    times = [time for batch in batches for time in clock.tell(np.array(batch, np.int64)).tolist()]
    return times, clock.lies(), clock


near = st.integers(-3, 3).map(lambda step: step * SECOND // 2)
stamps_of = st.lists(
    st.one_of(
        st.integers(LEAST, END),
        st.sampled_from((LEAST, LEAST + 1, -1, 0, 1, END - 1, END)),
        st.builds(lambda days, rest: days * DAY + rest, st.integers(-3, 3), near),
        near.map(lambda rest: NOW + rest),
    ),
    max_size=12,
)


@given(stamps=stamps_of, cut=st.lists(st.integers(0, 12)).map(sorted), speed=st.sampled_from(
    (Fraction(1), Fraction(2), Fraction(1, 1000), Fraction(4, 3), Fraction(999_999, 1_000_000), Fraction(1_000_000))
))  # fmt: skip
def test_the_clock_is_its_twin_and_keeps_its_promises(stamps, cut, speed):
    times, _, clock = told(stamps, speed=speed, cut=cut)
    batches = [batch.tolist() for batch in np.split(np.array(stamps, np.int64), cut)]
    expected, lies = naive_times(batches, speed)
    assert times == expected
    state = clock._state
    for kind, first in ((State.LATE, "late"), (State.ALONE, "alone"), (State.GAPS, "gaps")):
        assert (state[kind], state[kind + 1]) == (len(lies[first]), min(lies[first], default=0)), first
    assert times[:1] in ([], [0])
    steps = [after - earlier for earlier, after in itertools.pairwise(times)]
    assert all(0 <= step <= DAY / speed + 1 for step in steps)
    assert clock.last == (times[-1] if times else 0)
    assert state[State.SEEN] == len(stamps)


def test_true_timestamps_are_kept():
    stamps = [NOW, NOW, NOW + 5, NOW + 3 * SECOND, NOW + 3 * SECOND + DAY]
    assert told(stamps)[:2] == ([0, 0, 5, 3 * SECOND, 3 * SECOND + DAY], [])
    assert told(stamps, speed=Fraction(2))[0] == [0, 0, 2, 3 * SECOND // 2, (3 * SECOND + DAY) // 2]


def test_a_late_frame_comes_with_the_newest_before():
    times, lies, _ = told([NOW, NOW + 10, NOW + 4, NOW - 3 * DAY, NOW + 11])
    assert times == [0, 10, 10, 10, 11]
    assert lies == ["2 frames, the first of them frame 3, are older than the newest before: each arrives together with that"]


@pytest.mark.parametrize("broken", [NOW + 7 * SECOND, NOW + 9 * DAY, END])
def test_a_lone_future_holds_up_nobody(broken):
    times, lies, _ = told([NOW, NOW + 5, broken, NOW + SECOND, NOW + 2 * SECOND])
    assert times == [0, 5, 5, SECOND, 2 * SECOND]
    assert lies == ["frame 3 is more than a second ahead of the frames around: it arrives with the one before"]


def test_the_first_of_a_capture_may_be_the_lone_one():
    assert told([NOW + DAY, NOW, NOW + 5, NOW + 9])[0] == [0, 0, 5, 9]
    # Here it is the second that lies: it is late.
    assert told([NOW, 0, NOW + 5, NOW + 9])[0] == [0, 0, 5, 9]


def test_a_lone_future_at_the_end_of_a_batch_costs_its_gap_and_holds_up_nobody():
    times, lies, _ = told([NOW, NOW + 5, NOW + 9 * DAY, NOW + 6, NOW + 8], cut=[3])
    assert times == [0, 5, DAY + 5, DAY + 6, DAY + 8]
    assert [line.split(",")[0] for line in lies] == [
        "frame 3 is more than a second ahead of the frames around: it arrives with the one before",
        "frame 3 is more than a day after the one before: taken for one day",
    ]


def test_what_two_frames_in_a_row_say_is_believed():
    times, lies, _ = told([NOW, NOW + 9 * DAY, NOW + 9 * DAY + 1, NOW + 2, NOW + 9 * DAY + 5])
    assert times == [0, DAY, DAY + 1, DAY + 1, DAY + 5]
    assert len(lies) == 2


def test_a_frame_nearer_to_its_next_than_that_to_the_one_before_is_not_alone():
    """Of three frames two agree that days have passed: it is the third that is late."""
    assert told([0, 3 * DAY, 2 * DAY, 3 * DAY + 1000])[0] == [0, DAY, DAY, DAY + 1000]


def test_more_than_73_years_end():
    clock = CaptureClock()
    clock.tell(np.array([0, 1], np.int64))
    clock._state[State.ELAPSED] = MOST - 5
    assert clock.tell(np.array([3, 5, 9], np.int64)).tolist() == [MOST - 3, MOST - 1, MOST]
    assert clock.lies() == ["the replay takes longer than 73 years: the frames that come later arrive together"]


def test_a_batch_without_frames_changes_nothing():
    state = np.zeros(len(State), np.int64)
    nothing = np.zeros(0, np.int64)
    tell_times(nothing, 0, state, MOST, nothing)
    assert not state.any()
