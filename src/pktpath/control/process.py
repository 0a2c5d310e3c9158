"""The daemon as a process: its lock, its way into the background, what it tells the service manager, its log.

Source: daemon(7), sd_notify(3), flock(2).
"""

import contextlib
import fcntl
import logging
import os
import signal
import socket
import time
from pathlib import Path
from typing import NamedTuple

from pktpath.errors import Refused

_LEVELS = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
"""Priorities of syslog(3)."""


class PidFile:
    """The file with the number of the process. Who holds its lock is the one switch of this name."""

    def __init__(self, path: str) -> None:
        """Take the lock and write the number.

        Raises:
            Refused: another process has it, or the file cannot be written.

        """
        self.path = path
        while True:
            try:
                self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            except OSError as error:
                message = f"{path}: {error.strerror}"
                raise Refused(message) from error
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                number = os.read(self._fd, 32).decode(errors="replace").strip()
                os.close(self._fd)
                message = f"{path}: this switch runs already, as process {number}: stop it, or choose another name in [switch]"
                raise Refused(message) from None
            # The one before us may have taken the file away between our two calls.
            if self._is_ours():
                break
            os.close(self._fd)
        self.write()

    def _is_ours(self) -> bool:
        with contextlib.suppress(OSError):
            return os.path.samestat(os.fstat(self._fd), Path(self.path).lstat())
        return False

    def write(self) -> None:
        """Write the number of this process."""
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        """Take the file away and give up the lock."""
        with contextlib.suppress(OSError):
            if self._is_ours():
                Path(self.path).unlink()
        os.close(self._fd)


class Notifier:
    """Tells systemd how it goes; silent where nobody listens."""

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the zero byte of a name that is in no file system.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        watchdog = os.environ.get("WATCHDOG_USEC", "")
        mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.interval = int(watchdog) / 2e6 if watchdog.isdecimal() and mine else None
        """Seconds between two signs of life, None where none are wanted."""

    def tell(self, *lines: str) -> None:
        """Send lines as READY=1."""
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.sendto("\n".join(lines).encode(), self._address)

    def reloading(self) -> None:
        """Say that a reload begins, with the time that systemd compares."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


class Detached(NamedTuple):
    """Which side of `detach` this is."""

    parent: bool
    status: int = 0
    """In the parent: how the start went."""
    text: str = ""
    """In the parent: why it failed."""
    pipe: int = -1

    def ready(self, status: int = 0, text: str = "") -> None:
        """In the child: tell the parent how the start went, and leave the terminal."""
        with contextlib.suppress(OSError):
            os.write(self.pipe, bytes([status]) + text.encode())
        os.close(self.pipe)
        if status == 0:
            nothing = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nothing, stream)
            os.close(nothing)


def detach() -> Detached:
    """Become a process of the background: a session of its own, not its leader, in the root directory.

    The terminal stays until the child says that it is ready, so that faults of the start are seen. Nothing may be open
    yet that a fork would share, and no thread run.
    """
    read, write = os.pipe2(os.O_CLOEXEC)
    first = os.fork()
    if first:
        os.close(write)
        os.waitpid(first, 0)
        data = b""
        while piece := os.read(read, 4096):
            data += piece
        os.close(read)
        # Nothing written: it has died.
        return (
            Detached(True, data[0], data[1:].decode(errors="replace"))
            if data
            else Detached(True, 2, "the switch died at its start")
        )
    os.close(read)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return Detached(False, pipe=write)


class _OneLine(logging.Formatter):
    """One record, one line: a fault with its trace is folded."""

    def __init__(self, *, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info:
            text += " | " + self.formatException(record.exc_info).replace("\n", " | ")
        text = text.replace("\n", " ")
        if self._journal:
            return f"<{_LEVELS.get(record.levelno, 6)}>{text}"
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return f"{at}.{int(record.msecs):03d}Z {record.levelname.lower()} {text}"


def start_log(level: str, file: str | None) -> None:
    """Write the log of this process to a file, or to standard error.

    Raises:
        Refused: the file cannot be opened.

    """
    try:
        handler: logging.Handler = logging.StreamHandler() if file is None else logging.FileHandler(file)
    except OSError as error:
        message = f"{file}: {error.strerror}"
        raise Refused(message) from error
    handler.setFormatter(_OneLine(journal=file is None and "JOURNAL_STREAM" in os.environ))
    root = logging.getLogger("pktpath")
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(level.upper())
    root.propagate = False
