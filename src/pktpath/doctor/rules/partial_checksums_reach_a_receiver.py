"""TCP is dropped because its checksum was left to a device that never fills it in: ping works, TCP does not.

A veth or tap with transmit checksums on takes frames with a partial checksum and passes them on as they are; inside the kernel
that is right, as a note goes along. A userspace datapath (`datapath_type=netdev`) reads such a frame from a packet socket, where
the note is lost unless it asks for it, and sends a wrong checksum on. The receiver counts it (TcpInCsumErrors and
TcpInErrs) and drops it: each SYN, so connections time out. ICMP is not touched, because its checksum is complete when it leaves.
Sources: CHECKSUM_PARTIAL in include/linux/skbuff.h, packet(7), Documentation/topics/userspace-tso.rst of Open vSwitch;
ovs-issues#273, mininet#653.

Speaks when TcpInCsumErrors rose, `tx-checksum-ip-generic` is on at a veth or tap of another namespace, and a userspace datapath
without userspace-tso-enable moves the frames. Likely rather than certain where there was one look. Without such a datapath or
sender, `tcp-checksum-errors` speaks.
Silent when no receiver complains: partial checksums inside one kernel are right.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.device import DeviceFeature
from pktpath.doctor.facts.host import Counter
from pktpath.doctor.facts.traffic import Ping, Transfer
from pktpath.doctor.finding import Confidence, Finding, Remedy, Severity, rule
from pktpath.doctor.remedy import features, other_config
from pktpath.doctor.rules._partial_checksum import Victim, victims
from pktpath.doctor.rules._protocols import evidence


@rule(
    Counter, DeviceFeature, ask="nstat -zas at the receiver twice, ethtool -k at the sender, ovs-vsctl show",
    well="No receiver drops TCP whose checksum a sender left to a device.", topic="checksum",
)  # fmt: skip
def partial_checksums_reach_a_receiver(case: Case) -> Iterator[Finding]:
    """One finding a receiver."""
    for victim in victims(case):
        counters = victim.protocols
        sums = counters.changes["TcpInCsumErrors"]
        verb = "rose by" if sums.twice else "is"
        errors = f" while InErrs {verb} {counters.rise('TcpInErrs'):,}" if counters.rise("TcpInErrs") else ""
        names = " and ".join(dict.fromkeys(feature.dev for feature in victim.senders))
        at = f" ({counters.scope})" if counters.scope else ""
        failed = [one for one in case.latest(Transfer) if one.error and "timed out" in one.error]
        pings = [one for one in case.latest(Ping) if one.sent and one.received == one.sent]
        yield Finding(
            severity=Severity.PROBLEM if sums.twice else Severity.WARNING,
            confidence=Confidence.CERTAIN if sums.twice else Confidence.LIKELY,
            summary=f"TcpInCsumErrors {verb} {sums.rise:,} on the receiver{at}{errors}: tx checksum offload is on at the "
            f"sending veth {names} (partial checksums leave it), and the userspace datapath does not fill them in.",
            evidence=(
                *evidence(sums)[:2], victim.senders[0].at, victim.datapath[0], *(one.at for one in failed[:1]),
                *(one.at for one in pings[:1]),
            ),
            why="The sender leaves the checksum to its device, which passes the frame on as it is; the datapath reads it from "
            "a packet socket without the note that says so, and the receiver drops the segment. ICMP is unaffected "
            "because its checksum is complete when it leaves, so ping works.",
            about=names,
            remedies=tuple(_remedies(victim)),
            proof="" if sums.twice else "nstat -zas TcpInCsumErrors at the receiver before and after one attempt to connect",
        )  # fmt: skip


def _remedies(victim: Victim) -> Iterator[Remedy]:
    every = [*victim.senders, *victim.own]
    names = " and ".join(dict.fromkeys(feature.dev for feature in every[1:]))
    for feature in every[:4]:
        yield features(
            feature.dev, {"tx": False}, scope=feature.at.scope,
            effect="The sender's kernel fills in every checksum before the frame leaves"
            + (f"; do the same at {names}, for the other direction." if feature is every[0] and names else "."),
            cost="The sender sums all it sends; TSO goes off with it, and each segment goes down the stack alone.",
            verify="nstat -zas TcpInCsumErrors at the receiver no longer rises, and iperf3 connects",
            hint=f"and {names}" if feature is every[0] and names else "",
        )  # fmt: skip
    yield other_config(
        "userspace-tso-enable", "true",
        effect="The datapath asks packet sockets for the note, keeps it, and fills checksums in where the port cannot.",
        cost="Takes effect when ovs-vswitchd starts again; all ports must bear checksum offload, and it is called experimental.",
        verify="nstat -zas TcpInCsumErrors at the receiver no longer rises, with tx on",
    )  # fmt: skip
