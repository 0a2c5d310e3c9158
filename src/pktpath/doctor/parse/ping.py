"""`ping`: how many came back, how long that took, how large they were, and what was said instead. Source: ping(8)."""

import re
from collections.abc import Iterator
from typing import Any

from pktpath.doctor.facts.base import Fact, Place
from pktpath.doctor.facts.traffic import Ping
from pktpath.doctor.parse.section import Section, parser

_FIRST = re.compile(
    r"PING (?P<target>\S{1,250})[^:]{0,300}?(?:\s(?P<size>\d{1,6})(?:\(\d{1,6}\))?|: (?P<data>\d{1,6})) (?:data )?bytes"
)
_COUNTS = re.compile(r"\s*(\d{1,12}) packets transmitted, (\d{1,12}) (?:packets )?received")
_TIMES = re.compile(r"(?:rtt|round-trip) min/avg/max(?:/\w+)? = ([\d.]{1,15})/([\d.]{1,15})/([\d.]{1,15})")
_ERROR = re.compile(
    r"(?i)message too long(?:, mtu ?= ?\d{1,6})?|frag needed and DF set(?: \(mtu = \d{1,6}\))?|packet too big: mtu ?= ?\d{1,6}"
    r"|Destination (?:Host|Net|Port) (?:Unreachable|Prohibited)|Network is unreachable|No route to host|Time to live exceeded"
    r"|Packet filtered|Name or service not known|Temporary failure in name resolution"
)


@parser("ping", command=r"ping6?\b(?P<words>.*)", shape=r"PING \S+.*\bbytes\b")
def ping(section: Section) -> Iterator[Fact]:
    """One run, or several that stand in one section."""
    seen: dict[str, Any] = {}
    place: Place | None = None
    words = section.fields.get("words", "").split()
    for line in section.lines:
        text = line.text
        if first := _FIRST.match(text):
            if place is not None:
                yield _ping(place, seen, words)
            seen, place = {"target": first["target"], "size": int(first["size"] or first["data"])}, None
        elif counts := _COUNTS.match(text):
            place = section.place(line)
            seen |= {"sent": int(counts[1]), "received": int(counts[2])}
        elif times := _TIMES.match(text):
            try:
                seen |= zip(("minimum", "average", "maximum"), map(float, times.groups()), strict=True)
            except ValueError:
                continue
        elif "error" not in seen and (error := _ERROR.search(text)):
            seen["error"] = error[0]
            place = place or (section.place(line) if not seen.get("target") else None)
    if place is not None:
        yield _ping(place, seen, words)


def _ping(place: Place, seen: dict[str, Any], words: list[str]) -> Ping:
    # `ping: connect: Network is unreachable` prints nothing else: the target is in the command then.
    last = words[-1] if words and not words[-1].startswith("-") else ""
    return Ping(at=place, **{"target": last, "sent": 0, "received": 0, **seen})
