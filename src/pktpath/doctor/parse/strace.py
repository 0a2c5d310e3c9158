"""`strace`: its lines, counted while they are read, and its tables (-c). Source: strace(1).

A line is `[pid N] TIME name(arguments) = result`, of which all but the call may be missing. A call that another thread
interrupts ends `<unfinished ...>` and goes on in `<... name resumed>`. Terminals wrap long lines: a call without its result is
joined with what follows.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.process import Syscall, Trace
from pktpath.doctor.parse.section import Line, Section, parser
from pktpath.doctor.parse.strace_calls import Calls
from pktpath.doctor.parse.target import watched

_ATTACHED = re.compile(
    r"(?:strace: |\^C)*(?:strace: )?Process (\d{1,10}) (?:attached(?: with (\d{1,7}) threads)?|detached)(?: - interrupt.*)?"
)
_FOLLOWS = re.compile(r"\s-[bBcCdhiIkqrtTvVwxyYzZD]{0,12}f|\s--follow-forks")
_HEADING = re.compile(r"%\s?time\s+seconds\s.{0,80}calls\s+errors\s+syscall")
_ROW = re.compile(
    r"\s{0,8}(\d{1,3}[.,]\d{2})\s+(\d{1,9}[.,]\d{6})\s+(?:(\d{1,12})\s+)?(\d{1,15})\s+(?:(\d{1,15})\s+)?([a-z_]\w{0,40})$"
)
_REAL = re.compile(r"real\s+(?:(\d{1,6})m)?(\d{1,9}[.,]\d{1,3})s?$")
_LIMIT = re.compile(r"timeout(?:\s+-\w+\s+[A-Z]\w*|\s+--?[\w=-]+)*\s+(\d{1,6}(?:\.\d{1,3})?)([smh]?)\s")
_WHO = r"(?:\[pid\s{1,8}\d{1,10}\] |\d{1,10} {1,4})?"
_TIME = r"(?:\d\d:\d\d:\d\d(?:\.\d{1,9})? |\s{0,6}\d{1,10}\.\d{6,9} )?"


@parser(
    "strace",
    command=r"strace\s",
    shape=rf"% time     seconds  usecs/call|(?:\^C)?(?:strace: )?Process \d{{1,10}} (?:attached|detached)"
    rf"|{_WHO}{_TIME}(?:<\.\.\. )?[a-z_]\w{{1,30}}(?:\(| resumed>).{{0,4000}}"
    r"(?:\)\s{0,60}= (?:-1 E[A-Z]|-?\d|0x|\?)|<unfinished \.\.\.>$)",
    file=r"(?:^|/)strace[\w.-]*$",
    bulk=True,
)
def strace(section: Section) -> Iterator[Fact]:
    """Calls with their errors by thread, what poll reported, and whom the trace watched."""
    asked = watched(section.command)
    state = _Watch(asked, len(re.findall(r"\s(?:-[a-zA-Z]*p\s?|--attach=)\d", section.command)))
    state.followed = bool(_FOLLOWS.search(section.command))
    calls = Calls()
    first: Line | None = None
    table: list[Syscall] = []
    tables = 0
    take = calls.take
    for line in section.lines:
        text = line.text
        if first is None:
            first = line
        if take(line):
            continue
        # Whatever follows is rare: headings, rows of the table, who was attached.
        if row := _ROW.match(text, 0, 200):
            if row[6] != "total" and len(table) < 1000:
                table.append(
                    Syscall(
                        at=section.place(line), pid=asked or state.pid, tid=0, name=row[6], calls=int(row[4]),
                        errors=int(row[5] or 0), seconds=float(row[2].replace(",", ".")),
                    )
                )  # fmt: skip
        elif found := _ATTACHED.match(text, 0, 200):
            state.saw(found)
        elif _HEADING.match(text, 0, 200):
            tables += 1
            if tables > 1 and table:
                # A second table in the same section: another look.
                break
        elif found := _REAL.match(text, 0, 60):
            state.seconds = int(found[1] or 0) * 60 + float(found[2].replace(",", "."))
    calls.end()
    if limit := _LIMIT.search(section.typed):
        state.seconds = state.seconds or float(limit[1]) * {"m": 60.0, "h": 3600.0}.get(limit[2], 1.0)
    yield from table
    many = state.followed or calls.threads > 1
    pid = asked or state.pid
    yield from calls.facts(section, pid, many)
    counted = bool(table) and not calls.seen
    if first is not None and (table or calls.seen or state.pid):
        yield Trace(
            at=section.place(first), pid=pid, followed=many, summary=counted or (not calls.seen and " -c" in section.command),
            threads=max(state.threads, calls.threads, 1), seconds=state.seconds or calls.seconds,
            calls=sum(call.calls for call in table) if counted else calls.seen,
        )  # fmt: skip


class _Watch:
    """Whom it attached to."""

    def __init__(self, pid: int, asked: int) -> None:
        self.pid = pid
        self.threads = 0
        self.followed = False
        self.seconds: float | None = None
        self._asked = asked
        self._first = True

    def saw(self, found: re.Match[str]) -> None:
        """Take a line `Process N attached`."""
        if "attached" not in found[0]:
            return
        self.pid = self.pid or int(found[1])
        self.threads += int(found[2] or 1)
        # Threads are attached later, or together, only where -f asked for them.
        self.followed = self.followed or found[2] is not None or (not self._first and self._asked < 2)
        self._first = False
