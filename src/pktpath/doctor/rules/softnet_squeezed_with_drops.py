"""The receive softirq runs out of its turn, and frames suffer from it.

`net_rx_action` polls devices until it has taken `net.core.netdev_budget` frames (300) or `net.core.netdev_budget_usecs` (2 ticks,
at least 2 ms) are over. When work is left then, time_squeeze counts, and the rest waits for the next turn, often that of
ksoftirqd, which shares the CPU with all programs. A device gives at most 64 frames a turn: a single one seldom uses up 300, so
that drops at its full backlog come without squeezes (`softnet-drops`). Source: net/core/dev.c;
Documentation/admin-guide/sysctl/net.rst.

Speaks when time_squeeze rose by 10 a second or more between two looks and at the same time the CPU dropped frames, or its
ksoftirqd used 20 % of a CPU or more: then the work that is left over does wait. Silent when squeezes stand alone, which says
only that the load was high for moments (`softnet-squeezed-alone`), and for one look.

Where fewer frames than netdev_budget came for each squeeze, it was the time that ran out, and netdev_budget_usecs is the switch;
else it is the number.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.host import Counter, Setting
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.remedy import sysctl
from pktpath.doctor.rules._protocols import told
from pktpath.doctor.rules._softnet import busy_ksoftirqd, softnet, squeezed

_FRAMES, _TIME = "net.core.netdev_budget", "net.core.netdev_budget_usecs"
_DEFAULTS = {_FRAMES: 300, _TIME: 2000}
_UNKNOWN = {_FRAMES: 600, _TIME: 20_000}
"""What to try where the present value is not known: above what any kernel begins with (2 ticks of 100 Hz)."""


@rule(
    Counter,
    ask="cat /proc/net/softnet_stat twice, and top -H",
    well="The receive softirq gets through its work in time.",
    topic="softnet",
)
def softnet_squeezed_with_drops(case: Case) -> Iterator[Finding]:
    """One finding a CPU that suffers."""
    threads = {thread.name.partition("/")[2]: thread for thread in busy_ksoftirqd(case)}
    known = {one.name: one.value for one in case.latest(Setting) if one.where == "sysctl" and one.name in _DEFAULTS}
    known = {name: value for name, value in known.items() if value.isdigit() and len(value) < 10}
    for row in softnet(case):
        thread = threads.get(row.cpu.removeprefix("cpu"))
        if not squeezed(row) or not (row.rise("dropped") or thread):
            continue
        budget = int(known.get(_FRAMES, _DEFAULTS[_FRAMES]))
        name, other = (_TIME, _FRAMES) if row.rise("processed") < budget * row.rise("time_squeeze") else (_FRAMES, _TIME)
        larger = max(2 * int(known[name]), _DEFAULTS[name]) if name in known else _UNKNOWN[name]
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
            "ksoftirqd, which competes with programs. A longer turn only helps while the CPU has time left; else the "
            "frames must be spread over more CPUs.",
            about=row.cpu,
            remedies=(
                sysctl(
                    name, str(larger), known.get(name, ""),
                    effect="A turn may last longer before the rest is left to ksoftirqd.",
                    cost=f"Programs and other softirqs on this CPU wait longer; raise {other} too when time_squeeze still rises.",
                    verify="time_squeeze, column 3 of /proc/net/softnet_stat, rises more slowly, and drops end",
                ),
            ),
            proof="top -H -d 5: ksoftirqd below 20 %; two looks at /proc/net/softnet_stat without drops",
        )  # fmt: skip
