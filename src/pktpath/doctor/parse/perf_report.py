"""`perf report --stdio` and `perf top`: symbols by their share of the samples. Sources: perf-report(1), perf-top(1).

Columns are those of the heading, in its order; cells are parted by two blanks or more. With children only what a symbol used
itself is taken.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.perf import HotSymbol
from pktpath.doctor.parse.section import Line, Section, parser

MAX_SYMBOLS = 4096
"""Rows that are kept of one profile."""
_HEADING = re.compile(
    r"#?\s{0,8}(?:Overhead|Children|Self|samples)\s{2,}.{0,400}Symbol|\s{0,8}PerfTop:|\s{0,24}samples\s+pcnt\s+function"
)
_ROW = re.compile(r"\s{0,12}(?:[-+]\s{0,8})?(\d{1,3}(?:[.,]\d{1,2})?)%\s+(\S.*)")
_OLD = re.compile(r"\s{1,24}\d{1,15}\.\d{2}\s+(\d{1,3}\.\d)%\s+(\S{1,300})\s+(\S{1,300})\s*$")
"""perf top before 3.0: samples, share, function and object."""
_SYMBOL = re.compile(r"\[([.kguH])\]\s?(\S.*)")
_DEFAULT = ("Overhead", "Shared Object", "Symbol")


@parser(
    "perf report",
    command=r"perf\s+(?:report|top)\b",
    shape=r"#?\s{0,8}(?:Overhead|Children)\s{2,}.{0,400}Symbol|\s{0,8}PerfTop:|\s{0,24}samples\s+pcnt\s+function"
    # People often leave the heading out.
    r"|\s{0,12}(?:[-+]\s{0,8})?\d{1,3}\.\d\d%\s{1,8}(?:\d{1,3}\.\d\d%\s{1,8})?\S.{0,80}\s\[[.kguH]\]\s"
    r"|# Samples: .{1,40} of event|Samples: .{1,40} of event '.{0,80}Event count|# To display the perf\.data header",
    file=r"(?:^|/)perf[_-](?:report|top)[\w.-]*$",
)
def report(section: Section) -> Iterator[Fact]:
    """The rows of each profile; a profile's number is the section's, times hundred, and its place in it."""
    columns: tuple[str, ...] = _DEFAULT
    profile, kept, after_rows = section.order * 100, 0, False
    for line in section.lines:
        text = line.text
        if row := _ROW.match(text, 0, 2000):
            after_rows = True
            kept += 1
            if kept <= MAX_SYMBOLS and (found := _symbol(section, line, columns, row, profile)):
                yield found
        elif old := _OLD.match(text, 0, 1000):
            kept, after_rows = kept + 1, True
            if kept <= MAX_SYMBOLS:
                yield HotSymbol(
                    at=section.place(line), percent=float(old[1]), command="", object=old[3], symbol=old[2],
                    kernel=old[3].startswith("[kernel"), profile=profile,
                )  # fmt: skip
        elif _HEADING.match(text, 0, 600):
            profile, kept, after_rows = profile + after_rows, 0, False
            columns = tuple(re.split(r"\s{2,}", text.strip("# "))) if "Symbol" in text else _DEFAULT


def _symbol(section: Section, line: Line, columns: tuple[str, ...], row: re.Match[str], profile: int) -> HotSymbol | None:
    marked = _SYMBOL.search(row[2])
    if not marked:
        return None
    cells = [row[1], *re.split(r"\s{2,}|(?<=%)\s", row[2][: marked.start()].strip())]
    if "Self" not in columns and len(cells) > 1 and cells[1].endswith("%"):
        # With children, and nobody said so: the second number is what the symbol used itself.
        columns = ("Children", "Self", *columns[1:])
    cell = dict(zip(columns, cells, strict=False))
    percent = (cell.get("Self") or row[1]).strip("% ").replace(",", ".")
    command = cell.get("Command") or cell.get("Pid:Command", "").partition(":")[2]
    if not re.fullmatch(r"\d{1,3}(?:\.\d{1,2})?", percent):
        return None
    return HotSymbol(
        at=section.place(line), percent=float(percent), command=command.strip(),
        object=(cell.get("Shared Object") or cell.get("DSO") or "").strip(),
        symbol=re.split(r"\s{2,}", marked[2].strip())[0], kernel=marked[1] in "kg", profile=profile,
    )  # fmt: skip
