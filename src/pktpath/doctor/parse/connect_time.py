"""How long a connection took: what `time`, and curl with `-w`, say of a client. Source: bash(1), curl(1)."""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.traffic import Connection
from pktpath.doctor.parse.section import Section, parser

_REAL = re.compile(r"\s*real\s+(?:(\d{1,5})m)?(\d{1,6}(?:[.,]\d{1,6})?)s?\s*$")
_CURL = re.compile(r"\s*\"?time_(connect|total|appconnect)\"?\s*[:=]\s*(\d{1,6}[.,]\d{1,9})")
_FAILED = re.compile(
    r"(?:timed out after (\d{1,9}) milliseconds|port \d{1,5} after (\d{1,9}) ms: (?:Connection timed out|Could\S+ connect))"
)


@parser("curl", command=r"(?P<tool>curl|wget|nc|ncat|telnet|psql|mysql|redis-cli)\b", shape=r"time_(?:namelookup|connect):\s+\d")
def connect_time(section: Section) -> Iterator[Fact]:
    """One connection a line that tells a time; the total only where the time to connect is not told."""
    told = ""
    for line in section.lines:
        tool = section.fields.get("tool", "curl")
        if failed := _FAILED.search(line.text):
            milliseconds = int(failed[1] or failed[2])
            yield Connection(at=section.place(line), tool=tool, seconds=milliseconds / 1000, failed=True)
            told = "connect"
        elif found := _CURL.match(line.text):
            if found[1] == "connect" or (told != "connect" and found[1] == "total"):
                told = found[1]
                yield Connection(at=section.place(line), tool=tool, seconds=float(found[2].replace(",", ".")))
        elif (real := _REAL.match(line.text)) and told != "connect":
            seconds = 60 * int(real[1] or 0) + float(real[2].replace(",", "."))
            yield Connection(at=section.place(line), tool=tool, seconds=seconds)
