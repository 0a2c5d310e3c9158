"""`pktpath coalesce`: what GRO, or the old LRO, would have delivered, why not more, and what that loses."""

from collections.abc import Callable
from typing import Any

import click

from pktpath.cli.common import (
    BAD_INPUT,
    DONE,
    different_files,
    json_option,
    number,
    print_json,
    print_table,
    progress,
    reads,
    result_stream,
    say,
    writes,
)
from pktpath.cli.compiling import announce_compiling
from pktpath.control.plural import count_of

_LARGEST_POLL = 1024
_LRO_LIMITS = {"max_desc": 8, "max_aggr": 64, "mtu": 1500}
"""Options of `--engine lro` and their defaults."""


@click.command(short_help="What GRO, or LRO, would have delivered of a capture.")
@reads
@writes()
@click.option("--engine", type=click.Choice(["gro", "lro"]), default="gro", show_default=True,
              help="Who merges: today's GRO, or the LRO of old kernels, with what it loses beside what GRO loses.")  # fmt: skip
@click.option(
    "--rules", type=click.Choice(["6.12", "6.18", "7.0"]), default="6.18", show_default=True, help="The kernel whose rules hold."
)
@click.option("--why", is_flag=True, help="One line for each frame that was not merged, with its reason.")
@click.option("--reassemble", is_flag=True, help="Also put IP fragments together (what UFO took apart).")
@click.option("--flows", type=click.Choice(["kernel", "unlimited"]), default="kernel", show_default=True,
              help="Flows held at once: the kernel's 8 buckets of 8, or any number.")  # fmt: skip
@click.option("--poll", type=click.IntRange(1, _LARGEST_POLL), default=64, show_default=True, help="Frames in one NAPI poll.")
@click.option("--flush-timeout", type=click.IntRange(0, 10_000_000), default=100, show_default=True, metavar="USECS",
              help="Microseconds without a frame that end a poll.")  # fmt: skip
@click.option("--no-udp", is_flag=True, help="Leave UDP alone, as without rx-udp-gro-forwarding.")
@click.option("--partial", is_flag=True, help="Write the kernel's form: merged frames carry the pseudo-header's sum only.")
@click.option(
    "--trust-partial", is_flag=True, help="Merge frames whose checksum was left to the device (captured at their sender)."
)
@click.option("--max-desc", type=click.IntRange(1, 1024), metavar="N", help="LRO: flows held at once.  [default: 8]")
@click.option("--max-aggr", type=click.IntRange(1, 65535), metavar="N", help="LRO: segments in a frame.  [default: 64]")
@click.option("--mtu", type=click.IntRange(68, 65535), metavar="BYTES", help="LRO: the device's MTU.  [default: 1500]")
@json_option
def coalesce(source: str, target: str, expression: str, *, as_json: bool, why: bool, **wishes: Any) -> int:
    r"""Merge the frames of a capture as the kernel's GRO does in one NAPI poll after another.

    Written to a pcapng, each merged frame keeps an undo record, and `pktpath segment` gives every
    original byte and timestamp back. Written to a pcap, what cannot be inferred is counted. With
    a filter, --why numbers the frames that it chose. With --engine lro, GRO merges the same polls
    beside it, and a table says what each of the two forgets for good: LRO must be off where frames
    are forwarded.

    \b
    pktpath coalesce -r wire.pcap -w gro.pcapng
    pktpath coalesce -r wire.pcap -w gro.pcapng --why tcp port 443
    pktpath coalesce -r wire.pcap -w - --flows unlimited | tshark -r -
    pktpath coalesce -r wire.pcap -w lro.pcapng --engine lro
    """
    limits = _limits(wishes)
    from pktpath.path.coalesce import Options, coalesce_capture

    different_files(source, target)
    options = Options(
        engine=wishes["engine"],
        **limits,
        rules=wishes["rules"],
        poll=wishes["poll"],
        flush_timeout=wishes["flush_timeout"] * 1000,
        unlimited=wishes["flows"] == "unlimited",
        udp=not wishes["no_udp"],
        reassemble=wishes["reassemble"],
        partial=wishes["partial"],
        trust_partial=wishes["trust_partial"],
    )
    to_stderr = result_stream(target)
    announce_compiling()
    with progress("coalesce", source) as update:
        done = coalesce_capture(
            source, target, options, expression=expression, progress=update, why=_teller(to_stderr, as_json) if why else None
        )
    for warning in done.warnings:
        say(f"pktpath: {warning}")
    status = BAD_INPUT if done.damaged else DONE
    if as_json:
        from dataclasses import asdict

        print_json(asdict(done), err=to_stderr)
        return status
    for line in _report(done):
        click.echo(line, err=to_stderr)
    _print_losses(done.losses, err=to_stderr)
    if why:
        _print_reasons(done, err=to_stderr)
    return status


def _limits(wishes: dict[str, Any]) -> dict[str, int]:
    """Return the limits of LRO; without `--engine lro` none may be given."""
    given = [name for name in _LRO_LIMITS if wishes[name] is not None]
    if given and wishes["engine"] != "lro":
        message = f"--{given[0].replace('_', '-')} is a limit of LRO: say --engine lro too"
        raise click.UsageError(message)
    return {name: default if wishes[name] is None else wishes[name] for name, default in _LRO_LIMITS.items()}


def _teller(to_stderr: bool, as_json: bool) -> Callable[[Any, int], None]:
    """Return what prints the frames of a batch that were not merged."""
    import json

    from pktpath.path.why import unmerged

    def tell(batch: Any, before: int) -> None:
        lines = []
        for frame in unmerged(batch, before):
            if as_json:
                lines.append(json.dumps(frame._asdict()))
            else:
                lines.append(f"frame {frame.frame}  {frame.flow}: {frame.reason} ({frame.rule})")
        if lines:
            click.echo("\n".join(lines), err=to_stderr)

    return tell


def _report(done: Any) -> list[str]:
    lines = [
        f"{count_of(done.frames, 'frame')} read, {number(done.written)} written",
        f"{count_of(done.merged, 'frame was', 'frames were')} merged into {number(done.merged_frames)}",
    ]
    if done.sessions:
        aggregated = count_of(done.sessions["aggregated"], "segment")
        flushed = count_of(done.sessions["flushed"], "session")
        lines.append(f"LRO: {aggregated} aggregated, {flushed} flushed, {number(done.sessions['no_desc'])} found no descriptor")
    if done.reassembled:
        lines.append(f"{count_of(done.reassembled, 'datagram was', 'datagrams were')} put together from IP fragments")
    if done.undo:
        lines.append("pktpath segment gives every original back from the undo records")
    elif done.not_restorable or done.out_of_place:
        lines.append(
            f"a pcap keeps no undo records: {number(done.not_restorable)} of the frames cannot be cut back to the same bytes, "
            f"{number(done.out_of_place)} lost their place, merged ones their times; write .pcapng to keep all"
        )
    else:
        lines.append(
            "a pcap keeps no undo records: every frame can be cut back to the same bytes, but at the time of its first segment"
        )
    return lines


def _print_losses(losses: dict[str, dict[str, int]], *, err: bool) -> None:
    """Print what merging loses: both engines beside each other, or GRO alone where it loses anything."""
    if len(losses) == 1 and not any(counts["lost"] for counts in losses.values()):
        return
    from pktpath.path.loss import FRAME_COUNTS, LOSSES

    rows: list[tuple[str, ...]] = []
    for name, text in LOSSES.items():
        counts = [counts[name] for counts in losses.values()]
        if name in FRAME_COUNTS or any(counts):
            rows.append((text if name in FRAME_COUNTS else f"  {text}", *map(number, counts)))
    print_table(["what merging loses", *losses], rows, err=err)


def _print_reasons(done: Any, *, err: bool) -> None:
    from pktpath.offload.reason import Reason

    sentences = {reason.word: reason.sentence for reason in Reason}
    rows = [(word, number(count), sentences[word]) for word, count in sorted(done.reasons.items(), key=lambda item: -item[1])]
    print_table(["reason", "frames", "rule"], rows, left=(0, 2), err=err)
