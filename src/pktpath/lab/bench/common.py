"""What every bench shares: rows, turns, one core, and the clock for compiled code."""

import os
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pktpath.jit import kernel
from pktpath.lab.machine import clock_rate
from pktpath.nic.clock import monotonic

CONDITIONS = "conditions"
"""Name in `Row.more` of how a figure was measured, where that is not what all rows say."""


@dataclass(frozen=True)
class Row:
    """One line of a bench."""

    case: str
    pktpath: float | None
    """Our figure, in `unit`; None where there is nothing to measure: `note` then says why."""
    peer: float | None
    """The peer's figure, None where there is no peer to ask: `note` then says why."""
    unit: str
    """`ns/frame`, `us`, `ms`: less is better. `GB/s` and the like: more is better."""
    goal: float | None = None
    """What `ratio` shall reach at least."""
    more: dict[str, Any] = field(default_factory=dict)
    """Further figures by name."""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times faster than the peer pktpath is."""
        if not self.peer or not self.pktpath:
            return None
        return self.peer / self.pktpath if self.unit.startswith(("ns", "us", "ms")) else self.pktpath / self.peer

    def as_json(self) -> dict[str, Any]:
        """Return the row as the commands print it."""
        row: dict[str, Any] = {name: getattr(self, name) for name in ("case", "pktpath", "peer", "unit", "ratio")}
        if self.goal is not None:
            row["goal"] = self.goal
        return row | self.more | ({"note": self.note} if self.note else {})


@dataclass(frozen=True)
class Effort:
    """How long a bench takes."""

    turns: int
    """Measurements of each side; the median counts."""
    frames: int
    """Frames, roughly, in one measurement."""
    capture_bytes: int
    """Size of the capture that `files` works on."""


FULL = Effort(turns=11, frames=200_000, capture_bytes=1_000_000_000)
QUICK = Effort(turns=3, frames=5_000, capture_bytes=20_000_000)


Side = Callable[[], float]
"""Measures once and returns the figure."""


@dataclass(frozen=True)
class Timing:
    """One side's turns."""

    median: float
    best: float


def take_turns(turns: int, *sides: Side) -> list[Timing]:
    """Call each side once to warm up, then all of them `turns` times in turn; return what they measured."""
    for side in sides:
        side()
    measured = [[side() for side in sides] for _ in range(turns)]
    return [Timing(statistics.median(values), min(values)) for values in zip(*measured, strict=True)]


@contextmanager
def one_core() -> Iterator[int]:
    """Keep this process, and what it starts, on the last core that it may use; yield that core."""
    before = os.sched_getaffinity(0)
    core = max(before)
    os.sched_setaffinity(0, {core})
    try:
        yield core
    finally:
        os.sched_setaffinity(0, before)


@kernel
def _time_nothing(timespec, times):
    for run in range(len(times)):
        start = monotonic(timespec)
        times[run] = monotonic(timespec) - start


def make_timespec() -> NDArray[np.int64]:
    """Return what `monotonic` needs."""
    return np.zeros(2, np.int64)


def clock_cost() -> float:
    """Return the nanoseconds that an empty measurement shows, to take off the others."""
    times = np.zeros(10_001, np.int64)
    _time_nothing(make_timespec(), times)
    return float(np.median(times))


# The record: what was measured, on what, as Markdown.


def as_markdown(rows: list[Row], *, date: str, peer: str) -> str:
    """Return a page with the machine and one table."""
    lines = [
        "# Results of `pktpath bench`",
        "",
        f"{date}; {machine()}; {peer}. One run, one core unless a row says otherwise: pktpath and its peer take turns, medians.",
        "A ratio above 1 says that pktpath is faster; `make bench` writes this page anew.",
        "",
        "| case | pktpath | peer | unit | ratio | goal | more |",
        "| --- | ---: | ---: | --- | ---: | ---: | --- |",
    ]
    for row in rows:
        told = [f"{name} {short(value)}" for name, value in row.more.items() if value is not None and name != CONDITIONS]
        more, goal = ", ".join(told + [row.note] * bool(row.note)), goal_text(row)
        cells = [row.case, short(row.pktpath), short(row.peer), row.unit, short(row.ratio), goal, more]
        lines.append("| " + " | ".join(cells) + " |")
    if said := conditions_of(rows):
        lines += ["", *(f"- {line}" for line in said)]
    return "\n".join(lines) + "\n"


def goal_text(row: Row) -> str:
    """Return the goal of a row, and whether it was met where that is known."""
    if row.goal is None:
        return ""
    return f"{row.goal:g}" + ("" if row.ratio is None else " reached" if row.ratio >= row.goal else " missed")


def conditions_of(rows: list[Row]) -> list[str]:
    """Return what rows say of how they were measured, each once, after the cases that it holds for."""
    cases: dict[str, dict[str, None]] = {}
    for row in rows:
        if CONDITIONS in row.more:
            cases.setdefault(row.more[CONDITIONS], {})[row.case.rpartition(", beside ")[0]] = None
    return [f"{'; '.join(names)}: {text}" for text, names in cases.items()]


def short(value: Any) -> str:
    """Return a figure with three digits that count, or a dash for none."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and abs(value) < 1000:
        return f"{value:.3g}"
    return f"{value:,.0f}" if isinstance(value, (int, float)) else str(value)


def machine() -> str:
    """Return processor, kernel and versions in one line."""
    import platform
    from importlib.metadata import version

    model = platform.processor() or platform.machine()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    rate = clock_rate()
    clock = f" at {rate:.1f} GHz" if rate else ""
    parts = [f"{model}{clock}", f"Linux {platform.release()}", f"Python {platform.python_version()}"]
    return ", ".join([*parts, f"numba {version('numba')}", f"numpy {version('numpy')}"])
