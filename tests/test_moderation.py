"""When a card interrupts: rx-usecs and rx-frames by table and by twin, the adaptive search by twin and by what it finds."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pktpath.nic.clock import NEVER
from pktpath.nic.moderation import (
    ON_TOP,
    PROFILES,
    RIGHT,
    START_PROFILE,
    TIRED,
    adapt,
    irq_arm,
    irq_fire,
    irq_mask,
    irq_unmask,
    make_queues,
)
from pktpath.nic.settings import NicSettings
from pktpath.path.replay_types import ReplayOptions
from support.craft import Packet
from support.naive_moderation import PROFILES as DIM_PROFILES
from support.naive_moderation import NaiveDim, NaiveLine, Sample
from support.replay_runs import replay

NO = None
"""No interrupt is asked for."""


def when(queue):
    return NO if queue.irq_at == NEVER else int(queue.irq_at)


@pytest.mark.parametrize(
    ("usecs", "frames", "arrivals", "comes"),
    [
        # arrivals at nanoseconds, and when the interrupt comes after each
        (0, 0, [5], [5]),
        (0, 1, [5], [5]),
        (1, 1, [5], [5]),
        (3, 1, [5], [5]),
        (3, 0, [5, 9, 2000], [3005, 3005, 3005]),
        (3, 2, [5, 9], [3005, 9]),
        (3, 3, [5, 9, 100], [3005, 3005, 100]),
        (3, 100, [5, 9, 100], [3005] * 3),
        (0, 3, [5, 9, 100], [NO, NO, 100]),
    ],
)
def test_usecs_and_frames(usecs, frames, arrivals, comes):
    queue = make_queues(1, usecs=usecs, frames=frames)[0]
    told = []
    for now in arrivals:
        irq_arm(queue, now, 1)
        told.append(when(queue))
    assert told == comes


def test_after_an_interrupt_both_limits_start_anew():
    queue = make_queues(1, usecs=3, frames=3)[0]
    irq_arm(queue, 0, 2)
    irq_fire(queue)
    assert (when(queue), queue.events) == (NO, 1)
    irq_arm(queue, 5000, 2)
    assert when(queue) == 8000
    irq_arm(queue, 5100, 1)
    assert when(queue) == 5100


def test_unmasking_asks_for_what_arrived_meanwhile():
    queue = make_queues(1, usecs=3, frames=8)[0]
    irq_arm(queue, 0, 1)
    irq_mask(queue)
    assert (when(queue), queue.masked) == (NO, 1)
    irq_unmask(queue, 900, 0)
    assert (when(queue), queue.masked) == (NO, 0)
    irq_unmask(queue, 1000, 7)
    assert when(queue) == 4000
    irq_unmask(queue, 2000, 8)
    assert when(queue) == 2000


@given(
    usecs=st.integers(0, 4),
    frames=st.integers(0, 5),
    adaptive=st.booleans(),
    steps=st.lists(
        st.tuples(st.sampled_from(("arrive", "fire", "mask", "unmask", "adapt")), st.integers(0, 5000), st.integers(0, 7))
    ),
)
def test_lines_are_those_of_the_twin(usecs, frames, adaptive, steps):
    queue, twin = make_queues(1, usecs=usecs, frames=frames, adaptive=adaptive)[0], NaiveLine(usecs, frames, adaptive=adaptive)
    now = 0
    for kind, later, count in steps:
        now += later
        if kind == "arrive" and not twin.masked and count:
            irq_arm(queue, now, count)
            twin.arm(now, count)
        elif kind == "fire" and twin.at is not None:
            irq_fire(queue)
            twin.fire()
        elif kind == "mask":
            irq_mask(queue)
            twin.masked, twin.at = True, None
        elif kind == "unmask":
            irq_unmask(queue, now, count)
            twin.unmask(now, count)
        assert (when(queue), bool(queue.masked), queue.untold, queue.events) == (twin.at, twin.masked, twin.untold, twin.events)


# The search of net_dim.


def search_of(queue):
    """Return what the twin keeps, of the record."""
    state = {0: "top", 1: "tired", 2: "right", 3: "left"}[int(queue.tune)]
    return (int(queue.profile), state, int(queue.left), int(queue.right), int(queue.tired))


def run_samples(samples):
    """Feed samples of (nanoseconds, frames, bytes, interrupts) to both; return the profiles that were chosen."""
    queue, line = make_queues(1, adaptive=True)[0], NaiveLine(0, 0, adaptive=True)
    line.start = (0, 0, 0, 0)
    now = frames = octets = 0
    chosen = []
    for nanoseconds, more_frames, more_octets, events in samples:
        now, frames, octets = now + nanoseconds, frames + more_frames, octets + more_octets
        queue.events += events
        line.events += events
        adapt(queue, now, frames, octets)
        line.adapt(now, frames, octets)
        dim = line.dim
        assert search_of(queue) == (dim.profile, dim.state, dim.left, dim.right, dim.tired)
        assert (queue.usecs, queue.frames) == (line.usecs, line.frames) == DIM_PROFILES[dim.profile]
        chosen.append(dim.profile)
    return chosen, queue


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.sampled_from((0, 999, 64_000, 500_000, 1_000_000, 180_000_000)),
            st.integers(1, 40),
            st.sampled_from((60, 66, 67, 500, 1500)),
            st.sampled_from((1, 63, 64, 64, 64, 70)),
        ),
        max_size=60,
    )
)
def test_the_search_is_that_of_the_twin(samples):
    run_samples([(time, 10 * frames, 10 * frames * size, events) for time, frames, size, events in samples])


def test_the_search_is_that_of_the_twin_for_long():
    """Loads that change a little and sometimes much, until the search has rested on top and has been tired."""
    rng = random.Random(4)
    seen = set()
    for _ in range(40):
        rate = rng.randrange(1, 1000)
        samples = []
        for _ in range(120):
            if rng.random() < 0.1:
                rate = rng.randrange(1, 1000)
            rate = max(1, rate * rng.randrange(85, 116) // 100)
            samples.append((1_000_000, rate, 1000 * rate, 64))
        _, queue = run_samples(samples)
        seen.add(int(queue.tune))
        seen.add(("profile", int(queue.profile)))
    assert {ON_TOP, TIRED} & seen
    assert len(seen) > 5


def test_rates_are_rounded_up():
    """Two bytes in two milliseconds are one a millisecond; three are two, which is better."""
    queue = make_queues(1, adaptive=True)[0]
    queue.events = 64
    adapt(queue, 2_000_000, 1, 3)
    assert (queue.bytes_rate, queue.frames_rate, queue.events_rate) == (2, 1, 32)


def test_a_sample_is_64_interrupts():
    chosen, _ = run_samples([(1_000_000, 100, 100_000, 63), (10, 0, 0, 0), (10, 1, 1000, 1)])
    assert chosen == [START_PROFILE, START_PROFILE, START_PROFILE + 1]


def test_profiles():
    """include/linux/net_dim.h and net_dim.c: those of cards whose timer starts with an event."""
    assert PROFILES == ((1, 256), (8, 256), (64, 256), (128, 256), (256, 256))
    queue = make_queues(1, usecs=77, frames=7, adaptive=True)[0]
    assert (queue.usecs, queue.frames, queue.tune) == (8, 256, RIGHT)
    fixed = make_queues(1, usecs=77, frames=7)[0]
    fixed.events = 1000
    adapt(fixed, 10**9, 10**6, 10**9)
    assert (fixed.usecs, fixed.frames) == (77, 7)


@pytest.mark.parametrize(
    ("now", "before", "verdict"),
    [
        ((110, 5, 5), (100, 5, 5), "same"),
        ((111, 5, 5), (100, 5, 5), "better"),
        ((89, 5, 5), (100, 5, 5), "worse"),
        ((100, 50, 5), (100, 40, 5), "better"),
        ((100, 40, 5), (100, 50, 5), "worse"),
        ((100, 50, 10), (100, 50, 20), "better"),
        ((100, 50, 20), (100, 50, 10), "worse"),
        ((5, 5, 5), (0, 0, 0), "better"),
        ((0, 0, 5), (0, 0, 5), "same"),
    ],
)
def test_what_is_better(now, before, verdict):
    """The twin itself, by table: net_dim_stats_compare."""
    assert NaiveDim(previous=Sample(*before)).compare(Sample(*now)) == verdict


# What the search finds under a load.


def profile_under(gap_of, frames):
    """Let frames come at gaps of `gap_of(k)` ns; return the usecs in use over time, by thousands of frames, and the report."""
    times = np.cumsum([gap_of(k) for k in range(frames)])
    data = [Packet(payload=bytes(1400), seq=k * 1400).frame() for k in range(8)]
    seen = []
    stream = [(int(now), data[k % 8]) for k, now in enumerate(times)]
    options = ReplayOptions(settings=NicSettings(queues=1, adaptive_rx=True))
    run = replay(
        options, stream, watch=lambda engine: seen.append(int(engine.receiver.card.queues[0].usecs)), pieces=frames // 1000
    )
    return seen, run.report


def test_a_steady_load_comes_to_rest():
    """20,000 frames a second: the search rests, and the rest is not left while nothing changes."""
    seen, report = profile_under(lambda _: 50_000, 12_000)
    assert len(set(seen[-6:])) == 1, seen
    assert report.stack_segments == 12_000


def test_a_heavier_load_has_fewer_interrupts_a_frame():
    _, light = profile_under(lambda _: 50_000, 6000)
    _, heavy = profile_under(lambda _: 1_500, 40_000)
    assert heavy.interrupts / heavy.frames < light.interrupts / light.frames / 4


def test_a_load_that_changes_moves_the_search():
    seen, _ = profile_under(lambda k: 2_000 if k // 20_000 % 2 else 40_000, 80_000)
    assert len(set(seen)) > 2, seen
