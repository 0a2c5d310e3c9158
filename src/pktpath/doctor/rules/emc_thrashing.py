"""The exact-match cache misses more than it hits.

The userspace datapath looks into a small cache of whole headers (EMC, 8192 entries a thread) before the megaflows. With many more
flows than entries most lookups miss: they cost, each entry that is inserted pushes out one that was needed, and the processor's
cache is filled with what is not used. Then megaflows alone are faster, and the signature-match cache (SMC) may be.

Speaks when less than half of the packets that were looked up hit it, of at least a million, and it hits at all: a warning when
the thread spends more than half of its cycles on packets, else a note. Silent when it is off, or few packets came.
Measured with Open vSwitch 3.1 and 24,000 flows: 34 % EMC hits, 461 cycles a packet; without EMC 268.
Source: Documentation/topics/dpdk/bridge.rst of Open vSwitch.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.ovs import PmdThread
from pktpath.doctor.finding import Confidence, Finding, Remedy, Severity, rule
from pktpath.doctor.remedy import other_config
from pktpath.doctor.rules._ovs import in_file, own_switch, some, value_of
from pktpath.doctor.rules._pmd import pmds

ENOUGH = 1_000_000
BUSY = 50.0


@rule(
    PmdThread,
    ask="ovs-appctl dpif-netdev/pmd-stats-show",
    well="The exact-match cache hits, or is not used.",
    topic="emc",
)
def emc_thrashing(case: Case) -> Iterator[Finding]:
    """One finding a thread."""
    for work in pmds(case):
        looked = work["emc"] + work["smc"] + work["megaflow"]
        if looked < ENOUGH or not 0 < work["emc"] < looked / 2 or value_of(case, "emc-insert-inv-prob") == "0":
            continue
        cycles = f", {work.cycles:.0f} cycles a packet" if work.cycles else ""
        yield Finding(
            severity=Severity.WARNING if (work.share or 0.0) >= BUSY else Severity.NOTE,
            confidence=Confidence.LIKELY,
            summary=f"The exact-match cache of the {work.name} serves {100 * work['emc'] / looked:.1f} % of {looked:,.0f} "
            f"lookups, megaflows the others{cycles}.",
            evidence=some(work.where("emc", "megaflow", "cycles")),
            why="There are more flows than the 8192 entries of the cache: most lookups in it are for nothing, and new entries "
            "push out those that would have hit.",
            about=work.name,
            remedies=tuple(_remedies(case)),
            proof="ovs-appctl dpif-netdev/pmd-stats-clear, pmd-stats-show 10 s later, with the cache on and off",
        )


def _remedies(case: Case) -> Iterator[Remedy]:
    if own_switch(case):
        yield in_file(
            "emc",
            "false",
            "true",
            effect="Frames go to the megaflows at once.",
            cost="Slower when few flows with many masks carry the traffic.",
            verify="`avg processing cycles per packet` of pmd-stats-show falls under the same load",
        )
        return
    yield other_config(
        "emc-insert-inv-prob",
        "0",
        value_of(case, "emc-insert-inv-prob"),
        effect="Nothing enters the exact-match cache any more; packets go to the megaflows at once.",
        cost="Slower when few flows with many masks carry the traffic: compare `avg processing cycles per packet` before and "
        "after, under the same load.",
        verify="`emc hits` of pmd-stats-show stands still, and `avg processing cycles per packet` falls",
    )
    yield other_config(
        "smc-enable",
        "true",
        value_of(case, "smc-enable"),
        effect="A cache of signatures with a million entries stands before the megaflows.",
        cost="4 MB of memory a thread, which compete for the processor's cache; no gain with few masks.",
        verify="`smc hits` of pmd-stats-show rises, and `avg processing cycles per packet` falls",
    )
