"""`ethtool -S` and `ethtool -i`: a card's own counters by its driver's own names, and which driver that is.

Source: ethtool(8), its ethtool.c and netlink/stats.c; drivers such as vmxnet3 and cxgb4 indent names below a queue.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.device import Driver
from pktpath.doctor.facts.host import Counter
from pktpath.doctor.parse.section import Section, parser

_DEVICE = r"(?P<dev>[^\s:|]+)"
_STANDARD = re.compile(rf"\s*Standard stats for {_DEVICE}:")
_INFO = re.compile(r"\s*(driver|version|firmware-version|bus-info): ?(.*)$")
MAX_DEPTH = 8
MAX_NAME = 120
_COUNTER = re.compile(rf"(\s+)(\S(?:.{{0,{MAX_NAME - 2}}}\S)?)\s*:\s*(-?[0-9]{{1,20}})\s*$")


@parser(
    "ethtool -S",
    command=rf"ethtool\s+(?:-S|--statistics|--phy-statistics)\s+{_DEVICE}",
    shape=rf"(?:NIC statistics:|Standard stats for {_DEVICE}:)",
    bulk=True,
)
def statistics(section: Section) -> Iterator[Fact]:
    """A counter a line, owner the device; a name below another one carries that too: `Rx Queue# 0 pkts rx OOB`."""
    dev = section.fields.get("dev", "")
    above: list[tuple[int, str]] = []
    for line in section.lines:
        found = _COUNTER.match(line.text)
        if found is None:
            if named := _STANDARD.match(line.text):
                dev = named["dev"]
            elif line.text.startswith("NIC statistics:"):
                # Two such tables without a name may be of two devices: they are no two looks at one.
                dev = section.fields.get("dev", "") or f"device of line {line.number}"
                above = []
            continue
        spaces, name, digits = found.groups()
        indent, value = len(spaces), int(digits)
        while above and above[-1][0] >= indent:
            above.pop()
        full = " ".join([*(label for _, label in above), name]) if above else name
        yield Counter(at=section.place(line), group="nic", owner=dev, name=full, value=value)
        if len(above) < MAX_DEPTH:
            above.append((indent, f"{name} {value}" if name[-1] == "#" else name))


@parser("ethtool -i", command=rf"ethtool\s+(?:-i|--driver)\s+{_DEVICE}", shape=r"driver: [\w.-]+\s*$")
def driver(section: Section) -> Iterator[Fact]:
    """One fact, at the line of the driver."""
    place = None
    found: dict[str, str] = {}
    for line in section.lines:
        if named := _INFO.match(line.text):
            if named[1] == "driver":
                place = section.place(line)
            found.setdefault(named[1], named[2].strip()[:MAX_NAME])
    if place and found["driver"]:
        yield Driver(
            at=place, dev=section.fields.get("dev", "") or f"device of line {place.line}", driver=found["driver"],
            version=found.get("version", ""), firmware=found.get("firmware-version", ""), bus=found.get("bus-info", ""),
        )  # fmt: skip
