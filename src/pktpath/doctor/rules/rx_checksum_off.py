"""Receive checksums are not taken from the card.

With `rx-checksumming` off the kernel sums every received byte itself, GRO must do so before it may merge, and hardware GRO and
TLS are switched off with it. Some switch it off against a card that reports wrong sums.

Speaks about devices with a card behind them where it is off and can be switched: a warning where two looks show at least 1 Gbit/s
received, else a note. Silent about virtual devices.
Source: include/linux/skbuff.h (CHECKSUM_UNNECESSARY), `netdev_fix_features` (net/core/dev.c).
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.device import DeviceFeature
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.remedy import features
from pktpath.doctor.rules._devices import features_of, is_virtual, kinds_of, places, rate_of

MUCH = 125e6
"""Bytes a second: at some 10 GB/s of summing, that is more than one per cent of a core."""


@rule(
    DeviceFeature,
    ask="ethtool -k DEV",
    well="Every card that can checks received checksums.",
    topic="checksum",
)
def rx_checksum_off(case: Case) -> Iterator[Finding]:
    """One finding a device."""
    kinds = kinds_of(case)
    for device, known in features_of(case).items():
        sums = known.get("rx-checksum")
        if sums is None or sums.active or sums.fixed or sums.requested or is_virtual(device, kinds, known):
            continue
        scope, dev = device
        rate = rate_of(case, device)
        bulk = rate is not None and rate.packets * rate.size >= MUCH
        context = f", which receives {rate.packets * rate.size * 8 / 1e9:.1f} Gbit/s" if bulk and rate else ""
        yield Finding(
            severity=Severity.WARNING if bulk else Severity.NOTE,
            confidence=Confidence.CERTAIN,
            summary=f"rx-checksumming is off at {dev}{context}: the kernel sums every received byte itself.",
            evidence=places(sums.at, rate.places if bulk and rate else None),
            why="The card could say that a checksum is right. Without that, GRO must sum before it merges, and hardware GRO is "
            "off too.",
            about=dev,
            remedies=(
                features(
                    dev, {"rx": True}, scope=scope, effect="The kernel believes the card's checksums.",
                    cost="None, unless the card reports wrong ones: then TcpInCsumErrors or broken data say so.",
                    verify=f"ethtool -k {dev} shows rx-checksumming: on",
                ),
            ),
        )  # fmt: skip
