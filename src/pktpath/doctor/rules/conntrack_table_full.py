"""The table of connections is full, or nearly so.

Connection tracking (firewalls, NAT, Open vSwitch's ct) remembers each connection in a table of `net.netfilter.nf_conntrack_max`
entries. When it is full and no entry can be given up early, packets that begin a connection are dropped. Source:
`__nf_conntrack_alloc`, net/netfilter/nf_conntrack_core.c; Documentation/networking/nf_conntrack-sysctl.rst.

Speaks when nf_conntrack_count has reached the maximum (a problem), or 90 % of it (a warning). What the kernel's log says of it is
told by `conntrack-drops-packets`.
Silent when either number is unknown, or the maximum is 0, which is no limit.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.host import Setting
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._conntrack import COUNT, MAX, larger, limit

_NEAR = 0.9


@rule(Setting, ask=f"sysctl {COUNT} {MAX}", well="The table of tracked connections has room.", topic="conntrack")
def conntrack_table_full(case: Case) -> Iterator[Finding]:
    """One finding."""
    count, most = limit(case, COUNT), limit(case, MAX)
    # 0 is no limit.
    if count is None or most is None or most[1] == 0 or count[1] < _NEAR * most[1]:
        return
    full = count[1] >= most[1]
    yield Finding(
        severity=Severity.PROBLEM if full else Severity.WARNING,
        confidence=Confidence.CERTAIN,
        summary=f"The table of tracked connections is {'full' if full else 'nearly full'}: {count[1]:,} of {most[1]:,} "
        "entries are used.",
        evidence=(count[0].at, most[0].at),
        why="Each connection that the firewall, NAT or ct actions saw keeps an entry until its timeout; without room for a "
        "new entry, "
        "the packet that begins a connection is dropped.",
        about="nf_conntrack",
        remedies=(larger(case),),
    )
