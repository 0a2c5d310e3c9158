"""Packets of new connections were dropped because the table of connections was full.

The kernel logs `nf_conntrack: table full, dropping packet`, at most some lines every five seconds however many packets it drops.
Source: `__nf_conntrack_alloc`, net/netfilter/nf_conntrack_core.c; `net_ratelimit`, net/core/utils.c.

Speaks when the log says so: a warning, as such lines may be old; a problem when drop or early_drop of `conntrack -S` rose between
two looks as well.
Silent when the log tells of no full table.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.host import KernelLog, LogMessage
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._conntrack import COUNT, MAX, larger


@rule(KernelLog, ask="dmesg; conntrack -S twice", well="The log tells of no full table of connections.", topic="conntrack")
def conntrack_drops_packets(case: Case) -> Iterator[Finding]:
    """One finding."""
    logged = [one for one in case.all(LogMessage) if "conntrack" in one.message and "table full" in one.message]
    if not logged:
        return
    dropped = [change for change in case.changes("conntrack", "drop", "early_drop") if change.twice and change.rise]
    words = "".join(f"; {change.counter.name} of {change.counter.owner} rose by {change}" for change in dropped[:2])
    yield Finding(
        severity=Severity.PROBLEM if dropped else Severity.WARNING,
        confidence=Confidence.CERTAIN if dropped else Confidence.LIKELY,
        summary="Packets of new connections were dropped, because the table of tracked connections was full: the kernel's log "
        f"says so in {len(logged)} line{'s' if len(logged) > 1 else ''}{words}.",
        evidence=(*(one.at for one in logged[:4]), *(change.counter.at for change in dropped[:2])),
        why="Each connection that the firewall, NAT or ct actions saw keeps an entry until its timeout; without room for a "
        "new entry, the packet that begins a connection is dropped. The log is limited to some lines every five seconds: "
        "more were dropped.",
        about="nf_conntrack",
        remedies=(larger(case),),
        proof=f"sysctl {COUNT} {MAX} while it happens; conntrack -S twice: drop and early_drop rise",
    )
