"""Time as a value: the wall's, a capture's, or one that a test turns.

A clock has a hand for each CPU, in nanoseconds. On the wall clock the hands follow CLOCK_MONOTONIC and work
takes the time that it takes; elsewhere work takes what it is said to cost, and `spend` moves the hand.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.core.typing.templates import Signature
from numpy.typing import NDArray

from pktpath.jit import JIT_DISABLED, inlined, kernel

NEVER = np.iinfo(np.int64).max
_CLOCK_MONOTONIC = 1
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
    import time

    def _read(timespec):
        timespec[0], timespec[1] = divmod(time.monotonic_ns(), _SECOND)

else:
    _clock_gettime: Any = types.ExternalFunction("clock_gettime", Signature(types.int32, (types.int32, types.uintp), None))

    @kernel
    def _read(timespec):
        _clock_gettime(_CLOCK_MONOTONIC, timespec.ctypes.data)


@inlined
def look(clock, cpu):
    """Return what time it is for a CPU."""
    if clock.wall:
        _read(clock.timespec)
        clock.hands[cpu] = clock.timespec[0] * _SECOND + clock.timespec[1]
    return clock.hands[cpu]


@inlined
def spend(clock, cpu, nanoseconds):
    """Let work on a CPU take so long."""
    if not clock.wall:
        clock.hands[cpu] += nanoseconds
