"""The table of connections is full, or nearly so.

Connection tracking (firewalls, NAT, Open vSwitch's ct) remembers each connection in a table of `net.netfilter.nf_conntrack_max`
entries. When it is full and no entry can be given up early, packets that begin a connection are dropped. Source:
`__nf_conntrack_alloc`, net/netfilter/nf_conntrack_core.c; Documentation/networking/nf_conntrack-sysctl.rst.

Each network namespace has a table of its own; the maximum is the same for all. The count of a full table may
stand a little below it: 262,142 of 262,144 were seen after 131,068 packets had been dropped.

Speaks when nf_conntrack_count of a namespace has reached 99.9 % of the maximum (a problem), or 90 % of it (a warning). What the
kernel's log says of it is told by `conntrack-drops-packets`.
Silent when either number is unknown, or the maximum is 0, which is no limit.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.host import Setting
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._conntrack import COUNT, MAX, larger, limit, limits

_NEAR, _FULL = 0.9, 0.999


@rule(Setting, ask=f"sysctl {COUNT} {MAX}", well="The table of tracked connections has room.", topic="conntrack")
def conntrack_table_full(case: Case) -> Iterator[Finding]:
    """One finding a namespace."""
    maxima = limits(case, MAX)
    for scope, (count, used) in limits(case, COUNT).items():
        most = maxima.get(scope) or limit(case, MAX)
        # 0 is no limit.
        if most is None or most[1] == 0 or used < _NEAR * most[1]:
            continue
        full = used >= _FULL * most[1]
        yield Finding(
            severity=Severity.PROBLEM if full else Severity.WARNING,
            confidence=Confidence.CERTAIN,
            summary=f"The table of tracked connections{f' of {scope}' if scope else ''} is {'full' if full else 'nearly full'}: "
            f"{used:,} of {most[1]:,} entries are used.",
            evidence=(count.at, most[0].at),
            why="Each connection that the firewall, NAT or ct actions saw keeps an entry until its timeout; without room for a "
            "new entry, the packet that begins a connection is dropped.",
            about=scope or "nf_conntrack",
            remedies=(larger(case),),
        )
