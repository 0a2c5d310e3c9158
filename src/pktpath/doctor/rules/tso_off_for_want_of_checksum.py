"""A device cuts no TCP itself because it may not compute checksums or gather fragments.

TSO makes many segments of one, and each needs a checksum of its own and its bytes from several places: the kernel lets a
device do it only while transmit checksums and scatter-gather are on (`netdev_fix_features`, net/core/dev.c). Somebody who
switches `tx` or `sg` off, often to be rid of bad checksums in a capture, loses TSO. With `tx` off GSO stays: large frames still
go down the stack, and the CPU cuts and sums them at its end. With `sg` off GSO goes too, and every segment goes down the stack
alone, which costs several times the CPU.

Speaks when TSO is off, requested on, and checksums or scatter-gather are off though they can be switched.
Silent when TSO is fixed off, or off because somebody asked for that; and where the checksums are off though requested on, as
at a tap device whose program cannot take them: there no switch helps.
Silent too for a veth whose other end is a port of a userspace datapath (`datapath_type=netdev`) without userspace-tso-enable:
with checksums left to the device TCP would be lost there (`partial-checksums-reach-a-receiver`).
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.device import DeviceFeature
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.remedy import features
from pktpath.doctor.rules._partial_checksum import behind_userspace

_ROOTS = {"tx": ("tx-checksum-ip-generic", "tx-checksum-ipv4", "tx-checksum-ipv6"), "sg": ("tx-scatter-gather",)}


@rule(
    DeviceFeature,
    ask="ethtool -k DEV",
    well="No device cuts TCP in software because its checksums or its scatter-gather are off.",
    topic="tso",
)
def tso_off_for_want_of_checksum(case: Case) -> Iterator[Finding]:
    """One finding a device."""
    kept = behind_userspace(case)
    devices: dict[tuple[str, str], dict[str, DeviceFeature]] = {}
    for feature in case.latest(DeviceFeature):
        devices.setdefault((feature.at.scope, feature.dev), {})[feature.name] = feature
    for (scope, dev), known in devices.items():
        wanted = [
            segments
            for name in ("tx-tcp-segmentation", "tx-tcp6-segmentation")
            if (segments := known.get(name)) and not segments.active and segments.requested
        ]
        roots = {
            switch: off[0]
            for switch, names in _ROOTS.items()
            # What is itself off against somebody's wish is a consequence too, and no switch.
            if (off := [known[name] for name in names if name in known and _switchable(known[name])])
            and not any(known[name].active for name in names if name in known)
        }
        # There somebody has filled in checksums on purpose: else TCP would be lost.
        if wanted and roots and (scope, dev) not in kept:
            words = " and ".join(f"{feature.name} is off" for feature in roots.values())
            yield Finding(
                severity=Severity.WARNING,
                confidence=Confidence.CERTAIN,
                summary=f"{dev} does no TCP segmentation offload, though it is asked to, because {words}.",
                evidence=(*(feature.at for feature in roots.values()), *(feature.at for feature in wanted)),
                why="Each segment that the device would cut needs its own checksum and its bytes gathered from several places, "
                "so the kernel turns TSO off with them. The [requested on] lines are consequences, not causes.",
                about=dev,
                remedies=(
                    features(
                        dev,
                        dict.fromkeys(roots, True),
                        scope=scope,
                        effect="TSO comes back by itself, as it is still requested.",
                        cost="Captures on this host show frames of up to 64 KiB whose checksums are not filled in yet.",
                        verify=f"ethtool -k {dev} shows tx-tcp-segmentation: on",
                    ),
                ),
            )


def _switchable(feature: DeviceFeature) -> bool:
    return not feature.active and not feature.fixed and not feature.requested
