"""Programs that a bench starts: pinned, paused between turns, ended by their process id, and gone when the bench is.

Each stands in a session of its own, so that Ctrl-C reaches the bench alone, which then ends them; and the kernel kills
them should the bench itself be killed (PR_SET_PDEATHSIG, prctl(2)).
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from pktpath.errors import Refused

_PATIENCE = 10.0
"""Seconds that a program has to start or to end."""

Words = Sequence[str | Path]


class PeerMissingError(Exception):
    """A peer is not installed, or does not start here; the message says what would help."""


def program(name: str, package: str, *, path: str | None = None) -> str:
    """Return the path of a program.

    Raises:
        PeerMissingError: it is not installed; the message names the package.

    """
    found = shutil.which(path or name)
    if found is None:
        message = f"{name} is not installed: apt-get install {package}"
        raise PeerMissingError(message)
    return found


def run(words: Words, *, seconds: float = _PATIENCE, given: str | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run a program to its end and return what it printed.

    Raises:
        Refused: it failed or took too long; the message has its last line.

    """
    shown = " ".join(str(word) for word in words[:8])
    try:
        done = subprocess.run(
            words,
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            env=None if env is None else {**os.environ, **env},
        )
    except subprocess.TimeoutExpired as error:
        message = f"{shown}: no answer within {seconds:.0f} seconds"
        raise Refused(message) from error
    if done.returncode:
        message = f"{shown}: {last_line(done.stderr) or last_line(done.stdout) or f'exit status {done.returncode}'}"
        raise Refused(message)
    return done.stdout


def last_line(text: str) -> str:
    """Return the last line with something on it."""
    return ([line.strip() for line in text.splitlines() if line.strip()] or [""])[-1]


class Daemon:
    """A running program."""

    def __init__(self, words: Words, log: Path, *, cpus: str = "", env: Mapping[str, str] | None = None) -> None:
        pinned = ["taskset", "--cpu-list", cpus] if cpus else []
        self._log = log
        self._stream: IO[bytes] = log.open("wb")
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *pinned, *words],
            stdin=subprocess.PIPE,
            stdout=self._stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=None if env is None else {**os.environ, **env},
        )

    @property
    def pid(self) -> int:
        """Its process id: what started it replaced itself by it."""
        return self._process.pid

    def log(self) -> str:
        """Return what it said so far."""
        return self._log.read_text(errors="replace")

    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._process.poll() is not None

    def pause(self) -> None:
        """Let it take no CPU until `resume`."""
        if not self.ended():
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        if not self.ended():
            self._process.send_signal(signal.SIGCONT)

    def wait_until(self, ready: Callable[[], bool], what: str, *, seconds: float = _PATIENCE) -> None:
        """Wait until `ready` says so.

        Raises:
            PeerMissingError: it ended before, or was not ready in time.

        """
        end = time.monotonic() + seconds
        while not ready():
            if self.ended():
                message = f"{what} ended: {last_line(self.log())}"
                raise PeerMissingError(message)
            if time.monotonic() > end:
                message = f"{what} is not ready after {seconds:.0f} seconds: {last_line(self.log())}"
                raise PeerMissingError(message)
            time.sleep(0.02)

    def close(self) -> None:
        """End it: politely, then not."""
        self.resume()
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            self._process.communicate(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._stream.close()


@contextmanager
def started(words: Words, log: Path, *, cpus: str = "", env: Mapping[str, str] | None = None) -> Iterator[Daemon]:
    """Run a program as long as the context lasts.

    Args:
        words: the program and its arguments.
        log: file for what it says.
        cpus: the cores that it may use, as `taskset --cpu-list` has them; empty: all of them.
        env: variables beside those of this process.

    """
    daemon = Daemon(words, log, cpus=cpus, env=env)
    try:
        yield daemon
    finally:
        daemon.close()
