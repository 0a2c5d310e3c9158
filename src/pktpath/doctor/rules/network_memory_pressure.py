"""TCP is short of memory.

All TCP sockets together may use `net.ipv4.tcp_mem` pages: above its second number the kernel narrows windows (memory pressure),
above the third it aborts connections. Source: tcp(7); `tcp_enter_memory_pressure`, net/ipv4/tcp.c.

Speaks when TCPMemoryPressures or TCPAbortOnMemory rose between two looks, or the kernel's log says that TCP is out of memory.
Silent for old totals.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.host import Counter, LogMessage
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._protocols import evidence, protocols, told


@rule(Counter, ask="nstat -zas twice", well="TCP has memory enough.", topic="tcp")
def network_memory_pressure(case: Case) -> Iterator[Finding]:
    """One finding a namespace; one for the log."""
    logged = [one for one in case.all(LogMessage) if "TCP: out of memory" in one.message]
    rises = [
        change
        for counters in protocols(case)
        for change in counters.rose("TcpExtTCPMemoryPressures", "TcpExtTCPAbortOnMemory")
        if change.twice
    ]
    if not logged and not rises:
        return
    words = ", ".join(map(told, rises[:3])) or f"the kernel's log says so {len(logged)} times: {logged[0].message}"
    yield Finding(
        severity=Severity.PROBLEM if rises else Severity.WARNING,
        confidence=Confidence.CERTAIN if rises else Confidence.LIKELY,
        summary=f"TCP is short of memory: {words}.",
        evidence=(*evidence(*rises[:2]), *(one.at for one in logged[:3])),
        why="The sockets together use more than net.ipv4.tcp_mem allows, so the kernel narrows windows and aborts "
        "connections. Often a program keeps sockets that it does not read or close.",
        proof="cat /proc/net/sockstat: TCP mem against the three numbers of sysctl net.ipv4.tcp_mem (pages); ss -tm: who "
        "holds it",
    )
