"""`ls -l /proc/PID/fd`: descriptors by what they lead to. Source: proc_pid_fd(5)."""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.process import OpenFile
from pktpath.doctor.parse.section import Section, parser

_ROW = re.compile(r"l[-r][-w]\S{0,9} .{0,200}? (\d{1,7}) -> (\S.{0,1000})$")
_KINDS = (("socket:", "sock"), ("pipe:", "FIFO"), ("anon_inode:", "a_inode"), ("/dev/", "CHR"), ("net:", "REG"), ("", "REG"))


@parser("ls -l /proc/PID/fd", command=r"(?:ls|ll)\b.*/proc/(?P<pid>\d{1,10})/fd/?(?:\s|$)")
def descriptors(section: Section) -> Iterator[Fact]:
    """A line a descriptor."""
    pid = int(section.fields.get("pid") or 0)
    for line in section.lines:
        if found := _ROW.match(line.text):
            # On a terminal ls puts quotes around what has brackets.
            target = found[2].rstrip().strip("'")
            kind = next(kind for begin, kind in _KINDS if target.startswith(begin))
            yield OpenFile(
                at=section.place(line), pid=pid, fd=found[1], kind=kind, name=target.removeprefix("anon_inode:")
            )  # fmt: skip
