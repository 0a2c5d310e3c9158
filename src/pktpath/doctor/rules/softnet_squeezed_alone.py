"""The receive softirq was squeezed, and nothing suffered.

time_squeeze, the third column of /proc/net/softnet_stat, counts turns of the receive softirq that ended with work left over.
The work is done a moment later. Monitoring that raises an alarm at each of these was switched off again for its false alarms
(netdata#984, #1076), and raising netdev_budget did not change what users saw.

Speaks when the column rose by 10 a second or more between two looks while the same CPU dropped nothing and its ksoftirqd was
not busy: a note. Silent for less, for one look, and of a CPU known to spend half of its time or more in softirqs: that is more
than a moment.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.host import Counter
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._cpus import cpu_shares
from pktpath.doctor.rules._protocols import told
from pktpath.doctor.rules._softnet import busy_ksoftirqd, softnet, squeezed

_BUSY = 0.5


@rule(Counter, ask="cat /proc/net/softnet_stat twice", well="The receive softirq is hardly ever cut short.", topic="softnet")
def softnet_squeezed_alone(case: Case) -> Iterator[Finding]:
    """One note for all CPUs."""
    busy = {thread.name.partition("/")[2] for thread in busy_ksoftirqd(case)}
    busy |= {str(share.cpu) for share in cpu_shares(case).values() if share.softirq >= _BUSY}
    rows = [row for row in softnet(case) if squeezed(row) and not row.rise("dropped") and row.cpu.removeprefix("cpu") not in busy]
    if rows:
        words = "; ".join(f"{row.cpu}: {told(row.changes['time_squeeze'])}" for row in rows[:4])
        yield Finding(
            severity=Severity.NOTE,
            confidence=Confidence.CERTAIN,
            summary=f"The receive softirq ended turns with work left over, and nothing was lost: {words}.",
            evidence=tuple(place for row in rows[:3] for place in reversed(row.changes["time_squeeze"].places)),
            why="Frames came faster for a moment than one turn serves. The rest was served in the next one. Without drops, busy "
            "ksoftirqd threads or delay that somebody noticed there is nothing to switch.",
        )
