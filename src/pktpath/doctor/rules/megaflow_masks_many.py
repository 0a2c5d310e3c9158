"""Many masks are looked through for each packet.

Megaflows with the same mask are in one hash table; a packet is looked up in one table after the other. Each lookup costs some
tens of nanoseconds, so that eight of them are a good part of what the datapath otherwise spends on a packet. Masks multiply when
OpenFlow tables match many different combinations of fields (prefixes of many lengths, security groups by port range).
A kernel with a mask cache (caches: masks-cache) remembers the mask per flow hash, and then has close to 1.

Speaks from 8 masks a packet, over at least a million packets, or from 8 subtables per megaflow hit of a poll-mode thread that
serves at least a fifth of a million packets so. Silent below. Source: net/openvswitch/flow_table.c, ovs-dpctl(8).
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case, Pair
from pktpath.doctor.facts.ovs import Datapath
from pktpath.doctor.finding import Confidence, Finding, Remedy, Severity, rule
from pktpath.doctor.rules._ovs import some
from pktpath.doctor.rules._pmd import pmds

MANY = 8.0
ENOUGH = 1_000_000
_WHY = (
    "Each mask costs one hash lookup, and a packet tries one after the other until one hits. Flow tables that match many "
    "different combinations of fields make many masks: `ovs-appctl dpctl/dump-flows -m` shows which."
)


@rule(
    Datapath,
    ask="ovs-appctl dpctl/show",
    well="Few megaflow masks are looked through for a packet.",
    topic="megaflow",
)
def megaflow_masks_many(case: Case) -> Iterator[Finding]:
    """One finding a datapath, or a thread of one."""
    for pair in case.pairs(Datapath):
        masks = _masks(pair)
        if masks is None or masks < MANY:
            continue
        last = pair.last
        total = f" of {last.masks} there are" if last.masks else ""
        yield Finding(
            severity=Severity.WARNING,
            confidence=Confidence.CERTAIN if pair.twice else Confidence.LIKELY,
            summary=f"{last.name} looks through {masks:.2f} masks{total} for each packet"
            f"{' between the two looks' if pair.twice else ' since it began to count'}.",
            evidence=some([last.places.get("masks"), last.at]),
            why=_WHY,
            about=last.name,
            remedies=(_cache(last),),
            proof="" if pair.twice else "ovs-appctl dpctl/show twice: masks hit and packets between them",
        )
    for work in pmds(case):
        if work.lookups is not None and work.lookups >= MANY and work["megaflow"] >= ENOUGH / 5:
            yield Finding(
                severity=Severity.WARNING,
                confidence=Confidence.LIKELY,
                summary=f"The {work.name} looks through {work.lookups:.2f} subtables for each of {work['megaflow']:,.0f} "
                "megaflow hits.",
                evidence=some(work.where("lookups", "megaflow")),
                why=_WHY,
                about=work.name,
                proof="ovs-appctl dpif-netdev/pmd-stats-clear, and pmd-stats-show 10 s later",
            )


def _masks(pair: Pair[Datapath]) -> float | None:
    """Return masks per packet: between two looks, or since the beginning."""
    last, before = pair.last, pair.first
    if last.mask_hit is None:
        return None
    packets, hits = last.hit + last.missed, last.mask_hit
    if pair.twice and before.mask_hit is not None and before.hit + before.missed <= packets and before.mask_hit <= hits:
        packets, hits = packets - before.hit - before.missed, hits - before.mask_hit
        return hits / packets if packets >= ENOUGH / 100 else None
    return hits / packets if packets >= ENOUGH else None


def _cache(datapath: Datapath) -> Remedy:
    command = f"ovs-dpctl cache-set-size {datapath.name} masks-cache"
    return Remedy(
        command=f"{command} 4096",
        effect="The kernel remembers for 4096 flow hashes per CPU, instead of 256, which mask hit last, and tries that first.",
        cost="8 bytes per entry and CPU, and cache misses of the processor when it is much larger than the flows need; "
        "Linux 5.10 and Open vSwitch 2.17 or later.",
        undo=f"{command} 256",
        verify="the masks per packet between two looks at ovs-appctl dpctl/show fall; `cache: hit-rate` rises",
    )
