"""A TCP connection comes about, and then hardly anything arrives.

The handshake and the first short segments get through, but full segments are not acknowledged: the sender sends the same one
again after 0.2, 0.4, 0.8 … seconds, with a congestion window of one segment. That is what it looks like when large packets vanish
on the way: an MTU that is smaller somewhere and nobody says so, segments that a device cuts wrongly or leaves without a
checksum, or a link that loses nearly all. Source: iperf3(1), columns Retr and Cwnd; RFC 5681 and 6298.

Speaks when iperf3 sent nothing in its last three intervals or more, with a window of two segments of 1500 bytes at most, after it
had sent again. Silent about pauses with a larger window: there the receiver, or a buffer that was asked for (-w), is the limit.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.traffic import Transfer
from pktpath.doctor.finding import Confidence, Finding, Severity, rule

STILL, WINDOW = 3, 3000.0


@rule(Transfer, ask="iperf3 -c HOST", well="No transfer stands still.", topic="mtu")
def transfer_stands_still(case: Case) -> Iterator[Finding]:
    """One finding a transfer."""
    for one in case.all(Transfer):
        if one.still < STILL or one.window is None or one.window > WINDOW or not one.retransmits:
            continue
        host, size = one.target or "HOST", one.window / 1024
        yield Finding(
            severity=Severity.PROBLEM,
            confidence=Confidence.LIKELY,
            summary=f"The transfer{f' to {one.target}' if one.target else ''} stands still: nothing in {one.still} intervals, "
            f"with a congestion window of {size:.3g} KBytes after {one.retransmits} segments that were sent again.",
            evidence=(one.at,),
            why="The connection came about, so short packets get through both ways; full segments, or answers to them, do not: "
            "a smaller MTU on the way, a device that cuts or sums segments wrongly, or a link that loses nearly everything.",
            about=one.target,
            proof=f"ping -c 3 -M do -s 1472 {host} against ping -c 3 {host}: the MTU. nstat -zas TcpInCsumErrors at the "
            "receiver: checksums (ethtool -K DEV tso off gso off tx off at the sender, for a moment, proves it). ip -s link and "
            "ethtool -S of both ends: loss.",
        )  # fmt: skip
