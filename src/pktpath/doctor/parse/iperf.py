"""`iperf3` and `iperf` 2: what was sent and received in the end, or why nothing was. Source: iperf3(1), what both print."""

import re
from collections.abc import Iterator
from typing import Any

from pktpath.doctor.facts.base import Fact, Place
from pktpath.doctor.facts.traffic import Transfer
from pktpath.doctor.parse.section import Section, parser

_RATE = re.compile(
    r"\s*\[\s*(?P<id>SUM|\d{1,6})\](?:\[[\w-]+\])?\s+[\d.]+\s*-\s*[\d.]+\s+sec\s+[\d.]+ \w*Bytes\s+"
    r"(?P<rate>\d{1,12}(?:\.\d{1,6})?) (?P<unit>[KMGT]?)(?P<what>bits|Bytes)/sec(?P<rest>.*)$"
)
_LOST = re.compile(r"(\d{1,19})/\s*(\d{1,19}) \(")
_WINDOW = re.compile(r"\s+(\d{1,19})\s+(\d{1,9}(?:\.\d{1,6})?) ([KMG]?)Bytes\b(?!.*omitted)")
"""Of a TCP sender's interval: sent again, congestion window."""
_ERROR = re.compile(r"\s*(?:iperf3?: error - (?P<three>\S.{0,300})|(?P<two>(?:tcp )?connect failed: \S.{0,200}))")
_BINARY = {"": 1.0, "K": 1024.0, "M": 1024.0**2, "G": 1024.0**3}
_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


@parser(
    "iperf",
    command=r"(?P<tool>iperf3?)\b(?P<words>.*)",
    shape=r"\[ ID\] Interval  +Transfer  +(?:Bitrate|Bandwidth)|iperf3: error - |Connecting to host \S+, port \d+",
)
def iperf(section: Section) -> Iterator[Fact]:
    """One transfer: of the last lines of sender and receiver, of their sum where there is one."""
    words = section.fields.get("words", "")
    target = re.search(r"\s-c\s*(\S{1,200})", words)
    tool = section.fields.get("tool", "iperf3")
    seen: dict[str, Any] = {"protocol": "udp" if re.search(r"\s-\w*u\b|\s--udp", words) else "tcp"}
    sums: set[str] = set()
    place: Place | None = None
    still, again = 0, 0
    for line in section.lines:
        if not target and (greeted := re.match(r"\s*(?:Connecting to host|Client connecting to) (\S{1,200}?), ", line.text)):
            target = greeted
        if failed := _ERROR.match(line.text):
            seen["error"] = (failed["three"] or failed["two"]).strip()
            place = section.place(line)
        elif found := _RATE.match(line.text):
            rest = found["rest"]
            side = "received" if "receiver" in rest else "sent"
            if tool == "iperf3" and "sender" not in rest and "receiver" not in rest:
                if window := _WINDOW.match(rest):
                    again += int(window[1])
                    still = still + 1 if float(found["rate"]) == 0 else 0
                    seen |= {"still": still, "window": float(window[2]) * _BINARY[window[3]], "retransmits": again}
                    place = section.place(line)
                continue
            # One line a stream, then their sum.
            if found["id"] == "SUM":
                sums.add(side)
            elif side in sums:
                continue
            rate = float(found["rate"]) * _UNITS[found["unit"]] * (8 if found["what"] == "Bytes" else 1)
            seen[side] = rate
            place = section.place(line) if place is None or "error" not in seen else place
            if lost := _LOST.search(rest):
                seen["protocol"] = "udp"
                seen["lost"] = 100 * int(lost[1]) / int(lost[2]) if int(lost[2]) else 0.0
            elif total := re.match(r"\s+(\d{1,19})\s+sender", rest):
                seen["retransmits"] = int(total[1])
    if place is not None:
        yield Transfer(at=place, tool=tool, target=target[1] if target else "", **seen)
