"""The CPU sums up packets because no device does.

With checksum offload the device computes the checksum of what it sends and checks what it receives. Without it the kernel reads
every byte once more: `csum_partial`, `do_csum` and `skb_checksum` rise in the profile. (`csum_and_copy_*` sums while it
copies.)

Speaks when such functions have 5 % of a profile or of the sampled stacks. Where features of devices are known, those whose
checksums are off and could be on are named with the switch. Silent below.
Sources: lib/checksum.c, skb_checksum of net/core/skbuff.c, ethtool(8) -K rx and tx.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.device import DeviceFeature
from pktpath.doctor.facts.perf import HotSymbol, SampledStack
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.remedy import features
from pktpath.doctor.rules._profile import CHECKSUM, hot

SHARE = 5.0
"""Per cent. TCP's own headers and the odd packet without offload stay below one."""
_SWITCHES = {"rx-checksum": "rx", "rx-checksumming": "rx", "tx-checksum-ip-generic": "tx", "tx-checksum-ipv4": "tx"}


@rule(
    HotSymbol | SampledStack,
    ask="perf record -a -g -- sleep 5; perf report --stdio --no-children",
    well="The CPU computes no checksums to speak of.",
    topic="checksum",
)
def software_checksum_hot(case: Case) -> Iterator[Finding]:
    """One finding."""
    part = hot(case, CHECKSUM)
    if part.percent < SHARE:
        return
    off: dict[tuple[str, str], dict[str, DeviceFeature]] = {}
    for feature in case.latest(DeviceFeature):
        if feature.name in _SWITCHES and not feature.active and not feature.fixed:
            off.setdefault((feature.at.scope, feature.dev), {})[_SWITCHES[feature.name]] = feature
    devices = ", ".join(f"{' and '.join(sorted(switches))} off on {dev}" for (_, dev), switches in off.items())
    yield Finding(
        severity=Severity.WARNING,
        confidence=Confidence.LIKELY,
        summary=f"{part.percent:.1f} % of the samples compute checksums in software ({', '.join(part.symbols[:3])})"
        + (f": {devices}." if devices else "."),
        evidence=(*part.places[:4], *(feature.at for switches in off.values() for feature in switches.values()))[:6],
        why="A device with checksum offload does this without the CPU. It is done in software where the offload is off, where "
        "the device cannot do it for this kind of packet (some tunnels), or where a packet changes on its way.",
        about=", ".join(dev for _, dev in off),
        remedies=tuple(
            features(
                dev, dict.fromkeys(sorted(switches), True), scope=scope, effect="The device computes and checks checksums.",
                cost="Captures on this host show checksums that are not filled in yet. Somebody may have switched it off for "
                "a device that computes them wrongly: watch TcpInCsumErrors of the peer.",
            )
            for (scope, dev), switches in list(off.items())[:4]
        ),
        proof="ethtool -k DEV shows rx-checksumming and tx-checksumming of the devices that the traffic takes; perf report -g "
        "shows who calls the function.",
    )  # fmt: skip
