"""The process hardly uses the CPU, so nothing that it does is a load.

`perf stat` counts `task-clock`, the time in which the process ran. Set against the time that passed it says what part of a core
it used: the first thing to know before system calls, stalls or symbols are looked at.

Speaks when a process or thread that was counted for at least a second used less than 5 % of a core. It is a note.
Silent where perf counted a command of its own (`perf stat sleep 5`).
Source: perf-stat(1).
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.perf import PerfCount
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._threads import begin

IDLE = 0.05
"""Of a core: a daemon's timers and keep-alives need one to three per cent."""


@rule(
    PerfCount,
    ask="perf stat -p PID -- sleep 10",
    well="What was counted was at work.",
    topic="processes",
)
def process_idle(case: Case) -> Iterator[Finding]:
    """One finding for each that was counted."""
    for count in case.latest(PerfCount):
        if count.event != "task-clock" or count.value is None or not count.elapsed or count.elapsed < 1:
            continue
        if "id '" not in count.target or count.value / 1000 >= IDLE * count.elapsed:
            continue
        others = [one.at for one in case.latest(PerfCount) if one.target == count.target and one.event == "context-switches"]
        who = count.target.replace(" id '", " ").rstrip("'")
        yield Finding(
            severity=Severity.NOTE,
            confidence=Confidence.CERTAIN,
            summary=f"{begin(who)} is idle: it used {count.value / 10 / count.elapsed:.1f} % of a core, "
            f"{count.value:,.0f} ms in {count.elapsed:,.0f} s.",
            evidence=(count.at, *others),
            why="What system calls, symbols or counters show of it belongs to that small part: it is no load and not what slows "
            "packets down. With a kernel datapath packets do not pass through the process at all.",
            about=who,
        )
