"""A thread sleeps where nothing can wake it, and did so in two looks.

State D is a thread that waits in the kernel and takes no signals: for a disk, a file system over the network, a driver or a lock
of the kernel (rtnl while devices are configured). Moments of it are normal. A thread that is there in two looks and uses no CPU
hangs, and whoever waits for it hangs with it; a daemon's main thread then answers no control commands.

Speaks when two looks at a thread find it in state D with hardly any CPU. Silent after one look: that says nothing.
Sources: ps(1) PROCESS STATE CODES, proc(5) /proc/PID/stack and wchan.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case, took
from pktpath.doctor.facts.process import Thread
from pktpath.doctor.finding import Confidence, Finding, Severity, rule

IDLE = 5.0
"""Per cent: a thread in D that runs in between is working with a disk."""


@rule(
    Thread,
    ask="ps -L -p PID -o pid,tid,stat,pcpu,wchan:32,comm  (twice, some seconds apart)",
    well="No thread hangs in the kernel.",
    topic="processes",
)
def thread_in_uninterruptible_sleep(case: Case) -> Iterator[Finding]:
    """One finding a thread."""
    for pair in case.pairs(Thread):
        first, last = pair.first, pair.last
        looks = [fact for fact in case.all(Thread) if fact.tid == last.tid and fact.at.scope == last.at.scope]
        if not pair.twice or any(look.state != "D" for look in looks) or last.cpu >= IDLE:
            continue
        apart = f" {took(pair.seconds)} apart" if pair.seconds else ""
        yield Finding(
            severity=Severity.WARNING,
            confidence=Confidence.LIKELY,
            summary=f"Thread {last.name} ({last.tid}) is in uninterruptible sleep (D) in {len(looks)} looks{apart}: it "
            "hangs in the kernel.",
            evidence=(last.at, first.at),
            why="It waits for a device, a file system or a lock of the kernel and takes no signals, not even SIGKILL.",
            about=f"{last.name} ({last.tid})",
            proof=f"cat /proc/{last.tid}/stack shows for what it waits; the kernel's log names tasks that are blocked for 120 s.",
        )
