"""`uname -a`, `uname -r` and /proc/version: the kernel's release."""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.host import Kernel
from pktpath.doctor.parse.section import Section, parser

_RELEASE = r"(?P<release>\d{1,3}\.\d{1,4}[\w.+~-]*)"
_LINE = re.compile(rf"\s*(?:Linux (?:version |\S+ )?)?{_RELEASE}(?:\s|$)")


@parser(
    "uname",
    command=r"uname\b|cat\s+/?proc/version",
    shape=rf"Linux \S+ {_RELEASE} #\d",
    file=r"proc[/_]version$",
)
def uname(section: Section) -> Iterator[Fact]:
    """The first line that names one."""
    for line in section.lines:
        if found := _LINE.match(line.text):
            yield Kernel(at=section.place(line), release=found["release"])
            return
