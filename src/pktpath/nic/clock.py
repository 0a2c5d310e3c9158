"""Time as a value: the wall's, a capture's, or one that a test turns.

A clock has a hand for each CPU, in nanoseconds. On the wall clock the hands follow CLOCK_MONOTONIC and work
takes the time that it takes; elsewhere work takes what it is said to cost, and `spend` moves the hand.
"""

import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pktpath.jit import JIT_DISABLED, inlined, kernel

NEVER = np.iinfo(np.int64).max
_CLOCK_MONOTONIC = time.CLOCK_MONOTONIC
_SECOND = 1_000_000_000


class Clock(NamedTuple):
    """The hands of one host's CPUs."""

    hands: NDArray[np.int64]
    """(cpus,) nanoseconds: what time it is for each CPU, which is when it is done with what it does."""
    wall: bool
    """Whether `look` reads the machine's clock; `spend` is then without effect."""
    timespec: NDArray[np.int64]
    """(2,) seconds and nanoseconds, where the system call writes."""


def make_clock(cpus: int, *, wall: bool = False) -> Clock:
    """Return a clock whose hands stand at zero, or the wall's."""
    return Clock(np.zeros(cpus, np.int64), wall, np.zeros(2, np.int64))


if JIT_DISABLED:

    def monotonic(timespec):
        """Nanoseconds of the monotonic clock."""
        return time.monotonic_ns()

    def cycles():
        """What counts at a steady rate, as fine as there is."""
        return time.perf_counter_ns()

else:
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    def _read_cycle_counter(_typing: Any) -> Any:
        def codegen(_context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
            kind = ir.FunctionType(ir.IntType(64), [])
            return builder.call(builder.module.declare_intrinsic("llvm.readcyclecounter", fnty=kind), [])

        return types.int64(), codegen

    _time_stamp_counter: Any = intrinsic(_read_cycle_counter)

    @kernel
    def cycles():
        """What counts at a steady rate, as fine as there is: the time stamp counter, comparable between cores."""
        return _time_stamp_counter()

    _clock_gettime: Any = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.uintp))

    @kernel
    def monotonic(timespec):
        """Nanoseconds of the monotonic clock; `timespec` is an int64 array of two."""
        _clock_gettime(_CLOCK_MONOTONIC, timespec.ctypes.data)
        return timespec[0] * _SECOND + timespec[1]


@inlined
def look(clock, cpu):
    """Return what time it is for a CPU."""
    if clock.wall:
        clock.hands[cpu] = monotonic(clock.timespec)
    return clock.hands[cpu]


@inlined
def spend(clock, cpu, nanoseconds):
    """Let work on a CPU take so long."""
    if not clock.wall:
        clock.hands[cpu] += nanoseconds
