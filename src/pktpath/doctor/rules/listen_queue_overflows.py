"""Connections are dropped because a server does not accept them in time.

Connections whose handshake is done wait in the queue of their listening socket, which takes as many as the program asked for in
listen(2), but no more than `net.core.somaxconn`. When it is full, the last ACK and new SYNs are dropped and counted in
ListenOverflows and, with other reasons, ListenDrops; clients try again after 1, 2, 4 … seconds. Source: `tcp_v4_syn_recv_sock`,
`tcp_conn_request`, net/ipv4; listen(2).

Speaks when either rose between two looks: a problem where the queue overflowed; SYNs that were dropped for other reasons are a
warning from two a second, else a note, as scans and bad packets of others do that (netdata#3234, #4281). With one look it notes
totals above 1 of 1,000 connections. Silent without new ones.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case, Change
from pktpath.doctor.facts.host import Counter, Setting
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.remedy import sysctl
from pktpath.doctor.rules._protocols import evidence, protocols, told

_SHARE, _OFTEN = 1e-3, 2.0
_NAME = "net.core.somaxconn"


@rule(Counter, ask="nstat -zas twice", well="Servers accept their connections in time.", topic="tcp")
def listen_queue_overflows(case: Case) -> Iterator[Finding]:
    """One finding a namespace."""
    known = {one.at.scope: one.value for one in case.latest(Setting) if one.where == "sysctl" and one.name == _NAME}
    for counters in protocols(case):
        before = known.get(counters.scope, "")
        lost = counters.rose("TcpExtListenOverflows", "TcpExtListenDrops")
        opened = counters.rise("TcpPassiveOpens")
        if not lost or (not lost[0].twice and max(change.rise for change in lost) <= _SHARE * opened):
            continue
        overflow = lost[0].counter.name == "TcpExtListenOverflows"
        yield Finding(
            severity=_severity(lost[0], overflow=overflow),
            confidence=counters.confidence if overflow else Confidence.POSSIBLE,
            summary=f"Connections to a server{counters.where} are dropped before it accepts them: {', '.join(map(told, lost))}; "
            f"{opened:,} were accepted into the queue.",
            evidence=evidence(*lost),
            why="The queue of a listening socket is full, because the program does not call accept in time or asked for a "
            "short queue. Clients try again after 1 s, 3 s, 7 s: users see these delays."
            if overflow
            else "SYNs were dropped for want of memory, a route or a place; the queue of accepted connections did not overflow.",
            about=counters.scope,
            remedies=(
                sysctl(
                    _NAME, "4096", before, scope=counters.scope,
                    effect="Programs may have queues of up to 4096 connections, if they ask for that.",
                    cost="A server that is slow for long answers late instead of not at all; it must be restarted to listen "
                    "anew.",
                    verify="nstat -zas TcpExtListenOverflows no longer rises",
                ),
            )
            if overflow and not (before.isdigit() and len(before) < 10 and int(before) >= 4096)
            else (),
            proof="ss -ltn: a socket in LISTEN whose Recv-Q is above its Send-Q has its queue full",
        )  # fmt: skip


def _severity(lost: Change, *, overflow: bool) -> Severity:
    if not lost.twice:
        return Severity.NOTE
    if overflow:
        return Severity.PROBLEM
    return Severity.WARNING if lost.rate is None or lost.rate >= _OFTEN else Severity.NOTE
