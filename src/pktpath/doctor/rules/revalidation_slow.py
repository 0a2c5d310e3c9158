"""A look through all megaflows takes longer than a second.

Revalidators go through all megaflows twice a second at best: count their packets, check them against the OpenFlow tables, delete
what was not used. While that takes long, changes of flow tables reach the traffic late, statistics are old, and idle megaflows
stay. From 1.3 s on ovs-vswitchd allows itself fewer megaflows; beyond 2 s it says so in its log.

Speaks when `dump duration` of upcall/show, which is that of the last round, is a second or more. Silent below; of rounds that the
log tells of, ovs-thread-blocked speaks. Source: udpif_revalidator in ofproto-dpif-upcall of Open vSwitch.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.host import Counter
from pktpath.doctor.facts.ovs import Upcalls
from pktpath.doctor.finding import Confidence, Finding, Remedy, Severity, rule
from pktpath.doctor.remedy import other_config
from pktpath.doctor.rules._ovs import logged, some, value_of

SLOW = 1000
_WHY = (
    "Revalidators check every megaflow in each round. Too many megaflows, too few threads, or threads that do not get their CPUs "
    "make rounds long; then changes of flow tables reach the traffic late, and the limit of megaflows goes down."
)


@rule(
    Upcalls,
    ask="ovs-appctl upcall/show",
    well="A look through all megaflows is done in less than a second.",
    topic="megaflow",
)
def revalidation_slow(case: Case) -> Iterator[Finding]:
    """One finding a datapath."""
    said = logged(case, "Spent an unreasonably long", "dumping flows")
    slow = [one for one in case.latest(Upcalls) if one.dump_ms is not None and one.dump_ms >= SLOW]
    for upcalls in slow:
        yield Finding(
            severity=Severity.WARNING,
            confidence=Confidence.CERTAIN,
            summary=f"A look through the {upcalls.current:,} megaflows of {upcalls.datapath} takes {upcalls.dump_ms} ms.",
            evidence=some([upcalls.places.get("dump duration"), upcalls.at, *(message.at for message in said)]),
            why=_WHY,
            about=upcalls.datapath,
            remedies=tuple(_remedies(case)),
        )


def _remedies(case: Case) -> Iterator[Remedy]:
    threads = [one.value for one in case.latest(Counter) if one.group == "memory" and one.name == "revalidators"]
    if threads and threads[-1] < 64:
        yield other_config(
            "n-revalidator-threads",
            str(2 * threads[-1]),
            value_of(case, "n-revalidator-threads"),
            effect=f"{2 * threads[-1]} threads instead of {threads[-1]} share the megaflows.",
            cost="More CPU in ovs-vswitchd; no gain where CPUs are short already.",
            verify="`dump duration` of ovs-appctl upcall/show falls",
        )
    yield other_config(
        "max-idle",
        "5000",
        value_of(case, "max-idle"),
        effect="Megaflows without a packet for 5 s go, instead of 10 s: fewer of them.",
        cost="Flows that pause for longer than 5 s take the slow path once more.",
        verify="current of ovs-appctl upcall/show, and `dump duration`, fall",
    )
