"""Tunnels that carry Ethernet or IP in packets of this host, and the devices that those leave by."""

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pktpath.doctor.case import Case
from pktpath.doctor.facts.base import Place
from pktpath.doctor.facts.device import Link
from pktpath.doctor.facts.ovs import DatapathPort, OvsInterface
from pktpath.doctor.rules._devices import Device, is_virtual, kinds_of, links_of

UDP_TUNNELS = ("vxlan", "geneve")
TUNNELS = {"vxlan": 50, "geneve": 50, "gretap": 38, "gre": 24, "ipip": 20, "sit": 20}
"""Kinds that carry frames in packets, and bytes that they add over IPv4 at least."""


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


@functools.lru_cache(maxsize=1)
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


def underlays(case: Case, scope: str, link: Link | None, addresses: Iterable[str] = ()) -> Iterator[Link]:
    """Give the devices that a tunnel's packets leave by, the nearest first: what its link names, or who has its address."""
    links, kinds = links_of(case), kinds_of(case)
    names = [link.words.get("dev", ""), link.words.get("link", "") if link.kind == "gre" else ""] if link else []
    wanted = {address for address in (*addresses, link.words.get("local", "") if link else "") if address}
    for (where, dev), other in links.items():
        if where == scope and wanted & {word.partition("/")[0] for word in other.words.get("inet", "").split()}:
            names.append(dev)
    seen: set[str] = set()
    while names:
        name = names.pop(0).partition("@")[0]
        if not name or name in seen:
            continue
        seen.add(name)
        if (lower := links.get((scope, name))) is None:
            continue
        yield lower
        if lower.kind == "vlan":
            names.append(lower.lower)
        elif lower.kind in {"bridge", "bond", "openvswitch"}:
            names += [
                dev for (where, dev), port in links.items()
                if where == scope and port.master == name and not is_virtual((where, dev), kinds)
            ]  # fmt: skip
