"""`lsof`: open files of processes, with or without its heading. Source: lsof(8), OUTPUT.

Cells may be empty and columns are as wide as their longest cell. So the name is found by the place of NAME in the heading, and
where that has no heading or the row does not fit it, by what may stand before a name.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.process import OpenFile, Process
from pktpath.doctor.parse.section import Section, parser
from pktpath.doctor.parse.target import watched

MAX_FILES = 8192
"""Files that are kept of one section; of a longer one those through which packets may pass are still kept, as many again."""
_FD = r"cwd|rtd|txt|mem(?:-[rRwWuU])?|DEL(?:-[rRwW])?|err|NOFD|pd|ltx|mmap|jld|tr|\d{1,10}[rwu-]?[a-zA-Z]?"
_TYPES = (
    r"REG|DIR|CHR|BLK|FIFO|LINK|unix|netlink|a_inode|sock|pack|raw|raw6|IPv4|IPv6|inet|tun|unknown|PACKET|XDP|[A-Z]{3,5}"
    r"|0\d{3,5}"
)
_ROW = re.compile(rf"(\S[^\t]{{0,31}}?)\s+(\d{{1,10}})\s+(?:\d{{1,10}}\s+\S+\s+)?(\S{{1,32}})\s+({_FD})\s+({_TYPES})\s+(\S.*)")
_NAME = re.compile(
    r"(?:(?:\d{1,8},\d{1,8}|0x[0-9a-f]{1,16}|\d{1,19}(?=\s+0t))\s+)?(?:(?:0t|0x)?\d{1,19}\s+)?"
    r"(?:(?:\d{1,19}|TCP|UDP|UDPLITE|ICMP|SCTP|[A-Z0-9_]{2,10}(?=\s+type=))\s+)?(.*)"
)
_PACKETS = ("/dev/net/tun", "/dev/vfio", "/dev/infiniband", "/dev/vhost", "type=SOCK_", "[eventpoll]", "vhost", "hugepages")


@parser(
    "lsof",
    command=r"lsof\b",
    shape=rf"COMMAND\s+PID\s+(?:TID\s+)?(?:TASKCMD\s+)?USER\s+FD\s|\S[\w.:/-]{{0,15}}\s+\d{{1,10}}\s+\S+\s+(?:{_FD})\s+"
    r"(?:REG|DIR|CHR|unix|netlink|a_inode|FIFO|sock|pack|IPv4|IPv6)\s+\S",
    file=r"(?:^|/)lsof(?:_[\w.-]*)?$",
    bulk=True,
)
def lsof(section: Section) -> Iterator[Fact]:
    """A line a file."""
    asked = watched(section.command)
    column, kept, more = -1, 0, 0
    seen: set[int] = set()
    row, rest = _ROW.match, _NAME.match
    for line in section.lines:
        text = line.text
        if kept >= MAX_FILES and not any(word in text for word in _PACKETS):
            more += 1
            continue
        if len(text) > 4096 or not (found := row(text)):
            if text.startswith("COMMAND") and text.endswith("NAME"):
                column = text.index("NAME")
            continue
        if kept >= 2 * MAX_FILES:
            more += 1
            continue
        pid = int(found[2])
        if asked and pid != asked and pid not in seen and len(seen) > 1:
            continue
        if pid not in seen and len(seen) < MAX_FILES:
            seen.add(pid)
            yield Process(at=section.place(line), pid=pid, name=found[1])
        if 0 < column < len(text) and text[column - 1] == " " and text[column] != " ":
            name = text[column:]
        else:
            name = words[1] if (words := rest(found[6])) else found[6]
        kept += 1
        yield OpenFile(at=section.place(line), pid=pid, fd=found[4], kind=found[5], name=name.strip())
    if more:
        section.cannot(None, f"{more} open files beyond the first {MAX_FILES} were only searched for packet sockets and devices")
