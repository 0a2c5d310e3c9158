"""`pktpath segment`: super-frames to wire frames, checksums right."""

import re
from typing import Any

import click

from pktpath.cli.common import (
    BAD_INPUT,
    DONE,
    different_files,
    json_option,
    number,
    print_json,
    progress,
    reads,
    result_stream,
    say,
    writes,
)
from pktpath.cli.compiling import announce_compiling
from pktpath.control.plural import count_of

_BASES = {
    "mtu": "by --mtu",
    "undo": "by their undo records",
    "syn": "by the MSS of the flow's SYNs",
    "seen": "by the largest wire-size segment seen",
    "default": "by the default of 1500 bytes",
}
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:bit)?(?:/s|ps)?", re.IGNORECASE)
_PREFIXES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_SMALLEST_MTU, _LARGEST_MTU = 68, 65535


def _rate(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int:
    """Turn "10G" or "2.5gbit" into bits per second."""
    if value is None:
        return 0
    match = _RATE.fullmatch(value.strip())
    rate = int(float(match[1]) * _PREFIXES[match[2].lower()]) if match else 0
    if rate < 1000:
        message = f"{value} is no link rate: say 100M, 2.5G or 10Gbit"
        raise click.BadParameter(message)
    return rate


@click.command(short_help="Super-frames to wire frames, checksums right.")
@reads
@writes()
@click.option("--mtu", type=click.IntRange(_SMALLEST_MTU, _LARGEST_MTU), help="Bytes of IP in a frame, whatever the flow says.")
@click.option("--udp", "udp_by", type=click.Choice(["uso", "ufo"]), default="uso", show_default=True,
              help="Cut UDP super-frames into datagrams (uso) or into IP fragments of one datagram (ufo).")  # fmt: skip
@click.option("--spread", metavar="RATE", callback=_rate, help="Space segments as a link of this rate would: 10G, 2.5G, 100M.")
@json_option
def segment(source: str, target: str, expression: str, mtu: int | None, udp_by: str, spread: int, *, as_json: bool) -> int:
    r"""Cut a capture's super-frames (TSO, GSO, GRO, LRO) into the frames that were on the wire.

    Lengths, IP IDs, flags, sequence numbers and checksums come out as the kernel's segmentation
    makes them; IPv4 total length 0 and IPv6 jumbo frames are understood. Frames that fit are not
    touched. The size of segments is, first that applies: --mtu, the undo record that
    `pktpath coalesce` left in a pcapng, the MSS that the flow's SYNs announced less the TCP options
    in use, the largest segment of at most 1500 bytes seen in that direction, 1500 bytes.

    \b
    pktpath segment -r vm.pcap -w wire.pcap
    pktpath segment -r vm.pcap -w wire.pcap --mtu 9000 --spread 10G
    tcpdump -i eth0 -w - | pktpath segment -r - -w - tcp port 443 | tshark -r -
    """
    from pktpath.path.segment import segment_capture

    different_files(source, target)
    announce_compiling()
    with progress("segment", source) as update:
        done = segment_capture(
            source, target, mtu=mtu or 0, ufo=udp_by == "ufo", spread=spread, expression=expression, progress=update
        )
    for warning in done.warnings:
        say(f"pktpath: {warning}")
    status = BAD_INPUT if done.damaged else DONE
    if as_json:
        from dataclasses import asdict

        print_json(asdict(done), err=result_stream(target))
        return status
    for line in _report(done):
        click.echo(line, err=result_stream(target))
    return status


def _report(done: Any) -> list[str]:
    cut = sum(done.super_frames.values())
    lines = [f"{count_of(done.frames, 'frame')} read, {number(done.written)} written"]
    lines.append(f"{count_of(cut, 'super-frame')} cut into {count_of(done.segments, 'segment')}")
    lines += [f"  {number(count)} {_BASES[basis]}" for basis, count in done.super_frames.items()]
    one, more = "super-frame kept as it is", "super-frames kept as they are"
    for count, noun, nouns, text in (
        (done.cut_by_snaplen, one, more, ": cut by a snaplen (capture with -s 0)"),
        (done.refused, one, more, ": headers that contradict themselves"),
        (done.damaged_records, "undo record", "", " did not fit, and frames were cut without"),
        (done.disordered, "group of frames", "groups of frames", " not whole: the order stays that in which they stood"),
    ):
        if count:
            lines.append(f"{count_of(count, noun, nouns)}{text}")
    return lines
