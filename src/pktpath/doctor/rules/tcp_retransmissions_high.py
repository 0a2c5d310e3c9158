"""TCP sends much of its data again.

A segment is sent again when its acknowledgement does not come: it was lost, came too late, or was reordered. Losses cost more
than their share, because the sender slows down: with 1 % lost at random and 10 ms round trip, a Reno connection of 1460 byte
segments gets about 14 Mbit/s (Mathis et al. 1997: 1.22 MSS / (RTT sqrt(p))).

Speaks when, between two looks, TcpRetransSegs rose by 50 or more and by 1 % or more of TcpOutSegs (2 % and more are certain to be
felt: then it is a problem). With one look it notes 2 % or more of at least 100,000 segments. Below, the public net does that.
Silent when fewer segments were sent again: the public net does that.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.host import Counter
from pktpath.doctor.finding import Finding, Severity, rule
from pktpath.doctor.rules._protocols import evidence, per_cent, protocols, told

_LEAST, _SHARE, _FELT, _MANY = 50, 0.01, 0.02, 100_000


@rule(Counter, ask="nstat -zas twice, under load", well="TCP sends little of its data again.", topic="tcp")
def tcp_retransmissions_high(case: Case) -> Iterator[Finding]:
    """One finding a namespace."""
    for counters in protocols(case):
        again, sent = counters.changes.get("TcpRetransSegs"), counters.rise("TcpOutSegs")
        if again is None or not sent or again.rise < _LEAST:
            continue
        share = again.rise / sent
        if share < (_SHARE if again.twice else _FELT) or (not again.twice and sent < _MANY):
            continue
        spurious = counters.rise("TcpExtTCPDSACKRecv")
        needless = f" {spurious:,} of them were not needed: the first copy had arrived (DSACK)." if spurious else ""
        yield Finding(
            severity=Severity.NOTE if not again.twice else Severity.PROBLEM if share >= _FELT else Severity.WARNING,
            confidence=counters.confidence,
            summary=f"TCP{counters.where} sends {per_cent(again.rise, sent)} of its segments again: {told(again)} of {sent:,}.",
            evidence=evidence(again, *counters.rose("TcpExtTCPDSACKRecv", "TcpExtTCPTimeouts")),
            why="Segments or their acknowledgements are lost, late or reordered on the way, and the sender slows down for each."
            + needless,
            about=counters.scope,
            proof="ss -tin: which peers have retrans; then drops on the way to them: ethtool -S and ip -s link of both ends, "
            "tc -s qdisc, /proc/net/softnet_stat, ovs-appctl dpctl/show",
        )
