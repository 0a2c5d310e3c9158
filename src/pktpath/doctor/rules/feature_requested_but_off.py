"""A feature is not as somebody asked for it.

`off [requested on]` in `ethtool -k` says that the wish is stored, and something stands in its way: another feature that it needs
(the kernel's own rules), the device below (a VLAN, bond or bridge can do no more than its ports), the program behind a tap device
(it must say that it can take such frames, TUNSETOFFLOAD), or the driver.

Speaks, as a note, about checksum, segmentation and merging features, once for all devices of the same reason; it is a warning
where generic segmentation is off. Silent about TSO where tso-off-for-want-of-checksum speaks, about a bridge that does what its
ports do, and about features that hardly anybody needs.
Source: `netdev_fix_features` and `netdev_increment_features` (net/core/dev.c), drivers/net/tun.c, ethtool(8).
"""

import re
from collections.abc import Iterator, Mapping

from pktpath.doctor.case import Case
from pktpath.doctor.facts.device import DeviceFeature, Link
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._dependencies import feature_set, reason, spoken, wanted
from pktpath.doctor.rules._devices import Device, features_of, kinds_of, links_of, listed, places, printed
from pktpath.doctor.rules.tso_off_for_want_of_checksum import tso_off_for_want_of_checksum
from pktpath.features import Rule

_MATTERS = re.compile(
    r"tx-(checksum-(ip-generic|ipv[46])|scatter-gather|tcp6?-segmentation|generic-segmentation|udp-segmentation|"
    r"udp_tnl-(csum-)?segmentation)$|rx-(checksum|gro|gro-hw|lro|vlan-hw-parse)$"
)


@rule(
    DeviceFeature,
    ask="ethtool -k DEV",
    well="Every feature that matters is as it was asked for.",
    topic="features",
)
def feature_requested_but_off(case: Case) -> Iterator[Finding]:
    """One finding a reason."""
    explained = {(finding.evidence[0].scope, finding.about) for finding in tso_off_for_want_of_checksum(case)}
    links, kinds = links_of(case), kinds_of(case)
    devices = features_of(case)
    found: dict[tuple[str, str], list[tuple[Device, DeviceFeature, str]]] = {}
    for device, known in devices.items():
        for name, feature in known.items():
            if feature.requested is None or feature.requested is feature.active or not _MATTERS.match(name):
                continue
            if device in explained and name in {"tx-tcp-segmentation", "tx-tcp6-segmentation"}:
                continue
            if reasons := _why(device, name, known, devices, links, kinds):
                found.setdefault(reasons, []).append((device, feature, name))
    for (short, why), features in found.items():
        names = listed(spoken(name for _, _, name in features))
        owners = listed(device[1] for device, _, _ in features)
        gso = any(name == "tx-generic-segmentation" and device not in explained for device, _, name in features)
        gso = gso and "cannot" not in short
        state = "off, though asked to be on" if features[0][1].requested else "on, though asked to be off"
        yield Finding(
            severity=Severity.WARNING if gso else Severity.NOTE,
            confidence=Confidence.CERTAIN if "driver" not in short else Confidence.LIKELY,
            summary=f"At {owners}, {names} {'is' if len(features) == 1 else 'are'} {state}: {short}.",
            evidence=places([feature.at for _, feature, _ in features]),
            why=f"{why} The wish stays stored, and comes true when nothing stands in its way.",
            about=features[0][0][1] if len({device for device, _, _ in features}) == 1 else "",
            proof="dmesg at the time of the switch: drivers say there why they refuse." if "driver" in short else "",
        )


def _why(
    device: Device,
    name: str,
    known: Mapping[str, DeviceFeature],
    devices: Mapping[Device, Mapping[str, DeviceFeature]],
    links: Mapping[Device, Link],
    kinds: Mapping[Device, str],
) -> tuple[str, str] | None:
    """Return what stands in the way, in few words and in a sentence; None where nobody needs to hear it."""
    kind, link = kinds.get(device, "") or _called(device[1]), links.get(device)
    if kind in {"bridge", "bond", "team", "vlan", "802.1Q VLAN Support", "macvlan", "bonding"}:
        below = devices.get((device[0], link.lower)) if link and link.lower else None
        if below and (lower := below.get(name)) and not lower.active:
            return f"{lower.dev} does not do it", "A device can do no more than the one below it."
        return None if kind == "bridge" else ("a device below does not do it", "A device can do no more than those below it.")
    if kind == "tun" or (not kind and re.match(r"tap|tun|vnet\d", device[1])):
        return (
            "the program behind it does not take such frames",
            (
                "The program that holds a tap device (a hypervisor, a virtual switch) must say which offloads it takes "
                "(TUNSETOFFLOAD); while nobody holds it, or it says nothing, the kernel does the work itself."
            ),
        )
    if (broken := reason(name, known)) and known[name].requested:
        cannot = "" if _switchable(broken, known) else ", which this device cannot do"
        return f"it needs {wanted(broken)}{cannot}", f"{printed(name)} {broken.explain()}."
    return "the driver keeps it so", "No rule of the kernel stands in its way, so it is the driver's or the card's."


def _called(name: str) -> str:
    """Return what a device must be by its name, where nobody said what it is."""
    found = re.match(r"(bond|team|br-|br(?=\d)|virbr|docker)", name)
    return {"bond": "bond", "team": "team"}.get(found[1], "bridge") if found else "vlan" if re.match(r"\w+\.\d", name) else ""


def _switchable(broken: Rule, known: Mapping[str, DeviceFeature]) -> bool:
    """Whether somebody could switch on what a rule misses; a rule without needs only wants something else off."""
    can = feature_set(name for name, feature in known.items() if feature.active or not feature.fixed)
    return not broken.needs or any(can & need == need for need in broken.needs)
