"""What was seen, put together for the tables and bars of a page: threads, system calls, features of devices."""

from typing import NamedTuple

from pktpath.doctor.case import Case
from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.device import DeviceFeature
from pktpath.doctor.facts.perf import SampledStack
from pktpath.doctor.facts.process import Process, Syscall, Thread
from pktpath.doctor.report.words import count_of

DRAWN: tuple[type[Fact], ...] = (Process, Thread, Syscall, DeviceFeature, SampledStack)
"""Facts that pages draw; of all others they tell only what findings say."""
_THREADS = 24
_CALLS = 12
_RUNS = 8
"""Runs of strace, or threads of one, that have a table of their own."""
_NAMES = 3
"""Devices that a column names; how many more there are is said."""


class Bar(NamedTuple):
    """A thread and its share of a core."""

    name: str
    detail: str
    width: float
    """Of the room, 0 to 1."""
    text: str


class Threads(NamedTuple):
    """Threads, the busiest first."""

    bars: list[Bar]
    recent: bool
    """Whether the shares are of an interval, not of the threads' lives."""
    rest: str
    """How many are not among them."""


def threads_of(case: Case) -> Threads:
    """Return the busiest threads; where some were watched for an interval, only those."""
    known = case.latest(Thread)
    recent = any(thread.recent for thread in known)
    known = sorted((thread for thread in known if thread.recent == recent), key=lambda thread: (-thread.cpu, thread.tid))
    shown = [thread for thread in known if thread.cpu > 0][:_THREADS]
    most = max([100.0, *(thread.cpu for thread in shown)])
    bars = [
        Bar(thread.name or str(thread.tid), _thread_words(thread), thread.cpu / most, f"{thread.cpu:.1f} %") for thread in shown
    ]
    quiet = sum(thread.cpu <= 0 for thread in known)
    words = [f"{count_of(rest, 'thread')} less busy"] if (rest := len(known) - len(shown) - quiet) else []
    words += [f"{count_of(quiet, 'thread')} at 0 %"] if quiet else []
    return Threads(bars, recent, ", ".join(words))


def _thread_words(thread: Thread) -> str:
    words = [str(thread.tid), thread.state]
    if thread.processor is not None:
        words.append(f"CPU {thread.processor}")
    if thread.policy not in {"", "TS"}:
        words.append(thread.policy)
    return " · ".join(filter(None, words))


class Call(NamedTuple):
    """A line of a table of system calls."""

    name: str
    calls: str
    errors: str
    errnos: str
    seconds: str


class Calls(NamedTuple):
    """System calls of one thread or process in one run of strace, the most frequent first."""

    who: str
    source: str
    rows: list[Call]
    rest: str
    """How many are not among them."""


def calls_of(case: Case) -> list[Calls]:
    """Return the most frequent system calls by run and thread, the busiest first."""
    names = {thread.tid: thread.name for thread in case.latest(Thread) if thread.name}
    # The kernel's name of a thread has 15 letters, and top cuts it: a process knows its own better.
    names |= {process.pid: process.name for process in case.latest(Process) if process.name}
    groups: dict[tuple[str, int], list[Syscall]] = {}
    for call in case.all(Syscall):
        groups.setdefault((call.at.source, call.tid or call.pid), []).append(call)
    busiest = sorted(groups.items(), key=lambda item: -sum(call.calls for call in item[1]))
    return [_calls(source, number, calls, names) for (source, number), calls in busiest[:_RUNS]]


def _calls(source: str, number: int, calls: list[Syscall], names: dict[int, str]) -> Calls:
    calls = sorted(calls, key=lambda call: (-call.calls, call.name))
    rest = calls[_CALLS:]
    words = f"{count_of(len(rest), 'other')} with {count_of(sum(call.calls for call in rest), 'call')}" if rest else ""
    who = f"{names.get(number, '')} {number}".strip() if number else "all together"
    return Calls(who, source, [_call(call) for call in calls[:_CALLS]], words)


def _call(call: Syscall) -> Call:
    errnos = ", ".join(f"{name} {count:,}" for name, count in call.errnos)
    errors = f"{call.errors:,}" if call.errors else "-"
    return Call(call.name, f"{call.calls:,}", errors, errnos, "-" if call.seconds is None else f"{call.seconds:.6f}")


class Cell(NamedTuple):
    """A feature of a device."""

    text: str
    """`on`, `off`; empty where the device does not have it."""
    words: str
    """`fixed`, `requested on`; empty else."""
    kind: str
    """Class that colours it."""


class FeatureRow(NamedTuple):
    """A feature of all devices."""

    name: str
    below: bool
    """Whether it belongs to the line above."""
    cells: list[Cell]


class Matrix(NamedTuple):
    """Features by devices; devices that are alike in everything share a column."""

    columns: list[tuple[str, str]]
    """What stands above, and all the devices that it stands for."""
    rows: list[FeatureRow]
    never: list[str]
    """Features that are fixed off everywhere."""


def features_of(case: Case) -> Matrix:
    """Return the matrix of features."""
    devices: dict[tuple[str, str], dict[str, DeviceFeature]] = {}
    names: dict[str, DeviceFeature] = {}
    for feature in case.latest(DeviceFeature):
        devices.setdefault((feature.at.scope, feature.dev), {})[feature.name] = feature
        names.setdefault(feature.name, feature)
    alike: dict[tuple[Cell, ...], list[tuple[str, str]]] = {}
    for device, known in devices.items():
        alike.setdefault(tuple(_cell(known.get(name)) for name in names), []).append(device)
    rows, never = [], []
    for (name, feature), cells in zip(names.items(), zip(*alike, strict=True), strict=True):
        if all(cell.kind in {"none", "never"} for cell in cells):
            never.append(name)
        else:
            rows.append(FeatureRow(name, bool(feature.group), list(cells)))
    return Matrix([_column(column) for column in alike.values()], rows, never)


def _column(devices: list[tuple[str, str]]) -> tuple[str, str]:
    """Return a few names for a column, those of the host first, and all of them with their network namespaces."""
    names = list(dict.fromkeys(dev for _, dev in sorted(devices, key=lambda device: bool(device[0]))))
    more = f" and {rest} more" if (rest := len(devices) - len(names[:_NAMES])) else ""
    return ", ".join(names[:_NAMES]) + more, ", ".join(f"{scope}: {dev}" if scope else dev for scope, dev in devices)


def _cell(feature: DeviceFeature | None) -> Cell:
    if feature is None:
        return Cell("", "", "none")
    state = "on" if feature.active else "off"
    if feature.requested is not None and feature.requested != feature.active:
        return Cell(state, f"requested {'on' if feature.requested else 'off'}", "asked")
    if feature.fixed:
        return Cell(state, "fixed", "always" if feature.active else "never")
    return Cell(state, "", state)


def sources_of(case: Case) -> int:
    """Return how many files, or places of the running host, anything was read from."""
    return len({fact.at.source for fact in case})
