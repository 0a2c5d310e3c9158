"""TCP segments arrive with a wrong checksum and are dropped.

The kernel counts them in TcpInCsumErrors, and in TcpInErrs with other damage. A wire hardly does that: its own check (the frame's
CRC) catches nearly all. What does is a device or program that changes frames and forgets the sum, or that was to fill in
a partial checksum and did not; and memory or links that break. Sources: `tcp_v4_rcv`, net/ipv4/tcp_ipv4.c; RFC 2012.

Speaks when TcpInCsumErrors rose between two looks: a problem from 1 of 10,000 segments, below a warning, and a note for fewer
than ten, as single ones come from anywhere on the public net. With one look it notes a total above 1 of 10,000 segments. Silent
where `partial-checksums-reach-a-receiver` explains it.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.host import Counter
from pktpath.doctor.finding import Confidence, Finding, rule
from pktpath.doctor.rules._partial_checksum import victims
from pktpath.doctor.rules._protocols import damaged, evidence, per_cent, protocols, told

_SHARE = 1e-4


@rule(Counter, ask="nstat -zas twice", well="No TCP segment arrives with a wrong checksum.", topic="checksum")
def tcp_checksum_errors(case: Case) -> Iterator[Finding]:
    """One finding a namespace."""
    explained = {victim.protocols.scope for victim in victims(case)}
    for counters in protocols(case):
        wrong = counters.changes.get("TcpInCsumErrors")
        if wrong is None or not wrong.rise or counters.scope in explained:
            continue
        segments = counters.rise("TcpInSegs")
        if not wrong.twice and wrong.rise <= _SHARE * segments:
            continue
        share = f", {per_cent(wrong.rise, segments)} of all segments" if segments else ""
        yield Finding(
            severity=damaged(wrong, segments),
            confidence=Confidence.CERTAIN if wrong.twice else Confidence.POSSIBLE,
            summary=f"TCP segments with a wrong checksum are dropped{counters.where}: {told(wrong)}{share}.",
            evidence=evidence(wrong),
            why="Something on the way changes frames without their sum, or was to fill in a partial checksum and did not. "
            "Each one costs the sender a retransmission; when all are wrong, no connection comes about.",
            about=counters.scope,
            proof="tcpdump -vv -ni DEV 'tcp' at the receiver shows `cksum … (incorrect …)`: all segments of one sender, or "
            "single ones? All: look at ethtool -k of the sender (tx) and at what forwards; single ones: at cables and "
            "cards on the way (ethtool -S).",
        )
