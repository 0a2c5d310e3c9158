"""The processor's counters are not there, so nothing can be said about cycles, instructions and stalls.

`<not supported>` means that the kernel has no such event here: virtual machines mostly have no counters (no virtual PMU), and
many processors cannot count stalled cycles. It is not a zero. `perf record` then samples by the clock (`cpu-clock`), which sees
user code and most of the kernel, but not what runs with interrupts off.

Speaks when events of the hardware are `<not supported>`. It is a note. Silent for `<not counted>`: there the thread did not
run.
Sources: perf-stat(1), perf_event_open(2).
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.perf import PerfCount
from pktpath.doctor.finding import Confidence, Finding, Severity, rule


@rule(
    PerfCount,
    ask="perf stat -p PID -- sleep 5",
    well="The events that were asked for could be counted.",
    topic="stalled-cycles-backend",
)
def hardware_counters_missing(case: Case) -> Iterator[Finding]:
    """One finding for all counts together."""
    gone = [count for count in case.latest(PerfCount) if count.state == "not supported"]
    if not gone:
        return
    names = list(dict.fromkeys(count.event for count in gone))
    everything = "cycles" in names and "instructions" in names
    stalls = any("stalled" in name for name in names)
    if everything:
        what, why = (
            "no hardware counters",
            "A virtual machine without a virtual PMU has none; samples of perf record then come from a clock.",
        )
    elif stalls:
        what, why = (
            "no counter of stalled cycles",
            "Cycles and instructions are counted, but many processors have no event for stalls.",
        )
    else:
        what, why = "not every event", "The processor, or its kernel driver, has no such event."
    yield Finding(
        severity=Severity.NOTE,
        confidence=Confidence.CERTAIN,
        summary=f"perf has {what} here ({', '.join(names[:6])}: <not supported>), so nothing can be said about "
        + ("cycles and stalls." if everything or stalls else "these."),
        evidence=tuple({count.event: count.at for count in gone}.values())[:6],
        why=f"{why} That is not a zero.",
        about=gone[0].target,
    )
