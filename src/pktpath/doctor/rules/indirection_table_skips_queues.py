"""A card's indirection table sends nothing to some of its queues.

The hash of a flow picks an entry of the table (`ethtool -x`), and that names a queue. Queues that stand in no entry get nothing
but what filters send there. Some drivers leave the table as it was when the number of queues is changed.

Speaks when the table names fewer queues than the card has: a warning where the CPUs are overloaded too (see
fewer-queues-than-cpus) or all entries are one queue of several, else a note. Some want it so: `ethtool -X DEV equal N`, queues
kept for AF_XDP, cards with more queues than RSS can name. Silent where every queue stands in the table.
Source: ethtool(8) -x and -X, Documentation/networking/scaling.rst.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.device import Indirection
from pktpath.doctor.finding import Confidence, Finding, Remedy, Severity, rule
from pktpath.doctor.remedy import inside
from pktpath.doctor.rules._devices import places
from pktpath.doctor.rules._load import overload


@rule(
    Indirection,
    ask="ethtool -x DEV",
    well="Every queue stands in its card's indirection table.",
    topic="rss",
)
def indirection_table_skips_queues(case: Case) -> Iterator[Finding]:
    """One finding a device."""
    for table in case.latest(Indirection):
        used = set(table.table)
        if table.rings < 2 or len(used) >= table.rings:
            continue
        loads = overload(case, (table.at.scope, table.dev))
        command = f"ethtool -X {table.dev} equal {table.rings}"
        yield Finding(
            severity=Severity.WARNING if loads or len(used) == 1 else Severity.NOTE,
            confidence=Confidence.LIKELY if loads else Confidence.POSSIBLE,
            summary=f"The indirection table of {table.dev} names {len(used)} of {table.rings} receive queues"
            + (f", while {loads[0].what}." if loads else "."),
            evidence=places(table.at, *(load.places for load in loads)),
            why="A queue that stands in no entry gets no flow by its hash, so its CPU takes nothing in.",
            about=table.dev,
            remedies=(
                Remedy(
                    command=inside(table.at.scope, command),
                    effect=f"Flows are spread evenly over {table.rings} queues.",
                    cost="Flows change their queue, so some segments arrive out of order for a moment; queues that were kept "
                    "free (AF_XDP, isolated CPUs) get traffic.",
                    undo=inside(table.at.scope, f"ethtool -X {table.dev} equal {len(used)}") + "  # or weights, if it was not "
                    "even",
                    verify=f"ethtool -x {table.dev} names all queues",
                    lasting=(("udev", f'ACTION=="add", SUBSYSTEM=="net", NAME=="{table.dev}", RUN+="/usr/sbin/{command}"'),),
                ),
            ),
            proof=f"ethtool -S {table.dev} | grep rx.*packets: do some queues stay at 0? Did anybody run ethtool -X, or keep "
            "queues free?",
        )
