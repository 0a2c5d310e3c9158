"""`nstat`: protocol counters by name.

Only with `-a` does it print totals. Without, it prints by how much they rose since somebody ran it last, which is a span that
nobody knows: nothing is taken from that. Source: nstat(8).
"""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.host import Counter
from pktpath.doctor.parse.section import Section, parser

_LINE = re.compile(r"\s*([A-Z][A-Za-z0-9]{2,60})\s+(\d{1,20})\s+\d{1,20}[.,]\d+\s*$")
_TOTALS = re.compile(r"\s-(?:[a-z]*a[a-z]*|-ignore)\b")
_HISTORY = "nstat without -a prints what was added since its last run: only nstat -zas prints totals"


@parser("nstat", command=r"(?P<options>nstat\b[^|;]*)", shape=r"#(?:kernel|\d+\.\d+ sampling_interval=.*)\s*$")
def nstat(section: Section) -> Iterator[Fact]:
    """Totals, where they are."""
    totals = bool(_TOTALS.search(section.fields.get("options", "")))
    said = False
    for line in section.lines:
        if not (found := _LINE.match(line.text)):
            continue
        if totals:
            yield Counter(at=section.place(line), group="nstat", owner="", name=found[1], value=int(found[2]))
        elif not said:
            said = True
            section.cannot(line, _HISTORY)
