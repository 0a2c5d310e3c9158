"""IP fragments arrive, but their datagrams are never complete.

A datagram larger than the MTU of a link is cut; if one piece is lost, all are thrown away after `net.ipv4.ipfrag_time` (30 s).
IpReasmFails counts what had to be given up, for missing pieces or for want of memory (`net.ipv4.ipfrag_high_thresh`). Source:
net/ipv4/ip_fragment.c; ip-sysctl.rst.

Speaks when, between two looks, it rose by 10 or more and by 1 % or more of the fragments that arrived (IpReasmReqds). Silent for
one look.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.host import Counter
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._protocols import evidence, protocols, told

_LEAST, _SHARE = 10, 0.01


@rule(Counter, ask="nstat -zas twice", well="IP fragments are put together again.", topic="mtu")
def ip_fragments_not_reassembled(case: Case) -> Iterator[Finding]:
    """One finding a namespace and version of IP."""
    for counters in protocols(case):
        for version in ("Ip", "Ip6"):
            lost, pieces = counters.changes.get(f"{version}ReasmFails"), counters.rise(f"{version}ReasmReqds")
            if lost is None or not lost.twice or lost.rise < _LEAST or lost.rise < _SHARE * pieces:
                continue
            late = counters.rose(f"{version}ReasmTimeout")
            yield Finding(
                severity=Severity.PROBLEM,
                confidence=Confidence.CERTAIN,
                summary=f"Fragmented datagrams are lost{counters.where}: {told(lost)} of {pieces:,} fragments.",
                evidence=evidence(lost, *late),
                why=f"Their other pieces did not come in time ({told(late[0])}): fragments are lost on the way, as firewalls "
                "and load balancers that look at ports often do."
                if late
                else "They were given up without waiting, as happens when the memory "
                "for fragments (net.ipv4.ipfrag_high_thresh) is full or pieces overlap.",
                about=counters.scope,
                proof="tcpdump -ni DEV 'ip[6:2] & 0x3fff != 0': which fragments arrive? Best send none: lower the MTU of the "
                "tunnel, or the sender's datagrams.",
            )
