"""Which feature needs which, in the words of ethtool.

Source: `netdev_fix_features` (net/core/dev.c), as pktpath.features has it.
"""

from collections.abc import Iterable, Mapping

from pktpath.doctor.facts.device import DeviceFeature
from pktpath.features import KERNEL_NAMES, OLD_NAMES, RULES, Feature, Rule, broken_rule

_KNOWN = KERNEL_NAMES | OLD_NAMES
_CHECKSUMS = Feature.HW_CSUM | Feature.IP_CSUM | Feature.IPV6_CSUM
_SHORT = {
    "TSO": Feature.TSO | Feature.TSO6 | Feature.TSO_ECN | Feature.TSO_MANGLEID | Feature.TSO_ACCECN,
    "GSO": Feature.GSO,
    "UDP segmentation": Feature.GSO_UDP_L4,
    "UFO": Feature.GSO_UDP,
    "LRO": Feature.LRO,
    "hardware GRO": Feature.GRO_HW,
}


def feature_set(names: Iterable[str]) -> Feature:
    """Return the features of these kernel names; names that we do not know are left out."""
    found = Feature.NONE
    for name in names:
        found |= _KNOWN.get(name, Feature.NONE)
    return found


def spoken(names: Iterable[str]) -> list[str]:
    """Return what people call these kernel names, each once: `TSO`, `GSO`, `UDP segmentation`; the name itself without one."""
    found: dict[str, None] = {}
    for name in names:
        feature = _KNOWN.get(name, Feature.NONE)
        found[next((word for word, known in _SHORT.items() if feature & known), name)] = None
    return list(found)


def reason(name: str, known: Mapping[str, DeviceFeature]) -> Rule | None:
    """Return the rule by which a device's other features keep this one off; None where none does."""
    active = feature_set(other for other, feature in known.items() if feature.active)
    return broken_rule(_KNOWN.get(name, Feature.NONE), active)


def rule_between(name: str, off: Feature, on: Feature) -> Rule | None:
    """Return the rule by which a feature falls when some go off, or others come on."""
    feature = _KNOWN.get(name, Feature.NONE)
    for rule in RULES:
        needed = Feature.NONE
        for need in rule.needs:
            needed |= need
        if rule.drops & feature and (needed & off or rule.beside & on):
            return rule
    return None


def wanted(rule: Rule) -> str:
    """Return what a rule wants, in words: `checksum offload`, `scatter-gather`."""
    needed = Feature.NONE
    for need in rule.needs:
        needed |= need
    if not rule.needs:
        return f"no {' or '.join(spoken(name for name, feature in _KNOWN.items() if feature & rule.beside))} beside it"
    if needed & _CHECKSUMS:
        return "checksum offload"
    if needed & Feature.SG:
        return "scatter-gather"
    if needed & Feature.RXCSUM:
        return "receive checksum offload"
    return " or ".join(spoken(name for name, feature in _KNOWN.items() if feature & needed))
