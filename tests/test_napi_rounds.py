"""Softirq rounds step by step beside their naive twin, and clocks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pktpath.nic.clock import look, make_clock, spend
from pktpath.nic.host_types import Limits
from pktpath.nic.lists import HEAD, NOBODY, make_lists
from pktpath.nic.napi import make_napis, napi_complete_done, napi_enable, napi_schedule
from pktpath.nic.softnet import jiffy_of, make_softnet, round_begin, round_next, round_polled
from support.naive_napi import Instance, NaiveHost


class Rounds:
    """The same poll answers for the machine and for its twin; all is written down."""

    def __init__(self, count, budget, usecs, hz, weight):
        self.napis = make_napis(count, 1, weight=weight)
        self.lists, self.round_lists, self.softnet = make_lists(2), make_lists(2), make_softnet(1)
        self.limits = Limits(budget=budget, budget_usecs=usecs, hz=hz)
        self.twin = NaiveHost([Instance(0, weight) for _ in range(count)], 1, budget=budget, budget_usecs=usecs, hz=hz)
        for number in range(count):
            napi_enable(self.napis[number], False)
            self.twin.enable(number, False)

    def schedule(self, number):
        assert napi_schedule(self.napis, number, self.lists) == self.twin.schedule(number)

    def rounds(self, waiting, nanoseconds, meanwhile):
        """Poll until nothing is scheduled; return the order of polls and the places where a round ended."""
        now, order, expected = 0, [], []
        while self.lists[0, HEAD] != NOBODY:
            round_begin(self.softnet, self.lists, self.round_lists, 0, self.napis, now, self.limits)
            self.twin.round_begin(0, now)
            while self.softnet[0].in_round:
                number = round_next(self.softnet, self.lists, self.round_lists, 0, self.napis)
                other = self.twin.round_next(0)
                order.append(int(number))
                expected.append(NOBODY if other is None else other)
                if number == NOBODY:
                    continue
                now += nanoseconds
                for late in meanwhile.get(len(order), ()):
                    self.schedule(late)
                weight = int(self.napis[number].weight)
                work = min(waiting[number], weight)
                waiting[number] -= work
                if work < weight:
                    napi_complete_done(self.napis, number, self.lists, now, 0, True)
                    self.twin.complete(number, work, held=False, now=now)
                full = work == weight
                round_polled(self.softnet, self.lists, self.round_lists, 0, self.napis, number, work, full, now, self.limits)
                self.twin.round_polled(0, number, work, full, now)
        assert not self.twin.cpus[0].softirq
        assert not self.twin.cpus[0].in_round
        assert (self.softnet[0].time_squeeze, self.softnet[0].rounds) == (self.twin.cpus[0].squeezed, self.twin.cpus[0].rounds)
        return order, expected


@given(
    count=st.integers(1, 6),
    budget=st.integers(1, 40),
    usecs=st.sampled_from((0, 1, 999, 1000, 2000, 8000)),
    hz=st.sampled_from((100, 250, 1000)),
    nanoseconds=st.sampled_from((0, 1, 499_999, 500_000, 1_000_000, 3_000_000)),
    waiting=st.lists(st.integers(0, 30), min_size=6, max_size=6),
    meanwhile=st.dictionaries(st.integers(0, 20), st.lists(st.integers(0, 5), max_size=3), max_size=4),
    first=st.permutations(range(6)),
)
def test_rounds_are_those_of_the_twin(count, budget, usecs, hz, nanoseconds, waiting, meanwhile, first):
    rounds = Rounds(count, budget, usecs, hz, weight=4)
    for number in first:
        if number < count:
            rounds.schedule(number)
    meanwhile = {when: [number % count for number in numbers] for when, numbers in meanwhile.items()}
    order, expected = rounds.rounds(waiting, nanoseconds, meanwhile)
    assert order == expected
    assert sum(waiting[:count]) == 0


def test_after_a_squeeze_come_the_rest_then_the_new_then_those_with_more():
    """Budget 8 of weight 4: 0 and 1 are polled; 2 is left, 3 was scheduled meanwhile, 0 and 1 have more."""
    rounds = Rounds(4, budget=8, usecs=2000, hz=1000, weight=4)
    for number in range(3):
        rounds.schedule(number)
    order, _ = rounds.rounds([6, 6, 1, 1], 0, {2: [3]})
    assert order == [0, 1, 2, 3, 0, 1, NOBODY]
    assert (rounds.softnet[0].time_squeeze, rounds.softnet[0].rounds) == (1, 2)


def test_an_instance_with_more_waits_for_the_next_round():
    """The round ends, without a squeeze, when only those are left that used their weight."""
    rounds = Rounds(1, budget=300, usecs=2000, hz=1000, weight=4)
    rounds.schedule(0)
    order, _ = rounds.rounds([9], 0, {})
    assert order == [0, NOBODY, 0, NOBODY, 0, NOBODY]
    assert (rounds.softnet[0].time_squeeze, rounds.softnet[0].rounds) == (0, 3)


def test_a_round_takes_what_is_scheduled_meanwhile_when_it_has_nothing_else():
    rounds = Rounds(2, budget=300, usecs=2000, hz=1000, weight=4)
    rounds.schedule(0)
    order, _ = rounds.rounds([1, 1], 0, {1: [1]})
    assert order == [0, 1, NOBODY]
    assert rounds.softnet[0].rounds == 1


@pytest.mark.parametrize(("hz", "usecs", "polls"), [(1000, 2000, 2), (1000, 2001, 3), (250, 2000, 4), (100, 2000, 10)])
def test_the_time_of_a_round_is_whole_jiffies(hz, usecs, polls):
    """Polls of a millisecond each: netdev_budget_usecs is rounded up, and the jiffy that runs counts."""
    rounds = Rounds(12, budget=10_000, usecs=usecs, hz=hz, weight=4)
    for number in range(polls + 1):
        rounds.schedule(number)
    order, _ = rounds.rounds([1] * 12, 1_000_000, {})
    assert rounds.softnet[0].time_squeeze == 1
    # A round that was squeezed says nothing of its end; the next one does.
    assert order == [*range(polls + 1), NOBODY]
    assert rounds.softnet[0].rounds == 2


def test_jiffies():
    assert [jiffy_of(Limits(hz=250), now) for now in (0, 3_999_999, 4_000_000)] == [0, 0, 1]
    assert jiffy_of(Limits(), 2_000_000) == 2


def test_clocks():
    clock = make_clock(2)
    spend(clock, 1, 30)
    assert (look(clock, 0), look(clock, 1)) == (0, 30)
    wall = make_clock(1, wall=True)
    before = look(wall, 0)
    spend(wall, 0, 10**15)
    assert 0 < before <= look(wall, 0) < before + 10**15
    assert wall.timespec.dtype == np.int64
