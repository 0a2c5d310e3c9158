"""A thread of a program that moves packets is stopped.

State T is a thread that SIGSTOP or a terminal stopped, t one that a debugger or strace holds. It does nothing until it goes on:
the queues that it polls fill up and packets are lost. A debugger that was killed, or gdb that waits in another window, leaves
it so.

Speaks when a thread with the name of a packet mover, or of the only process that was looked at, is in state T; for t it is a
note, as the look itself may hold it (strace and gdb do for moments). Silent for other programs, such as an editor in the
background.
Sources: ps(1) PROCESS STATE CODES, ptrace(2).
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.process import Thread
from pktpath.doctor.finding import Confidence, Finding, Remedy, Severity, rule
from pktpath.doctor.rules._threads import Known, moves_packets, process_name, threads


@rule(
    Thread,
    ask="ps -L -p PID -o pid,tid,stat,pcpu,comm",
    well="No thread that moves packets is stopped.",
    topic="processes",
)
def thread_left_stopped(case: Case) -> Iterator[Finding]:
    """One finding a process."""
    told = threads(case)
    alone = len({one.pid for one in told.values()}) == 1
    stopped: dict[tuple[int, bool], list[Known]] = {}
    for one in told.values():
        if one.state in ("T", "t") and (alone or moves_packets(one.name) or moves_packets(process_name(case, one.pid))):
            stopped.setdefault((one.pid, one.state == "t"), []).append(one)
    for (pid, traced), own in stopped.items():
        names = ", ".join(map(str, own[:4])) + (f" and {len(own) - 4} more" if len(own) > 4 else "")
        who = process_name(case, pid)
        some = "A thread" if len(own) == 1 else f"{len(own)} of the threads"
        what = ("is " if len(own) == 1 else "are ") + ("held by a debugger" if traced else "stopped")
        yield Finding(
            severity=Severity.NOTE if traced else Severity.PROBLEM,
            confidence=Confidence.POSSIBLE if traced else Confidence.CERTAIN,
            summary=f"{some} of {who} {what} ({names}): {'it moves' if len(own) == 1 else 'they move'} no packets.",
            evidence=tuple(one.places[0] for one in own[:6]),
            why="A stopped thread does nothing: what it polls or reads fills up and is lost. "
            + ("strace and gdb hold threads for moments; TracerPid in /proc/PID/status says who." if traced else
               "SIGSTOP, a terminal (Ctrl-Z) or a debugger that was killed leaves it so."),
            about=who,
            remedies=() if traced else (
                Remedy(
                    command=f"kill -CONT {pid or 'PID'}", effect="All threads of the process go on.",
                    cost="If somebody stopped it on purpose, or a debugger still holds it, they should be asked first.",
                    undo=f"kill -STOP {pid or 'PID'}", verify=f"ps -L -p {pid or 'PID'} -o tid,stat,comm shows S or R",
                ),
            ),
            proof="A second ps some seconds later; if it is still t, grep TracerPid /proc/PID/status names the debugger."
            if traced else "",
        )  # fmt: skip
