"""What several rules ask about devices: their features by kernel name, how they are built on each other, what loads them.

A dozen rules ask for the same of one case after the other, so the answers about the last case are kept; nobody changes them.
Source: net/core/dev.c, net/bridge/br_if.c, net/openvswitch/vport-netdev.c for who forwards; ethtool(8) for the old names.
"""

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pktpath.doctor.case import Case
from pktpath.doctor.facts.base import Place
from pktpath.doctor.facts.device import DeviceFeature, Driver, Link
from pktpath.doctor.facts.host import Setting
from pktpath.doctor.facts.ovs import DatapathPort, OvsInterface
from pktpath.features import GROUPS

Device = tuple[str, str]
"""Scope and name."""
_KERNEL_NAMES = {group.long: group.pattern for group in GROUPS if "*" not in group.pattern}
"""ethtool prints these in place of the kernel's name."""
GROUP_NAMES = frozenset(group.long for group in GROUPS if "*" in group.pattern)
"""Lines that only sum up the indented ones below."""
VIRTUAL = frozenset(
    {
        "veth", "tun", "bridge", "openvswitch", "vxlan", "geneve", "dummy", "ifb", "vlan", "bond", "team", "macvlan", "macvtap",
        "ipvlan", "gre", "gretap", "ip6gre", "ip6gretap", "ipip", "sit", "wireguard", "vrf", "loopback", "vcan", "netkit",
        "xfrm", "erspan", "802.1Q VLAN Support", "nlmon", "gtp", "hsr",
    }
)  # fmt: skip
"""Kinds and drivers of devices behind which there is no card."""
_VIRTUAL_NAME = re.compile(
    r"lo$|veth|tap|tun\d|vnet\d|br-|br\d|virbr|docker|lxdbr|lxcbr|ovs-|vxlan|genev|flannel|cali|cilium|cni|dummy|ifb|gre|qr-|qg-|"
    r"qbr|qvb|qvo|qdhcp|sg-|ha-|fg-|fpr-|rfp-|wg\d|vif|nerdctl|podman|kube|antrea|ovn-|patch-|gw\d"
)


@dataclass(frozen=True, slots=True)
class Forwarder:
    """Why a device hands on what it receives."""

    why: str
    """`is a port of the bridge br0`."""
    at: Place


@functools.lru_cache(maxsize=1)
def features_of(case: Case) -> dict[Device, dict[str, DeviceFeature]]:
    """Return the last look at the features of each device by kernel name; groups that only sum up others are left out."""
    devices: dict[Device, dict[str, DeviceFeature]] = {}
    for feature in case.latest(DeviceFeature):
        if feature.name not in GROUP_NAMES:
            known = devices.setdefault((feature.at.scope, feature.dev), {})
            known[kernel_name(feature.name)] = feature
    return devices


def kernel_name(name: str) -> str:
    """Return the kernel's name of a feature that ethtool prints."""
    return _KERNEL_NAMES.get(name, name)


def printed(name: str) -> str:
    """Return how ethtool prints a kernel name."""
    return next((long for long, kernel in _KERNEL_NAMES.items() if kernel == name), name)


@functools.lru_cache(maxsize=1)
def links_of(case: Case) -> dict[Device, Link]:
    """Return each device with all that any look said of it: `ip addr` does not repeat what `ip -d link` said."""
    found: dict[Device, Link] = {}
    for link in case.all(Link):
        name = (link.at.scope, link.dev)
        before = found.get(name)
        found[name] = link if before is None else _merged(before, link)
    return found


def _merged(before: Link, after: Link) -> Link:
    fuller = after if len(after.words) >= len(before.words) else before
    return replace(
        after, at=fuller.at, index=after.index or before.index, mtu=after.mtu or before.mtu, qdisc=after.qdisc or before.qdisc,
        state=after.state or before.state, master=after.master or before.master, lower=after.lower or before.lower,
        kind=after.kind or before.kind, words=before.words | after.words,
    )  # fmt: skip


@functools.lru_cache(maxsize=1)
def kinds_of(case: Case) -> dict[Device, str]:
    """Return the kind of each device that anybody said: of `ip -d link`, or the driver of `ethtool -i`."""
    kinds = {(driver.at.scope, driver.dev): driver.driver for driver in case.latest(Driver)}
    return kinds | {name: link.kind for name, link in links_of(case).items() if link.kind}


def is_virtual(device: Device, kinds: Mapping[Device, str], known: Mapping[str, DeviceFeature] | None = None) -> bool:
    """Whether there is no card behind a device: by its kind or, where nobody said that, its name and the features it has.

    No card takes a frame whose fragments are frames again (NETIF_F_FRAGLIST), and all but a few virtual devices do.
    """
    if kind := kinds.get(device):
        return kind in VIRTUAL
    frames = known.get("tx-scatter-gather-fraglist") if known else None
    return bool(_VIRTUAL_NAME.match(device[1])) or (frames is not None and not frames.fixed)


@functools.lru_cache(maxsize=1)
def forwarders(case: Case) -> dict[Device, Forwarder]:
    """Return the devices that hand on what they receive, to a bridge, a virtual switch or a route, and where that is seen."""
    links = links_of(case)
    found: dict[Device, Forwarder] = {}
    for port in case.latest(DatapathPort):
        if port.kind not in {"internal", "vxlan", "geneve", "gre", "patch"}:
            found[port.at.scope, port.name] = Forwarder(f"is a port of the datapath {port.datapath}", port.at)
    for interface in case.latest(OvsInterface):
        if not interface.kind:
            where = f"the Open vSwitch bridge {interface.bridge}" if interface.bridge else "Open vSwitch"
            found.setdefault((interface.at.scope, interface.name), Forwarder(f"is a port of {where}", interface.at))
    for (scope, dev), link in links.items():
        if reason := _port_of(link, links):
            found[scope, dev] = Forwarder(reason, link.at)
    for (scope, dev), link in links.items():
        if link.kind == "vlan" and link.lower and (above := found.get((scope, dev))):
            found.setdefault((scope, link.lower), Forwarder(f"carries {dev}, which {above.why}", link.at))
    return found


def routes(case: Case) -> dict[str, Place]:
    """Return the scopes that forward IP, and where that is seen."""
    return {
        setting.at.scope: setting.at
        for setting in case.latest(Setting)
        if setting.name in {"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"} and setting.value.strip() == "1"
    }


def _port_of(link: Link, links: dict[Device, Link]) -> str:
    """Say of which bridge or switch a device is a port, itself or through its bond; empty for none."""
    seen = {link.dev}
    through = ""
    while link.master and link.master not in seen:
        master = links.get((link.at.scope, link.master))
        if link.master == "ovs-system" or "openvswitch_slave" in link.words:
            return f"is a port of the Open vSwitch datapath{through}"
        if "bridge_slave" in link.words or (master and master.kind == "bridge"):
            return f"is a port of the bridge {link.master}{through}"
        if master is None:
            return ""
        seen.add(link.master)
        through = f" through {link.master}"
        link = master
    return ""


def places(*groups: Iterable[Place] | Place | None, most: int = 6) -> tuple[Place, ...]:
    """Return a handful of places in order, each once."""
    found: dict[Place, None] = {}
    for group in groups:
        if isinstance(group, Place):
            found[group] = None
        elif group is not None:
            found |= dict.fromkeys(group)
    return tuple(found)[:most]


def listed(names: Iterable[str], most: int = 5) -> str:
    """Return names in words: `a`, `a and b`, `a, b and 7 more`."""
    known = list(dict.fromkeys(name for name in names if name))
    if len(known) > most:
        known = [*known[: most - 1], f"{len(known) - most + 1} more"]
    return known[0] if len(known) == 1 else f"{', '.join(known[:-1])} and {known[-1]}" if known else ""


@dataclass(frozen=True, slots=True)
class Rate:
    """What a device moved between two looks."""

    packets: float
    """A second."""
    size: float
    """Bytes of a packet, on average."""
    places: tuple[Place, ...]


def rate_of(case: Case, device: Device, side: str = "rx") -> Rate | None:
    """Return what a device moved between two looks at its link; None where there were no two looks, or nothing moved."""
    found = {
        change.counter.name: change
        for change in case.changes("link", f"{side}_packets", f"{side}_bytes", scope=device[0])
        if change.counter.owner == device[1] and change.twice
    }
    packets, size = found.get(f"{side}_packets"), found.get(f"{side}_bytes")
    if packets is None or size is None or packets.rate is None or not packets.rise:
        return None
    return Rate(packets.rate, size.rise / packets.rise, packets.places)
