"""Call stacks of `pstack`, `gdb -ex 'thread apply all bt'` and `eu-stack`. Sources: gdb manual "Backtrace", eu-stack(1)."""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.process import Stack
from pktpath.doctor.parse.section import Line, Section, parser
from pktpath.doctor.parse.target import named

MAX_STACKS, MAX_FRAMES = 4096, 256
_THREAD = re.compile(
    r"Thread \d{1,6} \((?:Thread 0x[0-9a-f]{1,16} \(LWP (\d{1,10})\)|process (\d{1,10})|LWP (\d{1,10}))"
    r'(?: "([^"]{0,64})")?\)'
    r"|TID (\d{1,10})\b(?:.{0,4}\(([^)]{0,64})\))?"
)
_PROCESS = re.compile(r"PID (\d{1,10}) - ")
_FRAME = re.compile(r"#(\d{1,4})\s{1,4}(?:0x[0-9a-f]{1,16}(?: in|)\s{1,4})?(<signal handler called>|[^\s(]+)?")


@parser(
    "stacks",
    command=r"pstack\s|gstack\s|eu-stack\s|gdb\s",
    shape=r"Thread \d{1,6} \((?:Thread 0x|process \d|LWP \d)|TID \d{1,10}:|PID \d{1,10} - \S|#0  (?:0x[0-9a-f]{1,16} in )?\S+ \(",
    file=r"(?:^|/)(?:pstack|gstack|eu-stack|gdb)[\w.-]*$",
)
def stacks(section: Section) -> Iterator[Fact]:
    """A thread's heading, if there is one, and a line a frame."""
    pid = named(section.command)
    tid, name = pid, ""
    frames: list[str] = []
    at: Line | None = None
    kept = 0
    for line in section.lines:
        text = line.text[:4096].lstrip()
        frame = _FRAME.match(text)
        heading = None if frame else _THREAD.match(text)
        if (heading or (frame and frame[1] == "0")) and frames and at:
            yield _stack(section, at, pid, tid, name, frames)
            frames, kept = [], kept + 1
            if kept >= MAX_STACKS:
                section.cannot(line, f"more than {MAX_STACKS} stacks: the others were not read")
                return
        if heading:
            tid = int(next(word for word in heading.group(1, 2, 3, 5) if word))
            name = heading[4] or heading[6] or ""
            at = line
            if heading[2] and not pid:
                pid = tid
        elif frame:
            if not frames and (at is None or (frame[1] == "0" and not _THREAD.match(at.text.lstrip()))):
                at = line
            if len(frames) < MAX_FRAMES:
                frames.append(_function(frame[2] or "??"))
        elif found := _PROCESS.match(text):
            pid = tid = int(found[1])
    if frames and at:
        yield _stack(section, at, pid, tid, name, frames)


def _function(word: str) -> str:
    """Return the function without the offset in it, which eu-stack and some versions of gdb append."""
    return word.partition("+0x")[0] if not word.startswith("<") else word


def _stack(section: Section, at: Line, pid: int, tid: int, name: str, frames: list[str]) -> Stack:
    return Stack(at=section.place(at), pid=pid, tid=tid, name=name, frames=tuple(frames))
