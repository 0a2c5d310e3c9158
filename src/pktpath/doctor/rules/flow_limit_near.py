"""The datapath may not have more megaflows.

At the limit no megaflow is added any more: each packet of a new flow takes the slow path, and every packet after it too, and
revalidators delete megaflows early. The limit is other_config:flow-limit (200,000) at most; ovs-vswitchd lowers its own below
that when looking through all megaflows takes long, from 1.3 s on, and raises it again by steps; it begins with 10,000.

Speaks at 95 % of the limit and at least 1000 megaflows, or when `upcall_flow_limit_hit` of coverage/show counted in the last
minute; a problem when it counted a thousand times a second in the last five. Silent below.
Source: ofproto-dpif-upcall of Open vSwitch, ovs-vswitchd.conf.db(5).
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.ovs import Upcalls
from pktpath.doctor.finding import Confidence, Finding, Remedy, Severity, rule
from pktpath.doctor.remedy import other_config
from pktpath.doctor.rules._ovs import happening, logged, own_switch, some, value_of

NEAR = 0.95
FEW = 1000
HARD = 1000.0
DEFAULT = 200_000


@rule(
    Upcalls,
    ask="ovs-appctl upcall/show and coverage/show",
    well="Datapaths are far from their limit of megaflows.",
    topic="megaflow",
)
def flow_limit_near(case: Case) -> Iterator[Finding]:
    """One finding a datapath."""
    hits = happening(case, "upcall_flow_limit_hit")
    for upcalls in case.latest(Upcalls):
        full = upcalls.current >= FEW and upcalls.current >= NEAR * upcalls.limit
        if not full and not hits:
            continue
        refused = f"; {hits[0].rate:,.0f} new ones a second were refused {hits[0].span}" if hits else ""
        configured = value_of(case, "flow-limit")
        most = int(configured) if configured.isdigit() and len(configured) < 10 else DEFAULT
        lowered = upcalls.limit < most
        yield Finding(
            severity=Severity.PROBLEM if hits and hits[0].now and hits[0].rate >= HARD else Severity.WARNING,
            confidence=Confidence.CERTAIN if full or (hits and hits[0].now) else Confidence.LIKELY,
            summary=f"{upcalls.datapath} has {upcalls.current:,} megaflows of {upcalls.limit:,} that it may have{refused}.",
            evidence=some([upcalls.at, *(one.event.at for one in hits), *(m.at for m in logged(case, "dynamic limit"))]),
            why="At the limit packets of new flows find no megaflow, and take the slow path one by one. "
            + (
                f"ovs-vswitchd allows itself less than flow-limit ({most:,}): it begins with 10,000, and lowers it when a look "
                "through all megaflows takes long."
                if lowered
                else "It is the limit that is configured."
            ),
            about=upcalls.datapath,
            remedies=() if lowered or own_switch(case) else (_raise(most, configured),),
            proof=""
            if full or (hits and hits[0].now)
            else "ovs-appctl coverage/show again: upcall_flow_limit_hit in the last 5 s",
        )


def _raise(most: int, configured: str) -> Remedy:
    return other_config(
        "flow-limit",
        str(max(DEFAULT, 2 * most)),
        configured,
        effect=f"Up to {max(DEFAULT, 2 * most):,} megaflows.",
        cost="About 1 KiB of memory for each that is used, and more CPU for the revalidators, which look at all of them; flow "
        "tables that make narrower megaflows than they need stay the cause.",
        verify="ovs-appctl upcall/show tells the limit; upcall_flow_limit_hit of coverage/show stands still",
    )
