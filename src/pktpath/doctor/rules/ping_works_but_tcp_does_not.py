"""Small ICMP gets through, and TCP does not even connect.

A ping that is answered says that addresses, routes and cables are right. When connections to the same host then time out,
something treats TCP otherwise: a checksum that is not filled in, a filter, or a lost answer on another way back. A refused
connection is no such case: there TCP works and nobody listens.

Speaks when every ping was answered and a transfer from the same place to the same host timed out. Silent where
`partial-checksums-reach-a-receiver` explains it, and where target or place differ.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.traffic import Ping, Transfer
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._partial_checksum import victims


@rule(Ping, Transfer, ask="ping HOST; iperf3 -c HOST", well="Where ping works, TCP does as well.", topic="checksum")
def ping_works_but_tcp_does_not(case: Case) -> Iterator[Finding]:
    """One finding a transfer that failed."""
    if next(victims(case), None) is not None:
        return
    for transfer in case.all(Transfer):
        if "timed out" not in transfer.error or transfer.protocol != "tcp" or not transfer.target:
            continue
        for ping in case.all(Ping):
            if (
                ping.target != transfer.target
                or ping.at.scope != transfer.at.scope
                or not 0 < ping.sent == ping.received
                or ping.error
            ):
                continue
            yield Finding(
                severity=Severity.PROBLEM,
                confidence=Confidence.CERTAIN,
                summary=f"{ping.received} of {ping.sent} pings to {ping.target} are answered, but {transfer.tool} to it says: "
                f"{transfer.error}.",
                evidence=(transfer.at, ping.at),
                why="Addresses and routes are right. What is left: TCP leaves with a checksum that nobody fills in (userspace "
                "datapaths on veth or tap), a filter drops it, or answers take another way.",
                about=ping.target,
                proof="nstat -zas TcpInSegs TcpInCsumErrors at the receiver before and after an attempt: both rise: checksums "
                "(ethtool -K DEV tx off at the sender proves it); only TcpInSegs: look at the answers; neither: a "
                "filter, or loss on the way.",
            )
            break
