"""`ethtool -l` and `ethtool -g`: how many queues and how long rings are, and may be.

Source: ethtool(8), its netlink/channels.c, netlink/rings.c and the older ethtool.c.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.device import Channels, Ring
from pktpath.doctor.parse._values import number
from pktpath.doctor.parse.section import Line, Section, parser

_DEVICE = r"(?P<dev>[^\s:|]+)"
_HEADING = re.compile(rf"\s*(?:Channel|Ring) parameters for {_DEVICE}:")
_VALUE = re.compile(r"\s*([A-Z][A-Za-z ]{0,40}):\s+(n/a|[0-9]{1,20})\s*$")
_RINGS = {"RX", "RX Mini", "RX Jumbo", "TX"}
_CHANNELS = {"RX", "TX", "Other", "Combined"}


@parser("ethtool -l", command=rf"ethtool\s+(?:-l|--show-channels)\s+{_DEVICE}", shape=rf"Channel parameters for {_DEVICE}:")
def channels(section: Section) -> Iterator[Fact]:
    """Two tables a device: at most, and now."""
    for line, dev, which, maximum, current in _pairs(section, _CHANNELS):
        yield Channels(at=section.place(line), dev=dev, which=which.lower(), maximum=maximum, current=current)


@parser("ethtool -g", command=rf"ethtool\s+(?:-g|--show-ring)\s+{_DEVICE}", shape=rf"Ring parameters for {_DEVICE}:")
def rings(section: Section) -> Iterator[Fact]:
    """Two tables a device: at most, and now."""
    for line, dev, which, maximum, current in _pairs(section, _RINGS):
        yield Ring(at=section.place(line), dev=dev, which=which.lower().replace(" ", "-"), maximum=maximum, current=current)


def _pairs(section: Section, names: set[str]) -> Iterator[tuple[Line, str, str, int | None, int | None]]:
    """Give what the second table says, with what the first said of it."""
    dev = section.fields.get("dev", "")
    maxima: dict[str, int | None] = {}
    current = False
    for line in section.lines:
        text = line.text
        if named := _HEADING.match(text):
            dev, maxima, current = named["dev"], {}, False
        elif text.startswith("Pre-set maximums"):
            maxima, current = {}, False
        elif text.startswith("Current hardware settings"):
            current = True
        elif (found := _VALUE.match(text)) and found[1] in names:
            value = number(found[2])
            if current:
                yield line, dev, found[1], maxima.get(found[1]), value
            else:
                maxima[found[1]] = value
