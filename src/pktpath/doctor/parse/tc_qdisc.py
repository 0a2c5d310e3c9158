"""`tc -s qdisc`: queueing disciplines and what they sent, dropped and hold. Source: tc(8), its tc_qdisc.c and tc_util.c."""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.device import Qdisc
from pktpath.doctor.facts.host import Counter
from pktpath.doctor.parse.section import Section, parser

_HEAD = re.compile(
    r"qdisc ([a-z0-9_]{1,32}) ([0-9a-f]{1,4}:)(?: \[[^\]]{1,40}\])?(?: dev (\S{1,32}))?(?: (root|parent \S{1,16}))?(.*)"
)
_SENT = re.compile(r"\s+Sent ([0-9]{1,20}) bytes ([0-9]{1,20}) pkts? (.*)")
_LOST = re.compile(r"\b(dropped|overlimits|requeues) ([0-9]{1,20})\b")
_BACKLOG = re.compile(r"\s+backlog \S{1,24} ([0-9]{1,20})p\b")
_OWN = re.compile(r"\b(drop_overlimit|flows_plimit|ecn_mark|throttled|drop_overmemory) ([0-9]{1,20})\b")


@parser(
    "tc -s qdisc",
    command=r"tc(?:\s+-[a-z]+){0,6}\s+(?:q|qd|qdi|qdisc)(?:\s+(?:s|sh|show|ls|list))?(?:\s+dev\s+(?P<dev>\S+))?\s*$",
    shape=r"qdisc [a-z0-9_]{1,32} [0-9a-f]{1,4}: ",
)
def qdiscs(section: Section) -> Iterator[Fact]:
    """A discipline with its counters, whose owner is the discipline's."""
    qdisc: Qdisc | None = None
    for line in section.lines:
        if head := _HEAD.match(line.text):
            qdisc = Qdisc(
                at=section.place(line), dev=head[3] or section.fields.get("dev", ""), kind=head[1], handle=head[2],
                parent=(head[4] or "").removeprefix("parent "), options=head[5].strip()[:400],
            )  # fmt: skip
            yield qdisc
        elif qdisc:
            for name, value in _values(line.text):
                yield Counter(at=section.place(line), group="qdisc", owner=qdisc.owner, name=name, value=int(value))


def _values(text: str) -> Iterator[tuple[str, str]]:
    if sent := _SENT.match(text):
        yield "sent_bytes", sent[1]
        yield "sent_packets", sent[2]
        yield from _LOST.findall(sent[3][:200])
    elif backlog := _BACKLOG.match(text):
        yield "backlog", backlog[1]
    elif text[:1] == " ":
        yield from _OWN.findall(text[:400])
