"""What the clock alone tells of interrupts and threads, without any privilege.

A loop that does nothing but read the clock sees an interrupt of its CPU as a gap, from entry to exit.
"""

import ctypes
import os
import struct
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from pktpath.lab.calibrate_figures import BLOCKS, Figure, Missing, Unmeasurable, figure
from pktpath.lab.calibrate_process import child, last_error, libc, pin, system_call

Gap = tuple[int, int]
"""When the loop stood still, and for how long, in nanoseconds; the loop's own round is taken off."""
_LONGEST = 100_000
"""Nanoseconds; whoever keeps a CPU longer is another process, or the hypervisor."""
_AHEAD, _BEFORE, _AFTER = 20_000, 3_000, 25_000
"""Nanoseconds: a timer is set so far ahead; around its time the loop looks for the gap."""
_TFD_TIMER_ABSTIME = 1
_QUERY, _BARRIER, _REGISTER = 0, 1 << 1, 1 << 2
"""MEMBARRIER_CMD_QUERY, MEMBARRIER_CMD_GLOBAL_EXPEDITED and its registration, membarrier(2)."""


def own_round() -> int:
    """Return how long the loop takes when nothing happens, in nanoseconds."""
    clock = time.monotonic_ns
    rounds = []
    last = clock()
    for _ in range(5000):
        now = clock()
        rounds.append(now - last)
        last = now
    return int(median(rounds))


def spin(nanoseconds: int) -> list[Gap]:
    """Read the clock for so long and return the gaps that stand out."""
    clock = time.monotonic_ns
    own = own_round()
    notable = 2 * own + 100
    gaps = []
    last = clock()
    end = last + nanoseconds
    while last < end:
        now = clock()
        if now - last > notable:
            gaps.append((last, now - last - own))
            now = clock()
        last = now
    return gaps


def longest_gap(first: int, stop: int) -> Gap:
    """Read the clock and return the longest gap that begins between two times; the loop's round is not taken off."""
    clock = time.monotonic_ns
    last = clock()
    while last < first:
        last = clock()
    longest = where = 0
    while last < stop:
        now = clock()
        if now - last > longest:
            longest, where = now - last, last
        last = now
    return where, longest


def in_blocks(samples: Sequence[float]) -> list[float]:
    """Return the median of each fifth of the samples, those of other processes left out; nothing of too few."""
    short = [sample for sample in samples if sample < _LONGEST]
    if len(short) < 10 * BLOCKS:
        return []
    return [median(short[len(short) * k // BLOCKS : len(short) * (k + 1) // BLOCKS]) for k in range(BLOCKS)]


class _Timer:
    """A timer of the kernel that nobody waits for: its interrupt has next to nothing to do."""

    def __init__(self) -> None:
        self._descriptor = libc.timerfd_create(time.CLOCK_MONOTONIC, 0)
        if self._descriptor < 0:
            raise last_error()

    def set(self, when: int) -> int:
        """Let it come at a time of the monotonic clock, 0 for never; return how long setting it took, in nanoseconds."""
        setting = (ctypes.c_long * 4)(0, 0, when // 1_000_000_000, when % 1_000_000_000)
        address: Any = ctypes.byref(setting)
        start = time.monotonic_ns()
        libc.timerfd_settime(self._descriptor, _TFD_TIMER_ABSTIME, address, None)
        return time.monotonic_ns() - start

    def close(self) -> None:
        os.close(self._descriptor)


def measure_irq(cpu: int, interrupts: int) -> Figure | Missing:
    """Measure an interrupt by that of a timer, from entry, or its time if that is later, to exit.

    A timer's interrupt sets the hardware for the next timer, which costs little, or two exits to a hypervisor. A card's
    does not, so this is measured by itself and taken off: setting a timer that is the next to come, less setting one that is not.
    """
    pin(cpu)
    own = own_round()
    timer = _Timer()
    gaps, next_to_come, far_off = [], [], []
    try:
        for _ in range(interrupts):
            when = time.monotonic_ns() + _AHEAD
            next_to_come.append(timer.set(when))
            start, length = longest_gap(when - _BEFORE, when + _AFTER)
            if length > 2 * own + 100:
                gaps.append(start + length - own - max(when, start))
            far_off.append(timer.set(when + 10_000_000_000))
            timer.set(0)
    finally:
        timer.close()
    setting = max(median(next_to_come) - median(far_off), 0)
    how = (
        f"entry to exit of a timer's interrupt on CPU {cpu} ({len(gaps)} of them), less the {setting:.0f} ns that setting the "
        "hardware for the next takes; no cache misses afterwards"
    )
    return figure("irq", [block - setting for block in in_blocks(gaps)], how)


def measure_ipi(cpu: int, other: int | None, seconds: float) -> Figure | Missing:
    """Measure what an IPI takes from the CPU that gets it: one expedited memory barrier of another process.

    Raises:
        Unmeasurable: there is one CPU only.
        OSError: the kernel has no such barrier.

    """
    if other is None:
        message = "it takes two CPUs, and this process may run on one only"
        raise Unmeasurable(message)
    if not system_call("membarrier", _QUERY, 0, 0) & _BARRIER:
        message = "no membarrier(2) with MEMBARRIER_CMD_GLOBAL_EXPEDITED (Linux 4.16)"
        raise Unmeasurable(message)
    target = other

    def get_interrupted(write: Callable[[bytes], object]) -> None:
        pin(target)
        system_call("membarrier", _REGISTER, 0, 0)
        write(b"go")
        write(b"".join(struct.pack("=qq", *gap) for gap in spin(int(seconds * 1e9))))

    pin(cpu)
    with child(get_interrupted) as spinner:
        if spinner.read(2) != b"go":
            message = f"the process on CPU {target} ended"
            raise Unmeasurable(message)
        end = time.monotonic_ns() + int(seconds * 1e9)
        calls = []
        while (start := time.monotonic_ns()) < end:
            system_call("membarrier", _BARRIER, 0, 0)
            calls.append((start, time.monotonic_ns()))
            time.sleep(0.0003)
        gaps = list(struct.iter_unpack("=qq", spinner.read_all()))
    taken = gaps_of(calls, gaps)
    waits = median(stop - start for start, stop in calls) if calls else 0
    how = (
        f"entry to exit on CPU {target} of a barrier that CPU {cpu} asks of it ({len(taken)} IPIs); "
        f"the {waits:.0f} ns that the sender waits for its answer are not in it"
    )
    return figure("ipi", in_blocks(taken), how)


def gaps_of(calls: Sequence[tuple[int, int]], gaps: Sequence[Gap]) -> list[int]:
    """Return how long the gap was that each call, from its start to its end, caused on the other CPU."""
    starts = [start for start, _ in gaps]
    found = []
    for start, stop in calls:
        # The loop's last look at the clock before the gap may lie just before the call.
        k = bisect_left(starts, start - 1000)
        if k < len(gaps) and starts[k] < stop and starts[k] + gaps[k][1] > start:
            found.append(gaps[k][1])
    return found


def measure_wake(cpu: int, rounds: int) -> Figure | Missing:
    """Measure how long another thread of the same CPU takes to start, by two processes that wake each other."""
    pin(cpu)
    ping, pong, own = os.eventfd(0), os.eventfd(0), os.eventfd(0)
    clock, put, get = time.monotonic_ns, os.eventfd_write, os.eventfd_read

    def answer(_write: Callable[[bytes], object]) -> None:
        pin(cpu)
        while True:
            get(ping)
            put(pong, 1)

    blocks = []
    try:
        with child(answer):
            for _ in range(BLOCKS):
                there_and_back, alone = [], []
                for _ in range(rounds):
                    start = clock()
                    put(ping, 1)
                    get(pong)
                    middle = clock()
                    put(own, 1)
                    get(own)
                    alone.append(clock() - middle)
                    there_and_back.append(middle - start)
                blocks.append(median(there_and_back) / 2 - median(alone))
    finally:
        for descriptor in (ping, pong, own):
            os.close(descriptor)
    how = (
        f"wake-up of a waiting process on the same CPU {cpu} and the switch to it, its address space included; "
        "the system calls around it are taken off"
    )
    return figure("wake", blocks, how)
