"""GSO is off: large frames are cut at once.

GSO (generic segmentation offload) lets TCP send up to 64 KiB as one frame through the whole stack and cuts it at the last
moment, in software, where the card cannot do it itself (TSO). Off, TCP builds frames of one segment each: routing, filters,
qdiscs and tunnels work for each of them. With TSO off too this is the most expensive way to send.

Speaks where GSO is off because somebody asked so (not `[fixed]`, not `[requested on]`): a warning where TSO is off too, else a
note.
Silent about devices that cannot do it.
Source: Documentation/networking/segmentation-offloads.rst, `sk_setup_caps` (net/core/sock.c).
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.device import DeviceFeature
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.remedy import features
from pktpath.doctor.rules._devices import features_of, places


@rule(
    DeviceFeature,
    ask="ethtool -k DEV",
    well="GSO is on wherever it can be.",
    topic="gso",
)
def gso_off(case: Case) -> Iterator[Finding]:
    """One finding a device."""
    for (scope, dev), known in features_of(case).items():
        gso, tso = known.get("tx-generic-segmentation"), known.get("tx-tcp-segmentation")
        if gso is None or gso.active or gso.fixed or gso.requested:
            continue
        alone = tso is None or tso.active
        yield Finding(
            severity=Severity.NOTE if alone else Severity.WARNING,
            confidence=Confidence.LIKELY,
            summary=f"GSO is off at {dev}{'' if alone else ', and TSO too'}: TCP hands down "
            + ("large frames only for what the device cuts itself." if alone else "one segment at a time."),
            evidence=places(gso.at, tso.at if tso else None),
            why="Each segment then goes through routing, filters and the qdisc alone, which costs several times the CPU for "
            "bulk TCP. Tunnels and bridges gain most from GSO, as no card cuts inside every tunnel.",
            about=dev,
            remedies=(
                features(
                    dev,
                    {"gso": True} if alone else {"tso": True, "gso": True},
                    scope=scope,
                    effect="TCP sends up to 64 KiB as one frame and it is cut at the end.",
                    cost="Bursts of up to 64 KiB: a shaper for a slow line (sqm, cake without split-gso) may have wanted it "
                    "off. Captures show frames longer than the MTU.",
                    verify=f"ethtool -k {dev} shows generic-segmentation-offload: on",
                ),
            ),
            proof="Was it switched off on purpose, for a shaper, a capture or a driver's fault? See /etc/udev, "
            "NetworkManager, ifcfg and tc qdisc show.",
        )
