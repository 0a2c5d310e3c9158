"""`ethtool DEV`: speed and duplex of the link, and what both ends could do. Source: ethtool(8), its netlink/settings.c."""

import re
from collections.abc import Iterator
from typing import Any

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.device import LinkMode
from pktpath.doctor.parse.section import Line, Section, parser

_HEADING = re.compile(r"\s*Settings for (?P<dev>[^\s:|]+):")
_LISTS = {
    "Supported link modes": "supported", "Advertised link modes": "advertised", "Link partner advertised link modes": "partner",
}  # fmt: skip
_NAMED = re.compile(r"\s*([A-Z][A-Za-z -]{2,50}): *(.{0,300})")
_MODE = re.compile(r"\d{2,6}base[A-Za-z0-9]{0,12}/(?:Full|Half)")
_SPEED = re.compile(r"(\d{1,7})Mb/s")
MAX_MODES = 200


@parser("ethtool", command=r"ethtool\s+(?P<dev>[^-\s|][^\s|]*)\s*$", shape=_HEADING.pattern)
def settings(section: Section) -> Iterator[Fact]:
    """One fact a device, at the line of its speed or else its first."""
    place: Line | None = None
    found: dict[str, Any] = {}
    group = ""
    for line in section.lines:
        if named := _HEADING.match(line.text):
            if place is not None and "speed" in found:
                yield _mode(section, place, found)
            place, found, group = line, {"dev": named["dev"]}, ""
        elif place is not None:
            if known := _NAMED.match(line.text):
                group = _LISTS.get(known[1], "")
                place = line if known[1] == "Speed" else place
                _take(found, known[1], known[2].strip())
            if group:
                found[group] = (found.get(group) or frozenset()) | frozenset(_MODE.findall(line.text)[:MAX_MODES])
    if place is not None and "speed" in found:
        yield _mode(section, place, found)


def _take(found: dict[str, Any], name: str, value: str) -> None:
    if name == "Speed":
        speed = _SPEED.match(value)
        found["speed"] = int(speed[1]) if speed else None
    elif name == "Duplex":
        found["full"] = {"Full": True, "Half": False}.get(value)
    elif name == "Auto-negotiation":
        found["negotiated"] = {"on": True, "off": False}.get(value)
    elif name == "Link detected":
        found["detected"] = value.startswith("yes")


def _mode(section: Section, line: Line, found: dict[str, Any]) -> LinkMode:
    return LinkMode(at=section.place(line), **{"full": None, **found})
