"""The size of the table of tracked connections."""

from pktpath.doctor.case import Case
from pktpath.doctor.facts.host import Setting
from pktpath.doctor.finding import Remedy
from pktpath.doctor.remedy import sysctl

COUNT, MAX = "net.netfilter.nf_conntrack_count", "net.netfilter.nf_conntrack_max"


def limits(case: Case, name: str) -> dict[str, tuple[Setting, int]]:
    """Return one of both numbers with its place, by namespace, where it is known: each has a table, all have one maximum."""
    return {
        one.at.scope: (one, int(one.value))
        for one in case.latest(Setting)
        if one.where == "sysctl" and one.name == name and one.value.isdigit() and len(one.value) < 12
    }


def limit(case: Case, name: str) -> tuple[Setting, int] | None:
    """Return the number of the host; where only that of a namespace is known, this one."""
    found = limits(case, name)
    return found.get("") or next(iter(found.values()), None)


def larger(case: Case) -> Remedy:
    """Return the remedy that doubles the table."""
    most = limit(case, MAX)
    return sysctl(
        MAX, str(2 * most[1] if most else 262_144), str(most[1]) if most else "", times=2, effect="Room for more connections.",
        cost="About 300 bytes for each entry; raise net.netfilter.nf_conntrack_buckets with it, or lookups become slow.",
        verify=f"sysctl {COUNT} stays well below {MAX}, and dmesg says no more of a full table",
    )  # fmt: skip
