"""`pktpath bench`: the engine and its peers side by side."""

import click

from pktpath.cli.common import json_option, print_json, print_table, say, steps

_BENCHES = ("gro", "gso", "checksum", "rss", "receive", "files")


@click.command(short_help="The engine and its peers side by side.")
@click.argument("which", type=click.Choice([*_BENCHES, "all"]), default="all")
@click.option("--quick", is_flag=True, help="A few turns on little traffic: whether it works, not how fast.")
@click.option(
    "--markdown", type=click.Path(dir_okay=False, writable=True), metavar="FILE", help="Also write the table to a page."
)
@json_option
def bench(which: str, *, quick: bool, markdown: str | None, as_json: bool) -> None:
    r"""Measure pktpath and its peers in one run on one core, taking turns.

    \b
    gro       beside DPDK's rte_gro, the same frames in the same bursts
    gso       beside DPDK's rte_gso with software checksums
    checksum  beside what the caches can be read at, and rte_raw_cksum
    rss       the Toeplitz hash beside rte_softrss_be and rte_thash_gfni
    receive   card, RSS, NAPI and GRO on one core, and with software checksums beside reading memory
    files     coalesce and segment of a 1 GB capture in memory, beside cp, editcap, tcprewrite, Scapy

    \b
    pktpath bench gro
    pktpath bench all --markdown RESULTS.md

    A ratio above 1 says that pktpath is faster, whatever the unit. A peer that is not installed
    leaves its column empty, and the row says what to install.

    \b
    pktpath bench
    pktpath bench gro --json
    """
    from pktpath.lab.bench import measure
    from pktpath.lab.bench.common import as_markdown, short

    names = _BENCHES if which == "all" else (which,)
    with steps("bench", len(names)) as update:
        rows, peer = measure(names, quick=quick, progress=update)
    if markdown:
        from datetime import UTC, datetime
        from pathlib import Path

        Path(markdown).write_text(as_markdown(rows, date=datetime.now(UTC).date().isoformat(), peer=peer))
    if as_json:
        print_json([row.as_json() for row in rows])
        return
    table = []
    for row in rows:
        goal = "" if row.goal is None else short(row.goal)
        remarks = [row.note] * bool(row.note)
        if "frames_in" in row.more:
            ours, theirs = (row.more[name] for name in ("frames_out", "peer_frames_out"))
            remarks.insert(
                0, f"{row.more['frames_in']} frames to {short(ours)}, peer {short(theirs)}; {row.more['cycles']:.0f} cycles"
            )
        table.append([row.case, short(row.pktpath), short(row.peer), row.unit, short(row.ratio), goal, "; ".join(remarks)])
    say(f"peer: {peer}")
    print_table(["case", "pktpath", "peer", "unit", "ratio", "goal", ""], table, left=(0, 3, 6))
