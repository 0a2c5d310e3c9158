"""A program of somebody else, run with a limit of time and of output, and gone with all its children afterwards."""

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

MAX_OUTPUT = 64 << 20
"""Bytes of output."""
_PACKAGES = {
    "ethtool": "ethtool", "ip": "iproute2", "tc": "iproute2", "lscpu": "util-linux", "pmap": "procps", "lsof": "lsof",
    "strace": "strace", "gdb": "gdb", "eu-stack": "elfutils", "perf": "linux-perf", "ovs-vsctl": "openvswitch-switch",
}  # fmt: skip
_GRACE = 2.0
"""Seconds that a tool has to print its summary after it was interrupted."""
_PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run went."""

    text: str
    why: str = ""
    """What is missing of the output, and why: `strace is not installed`, `strace did not end within 5 s`."""
    absent: bool = False
    """Whether there is no such program."""
    failed: bool = False
    """Whether what it printed is a complaint and no output."""
    said: str = ""
    """What it complained of."""


def find(program: str) -> str | None:
    """Return where a program is."""
    return shutil.which(program, path=_path())


def package_of(program: str) -> str:
    """Return how to get a program."""
    return f"apt install {_PACKAGES[program]}" if program in _PACKAGES else ""


def run(
    words: Sequence[str],
    *,
    limit: float = 5.0,
    interrupt_after: float | None = None,
    enough: int = MAX_OUTPUT,
    errors_too: bool = False,
    directory: str | None = None,
    dies_with_us: bool = False,
) -> Ran:
    """Run a tool, and kill it with its children when it does not end.

    Args:
        words: the program and its arguments.
        limit: seconds after which it is killed.
        interrupt_after: seconds after which it gets SIGINT, as from Control-C, and then still has a moment to say what it saw.
        enough: bytes after which it is stopped; what it printed until then counts.
        errors_too: take what it writes on standard error for output, as strace does; else it is what it complains of.
        directory: where it runs and may write; one of its own, which goes away, without.
        dies_with_us: have the kernel kill it when we are killed ourselves: what attaches to a process must not stay there.

    """
    name = words[0]
    program = find(name)
    if program is None:
        return Ran("", f"{name} is not installed", absent=True)
    with contextlib.ExitStack() as stack:
        home = directory or stack.enter_context(tempfile.TemporaryDirectory(prefix="pktpath-doctor-"))
        try:
            process = subprocess.Popen(
                [*_tied(), program, *words[1:]] if dies_with_us else list(words),
                executable=find("setpriv") if dies_with_us and _tied() else program,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if errors_too else subprocess.PIPE,
                cwd=home,
                env=_environment(home),
                start_new_session=True,
            )
        except OSError as error:
            return Ran("", f"{name} cannot be run: {error.strerror}", failed=True)
        try:
            end = _follow(process, limit, interrupt_after, enough)
        finally:
            # Whatever it started shares its group.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
    text, said = (part.decode(errors="replace") for part in (end.output, end.complaint))
    said = next((line.strip() for line in reversed((said or text).splitlines()) if line.strip()), "")
    if end.late:
        return Ran(text, f"{name} did not end within {limit:g} s and was killed", said=said, failed=interrupt_after is not None)
    if process.returncode and not end.much and not end.interrupted:
        return Ran(
            text, f"{name}: {said.removeprefix(f'{name}: ') or f'exit status {process.returncode}'}", failed=True, said=said
        )
    return Ran(text, f"{name} printed more than {enough >> 20} MiB" if end.much and enough == MAX_OUTPUT else "", said=said)


def _tied() -> list[str]:
    """Return the words before a program that the kernel kills with the thread that started it (PR_SET_PDEATHSIG)."""
    return ["setpriv", "--pdeathsig", "KILL", "--"] if find("setpriv") else []


@dataclass(slots=True)
class _End:
    output: bytearray
    complaint: bytearray
    late: bool = False
    """Whether the time ran out."""
    much: bool = False
    """Whether there was more than enough."""
    interrupted: bool = False


def _follow(process: subprocess.Popen[bytes], limit: float, interrupt_after: float | None, enough: int) -> _End:
    """Read until the end."""
    seen = _End(bytearray(), bytearray())
    began = time.monotonic()
    end = began + limit
    interrupt = end if interrupt_after is None else began + interrupt_after
    with selectors.DefaultSelector() as selector:
        for pipe, to in ((process.stdout, seen.output), (process.stderr, seen.complaint)):
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ, to)
        while selector.get_map():
            now = time.monotonic()
            if now >= end:
                seen.late = True
                return seen
            if now >= interrupt and not seen.interrupted:
                process.send_signal(signal.SIGINT)
                seen.interrupted = True
                end = min(end, now + _GRACE)
            # A child of the tool may hold the pipe after the tool itself has gone: look every now and then.
            for key, _ in selector.select(min((end if seen.interrupted else min(end, interrupt)) - now, 0.2)):
                piece = os.read(key.fd, _PIECE)
                if not piece:
                    selector.unregister(key.fileobj)
                elif len(key.data) < enough:
                    key.data.extend(piece)
            if len(seen.output) >= enough:
                seen.much = True
                return seen
            if process.poll() is not None and not selector.select(0):
                break
    try:
        process.wait(max(0.0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        seen.late = True
    return seen


def _path() -> str:
    return os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin") + ":/usr/local/sbin:/usr/sbin:/sbin"


def _environment(home: str) -> dict[str, str]:
    # Only this: neither languages nor somebody's settings of gdb and perf shall speak, nor shall gdb fetch symbols from afar.
    return {"PATH": _path(), "LC_ALL": "C", "HOME": home, "TERM": "dumb", "COLUMNS": "512"}
