"""Tunnels that carry Ethernet or IP in packets of this host, and the devices that those leave by."""

from collections.abc import Iterator
from dataclasses import dataclass

from pktpath.doctor.case import Case
from pktpath.doctor.facts.base import Place
from pktpath.doctor.facts.device import Link
from pktpath.doctor.facts.ovs import DatapathPort, OvsInterface
from pktpath.doctor.rules._devices import Device, is_virtual, kinds_of, links_of, underlays

UDP_TUNNELS = ("vxlan", "geneve")


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A tunnel in UDP."""

    scope: str
    name: str
    kind: str
    at: Place
    link: Link | None
    cards: tuple[Device, ...]
    """The devices without anything below them that its packets leave by, as far as the facts say."""


def udp_tunnels(case: Case) -> list[Tunnel]:
    """Return the VXLAN and Geneve tunnels that anything speaks of, one for each device or interface."""
    found: dict[tuple[str, str], Tunnel] = {}
    interfaces = [one for one in case.latest(OvsInterface) if one.kind in UDP_TUNNELS]
    local = {one.options["local_ip"] for one in interfaces if one.options.get("local_ip", "flow") != "flow"}
    for (scope, dev), link in links_of(case).items():
        if link.kind in UDP_TUNNELS:
            addresses = local if "external" in link.words else ()
            found[scope, dev] = Tunnel(scope, dev, link.kind, link.at, link, tuple(_cards(case, scope, link, addresses)))
    for port in case.latest(DatapathPort):
        if port.kind in UDP_TUNNELS and (port.at.scope, port.name) not in found:
            cards = tuple(_cards(case, port.at.scope, None, local))
            found[port.at.scope, port.name] = Tunnel(port.at.scope, port.name, port.kind, port.at, None, cards)
    if not found:
        for one in interfaces:
            cards = tuple(_cards(case, one.at.scope, None, local))
            found[one.at.scope, one.name] = Tunnel(one.at.scope, one.name, one.kind, one.at, None, cards)
    return list(found.values())


def _cards(case: Case, scope: str, link: Link | None, addresses: object) -> Iterator[Device]:
    kinds = kinds_of(case)
    names = addresses if isinstance(addresses, set) else set()
    for lower in underlays(case, scope, link, names):
        if not is_virtual((scope, lower.dev), kinds):
            yield scope, lower.dev
