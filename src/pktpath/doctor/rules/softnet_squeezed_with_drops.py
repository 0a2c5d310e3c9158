"""The receive softirq runs out of its turn, and frames suffer from it.

`net_rx_action` polls devices until it has taken `net.core.netdev_budget` frames (300) or `net.core.netdev_budget_usecs` (2 ticks,
at least 2 ms) are over. When work is left then, time_squeeze counts, and the rest waits for the next turn, often that of
ksoftirqd, which shares the CPU with all programs. Source: net/core/dev.c; Documentation/admin-guide/sysctl/net.rst.

Speaks when time_squeeze rose by 10 a second or more between two looks and at the same time the CPU dropped frames, or its
ksoftirqd used 20 % of a CPU or more: then the work that is left over does wait. Silent when squeezes stand alone, which says
only that the load was high for moments (`softnet-squeezed-alone`), and for one look.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.host import Counter, Setting
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.remedy import sysctl
from pktpath.doctor.rules._protocols import told
from pktpath.doctor.rules._softnet import busy_ksoftirqd, softnet, squeezed

_NAME = "net.core.netdev_budget_usecs"


@rule(
    Counter,
    ask="cat /proc/net/softnet_stat twice, and top -H",
    well="The receive softirq gets through its work in time.",
    topic="softnet",
)
def softnet_squeezed_with_drops(case: Case) -> Iterator[Finding]:
    """One finding a CPU that suffers."""
    threads = {thread.name.partition("/")[2]: thread for thread in busy_ksoftirqd(case)}
    before = next((one.value for one in case.latest(Setting) if one.where == "sysctl" and one.name == _NAME), "")
    larger = str(2 * int(before)) if before.isdigit() and len(before) < 10 else "8000"
    for row in softnet(case):
        thread = threads.get(row.cpu.removeprefix("cpu"))
        if not squeezed(row) or not (row.rise("dropped") or thread):
            continue
        signs = [told(row.changes["dropped"])] if row.rise("dropped") else []
        signs += [f"{thread.name} uses {thread.cpu:g} % of it"] if thread else []
        yield Finding(
            severity=Severity.PROBLEM if row.rise("dropped") else Severity.WARNING,
            confidence=Confidence.LIKELY,
            summary=f"The receive softirq of {row.cpu} does not get through its work: {told(row.changes['time_squeeze'])}, and "
            f"{' and '.join(signs)}.",
            evidence=(
                *reversed(row.changes["time_squeeze"].places), *((thread.at,) if thread else ()),
            ),
            why="A turn of the softirq ends after netdev_budget frames or netdev_budget_usecs; what is left waits, often for "
            "ksoftirqd, which competes with programs. A longer turn only helps while the CPU has time left; else the frames "
            "must be "
            "spread over more CPUs.",
            about=row.cpu,
            remedies=(
                sysctl(
                    _NAME, larger, before, effect="A turn may last longer before the rest is left to ksoftirqd.",
                    cost="Programs and other softirqs on this CPU wait longer; raise net.core.netdev_budget with it.",
                    verify="time_squeeze, column 3 of /proc/net/softnet_stat, rises more slowly, and drops end",
                ),
            ),
            proof="top -H -d 5: ksoftirqd below 20 %; two looks at /proc/net/softnet_stat without drops",
        )  # fmt: skip
