"""Features as `ethtool` 6.1 writes them: `-k`, `--json -k`, and what `-K` says that it changed.

Source: ethtool(8), and ethtool itself, which the tests ask.
"""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from pktpath.device_features import DeviceFeatures, FeatureChange
from pktpath.features import GROUPS

NOTHING_CHANGED = "Could not change any device features"
"""What ethtool says on standard error when nothing is as requested."""


class _Line(NamedTuple):
    label: str
    """What stands before the colon."""
    name: str | None
    """The feature, None for the line of a group of several."""
    on: bool
    inner: bool
    """Whether it stands below the line of its group."""


def _lines(device: DeviceFeatures) -> Iterator[_Line]:
    left = [name for name in device.names if name]
    for group in GROUPS:
        found = [name for name in left if fnmatchcase(name, group.pattern)]
        left = [name for name in left if name not in found]
        if len(found) == 1:
            yield _Line(group.long, found[0], found[0] in device.active, inner=False)
            continue
        if found:
            yield _Line(group.long, None, any(name in device.active for name in found), inner=False)
        for name in found:
            yield _Line(name, name, name in device.active, inner=True)
    for name in left:
        yield _Line(name, name, name in device.active, inner=False)


def features_text(dev: str, device: DeviceFeatures) -> str:
    """Return the text of `ethtool -k`."""
    rows = [f"Features for {dev}:"]
    for label, name, on, inner in _lines(device):
        mark, indent = "", "\t" if inner else ""
        if name is not None and device.fixed(name):
            mark = " [fixed]"
        elif name is not None and on != (name in device.wanted):
            mark = f" [requested {_word(not on)}]"
        rows.append(f"{indent}{label}: {_word(on)}{mark}")
    return "\n".join(rows) + "\n"


def features_json(dev: str, device: DeviceFeatures) -> str:
    """Return the text of `ethtool --json -k`."""
    rows = [f'        "ifname": {_quoted(dev)}']
    for label, name, on, _ in _lines(device):
        fixed = None if name is None else device.fixed(name)
        wanted = None if name is None else name in device.wanted
        values = (("active", on), ("fixed", fixed), ("requested", wanted))
        body = ",\n".join(f'            "{key}": {_quoted(value)}' for key, value in values)
        rows.append(f"        {_quoted(label)}: {{\n{body}\n        }}")
    return "[ {\n" + ",\n".join(rows) + "\n    } ]\n"


def changes_text(device: DeviceFeatures, change: FeatureChange) -> str:
    """Return what `ethtool -K` prints: nothing when all is as requested and nothing else changed."""
    if not change.missed and not change.changed.keys() - change.requested.keys():
        return ""
    rows = ["Actual changes:"]
    for name in device.names:
        if name in change.missed:
            asked = change.requested[name]
            rows.append(f"{name}: {_word(not asked)} [requested {_word(asked)}]")
        elif name in change.changed:
            mark = "" if name in change.requested else " [not requested]"
            rows.append(f"{name}: {_word(change.changed[name])}{mark}")
    return "\n".join(rows) + "\n"


def nothing_changed(change: FeatureChange) -> bool:
    """Whether `ethtool -K` would say that it could not change any feature."""
    return change.missed == change.requested.keys()


def _word(on: bool) -> str:
    return "on" if on else "off"


def _quoted(value: str | bool | None) -> str:
    import json

    return json.dumps(value)
