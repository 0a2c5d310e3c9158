"""A CPU throws received frames away because its backlog is full.

Frames of devices without a NAPI of their own (veth, tunnels, loopback), and all that receive packet steering hands to another
CPU, wait in a queue of the CPU that takes at most `net.core.netdev_max_backlog` (1000). What comes when it is full is dropped,
before any protocol sees it, and counted in the second column of /proc/net/softnet_stat. The queue fills when this CPU gets more
than it can serve, or no time to serve it. Source: `enqueue_to_backlog`, net/core/dev.c; Documentation/networking/scaling.rst.

Speaks when the column rose between two looks: a problem from one frame a second, a warning below. With one look it notes the
total where it is more than 1 of 10,000 frames. Silent otherwise: old drops, of a start or a test, stay in the column until the
next boot. Silent without new drops.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.host import Counter, Setting
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.remedy import sysctl
from pktpath.doctor.rules._protocols import told
from pktpath.doctor.rules._softnet import softnet

_SHARE = 1e-4
_NAME = "net.core.netdev_max_backlog"


@rule(
    Counter,
    ask="cat /proc/net/softnet_stat",
    well="No CPU drops received frames for want of room in its backlog.",
    topic="softnet",
)
def softnet_drops(case: Case) -> Iterator[Finding]:
    """One finding for all CPUs together."""
    rows = [row for row in softnet(case) if row.rise("dropped")]
    rows = [row for row in rows if row.changes["dropped"].twice or row.rise("dropped") > _SHARE * row.rise("processed")]
    if not rows:
        return
    rows.sort(key=lambda row: -row.rise("dropped"))
    if now := any(row.changes["dropped"].twice for row in rows):
        rows = [row for row in rows if row.changes["dropped"].twice]
    lost = [row.changes["dropped"] for row in rows]
    often = now and (lost[0].seconds is None or sum(change.rise for change in lost) >= lost[0].seconds)
    limited = sum(row.rise("flow_limit_count") for row in rows)
    size = next((one.value for one in case.latest(Setting) if one.where == "sysctl" and one.name == _NAME), "")
    larger = str(2 * int(size)) if size.isdigit() and len(size) < 10 else "2000"
    words = "; ".join(f"{row.cpu}: {told(row.changes['dropped'])}" for row in rows[:4])
    yield Finding(
        severity=Severity.PROBLEM if often else Severity.WARNING if now else Severity.NOTE,
        confidence=Confidence.CERTAIN if now else Confidence.POSSIBLE,
        summary=f"Received frames are dropped before any protocol sees them, because the backlog of a CPU is full: {words}."
        if now
        else f"Received frames were dropped at a full backlog at some time since the start: {words}.",
        evidence=tuple(place for row in rows[:3] for place in reversed(row.changes["dropped"].places)),
        why="Frames of veth, tunnel and loopback devices, and those that RPS hands over, wait in a queue for each CPU. It was "
        "full: this CPU got more frames than it could serve. "
        + (f"{limited:,} of them fell to the flow limit, which thins out the largest flow. " if limited else "")
        + "A longer queue helps against bursts only; when the CPU is busy all the time, more CPUs must share the work.",
        about=rows[0].cpu,
        remedies=(
            sysctl(
                _NAME, larger, size, times=2, effect="The backlog of every CPU takes longer bursts.",
                cost="More memory and more delay for what waits; it does not help when the CPU is busy all the time.",
                verify="the second column of /proc/net/softnet_stat no longer rises",
            ),
        ),
        proof="" if now else "cat /proc/net/softnet_stat; sleep 10; cat /proc/net/softnet_stat",
    )  # fmt: skip
