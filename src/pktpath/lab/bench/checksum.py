"""The checksum beside what the machine can read from its caches at all, and beside DPDK's."""

from functools import partial

import numpy as np

from pktpath.jit import kernel
from pktpath.lab.bench.common import Effort, Row, clock_cost, make_timespec, take_turns
from pktpath.lab.bench.peer import Peer
from pktpath.nic.clock import monotonic
from pktpath.pool import make_pool
from pktpath.wire.checksum import sum_bytes

SIZES = (1448, 16 * 1024, 64 * 1024)
"""A segment; what a first-level cache holds; a super-frame."""
_CALLS = 100
"""Sums in one measurement: one alone is too short for the clock."""
_GOAL = 0.5
_GOAL_SIZES = SIZES[1:]


@kernel
def _time_sums(mem, length, timespec, times):
    """Fill `times` with the nanoseconds of `_CALLS` sums of the first `length` bytes."""
    for run in range(len(times)):
        start = monotonic(timespec)
        for _ in range(_CALLS):
            # Stored where it might be read again: or else one sum would do for all.
            mem[len(mem) - 1] = sum_bytes(mem, 0, length) & 0xFF
        times[run] = monotonic(timespec) - start


def rows(peer: Peer | None, missing: str, effort: Effort) -> list[Row]:
    """Measure every size; without a peer, `missing` says why."""
    result = []
    clock = clock_cost()
    # Page-aligned, as the peer's area: 64-byte loads that straddle cache lines take twice the time.
    mem = make_pool(window=max(SIZES) + 1, header=0).mem
    mem[:] = np.random.default_rng(1).integers(0, 256, len(mem), dtype=np.uint8)
    for size in SIZES:
        runs = max(effort.frames * 64 // size // _CALLS, 3)

        def ours(size: int = size, runs: int = runs) -> float:
            times = np.zeros(runs, np.int64)
            _time_sums(mem, size, make_timespec(), times)
            return (float(np.median(times)) - clock) / _CALLS

        def theirs(command: str, size: int = size, runs: int = runs) -> float:
            assert peer is not None
            return float(peer.ask(command, size, runs)["ns"])

        others = {"reading alone": "read", "rte_raw_cksum": "cksum"}
        timings = take_turns(effort.turns, ours, *(partial(theirs, command) for command in others.values()) if peer else ())
        for k, name in enumerate(others, start=1):
            result.append(
                Row(
                    case=f"checksum of {size} bytes, beside {name}",
                    pktpath=size / timings[0].median,
                    peer=size / timings[k].median if peer else None,
                    unit="GB/s",
                    goal=_GOAL if name == "reading alone" and size in _GOAL_SIZES else None,
                    note=missing,
                )
            )
    return result
