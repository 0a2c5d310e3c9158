"""The softirq round of a CPU: which instance is polled next, and when the round must end.

`net_rx_action` as a machine that is asked step by step, so that the same rounds run on the wall clock and
on a capture's: `round_next` names an instance, the caller polls it, `round_polled` books the work. A round
takes what is scheduled when it starts; an instance that used its weight waits for the rest; when budget or
time is used up, `time_squeeze` counts it and a new round starts with those left, then those that were
scheduled meanwhile, then those that have more. Source: net/core/dev.c.
"""

from typing import Any

import numpy as np

from pktpath.jit import inlined
from pktpath.nic.lists import HEAD, NOBODY, pop, push, splice

_COLUMNS = ("processed", "dropped", "time_squeeze", "received_rps", "flow_limit_count")
_ROUND = ("in_round", "budget", "limit", "rounds", "ipi", "fed_at", "segments", "lost")
_POLL = ("polling", "taken", "ends", "flush", "completing", "timeout", "unmask")
SOFTNET = np.dtype([(name, "i8") for name in (*_COLUMNS, *_ROUND, *_POLL)])
"""One CPU. The first five are columns of /proc/net/softnet_stat; in_round: whether a round runs; budget, limit: frames and
jiffies left to it; rounds: since the start; ipi: another CPU interrupts; fed_at: when a poll last found a frame; segments:
wire frames in those that its stack saw; lost: wire frames in those that its backlog dropped. Of the poll that runs,
polling: the instance, or NOBODY; taken: frames so far; ends: nothing is left to take; flush: what GRO completes;
completing, timeout, unmask: what `napi_complete_prepare` said."""


def make_softnet(cpus: int) -> Any:
    """Return the state of so many CPUs."""
    softnet = np.zeros(cpus, SOFTNET).view(np.recarray)
    softnet.polling = NOBODY
    return softnet


@inlined
def jiffy_of(limits, now):
    """Return the jiffy that runs at a time in nanoseconds."""
    return now // (1_000_000_000 // limits.hz)


@inlined
def round_begin(softnet, lists, round_lists, cpu, napis, now, limits):
    """Start a round with all that is scheduled on a CPU."""
    state = softnet[cpu]
    state.in_round = 1
    state.rounds += 1
    state.budget = limits.budget
    jiffy = 1_000_000 // limits.hz
    state.limit = jiffy_of(limits, now) + (limits.budget_usecs + jiffy - 1) // jiffy
    splice(round_lists, 2 * cpu, napis, lists, cpu)


@inlined
def round_next(softnet, lists, round_lists, cpu, napis):
    """Return the instance to poll now, or NOBODY: the round is over (a new one starts if anything is scheduled)."""
    number = pop(round_lists, 2 * cpu, napis)
    if number < 0 and round_lists[2 * cpu + 1, HEAD] < 0:
        splice(round_lists, 2 * cpu, napis, lists, cpu)
        number = pop(round_lists, 2 * cpu, napis)
    if number < 0:
        _round_end(softnet, lists, round_lists, cpu, napis)
    return number


@inlined
def round_polled(softnet, lists, round_lists, cpu, napis, number, work, repoll, now, limits):
    """Book a poll; `repoll` when the instance used its weight and stays scheduled."""
    state = softnet[cpu]
    if repoll:
        push(round_lists, 2 * cpu + 1, napis, number)
    state.budget -= work
    if state.budget <= 0 or jiffy_of(limits, now) >= state.limit:
        state.time_squeeze += 1
        _round_end(softnet, lists, round_lists, cpu, napis)


@inlined
def _round_end(softnet, lists, round_lists, cpu, napis):
    splice(round_lists, 2 * cpu, napis, lists, cpu)
    splice(round_lists, 2 * cpu, napis, round_lists, 2 * cpu + 1)
    splice(lists, cpu, napis, round_lists, 2 * cpu)
    softnet[cpu].in_round = 0
