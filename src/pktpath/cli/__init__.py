"""Commands: one file a sub-command; importing this room costs nothing heavy.

Enters: a command line. Leaves: text or JSON on standard output, status and one-line errors on
standard error, an exit code: 0 done, 1 usage or bad input, 2 refused by the kernel or a peer, 130
interrupted. A command's module is imported when it runs, and numba when it needs it.
"""

import importlib
import importlib.util
from typing import Any

import click

from pktpath import __version__

COMMANDS = {
    "demo": ("pktpath.cli.demo:demo", "The whole path on built-in traffic, every switch on and off."),
    "coalesce": ("pktpath.cli.coalesce:coalesce", "What GRO, or LRO, would have delivered of a capture."),
    "segment": ("pktpath.cli.segment:segment", "Super-frames to wire frames with right checksums."),
    "checksum": ("pktpath.cli.checksum:checksum", "Count right, wrong and partial checksums; --fix completes them."),
    "rss": ("pktpath.cli.rss:rss", "Which flow lands on which queue, and what a better table gives."),
    "ethtool": ("pktpath.cli.ethtool:ethtool", "ethtool's words and texts, on real devices and own cards."),
    "replay": ("pktpath.cli.replay:replay", "What a card and a host would do with a capture."),
    "appctl": ("pktpath.cli.appctl:appctl", "Any control command of a running daemon; ovs-appctl works too."),
    "dpctl": ("pktpath.cli.dpctl:dpctl", "The datapath: ports, megaflows, masks, with ovs-dpctl's text."),
    "ofctl": ("pktpath.cli.ofctl:ofctl", "Flows, groups and meters of a bridge, in ovs-ofctl's words."),
    "top": ("pktpath.cli.top:top", "Ports, threads and megaflows of a running daemon, live."),
    "switch": ("pktpath.cli.switch:switch", "The virtual switch: run it, add and remove ports, stop it."),
    "dump": ("pktpath.cli.dump:dump", "The traffic of a running switch, live, as pcapng."),
    "doctor": (
        "pktpath.cli.doctor:doctor",
        "What a host, process or transcript is doing, and what to switch.",
    ),
    "bench": ("pktpath.cli.bench:bench", "The engine and its peers side by side."),
}
"""Each command: where it is, as module:name, and its line in the help."""


def verbatim(text: str | None) -> str | None:
    r"""Return a help text whose `\b` lines, written in a raw docstring, are what click leaves lines alone for."""
    return text.replace("\\b\n", "\b\n") if text else text


class LazyGroup(click.Group):
    """A group that imports a command when it is called, and lists those whose module is there."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order of the table."""
        return [name for name, (place, _) in COMMANDS.items() if importlib.util.find_spec(place.partition(":")[0])]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, None when there is none of this name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        command.help = verbatim(command.help)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        if rows := [(name, COMMANDS[name][1]) for name in self.list_commands(ctx)]:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", prog_name="pktpath", message="%(prog)s %(version)s")
def pktpath() -> None:
    r"""Run, switch, measure and question the Linux packet path.

    \b
    See it work:       pktpath demo
    Repair a capture:  pktpath segment -r vm.pcap -w wire.pcap
    Ask why:           pktpath coalesce -r wire.pcap -w gro.pcapng --why

    A file named - is standard input or output. Status and errors go to standard error, so that
    the output of one command can be the input of the next. After the options of a command that
    reads a capture, a pcap-filter expression selects frames.

    Exit status: 0 done, 1 wrong usage or bad input, 2 refused by the kernel or another program,
    130 interrupted. Whatever the status, no output file is left half-written.
    """


pktpath.help = verbatim(pktpath.help)


def main(arguments: list[str] | None = None) -> Any:
    """Run `pktpath` with these arguments (the process's own without) and exit with its status."""
    from pktpath.cli.common import run

    raise SystemExit(run(pktpath, arguments))
