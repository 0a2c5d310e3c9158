"""Softirqs spill over into ksoftirqd.

Softirqs run on the way out of an interrupt. When they are raised again and again for 2 ms or 10 rounds, the kernel leaves the
rest to the thread ksoftirqd of this CPU, which the scheduler treats as any program: frames then wait behind programs, and the
other way round. It is the sign of a CPU that gets more frames, timers or tasklets than it serves. Source: `__do_softirq`,
kernel/softirq.c.

Speaks when a ksoftirqd used half of a CPU or more in the interval that top or a live look watched; where the per cents are of the
thread's whole life (ps, and the first table of top -b) half of that, with less confidence. Where /proc/softirqs was read twice
and says that it is not NET_RX or NET_TX which rises, frames are not the cause, and the rule is silent.
Silent when none was that busy.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.process import Thread
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._softnet import busy_ksoftirqd


@rule(Thread, ask="top -H -b -n 2 -d 5", well="Softirqs do not spill over into ksoftirqd.", topic="napi")
def ksoftirqd_busy(case: Case) -> Iterator[Finding]:
    """One finding for all such threads."""
    threads = sorted(busy_ksoftirqd(case, 50.0), key=lambda thread: -thread.cpu)
    rises = [change for change in case.changes("softirq", scope="") if change.twice]
    received = sum(change.rise for change in rises if change.counter.name in ("NET_RX", "NET_TX"))
    if not threads or (rises and received * 10 < sum(change.rise for change in rises)):
        return
    words = ", ".join(f"{thread.name} {thread.cpu:g} %" for thread in threads[:4])
    yield Finding(
        severity=Severity.WARNING,
        confidence=Confidence.LIKELY if rises and threads[0].recent else Confidence.POSSIBLE,
        summary=f"Softirqs take more CPU than their turns give them and spill over into ksoftirqd: {words}.",
        evidence=tuple(thread.at for thread in threads[:4]),
        why="After 2 ms or 10 rounds the kernel leaves softirqs to this thread, which competes with programs for the CPU. "
        "Received frames are the usual cause: all from one queue, or more work for each of them than needs be (GRO off, "
        "many firewall rules, a capture that runs).",
        about=threads[0].name,
        proof="cat /proc/softirqs twice: which line rises on this CPU; perf top -C CPU: what it does",
    )
