"""`pktpath bench`: the engine and its peers side by side."""

import sys

import click

from pktpath.cli.common import json_option, print_json, print_table, say, steps

_BENCHES = ("gro", "gso", "checksum", "rss", "receive", "files", "doctor", "switch")
_CASES = ("bulk", "wire", "small", "ping", "memory", "upcall")


@click.command(short_help="The engine and its peers side by side.")
@click.argument("which", type=click.Choice([*_BENCHES, "all"]), default="all")
@click.option("--quick", is_flag=True, help="A few turns on little traffic: whether it works, not how fast.")
@click.option(
    "--markdown", type=click.Path(dir_okay=False, writable=True), metavar="FILE", help="Also write the table to a page."
)
@click.option(
    "--seconds", type=click.FloatRange(0.2, 60), metavar="N", help="switch: length of one measurement; there are five. [1]"
)
@click.option("--only", type=click.Choice(_CASES), multiple=True, help="switch: this case alone; may be repeated.")
@json_option
def bench(which: str, *, quick: bool, markdown: str | None, seconds: float | None, only: tuple[str, ...], as_json: bool) -> None:
    r"""Measure pktpath and its peers in one run on one core, taking turns.

    \b
    gro       beside DPDK's rte_gro, the same frames in the same bursts
    gso       beside DPDK's rte_gso with software checksums
    checksum  beside what the caches can be read at, and rte_raw_cksum
    rss       the Toeplitz hash beside rte_softrss_be and rte_thash_gfni
    receive   card, RSS, NAPI and GRO on one core, and with software checksums beside reading memory
    files     coalesce and segment of a 1 GB capture in memory, beside cp, editcap, tcprewrite, Scapy
    doctor    how fast it reads 100 MB of transcripts, what a look costs, beside its limits
    switch    'switch run' between namespaces and in memory, beside Open vSwitch, OVS-DPDK,
              testpmd and the kernel's bridge; needs root

    \b
    pktpath bench gro
    pktpath bench all --markdown RESULTS.md

    A ratio above 1 says that pktpath is faster, whatever the unit. A peer that is not installed
    leaves its column empty, and the row says what to install.

    \b
    pktpath bench
    pktpath bench gro --json
    pktpath bench switch --only bulk --only ping --seconds 2
    """
    from datetime import UTC, datetime
    from pathlib import Path

    from pktpath.lab.bench import measure
    from pktpath.lab.bench.common import as_markdown, conditions_of, goal_text, machine, short

    names = _BENCHES if which == "all" else (which,)
    if (seconds is not None or only) and "switch" not in names:
        message = f"--seconds and --only belong to switch, not to {which}"
        raise click.UsageError(message)
    told = ""

    def tell(done: int, what: str) -> None:
        nonlocal told
        update(done, what)
        # A line a case where there is no bar: minutes pass.
        case = what.partition(":")[0]
        if case not in (told, what) and not sys.stderr.isatty():
            say(f"bench {case}")
            told = case

    with steps("bench", len(names)) as update:
        rows, peer = measure(names, quick=quick, seconds=seconds, only=only, progress=tell)
    if markdown:
        Path(markdown).write_text(as_markdown(rows, date=datetime.now(UTC).date().isoformat(), peer=peer))
    if as_json:
        print_json([row.as_json() for row in rows])
        return
    table = []
    for row in rows:
        remarks = [row.note] * bool(row.note)
        if "frames_in" in row.more:
            ours, theirs = (row.more[name] for name in ("frames_out", "peer_frames_out"))
            remarks.insert(
                0, f"{row.more['frames_in']} frames to {short(ours)}, peer {short(theirs)}; {row.more['cycles']:.0f} cycles"
            )
        table.append(
            [row.case, short(row.pktpath), short(row.peer), row.unit, short(row.ratio), goal_text(row), "; ".join(remarks)]
        )
    say(f"peer: {peer}")
    say(f"{datetime.now(UTC).date().isoformat()}; {machine()}")
    for line in conditions_of(rows):
        say(line)
    print_table(["case", "pktpath", "peer", "unit", "ratio", "goal", ""], table, left=(0, 3, 5, 6))
