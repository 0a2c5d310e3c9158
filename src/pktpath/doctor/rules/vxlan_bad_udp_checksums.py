"""Packets of a VXLAN tunnel arrive with a bad UDP checksum.

Linux before 5.7 spoilt the outer checksum when packets that were masqueraded with fully random ports (`--random-fully`, as
Kubernetes does) entered a VXLAN device with checksum offload on; some later distribution kernels, and packets whose outer
address is translated on the way, behave alike. The receiver drops them and logs "UDP: bad checksum": ping and direct addresses
work, service addresses do not, or only after 1, 3, 7, 15 s of TCP's retries (projectcalico/calico#3145).

Speaks when a VXLAN device has tx-checksum-ip-generic on and UdpInCsumErrors rises between two looks, or the kernel's log has
lines "UDP: bad checksum" to the tunnel's port. Such lines name the sender: the switch belongs there, which most often has the
same set-up.
Silent without such errors: the offload itself is right, and switching it off costs TSO inside the tunnel.
Source: flannel-io/flannel#1279, projectcalico/felix#2811, net/ipv4/udp.c.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.base import Place
from pktpath.doctor.facts.device import DeviceFeature
from pktpath.doctor.facts.host import Kernel, LogMessage
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.remedy import features
from pktpath.doctor.rules._devices import features_of, kinds_of, listed, places
from pktpath.doctor.rules._tunnels import udp_tunnels

_LOGGED = re.compile(r"UDP: bad checksum\. From (\S{1,60}):\d{1,5} to \S{1,60}:(\d{1,5}) ulen")
_PORTS = {"4789", "8472"}


@rule(
    DeviceFeature,
    ask="ethtool -k of the VXLAN device, nstat twice, dmesg",
    well="No tunnel's packets arrive with bad UDP checksums.",
    topic="vxlan-offload",
)
def vxlan_bad_udp_checksums(case: Case) -> Iterator[Finding]:
    """One finding for all tunnels of a scope."""
    kinds, devices = kinds_of(case), features_of(case)
    tunnels = {tunnel.name: tunnel for tunnel in udp_tunnels(case)}
    ports = {one.link.words.get("dstport", "") for one in tunnels.values() if one.link} | _PORTS
    logged = [(found, line.at) for line in case.all(LogMessage) if (found := _LOGGED.search(line.message)) and found[2] in ports]
    for scope in {scope for scope, _ in devices}:
        on = [
            feature
            for device, known in devices.items()
            if device[0] == scope and (kinds.get(device) == "vxlan" or (device not in kinds and _is_vxlan(device[1])))
            if (feature := known.get("tx-checksum-ip-generic")) and feature.active and not feature.fixed
        ]  # fmt: skip
        counted = case.changes("nstat", "UdpInCsumErrors", "Udp6InCsumErrors", scope=scope)
        rising = [change for change in counted if change.twice and change.rise]
        if not on or not (rising or logged):
            continue
        seen: list[Place] = [place for change in rising for place in change.places] + [at for _, at in logged[:2]]
        kernel = next(iter(case.latest(Kernel)), None)
        old = kernel is not None and _before_5_7(kernel.release)
        said = f"UdpInCsumErrors {rising[0]}" if rising else f"{len(logged)} lines 'UDP: bad checksum' in the log"
        senders = listed(dict.fromkeys(found[1] for found, _ in logged)) if logged else ""
        yield Finding(
            severity=Severity.PROBLEM if rising and logged else Severity.WARNING,
            confidence=Confidence.LIKELY if logged and (old or rising) else Confidence.POSSIBLE,
            summary=f"Packets arrive with bad UDP checksums ({said}{f', from {senders}' if senders else ''}) and "
            f"{listed(feature.dev for feature in on)} leaves its checksums to a device below.",
            evidence=places(seen, [feature.at for feature in on], kernel.at if kernel else None),
            why="Kernels before 5.7 spoil the checksum of masqueraded packets that enter a VXLAN device with checksum offload "
            "on, and so does address translation of the outer packet. "
            + (f"This kernel is {kernel.release}." if kernel else "Which kernel the sender runs is not known here."),
            about=on[0].dev,
            remedies=(
                features(
                    on[0].dev, {"tx-checksum-ip-generic": False}, scope=scope, hint="on the sender",
                    effect="Packets enter the tunnel with their checksums complete.",
                    cost="TSO inside the tunnel goes off with it: bulk TCP through the tunnel costs several times the CPU. "
                    "Take it back after an upgrade of the kernel.",
                    verify="UdpInCsumErrors of the receiver no longer rises",
                ),
            ),
            proof="Switch it off at one sender: do the lines from its address stop? tcpdump -vvni CARD udp port 4789 or 8472 "
            "at the receiver shows [bad udp cksum].",
        )  # fmt: skip


def _is_vxlan(name: str) -> bool:
    return bool(re.match(r"vxlan|flannel\.|cilium_vxlan|antrea-tun", name))


def _before_5_7(release: str) -> bool:
    found = re.match(r"(\d{1,3})\.(\d{1,3})", release)
    return bool(found) and (int(found[1]), int(found[2])) < (5, 7) if found else False
