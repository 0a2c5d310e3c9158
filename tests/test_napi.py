"""NAPI instances under random interleavings, step by step beside their naive twin.

The machine is a card with a few queues, the CPUs that poll them, and everything that may happen between
two steps: frames, interrupts, timers, somebody who schedules for no reason, disabling, busy polling.
"""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pktpath.nic.clock import NEVER
from pktpath.nic.host_types import Limits
from pktpath.nic.lists import HEAD, NOBODY, TAIL, make_lists, pop
from pktpath.nic.napi import (
    DISABLE,
    IN_BUSY_POLL,
    MISSED,
    NPSVC,
    SCHED,
    SCHED_THREADED,
    THREADED,
    busy_poll_begin,
    busy_poll_end,
    make_napis,
    napi_complete_done,
    napi_complete_prepare,
    napi_disable,
    napi_enable,
    napi_may_complete,
    napi_schedule,
    napi_schedule_prep,
    napi_watchdog,
    to_poller,
)
from pktpath.nic.softnet import make_softnet, round_begin, round_next, round_polled
from support.naive_napi import Instance, NaiveHost

QUEUES = 4


def members(lists, which, napis):
    """Return the instances of a list, and prove that it is one."""
    found = []
    number = lists[which, HEAD]
    while number != NOBODY:
        found.append(int(number))
        assert len(found) <= len(napis), "a list without an end"
        assert napis[number].on_list
        number = napis[number].next
    assert lists[which, TAIL] == (found[-1] if found else NOBODY)
    return found


class NapiMachine(RuleBasedStateMachine):
    """Compiled code's functions, interpreted, and the twin."""

    @initialize(
        cpus=st.integers(1, 2),
        weight=st.integers(1, 5),
        budget=st.integers(1, 12),
        hz=st.sampled_from((100, 250, 1000)),
        timeouts=st.lists(st.sampled_from((0, 1000, 5_000_000)), min_size=QUEUES, max_size=QUEUES),
        defers=st.lists(st.integers(0, 3), min_size=QUEUES, max_size=QUEUES),
        threaded=st.lists(st.booleans(), min_size=QUEUES, max_size=QUEUES),
    )
    def start(self, cpus, weight, budget, hz, timeouts, defers, threaded):
        self.count = cpus
        self.napis = make_napis(QUEUES, cpus, weight=weight)
        self.napis.gro_flush_timeout = timeouts
        self.napis.defer_hard_irqs = defers
        self.lists, self.round_lists = make_lists(2 * cpus), make_lists(2 * cpus)
        self.softnet = make_softnet(cpus)
        self.limits = Limits(budget=budget, hz=hz)
        instances = [Instance(q % cpus, weight, timeouts[q], defers[q]) for q in range(QUEUES)]
        self.twin = NaiveHost(instances, cpus, budget=budget, hz=hz)
        self.threaded = threaded
        self.now = 0
        self.ring = [0] * QUEUES
        self.seen = [0] * QUEUES
        """Frames that were there when a poll last looked, less those that it took."""
        self.held = [False] * QUEUES
        self.masked = [False] * QUEUES
        self.asserted = [False] * QUEUES
        self.polling: list[int | None] = [None] * cpus
        self.work = [0] * cpus
        self.owed = [False] * QUEUES
        """Somebody asked for a poll after the last one had begun."""
        self.open = [False] * QUEUES
        self.wanted_closed = [False] * QUEUES
        for queue in range(QUEUES):
            self.switch_on(queue)

    def switch_on(self, queue):
        """What a driver's open does: enable, and unmask what the card has to say."""
        napi_enable(self.napis[queue], self.threaded[queue])
        self.twin.enable(queue, self.threaded[queue])
        self.open[queue] = True
        self.wanted_closed[queue] = False
        self.masked[queue] = False
        self.asserted[queue] = self.ring[queue] > 0

    # What comes from outside.

    @rule(queue=st.integers(0, QUEUES - 1), frames=st.integers(1, 8))
    def arrive(self, queue, frames):
        self.ring[queue] += frames
        if not self.masked[queue]:
            self.asserted[queue] = True

    @rule(pick=st.integers(0, QUEUES - 1))
    def interrupt(self, pick):
        ready = [queue for queue in range(QUEUES) if self.asserted[queue] and not self.masked[queue]]
        if ready:
            self.take_interrupt(ready[pick % len(ready)])

    def take_interrupt(self, queue):
        self.masked[queue], self.asserted[queue] = True, False
        self.ask(queue)

    @rule(queue=st.integers(0, QUEUES - 1))
    def ask(self, queue):
        claimed = napi_schedule(self.napis, queue, self.lists)
        assert claimed == self.twin.schedule(queue)
        if self.open[queue] and not self.wanted_closed[queue]:
            self.owed[queue] = True

    @rule(pick=st.integers(0, QUEUES - 1))
    def timer(self, pick):
        armed = [queue for queue in range(QUEUES) if self.napis[queue].timer != NEVER]
        if armed:
            queue = min(armed, key=lambda q: self.napis[q].timer)
            self.now = max(self.now, int(self.napis[queue].timer))
            assert napi_watchdog(self.napis, queue, self.lists) == self.twin.timer(queue)

    @rule(nanoseconds=st.sampled_from((1, 900, 700_000, 4_000_000)))
    def wait(self, nanoseconds):
        due = min(int(timer) for timer in self.napis.timer)
        self.now = min(self.now + nanoseconds, max(due, self.now))

    @rule(queue=st.integers(0, QUEUES - 1))
    def disable(self, queue):
        if self.open[queue]:
            closed = napi_disable(self.napis[queue])
            assert closed == self.twin.disable(queue)
            self.wanted_closed[queue] = True
            if closed:
                self.open[queue] = False
                self.owed[queue] = False
                # Nothing flushes them now; in the kernel they stay until the next poll or netif_napi_del.
                self.held[queue] = False

    @rule(queue=st.integers(0, QUEUES - 1), threaded=st.booleans())
    def enable(self, queue, threaded):
        if not self.open[queue]:
            self.threaded[queue] = threaded
            self.switch_on(queue)

    # What a CPU does.

    @rule(cpu=st.integers(0, 1), share=st.integers(0, 5), held=st.booleans(), costs=st.sampled_from((0, 300, 1_500_000)))
    def step(self, cpu, share, held, costs):
        if cpu < self.count:
            self.one_step(cpu, share, held, costs)

    def one_step(self, cpu, share=99, held=False, costs=0):
        if self.polling[cpu] is not None:
            self.poll_goes_on(cpu, share, held, costs)
        elif self.softnet[cpu].in_round:
            number = round_next(self.softnet, self.lists, self.round_lists, cpu, self.napis)
            assert (None if number == NOBODY else number) == self.twin.round_next(cpu)
            self.poll_begins(cpu, number)
        elif self.lists[cpu, HEAD] != NOBODY:
            round_begin(self.softnet, self.lists, self.round_lists, cpu, self.napis, self.now, self.limits)
            self.twin.round_begin(cpu, self.now)
        elif self.lists[self.count + cpu, HEAD] != NOBODY:
            number = pop(self.lists, self.count + cpu, self.napis)
            assert number == self.twin.cpus[cpu].threads.pop(0)
            self.napis[number].state |= SCHED_THREADED
            self.twin.napis[number].awake = True
            self.poll_begins(cpu, number)
        else:
            return False
        return True

    def poll_begins(self, cpu, number):
        if number == NOBODY:
            return
        assert number not in self.polling, "polled twice at once"
        assert self.napis[number].cpu == cpu
        assert not self.napis[number].state & NPSVC, "a disabled instance is polled"
        self.polling[cpu] = int(number)
        self.work[cpu] = 0
        self.owed[number] = False

    def poll_goes_on(self, cpu, share, held, costs):
        """Take some frames; the poll ends with its weight or an empty ring."""
        queue = self.polling[cpu]
        weight = int(self.napis[queue].weight)
        count = min(share, self.ring[queue], weight - self.work[cpu])
        self.ring[queue] -= count
        self.work[cpu] += count
        self.now += costs
        self.held[queue] |= held and count > 0
        work = self.work[cpu]
        full = work == weight
        if full or self.ring[queue] == 0:
            self.poll_ends(cpu, queue, work, full)

    def poll_ends(self, cpu, queue, work, full):
        napi = self.napis[queue]
        assert work <= napi.weight
        busy = bool(napi.state & IN_BUSY_POLL)
        repoll = full and not napi.state & (DISABLE | IN_BUSY_POLL)
        if not repoll and napi_may_complete(napi):
            work = 0 if full else work
            timeout, unmask = napi_complete_prepare(napi, work, self.held[queue])
            unmask = napi_complete_done(self.napis, queue, self.lists, self.now, timeout, unmask)
            assert (unmask, "old" if timeout else "all") == self.twin.complete(queue, work, self.held[queue], self.now)
            if not timeout:
                self.held[queue] = False
            if unmask:
                self.masked[queue] = False
                self.asserted[queue] = self.ring[queue] > 0
        elif not repoll:
            assert self.twin.complete(queue, work, self.held[queue], self.now) == (False, "nothing")
        self.polling[cpu] = None
        if self.softnet[cpu].in_round:
            arguments = (cpu, self.napis, queue, work, repoll, self.now, self.limits)
            round_polled(self.softnet, self.lists, self.round_lists, *arguments)
            self.twin.round_polled(cpu, queue, work, repoll, self.now)
        elif repoll:
            to_poller(self.napis, queue, self.lists)
            self.twin.queue(queue)
        if busy and work > 0:
            self.stop_busy_poll(cpu, queue)

    # A reader that polls by itself, where nothing else happens on the CPU.

    def idle(self, cpu):
        lists = (self.lists[cpu, HEAD], self.lists[self.count + cpu, HEAD])
        return self.polling[cpu] is None and not self.softnet[cpu].in_round and lists == (NOBODY, NOBODY)

    @rule(queue=st.integers(0, QUEUES - 1))
    def busy_begin(self, queue):
        if self.idle(self.napis[queue].cpu):
            assert busy_poll_begin(self.napis[queue]) == self.twin.busy_begin(queue)

    @rule(queue=st.integers(0, QUEUES - 1))
    def busy_poll(self, queue):
        cpu = int(self.napis[queue].cpu)
        if self.idle(cpu) and self.napis[queue].state & IN_BUSY_POLL:
            self.poll_begins(cpu, queue)

    @rule(queue=st.integers(0, QUEUES - 1))
    def busy_end(self, queue):
        cpu = int(self.napis[queue].cpu)
        if self.idle(cpu) and self.napis[queue].state & IN_BUSY_POLL:
            self.stop_busy_poll(cpu, queue)

    def stop_busy_poll(self, cpu, queue):
        busy_poll_end(self.napis[queue])
        self.twin.busy_end(queue)
        self.poll_begins(cpu, queue)

    # What is always so.

    @precondition(lambda self: hasattr(self, "twin"))
    @invariant()
    def lists_are_those_of_the_twin(self):
        everywhere = []
        for cpu, this in enumerate(self.twin.cpus):
            found = [members(self.lists, cpu, self.napis), members(self.lists, self.count + cpu, self.napis)]
            found += [members(self.round_lists, 2 * cpu, self.napis), members(self.round_lists, 2 * cpu + 1, self.napis)]
            assert found == [this.softirq, this.threads, this.rest, this.repoll]
            state = self.softnet[cpu]
            assert (state.in_round, state.time_squeeze, state.rounds) == (this.in_round, this.squeezed, this.rounds)
            everywhere += [number for members_ in found for number in members_]
        assert len(set(everywhere)) == len(everywhere), "on two lists"
        assert sorted(everywhere) == [queue for queue in range(QUEUES) if self.napis[queue].on_list]

    @precondition(lambda self: hasattr(self, "twin"))
    @invariant()
    def states_are_those_of_the_twin(self):
        for napi, twin in zip(self.napis, self.twin.napis, strict=True):
            bits = {SCHED: twin.scheduled, MISSED: twin.missed, DISABLE: twin.disabling, NPSVC: twin.closed}
            bits |= {IN_BUSY_POLL: twin.busy, THREADED: twin.threaded, SCHED_THREADED: twin.awake}
            assert {bit: bool(napi.state & bit) for bit in bits} == bits
            assert (None if napi.timer == NEVER else napi.timer) == twin.timer
            assert napi.defer_hard_irqs_count == twin.defer_left

    @precondition(lambda self: hasattr(self, "twin"))
    @invariant()
    def an_owner_has_it(self):
        """SCHED says that a list, a poll, a busy poller or nobody at all (disabled) has the instance."""
        for queue, napi in enumerate(self.napis):
            owners = bool(napi.on_list) + (queue in self.polling)
            assert owners <= 1, "polled and on a list"
            if napi.state & NPSVC:
                assert owners == 0
            elif owners or napi.state & IN_BUSY_POLL:
                assert napi.state & SCHED
            else:
                assert not napi.state & SCHED

    @precondition(lambda self: hasattr(self, "twin"))
    @invariant()
    def no_wake_up_is_lost(self):
        for queue, napi in enumerate(self.napis):
            if not self.open[queue] or self.wanted_closed[queue]:
                continue
            if self.ring[queue] > 0:
                comes = self.asserted[queue] and not self.masked[queue]
                assert comes or napi.state & SCHED or napi.timer != NEVER, f"frames of queue {queue} wait for nobody"
            if self.owed[queue]:
                assert napi.on_list or napi.state & (MISSED | IN_BUSY_POLL), "asked for, and nobody polls"
            if self.held[queue]:
                assert napi.state & SCHED or napi.timer != NEVER, "GRO holds frames, and nobody flushes them"

    def teardown(self):
        """Whatever happened: left alone, every open queue is emptied, and its interrupt is unmasked."""
        if not hasattr(self, "twin"):
            return
        for queue in range(QUEUES):
            while not self.idle(int(self.napis[queue].cpu)):
                self.one_step(int(self.napis[queue].cpu))
            self.busy_end(queue)
        for _ in range(10_000):
            worked = False
            for cpu in range(self.count):
                worked |= self.one_step(cpu)
            if not worked:
                for queue in range(QUEUES):
                    if self.asserted[queue] and not self.masked[queue]:
                        self.take_interrupt(queue)
                        worked = True
            if not worked and (self.napis.timer != NEVER).any():
                self.timer(0)
                worked = True
            self.lists_are_those_of_the_twin()
            self.states_are_those_of_the_twin()
            self.an_owner_has_it()
            self.no_wake_up_is_lost()
            if not worked:
                break
        for queue in range(QUEUES):
            if self.open[queue] and not self.wanted_closed[queue]:
                assert self.ring[queue] == 0
                assert not self.held[queue]
                assert not self.masked[queue]
            elif self.wanted_closed[queue] and self.open[queue]:
                assert napi_disable(self.napis[queue])


NapiMachine.TestCase.settings = settings(max_examples=250, stateful_step_count=60)
TestNapi = NapiMachine.TestCase


def one(**fields):
    napis = make_napis(1, 1)
    napi_enable(napis[0], False)
    for name, value in fields.items():
        napis[name] = value
    return napis, make_lists(2)


def test_only_one_can_claim_an_instance():
    napis, _ = one()
    assert napi_schedule_prep(napis[0])
    assert not napi_schedule_prep(napis[0])
    assert napis[0].state == SCHED | MISSED


def test_a_new_instance_is_disabled():
    napis = make_napis(2, 1)
    lists = make_lists(2)
    assert not napi_schedule(napis, 0, lists)
    assert members(lists, 0, napis) == []
    napis[1].state = SCHED | NPSVC
    assert not busy_poll_begin(napis[1])
    assert not napi_may_complete(napis[1])


def test_missed_leads_to_one_more_poll():
    napis, lists = one()
    napi_schedule(napis, 0, lists)
    assert pop(lists, 0, napis) == 0
    for _ in range(3):
        napi_schedule(napis, 0, lists)
    assert not napi_complete_done(napis, 0, lists, 0, *napi_complete_prepare(napis[0], 1, False))
    assert members(lists, 0, napis) == [0], "once more, however often it was asked for"
    assert pop(lists, 0, napis) == 0
    assert napi_complete_done(napis, 0, lists, 0, *napi_complete_prepare(napis[0], 0, False))
    assert napis[0].state == 0
    assert members(lists, 0, napis) == []


@pytest.mark.parametrize(
    ("timeout", "defer", "polls", "answers"),
    [
        # (work, held) of each poll: (nanoseconds until the watchdog, interrupt may come)
        (0, 0, [(5, True), (0, False)], [(0, True), (0, True)]),
        (0, 3, [(5, True), (0, False)], [(0, True), (0, True)]),
        (70, 0, [(5, True), (0, True), (0, False)], [(70, True), (0, True), (0, True)]),
        (70, 0, [(5, False)], [(0, True)]),
        (70, 2, [(5, False), (0, False), (0, False)], [(70, False), (70, False), (0, True)]),
        (70, 2, [(5, True), (0, True), (9, True), (0, True), (0, True)], [(70, False)] * 4 + [(0, True)]),
        (70, 1, [(0, False), (1, False), (0, True)], [(0, True), (70, False), (0, True)]),
    ],
)
def test_deferral(timeout, defer, polls, answers):
    """gro_flush_timeout and napi_defer_hard_irqs, as Documentation/networking/napi.rst has them."""
    napis, _ = one(gro_flush_timeout=timeout, defer_hard_irqs=defer)
    assert [napi_complete_prepare(napis[0], work, held) for work, held in polls] == answers


def test_the_watchdog_schedules_and_leaves_nothing_missed():
    napis, lists = one(gro_flush_timeout=70)
    napi_schedule(napis, 0, lists)
    pop(lists, 0, napis)
    assert napi_complete_done(napis, 0, lists, 1000, *napi_complete_prepare(napis[0], 1, True))
    assert napis[0].timer == 1070
    assert napi_watchdog(napis, 0, lists)
    assert members(lists, 0, napis) == [0]
    assert napis[0].timer == NEVER
    assert not napi_watchdog(napis, 0, lists), "it is scheduled already"
    assert not napis[0].state & MISSED


def test_disabling_waits_for_the_poll_and_stops_the_timer():
    napis, lists = one(gro_flush_timeout=70)
    napi_schedule(napis, 0, lists)
    pop(lists, 0, napis)
    assert not napi_disable(napis[0])
    assert not napi_schedule(napis, 0, lists), "nobody schedules it while it is being disabled"
    assert napi_complete_done(napis, 0, lists, 0, *napi_complete_prepare(napis[0], 1, True))
    assert not napi_watchdog(napis, 0, lists)
    napis[0].timer = 70
    assert napi_disable(napis[0])
    assert napis[0].timer == NEVER
    assert members(lists, 0, napis) == []
    napi_enable(napis[0], True)
    assert napi_schedule(napis, 0, lists)
    assert members(lists, 1, napis) == [0], "its thread has it now"


def test_a_busy_poller_owns_an_instance():
    napis, lists = one()
    assert busy_poll_begin(napis[0])
    assert not busy_poll_begin(napis[0])
    assert not napi_may_complete(napis[0])
    assert not napi_schedule(napis, 0, lists)
    busy_poll_end(napis[0])
    assert napi_may_complete(napis[0])
    assert napi_complete_done(napis, 0, lists, 0, *napi_complete_prepare(napis[0], 0, False)), "what it missed was polled"
