"""`ethtool -c` and `ethtool -a`: when a card interrupts, and whether it may ask the other end to wait.

Source: ethtool(8), its netlink/coalesce.c, netlink/pause.c.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.device import Coalesce, Pause
from pktpath.doctor.parse.section import Section, parser

_DEVICE = r"(?P<dev>[^\s:|]+)"
_HEADING = re.compile(rf"\s*(?:Coalesce|Pause) parameters for {_DEVICE}:")
_VALUE = re.compile(r"\s*([a-z][a-z-]{1,40}):\s*(n/a|[0-9]{1,20})\s*$")
_BOTH = re.compile(r"\s*(Adaptive|CQE mode) RX: (on|off|n/a)\s+TX: (on|off|n/a)")
_PAUSE = re.compile(r"\s*(Autonegotiate|RX|TX):\s+(on|off|n/a)\s*$")


@parser("ethtool -c", command=rf"ethtool\s+(?:-c|--show-coalesce)\s+{_DEVICE}", shape=rf"Coalesce parameters for {_DEVICE}:")
def coalesce(section: Section) -> Iterator[Fact]:
    """A value a line; `Adaptive RX: on  TX: off` gives `adaptive-rx` and `adaptive-tx`."""
    dev = section.fields.get("dev", "")
    for line in section.lines:
        if named := _HEADING.match(line.text):
            dev = named["dev"]
        elif both := _BOTH.match(line.text):
            name = both[1].lower().replace(" ", "-")
            yield Coalesce(at=section.place(line), dev=dev, name=f"{name}-rx", value=both[2])
            yield Coalesce(at=section.place(line), dev=dev, name=f"{name}-tx", value=both[3])
        elif found := _VALUE.match(line.text):
            yield Coalesce(at=section.place(line), dev=dev, name=found[1], value=found[2])


@parser("ethtool -a", command=rf"ethtool\s+(?:-a|--show-pause)\s+{_DEVICE}", shape=rf"Pause parameters for {_DEVICE}:")
def pause(section: Section) -> Iterator[Fact]:
    """Three lines a device; what was negotiated stands behind RX and TX again, and the last word counts."""
    dev = section.fields.get("dev", "")
    for line in section.lines:
        if named := _HEADING.match(line.text):
            dev = named["dev"]
        elif found := _PAUSE.match(line.text):
            yield Pause(at=section.place(line), dev=dev, which=found[1].lower(), state=found[2])
