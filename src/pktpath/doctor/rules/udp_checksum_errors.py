"""UDP datagrams arrive with a wrong checksum and are dropped.

UdpInCsumErrors counts datagrams of sockets, and of tunnels that end here (VXLAN, Geneve): those were once known for wrong outer
or inner sums with offloads on (flannel#1279, calico#3145). Source: `udp_queue_rcv_one_skb`, `__udp4_lib_rcv`, net/ipv4/udp.c.

Speaks when it rose between two looks: a problem from 1 of 10,000 datagrams, below a warning, and a note for fewer than ten. With
one look it notes a total above 1 of 1,000 datagrams. Silent where `vxlan-bad-udp-checksums` explains it.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.device import DeviceFeature
from pktpath.doctor.facts.host import Counter, LogMessage
from pktpath.doctor.finding import Confidence, Finding, rule
from pktpath.doctor.rules._protocols import damaged, evidence, per_cent, protocols, told
from pktpath.doctor.rules.vxlan_bad_udp_checksums import vxlan_bad_udp_checksums

_SHARE = 1e-3


@rule(Counter, ask="nstat -zas twice", well="No UDP datagram arrives with a wrong checksum.", topic="checksum")
def udp_checksum_errors(case: Case) -> Iterator[Finding]:
    """One finding a namespace."""
    # One trouble, one finding: of a tunnel, the rule that knows its switch tells.
    if DeviceFeature in case and next(vxlan_bad_udp_checksums(case), None) is not None:
        return
    for counters in protocols(case):
        for name, all_of_them in (("UdpInCsumErrors", "UdpInDatagrams"), ("Udp6InCsumErrors", "Udp6InDatagrams")):
            wrong = counters.changes.get(name)
            total = counters.rise(all_of_them) + (wrong.rise if wrong else 0)
            if wrong is None or not wrong.rise or (not wrong.twice and wrong.rise <= _SHARE * total):
                continue
            logged = [one for one in case.all(LogMessage) if "UDP: bad checksum" in one.message]
            yield Finding(
                severity=damaged(wrong, total),
                confidence=Confidence.CERTAIN if wrong.twice else Confidence.POSSIBLE,
                summary=f"UDP datagrams with a wrong checksum are dropped{counters.where}: {told(wrong)}, "
                f"{per_cent(wrong.rise, total)} of all.",
                evidence=(*evidence(wrong), *(one.at for one in logged[:2])),
                why="Something on the way changes datagrams without their sum, or was to fill in a partial checksum and did "
                "not. For a tunnel that ends here, each is an inner frame that is lost.",
                about=counters.scope,
                proof="dmesg names sender and port of each (UDP: bad checksum); tcpdump -vv -ni DEV udp shows `bad udp cksum`. "
                "Port 4789 or 6081: a tunnel, look at tx-checksum-ip-generic and tx-udp_tnl-csum-segmentation of its sender.",
            )
