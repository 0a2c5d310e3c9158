"""Packets of a megaflow go to ovs-vswitchd, all of them.

A megaflow whose action is userspace(...) sends each of its packets up: to the controller, or because the datapath cannot do what
the flow tables say (`slow_path(action)`). That is right for a few packets of control protocols (CFM, BFD, LACP, STP, LLDP) and
for samples, and slow for traffic: it is limited by the CPU of ovs-vswitchd, and by what the controller takes.

Speaks of such megaflows with at least 1000 packets between two looks, or, with one, 100,000 packets that are 1 % of all.
Silent for control protocols and for sFlow and IPFIX samples. Source: ovs-actions(7), odp-util of Open vSwitch.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.case import Case, Pair
from pktpath.doctor.facts.ovs import Megaflow, MegaflowTotals
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._ovs import happening, some

RISE = 1000
TOTAL = 100_000
_DESIGN = re.compile(r"slow_path\((?:cfm|bfd|lacp|stp|lldp)|sFlow\(|ipfix\(|flow_sample\(|sample\(", re.IGNORECASE)
_LOST = ("packet_in_overflow", "datapath_drop_userspace_action_error")


@rule(
    Megaflow,
    ask="ovs-appctl dpctl/dump-flows -m, twice",
    well="No megaflow with traffic sends its packets up to ovs-vswitchd.",
    topic="megaflow",
)
def flows_to_userspace(case: Case) -> Iterator[Finding]:
    """One finding for all such megaflows of a kind."""
    every = sum(totals.packets for totals in case.latest(MegaflowTotals))
    kinds: dict[str, list[tuple[int, Pair[Megaflow]]]] = {}
    for pair in case.pairs(Megaflow):
        flow = pair.last
        if "userspace(" not in flow.actions or _DESIGN.search(flow.actions):
            continue
        rise = flow.packets - pair.first.packets if pair.twice else flow.packets
        if rise >= RISE if pair.twice else rise >= max(TOTAL, every // 100):
            kinds.setdefault(_kind(flow.actions), []).append((rise, pair))
    lost = [one for one in happening(case, *_LOST) if one.now]
    for kind, found in kinds.items():
        found.sort(key=lambda one: -one[0])
        twice = found[0][1].twice
        many = f"{len(found)} megaflows send" if len(found) > 1 else "A megaflow sends"
        also = f"; {lost[0].event.name} counts {lost[0].rate:,.0f} a second" if lost else ""
        yield Finding(
            severity=Severity.PROBLEM if twice and lost else Severity.WARNING,
            confidence=Confidence.CERTAIN if twice else Confidence.LIKELY,
            summary=f"{many} packets up to ovs-vswitchd ({kind}): {sum(rise for rise, _ in found):,} "
            f"{'between two looks' if twice else 'since they are there'}{also}.",
            evidence=some([*(pair.last.at for _, pair in found[:3]), *(one.event.at for one in lost)]),
            why="The datapath cannot end with these packets itself: each costs an upcall, and what ovs-vswitchd or the "
            "controller does not take is dropped. "
            + (
                "The flow tables send them to the controller."
                if kind == "controller"
                else "The action is one that this datapath does not know or cannot do in one go."
            ),
            about=kind,
            proof="" if twice else "ovs-appctl dpctl/dump-flows -m again some seconds later: do `packets` rise?",
        )


def _kind(actions: str) -> str:
    if "controller(" in actions:
        return "controller"
    found = re.search(r"slow_path\(([\w,]{1,40})\)", actions)
    return f"slow path: {found[1]}" if found else "userspace"
