"""Names and addresses out of a diagnosis, so that it can be shown to strangers.

Each value gets one pseudonym for the whole diagnosis, whatever its spelling: 10.0.0.1 is ip-1 wherever it stands. What tells
nothing of a place stays: loopback, unspecified and broadcast addresses, netmasks. Numbers that stand alone are never touched.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from typing import Any

from pktpath.doctor.case import Case
from pktpath.doctor.diagnose import Diagnosis
from pktpath.doctor.facts.base import Fact, Place
from pktpath.doctor.report.tables import DRAWN
from pktpath.doctor.report.words import clean

_TOP = (
    "com|net|org|edu|gov|mil|int|info|io|dev|cloud|local|lan|localdomain|internal|intranet|corp|home|test|example|invalid|arpa|"
    "eu|de|at|ch|uk|fr|nl|be|lu|it|es|pt|cz|se|no|dk|fi|ru|ua|cn|jp|kr|tw|in|au|nz|us|ca|br|ar|mx|za|il"
)
"""Ends of host names; so, sh, py, pl, rs are ends of files more often."""
_PATTERN = re.compile(
    r"(?P<uuid>(?<![0-9A-Fa-f])[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}(?![0-9A-Fa-f]))"
    r"|(?P<mac>(?<![0-9A-Fa-f:])[0-9A-Fa-f]{2}(?P<apart>[:-])(?:[0-9A-Fa-f]{2}(?P=apart)){4,18}[0-9A-Fa-f]{2}"
    r"(?![0-9A-Fa-f])(?!:[0-9A-Fa-f])"
    r"|(?<=enx)[0-9A-Fa-f]{12}(?![0-9A-Fa-f]))"  # udev names devices without a place after their address
    r"|(?P<ip6>(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}(?:(?:\d{1,3}\.){3}\d{1,3}|[0-9A-Fa-f]{0,4})(?![\w:]))"
    r"|(?P<ip>(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?!\d|\.\d))"
    rf"|(?P<host>(?<![\w.@/-])(?:[A-Za-z0-9][\w-]{{0,62}}\.){{1,8}}(?:{_TOP})(?![\w-]|\.\w))"
    r"|(?P<user>(?<=/home/)[\w.-]{1,64})"
)
_NAME = r"[A-Za-z0-9][\w.-]{0,252}"
_LEARNT = (
    re.compile(
        rf"\s{{0,8}}(?:\(\S+\) ?)?\[?(?P<user>[A-Za-z_][\w.-]{{0,63}})@(?P<host>{_NAME})[:\s][^$#]{{0,80}}[$#] "
    ),  # a prompt
    re.compile(rf"Linux (?P<host>{_NAME}) \d+\.\d+"),  # uname -a
    re.compile(rf"(?:[A-Z][a-z]{{2}} [ \d]\d \d\d:\d\d:\d\d|\d{{4}}-\d\d-\d\dT[\d:.]+\S*) (?P<host>{_NAME}) \S+: "),  # a log
    re.compile(rf".{{0,200}}\bhostname[=:] *\"?(?P<host>{_NAME})"),
    re.compile(r".{0,200}\bsosreport-(?P<host>[A-Za-z0-9][\w.]*(?:-[A-Za-z][\w.]*)*)-\d"),
)
"""Lines that say how the host, or who works on it, is called."""
_KEPT_NAMES = {"root", "localhost", "host", "user", "kernel", "linux", "ubuntu", "debian", "fedora", "centos", "ovs"}
"""They tell nothing, and stand in many texts for something else."""
_KEPT_MACS = {"ffffffffffff", "000000000000", "010000000000"}
_OWN = re.compile(r"(?:host|user|ip|mac|uuid)-\d+|[\d.]+")
"""Pseudonyms; and numbers, which no name may take away."""


class Redactor:
    """Pseudonyms of one diagnosis."""

    def __init__(self, hosts: Iterable[str] = (), users: Iterable[str] = ()) -> None:
        """Know some names beforehand: those of the running host."""
        self._given: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}
        self._names: dict[str, str] = {}
        self._words: re.Pattern[str] | None = None
        for kind, names in (("host", hosts), ("user", users)):
            for name in names:
                self._learn(kind, name)

    def learn(self, text: str) -> None:
        """Take the names of hosts and users from a line that says them."""
        for pattern in _LEARNT:
            if found := pattern.match(text):
                for kind, name in found.groupdict().items():
                    self._learn(kind, name)

    def text(self, text: str) -> str:
        """Return a text with pseudonyms, and without what would hide a name from whom looks for it."""
        text = _PATTERN.sub(self._replaced, clean(text))
        if not self._names:
            return text
        if self._words is None:
            words = "|".join(re.escape(name) for name in sorted(self._names, key=lambda name: -len(name)))
            self._words = re.compile(rf"(?<![A-Za-z0-9])(?:{_OWN.pattern}|{words})(?![A-Za-z0-9])", re.IGNORECASE)
        return self._words.sub(lambda found: self._names.get(found[0].lower(), found[0]), text)

    def _learn(self, kind: str, name: str) -> None:
        low = name.lower().rstrip(".-")
        short = low.partition(".")[0] if kind == "host" else low
        for word in {low, short}:
            if len(word) > 1 and word not in _KEPT_NAMES and not _OWN.fullmatch(word):
                self._names[word] = self._pseudonym(kind, short)
                self._words = None

    def _pseudonym(self, kind: str, value: str) -> str:
        known = self._given.get((kind, value))
        if known is None:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            known = self._given[kind, value] = f"{kind}-{self._counts[kind]}"
        return known

    def _replaced(self, found: re.Match[str]) -> str:
        kind, text = str(found.lastgroup), found[0]
        low = text.lower()
        if kind == "mac":
            low = low.replace(":", "").replace("-", "")
            return text if low in _KEPT_MACS else self._pseudonym(kind, low)
        if kind in {"ip", "ip6"}:
            # In `from fe80::1: icmp_seq=1` the last colon belongs to the sentence.
            rest = ":" if kind == "ip6" and text.endswith(":") and not text.endswith("::") else ""
            return self._address(text.removesuffix(rest)) + rest
        if kind in {"host", "user"}:
            return text if low in _KEPT_NAMES or _OWN.fullmatch(low) else self._names.get(low) or self._pseudonym(kind, low)
        return self._pseudonym(kind, low)

    def _address(self, text: str) -> str:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return text
        if address.is_loopback or address.is_unspecified or _is_mask(address):
            return text
        return self._pseudonym("ip", str(address))


def _is_mask(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether it is ones and then noughts: a netmask, or the broadcast address."""
    width = address.max_prefixlen
    wild = int(address) ^ ((1 << width) - 1)
    # Shorter masks of IPv6 look like addresses (ff00:: is one), and are not met.
    return wild & (wild + 1) == 0 and wild.bit_length() < (width if width == 32 else width - 15)


def redact(diagnosis: Diagnosis, *, hosts: Iterable[str] = (), users: Iterable[str] = ()) -> Diagnosis:
    """Return a diagnosis with pseudonyms for MAC and IP addresses, UUIDs, names of hosts and users.

    Args:
        diagnosis: made of the case as it was, since rules compare addresses.
        hosts: names of hosts that are known already.
        users: names of users that are known already.

    """
    redactor = Redactor(hosts, users)
    sources = dict.fromkeys(fact.at.source for fact in diagnosis.case)
    evidence = [place for finding in diagnosis.findings for place in finding.evidence]
    lines = dict.fromkeys(place.text for place in (*(fact.at for fact in diagnosis.case), *evidence))
    for text in (*sources, *(place.source for place in evidence), *lines):
        redactor.learn(text)
    # There may be very many facts; of those that no report draws it is enough where they were read.
    case = Case(
        [
            *(_redacted(fact, redactor) for kind in DRAWN for fact in diagnosis.case.all(kind)),
            *(Fact(at=Place(redactor.text(source), 0, "")) for source in sources),
        ],
        (_redacted(missing, redactor) for missing in diagnosis.missing),
        live=diagnosis.case.live,
    )
    findings = tuple(_redacted(finding, redactor) for finding in diagnosis.findings)
    return replace(diagnosis, case=case, findings=findings, missing=case.missing)


def _redacted(value: Any, redactor: Redactor) -> Any:
    """Return a value with all strings in it redacted; numbers and everything else stay as they are."""
    if isinstance(value, str):
        return redactor.text(value)
    if isinstance(value, Place):
        return Place(*(_redacted(each, redactor) for each in value))
    if isinstance(value, tuple | list | frozenset):
        return type(value)(_redacted(each, redactor) for each in value)
    if isinstance(value, dict):
        return {_redacted(key, redactor): _redacted(each, redactor) for key, each in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: _redacted(getattr(value, field.name), redactor) for field in fields(value)})
    return value
