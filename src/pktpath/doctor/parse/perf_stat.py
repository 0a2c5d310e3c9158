"""`perf stat`: counts of events, of kernels 3.x to 6.x, as text or with -x. Source: perf-stat(1).

Old versions write `164.864807 task-clock (msec)`, newer ones `5000.89 msec task-clock`. Numbers have the separators of the
user's language. What could not be counted is kept as the tool says it.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.perf import PerfCount
from pktpath.doctor.parse.section import Line, Section, parser
from pktpath.doctor.parse.target import watched

_TITLE = re.compile(r"\s{0,8}Performance counter stats for (?P<target>[^:]{1,300}):")
_NUMBER = r"\d[\d.,'\u00a0\u202f]{0,30}"
_EVENT = r"[A-Za-z_][^\s#(]{0,120}"
_ROW = re.compile(
    rf"\s{{0,60}}(?:(?P<who>S\d+(?:-D\d+)?(?:-C\d+)?|CPU\d+|\S[^#]{{0,30}}?-\d{{1,10}})\s+(?:\d+\s+)?)?"
    rf"(?:(?P<value>{_NUMBER})|<(?P<state>not supported|not counted)>)\s+"
    rf"(?:(?P<unit>msec|nsec|ns|Joules|MiB|bytes|Bytes|C|%)\s+)?(?P<event>{_EVENT})(?P<old>\s+\((?:msec|Joules)\))?"
)
_ELAPSED = re.compile(rf"\s{{0,60}}(?P<value>{_NUMBER})(?:\s+\+-\s+{_NUMBER})?\s+seconds time elapsed")
_INTERVAL = re.compile(r"#\s+time\s+counts")
_STAMP = re.compile(r"\s{0,20}(\d{1,10}[.,]\d{6,9})\s")
_MODIFIER = re.compile(r":[ukhHGDSIpP]{1,8}$")


@parser(
    "perf stat",
    command=r"perf\s+stat\b",
    shape=_TITLE.pattern,
    file=r"(?:^|/)perf[_-]stat[\w.-]*$",
)
def stat(section: Section) -> Iterator[Fact]:
    """The rows of each block, and the seconds below them."""
    target = section.fields.get("target", "") or (f"process id '{pid}'" if (pid := watched(section.command)) else "")
    separator = re.search(r"\s-x\s?(\S)|--field-separator[= ](\S)", section.command)
    rows: list[PerfCount] = []
    intervals, before = False, 0.0
    for line in section.lines:
        text = line.text[:1000]
        if title := _TITLE.match(text):
            yield from rows
            rows, target = [], title["target"].strip()
        elif elapsed := _ELAPSED.match(text):
            seconds = number(elapsed["value"], clock=True)
            yield from (_timed(row, seconds) for row in rows)
            rows = []
        elif separator:
            rows += _separated(section, line, separator[1] or separator[2], target)
        elif _INTERVAL.match(text):
            intervals = True
        elif intervals and (stamp := _STAMP.match(text)):
            now = number(stamp[1], clock=True)
            if rows and now > before and rows[-1].elapsed != now - before:
                before = _stamp_of(rows, before)
                yield from rows
                rows = []
            if row := _ROW.match(text[stamp.end() :]):
                rows.append(_timed(_count(section, line, row, target), now - before))
        elif row := _ROW.match(text):
            rows.append(_count(section, line, row, target))
            if len(rows) > 10000:
                return
    yield from rows


def number(text: str, *, clock: bool = False) -> float:
    """Return a number of any language: `1,396`, `1.396`, `5000.89`, `5.000,89`; a clock's single separator is the decimal one."""
    digits = re.sub(r"['\u00a0\u202f]", "", text)
    marks = re.sub(r"\d", "", digits)
    whole, _, part = digits.rpartition(marks[-1]) if marks else (digits, "", "")
    decimal = bool(marks) and (len(set(marks)) > 1 or (len(marks) == 1 and (clock or len(part) != 3)))
    plain = re.sub(r"\D", "", whole if decimal else digits) or "0"
    return float(f"{plain[:30]}.{part or '0'}" if decimal else plain[:30])


def _count(section: Section, line: Line, row: re.Match[str], target: str) -> PerfCount:
    event = _MODIFIER.sub("", row["event"])
    clock = event.endswith("-clock")
    return PerfCount(
        at=section.place(line), target=row["who"] or target, event=event, state=row["state"] or "",
        value=number(row["value"], clock=clock) if row["value"] else None,
        unit=row["unit"] or ("msec" if row["old"] and "msec" in row["old"] else ""),
    )  # fmt: skip


def _timed(row: PerfCount, seconds: float) -> PerfCount:
    return PerfCount(
        at=row.at, target=row.target, event=row.event, value=row.value, unit=row.unit, state=row.state, elapsed=seconds
    )


def _stamp_of(rows: list[PerfCount], before: float) -> float:
    return before + (rows[-1].elapsed or 0.0)


def _separated(section: Section, line: Line, separator: str, target: str) -> Iterator[PerfCount]:
    cells = line.text[:1000].split(separator)
    if len(cells) < 3:
        return
    value, unit, event = cells[0].strip(), cells[1].strip(), cells[2].strip()
    state = value.strip("<>") if value in ("<not supported>", "<not counted>") else ""
    if state or re.fullmatch(r"\d{1,19}(?:[.,]\d{1,9})?", value):
        yield PerfCount(
            at=section.place(line), target=target, event=_MODIFIER.sub("", event), unit=unit, state=state,
            value=None if state else float(value.replace(",", ".")),
        )  # fmt: skip
