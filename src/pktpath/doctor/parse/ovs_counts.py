"""`coverage/show` and `memory/show`: what happened in ovs-vswitchd, and what it holds. Source: ovs-vswitchd(8)."""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.host import Counter
from pktpath.doctor.facts.ovs import CoverageEvent
from pktpath.doctor.parse.section import Section, parser

_RATE = r"(\d{1,15}(?:\.\d{1,9})?)/sec"
_EVENT = re.compile(rf"\s*([\w.-]{{1,80}})\s+{_RATE}\s+{_RATE}\s+{_RATE}\s+total: (\d{{1,19}})\s*$")
_HELD = re.compile(r"([A-Za-z][\w-]*(?: keys)?):(\d{1,19})(?!\d)")


@parser(
    "coverage/show",
    command=r"ovs-appctl\s+coverage/show(?:\s|$)",
    shape=r"\s{0,8}Event coverage, avg rate over last:",
)
def events(section: Section) -> Iterator[Fact]:
    """An event a line."""
    for line in section.lines:
        if found := _EVENT.match(line.text):
            yield CoverageEvent(
                at=section.place(line), name=found[1], five_seconds=float(found[2]), minute=float(found[3]),
                hour=float(found[4]), total=int(found[5]),
            )  # fmt: skip


@parser(
    "memory/show",
    command=r"ovs-appctl\s+memory/show(?:\s|$)",
    shape=r"(?:[\w-]{1,64}:\d{1,19} ){0,12}(?:handlers|revalidators|idl-cells-Open_vSwitch|udpif keys):\d{1,19}(?: |$)",
)
def held(section: Section) -> Iterator[Fact]:
    """What there is of each; not rising counters."""
    for line in section.lines:
        for name, value in _HELD.findall(line.text):
            yield Counter(at=section.place(line), group="memory", owner="ovs-vswitchd", name=name, value=int(value))
