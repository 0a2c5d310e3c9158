"""CPUs spin for a lock that another one holds.

`queued_spin_lock_slowpath` is entered only when a spin lock is taken already: its share of the samples is time in which a CPU
does nothing but wait for another one. On the packet path that is often one transmit queue or qdisc that many CPUs send to, one
socket that many threads read, or conntrack's tables.

Speaks when functions that wait for locks have 10 % of a profile or of the sampled stacks; the callers are named where stacks
are known. Silent below. Virtual machines spin for locks whose holder does not run (steal), so the cause is never certain.
Sources: kernel/locking/qspinlock.c, Documentation/networking/scaling.rst (XPS).
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.perf import HotSymbol, SampledStack
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._profile import LOCK, hot

SHARE = 10.0
"""Per cent: below, the lock costs less than its removal would bring."""


@rule(
    HotSymbol | SampledStack,
    ask="perf record -a -g -- sleep 5; perf report --stdio --no-children",
    well="No CPU spins for locks to speak of.",
    topic="processes",
)
def lock_contention_hot(case: Case) -> Iterator[Finding]:
    """One finding."""
    part = hot(case, LOCK)
    if part.percent < SHARE:
        return
    callers = sorted(part.callers, key=lambda name: -part.callers[name])
    asked = f", called by {', '.join(callers[:3])}" if callers else ""
    yield Finding(
        severity=Severity.WARNING,
        confidence=Confidence.LIKELY,
        summary=f"{part.percent:.1f} % of the samples wait for a lock that another CPU holds "
        f"({', '.join(part.symbols[:3])}{asked}).",
        evidence=tuple(part.places[:6]),
        why="This function runs only when the lock is taken. On the packet path many CPUs then share one transmit queue or "
        "qdisc, one socket or one table; more queues (ethtool -L, XPS) or a socket for each thread (SO_REUSEPORT) part "
        "them.",
        about=callers[0] if callers else "",
        proof="perf lock contention -ab -- sleep 5 names the lock and who waits; in a virtual machine see steal (st) of "
        "top as well.",
    )
