"""Who may send frames whose checksum is not filled in, and who then drops them.

A device with transmit checksums on lets the kernel hand it a frame with a partial checksum (CHECKSUM_PARTIAL, skbuff.h). For veth
and tap that costs nothing while the frame stays in the kernel, which carries the note along. A program that reads the
frame from a socket without asking for this note (PACKET_VNET_HDR) and sends it on elsewhere loses the note.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from pktpath.doctor.case import Case
from pktpath.doctor.facts.base import Place
from pktpath.doctor.facts.device import DeviceFeature, Link
from pktpath.doctor.facts.host import Setting
from pktpath.doctor.facts.ovs import Datapath, OvsBridge, OvsInterface
from pktpath.doctor.rules._protocols import Protocols, protocols

_THERE = "link-netns"
_OF_VETH = ("tx-checksum-ip-generic", "tx-vlan-stag-hw-insert", "rx-vlan-stag-hw-parse")
"""Features that veth has all, switchable, and no card has."""


@dataclass(frozen=True, slots=True)
class Victim:
    """A namespace that drops TCP for its checksum, and where such frames can come from."""

    protocols: Protocols
    senders: tuple[DeviceFeature, ...]
    """`tx-checksum-ip-generic: on` of the devices that may send them, in other namespaces."""
    own: tuple[DeviceFeature, ...]
    """The same of the victim's own devices, whose answers suffer in the other direction."""
    datapath: tuple[Place, ...]
    """What says that a program moves the frames."""


def victims(case: Case) -> Iterator[Victim]:
    """Give those for whom partial checksums explain it: on at a sending veth or tap, with a userspace datapath between."""
    datapath = _userspace(case)
    if not datapath:
        return
    ports = {one.name for one in case.latest(OvsInterface)}
    software: dict[tuple[str, str], DeviceFeature] = {}
    known: dict[tuple[str, str], dict[str, DeviceFeature]] = {}
    for feature in case.latest(DeviceFeature):
        known.setdefault((feature.at.scope, feature.dev), {})[feature.name] = feature
    kinds = {(link.at.scope, link.dev): link.kind for link in case.latest(Link)}
    for name, features in known.items():
        sums = features.get("tx-checksum-ip-generic")
        veth = all(one in features and features[one].active and not features[one].fixed for one in _OF_VETH)
        if sums and sums.active and name[1] not in ports and (kinds.get(name) in ("veth", "tun") or veth):
            software[name] = sums
    through = _peers(case, ports)
    if nearer := {name: sums for name, sums in software.items() if name in through}:
        software = nearer
    for one in protocols(case):
        if one.rise("TcpInCsumErrors"):
            senders = tuple(sums for (scope, _), sums in software.items() if scope != one.scope)
            if senders:
                yield Victim(one, senders, tuple(sums for (scope, _), sums in software.items() if scope == one.scope), datapath)


def behind_userspace(case: Case) -> set[tuple[str, str]]:
    """Return the veth devices, by scope and name, whose other end is a port of a userspace datapath that loses the note."""
    return _peers(case, {one.name for one in case.latest(OvsInterface)}) if _userspace(case) else set()


def _peers(case: Case, ports: Collection[str]) -> set[tuple[str, str]]:
    """Return the devices that are the other ends of the datapath's ports, as far as the numbers of veth devices tell."""
    links = case.latest(Link)
    ends = [link for link in links if link.dev in ports and link.lower.startswith("if")]
    return {(link.at.scope, link.dev) for link in links if link.dev not in ports for end in ends if _pair(link, end)}


def _pair(one: Link, other: Link) -> bool:
    """Whether two veth devices are the ends of a pair; ip says in which namespace the other end is, if that has a name."""
    numbers = one.lower == f"if{other.index}" and other.lower == f"if{one.index}"
    return numbers and all(
        name in ("", there.at.scope) for name, there in ((one.words.get(_THERE, ""), other), (other.words.get(_THERE, ""), one))
    )


def _userspace(case: Case) -> tuple[Place, ...]:
    """Return what says that a userspace datapath without TSO moves frames: with TSO it asks for the note, and keeps it."""
    for setting in case.latest(Setting):
        if setting.name == "userspace-tso-enable" and setting.value.strip('"') == "true":
            return ()
    bridges = [bridge.at for bridge in case.latest(OvsBridge) if bridge.datapath_type == "netdev"]
    return (*(one.at for one in case.latest(Datapath) if one.userspace), *bridges)
