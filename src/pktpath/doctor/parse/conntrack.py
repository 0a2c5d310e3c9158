"""`conntrack -S`: what each CPU did with connections. Source: conntrack(8)."""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.host import Counter
from pktpath.doctor.parse.section import Section, parser

_PAIR = re.compile(r"([a-z_]{2,24})=(\d{1,20})\b")


@parser("conntrack -S", command=r"conntrack\s+(?:-S|--stats)", shape=r"cpu=\d+\s+\t?found=\d+")
def conntrack(section: Section) -> Iterator[Fact]:
    """A line a CPU."""
    for line in section.lines:
        pairs = _PAIR.findall(line.text[:2000])
        if pairs and pairs[0][0] == "cpu":
            for name, value in pairs[1:]:
                yield Counter(at=section.place(line), group="conntrack", owner=f"cpu{pairs[0][1]}", name=name, value=int(value))
