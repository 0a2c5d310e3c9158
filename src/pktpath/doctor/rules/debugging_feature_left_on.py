"""A feature that is there for debugging is on.

`loopback` makes a card give back what it should send: nothing leaves. `rx-all` hands damaged frames (bad CRC, runts) to the
kernel, and so to every capture, bridge and switch. `rx-fcs` leaves the four bytes of the frame check sequence on each frame; the
kernel then takes LRO and hardware GRO away (`netdev_fix_features`, net/core/dev.c).

Speaks when one of them is on and can be switched. Silent where it is fixed on, as loopback is at lo.
Source: Documentation/networking/netdev-features.rst.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.device import DeviceFeature
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.remedy import features
from pktpath.doctor.rules._devices import features_of

_DEBUGGING = {
    "loopback": (Severity.PROBLEM, "gives back what it should send", "Nothing that this host sends reaches the wire."),
    "rx-all": (Severity.WARNING, "hands damaged frames on", ("Frames with a bad check sequence, and runts, reach the kernel, "
               "captures and switches as if they were good.")),
    "rx-fcs": (Severity.WARNING, "leaves the frame check sequence on each frame", ("Each frame is four bytes longer, and the "
               "kernel switches LRO and hardware GRO off, "
               "as a merged frame has no check sequence.")),
}  # fmt: skip


@rule(
    DeviceFeature,
    ask="ethtool -k DEV",
    well="Nothing that is meant for debugging (loopback, rx-all, rx-fcs) is on.",
    topic="features",
)
def debugging_feature_left_on(case: Case) -> Iterator[Finding]:
    """One finding a feature."""
    for (scope, dev), known in features_of(case).items():
        for name, (severity, does, why) in _DEBUGGING.items():
            feature = known.get(name)
            if feature is None or not feature.active or feature.fixed or dev == "lo":
                continue
            yield Finding(
                severity=severity,
                confidence=Confidence.CERTAIN,
                summary=f"{name} is on at {dev}: it {does}.",
                evidence=(feature.at,),
                why=f"{why} Nobody needs that but for debugging.",
                about=dev,
                remedies=(
                    features(
                        dev, {name: False}, scope=scope, effect="The device works as usual again.",
                        cost="A test or capture that wants it stops working; some cards take the link down for a moment.",
                        verify=f"ethtool -k {dev} shows {name}: off",
                    ),
                ),
            )  # fmt: skip
