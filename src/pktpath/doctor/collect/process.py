"""One process: its threads, what it has open and mapped, what perf, strace and gdb see of it, what its control socket says.

First what stops nothing, while the counters of the host are watched too; what stops threads for moments comes last.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pktpath.doctor.case import Case
from pktpath.doctor.collect import files, perf, ptrace
from pktpath.doctor.collect.notebook import Notebook
from pktpath.doctor.collect.ovs import Switch
from pktpath.doctor.collect.proc import alive, apart, command_line
from pktpath.doctor.collect.proc import field as proc_field
from pktpath.doctor.collect.threads import Sample, Use, sample, table, uses
from pktpath.doctor.collect.tool import find
from pktpath.errors import BadInput

_FIRST = 0.5
"""Seconds until the first table of threads, which says which of them poll."""
_HOT = 25.0
"""Per cent of a core above which a thread is counted by itself."""
_MOST_HOT = 3


@dataclass(slots=True)
class ProcessLook:
    """A look at a process, in steps; each takes down what it sees, and that the process has ended where it has."""

    book: Notebook
    pid: int
    switch: Switch | None = None
    command: str = ""
    threads: list[Use] = field(default_factory=list)
    """Over the last interval, the busiest first."""
    _before: dict[int, Sample] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the process in words."""
        program = self.command.split(" ", 1)[0].rsplit("/", 1)[-1]
        return f"process {self.pid} ({program})" if program else f"process {self.pid}"

    @property
    def of_kernel(self) -> bool:
        """Whether it is a thread of the kernel: kthreadd (2) and its children."""
        return 2 in (self.pid, int(proc_field(self.pid, "PPid") or 0))

    @classmethod
    def at(cls, book: Notebook, pid: int) -> "ProcessLook":
        """Begin a look.

        Raises:
            BadInput: there is no such process.

        """
        if pid == os.getpid():
            message = f"{pid}: this is the doctor itself, which cannot wait for tools while they stop it"
            raise BadInput(message)
        if proc_field(pid, "State")[:1] in ("Z", "X"):
            message = f"{pid}: this process has ended; its parent {proc_field(pid, 'PPid')} has not taken notice (a zombie)"
            raise BadInput(message)
        try:
            before = sample(pid)
        except OSError:
            before = {}
        if not before or not alive(pid):
            message = f"{pid}: no process has this number"
            raise BadInput(message)
        one = cls(book, pid, command=command_line(pid))
        one._before = before
        one.switch = Switch.of(pid)
        return one

    def classify(self) -> None:
        """Watch the threads for a moment: which are busy, which poll."""
        time.sleep(_FIRST)
        self.count()

    def count(self) -> None:
        """Take down what the threads did since the last time, and what the switch has counted."""
        try:
            now = sample(self.pid)
        except OSError:
            now = {}
        if not now or not alive(self.pid):
            self.book.lacks(self.name, "it ended during the look")
            return
        self.threads = uses(self._before, now)
        self.book.keep(f"/proc/{self.pid}/task", table(self.pid, self.command, self._before, now), changing=True)
        self._before = now
        if self.switch is not None:
            self.switch.counters(self.book)

    def watch(self, seconds: float) -> None:
        """Let perf watch it."""
        hot = [use.tid for use in self.threads if use.cpu >= _HOT][:_MOST_HOT]
        perf.perf(self.book, self.pid, seconds, hot)

    def light(self) -> None:
        """Take down what costs little: descriptors and what the switch says."""
        if not alive(self.pid):
            self.book.lacks(self.name, "it ended during the look")
            return
        files.descriptors(self.book, self.pid)
        if self.switch is not None:
            self.switch.settings(self.book)

    def close(self, seconds: float, *, intrusive: bool) -> None:
        """Take down everything else; threads that poll are stopped only if `intrusive`."""
        if self.of_kernel:
            why = "a thread of the kernel has none of its own, and no tool can attach to it"
            self.book.lacks(f"files, memory, system calls of process {self.pid}", why, f"perf record -g -p {self.pid}")
            ptrace.kernel_stacks(self.book, self.pid)
            return
        files.open_files(self.book, self.pid)
        files.memory(self.book, self.pid)
        if self.switch is not None:
            self.switch.settings(self.book)
        if (tracer := proc_field(self.pid, "TracerPid")) not in ("", "0"):
            what = f"system calls and call stacks of {self.name}"
            self.book.lacks(what, f"process {tracer} is tracing it already (strace or gdb)", "end that first")
        elif alive(self.pid):
            ptrace.system_calls(self.book, self.pid, seconds, self.threads, intrusive=intrusive)
            ptrace.call_stacks(self.book, self.pid, self.threads, intrusive=intrusive)
        if not alive(self.pid):
            self.book.lacks(self.name, "it ended during the look")

    def namespace(self) -> None:
        """Take down that its network namespace is another one, which is not looked at."""
        if apart(self.pid, "net"):
            remedy = f"nsenter -t {self.pid} -n pktpath doctor"
            self.book.lacks(f"devices and counters that {self.name} sees", "it has a network namespace of its own", remedy)


def look_at_process(
    pid: int, *, seconds: float = 5.0, intrusive: bool = False, progress: Callable[[str], None] = lambda _: None
) -> Case:
    """Look closely at one process; `plan_for` says what that means for it.

    Args:
        pid: the process.
        seconds: how long perf and strace watch it, each.
        intrusive: also let strace and gdb stop threads that poll or are busy.
        progress: gets a line about each step before it is done.

    Raises:
        BadInput: there is no such process.

    """
    book = Notebook(progress)
    one = ProcessLook.at(book, pid)
    one.namespace()
    one.classify()
    one.watch(seconds)
    one.count()
    one.close(seconds, intrusive=intrusive)
    facts = list(book.facts())
    return Case(facts, book.missing, live=True)


def plan_for(pid: int, *, seconds: float, intrusive: bool) -> list[str]:
    """Say what a look at this process does, for how long and at what cost; raises as the look does."""
    one = ProcessLook.at(Notebook(), pid)
    time.sleep(_FIRST / 2)
    try:
        one.threads = uses(one._before, sample(pid))  # noqa: SLF001  our own
    except OSError:
        one.threads = []
    pollers = [use for use in one.threads if use.polls]
    busy = [use for use in one.threads if use.polls or use.busy]
    threads = f"{len(one.threads)} thread{'' if len(one.threads) == 1 else 's'}"
    lines = [f"Process {pid} ({one.command[:80]}), {threads}: read /proc, descriptors and address space."]
    if one.switch is not None:
        lines.append(
            f"Ask its control socket {one.switch.socket} for counters twice, for ports, queues and flows once; change nothing."
        )
    if find("perf"):
        lines.append(
            f"perf record at {perf.FREQUENCY} Hz and perf stat for {seconds:g} s: about 1 % of the CPU that it watches, no stop."
        )
    if one.of_kernel:
        return [*lines, "It is a thread of the kernel: no strace and no debugger can attach to it."]
    if find("strace"):
        names = ", ".join(f"{use.name} ({use.tid})" for use in pollers[:4])
        if pollers and not intrusive:
            lines.append(f"strace for {2 * seconds:g} s at most, on all threads but those that poll ({names}).")
        else:
            lines.append(
                f"strace on all threads for {2 * seconds:g} s at most: each system call takes some ten microseconds longer"
                + (f"; {names} will lose packets." if pollers else ".")
            )
    tool = next((name for name in ("eu-stack", "gdb") if find(name)), "")
    if tool and (intrusive or not busy):
        lines.append(
            f"{tool} stops all threads to read their call stacks: for less than a second as a rule, {ptrace.STACKS:g} s at most."
        )
    elif tool:
        lines.append(
            f"No call stacks: {busy[0].name} ({busy[0].tid}) is busy and would lose packets (--intrusive does it all the same)."
        )
    return lines
