"""The table of neighbours overflows: some hosts of the link cannot be reached.

The kernel keeps at most `net.ipv4.neigh.default.gc_thresh3` (1024) neighbours (ARP; for IPv6, NDP, net.ipv6…). Above, new ones
are refused, packets to them are dropped, and the log says `neighbor table overflow`. Large flat networks, and hosts of many
containers, which share one table, reach it. Source: `neigh_alloc`, net/core/neighbour.c; arp(7).

Speaks when the kernel's log says so; log lines may be old, hence a warning.
Silent without such lines.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.host import KernelLog, LogMessage, Setting
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.remedy import sysctl


@rule(KernelLog, ask="dmesg", well="The kernel's log tells of no overflow of the neighbour table.", topic="neighbour")
def neighbour_table_overflow(case: Case) -> Iterator[Finding]:
    """One finding."""
    logged = [one for one in case.all(LogMessage) if "table overflow" in one.message and "neighb" in one.message.lower()]
    if not logged:
        return
    family = "ipv6" if "ndisc" in logged[0].message else "ipv4"
    name = f"net.{family}.neigh.default.gc_thresh3"
    limit = next((one for one in case.latest(Setting) if one.name == name and one.value.isdigit() and len(one.value) < 10), None)
    larger = str(4 * int(limit.value)) if limit else "4096"
    yield Finding(
        severity=Severity.WARNING,
        confidence=Confidence.LIKELY,
        summary=f"The neighbour table overflowed ({len(logged)} lines of the kernel's log"
        + (f", {name} is {limit.value}" if limit else "") + "): packets to new neighbours were dropped.",
        evidence=(*(one.at for one in logged[:4]), *((limit.at,) if limit else ())),
        why="Above gc_thresh3 no neighbour is added until others are given up. All network namespaces share this limit.",
        about=family,
        remedies=(
            sysctl(
                name, larger, limit.value if limit else "", times=4,
                effect="Room for more neighbours; raise gc_thresh2 and gc_thresh1 with it.",
                cost="Some hundred bytes a neighbour; a scan of the network fills a larger table.",
                verify="ip -s neigh | wc -l stays below it, and dmesg says no more of it",
            ),
        ),
        proof=f"ip -{family[-1]} neigh show nud all | wc -l against sysctl {name}",
    )  # fmt: skip
