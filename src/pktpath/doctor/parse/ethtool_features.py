"""`ethtool -k` and `ethtool -K`: features with all that is said of them. Source: ethtool(8), its netlink/features.c."""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.device import DeviceFeature, FeatureChange
from pktpath.doctor.parse.section import Section, parser

_DEVICE = r"(?P<dev>[^\s:|]+)"
_HEADING = re.compile(rf"\s*(?:Features|Offload parameters) for {_DEVICE}:")
# Linear even in a line of 64 KiB: a name begins only where none goes on, and has an end.
_FEATURE = re.compile(r"(?<![A-Za-z0-9_-])([a-z][A-Za-z0-9_-]{1,63}): (on|off)\b((?: \[[^\]]{1,40}\]){0,3})", re.ASCII)
_SPACED = re.compile(r"\b(tcp|udp|generic|large) (segmentation|fragmentation|receive) offload: ")
"""Up to ethtool 2.6.33 some names had spaces."""


@parser(
    "ethtool -k",
    command=rf"ethtool\s+(?:-k|--show-features|--show-offload)\s+{_DEVICE}",
    shape=rf"(?:Features|Offload parameters) for {_DEVICE}:",
)
def features(section: Section) -> Iterator[Fact]:
    """A line a feature, or all in one line where a document lost its line ends."""
    dev, group = section.fields.get("dev", ""), ""
    for line in section.lines:
        text = line.text
        if named := _HEADING.match(text):
            dev, group = named["dev"], ""
            text = text[named.end() :]
        text = _SPACED.sub(r"\1-\2-offload: ", text)
        start = text.lstrip()
        for found in _FEATURE.finditer(start):
            name, state, words = found.groups()
            alone = found.start() == 0
            indented = alone and len(start) < len(text)
            if alone and not indented:
                group = name
            yield DeviceFeature(
                at=section.place(line), dev=dev, name=name, active=state == "on", fixed="[fixed]" in words,
                requested=_requested(words), group=group if indented else "",
            )  # fmt: skip


@parser("ethtool -K", command=rf"(?P<change>ethtool\s+(?:-K|--features|--offload)\s+{_DEVICE}.*)", shape=r"Actual changes:")
def changes(section: Section) -> Iterator[Fact]:
    """What a switch dragged along: `[not requested]`; up to ethtool 5.8 `off [requested on]`, which now is a wish not granted."""
    command = section.fields.get("change", "")
    for line in section.lines:
        if found := _FEATURE.match(line.text.strip()):
            active, requested = found[2] == "on", _requested(found[3])
            refused = requested not in {None, active} and f" {'on' if requested else 'off'}" in command
            asked = refused or ("[not requested]" not in found[3] and requested in {None, active})
            yield FeatureChange(
                at=section.place(line), dev=section.fields.get("dev", ""), name=found[1], active=active,
                asked=asked, command=command,
            )  # fmt: skip


def _requested(words: str) -> bool | None:
    found = re.search(r"\[requested (on|off)\]", words)
    return found[1] == "on" if found else None
