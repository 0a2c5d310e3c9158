"""How the doctor's commands print: lines with styles, a page beside its target, what is being done."""

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pktpath.doctor.report.text import Line

_STYLES = {
    "problem": "bold red", "warning": "bold yellow", "note": "bold cyan", "well": "bold green", "title": "bold",
    "label": "dim", "source": "dim", "quiet": "dim", "command": "cyan",
}  # fmt: skip


def in_colour() -> bool:
    """Whether standard output is a terminal that knows more than lines; whether it wants colours Rich finds out."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def print_lines(lines: "Iterable[Line]") -> None:
    """Print lines, with their styles where that is a terminal."""
    if not in_colour():
        from pktpath.doctor.report.text import plain

        click.echo(plain(lines), nl=False)
        return
    from rich.console import Console
    from rich.text import Text

    # Rich knows the colours of the terminal, and NO_COLOR; the lines are broken already.
    console = Console(highlight=False, soft_wrap=True)
    for line in lines:
        console.print(Text.assemble(*((span.text, _STYLES.get(span.style, "")) for span in line)))


@contextmanager
def beside(target: str | None) -> Iterator[IO[bytes] | None]:
    """Open a file beside the target before the long work, and rename it in the end; devices and pipes are written as they are."""
    if target is None:
        yield None
        return
    path = Path(target).resolve()
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        with path.open("wb") as file:
            yield file
        return
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~umask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Show on a terminal what is being done, in one line that goes away."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda _: None
        return
    from pktpath.doctor.report.words import line_of

    def tell(what: str) -> None:
        width = shutil.get_terminal_size().columns
        sys.stderr.write(f"\r\x1b[K{line_of(what, max(width - 1, 10))}")
        sys.stderr.flush()

    try:
        yield tell
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
