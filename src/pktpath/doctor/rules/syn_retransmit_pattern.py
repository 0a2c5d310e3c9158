"""Connecting takes 1, 3, 7, 15, 31 or 63 seconds: the first SYNs are lost.

A SYN that gets no answer is sent again after 1 s, then after twice as long each time: connections come about 1, 3, 7, 15, 31 or
63 s late. Since Linux 6.5 the first four times do not double (`net.ipv4.tcp_syn_linear_timeouts`), which makes it 1, 2, 3, 4, 5,
7, 11, 19, 35 or 67 s. Such numbers say that packets are lost, not slow. calico#3145 is the well-known 63 s: kernels whose
VXLAN device sent wrong checksums until the SYN left the fast path. Sources: ip-sysctl.rst, RFC 6298.

Speaks when two connections, or one of 3 s and more together with TcpExtTCPSynRetrans rising, took one of these times (up to 0.3 s
or 2 % more), all of the same row: which one the kernel's release or the setting tells, where they are known. Silent for single
times of 1 or 2 s, which many things take, and when as many connections took a second or more and no such time: a slow server
takes any.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.host import Kernel, Setting
from pktpath.doctor.facts.traffic import Connection
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._protocols import evidence, protocols, told

_DOUBLING = (1, 3, 7, 15, 31, 63)
_LINEAR = (1, 2, 3, 4, 5, 7, 11, 19, 35, 67)


@rule(
    Connection,
    ask="curl -o /dev/null -w 'time_connect: %{time_connect}\\n' URL",
    well="No connection waits for a SYN sent again.",
    topic="tcp",
)
def syn_retransmit_pattern(case: Case) -> Iterator[Finding]:
    """One finding for all connections."""
    slow = [one for one in case.all(Connection) if not one.failed and one.seconds >= 1]
    rows = [[(one, time) for one in slow for time in row if _fits(one, time)] for row in _rows(case)]
    fitting = max(rows, key=len)
    if 2 * len(fitting) <= len(slow):
        return
    rises = [change for counters in protocols(case) for change in counters.rose("TcpExtTCPSynRetrans") if change.twice]
    late = [one for one, time in fitting if time >= 3]
    if not late or (len(fitting) < 2 and not rises):
        return
    words = ", ".join(f"{one.seconds:.3g} s" for one, _ in fitting[:5])
    yield Finding(
        severity=Severity.PROBLEM,
        confidence=Confidence.LIKELY if rises or len(late) > 1 else Confidence.POSSIBLE,
        summary=f"Connections take as long as SYNs that are lost and sent again: {words}"
        + (f"; {told(rises[0])}." if rises else "."),
        evidence=(*(one.at for one in late[:4]), *evidence(*rises[:1])[:2]),
        why="Without an answer a SYN is sent again after 1 s, and then later and later. Such times mean that the first SYNs, "
        "or the answers to them, were dropped on the way, and that a later one got through.",
        about=late[0].tool,
        proof="tcpdump -ni any 'tcp[tcpflags] & tcp-syn != 0' at both ends: does the first SYN arrive? If so, look at the "
        "receiver's TcpExtListenDrops, TcpInCsumErrors and IPReversePathFilter; if not, at each device and tunnel "
        "between.",
    )


def _fits(one: Connection, time: int) -> bool:
    return time <= one.seconds <= time + max(0.3, 0.02 * time)


def _rows(case: Case) -> list[tuple[int, ...]]:
    """Return the times that this kernel may take."""
    for setting in case.latest(Setting):
        if setting.name == "net.ipv4.tcp_syn_linear_timeouts" and setting.value.strip() in {"0", "4"}:
            return [_LINEAR if setting.value.strip() == "4" else _DOUBLING]
    for kernel in case.latest(Kernel):
        if found := re.match(r"(\d{1,3})\.(\d{1,3})", kernel.release):
            return [_LINEAR if (int(found[1]), int(found[2])) >= (6, 5) else _DOUBLING]
    return [_DOUBLING, _LINEAR]
