"""Most cycles of a polling thread wait in the processor's back end, and that is most likely the polling itself.

`stalled-cycles-backend` counts cycles in which no instruction could begin because an earlier one had not finished. A cache miss
does that, and so does reading the time stamp counter, which waits for everything before it, and the branch that depends on a
ring's index in memory. A thread that polls an empty ring does hardly anything else, so a high share is expected without any
fault of caches or memory.

Speaks when 30 % of the cycles and more were stalled and a profile, instructions or a stack of the same look show a poll-mode
thread. The cache misses that were counted beside are set against the stalls: what each would have to cost.
Silent without signs of polling: then stalls are a question of their own. Never certain, as counters cannot say what was awaited.
Source: perf-stat(1); the events' meaning differs by processor.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.perf import HotInstruction, HotSymbol, PerfCount
from pktpath.doctor.facts.process import Stack, Thread
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._polling import counter_reads, idle_loops
from pktpath.doctor.rules._threads import poll_stacks, threads

SHARE = 0.3
"""Of all cycles. A loop of arithmetic stalls some per cent; from here on one asks why."""


@rule(
    PerfCount,
    HotSymbol | HotInstruction | Stack | Thread,
    ask="perf stat -e cycles,instructions,stalled-cycles-backend,cache-misses -t TID -- sleep 5",
    well="No polling thread waits in the back end for a great part of its cycles.",
    topic="stalled-cycles-backend",
)
def backend_stalls_of_polling(case: Case) -> Iterator[Finding]:
    """One finding for whoever was counted."""
    counts: dict[str, dict[str, PerfCount]] = {}
    for count in case.latest(PerfCount):
        if count.value is not None:
            counts.setdefault(count.target, {})[count.event] = count
    loops, reads = idle_loops(case), counter_reads(case)
    stacks = [looks[0] for looks in poll_stacks(case).values()]
    polling = [one for one in threads(case).values() if one.polls]
    if not (loops or stacks or polling or reads.percent >= 20):
        return
    for target, events in counts.items():
        cycles, stalled = events.get("cycles"), events.get("stalled-cycles-backend")
        if not cycles or not stalled or not cycles.value or not stalled.value or stalled.value < SHARE * cycles.value:
            continue
        misses = events.get("cache-misses")
        each = (
            f" Each of the {misses.value:,.0f} cache misses would have to cost {stalled.value / misses.value:,.0f} cycles "
            "to be the cause."
            if misses and misses.value
            else ""
        )
        shown = [loop.timer.places[0] for loop in loops[:1]] + reads.places[:1] + [stack.at for stack in stacks[:1]]
        yield Finding(
            severity=Severity.NOTE,
            confidence=Confidence.LIKELY,
            summary=f"{100 * stalled.value / cycles.value:.1f} % of the cycles of {target} stalled in the back end, most "
            "likely in reading the timer and in the dependent polling of an empty ring.",
            evidence=(stalled.at, cycles.at, *([misses.at] if misses else []), *(shown or [polling[0].places[0]])),
            why="A read of the counter waits until everything before it is done, and the branch behind a look into a ring "
            f"waits for memory that the other side may write; a poll-mode thread without packets does nothing else.{each}",
            about=target,
            proof="Count again under traffic: the share falls when packets are handled if polling is the cause, and rises with "
            "cache-misses if memory is; perf record -e stalled-cycles-backend -t TID shows at which instructions it waits.",
        )
