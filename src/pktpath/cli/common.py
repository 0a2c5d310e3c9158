"""What every command shares: errors as one line, the usual options, tables, numbers, progress.

Nothing here imports numpy, numba or rich before it is needed.
"""

import json
import os
import signal
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from pktpath.errors import BadInput, Refused

_WIDE = 100
"""Columns of a terminal from which on a table has room between its columns."""
DONE, BAD_INPUT, REFUSED, INTERRUPTED = 0, 1, 2, 130


def run(command: click.Command, arguments: list[str] | None = None) -> int:
    """Run a click command, turn whatever it raises into one line, and return the exit status."""
    for stop in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(stop, _stop)
    try:
        with _signals_that_last():
            status = _invoke(command, sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return BAD_INPUT
    except click.UsageError as error:
        name = error.ctx.command_path if error.ctx else "pktpath"
        return _fail(f"{name}: {_sentence(error.format_message())} (try '{name} --help')")
    except click.ClickException as error:
        return _fail(f"pktpath: {_sentence(error.format_message())}")
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError as error:
        return _closed_pipe(error)
    except BadInput as error:
        return _fail(f"pktpath: {error}")
    except Refused as error:
        return _fail(f"pktpath: {error}", REFUSED)
    except OSError as error:
        where = f"{_name(error.filename)}: " if error.filename is not None else ""
        return _fail(f"pktpath: {where}{error.strerror or error}")
    return status if isinstance(status, int) else DONE


def _invoke(command: click.Command, arguments: list[str]) -> object:
    # Not `command.main`, which makes exits of its own of a closed pipe and of wrong usage.
    if instruction := os.environ.get("_PKTPATH_COMPLETE"):
        from click.shell_completion import shell_complete

        return shell_complete(command, {}, "pktpath", "_PKTPATH_COMPLETE", instruction)
    with command.make_context("pktpath", list(arguments)) as context:
        return command.invoke(context)


_stopping: list[int] = []
"""The signals that came."""


def _stop(number: int, _frame: object) -> None:
    # As an exception, so that half-written files are taken away on the way out.
    _stopping.append(number)
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)


@contextmanager
def _signals_that_last() -> Iterator[None]:
    """Raise again what a signal raised while C code called back into Python, as numba does: there it is dropped."""
    before = sys.unraisablehook

    def dropped(what: Any) -> None:
        if not isinstance(what.exc_value, SystemExit | KeyboardInterrupt):
            # Once a signal came, objects of C libraries may be taken down half-made: that is no news.
            if not _stopping:
                before(what)
            return
        error = what.exc_value.with_traceback(None)

        def again(_number: int, _frame: object) -> None:
            raise error

        signal.signal(signal.SIGALRM, again)
        signal.setitimer(signal.ITIMER_REAL, 0.01)

    sys.unraisablehook = dropped
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.unraisablehook = before


def _fail(line: str, status: int = BAD_INPUT) -> int:
    click.echo(line.replace("\n", " "), err=True)
    return status


def _sentence(message: str) -> str:
    message = message.rstrip(".")
    return message[:1].lower() + message[1:]


def _name(filename: object) -> str:
    return os.fsdecode(filename) if isinstance(filename, (str, bytes, os.PathLike)) else str(filename)


def _closed_pipe(error: BrokenPipeError) -> int:
    # Python flushes standard output once more when it exits: let that go nowhere.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    # `pktpath ... | head` is quiet; a capture that did not arrive whole is not.
    return _fail(f"pktpath: {_name(error.filename)}: closed by its reader") if error.filename is not None else BAD_INPUT


# The usual options


def reads(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `-r IN` (parameter `source`) and the filter words (parameter `expression`, one string)."""
    words = click.argument("expression", nargs=-1, metavar="[FILTER]...", callback=lambda _ctx, _param, value: " ".join(value))
    option = click.option(
        "-r",
        "--read",
        "source",
        metavar="IN",
        required=True,
        help="Capture to read (pcap or pcapng, gzip or zstd too); - is standard input.",
    )
    return option(words(function))


def writes(*, required: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add `-w OUT` (parameter `target`)."""
    text = "Capture to write, pcapng if its name ends so, else pcap; - is standard output."
    return click.option("-w", "--write", "target", metavar="OUT", required=required, help=text)


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--json` (parameter `as_json`)."""
    return click.option("-j", "--json", "as_json", is_flag=True, help="Print the result as JSON.")(function)


def different_files(source: str, target: str | None) -> None:
    """Refuse to write onto the input.

    Raises:
        click.UsageError: both names are one regular file.

    """
    if target in {None, "-"} or source == "-":
        return
    one, other = Path(source), Path(str(target))
    if one.exists() and other.exists() and one.samefile(other):
        message = f"{target} is the input: write to another file"
        raise click.UsageError(message, click.get_current_context(silent=True))


# Text


def say(text: str) -> None:
    """Print a line of status on standard error."""
    click.echo(text, err=True)


def result_stream(target: str | None) -> bool:
    """Whether results go to standard error because a capture takes standard output."""
    return target == "-"


def print_json(value: object, *, err: bool = False) -> None:
    """Print a value as indented JSON."""
    click.echo(json.dumps(value, indent=2), err=err)


def number(value: float, digits: int = 0) -> str:
    """Return a number with its thousands apart: 1234567 is "1,234,567"."""
    return f"{value:,.{digits}f}"


def scaled(value: float, unit: str) -> str:
    """Return a number with a decimal prefix: 14200000 and "bit/s" is "14.2 Mbit/s"."""
    for prefix in ("", "k", "M", "G"):
        if abs(value) < 1000:
            return f"{value:.3g} {prefix}{unit}"
        value /= 1000
    return f"{value:,.3g} T{unit}"


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int] = (0,), err: bool = False, title: str = ""
) -> None:
    """Print a table: drawn on a terminal, plain aligned words where it is piped.

    Args:
        header: the name of each column; a line break in it is a space where the table is piped.
        rows: one string a column; an empty row draws a line; a row with words in the first column
            alone, or with these and the second, is a heading.
        left: the columns that are words, and aligned to the left; the others are numbers.
        err: print on standard error.
        title: a line above it.

    """
    stream = sys.stderr if err else sys.stdout
    if stream.isatty() and os.environ.get("TERM") != "dumb":
        _print_drawn(header, rows, left, title, err=err)
        return
    if title:
        click.echo(title, err=err)
    header = [name.replace("/\n", "/").replace("\n/", "/").replace("\n", " ") for name in header]
    width = [max(len(row[k]) for row in [header, *rows] if row) for k in range(len(header))]
    for row in filter(None, [header, *rows]):
        cells = [cell.ljust(width[k]) if k in left else cell.rjust(width[k]) for k, cell in enumerate(row)]
        click.echo("  ".join(cells).rstrip(), err=err)


def _print_drawn(header: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int], title: str, *, err: bool) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(stderr=err, highlight=False)
    padding = 0 if console.width < _WIDE else (0, 1)
    table = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", title_style="bold", padding=padding)
    for k, name in enumerate(header):
        table.add_column(name, justify="left" if k in left else "right", no_wrap=k not in left, header_style="bold")
    for k, row in enumerate(rows):
        if row:
            heading = not any(row[2:])
            table.add_row(*row, style="bold" if heading else None, end_section=k + 1 < len(rows) and not rows[k + 1])
    console.print(table)


# Progress

Update = Callable[..., None]
"""Takes what is done so far and, where it changes, the label."""


@contextmanager
def progress(label: str, source: str) -> Iterator[Update]:
    """Show how far a file is read; yield a function that takes the offset reached, in bytes.

    Silent unless the file is a regular one and standard error a terminal.
    """
    size = 0
    if source != "-" and sys.stderr.isatty():
        try:
            state = Path(source).stat()
        except OSError:
            state = None
        size = state.st_size if state is not None and stat.S_ISREG(state.st_mode) else 0
    if size == 0:
        yield _ignore
        return
    with steps(label, size, unit="bytes") as update:
        yield update


@contextmanager
def steps(label: str, total: int, *, unit: str = "steps") -> Iterator[Update]:
    """Show a bar on standard error where that is a terminal; yield a function that takes what is done."""
    if not sys.stderr.isatty():
        yield _ignore
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    count = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    left = [TimeRemainingColumn()] if unit == "bytes" else [TextColumn(unit)]
    columns = (TextColumn("{task.description}"), BarColumn(), count, *left)
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)

        def update(done: int, label: str | None = None) -> None:
            bar.update(task, completed=done, description=label)

        yield update


def _ignore(done: int, label: str | None = None) -> None:
    """Show nothing."""
