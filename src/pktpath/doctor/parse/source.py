"""Files, folders, archives and standard input to a case.

A file may hold the output of one command, and be named after it, or any mixture of prompts, outputs and prose. Everything is
read as a stream: what is kept is facts, and of each kind a bounded number.
"""

import bz2
import codecs
import contextlib
import gzip
import io
import lzma
import os
import re
import sys
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import zstandard

from pktpath.doctor.case import Case, Missing
from pktpath.doctor.facts.base import Fact
from pktpath.doctor.parse.file_name import command_in
from pktpath.doctor.parse.prompt import plain
from pktpath.doctor.parse.transcript import MAX_LINE, Transcript
from pktpath.errors import BadInput

MAX_FACTS = 200_000
"""Of one kind; what comes later is counted and said."""
MAX_BYTES = 8 << 30
"""Of an unpacked archive or file."""
_OPEN: dict[str, Callable[[Any], Any]] = {"gzip": gzip.open, "xz": lzma.open, "bzip2": bz2.open}
_MAGIC = {b"\x1f\x8b": "gzip", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2"}
_PEEK = 4096
_BEGIN = 1 << 16
_PIECE = 1 << 20
_TOPICS = re.compile(r"\b(?:NAPI|TSO|GSO|USO|UFO|LRO|GRO|RSS|RPS|VXLAN|PMD|EMC|AF_XDP|EAGAIN|vhost-user|ethtool)\b", re.ASCII)
"""Words of prose that `explain` has something about."""
_ORDERS = 1_000_000
"""Sections that a document may have before its orders meet those of the next."""


def read(paths: Sequence[Path | str], *, progress: Callable[[str], None] = lambda _: None) -> Case:
    """Return the case of all these files together.

    Args:
        paths: files, folders (with all that is in them), tar archives such as sosreports; `-` is standard input.
        progress: gets the name of each file before it is read, and how far it is in large ones.

    Raises:
        BadInput: a path does not exist. Whatever else is wrong with them is in the case: what is missing, and why.

    """
    reader = _Reader(progress)
    for path in paths:
        reader.read(path)
    return reader.case()


class _Reader:
    """What was read until now."""

    def __init__(self, progress: Callable[[str], None]) -> None:
        self.facts: list[Fact] = []
        self.missing: list[Missing] = []
        self._progress = progress
        self._documents = self._unknown = 0
        self._kinds: Counter[type[Fact]] = Counter()

    def case(self) -> Case:
        missing = list(self.missing)
        if self._unknown:
            files = "1 file" if self._unknown == 1 else f"{self._unknown} files"
            missing.append(Missing(f"{files} of other commands", "not known to pktpath, and not needed"))
        for kind, count in self._kinds.items():
            if count > MAX_FACTS:
                missing.append(
                    Missing(f"{count - MAX_FACTS:,} lines of {kind.__name__}", f"only the first {MAX_FACTS:,} are kept")
                )
        return Case(self.facts, missing)

    def read(self, path: Path | str) -> None:
        if str(path) == "-":
            self._stream(sys.stdin.buffer, "standard input", "", alone=True)
            return
        path = Path(path)
        if path.is_dir():
            for folder, folders, files in os.walk(path):
                folders.sort()
                for name in sorted(files):
                    place = Path(folder) / name
                    if place.is_file() and not place.is_symlink():
                        self._file(place, str(place.relative_to(path.parent)), alone=False)
        else:
            self._file(path, str(path), alone=True)

    def _file(self, path: Path, source: str, *, alone: bool) -> None:
        try:
            with path.open("rb") as file:
                self._stream(file, source, path.name, alone=alone)
        except FileNotFoundError:
            message = f"{path}: no such file"
            raise BadInput(message) from None
        except OSError as error:
            self.missing.append(Missing(source, error.strerror or str(error)))

    def _stream(self, raw: IO[bytes], source: str, name: str, *, alone: bool) -> None:
        self._progress(source)
        try:
            with contextlib.ExitStack() as stack:
                file = _unpacked(raw, stack)
                begin = _peek(file)
                if begin[257:262] == b"ustar":
                    self._archive(file, source)
                elif begin.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                    self._document(file, "utf-16", source, name, alone=alone)
                elif b"\0" in begin:
                    self._not_read(source, "binary, not a text", alone=alone)
                elif not begin.strip():
                    self._not_read(source, "empty", alone=alone)
                else:
                    self._document(file, "utf-8-sig", source, name, alone=alone)
        except (EOFError, tarfile.TarError, lzma.LZMAError, gzip.BadGzipFile, UnicodeError) as error:
            self.missing.append(Missing(source, f"damaged: {error}"))

    def _archive(self, file: Any, source: str) -> None:
        left = MAX_BYTES
        with tarfile.open(fileobj=file, mode="r|") as archive:
            for member in archive:
                left -= member.size
                if left < 0:
                    self.missing.append(Missing(f"{source}: {member.name}", f"behind the first {MAX_BYTES >> 30} GiB"))
                    return
                if member.isreg() and (content := archive.extractfile(member)) is not None:
                    self._stream(io.BufferedReader(_OnlyRead(content)), member.name, member.name.rsplit("/", 1)[-1], alone=False)

    def _document(self, file: Any, encoding: str, source: str, name: str, *, alone: bool) -> None:
        text = io.TextIOWrapper(file, encoding, "replace")
        try:
            self._lines(text, source, name, alone=alone)
        finally:
            # Whoever opened the file closes it.
            text.detach()

    def _lines(self, text: IO[str], source: str, name: str, *, alone: bool) -> None:
        self._documents += 1
        said = command_in(name)
        lines = _Lines(text, lambda share: self._progress(f"{source}: {share} MB"))
        document = Transcript(
            lines, source, command=plain(said.command)[0], scope=said.scope, when=said.when, order=_ORDERS * self._documents
        )  # fmt: skip
        for fact in document.facts():
            kind = type(fact)
            self._kinds[kind] += 1
            if self._kinds[kind] <= MAX_FACTS:
                self.facts.append(fact)
        self.missing += document.missing
        if lines.cut:
            self.missing.append(Missing(source, f"{lines.cut} lines longer than {MAX_LINE} characters were cut"))
        if not document.sections:
            self._not_read(source, "no output of a command that pktpath knows", alone=alone, begin=lines.begin)

    def _not_read(self, source: str, why: str, *, alone: bool, begin: str = "") -> None:
        # In a folder many files are none of the doctor's business; one that was named is.
        if not alone:
            self._unknown += 1
            return
        spoken = sorted(set(_TOPICS.findall(begin)))
        topics = f"; it speaks of {', '.join(spoken)}: pktpath doctor explain {spoken[0]}" if spoken else ""
        self.missing.append(Missing(source, f"{why}{topics}", "paste commands with what they print"))


class _Lines:
    """Lines of a text without their ends, the longest ones cut. Read in pieces, which is faster than line by line."""

    def __init__(self, text: Any, progress: Callable[[int], None]) -> None:
        self._text, self._progress = text, progress
        self.cut = 0
        self.begin = ""
        """The first of it: what a document without any output is about."""

    def __iter__(self) -> Iterator[str]:
        size = told = 0
        rest = ""
        while (piece := self._text.read(_PIECE)) and size < MAX_BYTES:
            self.begin = self.begin or piece[:_BEGIN]
            size += len(piece)
            if size - told > 16 << 20:
                told = size
                self._progress(size >> 20)
            lines = piece.split("\n")
            lines[0] = rest + lines[0]
            # Enough of a line that goes on to see that it is too long.
            rest = lines.pop()[: MAX_LINE + 1]
            if len(max(lines, key=len, default="")) > MAX_LINE:
                lines = [self._short(line) for line in lines]
            yield from lines
        if rest:
            yield self._short(rest)

    def _short(self, line: str) -> str:
        self.cut += len(line) > MAX_LINE
        return line[:MAX_LINE]


class _OnlyRead(io.RawIOBase):
    """A member of an archive that is read as a stream: it knows no seeking, and cannot say so."""

    def __init__(self, member: IO[bytes]) -> None:
        self._member = member

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._member.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


def _unpacked(raw: Any, stack: contextlib.ExitStack) -> Any:
    """Return a buffered reader of what a compressed file holds, or of the file itself."""
    file = raw if hasattr(raw, "peek") else io.BufferedReader(raw)
    begin = _peek(file)
    kind = next((kind for magic, kind in _MAGIC.items() if begin.startswith(magic)), "")
    if not kind:
        return file
    opened = zstandard.ZstdDecompressor().stream_reader(file) if kind == "zstd" else stack.enter_context(_OPEN[kind](file))
    return stack.enter_context(io.BufferedReader(opened))


def _peek(file: Any) -> bytes:
    begin: bytes = file.peek(_PEEK)[:_PEEK]
    return begin
