"""`pktpath appctl`: any control command of a daemon."""

import click

from pktpath.cli.common import json_option, print_json
from pktpath.cli.daemon import WORDS, ask, asks, print_text


@click.command(context_settings=WORDS, short_help="Any control command; ovs-appctl works too.")
@asks
@json_option
@click.argument("command")
@click.argument("words", nargs=-1, metavar="[WORD]...")
def appctl(command: str, words: tuple[str, ...], target: str | None, timeout: float, *, as_json: bool) -> None:
    r"""Ask a running daemon, as ovs-appctl does; `list-commands` says what it can be asked.

    The socket speaks the protocol of Open vSwitch, so `ovs-appctl -t SOCKET COMMAND` does the same,
    and this command can ask ovs-vswitchd. Options stand before COMMAND.

    \b
    pktpath appctl list-commands
    pktpath appctl dpif-netdev/pmd-stats-show
    pktpath appctl -t /run/pktpath/lab.ctl ofproto/trace br0 in_port=1,tcp,tp_dst=80
    pktpath appctl --json version

    Exit status: 0 done, 1 wrong usage or no daemon to choose, 2 the daemon refused or is gone.
    """
    text = ask(target, timeout, command, words)
    if as_json:
        print_json({"command": command, "words": list(words), "text": text})
        return
    print_text(text)
