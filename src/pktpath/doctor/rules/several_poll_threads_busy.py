"""All threads are busy because the process has several that poll, and the futex calls are the others waiting.

Each core in `pmd-cpu-mask` (or each lcore of DPDK) gets a poll-mode thread, and each uses its core completely. Those threads
make no system calls; what strace shows in such a process are the others, which wait for one another: `futex` is how a thread
sleeps until a lock, a condition or the end of an RCU grace period, not work.

Speaks when two poll-mode threads or more use a core each, or what they get of it, or when stacks of several threads stand in a
poll loop; the part that futex has of the system calls is added where it is the largest. It is a note.
Silent about a process with one such thread.
Sources: Documentation/topics/dpdk/pmd.rst of Open vSwitch, futex(2).
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.base import Place
from pktpath.doctor.facts.process import Stack, Syscall, Thread
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._syscalls import traced
from pktpath.doctor.rules._threads import POLLS, poll_stacks, threads

MOST = 0.4
"""The share of all system calls from which futex is what strace mostly shows."""


@rule(
    Thread | Stack,
    ask="top -H -b -n 2 -p PID",
    well="No process has several threads that poll at full speed.",
    topic="pmd",
)
def several_poll_threads_busy(case: Case) -> Iterator[Finding]:
    """One finding for each process with such threads."""
    told = threads(case)
    busy = [one for one in told.values() if one.polls and one.cpu >= POLLS]
    words, places = _futex(case)
    for pid in dict.fromkeys(one.pid for one in busy):
        own = [one for one in busy if one.pid == pid]
        if len(own) > 1:
            rest = [one for one in told.values() if one.pid == pid and not one.polls and one.cpu >= 50]
            others = f", and {', '.join(map(str, rest[:3]))} besides" if rest else "; no other thread is busy"
            yield _finding(
                f"{len(own)} poll-mode threads poll, each on the core that it was given "
                f"({', '.join(map(str, own[:4]))}){others}.",
                (*(one.places[0] for one in own[:4]), *places), words, Confidence.CERTAIN, f"process {pid}",
            )  # fmt: skip
    stacks = {tid: looks for tid, looks in poll_stacks(case).items() if tid not in told}
    if len(stacks) > 1 and not busy:
        looks = max(stacks.values(), key=len)
        again = (
            f" {len(looks)} looks at thread {looks[0].tid} find it at different points of the same loop, so it is not stuck."
            if len({look.frames for look in looks}) > 1
            else ""
        )
        yield _finding(
            f"Several poll-mode threads ({', '.join(map(str, stacks))}) stand in their loops: where all of them are at 100 %, "
            "each has a core of its own.",
            (*(one[0].at for one in stacks.values()), *(look.at for look in looks[1:3]), *places)[:6], again + words,
            Confidence.LIKELY, "",
        )  # fmt: skip


def _futex(case: Case) -> tuple[str, tuple[Place, ...]]:
    for trace in traced(case):
        calls = sum(call.calls for call in trace.syscalls)
        futex: list[Syscall] = [call for call in trace.syscalls if call.name == "futex"]
        count = sum(call.calls for call in futex)
        if calls and count >= MOST * calls:
            return f" futex, {count:,} of {calls:,} system calls, is how the other threads sleep.", (futex[0].at,)
    return " futex calls in strace are the other threads, which sleep until somebody wakes them.", ()


def _finding(summary: str, evidence: tuple[Place, ...], words: str, confidence: Confidence, about: str) -> Finding:
    return Finding(
        severity=Severity.NOTE, confidence=confidence, summary=summary, evidence=evidence, about=about,
        why="Each core of pmd-cpu-mask, or each lcore, has a thread that polls and never sleeps, with or without "
        f"traffic.{words}",
        proof="" if confidence == Confidence.CERTAIN else "top -H -b -n 2 -p PID names them: pmd-cNN/id:N, lcore-worker-N.",
    )  # fmt: skip
