"""GRO is off at a card.

GRO (generic receive offload) merges the TCP segments of one NAPI poll into few large frames before they go up the stack, so that
routing, filtering, bridging and sockets work once for up to 64 KiB. It can be undone exactly, so it is right for forwarders too.
Off, each frame of 1500 bytes pays the whole price.

Speaks about devices with a card behind them where GRO is off and can be switched: a warning where the device forwards into a
bridge or virtual switch, or where two looks show at least 20,000 frames a second of 1000 bytes and more; else a note.
Silent about veth, tap and other virtual devices: at a veth GRO is off unless somebody wants NAPI there.
Source: net/core/gro.c, Documentation/networking/segmentation-offloads.rst; drivers/net/veth.c.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.device import DeviceFeature
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.remedy import features
from pktpath.doctor.rules._devices import features_of, forwarders, is_virtual, kinds_of, places, rate_of

BULK_RATE, BULK_SIZE = 20_000, 1000


@rule(
    DeviceFeature,
    ask="ethtool -k DEV, ip -s -d link twice",
    well="GRO is on at every card.",
    topic="gro",
)
def gro_off(case: Case) -> Iterator[Finding]:
    """One finding a device."""
    kinds, ports = kinds_of(case), forwarders(case)
    for device, known in features_of(case).items():
        gro = known.get("rx-gro")
        if gro is None or gro.active or gro.fixed or gro.requested or is_virtual(device, kinds, known):
            continue
        scope, dev = device
        port, rate = ports.get(device), rate_of(case, device)
        bulk = rate is not None and rate.packets >= BULK_RATE and rate.size >= BULK_SIZE
        context = f", which receives {rate.packets:,.0f} frames/s of {rate.size:.0f} bytes" if bulk and rate else ""
        context = context or (f", which {port.why}" if port else "")
        yield Finding(
            severity=Severity.WARNING if bulk or port else Severity.NOTE,
            confidence=Confidence.CERTAIN if bulk else Confidence.LIKELY if port else Confidence.POSSIBLE,
            summary=f"GRO is off at {dev}{context}.",
            evidence=places(gro.at, rate.places if bulk and rate else None, port.at if port else None),
            why="Without GRO every received TCP segment goes through the stack, the filters and the bridge or switch alone; "
            "with it, up to some forty of 1500 bytes go as one.",
            about=dev,
            remedies=(
                features(
                    dev, {"gro": True}, scope=scope,
                    effect="Received TCP segments are merged before they go up; forwarders send them as they came (GSO).",
                    cost="A few microseconds for a frame that waits for the end of its poll; captures show merged frames, and "
                    "a shaper counts in larger pieces.",
                    verify=f"ethtool -k {dev} shows generic-receive-offload: on",
                ),
            ),
            proof="" if bulk else f"ip -s link show {dev} twice: is it bulk (frames of 1000 bytes and more, many a second)? "
            "And was it switched off on purpose, for a shaper or a capture?",
        )  # fmt: skip
