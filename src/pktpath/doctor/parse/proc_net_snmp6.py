"""`/proc/net/snmp6`: a counter of IPv6 a line. Source: `snmp6_seq_show`, net/ipv6/proc.c."""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.host import Counter
from pktpath.doctor.parse.section import Section, parser

_LINE = re.compile(r"\s*((?:Ip6|Icmp6|Udp6|UdpLite6)\w{1,40})\s+(\d{1,20})\s*$")


@parser(
    "/proc/net/snmp6",
    command=r"(?:cat|head|e?grep)\b[^|;]*\bproc/net/snmp6",
    shape=r"Ip6InReceives\s+\d+\s*$",
    file=r"proc[/_.]net[/_.]snmp6(?!\w)",
)
def snmp6(section: Section) -> Iterator[Fact]:
    """All of it."""
    for line in section.lines:
        if found := _LINE.match(line.text):
            yield Counter(at=section.place(line), group="nstat", owner="", name=found[1], value=int(found[2]))
