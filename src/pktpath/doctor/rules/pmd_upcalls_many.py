"""A poll-mode thread takes many packets to the slow path.

On the userspace datapath the PMD itself does the upcall: it runs the packet through the OpenFlow tables, which takes some tens of
microseconds where a hit takes a tenth of one. At 1 % of the packets, upcalls cost as much as all other packets together.
`miss with failed upcall` counts those that left no megaflow: because the limit of flows was reached, when the packet is still
forwarded but so is the next one, or because the upcall failed and the packet was dropped (`datapath_drop_upcall_error` of
coverage/show tells).

Speaks from 1 % of at least 10,000 packets. Silent below, and at a start, when everything is new.
Source: dpif-netdev of Open vSwitch; measured here, 4202 cycles a packet at 90 % upcalls against 268 for megaflow hits.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.ovs import PmdThread
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._ovs import happening, some
from pktpath.doctor.rules._pmd import pmds

SHARE = 0.01
ENOUGH = 10_000


@rule(
    PmdThread,
    ask="ovs-appctl dpif-netdev/pmd-stats-show, twice",
    well="Poll-mode threads answer from their caches: less than 1 % of the packets take the slow path.",
    topic="megaflow",
)
def pmd_upcalls_many(case: Case) -> Iterator[Finding]:
    """One finding a thread."""
    dropped = happening(case, "datapath_drop_upcall_error")
    full = happening(case, "upcall_flow_limit_hit")
    for work in pmds(case):
        missed = work["upcalls"] + work["failed"]
        if work.received < ENOUGH or missed < SHARE * work.received:
            continue
        now = [one for one in dropped if one.now]
        left = "" if not work["failed"] else f", {work['failed']:,.0f} of them without a new megaflow"
        yield Finding(
            severity=Severity.PROBLEM if work.twice and now else Severity.WARNING,
            confidence=Confidence.CERTAIN if work.twice or work.seconds else Confidence.LIKELY,
            summary=f"The {work.name} takes {100 * missed / work.received:.1f} % of its packets to the slow path: "
            f"{missed:,.0f} of {work.received:,.0f} {work.span}{left}.",
            evidence=some(
                [*work.where("upcalls", "failed", "received"), *(one.event.at for one in full), *(one.event.at for one in now)]
            ),
            why="Each such packet goes through the OpenFlow tables on the polling core while the others wait. "
            + (
                f"No megaflow could be added because the limit of flows was reached ({full[0].rate:,.0f}/s {full[0].span})."
                if full
                else "Megaflows that are too narrow, or that go before they are used again, are the usual reason."
            ),
            about=work.name,
            proof=""
            if work.twice or work.seconds
            else "ovs-appctl dpif-netdev/pmd-stats-clear, and pmd-stats-show 10 s later; ovs-appctl upcall/show for the limit",
        )
