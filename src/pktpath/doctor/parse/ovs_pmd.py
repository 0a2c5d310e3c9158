"""Threads of the userspace datapath: `dpif-netdev/pmd-stats-show`, `pmd-perf-show`, `pmd-rxq-show`.

All three begin with the name of the thread. Layouts from Open vSwitch 2.6 (`emc hits:5`, `polling cycles:…`) to 3.x; the
histograms and histories of pmd-perf-show are passed over. Source: ovs-vswitchd(8), and Open vSwitch itself, which the tests ask.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact, Place
from pktpath.doctor.facts.ovs import PmdOverhead, PmdThread, Rxq
from pktpath.doctor.parse.ovs_words import number, whole
from pktpath.doctor.parse.section import Line, Section, parser

_THREAD = r"\s{0,16}(?:(?P<pmd>pmd thread numa_id (?P<numa>-?\d{1,9}) core_id (?P<core>\d{1,9})):?\s*$|main thread:\s*$)"
_NAMED = re.compile(_THREAD)
_VALUE = re.compile(
    r"\s*(?:- )?([A-Za-z][A-Za-z. ]{1,47}?)(?: \(us\))?:\s*(\d{1,19}(?:\.\d{1,9})?)(?: us)?(?:\s+\((.{0,120}?)\))?\s*$"
)
_QUEUE = re.compile(
    r"\s*port: (\S{1,64})\s+queue-id:\s*(\d{1,9})(?:\s+\((enabled|disabled)\))?"
    r"(?:\s+pmd usage:\s*(NOT AVAIL|\d{1,5}(?:\.\d+)?)\s*%?)?\s*$"
)
_OVERHEAD = re.compile(r"\s*overhead:\s*(NOT AVAIL|\d{1,5}(?:\.\d+)?)")
_DURATION = re.compile(r"Measurement duration: (\d{1,12}(?:\.\d{1,9})?) s")
_UNITS = ("us/it", "cycles/pkt", "passes/pkt", "subtbl lookups/hit", "us/upcall", "pkts/batch")
"""Numbers in brackets that have a name of their own."""


@parser(
    "dpif-netdev/pmd-*-show",
    command=r"ovs-appctl\s+dpif-netdev/pmd-(?:stats|perf|rxq)-show(?:\s|$)",
    shape=rf"(?:{_THREAD}|Displaying last \d{{1,6}} seconds pmd usage %|Measurement duration: )",
)
def threads(section: Section) -> Iterator[Fact]:
    """A thread with its numbers, or with its queues."""
    table = _Thread()
    seconds: float | None = None
    for line in section.lines:
        text = line.text
        if named := _NAMED.match(text):
            yield from table.fact()
            table = _Thread(section.place(line), named, seconds)
            seconds = None
        elif duration := _DURATION.match(text):
            seconds = number(duration[1])
        elif table.at is None:
            continue
        elif "queue-id:" in text:
            yield from _queue(section, line, table)
        elif "isolated :" in text:
            table.isolated = text.endswith("true")
        elif table.core is not None and (overhead := _OVERHEAD.match(text)):
            yield PmdOverhead(at=section.place(line), numa=table.numa or 0, core=table.core, usage=number(overhead[1]))
        elif value := _VALUE.match(text):
            table.take(value, section.place(line))
    yield from table.fact()


class _Thread:
    """What was read of a thread."""

    def __init__(self, at: Place | None = None, named: re.Match[str] | None = None, seconds: float | None = None) -> None:
        self.at = at
        self.seconds = seconds
        pmd = named["pmd"] if named else None
        self.name = pmd or "main thread"
        self.numa = int(named["numa"]) if named and pmd else None
        self.core = int(named["core"]) if named and pmd else None
        self.isolated = False
        self.stats: dict[str, float] = {}
        self.shares: dict[str, float] = {}
        self.places: dict[str, Place] = {}

    def take(self, value: re.Match[str], place: Place) -> None:
        name, amount = value[1], number(value[2])
        if amount is None or name in self.stats:
            return
        self.stats[name], self.places[name] = amount, place
        for word in (value[3] or "").split(","):
            figure, _, unit = word.strip().partition(" ")
            if unit.startswith("%") or figure.endswith("%"):
                share = number(figure.rstrip("%"))
                if share is not None:
                    self.shares[name] = share
            elif unit in _UNITS and (more := number(figure)) is not None:
                self.stats[unit], self.places[unit] = more, place

    def fact(self) -> Iterator[Fact]:
        if self.at is not None and self.stats:
            yield PmdThread(
                at=self.at, thread=self.name, numa=self.numa, core=self.core, stats=self.stats, shares=self.shares,
                seconds=self.seconds, places=self.places,
            )  # fmt: skip


def _queue(section: Section, line: Line, table: _Thread) -> Iterator[Fact]:
    if table.core is not None and (found := _QUEUE.match(line.text)) and (queue := whole(found[2])) is not None:
        yield Rxq(
            at=section.place(line), numa=table.numa or 0, core=table.core, isolated=table.isolated, port=found[1], queue=queue,
            enabled=found[3] != "disabled", usage=number(found[4] or ""),
        )  # fmt: skip
