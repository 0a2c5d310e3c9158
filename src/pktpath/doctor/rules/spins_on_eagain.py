"""A thread asks a descriptor in vain as fast as it can, and a core is wasted.

A program that reads without blocking and tries again at once, instead of waiting in poll or epoll, does nothing but system calls
that fail with EAGAIN. Unlike a poll-mode thread, which asks a ring in memory, each question enters the kernel.

Speaks when reading calls failed with EAGAIN 5000 times a second and more (strace itself slows a thread to some ten thousand
calls a second), nine of ten of them failed, and less than one poll stands before hundred failures; where the time is not known,
when a thread of the process uses 90 % of a core (or would, if others left it the core) and thousand failed. Likely where
`strace -c` does not tell the reason.
Silent for threads that poll by design (a PMD thread of AF_XDP or TAP ports asks the kernel so), and for loops that sleep in poll.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.process import Syscall
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._syscalls import ASKS, POLLS, Traced, asking_in_vain, surely_again, traced
from pktpath.doctor.rules._threads import Known, begin, is_poll_thread, process_name, threads

RATE, ALONE, EACH, CPU = 5000.0, 0.9, 100.0, 90.0


@rule(
    Syscall,
    ask="timeout -s INT 3 strace -f -c -p PID",
    well="No thread spins in system calls that fail with EAGAIN.",
    topic="eagain",
)
def spins_on_eagain(case: Case) -> Iterator[Finding]:
    """One finding a process."""
    told: set[int] = set()
    for trace in traced(case):
        vain = asking_in_vain(trace)
        failed, asked = sum(call.errors for call in vain), trace.calls(ASKS)
        if trace.pid in told or failed < 1000 or failed < ALONE * asked or trace.calls(POLLS) * EACH > failed:
            continue
        if any(is_poll_thread(case, tid) for call in vain for tid in call.tids):
            continue
        busy = _busy(case, trace)
        if busy is not None and busy.wanted < CPU / 2:
            continue
        rate = failed / trace.seconds if trace.seconds else None
        if (rate is not None and rate < RATE) or (rate is None and (busy is None or busy.wanted < CPU)):
            continue
        told.add(trace.pid)
        known = surely_again(case, trace.pid, vain[0].name)
        first = vain[0]
        speed = f" ({rate:,.0f} a second)" if rate is not None else ""
        rest = f" (and would use {busy.wanted:.0f} % if others left it)" if busy and busy.delayed > CPU / 10 else ""
        used = f" and uses {busy.cpu:g} % of a core{rest}" if busy else ""
        who = process_name(case, trace.pid)
        yield Finding(
            severity=Severity.PROBLEM,
            confidence=Confidence.CERTAIN if known and rate is not None else Confidence.LIKELY,
            summary=f"{begin(who)} asks in vain: {failed:,} of {asked:,} {first.name} calls failed with EAGAIN{speed}{used}.",
            evidence=tuple(call.at for call in vain[:3]) + tuple(busy.places[:2] if busy else ()),
            why="It reads without blocking and tries again at once instead of sleeping in poll or epoll until there is "
            "something: every question enters the kernel, and the core is not there for others. The program must wait; no "
            "switch of the host changes that.",
            about=who,
            proof="strace -p PID prints the calls with their reason; top -H -b -n 2 -p PID shows the thread at 100 %.",
        )


def _busy(case: Case, trace: Traced) -> Known | None:
    """Return the busiest thread among those that were watched."""
    tids = {call.tid for call in trace.syscalls} - {0}
    own = [
        one
        for one in threads(case).values()
        if one.tid in tids or one.tid == trace.pid or (trace.followed and one.pid == trace.pid)
    ]
    return max(own, key=lambda one: one.wanted, default=None)
