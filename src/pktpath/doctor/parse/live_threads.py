"""The table of threads that a live look writes: CPU over an interval and context switches, as no single tool prints both."""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.process import Process, Thread
from pktpath.doctor.parse.section import Section, parser

_PROCESS = re.compile(r"Process (\d{1,10}) (\S.*)")
_HEAD = re.compile(r"Threads of process (\d{1,10}) over ")
_ROW = re.compile(
    r"\s*(\d{1,10}) ([A-Za-z])"
    r"\s+(\d{1,6}\.\d)\s+\d{1,6}\.\d\s+(\d{1,6}\.\d)\s+(\d{1,5})\s+(\S{1,3})\s+(\d{1,19})\s+(\d{1,19}) (.{0,64})$"
)


@parser("threads of a process", shape=r"Process \d{1,10} (?!attached|detached)\S.{0,4000}$|Threads of process \d{1,10} over ")
def live_threads(section: Section) -> Iterator[Fact]:
    """The process, then a line a thread."""
    pid = 0
    for line in section.lines:
        if found := _ROW.match(line.text):
            yield Thread(
                at=section.place(line), pid=pid, tid=int(found[1]), name=found[9], state=found[2], cpu=float(found[3]),
                recent=True, delayed=float(found[4]), processor=int(found[5]), policy=found[6], voluntary=int(found[7]),
                involuntary=int(found[8]),
            )  # fmt: skip
        elif found := _HEAD.match(line.text):
            pid = int(found[1])
        elif found := _PROCESS.match(line.text):
            name = found[2].split()[0].rsplit("/", 1)[-1].rstrip(":")
            yield Process(at=section.place(line), pid=int(found[1]), name=name, command=found[2])
