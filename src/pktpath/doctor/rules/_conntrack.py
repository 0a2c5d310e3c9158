"""The size of the table of tracked connections."""

from pktpath.doctor.case import Case
from pktpath.doctor.facts.host import Setting
from pktpath.doctor.finding import Remedy
from pktpath.doctor.remedy import sysctl

COUNT, MAX = "net.netfilter.nf_conntrack_count", "net.netfilter.nf_conntrack_max"


def limit(case: Case, name: str) -> tuple[Setting, int] | None:
    """Return one of both numbers with its place, where it is known."""
    for one in case.latest(Setting):
        if one.where == "sysctl" and one.name == name and one.value.isdigit() and len(one.value) < 12:
            return one, int(one.value)
    return None


def larger(case: Case) -> Remedy:
    """Return the remedy that doubles the table."""
    most = limit(case, MAX)
    return sysctl(
        MAX, str(2 * most[1] if most else 262_144), str(most[1]) if most else "", effect="Room for more connections.",
        cost="About 300 bytes for each entry; raise net.netfilter.nf_conntrack_buckets with it, or lookups become slow.",
        verify=f"sysctl {COUNT} stays well below {MAX}, and dmesg says no more of a full table",
    )  # fmt: skip
