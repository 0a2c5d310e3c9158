"""strace watched one thread while another one was busy.

`strace -p N` attaches to thread N alone, and the number of a process is that of its first thread. In a program that moves
packets the first thread is the one for configuration: its calls say nothing about the thread that uses the CPU. Only -f takes
all threads. (A poll-mode thread makes hardly any system calls, and strace stops it at each: packets may be dropped meanwhile.)

Speaks when a trace without -f watched a thread that uses less than half as much CPU as another one of the process; or when the
stack of another thread of the same look stands in a poll loop. Silent where another trace watched that thread or all.
Source: strace(1), -f and -p.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.base import Place
from pktpath.doctor.facts.process import Trace
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._threads import poll_stacks, process_name, threads

BUSY = 50.0


@rule(
    Trace,
    ask="strace -f -c -p PID",
    well="System calls were watched of the threads that are busy.",
    topic="eagain",
)
def strace_watched_one_thread(case: Case) -> Iterator[Finding]:
    """One finding a trace."""
    traces = case.latest(Trace)
    watched = {trace.pid for trace in traces}
    for trace in traces:
        if trace.followed or trace.threads > 1 or any(other.followed and other.pid == trace.pid for other in traces):
            continue
        busy = _busy(case, trace.pid, watched)
        if busy is None:
            continue
        name, places, sure = busy
        yield Finding(
            severity=Severity.NOTE,
            confidence=Confidence.CERTAIN if sure else Confidence.LIKELY,
            summary=f"strace without -f watched only thread {trace.pid} while thread {name} was the busy one: "
            f"its {trace.calls:,} calls say nothing about that.",
            evidence=(trace.at, *places[:3]),
            why="strace -p N attaches to thread N alone; the number of a process is that of its first thread.",
            about=process_name(case, trace.pid),
            proof="top -H -b -n 2 -p PID names the busy thread. strace -f -c -p PID watches all, but it stops a poll-mode "
            "thread at each system call, so that packets may be dropped; perf record -t TID does not.",
        )


def _busy(case: Case, pid: int, watched: set[int]) -> tuple[str, list[Place], bool] | None:
    """Return the name of the busy thread, the lines that say so, and whether it surely belongs to this process."""
    told = threads(case)
    own = told.get(pid)
    others = [one for one in told.values() if one.tid not in watched and one.pid == (own.pid if own else pid) and one.cpu >= BUSY]
    if own is not None:
        best = max(others, key=lambda one: one.cpu, default=None)
        return (str(best), best.places, True) if best and own.cpu < best.cpu / 2 else None
    stacks = {tid: looks for tid, looks in poll_stacks(case).items() if tid not in watched}
    if others:
        return str(others[0]), others[0].places, True
    if stacks:
        tid, looks = next(iter(stacks.items()))
        return str(tid), [look.at for look in looks], False
    return None
