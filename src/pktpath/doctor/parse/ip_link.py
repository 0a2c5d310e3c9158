"""`ip -s -d link` and `ip addr`: devices, what they are built on, and their counters.

Source: ip(8), ip-link(8), its ipaddress.c and link_*.c; counters by the kernel's names (struct rtnl_link_stats64,
include/uapi/linux/if_link.h) whatever a version of ip prints above the columns.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.device import Link
from pktpath.doctor.facts.host import Counter
from pktpath.doctor.parse._values import number
from pktpath.doctor.parse.section import Line, Section, parser

_BEGIN = r"[0-9]{1,9}: [^\s:]{1,64}: <[A-Z0-9_,-]{0,300}> mtu [0-9]"
_HEAD = re.compile(r"([0-9]{1,9}): ([^\s:@]{1,32})(?:@([^\s:]{1,32}))?: <([A-Z0-9_,-]{0,300})> mtu ([0-9]{1,9})(.*)", re.DOTALL)
_COLUMNS = re.compile(r"\s+(RX|TX)( errors)?:\s+([a-z]+(?:\s+[a-z]+){0,15})\s*$")
_NAMES = {
    "mcast": "multicast", "collsns": "collisions", "missed": "rx_missed_errors", "overrun": "rx_over_errors",
    "carrier": "tx_carrier_errors", "transns": "carrier_changes", "heartbt": "tx_heartbeat_errors",
    "heartbeat": "tx_heartbeat_errors",
}  # fmt: skip
_ERRORS = {"length", "crc", "frame", "fifo", "aborted", "window"}
_FLAGS = {
    "external", "noexternal", "nolearning", "learning", "proxy", "rsc", "l2miss", "l3miss", "udpcsum", "noudpcsum",
    "udp6zerocsumtx", "noudp6zerocsumtx", "udp6zerocsumrx", "noudp6zerocsumrx", "remcsumtx", "noremcsumtx", "remcsumrx",
    "noremcsumrx", "gbp", "gpe", "localbypass", "nolocalbypass", "vnifilter", "multi_queue", "innerprotoinherit",
    "csum", "nocsum", "icsum", "ocsum", "iseq", "oseq", "seq", "key", "nopmtudisc", "pmtudisc",
}  # fmt: skip
"""Words without a value."""
_NO_KIND = {
    "inet", "inet6", "valid_lft", "altname", "alias", "vf", "prog", "promiscuity", "numtxqueues", "addrgenmode", "RX", "TX",
    "minmtu", "parentbus", "allmulti", "family", "mpls",
}  # fmt: skip
_KIND = re.compile(r"[a-z][a-z0-9_]{1,30}")
MAX_WORDS = 400


@parser(
    "ip link",
    command=r"ip(?:\s+-[a-z0-9]+){0,8}\s+(?:l|li|lin|link|a|ad|add|addr|addre|addres|address)(?=\s|$)(?!.*\s(?:add|set|del)\s)",
    shape=_BEGIN,
)
def links(section: Section) -> Iterator[Fact]:
    """A device with what belongs to it: its line, the indented ones below, and all in one line of `ip -o`."""
    device: _Device | None = None
    for line in section.lines:
        for part in line.text.split("\\") if "\\" in line.text else (line.text,):
            if head := _HEAD.match(part):
                if device:
                    yield device.fact()
                device = _Device(section, line, head)
            elif device:
                yield from device.take(line, part)
    if device:
        yield device.fact()


class _Device:
    """What was read of a device until now."""

    def __init__(self, section: Section, line: Line, head: re.Match[str]) -> None:
        self._section, self._line = section, line
        self.index, self.dev, self._lower, flags, self._mtu = int(head[1]), head[2], head[3] or "", head[4], int(head[5])
        self._flags = frozenset(word for word in flags.split(",") if word)
        self._words: dict[str, str] = {}
        self._kind = ""
        self._columns: list[str] = []
        self._vf = ""
        self._pairs(head[6].split())

    def fact(self) -> Link:
        """Return all that was read."""
        words = dict(self._words)
        return Link(
            at=self._section.place(self._line), dev=self.dev, index=self.index, flags=self._flags, mtu=self._mtu,
            qdisc=words.pop("qdisc", ""), state=words.pop("state", ""), master=words.pop("master", ""), lower=self._lower,
            kind=self._kind, words=words,
        )  # fmt: skip

    def take(self, line: Line, text: str) -> Iterator[Counter]:
        """Read a line below the device's own."""
        if columns := _COLUMNS.match(text):
            side, below, names = columns[1].lower(), bool(columns[2]), columns[3].split()
            self._columns = [_counter(side, name, below) for name in names]
            return
        words = text.split()[:MAX_WORDS]
        if self._columns and words and all(word[0].isdigit() for word in words):
            for name, word in zip(self._columns, words, strict=False):
                if (value := number(word)) is not None:
                    yield Counter(at=self._section.place(line), group="link", owner=self.dev + self._vf, name=name, value=value)
            self._columns = []
        elif words and text[:1].isspace():
            self._details(words)

    def _details(self, words: list[str]) -> None:
        first = words[0]
        if first.startswith("link/"):
            self._words.setdefault("link", first[5:])
            if len(words) > 1:
                self._words.setdefault("address", words[1])
            self._pairs(words[2:])
        elif first in {"inet", "inet6"} and len(words) > 1:
            self._words[first] = f"{self._words[first]} {words[1]}" if first in self._words else words[1]
        elif first.endswith("_slave"):
            self._words[first] = ""
            # What a port is to its bridge has the same names as what the device is: this one's stays.
            self._pairs(words[1:])
        elif first == "vf" and len(words) > 1:
            # With SR-IOV each virtual function has counters of its own below the card's.
            self._vf = f" vf {words[1]}"
        elif first == "valid_lft":
            pass
        elif not self._kind and first not in _NO_KIND and first not in _FLAGS and _KIND.fullmatch(first):
            self._kind = first
            self._pairs(words[1:])
        else:
            self._pairs(words)

    def _pairs(self, words: list[str]) -> None:
        at = 0
        while at < len(words):
            word = words[at]
            if word in _FLAGS:
                self._words.setdefault(word, "")
                at += 1
            elif word == "srcport" and at + 2 < len(words):
                self._words.setdefault(word, f"{words[at + 1]} {words[at + 2]}")
                at += 3
            elif at + 1 < len(words):
                self._words.setdefault(word, words[at + 1])
                at += 2
            else:
                self._words.setdefault(word, "")
                at += 1


def _counter(side: str, name: str, errors: bool) -> str:
    # Up to iproute2 5.x `missed` stood below RX errors and `overrun` above; since then it is the other way round.
    if name in _NAMES:
        return _NAMES[name]
    return f"{side}_{name}_errors" if errors and name in _ERRORS else f"{side}_{name}"
