"""`pktpath doctor`: what a host, a process or a transcript is doing, how we know, and what should be switched."""

import math
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from pktpath.cli import verbatim
from pktpath.cli.common import DONE, REFUSED, print_json, say
from pktpath.errors import BadInput, Refused

if TYPE_CHECKING:
    from pktpath.doctor.case import Case
    from pktpath.doctor.diagnose import Diagnosis

FOUND = 1
"""Exit status: something costs performance, or worse."""
_STYLES = {
    "problem": "bold red", "warning": "bold yellow", "note": "bold cyan", "well": "bold green", "title": "bold",
    "label": "dim", "source": "dim", "quiet": "dim", "command": "cyan",
}  # fmt: skip
_PIPED = 80
_WIDEST = 110
"""Columns beyond which prose is hard to read."""


class _Doctor(click.Command):
    """A command with one word that is a command of its own: `explain`. A file of this name is `./explain`."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Go on with `explain` where that is the first word."""
        if args[:1] == ["explain"]:
            return explain.make_context(f"{info_name} explain", args[1:], parent=parent, **extra)
        return super().make_context(info_name, args, parent=parent, **extra)


def _complete_file(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[Any]:
    from click.shell_completion import CompletionItem

    words = [CompletionItem("explain")] if incomplete and "explain".startswith(incomplete) else []
    return [*words, CompletionItem(incomplete, type="file")]


def _complete_process(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    names = set()
    for place in Path("/proc").glob("[0-9]*/comm"):
        try:
            names.add(place.read_text(errors="replace").strip())
        except OSError:
            continue
    return sorted(name for name in names if name.startswith(incomplete) and " " not in name)


def _complete_device(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    return sorted(place.name for place in Path("/sys/class/net").glob("*") if place.name.startswith(incomplete))


def _complete_topic(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    texts = import_module("pktpath.doctor.explain")
    return [name for name, _ in texts.topics() if name.lower().startswith(incomplete.lower())]


@click.command(
    cls=_Doctor,
    short_help="What a host, process or transcript is doing, and what to switch.",
    epilog="pktpath doctor explain [TOPIC] tells what TSO, a PMD thread or any finding is, in half a page.",
)
@click.argument("files", nargs=-1, metavar="[FILE]...", shell_complete=_complete_file)
@click.option(
    "--pid", type=click.IntRange(1, 1 << 22), metavar="N", help="Look at this process too: memory, files, threads, calls, stacks."
)
@click.option("--process", metavar="NAME", shell_complete=_complete_process, help="The same by its name, such as ovs-vswitchd.")
@click.option("--dev", "devices", multiple=True, metavar="DEV", shell_complete=_complete_device,
              help="Look at this device only; may be given several times.  [default: all]")  # fmt: skip
@click.option("--sos", metavar="DIR|TAR", type=click.Path(), help="Read a sosreport, unpacked or not.")
@click.option("--seconds", type=click.FloatRange(0.5, 300), metavar="S",
              help="Time between the two looks at counters.  [default: 2]")  # fmt: skip
@click.option(
    "--intrusive",
    is_flag=True,
    help="Stop poll-mode threads for moments too, for strace and stacks: they drop packets meanwhile.",
)
@click.option(
    "--save", metavar="DIR", type=click.Path(), help="Keep all that was read in this new folder, which doctor reads again."
)
@click.option("-j", "--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--html", "page", metavar="OUT", type=click.Path(), help="Also write one page that needs nothing else.")
@click.option("--redact", "redacted", is_flag=True, help="Pseudonyms for MAC and IP addresses, UUIDs, names of hosts and users.")
@click.option("--all", "everything", is_flag=True, help="Tell every finding in full, and all that could not be looked at.")
def doctor(files: tuple[str, ...], page: str | None, *, as_json: bool, redacted: bool, everything: bool, **wishes: Any) -> int:
    r"""Say what a packet path is doing, how we know, why, and which switch to turn.

    Without FILE this host is looked at: devices and features, queues, interrupts and protocol
    counters twice, and any process that moves packets. Nothing is changed; what will be done, and
    for how long, is said before.

    FILE is what somebody saved or pasted: outputs of ethtool -k -l -g -c -x -S -i, /proc/net/*,
    /proc/interrupts, ip, tc, ovs-appctl, ovs-dpctl, ovs-vsctl, ps, top, pmap, lsof, strace, gdb, perf, iperf3,
    ping in any mixture, prose and prompts included; a folder or an archive of such files; - is
    standard input.

    \b
    pktpath doctor
    pktpath doctor --process ovs-vswitchd --html report.html
    pktpath doctor transcript.txt perf-script.txt
    pktpath doctor --sos sosreport-node1.tar.xz --redact
    ethtool -k eth0 | pktpath doctor -
    pktpath doctor explain tso

    Findings come in order of weight: a problem loses frames or wastes a core now, a warning costs
    performance, a note explains. Each has its evidence, the switch, what that costs, how to make it
    last, undo and check it.

    Exit status: 0 nothing above a note, 1 findings above a note or wrong usage, 2 nothing could
    be looked at.
    """
    _check(files, page, wishes)
    from pktpath.doctor.diagnose import diagnose

    with _beside(page) as file:
        case = _read([*files, *filter(None, [wishes["sos"]])]) if files or wishes["sos"] else _look(wishes)
        diagnosis = diagnose(case)
        if redacted:
            diagnosis = _redacted(diagnosis)
        if file is not None:
            from pktpath.doctor.report.html import page_of

            about = _about(files, wishes, case, redacted=redacted)
            file.write(page_of(diagnosis, about=about).encode())
    if as_json:
        from pktpath.doctor.report.as_json import document_of

        print_json(document_of(diagnosis))
    else:
        _print(diagnosis, everything=everything)
    if next(iter(case), None) is None:
        return REFUSED
    from pktpath.doctor.finding import Severity

    return FOUND if diagnosis.worst is not None and diagnosis.worst > Severity.NOTE else DONE


doctor.help = verbatim(doctor.help)


@click.command(short_help="What something is, when it helps and hurts, what it depends on, how to see it.")
@click.argument("topic", required=False, shell_complete=_complete_topic)
def explain(topic: str | None) -> None:
    r"""Explain a topic, or any finding by its id, in half a page; list them without TOPIC.

    \b
    pktpath doctor explain
    pktpath doctor explain tso
    pktpath doctor explain tso-off-for-want-of-checksum

    Exit status: 0 done, 1 there is no such topic.
    """
    texts = import_module("pktpath.doctor.explain")
    if topic is None:
        rows = texts.topics()
        width = max((len(name) for name, _ in rows), default=0)
        for name, line in rows:
            click.echo(f"{name:<{width}}  {line}")
    else:
        text = texts.explain(topic)
        click.echo(text, nl=not text.endswith("\n"))


explain.help = verbatim(explain.help)


# What is looked at


def _check(files: tuple[str, ...], page: str | None, wishes: dict[str, Any]) -> None:
    """Refuse what cannot go together before anything is looked at."""
    context = click.get_current_context(silent=True)
    live = [name for name in ("pid", "process", "devices", "seconds", "intrusive", "save") if wishes[name]]
    if (files or wishes["sos"]) and live:
        option = {"devices": "dev"}.get(live[0], live[0])
        message = f"--{option} is for the running host, {wishes['sos'] or files[0]} for what was saved: take one of them"
        raise click.UsageError(message, context)
    if wishes["seconds"] is not None and math.isnan(wishes["seconds"]):
        message = "--seconds nan: a number from 0.5 to 300"
        raise click.UsageError(message, context)
    if wishes["pid"] and wishes["process"]:
        message = "--pid and --process both name the process: take one of them"
        raise click.UsageError(message, context)
    if page == "-":
        message = "--html -: a page goes to a file, standard output has the report"
        raise BadInput(message)
    for name in filter(None, [*files, wishes["sos"]]):
        if name != "-" and not Path(name).exists():
            message = f"{name}: no such file"
            raise BadInput(message)
        if page and name != "-" and Path(page).exists() and Path(page).samefile(name):
            message = f"{page} is the input: write to another file"
            raise click.UsageError(message, context)


def _read(paths: list[str]) -> "Case":
    from pktpath.doctor.case import Case, Missing
    from pktpath.doctor.parse.source import read

    with _progress() as tell:
        try:
            return read(paths, progress=tell)
        except Refused as error:
            # That there is nothing in them is told as a report, too.
            names = ", ".join(paths)
            return Case([], [Missing(names, str(error).removeprefix(f"nothing to look at in {names}: "))])


def _look(wishes: dict[str, Any]) -> "Case":
    from pktpath.doctor.collect import look, plan

    save = Path(wishes["save"]) if wishes["save"] else None
    asked = {
        "pid": wishes["pid"], "process": wishes["process"], "devices": wishes["devices"],
        "seconds": wishes["seconds"] or 2.0, "intrusive": wishes["intrusive"],
    }  # fmt: skip
    for line in plan(**asked):
        say(line)
    with _progress() as tell:
        return look(**asked, save=save, progress=tell)


def _redacted(diagnosis: "Diagnosis") -> "Diagnosis":
    from pktpath.doctor.report.redact import redact

    if not diagnosis.case.live:
        return redact(diagnosis)
    users = {os.environ.get(name, "") for name in ("USER", "LOGNAME", "SUDO_USER")}
    return redact(diagnosis, hosts=[os.uname().nodename], users=sorted(users - {""}))


def _about(files: tuple[str, ...], wishes: dict[str, Any], case: "Case", *, redacted: bool) -> str:
    if case.live:
        import time

        when = time.strftime("%Y-%m-%d %H:%M %Z")
        return when if redacted else f"{os.uname().nodename}, {when}"
    names = [Path(name).name or name for name in filter(None, [*files, wishes["sos"]])]
    # Names of files tell who they came from.
    return "" if redacted else ", ".join("standard input" if name == "-" else name for name in names)


# What is told


def _print(diagnosis: "Diagnosis", *, everything: bool) -> None:
    from pktpath.doctor.report.text import plain, text_of

    if not (sys.stdout.isatty() and os.environ.get("TERM") != "dumb"):
        click.echo(plain(text_of(diagnosis, width=_PIPED, everything=everything)), nl=False)
        return
    from rich.console import Console
    from rich.text import Text

    # Rich knows the colours of the terminal, and NO_COLOR; the lines are ready.
    console = Console(highlight=False, soft_wrap=True)
    width = min(console.width, _WIDEST)
    for line in text_of(diagnosis, width=width, fold=True, everything=everything):
        console.print(Text.assemble(*((span.text, _STYLES.get(span.style, "")) for span in line)))


@contextmanager
def _beside(target: str | None) -> Iterator[IO[bytes] | None]:
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
def _progress() -> Iterator[Callable[[str], None]]:
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
