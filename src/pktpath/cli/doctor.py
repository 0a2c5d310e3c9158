"""`pktpath doctor`: what a host, a process or a transcript is doing, how we know, and what should be switched."""

import math
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pktpath.cli import verbatim
from pktpath.cli.common import DONE, REFUSED, print_json, say
from pktpath.cli.doctor_explain import explain
from pktpath.cli.doctor_print import beside, in_colour, print_lines, progress
from pktpath.errors import BadInput

if TYPE_CHECKING:
    from pktpath.doctor.case import Case
    from pktpath.doctor.diagnose import Diagnosis

FOUND = 1
"""Exit status: something costs performance, or worse."""
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

    with beside(page) as file:
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
    from pktpath.doctor.parse.source import read

    with progress() as tell:
        return read(paths, progress=tell)


def _look(wishes: dict[str, Any]) -> "Case":
    from pktpath.doctor.collect import look, plan

    save = Path(wishes["save"]) if wishes["save"] else None
    asked = {
        "pid": wishes["pid"], "process": wishes["process"], "devices": wishes["devices"],
        "seconds": wishes["seconds"] or 2.0, "intrusive": wishes["intrusive"],
    }  # fmt: skip
    for line in plan(**asked):
        say(line)
    with progress() as tell:
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
    from pktpath.doctor.report.text import text_of

    if in_colour():
        width = min(shutil.get_terminal_size().columns, _WIDEST)
        print_lines(text_of(diagnosis, width=width, fold=True, everything=everything))
    else:
        print_lines(text_of(diagnosis, width=_PIPED, everything=everything))
