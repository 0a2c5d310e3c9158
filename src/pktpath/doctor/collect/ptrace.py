"""Tools that attach to a process and stop it for moments: strace, eu-stack, gdb. Afterwards it runs again, whatever they did.

Source: ptrace(2), strace(1), eu-stack(1), gdb(1).
"""

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pktpath.doctor.collect.notebook import Notebook
from pktpath.doctor.collect.threads import Use, sample, stopped
from pktpath.doctor.collect.tool import find, package_of, run

_LINES = 1.0
"""Seconds of single system calls: enough to see a loop, and thousands of lines."""
_MOST_LINES = 16 << 20
"""Bytes of them."""
_MOST_THREADS = 64
"""Threads that are given to strace one by one."""
STACKS = 15.0
"""Seconds to read all stacks."""


def system_calls(book: Notebook, pid: int, seconds: float, threads: Sequence[Use], *, intrusive: bool) -> None:
    """Take down what strace counts, and a second of its lines; threads that poll are left alone unless `intrusive`."""
    what = f"system calls of process {pid}"
    if find("strace") is None:
        book.lacks(what, "strace is not installed", package_of("strace"))
        return
    pollers = [] if intrusive else [use for use in threads if use.polls]
    if pollers:
        names = ", ".join(f"{use.name} ({use.tid})" for use in pollers[:4]) + (" …" if len(pollers) > 4 else "")
        why = f"{'it polls' if len(pollers) == 1 else 'they poll'}, and would lose packets while strace stops them"
        book.lacks(f"system calls of {names}", why, "pktpath doctor --intrusive")
        whom = [str(use.tid) for use in threads if not use.polls][:_MOST_THREADS]
        if not whom:
            return
        words = [word for tid in whom for word in ("-p", tid)]
    else:
        words = ["-f", "-p", str(pid)]
    book.progress(f"strace watches {'threads that do not poll' if pollers else 'all threads'} of process {pid} for {seconds:g} s")
    _strace(book, pid, what, ["strace", "-c", *words], seconds)
    # What it reads and writes is nobody's business: not a letter of it is shown.
    _strace(book, pid, what, ["strace", "-s", "0", *words], min(_LINES, seconds))


def _strace(book: Notebook, pid: int, what: str, words: list[str], seconds: float) -> None:
    with _left_running(book, pid, words[0]):
        ran = run(words, limit=seconds + 5.0, interrupt_after=seconds, enough=_MOST_LINES, errors_too=True, dies_with_us=True)
    if ran.why:
        denied = "not permitted" in ran.said
        book.lacks(what, "needs CAP_SYS_PTRACE" if denied else ran.why, "run as root" if denied else "")
    elif ran.text:
        book.keep(f"timeout -s INT {seconds:g} {' '.join(words)}", ran.text)


def call_stacks(book: Notebook, pid: int, threads: Sequence[Use], *, intrusive: bool) -> None:
    """Take down the call stack of each thread; without stopping, only what the kernel knows of threads that sleep in it."""
    what = f"call stacks of process {pid}"
    busy = [use for use in threads if use.polls or use.busy]
    if busy and not intrusive:
        names = ", ".join(f"{use.name} ({use.tid})" for use in busy[:4])
        book.lacks(what, f"{names} would lose packets while all threads are stopped", "pktpath doctor --intrusive")
        kernel_stacks(book, pid)
    elif find("eu-stack"):
        _stacks(book, pid, what, ["eu-stack", "-p", str(pid), "-n", "32"])
    elif find("gdb"):
        _stacks(book, pid, what, ["gdb", "-p", str(pid), "-batch", "-nx", "-ex", "set pagination off",
                                  "-ex", "thread apply all bt 32"])  # fmt: skip
    else:
        book.lacks(what, "neither gdb nor eu-stack is installed", package_of("gdb"))
        kernel_stacks(book, pid)


def _stacks(book: Notebook, pid: int, what: str, words: list[str]) -> None:
    book.progress(f"{words[0]} stops process {pid} to read its call stacks")
    with _left_running(book, pid, words[0]):
        ran = run(words, limit=STACKS, dies_with_us=True)
    if ran.why and not re.search(r"^#\d|^TID ", ran.text, re.MULTILINE):
        denied = "not permitted" in ran.said or "Permission denied" in ran.said
        book.lacks(what, "needs CAP_SYS_PTRACE" if denied else ran.why, "run as root" if denied else "")
        kernel_stacks(book, pid)
    else:
        # eu-stack ends with an error when it finds no symbols for a frame, and has said all the same what there is.
        book.keep(" ".join(words), ran.text)


def kernel_stacks(book: Notebook, pid: int) -> None:
    """Take down where in the kernel threads wait."""
    rows = []
    denied = False
    with contextlib.suppress(OSError):
        for tid, now in sample(pid).items():
            if now.state == "R":
                # It waits for nothing.
                continue
            path = f"/proc/{pid}/task/{tid}/stack"
            try:
                rows += [f"{path}:{line}" for line in Path(path).read_text(errors="replace").splitlines()]
            except PermissionError:
                denied = True
            except OSError:
                continue
    if denied:
        book.lacks(f"where threads of process {pid} wait in the kernel", "needs CAP_SYS_ADMIN", "run as root")
    book.keep(f"grep -H . /proc/{pid}/task/*/stack", "\n".join(rows) + "\n")


@contextlib.contextmanager
def _left_running(book: Notebook, pid: int, tool: str) -> Iterator[None]:
    """See to it that a process is not left stopped by a tool; one that was stopped before stays so."""
    import psutil

    try:
        same = psutil.Process(pid)
        before = stopped(pid)
    except (psutil.Error, OSError):
        yield
        return
    try:
        yield
    finally:
        try:
            # The kernel lets go of it when the tool is gone: give it a moment.
            until = time.monotonic() + 0.5
            while not before and (now := stopped(pid)) and time.monotonic() < until:
                time.sleep(0.02)
            if not before and now and same.is_running():
                os.kill(pid, signal.SIGCONT)
                book.lacks(
                    f"process {pid}", f"{tool} left it stopped for {time.monotonic() - until + 0.5:.1f} s; it was continued"
                )
        except OSError:
            # It ended meanwhile: then nothing is stopped.
            pass
