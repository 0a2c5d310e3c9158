"""A bridge forgets addresses because its table is full.

A bridge that learns (action NORMAL) has room for mac-table-size addresses, 8192 unless configured. When it is full, each new
address pushes out another, and frames to that one are flooded to all ports; each change also makes the revalidators look through
all megaflows. More stations than that on one bridge, or somebody who makes addresses up, is behind it.

Speaks when `mac_learning_evicted` of coverage/show counted in the last minute. Silent about old totals.
Source: lib/mac-learning, other_config:mac-table-size in ovs-vswitchd.conf.db(5).
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.host import Counter
from pktpath.doctor.facts.ovs import CoverageEvent
from pktpath.doctor.finding import Confidence, Finding, Remedy, Severity, rule
from pktpath.doctor.rules._ovs import happening, some


@rule(
    CoverageEvent,
    ask="ovs-appctl coverage/show, and fdb/stats-show BRIDGE",
    well="No bridge pushes learned addresses out.",
    topic="mac-learning",
)
def mac_table_full(case: Case) -> Iterator[Finding]:
    """One finding, with the bridges that are full where they are known."""
    found = happening(case, "mac_learning_evicted")
    if not found:
        return
    tables: dict[str, dict[str, Counter]] = {}
    for one in case.latest(Counter):
        if one.group == "fdb":
            tables.setdefault(one.owner, {})[one.name] = one
    full = {
        bridge: told
        for bridge, told in tables.items()
        if {"current", "maximum"} <= told.keys() and told["current"].value >= told["maximum"].value
    }
    where = "".join(f"; {bridge} has {told['current'].value} of {told['maximum'].value}" for bridge, told in full.items())
    yield Finding(
        severity=Severity.WARNING,
        confidence=Confidence.CERTAIN if found[0].now else Confidence.LIKELY,
        summary=f"A table of learned addresses is full: {found[0].rate:,.1f} a second are pushed out {found[0].span}{where}.",
        evidence=some([found[0].event.at, *(told["current"].at for told in full.values())]),
        why="Frames to an address that was pushed out are flooded to every port, and each change makes the revalidators check "
        "all megaflows.",
        about=next(iter(full), "ovs-vswitchd"),
        remedies=tuple(_larger(bridge, told["maximum"].value) for bridge, told in full.items()),
        proof="" if found[0].now else "ovs-appctl coverage/show: does mac_learning_evicted count in the last 5 seconds?",
    )


def _larger(bridge: str, size: int) -> Remedy:
    setting = f"ovs-vsctl set bridge {bridge} other_config:mac-table-size="
    return Remedy(
        command=f"{setting}{max(8192, 2 * size)}",
        effect=f"Room for {max(8192, 2 * size):,} addresses instead of {size:,}.",
        cost="Some hundred bytes each; against addresses that somebody makes up no size helps: find the port with ovs-appctl "
        f"fdb/show {bridge}.",
        undo=f"{setting}{size}",
        verify="mac_learning_evicted of ovs-appctl coverage/show stands still",
        lasting=(("Open vSwitch", "the database keeps it over restarts"),),
    )
