"""A busy poll-mode thread sends or takes one packet at a time.

The userspace datapath works on up to 32 packets at once: what a lookup, an output and a virtqueue cost once is then shared by
32. A thread that is hardly loaded has small batches because it comes round so often; that is as it should be, and waiting would
only add latency. Small batches matter when the thread is busy with them.

Speaks when a thread with more than half of its cycles spent on packets has less than 4 packets in an output batch (or in a poll
that found any), over at least 100,000 packets. Silent below that load. tx-flush-interval is in ovs-vswitchd.conf.db(5).
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.ovs import PmdThread
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.remedy import other_config
from pktpath.doctor.rules._ovs import own_switch, some, value_of
from pktpath.doctor.rules._pmd import Work, pmds

BUSY = 50.0
SMALL = 4.0
ENOUGH = 100_000


@rule(
    PmdThread,
    ask="ovs-appctl dpif-netdev/pmd-perf-show",
    well="No busy poll-mode thread works on packets one by one.",
    topic="pmd",
)
def pmd_small_batches(case: Case) -> Iterator[Finding]:
    """One finding a thread."""
    for work in pmds(case):
        if work.share is None or work.share < BUSY or work.received < ENOUGH:
            continue
        if work.per_poll is not None and work.per_poll < SMALL:
            yield _finding(case, work, f"takes {work.per_poll:.2f} packets in a poll that finds any", "busy iterations")
        elif work.per_output and work.per_output < SMALL:
            yield _finding(case, work, f"sends {work.per_output:.2f} packets in an output batch", "per output")


def _finding(case: Case, work: Work, what: str, line: str) -> Finding:
    cycles = f", {work.cycles:.0f} cycles each" if work.cycles else ""
    return Finding(
        severity=Severity.WARNING,
        confidence=Confidence.LIKELY,
        summary=f"The {work.name} {what}, though {work.share:.1f} % of its cycles go to packets ({work.received:,.0f} {work.span}"
        f"{cycles}).",
        evidence=some(work.where(line, "busy", "received", "cycles")),
        why="What an output costs once, a virtqueue kick or a doorbell above all, is paid for nearly every packet; the other "
        "side, too, then receives one packet at a time.",
        about=work.name,
        remedies=()
        if own_switch(case)
        else (
            other_config(
                "tx-flush-interval",
                "50",
                value_of(case, "tx-flush-interval"),
                effect="Packets for a port are gathered up to 50 µs (or 32 of them) before they are sent.",
                cost="Up to 50 µs more latency for each packet; useful for vhost-user ports above all.",
                verify="`avg. packets per output batch` of pmd-stats-show rises, and `avg processing cycles per packet` falls",
            ),
        ),
        proof="ovs-appctl dpif-netdev/pmd-perf-show with other_config:pmd-perf-metrics=true shows the spread of pkts/it "
        "and cycles/pkt",
    )
