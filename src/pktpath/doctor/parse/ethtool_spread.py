"""`ethtool -x`: over which queues a card spreads its flows. Source: ethtool(8), its rxclass.c, ethtool.c and netlink/rss.c."""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.device import Indirection
from pktpath.doctor.parse.section import Line, Section, parser

_DEVICE = r"(?P<dev>[^\s:|]+)"
_HEADING = re.compile(r"\s*RX flow hash indirection table for (?P<dev>\S+) with (?P<rings>[0-9]{1,5}) RX ring")
_ROW = re.compile(r"\s*([0-9]{1,6}):((?:\s+[0-9]{1,5}){1,64})\s*$")
_FUNCTION = re.compile(r"\s+([a-z0-9_-]{1,32}): on\b")
MAX_TABLE = 1 << 16
"""Entries kept; the longest table of any driver is much shorter."""


@parser(
    "ethtool -x",
    command=rf"ethtool\s+(?:-x|--show-rxfh-indir|--show-rxfh)\s+{_DEVICE}",
    shape=r"RX flow hash indirection table for ",
)
def spread(section: Section) -> Iterator[Fact]:
    """The rows of the table, eight queues each, and the hash that is on."""
    heading: tuple[Line, str, int] | None = None
    table: list[int] = []
    function, functions = "", False
    for line in section.lines:
        if named := _HEADING.match(line.text):
            if heading and table:
                yield _made(section, heading, table, function)
            heading, table, function, functions = (line, named["dev"], int(named["rings"])), [], "", False
        elif row := _ROW.match(line.text):
            # A row that is missing makes all that follows doubtful.
            if int(row[1]) == len(table) < MAX_TABLE:
                table += map(int, row[2].split())
        elif line.text.startswith("RSS hash function"):
            functions = True
        elif functions and not function and (found := _FUNCTION.match(line.text)):
            function = found[1]
        elif line.text[:1].strip():
            functions = False
    if heading and table:
        yield _made(section, heading, table, function)


def _made(section: Section, heading: tuple[Line, str, int], table: list[int], function: str) -> Indirection:
    line, dev, rings = heading
    return Indirection(at=section.place(line), dev=dev, rings=rings, table=tuple(table), function=function)
