"""The features of any device, by name: of a host's, whose kernel may be newer than our list, and of our own cards.

Source: the replies of ETHTOOL_MSG_FEATURES_GET and _SET (Documentation/networking/ethtool-netlink.rst).
"""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from pktpath.errors import BadInput, Refused
from pktpath.features import KERNEL_NAMES, NAME_OF, OLD_NAMES, PATTERNS, Feature, FeatureState, broken_rule, unknown_feature


class DeviceFeatures(NamedTuple):
    """What a device can switch, was asked for and does."""

    names: tuple[str, ...]
    """Every name that the device's kernel has, in the order of its bits."""
    hw: frozenset[str]
    wanted: frozenset[str]
    active: frozenset[str]
    nochange: frozenset[str]

    def fixed(self, name: str) -> bool:
        """Whether nobody can change it."""
        return name not in self.hw or name in self.nochange


class FeatureChange(NamedTuple):
    """What came of a request."""

    requested: Mapping[str, bool]
    missed: frozenset[str]
    """What was requested and is not so."""
    changed: Mapping[str, bool]
    """What is not as it was, requested or not, and how it is now."""


def of_card(state: FeatureState) -> DeviceFeatures:
    """Return the features of one of pktpath's own cards by name."""

    def named(features: Feature) -> frozenset[str]:
        return frozenset(name for feature, name in NAME_OF.items() if feature & features)

    old = [name for name, feature in OLD_NAMES.items() if feature & (state.hw | state.active)]
    return DeviceFeatures((*KERNEL_NAMES, *old), named(state.hw), named(state.wanted), named(state.active), named(state.nochange))


def change_between(before: DeviceFeatures, after: DeviceFeatures, requested: Mapping[str, bool]) -> FeatureChange:
    """Return what a request changed, by the states before and after it."""
    missed = frozenset(name for name, on in requested.items() if on != (name in after.active))
    changed = {name: name in after.active for name in before.names if (name in before.active) != (name in after.active)}
    return FeatureChange(requested, missed, changed)


def read_switches(words: Sequence[str]) -> list[tuple[str, bool]]:
    """Return the pairs of a command line like `tso off gro on`.

    Raises:
        BadInput: a name without `on` or `off` behind it.

    """
    pairs = []
    for k in range(0, len(words), 2):
        value = words[k + 1] if k + 1 < len(words) else None
        if value not in {"on", "off"}:
            found = "nothing" if value is None else repr(value)
            message = f"{words[k]}: on or off must follow, not {found}"
            raise BadInput(message)
        pairs.append((words[k], value == "on"))
    return pairs


def members(device: DeviceFeatures, name: str) -> list[str]:
    """Return the kernel names that one name stands for on this device; a group may have none.

    Raises:
        BadInput: neither the device's kernel nor ethtool knows the name.

    """
    if name in PATTERNS:
        return [known for known in device.names if fnmatchcase(known, PATTERNS[name])]
    if name and name in device.names:
        return [name]
    raise unknown_feature(name, list(device.names))


def requested_bits(device: DeviceFeatures, pairs: Iterable[tuple[str, bool]]) -> dict[str, bool]:
    """Return what the pairs ask for, by kernel name; where two mean one feature, on wins, as it does in ethtool."""
    requested: dict[str, bool] = {}
    for name, on in pairs:
        for member in members(device, name):
            requested[member] = requested.get(member, False) or on
    return requested


def check_changeable(dev: str, device: DeviceFeatures, requested: Mapping[str, bool]) -> None:
    """Refuse a request as the kernel does, whole, when one of its features is never to be changed.

    Raises:
        Refused: one of them is in `nochange`.

    """
    if never := [name for name in requested if name in device.nochange]:
        message = f"{dev}: no program may change {', '.join(never)} [fixed]; nothing was changed"
        raise Refused(message)


def why_not(device: DeviceFeatures, name: str) -> str:
    """Say why a feature is not as requested, without a full stop."""
    active = name in device.active
    if device.fixed(name):
        return f"[fixed] {'on' if active else 'off'}, this device cannot change it"
    on = Feature.NONE
    for known in device.active & KERNEL_NAMES.keys():
        on |= KERNEL_NAMES[known]
    rule = None if active else broken_rule(KERNEL_NAMES.get(name, Feature.NONE), on)
    if rule:
        return rule.explain()
    return f"the device's driver keeps it {'on' if active else 'off'}"


def failures(device: DeviceFeatures, pairs: Iterable[tuple[str, bool]], change: FeatureChange) -> dict[str, str]:
    """Return what could not be changed and why, by kernel name, in the order of the request.

    A group that was switched on is on when one member is: members that the device lacks are no failure then.
    """
    found: dict[str, str] = {}
    for word, on in pairs:
        group = members(device, word)
        if not group:
            found[word] = f"this kernel has no {PATTERNS[word]}"
        excused = on and any(name in device.active for name in group)
        for name in group:
            if name in change.missed and not (excused and device.fixed(name)):
                found[name] = why_not(device, name)
    return found
