"""LRO is off and GRO is on: as it should be.

Both merge received TCP segments. LRO does it in the card or driver and cannot be undone; GRO does it in the kernel for every
driver with NAPI, keeps what is needed to cut the frame again, and so is right for hosts that forward. A line
`large-receive-offload: off [fixed]` only says that this driver has no LRO: nothing is lost.

Speaks once for all cards where LRO is fixed off and GRO on, as a note. Silent about virtual devices.
Source: Documentation/networking/segmentation-offloads.rst, net/core/gro.c.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.device import DeviceFeature
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._devices import features_of, is_virtual, kinds_of, listed, places


@rule(
    DeviceFeature,
    ask="ethtool -k DEV",
    well="No card shows LRO off beside GRO on.",
    topic="gro",
)
def gro_does_what_lro_did(case: Case) -> Iterator[Finding]:
    """One finding for all."""
    kinds = kinds_of(case)
    found = [
        (lro, gro)
        for device, known in features_of(case).items()
        if (lro := known.get("rx-lro")) and (gro := known.get("rx-gro"))
        if not lro.active and gro.active and not is_virtual(device, kinds, known)
    ]  # fmt: skip
    if not found:
        return
    found.sort(key=lambda pair: pair[0].dev)
    fixed = " [fixed]" if all(lro.fixed for lro, _ in found) else ""
    yield Finding(
        severity=Severity.NOTE,
        confidence=Confidence.CERTAIN,
        summary=f"LRO is off{fixed} and GRO on at {listed(lro.dev for lro, _ in found)}: GRO does what LRO did, and can be "
        "undone.",
        evidence=places(*(pair_at for lro, gro in found[:3] for pair_at in (lro.at, gro.at))),
        why="The kernel merges received segments itself and can cut them again where it forwards; LRO could not."
        + (" [fixed] only says that the driver has no LRO: nothing is lost." if fixed else ""),
        about=found[0][0].dev if len(found) == 1 else "",
    )
