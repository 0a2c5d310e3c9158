"""ovs-vswitchd.log: the lines that say something of the packet path; a log may be long, and most of it is not.

A line is `TIME|NUMBER|MODULE(THREAD)|LEVEL|TEXT`; the fact's message is what stands behind the number. Of each kind of message,
which is its text without its numbers, the first and the last ones are kept. Source: vlog in ovs-appctl(8).
"""

import re
from collections import deque
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.host import LogMessage
from pktpath.doctor.parse.section import Line, Section, parser

_LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z\|\d{1,12}\|(?:\w+\|)?([a-z]\w{1,40}(?:\([^)|]{1,64}\))?\|(?:EMER|ERR|WARN|INFO)\|.*)$"
)
_TELLING = re.compile(
    r"(?:timeval|ovs_rcu|dpdk|netdev_dpdk|netdev_offload\w*|dpif_netdev|dpif|dpif_netlink|ofproto_dpif_upcall|bridge|netdev_linux"
    r"|netdev_afxdp|vhost|coverage|poll_loop|tunnel|odp_execute|dpif_offload|tc|netlink_socket)(?:\(|\|)"
)
_QUIET = re.compile(
    r"coverage[^|]*\|INFO\||timeval[^|]*\|WARN\|(?:faults|context)|poll_loop[^|]*\|INFO\|wakeup"
    r"|(?:bridge|dpif_netdev|netdev_dpdk|dpdk|tc|netdev_offload)[^|]*\|INFO\|"
)
_FIRST = _LAST = 20


@parser(
    "ovs-vswitchd.log",
    command=r"(?:cat|tail|less|grep|head|zcat|zgrep)\s.*ovs-vswitchd\S*\.log",
    shape=r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z\|\d{1,12}\|",
    file=r"ovs-vswitchd[^/]*\.log",
    bulk=True,
)
def messages(section: Section) -> Iterator[Fact]:
    """The telling lines, the first and the last few of each kind."""
    program = next((name for name in ("ovsdb-server", "ovn-controller", "ovn-northd") if name in section.source), "ovs-vswitchd")
    kinds: dict[str, tuple[int, deque[tuple[Line, str]]]] = {}
    for line in section.lines:
        found = _LINE.match(line.text)
        if not found or not _TELLING.match(found[1]) or _QUIET.match(found[1]):
            continue
        message = found[1]
        kind = re.sub(r"\d+", "", message)[:80]
        count, last = kinds.get(kind, (0, deque(maxlen=_LAST)))
        if count < _FIRST:
            yield LogMessage(at=section.place(line), program=program, message=message)
        elif len(kinds) < 2000:
            last.append((line, message))
        kinds[kind] = (count + 1, last)
        if len(kinds) > 4000:
            kinds.clear()
    for _, last in kinds.values():
        for line, message in last:
            yield LogMessage(at=section.place(line), program=program, message=message)
