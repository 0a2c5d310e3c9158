"""`top -H -b`: threads with their CPU of the last interval. Source: top(1), -H, -b and -n.

Its first table counts from the start of each thread, later ones between two looks: only the last one is taken. A table of
processes tells of threads only where a process is one, as the kernel's own are.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.process import Thread
from pktpath.doctor.parse.section import Line, Section, parser
from pktpath.doctor.parse.target import watched

MAX_THREADS = 20000
_HEADING = re.compile(r"\s{0,8}(?:PID|TID)\s+USER\s.{0,200}%CPU\s.{0,200}COMMAND")
_NUMBER = re.compile(r"\d{1,7}(?:[.,]\d{1,3})?")
_KERNEL = re.compile(r"(?:ksoftirqd|kworker|napi|irq|migration|rcu\w*)/|vhost-\d")


@parser(
    "top -H",
    command=r"top\s.*-\w*b",
    shape=r"top - \d|\s{0,8}PID\s+USER\s.{0,200}%CPU\s.{0,200}COMMAND",
    file=r"(?:^|/)top_[\w.-]*$",
)
def top(section: Section) -> Iterator[Fact]:
    """The threads of the last table."""
    asked = watched(section.command)
    by_thread = re.search(r"\s-\w*H", section.command) is not None
    columns: list[str] = []
    rows: list[tuple[Line, list[str]]] = []
    tables, threads = 0, by_thread
    for line in section.lines:
        text = line.text[:4096]
        if text.startswith("Threads:"):
            threads = True
        elif text.startswith("Tasks:"):
            threads = by_thread
        elif _HEADING.match(text):
            columns, rows, tables = text.split(), [], tables + 1
        elif columns and len(rows) < MAX_THREADS:
            cells = text.split(None, len(columns) - 1)
            if len(cells) == len(columns) and cells[0].isascii() and cells[0].isdigit() and len(cells[0]) <= 10:
                rows.append((line, cells))
    for line, cells in rows:
        cell = dict(zip(columns, cells, strict=False))
        name, cpu = cell.get("COMMAND", "").strip(), _NUMBER.fullmatch(cell.get("%CPU", ""))
        if cpu and (threads or _KERNEL.match(name)):
            processor = cell.get("P", "")
            yield Thread(
                at=section.place(line), pid=asked, tid=int(cells[0]), name=name, state=cell.get("S", "")[:1],
                cpu=float(cpu[0].replace(",", ".")), recent=tables > 1,
                processor=int(processor) if re.fullmatch(r"\d{1,6}", processor) else None,
            )  # fmt: skip
