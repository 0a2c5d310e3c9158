"""Bytes of a capture: a regular file, stdin, a FIFO or a file object; gzip and zstd as they come.

Enters: a path, "-" or a file object. Leaves: `readinto`, which gives what is there and waits only
when nothing is. No mapping: a file that shrinks while it is read must not kill the process.
"""

import contextlib
import fcntl
import gzip
import io
import os
import select
import stat
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from pktpath.port.capture_types import CaptureError

STDIO = "-"
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_PIPE_SIZE = 1 << 20
_PIECE = 1 << 18
"""Bytes asked of a decompressor at once."""
_ZSTD_WINDOW = 1 << 27
"""What `zstd -d` accepts without being asked; --ultra and --long=27 stay below."""


class Source(io.RawIOBase):
    """A readable run of bytes whose first ones can be looked at; counts what was taken from the file."""

    def __init__(self, target: str | os.PathLike[str] | BinaryIO) -> None:
        """Open a path, "-" for stdin, or anything with `readinto` or `read`.

        Raises:
            CaptureError: it cannot be opened.

        """
        super().__init__()
        self.bytes_read = 0
        self.size: int | None = None
        self._front = b""
        self._poll: select.poll | None = None
        self._file: Any
        if isinstance(target, str | os.PathLike):
            self.label = "stdin" if target == STDIO else os.fspath(target)
            self._owned = True
            try:
                self._file = io.FileIO(0, closefd=False) if target == STDIO else io.FileIO(Path(target))
                self._examine(self._file.fileno())
            except OSError as error:
                raise CaptureError(self.label, error.strerror or str(error)) from error
        else:
            self.label = str(getattr(target, "name", "capture"))
            self._owned = False
            self._file = target
        self._read = getattr(self._file, "readinto1", None) or getattr(self._file, "readinto", None) or self._read_copy

    def _examine(self, fd: int) -> None:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(0, "is a directory")
        if stat.S_ISREG(mode):
            self.size = os.fstat(fd).st_size
            return
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        if stat.S_ISFIFO(mode):
            with contextlib.suppress(OSError):  # the user's share of pipe memory may be used up
                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)

    def _read_copy(self, buffer: memoryview) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def peek(self, length: int) -> bytes:
        """Return the next `length` bytes, fewer at the end, without taking them."""
        while len(self._front) < length:
            buffer = bytearray(length - len(self._front))
            count = self._take(memoryview(buffer))
            if count == 0:
                break
            self._front += buffer[:count]
        return self._front[:length]

    def readable(self) -> bool:
        """Return True: for the decompressors."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is there into `buffer`, waiting only for the first byte; 0 at the end."""
        view = memoryview(buffer).cast("B")
        if self._front:
            count = min(len(self._front), len(view))
            view[:count] = self._front[:count]
            self._front = self._front[count:]
            return count
        total = self._take(view)
        while 0 < total < len(view) and self._more_waits():
            count = self._take(view[total:])
            if count == 0:
                break
            total += count
        return total

    def _more_waits(self) -> bool:
        """Whether a pipe holds more now; one read of a pipe returns at most what fits into it."""
        return self._poll is not None and bool(self._poll.poll(0))

    def _take(self, view: memoryview) -> int:
        count = int(self._read(view) or 0)
        self.bytes_read += count
        return count

    def close(self) -> None:
        """Close the file if this object opened it."""
        if not self.closed and self._owned:
            self._file.close()
        super().close()


class CaptureSource:
    """The decompressed bytes of a `Source`, with errors in the capture's own words."""

    def __init__(self, target: str | os.PathLike[str] | BinaryIO) -> None:
        """Open and find out about compression."""
        self.raw = Source(target)
        self.label = self.raw.label
        self._stream: Any = self.raw
        self._stream_error: type[Exception] = zlib.error
        self.cut: str | None = None
        """What ended a compressed file too early."""
        magic = self._guard(self.raw.peek, 4)
        if magic[:2] == _GZIP:
            self._stream = gzip.GzipFile(fileobj=self.raw, mode="rb")
        elif magic == _ZSTD:
            import zstandard

            decompressor: Any = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
            self._stream = decompressor.stream_reader(self.raw, read_across_frames=True)
            self._stream_error = zstandard.ZstdError

    def readinto(self, view: memoryview) -> int:
        """Fill `view` with what is there; 0 at the end.

        Raises:
            CaptureError: the file cannot be read, or its compressed data are damaged.

        """
        if self._stream is self.raw:
            return int(self._guard(self.raw.readinto, view))
        total = 0
        while total < len(view):
            try:
                count = int(self._guard(self._stream.readinto1, view[total : total + _PIECE]))
            except EOFError:
                self.cut = "the compressed data end too early"
                break
            total += count
            if count == 0 or self.raw.size is None:
                break
        return total

    def _guard(self, read: Any, argument: Any) -> Any:
        try:
            return read(argument)
        except (gzip.BadGzipFile, zlib.error) as error:
            raise CaptureError(self.label, f"gzip: {error}", offset=self.raw.bytes_read) from error
        except OSError as error:
            raise CaptureError(self.label, error.strerror or str(error), offset=self.raw.bytes_read) from error
        except self._stream_error as error:
            raise CaptureError(self.label, f"zstd: {error}", offset=self.raw.bytes_read) from error

    def close(self) -> None:
        """Close the file."""
        if self._stream is not self.raw:
            self._stream.close()
        self.raw.close()
