"""`pktpath ofctl`: flows, groups and meters of a daemon's bridges, in the words of ovs-ofctl."""

import sys
from pathlib import Path

import click

from pktpath.cli.common import json_option, print_json
from pktpath.cli.daemon import WORDS, ask, asks, print_text, taken
from pktpath.errors import BadInput

_VERBS = {
    "show": (0, 0), "dump-tables": (0, 0), "dump-aggregate": (0, 1), "dump-flows": (0, 1),
    "add-flow": (1, 1), "add-flows": (1, 1), "mod-flows": (1, 1), "del-flows": (0, 1), "replace-flows": (1, 1),
    "dump-ports": (0, 1), "dump-ports-desc": (0, 1), "mod-port": (2, 2),
    "add-group": (1, 1), "add-groups": (1, 1), "mod-group": (1, 1), "del-groups": (0, 1),
    "dump-groups": (0, 1), "dump-group-stats": (0, 1),
    "add-meter": (1, 1), "mod-meter": (1, 1), "del-meters": (0, 1), "dump-meters": (0, 1), "meter-stats": (0, 1),
}  # fmt: skip
"""Verbs, and how many words may follow the bridge."""
_FILES = {"add-flows", "replace-flows", "add-groups"}
"""Verbs whose word is a file with a line each."""


@click.command(context_settings=WORDS, short_help="Flows, groups and meters of a bridge; ovs-ofctl's words.")
@asks
@json_option
@click.option("--strict", is_flag=True, help="mod-flows and del-flows: only the flow with just this match and priority.")
@click.argument("verb")
@click.argument("words", nargs=-1, metavar="BRIDGE [WORD]...")
def ofctl(verb: str, words: tuple[str, ...], target: str | None, timeout: float, *, strict: bool, as_json: bool) -> None:
    r"""Show and change the flow tables of a running daemon's bridges in the words of ovs-ofctl.

    \b
    show BRIDGE                         dump-ports BRIDGE [PORT]
    dump-flows BRIDGE [FLOW]            add-flow BRIDGE FLOW
    add-flows BRIDGE FILE               replace-flows BRIDGE FILE
    mod-flows BRIDGE FLOW               del-flows BRIDGE [FLOW]
    add-group BRIDGE GROUP              mod-group, del-groups, dump-groups, dump-group-stats
    add-meter BRIDGE METER              mod-meter, del-meters, dump-meters, meter-stats
    dump-tables BRIDGE                  dump-aggregate BRIDGE [FLOW]

    FILE has a flow a line; - is standard input. Either all its flows are taken or none.

    \b
    pktpath ofctl add-flow br0 priority=10,in_port=1,tcp,tp_dst=80,actions=output:2
    pktpath ofctl --strict del-flows br0 priority=10,in_port=1
    pktpath ofctl dump-flows br0

    Exit status: 0 done, 1 wrong usage or no daemon to choose, 2 the daemon refused or is gone.
    """
    context = click.get_current_context()
    late, words = taken(words, "--json")
    as_json |= late
    late, words = taken(words, "--strict")
    strict |= late
    if verb not in _VERBS:
        message = f"there is no {verb!r}; there are {', '.join(_VERBS)}"
        raise click.UsageError(message, context)
    least, most = _VERBS[verb]
    if not least + 1 <= len(words) <= most + 1:
        message = f"{verb} takes a bridge and {least if least == most else f'{least} to {most}'} words more"
        raise click.UsageError(message, context)
    if strict and verb not in {"mod-flows", "del-flows"}:
        message = f"--strict is for mod-flows and del-flows, not for {verb}"
        raise click.UsageError(message, context)
    sent = [*(["--strict"] if strict else []), *words]
    if verb in _FILES:
        # The daemon names the file and the line in what it refuses.
        sent = [words[0], _read(words[1]), "standard input" if words[1] == "-" else words[1]]
    text = ask(target, timeout, f"ofctl/{verb}", sent)
    if as_json:
        print_json({"bridge": words[0], "verb": verb, "lines": [line.strip() for line in text.splitlines()]})
        return
    print_text(text)


def _read(name: str) -> str:
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text()
    except UnicodeDecodeError as error:
        message = f"{name}: offset {error.start}: no UTF-8"
        raise BadInput(message) from None
