"""`pktpath top`: a daemon's ports, threads and megaflows while they work."""

import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import click

from pktpath.cli.common import json_option, number, print_json, print_table, scaled
from pktpath.cli.daemon import ask, asks
from pktpath.control.plural import count_of

_MANY = 5000
"""Megaflows beyond which they are not asked for: each view would tell all of them."""


class _Sample(NamedTuple):
    """One view of the datapath."""

    view: Any
    flows: Any
    time: float


class _Page(NamedTuple):
    """What is shown: three tables as words."""

    head: str
    ports: list[list[str]]
    workers: list[list[str]]
    flows: list[list[str]]
    document: dict[str, Any]


_PORTS = ("port", "name", "kind", "rx pkt/s", "rx bit/s", "tx pkt/s", "tx bit/s", "drops/s", "drops", "most for")
_WORKERS = ("thread", "load", "pkt/s", "cycles/pkt", "EMC hits", "upcalls/s", "lost/s", "pkts/batch", "queues")
_FLOWS = ("pkt/s", "bit/s", "megaflow")
_ALWAYS = ("recirc_id(0),", "packet_type(ns=0,id=0),")
"""Words of every megaflow, which say nothing here."""


@click.command(short_help="Ports, threads and megaflows of a running daemon, live.")
@asks
@json_option
@click.option(
    "-i", "--interval", type=click.FloatRange(0.1, 3600), default=1.0, show_default=True, help="Seconds between two looks."
)
@click.option(
    "-n", "--flows", "count", type=click.IntRange(0, 100), default=5, show_default=True, help="Busiest megaflows to show."
)
@click.option("-1", "--once", is_flag=True, help="Look for one interval, print and end; so too where output is no terminal.")
def top(target: str | None, timeout: float, interval: float, count: int, *, once: bool, as_json: bool) -> None:
    r"""Show what a running daemon forwards: rates and drops of its ports, load of its threads, megaflows.

    Load of a poll-mode thread is the share of its cycles that did not idle: 100 % CPU says nothing,
    this does. Ctrl-C ends it.

    \b
    pktpath top
    pktpath top --once --flows 20
    pktpath top --json | jq .ports

    Exit status: 0 done, 1 wrong usage or no daemon to choose, 2 the daemon refused or is gone.
    """
    pages = _pages(target, timeout, interval, count)
    if as_json:
        print_json(next(pages).document)
    elif once or not sys.stdout.isatty():
        _print(next(pages))
    else:
        _live(pages)


def _pages(target: str | None, timeout: float, interval: float, count: int) -> Iterator[_Page]:
    before = _look(target, timeout, count)
    while True:
        time.sleep(interval)
        after = _look(target, timeout, count)
        yield _page(before, after, count)
        before = after


def _look(target: str | None, timeout: float, count: int) -> _Sample:
    from pktpath.control.view_json import read_view

    view, flows = read_view(ask(target, timeout, "pktpath/view"))
    if count and view.flows <= _MANY:
        view, flows = read_view(ask(target, timeout, "pktpath/view", ["flows"]))
    return _Sample(view, flows, time.monotonic())


def _page(before: _Sample, after: _Sample, count: int) -> _Page:
    from pktpath.control.dp_text import match_text
    from pktpath.control.top_values import busiest, changes

    seconds = after.time - before.time
    got = changes(before.view, after.view, seconds)
    names = {port.number: port.name for port in after.view.ports}
    found = busiest(before.flows, after.flows, seconds, count)
    flows = [(match_text(flow.key, flow.mask, names), packets, bits) for flow, packets, bits in found]
    got["busiest"] = [{"megaflow": text, "packets_per_second": packets, "bits_per_second": bits} for text, packets, bits in flows]
    return _Page(
        _head(got),
        [_port(port) for port in got["ports"]],
        [_worker(worker) for worker in got["workers"]],
        [[number(packets), scaled(bits, ""), _short(text)] for text, packets, bits in flows if packets],
        got,
    )


def _short(megaflow: str) -> str:
    for words in _ALWAYS:
        megaflow = megaflow.replace(words, "")
    return megaflow


def _head(got: dict[str, Any]) -> str:
    words = [f"{got['datapath']}: {number(got['lookups_per_second'])} lookups/s", f"{_percent(got['hit_rate'])} hit"]
    words += [f"{number(got['missed_per_second'])} upcalls/s", f"{number(got['lost'])} lost"]
    words += [count_of(got["flows"], "megaflow"), count_of(got["masks"], "mask")]
    if got["masks_per_packet"] is not None:
        words.append(f"{got['masks_per_packet']:.2f} masks/packet")
    return ", ".join(words)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share * 100:.1f} %"


def _port(port: dict[str, Any]) -> list[str]:
    return [
        str(port["number"]),
        port["name"],
        port["kind"],
        number(port["rx_packets_per_second"]),
        scaled(port["rx_bits_per_second"], ""),
        number(port["tx_packets_per_second"]),
        scaled(port["tx_bits_per_second"], ""),
        number(port["dropped_per_second"]),
        number(port["dropped"]),
        port["most_dropped_for"] or "",
    ]


def _worker(worker: dict[str, Any]) -> list[str]:
    cycles, batch = worker["cycles_per_packet"], worker["packets_per_output_batch"]
    return [
        "interrupt" if worker["core"] is None else f"core {worker['core']}",
        _percent(worker["load"]),
        number(worker["packets_per_second"]),
        "-" if cycles is None else number(cycles),
        _percent(worker["exact_match_hit_rate"]),
        number(worker["upcalls_per_second"]),
        number(worker["lost_per_second"]),
        "-" if batch is None else f"{batch:.1f}",
        " ".join(worker["queues"]),
    ]


def _print(page: _Page) -> None:
    click.echo(page.head)
    print_table(_PORTS, page.ports, left=(1, 2, 9))
    if page.workers:
        print_table(_WORKERS, page.workers, left=(0, 8))
    if page.flows:
        print_table(_FLOWS, page.flows, left=(2,))


def _live(pages: Iterator[_Page]) -> None:
    from rich import box
    from rich.console import Console, Group
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

    def drawn(header: tuple[str, ...], rows: list[list[str]], left: tuple[int, ...]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
        for column, name in enumerate(header):
            table.add_column(name, justify="left" if column in left else "right", no_wrap=column not in left, header_style="bold")
        for row in rows:
            table.add_row(*map(Text, row))
        return table

    def whole(page: _Page) -> Group:
        parts: list[Any] = [Text(page.head, style="bold"), drawn(_PORTS, page.ports, (1, 2, 9))]
        if page.workers:
            parts.append(drawn(_WORKERS, page.workers, (0, 8)))
        if page.flows:
            parts.append(drawn(_FLOWS, page.flows, (2,)))
        return Group(*parts)

    console = Console()
    with Live(Text("looking …"), console=console, auto_refresh=False, screen=True) as live:
        for page in pages:
            live.update(whole(page), refresh=True)
