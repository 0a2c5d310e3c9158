"""Where a capture is written: beside its target, renamed when it is whole; or to a pipe as it comes."""

import contextlib
import os
import signal
import stat
import tempfile
import weakref
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from pktpath.port.capture_source import STDIO
from pktpath.port.capture_types import CaptureError

BEHIND = 8
"""Buffers that may wait to be written: what one batch makes, so that the next one is made meanwhile."""
_STOPS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


class Output:
    """A file that appears under its name only by `commit`."""

    def __init__(self, target: str | os.PathLike[str]) -> None:
        """Open a temporary file in the target's directory; stdout, devices and FIFOs are written directly.

        Raises:
            CaptureError: it cannot be created.

        """
        self.label = "stdout" if target == STDIO else os.fspath(target)
        self.written = 0
        self._pending: deque[Future[None]] = deque()
        self._writer = ThreadPoolExecutor(1)
        self._temporary: Path | None = None
        self._forget = weakref.finalize(self, lambda: None)
        try:
            if target == STDIO:
                self._fd = os.dup(1)
            else:
                self._open(Path(target).resolve())
            self.live = not stat.S_ISREG(os.fstat(self._fd).st_mode)
        except OSError as error:
            raise CaptureError(self.label, error.strerror or str(error)) from error

    def _open(self, path: Path) -> None:
        self._path = path
        mode = 0o666 & ~_umask()
        if path.exists():
            state = path.stat()
            if not stat.S_ISREG(state.st_mode):
                self._fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
                return
            mode = stat.S_IMODE(state.st_mode)
        # A signal may raise anywhere: not between making the file and knowing that it must go.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
        try:
            self._fd, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)
            self._temporary = Path(name)
            self._forget = weakref.finalize(self, partial(self._temporary.unlink, missing_ok=True))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.fchmod(self._fd, mode)

    def write(self, data: memoryview) -> None:
        """Write all of `data`.

        Raises:
            CaptureError: disk full, closed pipe, or what else the system says.

        """
        try:
            while data:
                count = os.write(self._fd, data)
                self.written += count
                data = data[count:]
        except OSError as error:
            message = "closed pipe: the reader has gone" if isinstance(error, BrokenPipeError) else error.strerror
            raise CaptureError(self.label, str(message), offset=self.written, field="write") from error

    def write_behind(self, data: memoryview) -> None:
        """Write all of `data` while the caller goes on; it must stay as it is for the next `BEHIND` calls, or until `wait`.

        Raises:
            CaptureError: what an earlier write could not do.

        """
        if self.live:
            self.write(data)
            return
        while len(self._pending) >= BEHIND:
            self._pending.popleft().result()
        self._pending.append(self._writer.submit(self.write, data))

    def wait(self) -> None:
        """Wait until everything is written.

        Raises:
            CaptureError: it cannot be.

        """
        while self._pending:
            self._pending.popleft().result()

    def commit(self) -> None:
        """Close and give the file its name."""
        self.wait()
        try:
            os.close(self._fd)
            if self._temporary:
                self._temporary.replace(self._path)
            self._forget.detach()
        except OSError as error:
            self._forget()
            raise CaptureError(self.label, error.strerror or str(error), offset=self.written, field="close") from error

    def discard(self) -> None:
        """Close and leave nothing behind."""
        while self._pending:
            with contextlib.suppress(CaptureError):
                self.wait()
        with contextlib.suppress(OSError):
            os.close(self._fd)
        self._forget()


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
