"""`perf script`: sampled stacks, folded while they are read. Source: perf-script(1).

A sample is a line `COMM PID/TID [CPU] TIME: [PERIOD] EVENT:` and, innermost first, a line a frame, until an empty one. Distinct
stacks are bounded: what comes after the last of them is counted with only its outermost functions.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.perf import SampledStack
from pktpath.doctor.parse.section import Line, Section, parser

MAX_STACKS, MAX_FRAMES, SHORT = 20000, 128, 6
_SAMPLE = re.compile(
    r"\s{0,20}(?P<comm>\S.{0,30}?)\s+(?P<pid>\d{1,10}|-1)(?:/(?P<tid>\d{1,10}))?\s+(?:\[\d{1,5}\]\s+)?"
    r"(?:[\w.]{4,6}\s+)?\d{1,12}\.\d{3,9}:\s+(?:\d{1,19}\s+)?(?P<event>[\w:./,=-]{1,200}):?(?:\s+(?P<rest>\S.*))?"
)
_ALONE = re.compile(r"(?:[0-9a-f]{1,16}\s+)?(\S.*) \([^)]*\)\s*$")
_Key = tuple[str, int, tuple[str, ...]]


@parser(
    "perf script",
    command=r"perf\s+script\b",
    # The first look ahead is for speed: it fails at once on nearly every other line.
    shape=r"(?=.{0,90}\.\d{3})\S.{0,30}?\s+\d{1,10}(?:/\d{1,10})?\s+(?:\[\d{1,5}\]\s+)?\d{1,12}\.\d{3,9}:\s+"
    r"(?:\d{1,19}\s+)?[\w:./,=-]{1,200}:\s",
    file=r"(?:^|/)perf[_-]script[\w.-]*$",
    bulk=True,
)
def script(section: Section) -> Iterator[Fact]:
    """Equal stacks together, the most frequent first."""
    stacks: dict[_Key, list[int]] = {}
    lines: dict[int, Line] = {}
    names: dict[str, str] = {}
    frames: list[str] = []
    comm, tid, at = "", 0, None
    grown = frames.append
    for line in section.lines:
        text = line.text
        if text[:1] in "\t ":
            # A frame; most of them were seen before.
            if (name := names.get(text)) is None:
                if not text.strip():
                    name = ""
                elif text[:1] == " " and (sample := _SAMPLE.match(text, 0, 1000)):
                    if at is not None:
                        _count(stacks, lines, comm, tid, frames, at)
                    frames.clear()
                    comm, tid, at = _sample(sample, frames), int(sample["tid"] or max(0, int(sample["pid"]))), line
                    continue
                else:
                    name = _function(text)
                if len(names) >= 1 << 16:
                    names.clear()
                names[text] = name
            if name:
                grown(name)
        elif sample := _SAMPLE.match(text, 0, 1000):
            if at is not None:
                _count(stacks, lines, comm, tid, frames, at)
            frames.clear()
            comm, tid, at = _sample(sample, frames), int(sample["tid"] or max(0, int(sample["pid"]))), line
    if at is not None:
        _count(stacks, lines, comm, tid, frames, at)
    for (comm, tid, folded), (samples, number) in sorted(stacks.items(), key=lambda item: -item[1][0]):
        yield SampledStack(at=section.place(lines[number]), command=comm, tid=tid, frames=folded[::-1], samples=samples)


def _sample(found: re.Match[str], frames: list[str]) -> str:
    """Return the thread's name; where the only function stands in the same line, take it as the frame."""
    if found["rest"] and (alone := _ALONE.match(found["rest"])):
        frames.append(_plain(alone[1]))
    return found["comm"]


def _function(text: str) -> str:
    """Return the function of a frame's line: an address, the function, and the file in brackets."""
    _, _, rest = text[:1000].strip().partition(" ")
    return _plain(rest.rpartition(" (")[0] or rest)


def _plain(name: str) -> str:
    return name.strip().partition("+0x")[0]


def _count(stacks: dict[_Key, list[int]], lines: dict[int, Line], comm: str, tid: int, frames: list[str], at: Line) -> None:
    if not frames:
        return
    key = (comm, tid, tuple(frames[:MAX_FRAMES]))
    seen = stacks.get(key)
    if seen is None and len(stacks) >= MAX_STACKS:
        key = (comm if len(stacks) < MAX_STACKS + 1000 else "", 0, tuple(frames[-SHORT:]))
        seen = stacks.get(key)
        if seen is None and len(stacks) >= MAX_STACKS + 2000:
            key = ("", 0, ("(others)",))
            seen = stacks.get(key)
    if seen is None:
        stacks[key] = [1, at.number]
        lines[at.number] = at
    else:
        seen[0] += 1
