"""`ps -L`, `ps -T` and `ps -eLf`: threads, whatever columns were asked for. Source: ps(1), STANDARD FORMAT SPECIFIERS."""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.process import Process, Thread
from pktpath.doctor.parse.section import Section, parser
from pktpath.doctor.parse.target import watched

MAX_THREADS = 20000
_HEADING = re.compile(r"\s{0,40}(?=[A-Z%*+/ ]{7,400}$)(?=.{0,400}\b(?:LWP|TID|SPID)\b)(?=.{0,400}\b(?:CMD|COMMAND)\b)")
_CPU, _STATE, _NAME = ("%CPU", "C", "CP"), ("STAT", "S"), ("COMMAND", "CMD")
_POLICY, _PROCESSOR = ("CLS", "POL"), ("PSR", "P", "CPUID")
_NUMBER = re.compile(r"\d{1,12}(?:[.,]\d{1,6})?")


@parser(
    "ps -L",
    command=r"ps\s",
    shape=r"\s{0,40}(?=[A-Z%*+/ ]{7,400}$)(?=.{0,400}\bPID\b)(?=.{0,400}\b(?:LWP|TID|SPID)\b)(?=.{0,400}\b(?:CMD|COMMAND)\b)",
    file=r"(?:^|/)ps_-\w*[LT]\w*(?:_[\w.,=-]*)?$",
)
def threads(section: Section) -> Iterator[Fact]:
    """A line a thread; the last column takes what is left, since it may hold blanks."""
    columns: dict[str, int] = {}
    asked = watched(section.command)
    kept = 0
    processes: set[int] = set()
    for line in section.lines:
        text = line.text[:4096]
        if _HEADING.match(text):
            columns = {name: number for number, name in reversed(list(enumerate(text.split())))}
            width = len(text.split())
            continue
        if not columns:
            continue
        cells = text.split(None, width - 1)
        if len(cells) < width:
            continue
        tid = _integer(_cell(cells, columns, ("LWP", "TID", "SPID")))
        pid = _integer(_cell(cells, columns, ("PID",))) or asked
        if not tid:
            continue
        kept += 1
        if kept > MAX_THREADS:
            section.cannot(line, f"more than {MAX_THREADS} threads: the others were not read")
            return
        name = _cell(cells, columns, _NAME).strip()
        cpu = _NUMBER.fullmatch(_cell(cells, columns, _CPU))
        processor = _cell(cells, columns, _PROCESSOR)
        if pid == tid and pid not in processes:
            processes.add(pid)
            program = name.split()[0].rsplit("/", 1)[-1] if name else ""
            yield Process(at=section.place(line), pid=pid, name=program, command=name if " " in name else "")
        yield Thread(
            at=section.place(line), pid=pid, tid=tid, name=name, state=_cell(cells, columns, _STATE)[:1],
            cpu=float(cpu[0].replace(",", ".")) if cpu else 0.0, processor=_integer(processor) if processor.isdigit() else None,
            policy=_cell(cells, columns, _POLICY),
        )  # fmt: skip


def _cell(cells: list[str], columns: dict[str, int], names: tuple[str, ...]) -> str:
    return next((cells[columns[name]] for name in names if name in columns), "")


def _integer(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else 0
