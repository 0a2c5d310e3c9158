"""Where threads wait inside the kernel: `grep -H . /proc/PID/task/*/stack`, or one of them alone.

Source: proc_pid_stack(5).
"""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.process import Stack
from pktpath.doctor.parse.section import Line, Section, parser

_STACK = r"/?proc/(?P<pid>\d{1,10})(?:/task/(?P<tid>\d{1,10}))?/stack"
_ROW = re.compile(rf"(?:{_STACK}:)?\s?\[<[0-9a-fx]{{1,18}}>\] ([^\s+]{{1,300}})")
_Whose = tuple[str | None, str | None]
"""Process and thread, as far as they are said."""
_MOST = 128
"""Frames of a stack: twice as many as the kernel shows."""


@parser("/proc/PID/stack", command=rf"(?:cat|e?grep|head)\b[^|;]*?{_STACK}", shape=rf"{_STACK}:\[<")
def kernel_stacks(section: Section) -> Iterator[Fact]:
    """A frame a line, the innermost first; a thread's frames follow each other."""
    whose: _Whose | None = None
    first: Line | None = None
    frames: list[str] = []
    for line in section.lines:
        if (found := _ROW.match(line.text)) is None:
            continue
        one = (found["pid"] or section.fields.get("pid"), found["tid"] or section.fields.get("tid"))
        if one != whose:
            yield from _stack(section, first, whose, frames)
            whose, first, frames = one, line, []
        if len(frames) < _MOST:
            frames.append(found[3])
    yield from _stack(section, first, whose, frames)


def _stack(section: Section, first: Line | None, whose: _Whose | None, frames: list[str]) -> Iterator[Fact]:
    if first is not None and whose is not None and whose[0]:
        pid = int(whose[0])
        yield Stack(at=section.place(first), pid=pid, tid=int(whose[1] or pid), name="", frames=tuple(frames))
