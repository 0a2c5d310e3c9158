"""`/proc/net/snmp` and `/proc/net/netstat`: names in one line, values in the next, both behind the protocol.

The counters are named as nstat(8) names them, protocol and name in one word. What only tells a setting or a state (`Tcp: RtoMin`,
`CurrEstab`) is no counter and left out, and so are negative values, which stand for none. Source: net/ipv4/proc.c.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.host import Counter
from pktpath.doctor.parse.section import Section, parser

_STATES = frozenset(
    ("IpForwarding", "IpDefaultTTL", "TcpRtoAlgorithm", "TcpRtoMin", "TcpRtoMax", "TcpMaxConn", "TcpCurrEstab")
)  # fmt: skip
_LINE = re.compile(r"\s*(?:\S{1,200}:)?(\w{1,24}): (\S.*)$")
_VALUE = re.compile(r"\d{1,20}$")


@parser(
    "/proc/net/snmp",
    command=r"(?:cat|head|e?grep)\b[^|;]*\bproc/net/(?:snmp|netstat)(?!\w)",
    shape=r"(?:Ip: Forwarding|TcpExt: Syncookies|Tcp: RtoAlgorithm|Udp: InDatagrams|IpExt: InNoRoutes) ",
    file=r"proc[/_.]net[/_.](?:snmp|netstat)(?!\w)",
)
def snmp(section: Section) -> Iterator[Fact]:
    """All protocols."""
    names: list[str] = []
    of = ""
    for line in section.lines:
        if not (found := _LINE.match(line.text)):
            continue
        protocol, words = found[1], found[2].split()
        if not words[0].lstrip("-").isdigit():
            of, names = protocol, words
            continue
        if protocol != of or len(words) > len(names):
            section.cannot(line, f"values of {protocol} without their names")
            continue
        if len(words) < len(names):
            # The last word may be cut as well.
            section.cannot(line, f"cut off: {len(words)} values for {len(names)} names of {protocol}")
            words = words[:-1]
        place = section.place(line)
        for name, word in zip(names, words, strict=False):
            if (full := protocol + name) not in _STATES and _VALUE.match(word):
                yield Counter(at=place, group="nstat", owner="", name=full, value=int(word))
