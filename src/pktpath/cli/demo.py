"""`pktpath demo`: the whole path on built-in traffic, every switch on and off."""

from typing import Any

import click

from pktpath.cli.common import BAD_INPUT, DONE, json_option, number, print_json, print_table, steps
from pktpath.cli.compiling import compile_kernels

HEADER = (
    "traffic and\nwhat is off",
    "frames\nin",
    "stack\nsees",
    "cut in",
    "ns/\nframe",
    "cycles\n/frame",
    "Gbit/s",
    "same\nbytes",
)
PLACES = {"transport": "transport", "driver": "driver", "nic": "NIC", "nowhere": "-"}


@click.command(short_help="The whole path on built-in traffic.")
@click.option("--frames", type=click.IntRange(100, 1_000_000), default=16384, show_default=True, help="Frames of each traffic.")
@json_option
def demo(frames: int, *, as_json: bool) -> int:
    r"""Run built-in traffic through wire, GRO, stack, GSO and wire again, one switch at a time.

    The first run compiles the kernels. Every run compares what leaves with what arrived, byte for
    byte, in order within each flow; if anything differs, the exit status is 1.

    A super-frame can be cut in three places, each later than the one before and so cheaper for the
    layers between: in the transport, which then hands down every segment; just before the driver,
    by GSO; in the NIC, by TSO or USO. gso_max_size says how large a super-frame may be.

    \b
    pktpath demo
    pktpath demo --frames 100000
    pktpath demo --json | jq '.[] | select(.cut == "nic")'
    """
    compile_kernels()
    from pktpath.lab.demo import cases, run

    chosen = list(cases(frames))
    results = []
    with steps("running", len(chosen), unit="runs") as update:
        for done, case in enumerate(chosen):
            update(done, f"{case.traffic}, {case.switches}")
            results.append(run(case))
    if as_json:
        print_json([result._asdict() for result in results])
    else:
        print_table(HEADER, _rows(results), left=(0, 3))
        for line in _legend(results):
            click.echo(line)
    return DONE if all(result.wire_identical for result in results) else BAD_INPUT


def _rows(results: list[Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    traffic = None
    for result in results:
        if result.traffic != traffic:
            if rows:
                rows.append(())
            traffic = result.traffic
            rows.append((traffic, number(result.frames_in), *[""] * 6))
        size = f", gso_max_size {result.gso_max_size // 1024}K" if result.gso_max_size else ""
        rows.append((
            f" {result.switches}{size}",
            "",
            number(result.stack_frames),
            PLACES[result.cut],
            number(result.ns_per_frame, 1 if result.ns_per_frame < 10 else 0),
            number(result.cycles_per_frame) if result.cycles_per_frame else "-",
            number(result.gbits),
            "yes" if result.wire_identical else "NO",
        ))  # fmt: skip
    return rows


def _legend(results: list[Any]) -> list[str]:
    same = sum(result.wire_identical for result in results)
    answer = "yes" if same == len(results) else "NO"
    compared = number(sum(result.bytes_compared for result in results) // 1_000_000)
    clock = next((result.cycles_per_frame / result.ns_per_frame for result in results if result.cycles_per_frame), 0)
    return [
        f"wire bytes identical: {answer} ({same} of {len(results)} runs, {compared} MB, in order in each flow)",
        "ns, cycles: GRO and GSO for one wire frame, one core"
        + (f" at {clock:.1f} GHz" if clock else "")
        + "; not the NIC's work",
        "cut in the transport, just before the driver (GSO), or in the NIC (TSO, USO)",
        *_break_even(results),
    ]


def _break_even(results: list[Any]) -> list[str]:
    """Say from which cost of the stack above on GRO is worth its own, for each traffic that it merges."""
    on = {result.traffic: result for result in results if result.switches == "all on"}
    off = {result.traffic: result for result in results if result.switches == "gro off"}
    found = []
    for traffic in on.keys() & off.keys():
        saved = 1 - on[traffic].stack_frames / off[traffic].stack_frames
        if saved > 0:
            found.append((on[traffic].ns_per_frame - off[traffic].ns_per_frame) / saved)
    if not found:
        return []
    least, most = max(min(found), 0), max(*found, 0)
    return [f"GRO pays where the stack above spends more than {least:.0f} to {most:.0f} ns on a frame of this bulk traffic"]
