"""LRO is on at a device that hands its frames on.

LRO (large receive offload) merges TCP segments in the card or its driver and throws away what made them several: differing
headers, who was padded, where each began. A host that keeps the data for itself does not mind. One that forwards, bridges or
feeds a virtual switch cannot cut the frame again as it was: it is longer than the next link's MTU, so it is dropped, answered
with "fragmentation needed", or sent on with other boundaries. The kernel switches LRO off itself when a device joins a bridge,
Open vSwitch, or when IP forwarding is switched on (`dev_disable_lro`, net/core/dev.c); it comes back when somebody switches it
on afterwards, and a fixed LRO stays. GRO does nearly the same and can be undone.

Speaks when LRO is on and the device is a port of a bridge or virtual switch (warning, certain) or its host routes (likely).
Silent about LRO on a host that only receives.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.device import DeviceFeature
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.remedy import features
from pktpath.doctor.rules._devices import features_of, forwarders, places, routes


@rule(
    DeviceFeature,
    ask="ethtool -k DEV, ip -d link, ovs-vsctl show, sysctl net.ipv4.ip_forward",
    well="No device that forwards has LRO on.",
    topic="lro",
)
def lro_on_while_forwarding(case: Case) -> Iterator[Finding]:
    """One finding a device."""
    ports, routing = forwarders(case), routes(case)
    for (scope, dev), known in features_of(case).items():
        lro = known.get("rx-lro")
        port = ports.get((scope, dev))
        route = routing.get(scope)
        if lro is None or not lro.active or not (port or route):
            continue
        yield Finding(
            severity=Severity.WARNING,
            confidence=Confidence.CERTAIN if port else Confidence.LIKELY,
            summary=f"LRO is on at {dev}, which {port.why if port else 'may forward, as this host routes IP packets'}.",
            evidence=places(lro.at, port.at if port else route),
            why="LRO merges TCP segments for good: what leaves by another device is longer than its MTU and is dropped, refused "
            "with 'fragmentation needed' or cut in other places than it was. GRO merges too, and keeps what is needed to undo "
            "it.",
            about=dev,
            remedies=()
            if lro.fixed
            else (
                features(
                    dev,
                    {"lro": False},
                    scope=scope,
                    effect="Frames reach the bridge, switch or route as they came; GRO, if on, merges what can be cut again.",
                    cost="Some more CPU for bulk TCP that ends on this host.",
                    verify=f"ethtool -k {dev} shows large-receive-offload: off",
                ),
            ),
            proof=("The driver leaves no choice here: look at its module parameters or at the hypervisor. " if lro.fixed else "")
            + f"tcpdump -c 20 -ni {dev} 'tcp and greater 1600' shows received frames longer than the MTU.",
        )
