"""Segments that arrived whole are thrown away because their socket has no room.

While a program holds its socket, segments wait in the socket's backlog; when that is full they are dropped (TCPBacklogDrop). When
the receive buffer is full in spite of the window, out-of-order data is given up and segments are dropped (OfoPruned,
RcvPruned, TCPRcvQDrop). Source: net/ipv4/tcp_ipv4.c, tcp_input.c. PruneCalled alone only says that data was packed closer.

Speaks when, between two looks, these rose together by 10 or more and by more than 1 of 10,000 segments. Silent for one look.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.host import Counter, Setting
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.remedy import sysctl
from pktpath.doctor.rules._protocols import evidence, protocols, told

_LEAST, _SHARE = 10, 1e-4
_NAMES = ("TcpExtTCPBacklogDrop", "TcpExtRcvPruned", "TcpExtOfoPruned", "TcpExtTCPRcvQDrop")
_NAME = "net.ipv4.tcp_rmem"


@rule(Counter, ask="nstat -zas twice, under load", well="No TCP socket drops segments for want of room.", topic="tcp")
def tcp_prunes_or_backlog_drops(case: Case) -> Iterator[Finding]:
    """One finding a namespace."""
    known = {one.at.scope: one.value for one in case.latest(Setting) if one.where == "sysctl" and one.name == _NAME}
    for counters in protocols(case):
        lost = [change for change in counters.rose(*_NAMES) if change.twice]
        total = sum(change.rise for change in lost)
        if total < _LEAST or total < _SHARE * counters.rise("TcpInSegs"):
            continue
        before = known.get(counters.scope, "")
        now = [int(word) for word in before.split() if word.isdigit() and len(word) < 10]
        least, usual, most = now if len(now) == 3 else (4096, 131_072, 0)
        larger = f"{least} {usual} {max(32 << 20, 2 * most)}"
        yield Finding(
            severity=Severity.PROBLEM,
            confidence=Confidence.CERTAIN,
            summary=f"TCP{counters.where} drops segments that arrived whole, for want of room in their sockets: "
            f"{', '.join(map(told, lost))}.",
            evidence=evidence(*lost),
            why="The program reads too slowly for what arrives, or many small segments take more memory than their bytes. The "
            "sender has to send them again.",
            about=counters.scope,
            remedies=(
                sysctl(
                    _NAME, larger, before, scope=counters.scope,
                    effect=f"Receive buffers may grow to {int(larger.split()[2]) >> 20} MiB.",
                    cost="Memory for each connection; sockets whose program set SO_RCVBUF do not grow.",
                    verify=f"nstat -zas {lost[0].counter.name} no longer rises",
                ),
            ),
            proof="ss -tmin: which socket has Recv-Q near its buffer (rb), and drops (d) in skmem; pidstat -t: what its "
            "program does",
        )  # fmt: skip
