"""`ethtool -k` and `ethtool -K`: features with all that is said of them. Source: ethtool(8), its netlink/features.c."""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.device import DeviceFeature, FeatureChange
from pktpath.doctor.parse.section import Line, Section, parser

_DEVICE = r"(?P<dev>[^\s:|]+)"
_HEADING = re.compile(rf"\s*(?:Features|Offload parameters) for {_DEVICE}:")
_FEATURE = re.compile(r"(\s*)([a-z][\w-]*): (on|off)((?: \[[^\]]*\])*)")


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
        if " for " in text and (named := _HEADING.match(text)):
            dev, group = named["dev"], ""
            text = text[named.end() :]
        if ": o" not in text:
            continue
        for indent, name, state, words in _FEATURE.findall(text):
            alone = len(indent) < len(text) and text.startswith(indent + name)
            if alone and not indent:
                group = name
            requested = re.search(r"requested (on|off)", words)
            yield DeviceFeature(
                at=section.place(line), dev=dev, name=name, active=state == "on", fixed="[fixed]" in words,
                requested=requested[1] == "on" if requested else None, group=group if alone and indent else "",
            )  # fmt: skip


@parser("ethtool -K", command=rf"(?P<change>ethtool\s+(?:-K|--features|--offload)\s+{_DEVICE}.*)", shape=r"Actual changes:")
def changes(section: Section) -> Iterator[Fact]:
    """What a switch dragged along."""
    for line in section.lines:
        yield from _change(section, line)


def _change(section: Section, line: Line) -> Iterator[Fact]:
    if found := _FEATURE.match(line.text):
        yield FeatureChange(
            at=section.place(line), dev=section.fields.get("dev", ""), name=found[2], active=found[3] == "on",
            asked="[not requested]" not in found[4], command=section.fields.get("change", ""),
        )  # fmt: skip
