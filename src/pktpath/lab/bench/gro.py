"""GRO beside DPDK's: the same frames, the same bursts, everything delivered at the end of each burst.

pktpath keeps every rule of the kernel; DPDK compares fewer fields and leaves the checksums of what it
merged to the application. DPDK's table is the smallest that holds the burst, which is its best case.
"""

import numpy as np

from pktpath.batch import CHECKSUM_NONE, FRAGS, FRAMES, Batch, make_batch
from pktpath.jit import kernel
from pktpath.lab.bench.common import Effort, Row, Side, clock_cost, make_timespec, take_turns
from pktpath.lab.bench.peer import Peer
from pktpath.lab.bench.traffic import as_rows, burst
from pktpath.lab.machine import clock_rate
from pktpath.nic.clock import monotonic
from pktpath.offload.flow_hash import hash_frame
from pktpath.offload.gro import DEFAULT_FEATURES, UNLIMITED, GroTable, make_gro_table
from pktpath.offload.gro_complete import complete_all
from pktpath.offload.gro_frame import receive_frames
from pktpath.offload.rules import DEFAULT_RULES, RULES
from pktpath.pool import chunk_put
from pktpath.wire.parse import parse_frame

FLOWS = (1, 4, 16, 64, 1024)
LIGHT, HEAVY = 64, 1024
"""Frames in a burst of rte_gro_reassemble_burst and of rte_gro_reassemble."""
_GOALS = {1: 2.0, 16: 5.0, 64: 10.0, 1024: 10.0}
_KERNEL_FLOWS = 64
"""As many flows as the kernel's table can hold at once."""

NOTHING, PARSING, VERIFYING = 0, 1, 2
"""What is in the time besides GRO: parsing and the flow hash, or the software checksum."""


@kernel
def _time_bursts(batch, size, out, table, rules, features, work, timespec, times):
    """Fill `times` with the nanoseconds of one burst of `size` frames each; return the frames delivered by all."""
    first = 0
    delivered = 0
    for run in range(len(times)):
        if work == VERIFYING:
            for i in range(first, first + size):
                batch.frames[i].ip_summed = CHECKSUM_NONE
                batch.frames[i].payload_sum = -1
        start = monotonic(timespec)
        if work == PARSING:
            for i in range(first, first + size):
                parse_frame(batch, i)
                hash_frame(batch, i)
        receive_frames(batch, first, first + size, out, table, rules, features, False)
        complete_all(batch, out, table, rules)
        times[run] = monotonic(timespec) - start
        # Who takes the frames gives their chunks back; that is no part of GRO on either side.
        delivered += out.used[FRAMES]
        for j in range(out.used[FRAMES]):
            chunk_put(out.pool, out.frames[j].head_chunk)
        for row in range(out.used[FRAGS]):
            chunk_put(out.pool, out.frag_chunk[row])
        out.used[FRAMES] = 0
        out.used[FRAGS] = 0
        first += size
        if first == batch.used[FRAMES]:
            first = 0
    return delivered


class _Ours:
    """One case of ours, ready to be timed."""

    def __init__(self, batch: Batch, size: int, table: GroTable, runs: int, work: int = NOTHING) -> None:
        self.frames_out = 0.0
        self._size, self._runs = size, runs
        out = make_batch(batch.pool, size, 2 * size)
        self._arguments = (batch, size, out, table, RULES[DEFAULT_RULES], int(DEFAULT_FEATURES), work, make_timespec())
        self._clock = clock_cost()

    def __call__(self) -> float:
        """Return nanoseconds a frame."""
        times = np.zeros(self._runs, np.int64)
        self.frames_out = _time_bursts(*self._arguments, times) / self._runs
        return (float(np.median(times)) - self._clock) / self._size


def rows(peer: Peer | None, missing: str, effort: Effort) -> list[Row]:
    """Measure every case; without a peer, `missing` says why."""
    result = []
    for size in (LIGHT, HEAVY):
        for flows in FLOWS:
            result += _compare(peer, missing, effort, flows, size)
    result += _with_more(peer, missing, effort)
    return result


def _compare(peer: Peer | None, missing: str, effort: Effort, flows: int, size: int) -> list[Row]:
    """Measure one number of flows: with room for all, and where it could do with the kernel's table."""
    runs = max(effort.frames // size, 3)
    batch = burst(flows, max(flows, size), header=size + 64)
    tables = {"": make_gro_table(depth=UNLIMITED, frames=size)}
    if flows <= _KERNEL_FLOWS:
        tables[", kernel's table"] = make_gro_table(frames=size)
    ours = [_Ours(batch, size, table, runs) for table in tables.values()]
    sides: list[Side] = [*ours]
    theirs = _Theirs(peer, batch, size, runs) if peer else None
    if theirs:
        sides.append(theirs)
    timings = take_turns(effort.turns, *sides)
    result = []
    for name, side, timing in zip(tables, ours, timings, strict=False):
        merges = side.frames_out < size and (theirs is None or theirs.frames_out < size)
        result.append(
            Row(
                case=f"gro {_flow_count(flows)}, burst {size}{name}",
                pktpath=timing.median,
                peer=timings[-1].median if theirs else None,
                unit="ns/frame",
                goal=_GOALS.get(flows) if merges and not name else None,
                more=_more(side, theirs, size, timing.median, timings[-1].median if theirs else None),
                note=missing,
            )
        )
    return result


def _flow_count(flows: int) -> str:
    return "1 flow" if flows == 1 else f"{flows} flows"


def _more(ours: "_Ours", theirs: "_Theirs | None", size: int, mine: float, other: float | None) -> dict[str, float | None]:
    rate = clock_rate()
    return {
        "frames_in": size,
        "frames_out": ours.frames_out,
        "peer_frames_out": theirs.frames_out if theirs else None,
        "cycles": mine * rate,
        "peer_cycles": other * rate if other is not None else None,
    }


def _with_more(peer: Peer | None, missing: str, effort: Effort) -> list[Row]:
    """Measure what DPDK's figures leave out: parsing and the flow hash; the software checksum of every frame."""
    size, flows = LIGHT, 16
    runs = max(effort.frames // size, 3)
    batch = burst(flows, size, header=size + 64)
    result = []
    for work, name, how in (
        (PARSING, "with parsing and flow hash", "light"),
        (VERIFYING, "with software checksums verified", "verify"),
    ):
        ours = _Ours(batch, size, make_gro_table(depth=UNLIMITED, frames=size), runs, work)
        theirs = _Theirs(peer, batch, size, runs, how) if peer else None
        timings = take_turns(effort.turns, ours, *([theirs] if theirs else []))
        other = timings[1].median if theirs else None
        more = _more(ours, theirs, size, timings[0].median, other)
        note = missing or ("the peer's frames are parsed already" if work == PARSING else "")
        case = f"gro {flows} flows, burst {size}, {name}"
        result.append(Row(case=case, pktpath=timings[0].median, peer=other, unit="ns/frame", more=more, note=note))
    return result


class _Theirs:
    """The same case of DPDK's; only the last one made may be called."""

    def __init__(self, peer: Peer, batch: Batch, size: int, runs: int, how: str = "") -> None:
        peer.load(as_rows(batch))
        self._how = how or ("light" if size <= LIGHT else "heavy")
        self._peer, self._size, self._runs = peer, size, runs
        self.frames_out = 0.0

    def __call__(self) -> float:
        """Return nanoseconds a frame."""
        answer = self._peer.ask("gro", self._how, self._size, self._runs)
        self.frames_out = answer["frames_out"]
        return float(answer["ns"]) / self._size
