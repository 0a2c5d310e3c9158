"""`pmap -x`: ranges of the address space, columns by the heading. Source: pmap(1) of procps-ng; its `-p` shows whole paths."""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.process import Mapping, Process
from pktpath.doctor.parse.section import Section, parser
from pktpath.doctor.parse.target import named

MAX_MAPPINGS = 20000
"""Ranges that are kept of one section."""
_HEADING = r"\s{0,8}Address\s+Kbytes\s+(?:RSS|PSS)\s+(?:\w+\s+)*?Mode\s+Mapping"
_PROCESS = re.compile(r"(\d{1,10}):\s{1,4}(\S.*)")
_RANGE = re.compile(r"\s{0,8}([0-9a-f]{4,16})\s+((?:(?:\d{1,19}|-)\s+){1,8})([r-][w-][x-][sp-][\w-]{0,2})\s{1,4}(.*)")


@parser(
    "pmap -x",
    command=r"pmap\s(?=.*-\w*x)",
    shape=rf"\d{{1,10}}:   (?:/|ovs-|dpdk|\S+/\S)\S*(?: |$)|{_HEADING}",
    file=r"(?:^|/)pmap(?:_-x)?(?:\.txt)?$",
)
def pmap(section: Section) -> Iterator[Fact]:
    """A line a range; above them, in most versions, the process with its command."""
    pid = named(section.command)
    columns = ["Kbytes", "RSS", "Dirty"]
    kept = 0
    for line in section.lines:
        text = line.text[:4096]
        if found := _RANGE.match(text):
            kept += 1
            if kept > MAX_MAPPINGS:
                section.cannot(line, f"more than {MAX_MAPPINGS} mappings: the others were not read")
                return
            sizes = dict(zip(columns, (int(word) if word != "-" else 0 for word in found[2].split()), strict=False))
            yield Mapping(
                at=section.place(line), pid=pid, address=int(found[1], 16), size=sizes.get("Kbytes", 0),
                resident=sizes.get("RSS", sizes.get("PSS", 0)), dirty=sizes.get("Dirty", 0), mode=found[3],
                name=found[4].strip(),
            )  # fmt: skip
        elif re.match(_HEADING, text):
            columns = text.split()[1 : text.split().index("Mode")]
        elif found := _PROCESS.match(text):
            pid = int(found[1])
            name = found[2].split()[0].rsplit("/", 1)[-1]
            yield Process(at=section.place(line), pid=pid, name=name, command=found[2].strip())
