"""A datapath answers nearly all packets itself.

`hit` counts packets for which the datapath had a megaflow, `missed` those that went up to ovs-vswitchd, `lost` those that it
could not take up. `hit/pkt` is how many masks, which are kinds of megaflows, were looked through for a packet on average: 1 is
the least, and each costs one hash lookup. Totals since the datapath was made: what happens now, two looks tell.

Speaks, as a note, when at least 80 % of at least 1000 packets hit, and fewer than 1 in 1000 of those that missed were lost.
Silent otherwise, and where packets look through many masks; other rules speak then.
Source: ovs-dpctl(8).
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.ovs import Datapath
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._ovs import some
from pktpath.doctor.rules.megaflow_masks_many import MANY

ENOUGH = 1000
GOOD, FEW = 0.8, 1e-3


@rule(
    Datapath,
    ask="ovs-appctl dpctl/show, twice",
    well="Nothing to be said of how the datapaths answer.",
    topic="megaflow",
)
def datapath_cache_well(case: Case) -> Iterator[Finding]:
    """One note a datapath."""
    for datapath in case.latest(Datapath):
        packets = datapath.hit + datapath.missed
        if packets < ENOUGH or datapath.hit < GOOD * packets or datapath.lost > FEW * datapath.missed:
            continue
        if (datapath.hit_per_packet or 0.0) >= MANY:
            continue
        masks = f", {datapath.hit_per_packet:.2f} masks a packet" if datapath.hit_per_packet is not None else ""
        yield Finding(
            severity=Severity.NOTE,
            confidence=Confidence.CERTAIN,
            summary=f"{datapath.name} answers from its megaflows: hit {datapath.hit}, missed {datapath.missed}, "
            f"lost {datapath.lost}: {100 * datapath.hit / packets:.1f} % hits{masks}.",
            evidence=some([datapath.at, datapath.places.get("masks")]),
            why=("No packet was lost" if not datapath.lost else f"Only {datapath.lost:,} packets were lost")
            + " on the way to ovs-vswitchd, and few megaflows were missing: nothing to switch here. "
            "These are totals since the datapath was made.",
            about=datapath.name,
        )
