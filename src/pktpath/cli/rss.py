"""`pktpath rss`: which flow of a capture lands on which receive queue, and what a better table or key gives."""

import re
from typing import TYPE_CHECKING, Any

import click

from pktpath.cli.common import BAD_INPUT, DONE, json_option, number, print_json, print_table, progress, reads, say, scaled
from pktpath.control.plural import count_of
from pktpath.errors import BadInput

if TYPE_CHECKING:
    from pktpath.path.rss_report import Card

_BAR = 20
_SHOWN = 10
"""Elephants that are named."""
_FROM_GOOD = 1.02
_WORSE = 1.5
"""An imbalance up to here is not worth a change."""

_CAUSES = {
    "no_ip": ("not IP", "no hash, queue 0"),
    "cut": ("cut by a snaplen", "no IP header is left to hash: queue 0 here, anywhere on the wire; capture with -s 0"),
    "no_fields": ("IP without chosen fields", "no hash, queue 0"),
    "fragment": ("IP fragments", "hashed by addresses alone, as only the first has ports: apart from other frames of the flow"),
    "vxlan": ("VXLAN", "hashed by the outer header: its source port tells flows apart as far as the sender draws it from them"),
    "geneve": ("Geneve", "hashed by the outer header: its source port tells flows apart as far as the sender draws it from them"),
    "gre": ("GRE", "hashed by the outer addresses: all flows of a tunnel are one"),
    "ip_in_ip": ("IP in IP", "hashed by the outer addresses: all flows of a tunnel are one"),
    "udp_addresses": ("UDP without ports", "hashed by addresses alone, so that fragments stay with their flow"),
    "addresses": ("TCP or SCTP without ports", "hashed by addresses alone"),
    "other_protocol": ("IP without ports to see", "ICMP, ESP, headers that are cut: hashed by addresses alone"),
}  # fmt: skip


@click.command(short_help="Which flow lands on which queue, and what a better table gives.")
@reads
@click.option("--queues", type=int, metavar="N", help="Receive queues, 1 to 128.")
@click.option("--key", metavar="HEX|NAME", help="Hash key: 40 or 52 bytes, or microsoft (the default), symmetric, mlx5, i40e.")
@click.option(
    "--indirection", metavar="LIST", help="Queue of each table entry: 0,1,2,…, 'equal N' (the default) or 'weight W0 W1 …'."
)
@click.option("--size", type=int, metavar="N", help="Entries of the indirection table, a power of two; 128 by default.")
@click.option("--fields", metavar="LIST", help="What is hashed: tcp4=sdfn,udp4=sd,… (tcp, udp, sctp with 4 and 6).")
@click.option("--inner", is_flag=True, help="Hash the headers inside of VXLAN, Geneve, GRE and IP in IP.")
@click.option("--nic", metavar="FILE", help="Settings of one of pktpath's cards: queues, key, table and fields come from there.")
@click.option("--by", type=click.Choice(["bytes", "frames"]), default="bytes", show_default=True, help="What is to be balanced.")
@click.option("--top", type=int, default=3, metavar="N", show_default=True, help="Flows to name for each queue.")
@click.option("--dev", default="DEV", metavar="NAME", help="The device to name in the commands that are proposed.")
@json_option
def rss(
    source: str,
    expression: str,
    *,
    queues: int | None,
    key: str | None,
    indirection: str | None,
    size: int | None,
    fields: str | None,
    inner: bool,
    nic: str | None,
    by: str,
    top: int,
    dev: str,
    as_json: bool,
) -> int:
    r"""Hash each frame of a capture as a network card does for receive-side scaling (Toeplitz).

    Prints frames and bytes by queue and their largest flows, flows too large for any table, what
    collapses onto one queue and why, and `ethtool -X` commands with the balance that each would
    give for this very capture. Take a capture of incoming frames, or select them with a filter.

    \b
    pktpath rss -r trace.pcap --queues 8
    pktpath rss -r trace.pcap --queues 4 --key symmetric --fields udp4=sd dst host 10.0.0.1
    pktpath rss -r overlay.pcap --queues 16 --inner --json
    """
    card = _card(nic, queues, key, indirection, size, fields, inner=inner)
    if not re.fullmatch(r"[^\s/;|&<>$`'\"\\]{1,15}", dev):
        message = f"--dev {dev!r}: a device name has 1 to 15 characters and no blanks, slashes or signs of a shell"
        raise BadInput(message)
    if top < 0:
        message = f"--top {top}: 0 or more"
        raise BadInput(message)
    from dataclasses import asdict, replace

    from pktpath.path.rss_report import rss_capture

    card = replace(card, by=by, top=top, device=dev)
    with progress("rss", source) as update:
        done = rss_capture(source, card, expression=expression, progress=update)
    for warning in done.warnings:
        say(f"pktpath: {warning}")
    if as_json:
        print_json(asdict(done))
    else:
        _print(done)
    return BAD_INPUT if done.damaged else DONE


def _card(
    nic: str | None, queues: int | None, key: str | None, indirection: str | None, size: int | None, fields: str | None, *,
    inner: bool,
) -> "Card":  # fmt: skip
    """Return what the options say; what they leave out comes from the settings of a card, if one is named."""
    from pktpath.offload.rss_key import (
        HASH_FIELDS,
        check_queues,
        check_size,
        check_table,
        equal_table,
        parse_fields,
        parse_key,
        parse_table,
    )
    from pktpath.path.rss_report import Card

    card = Card(queues=0)
    if nic is not None:
        from importlib import import_module

        held: Any = import_module("pktpath.nic.store").load_nic(nic)
        card = Card(
            queues=held.queues, key=held.key, table=held.indirection, fields=HASH_FIELDS | held.hash_fields, inner=held.hash_inner
        )
    elif queues is None:
        message = "--queues N is missing: 1 to 128 (or --nic FILE)"
        raise BadInput(message)
    number_of_queues = card.queues if queues is None else queues
    check_queues(number_of_queues)
    table: tuple[int, ...] = tuple(card.table)
    if size is not None:
        check_size(size)
    if indirection is not None:
        table = parse_table(indirection, number_of_queues, size)
    elif size is not None:
        table = equal_table(number_of_queues, size)
    elif table:
        check_table(table, number_of_queues)
    from dataclasses import replace

    return replace(
        card,
        queues=number_of_queues,
        key=card.key if key is None else parse_key(key),
        table=table,
        fields=card.fields if fields is None else {**card.fields, **parse_fields(fields)},
        inner=inner or card.inner,
    )


def _print(done: Any) -> None:
    _print_queues(done)
    _print_flows(done)
    if lines := [*_words(done), *_collapses(done)]:
        click.echo("\n".join(["", *lines]))
    _print_proposals(done)


def _print_queues(done: Any) -> None:
    click.echo(
        f"{count_of(done.frames, 'frame')}, {scaled(done.bytes, 'B')}, {count_of(done.flows, 'flow')}; "
        f"{count_of(done.queues, 'queue')}, "
        f"table of {len(done.table)}, key {done.key_name or done.key}{', inner headers' if done.inner else ''}"
    )
    most = max((row["share"] for row in done.per_queue), default=0)
    rows = []
    for row in done.per_queue:
        bar = "█" * round(_BAR * row["share"] / most) if most else ""
        rows.append(
            [str(row["queue"]), number(row["frames"]), number(row["bytes"]), _percent(row["share"]), number(row["flows"]), bar]
        )
    rows += [[], ["max/mean", _ratio(done.imbalance["frames"]), _ratio(done.imbalance["bytes"]), "", "", ""]]
    print_table(["queue", "frames", "bytes", f"share of {done.by}", "flows", ""], rows, left=(0, 5))


def _print_flows(done: Any) -> None:
    rows = [
        [str(queue["queue"]), flow["flow"], number(flow["frames"]), number(flow["bytes"]), _percent(flow["share"])]
        for queue in done.per_queue
        for flow in queue["top"]
    ]
    if rows:
        click.echo("")
        print_table(["queue", "largest flows", "frames", "bytes", "share"], rows, left=(0, 1))


def _words(done: Any) -> list[str]:
    """Return what there is to say about flows."""
    lines = []
    if done.elephants:
        lines.append(
            f"elephants: {number(len(done.elephants))} above a queue's fair share ({_percent(1 / done.queues)} of {done.by}); "
            "no table and no key splits a flow:"
        )
        lines += [
            f"  queue {flow['queue']}: {flow['flow']}, {_percent(flow['share'])} of {done.by}" for flow in done.elephants[:_SHOWN]
        ]
        if len(done.elephants) > _SHOWN:
            lines.append(f"  … and {len(done.elephants) - _SHOWN} more (all with --json)")
    if done.pairs:
        have = "has" if done.together == 1 else "have"
        lines.append(f"{number(done.together)} of {count_of(done.pairs, 'connection')} {have} both directions on one queue")
    if done.flows_full:
        lines.append(
            f"the table of flows is full: {count_of(done.untold_frames, 'frame')} of later flows counted by queue only; "
            "no key is tried"
        )
    if done.long_frames:
        lines.append(
            f"{count_of(done.long_frames, 'frame is', 'frames are')} longer than 9216 bytes: merged, or not yet cut, "
            "where they were captured, so a card sees more and shorter ones"
        )
    return lines


def _collapses(done: Any) -> list[str]:
    """Return a line for each cause that hashes less than addresses and ports, and one for each remedy."""
    lines = []
    for row in done.collapsed:
        name, why = _CAUSES[row["cause"]]
        where = f"on queue {row['largest_queue']}" if row["queues"] == 1 else f"on {row['queues']} queues"
        most = f", {_percent(row['largest_share'])} of it on queue {row['largest_queue']}" if row["queues"] > 1 else ""
        lines.append(f"{name}: {count_of(row['frames'], 'frame')}, {_percent(row['share'])} of {done.by}, {where}{most}; {why}")
        for other in row["with"]:
            queues = count_of(other["queues"], "queue")
            before, after = (_ratio(each["imbalance"][done.by]) for each in ({"imbalance": done.imbalance}, other))
            lines.append(f"  with {other['option']}: on {queues}, max/mean of all {done.by} {before} → {after}")
    return lines


def _print_proposals(done: Any) -> None:
    """Print what each setting gives, and the commands below: they are long, and there to be copied."""
    if not done.proposals or done.queues == 1:
        return
    rows = []
    for row in done.proposals:
        both = f"{number(row['together'])}/{number(done.pairs)}" if done.pairs else "-"
        rows.append([row["name"], _ratio(row["imbalance"]["frames"]), _ratio(row["imbalance"]["bytes"]), both])
    click.echo("")
    print_table(["setting", "frames\nmax/mean", "bytes\nmax/mean", "both directions\non one queue"], rows)
    click.echo(f"no table and no key brings {done.by} below {_ratio(done.floor)}: a flow stays whole")
    if done.keys_tried:
        click.echo(f"best of {count_of(done.keys_tried, 'key')}, for the flows of this capture; other flows fall otherwise")
    even = (done.imbalance[done.by] or 1) <= _FROM_GOOD
    symmetric = [row for row in done.proposals if row["name"].startswith("symmetric")]
    better = [row for row in done.proposals if row["command"] and row not in symmetric]
    if even:
        click.echo("the queues are even: nothing to change")
    elif not better:
        click.echo("nothing better was found")
    # One hash for both directions costs balance; what leaves most queues idle is no proposal.
    fair = [row for row in symmetric if (row["imbalance"][done.by] or 1) <= _WORSE * (done.imbalance[done.by] or 1)]
    if len(fair) < len(symmetric):
        click.echo("the symmetric settings that are left out would leave the queues much less even than they are")
    shown = [*([] if even else better), *fair]
    for row in shown:
        click.echo(f"{row['name']}:\n  {row['command']}")
    if shown:
        click.echo(f"undo:\n  {done.undo}")


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
