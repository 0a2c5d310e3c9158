"""`pktpath dpctl`: the datapath of a daemon, with what the userspace datapath of Open vSwitch hides."""

import json

import click

from pktpath.cli.common import json_option, print_json
from pktpath.cli.daemon import WORDS, ask, asks, print_text, taken

_AS_VIEW = {"show": (), "dump-flows": ("flows",)}
"""Verbs that have an answer of JSON, and the words of `pktpath/view` that ask for it."""


@click.command(context_settings=WORDS, short_help="The datapath: ports, megaflows, masks; ovs-dpctl's text.")
@asks
@json_option
@click.argument("verb")
@click.argument("words", nargs=-1, metavar="[WORD]...")
def dpctl(verb: str, words: tuple[str, ...], target: str | None, timeout: float, *, as_json: bool) -> None:
    r"""Show the datapath of a running daemon in the words and with the text of ovs-dpctl.

    `show` has a line more than ovs-appctl's dpctl/show: how many masks there are and how many a
    packet has to try, as the kernel's datapath tells it. VERB is any dpctl/ command of the daemon.
    Words behind VERB are the verb's.

    \b
    show [-s]           lookups, megaflows, masks, ports; -s: what the ports counted
    dump-flows [-m] [--names] [filter=MATCH] [type=TYPE] [pmd=CORE]
    del-flows           forget all megaflows
    dump-dps            names of datapaths

    \b
    pktpath dpctl show -s
    pktpath dpctl dump-flows -m filter=tcp,tp_dst=80
    pktpath dpctl --json dump-flows

    Exit status: 0 done, 1 wrong usage or no daemon to choose, 2 the daemon refused or is gone.
    """
    late, words = taken(words, "--json")
    as_json |= late
    if as_json and verb in _AS_VIEW:
        if unknown := [word for word in words if word not in {"-s", "-m", "--names"}]:
            message = f"--json {verb} tells everything and takes no {unknown[0]}"
            raise click.UsageError(message, click.get_current_context())
        print_json(json.loads(ask(target, timeout, "pktpath/view", _AS_VIEW[verb])))
        return
    text = ask(target, timeout, f"dpctl/{verb}", ["--masks", *words] if verb == "show" else words)
    if as_json:
        print_json({"command": f"dpctl/{verb}", "words": list(words), "text": text})
        return
    print_text(text)
