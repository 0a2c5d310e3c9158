"""Which offloads traffic in VXLAN or Geneve keeps, and which it loses.

On the wire such traffic is UDP. What a card does for TCP it does for the TCP inside only if it knows the tunnel:
- tx-udp_tnl-segmentation: it cuts the inner TCP (TSO inside the tunnel). Without, the kernel cuts before the card (GSO) and each
  packet is handed over alone.
- tx-udp_tnl-csum-segmentation: the same where the outer UDP header carries a checksum (`udpcsum`, `options:csum=true`).
- rx-udp_tunnel-port-offload: the card is told the tunnel's UDP ports, so it can check the inner checksum and spread by the inner
  addresses. Without, the kernel sums inner checksums unless the outer one was right and not zero; GRO merges all the same.
- LRO and the card's hardware GRO know no tunnels in general.

Speaks as a note: about the cards below a tunnel where there is one; else, if a table is all there is, about what VXLAN would find
there. A warning where two looks show 1 Gbit/s or more sent through the tunnel over a card that could not be switched.
Silent where nothing is lost, about virtual devices, and about what a table does not show because it was cut or searched
(`| grep`), or its kernel is too old to tell.
Source: include/linux/netdev_features.h, Documentation/networking/segmentation-offloads.rst, net/ipv4/udp_offload.c.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.base import Place
from pktpath.doctor.facts.device import DeviceFeature
from pktpath.doctor.finding import Confidence, Finding, Remedy, Severity, rule
from pktpath.doctor.remedy import features
from pktpath.doctor.rules._devices import Device, features_of, is_virtual, kinds_of, links_of, listed, places, rate_of
from pktpath.doctor.rules._tunnels import Tunnel, udp_tunnels

_TUNNEL = {
    "tx-udp_tnl-segmentation": "TCP segmentation in the card",
    "tx-udp_tnl-csum-segmentation": "segmentation in the card when outer UDP checksums are on",
    "rx-udp_tunnel-port-offload": "receive checksums and spreading by what is inside",
}
_BEHIND = {
    "tx-udp_tnl-segmentation": ("rx-all", "tx-vlan-stag-hw-insert", "busy-poll"),
    "tx-udp_tnl-csum-segmentation": ("rx-all", "tx-vlan-stag-hw-insert", "busy-poll"),
    "rx-udp_tunnel-port-offload": ("tls-hw-tx-offload", "tls-hw-rx-offload", "rx-gro-hw", "tls-hw-record", "rx-gro-list"),
}
"""What ethtool prints behind each of them. Kernels before 4.13, whose tables end earlier, told cards of ports all the same."""
WHOLE = 25
"""Features: a table with fewer was cut or searched."""
MUCH = 125e6
"""Bytes a second."""


@rule(
    DeviceFeature,
    ask="ethtool -k of the card below the tunnel, ip -d link",
    well="VXLAN and Geneve keep the offloads of the card.",
    topic="vxlan-offload",
)
def vxlan_offloads_lost(case: Case) -> Iterator[Finding]:
    """One finding for all cards that lose the same."""
    tunnels, kinds = udp_tunnels(case), kinds_of(case)
    below: dict[Device, list[Tunnel]] = {}
    for tunnel in tunnels:
        for card in tunnel.cards:
            below.setdefault(card, []).append(tunnel)
    found: dict[tuple[str, ...], list[tuple[Device, dict[str, DeviceFeature]]]] = {}
    # Without a word about tunnels, only a table that somebody pasted alone is worth reading aloud.
    alone = set() if tunnels or links_of(case) else _cards(case, kinds)
    for device, known in features_of(case).items():
        asked = device in below if tunnels else device in alone
        if asked and (lost := tuple(name for name in _TUNNEL if _lost(name, known))):
            found.setdefault(lost, []).append((device, known))
    for lost, devices in found.items():
        (device, known), names = devices[0], listed(device[1] for device, _ in devices)
        above = below.get(device, [])
        rates = [rate for tunnel in above if (rate := rate_of(case, (tunnel.scope, tunnel.name), "tx"))]
        much = any(rate.packets * rate.size >= MUCH for rate in rates) and "tx-udp_tnl-segmentation" in lost
        keeps = [text for name, text in _TUNNEL.items() if name in known and name not in lost]
        switchable = [name for name in lost if (one := known.get(name)) and not one.fixed and one.requested is None]
        yield Finding(
            severity=Severity.WARNING if much and switchable else Severity.NOTE,
            confidence=Confidence.CERTAIN if all(name in known for name in lost) else Confidence.LIKELY,
            summary=f"{_subject(above)} over {names} loses {listed(_TUNNEL[name] for name in lost)} ({_said(lost, known)})"
            + (f"; it keeps {listed(keeps)}." if keeps else "."),
            evidence=places(
                [one.at for name in _TUNNEL if (one := known.get(name))], _base(known), [tunnel.at for tunnel in above]
            ),
            why="On the wire it is UDP, so the card helps the TCP inside only where it knows the tunnel. What it does not do "
            "the kernel does: GSO cuts just before the card, and GRO merges what arrives; that costs CPU, and nothing "
            "breaks.",
            about=device[1] if len(devices) == 1 else "",
            remedies=_switch(device, switchable),
            proof=""
            if all(name in known for name in lost)
            else f"ethtool -k {device[1]} | grep -e udp_tnl -e udp_tunnel, and uname -r",
        )


def _lost(name: str, known: dict[str, DeviceFeature]) -> bool:
    """Whether a feature is off; one that is not in the table is lost only where the table shows all others of its kernel."""
    if one := known.get(name):
        return not one.active
    whole = len(known) >= WHOLE and any(one.fixed for one in known.values())
    return whole and any(later in known for later in _BEHIND[name])


def _cards(case: Case, kinds: dict[Device, str]) -> set[Device]:
    """Return the devices of a pasted table or two; none of a whole host, where a note about each helps nobody."""
    cards = {device for device, known in features_of(case).items() if not is_virtual(device, kinds, known)}
    return cards if len(cards) <= 2 else set()


def _subject(tunnels: list[Tunnel]) -> str:
    kinds = listed({"vxlan": "VXLAN", "geneve": "Geneve"}[tunnel.kind] for tunnel in tunnels)
    return f"{kinds} ({listed(tunnel.name for tunnel in tunnels)})" if tunnels else "VXLAN or Geneve"


def _said(lost: tuple[str, ...], known: dict[str, DeviceFeature]) -> str:
    off = [f"{name}: off{' [fixed]' if known[name].fixed else ''}" for name in lost if name in known]
    absent = [name for name in lost if name not in known]
    return "; ".join([*off, *([f"the table has no {' and no '.join(absent)}"] if absent else [])])


def _base(known: dict[str, DeviceFeature]) -> Place | None:
    tso = known.get("tx-tcp-segmentation")
    return tso.at if tso else None


def _switch(device: Device, names: list[str]) -> tuple[Remedy, ...]:
    if not names:
        return ()
    return (
        features(
            device[1],
            dict.fromkeys(names, True),
            scope=device[0],
            effect="The card does it for tunnelled traffic too.",
            cost="Faults of cards and firmware show in tunnels first: watch TcpInCsumErrors and UdpInCsumErrors afterwards.",
        ),
    )
