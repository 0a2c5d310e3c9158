"""`netstat -s`: protocol counters in sentences; those that rules ask for, under the names that nstat has for them.

Other counters come as `TCPBacklogDrop: 12` already. Source: what net-tools 1.60 to 2.10 print; older ones spell some
words otherwise (`send out`, `retransmited`).
"""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.host import Counter
from pktpath.doctor.parse.section import Section, parser

_SENTENCES = {
    "Ip": {
        "total packets received": "InReceives", "incoming packets delivered": "InDelivers", "requests sent out": "OutRequests",
        "forwarded": "ForwDatagrams", "reassemblies required": "ReasmReqds", "packets reassembled ok": "ReasmOKs",
        "packet reassemblies failed": "ReasmFails", "packet reassembles failed": "ReasmFails",
        "fragments dropped after timeout": "ReasmTimeout", "fragments failed": "FragFails",
    },
    "Tcp": {
        "active connection openings": "ActiveOpens", "active connections openings": "ActiveOpens",
        "passive connection openings": "PassiveOpens", "segments received": "InSegs", "segments sent out": "OutSegs",
        "segments send out": "OutSegs", "segments retransmitted": "RetransSegs", "segments retransmited": "RetransSegs",
        "bad segments received": "InErrs",
    },
    "Udp": {
        "packets received": "InDatagrams", "packet receive errors": "InErrors", "packets sent": "OutDatagrams",
        "receive buffer errors": "RcvbufErrors", "send buffer errors": "SndbufErrors",
    },
    "TcpExt": {
        "times the listen queue of a socket overflowed": "ListenOverflows", "syns to listen sockets dropped": "ListenDrops",
        "syns to listen sockets ignored": "ListenDrops",
        "packets pruned from receive queue because of socket buffer overrun": "PruneCalled",
        "packets pruned from receive queue": "RcvPruned",
        "packets dropped from out-of-order queue because of socket buffer overrun": "OfoPruned",
    },
}  # fmt: skip
_PLAIN = frozenset(("Ip", "Tcp", "Udp", "TcpExt", "IpExt"))
_PROTOCOL = re.compile(r"(\w{2,16}):\s*$")
_SENTENCE = re.compile(r"\s+(\d{1,20}) (\S.{0,120}?)\.?\s*$")
_NAMED = re.compile(r"\s+([A-Z]\w{2,40}): (\d{1,20})\s*$")


@parser("netstat -s", command=r"netstat\s+(?:\S+\s+)*?(?:-\w*s\w*|--statistics)", shape=r"(?:Ip|Tcp|Udp|TcpExt):\s*$")
def statistics(section: Section) -> Iterator[Fact]:
    """The selection."""
    protocol = ""
    for line in section.lines:
        if head := _PROTOCOL.match(line.text):
            protocol = head[1]
        elif found := _SENTENCE.match(line.text):
            words = found[2].lower()
            name = _SENTENCES.get(protocol, {}).get(words)
            if name is None and words.startswith("times the listen queue of a socket overflowed"):
                name = "ListenOverflows"
            if name is not None:
                yield Counter(at=section.place(line), group="nstat", owner="", name=protocol + name, value=int(found[1]))
        elif (named := _NAMED.match(line.text)) and protocol in _PLAIN and named[1] != "Forwarding":
            yield Counter(at=section.place(line), group="nstat", owner="", name=protocol + named[1], value=int(named[2]))
