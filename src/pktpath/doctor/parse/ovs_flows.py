"""`dpctl/dump-flows`: megaflows, of which there may be a million; and tables that are passed over.

All flows are counted; the first ones, and of the others those with most packets, are kept. Lines are cut by hand rather than by
a pattern: a dump may be longer than all other evidence together. Source: ovs-dpctl(8), ovs-actions(7).
"""

import heapq
import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.ovs import Megaflow, MegaflowTotals
from pktpath.doctor.parse.ovs_words import number, whole
from pktpath.doctor.parse.section import Line, Section, parser

_FIRST = 1000
_BUSIEST = 1000
_UFID = re.compile(r"ufid:[0-9a-f-]{1,40},? ")


@parser(
    "dpctl/dump-flows",
    command=r"ovs-(?:appctl\s+(?:dpctl|dpif)/dump-flows|dpctl\s+(?:-\S+\s+)*dump-flows)(?:\s|$)",
    shape=r"\s{0,8}(?:flow-dump from |ufid:[0-9a-f]{8}-|recirc_id\(|tunnel\(|skb_priority\(|in_port\()",
    bulk=True,
)
def flows(section: Section) -> Iterator[Fact]:
    """Flows, and all of them together."""
    count = packets = size = offloaded = userspace = drops = 0
    first: Line | None = None
    busiest: list[tuple[int, int, Line, int]] = []
    for line in section.lines:
        text = line.text
        begin = text.rfind(", packets:")
        end = text.find(", bytes:", begin)
        actions = text.find(" actions:", end)
        if begin < 0 or end < 0 or actions < 0:
            continue
        sent = text[begin + 10 : end]
        if not sent.isdigit() or len(sent) > 19:
            continue
        happened = int(sent)
        close = text.find(",", end + 8)
        carried = text[end + 8 : close]
        count += 1
        packets += happened
        size += int(carried) if carried.isdigit() and len(carried) <= 19 else 0
        offloaded += ", offloaded:yes" in text
        userspace += text.find("userspace(", actions) > 0
        drops += text.startswith("drop", actions + 9)
        if count <= _FIRST:
            if first is None:
                first = line
            if (flow := _flow(section, line, begin)) is not None:
                yield flow
        elif len(busiest) < _BUSIEST:
            heapq.heappush(busiest, (happened, -line.number, line, begin))
        elif happened > busiest[0][0]:
            heapq.heapreplace(busiest, (happened, -line.number, line, begin))
    for _, _, line, begin in sorted(busiest, key=lambda entry: entry[2].number):
        if (flow := _flow(section, line, begin)) is not None:
            yield flow
    if first is not None:
        yield MegaflowTotals(
            at=section.place(first), flows=count, packets=packets, bytes=size, offloaded=offloaded, to_userspace=userspace,
            drops=drops,
        )  # fmt: skip


def _flow(section: Section, line: Line, begin: int) -> Megaflow | None:
    text = line.text
    match = text[:begin].strip()
    if ufid := _UFID.match(match):
        match = match[ufid.end() :]
    words, _, actions = text[begin + 2 :].partition(" actions:")
    said = dict(word.strip().partition(":")[::2] for word in words.split(","))
    packets, size = whole(said.get("packets", "")), whole(said.get("bytes", ""))
    if packets is None or size is None:
        return None
    return Megaflow(
        at=section.place(line), match=match, actions=actions.partition(", dp-extra-info:")[0], packets=packets, bytes=size,
        used=number(said.get("used", "").rstrip("s")), offloaded=said.get("offloaded", ""), dp=said.get("dp", ""),
    )  # fmt: skip


@parser(
    "tables that say nothing of the packet path",
    command=r"ovs-(?:appctl\s+(?:dpctl/dump-conntrack|bridge/dump-flows|fdb/show|mdb/show)|dpctl\s+(?:-\S+\s+)*dump-conntrack"
    r"|ofctl\s+(?:-\S+\s+(?:OpenFlow\d+\s+)?)*(?:dump-flows|dump-groups|dump-group-stats|show|dump-ports-desc))(?:\s|$)",
    bulk=True,
)
def passed_over(section: Section) -> Iterator[Fact]:
    """Nothing; the lines only go by."""
    for _ in section.lines:
        pass
    yield from ()
