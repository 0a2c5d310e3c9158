"""`dmesg`, `journalctl -k` and what syslog writes: lines of the kernel that have to do with frames.

OpenWrt's logread has the day of the week, the year, and facility and priority in the place of the host.
Of messages that differ in numbers only, some are kept: a log may hold millions of them.
"""

import re
from collections import Counter
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.host import KernelLog, LogMessage
from pktpath.doctor.parse.section import Section, parser

_STAMP = r"\[\s*\d+\.\d{3,9}\]"
_DATE = r"(?:[A-Z][a-z]{2} +\d+ [\d:]{8}|[A-Z][a-z]{2} [A-Z][a-z]{2} +\d+ [\d:]{8} \d{4}|\d{4}-\d\d-\d\dT[\d:.,+-]+)"
_LINE = re.compile(
    rf"\s*(?:<\d{{1,3}}>)?(?:{_STAMP}|\[[^\]]{{8,40}}\]|{_DATE} \S+ kernel:(?: {_STAMP})?)\s(?P<message>.{{1,2000}})"
)
_MATTERS = re.compile(
    r"(?i)table full|table overflow|neighbou?r table|bad checksum|hw csum failure|out of memory -- consider|tcp_mem|"
    r"possible syn flooding|transmit queue \d+ timed out|netdev watchdog|link (?:is )?(?:up|down)|softirq work|"
    r"page allocation failure|allocation stall|too many (?:orphaned|of orphaned) sockets|martian source|"
    r"over-?mtu|dropped over|received packet on .{1,40} with own address|rx ring|tx hang|reset adapter|"
    r"soft lockup|rcu.{0,20}stall"
)
_ALIKE = 20
_ALL = 2000


@parser(
    "dmesg",
    command=r"dmesg\b|journalctl\s+(?:\S+\s+)*?(?:-\w*k\w*|--dmesg)\b",
    shape=rf"{_STAMP} \S|\[[A-Z][a-z]{{2}} [A-Z][a-z]{{2}} +\d+ [\d:]{{8}} \d{{4}}\] \S|{_DATE} \S+ kernel: ",
    file=r"(?:^|/)(?:var/log/)?(?:kern\.log|dmesg)(?:\.\d)?$",
    bulk=True,
)
def kernel_log(section: Section) -> Iterator[Fact]:
    """Lines that matter, and that the log was read."""
    alike: Counter[str] = Counter()
    lines, first = 0, None
    for line in section.lines:
        lines += 1
        first = first or line
        if not _MATTERS.search(line.text) or not (found := _LINE.match(line.text)):
            continue
        kind = re.sub(r"\d+", "0", found["message"])[:80]
        if len(alike) < _ALL and alike[kind] < _ALIKE:
            alike[kind] += 1
            yield LogMessage(at=section.place(line), program="kernel", message=found["message"])
    if first:
        yield KernelLog(at=section.place(first), lines=lines)
