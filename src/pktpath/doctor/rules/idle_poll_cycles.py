"""The cycles of a poll-mode thread go into reading the clock and looking into an empty ring.

A thread that polls reads the time in every round (Open vSwitch: `pmd_thread_ctx_time_update`, the cycle counters of
lib/dpif-netdev-perf.h) and then asks its rings. With no packets nothing else is left for a profile to show. Reading the counter
is slow: `rdtscp`, and `mrs cntvct_el0` behind a barrier, wait until what stands before them is done; the branch behind an empty
ring waits for memory that the other side may write. An interrupt comes late, so samples often lie at the instruction behind.

Speaks when reading the clock and polling have 60 % of a profile of a poll-mode thread, the clock at least 2 %, and functions
that handle packets less than 10 %; where symbols are missing, when the clock alone has 20 % of it. Instructions of
`perf annotate` are added where they show the counter. It is a note: no core is slower for it.
Silent for other threads: a program that reads the clock too often without polling is not this.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.perf import HotInstruction, HotSymbol
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._polling import Loop, counter_reads, idle_loops


@rule(
    HotSymbol | HotInstruction,
    ask="perf record -t TID -- sleep 5; perf report --stdio",
    well="No profile shows a poll-mode thread that only reads the clock and looks into empty rings.",
    topic="pmd",
)
def idle_poll_cycles(case: Case) -> Iterator[Finding]:
    """One finding for all profiles together: they show one loop."""
    loops = idle_loops(case)
    if not loops:
        return
    best = max(loops, key=lambda loop: loop.timer.percent)
    reads = counter_reads(case)
    yield Finding(
        severity=Severity.NOTE,
        confidence=Confidence.LIKELY,
        summary=_summary(best, len(loops)),
        evidence=tuple(
            dict.fromkeys(
                (
                    *(loop_place for loop in loops for loop_place in (*loop.polling.places[:1], *loop.timer.places[:1])),
                    *reads.places[:2],
                )
            )
        )[:6],
        why="A poll-mode thread reads the time in every round and asks its queues; with nothing to receive nothing else "
        "is left to do. "
        + (
            f"In the instructions {reads.percent:.1f} % of the samples are at reading the counter ({reads.symbols[0]})"
            + (
                f" and {reads.waits:.1f} % at the compare and branch behind the answer of the empty queue. "
                if reads.waits >= 5
                else ". "
            )
            if reads.percent >= 5
            else ""
        )
        + "These cycles are free for packets as soon as some come.",
        about=best.thread,
        proof="ovs-appctl dpif-netdev/pmd-stats-clear, some seconds later dpif-netdev/pmd-perf-show: idle iterations near 100 "
        "% and Rx packets 0 say that there was nothing to do; under traffic the share of the clock falls.",
    )


def _summary(loop: Loop, profiles: int) -> str:
    who = f"poll-mode thread {loop.thread}" if loop.thread else "the poll-mode thread"
    clock = f"{loop.timer.percent:.1f} % of the samples of {who} are in reading the clock ({', '.join(loop.timer.symbols[:3])})"
    if loop.polling.percent:
        rest = f" and {loop.polling.percent:.1f} % in asking its queues ({', '.join(loop.polling.symbols[:3])})"
    else:
        rest = f" and the rest in {loop.object} without symbols"
    more = f" in one of {profiles} such profiles" if profiles > 1 else ""
    return f"{clock}{rest}{more}: it looks into empty rings."
