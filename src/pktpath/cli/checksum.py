"""`pktpath checksum`: what the checksums of a capture say; --fix completes those left to a device."""

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
from pktpath.control.plural import count_of

_ROWS = 20
_COLUMNS = ("right", "wrong", "partial", "partial, no length", "zero", "not verifiable")
_HEADER, _HEADERS = "IPv4 header checksum is", "IPv4 header checksums are"
_PARTIAL = "left to the device: captured at its sender before the network card filled it in; not an error on the wire"


@click.command(short_help="Count right, wrong and partial checksums; --fix completes them.")
@reads
@writes(required=False)
@click.option("--fix", is_flag=True, help="Write a capture in which the checksums left to the device are complete.")
@click.option(
    "--fix-wrong", is_flag=True, help="As --fix, and write right checksums over wrong ones: they are evidence, and lost then."
)
@json_option
def checksum(source: str, target: str | None, expression: str, *, fix: bool, fix_wrong: bool, as_json: bool) -> int:
    r"""Count the IPv4 header, TCP, UDP and ICMP checksums of a capture, by protocol and sender.

    A partial checksum holds the sum of the pseudo-header only: the sender's system left the rest to
    its network card and captured the frame before. That is no error on the wire, and --fix completes
    it. A wrong checksum stays unless --fix-wrong is given. Nothing else is touched.

    \b
    pktpath checksum -r trace.pcap
    pktpath checksum -r trace.pcap -w fixed.pcap --fix
    pktpath checksum -r trace.pcap --json tcp port 443
    """
    fix = fix or fix_wrong
    if target is not None and not fix:
        message = "-w needs --fix: without it nothing would change"
        raise click.UsageError(message, click.get_current_context())
    if fix and target is None:
        message = "--fix needs -w: the input is never changed"
        raise click.UsageError(message, click.get_current_context())
    different_files(source, target)
    from pktpath.path.checksum import checksum_capture

    with progress("checksum", source) as update:
        done = checksum_capture(source, target, repair=fix_wrong, expression=expression, progress=update)
    status = BAD_INPUT if done.damaged else DONE
    for warning in done.warnings:
        say(f"pktpath: {warning}")
    err = result_stream(target)
    if as_json:
        from dataclasses import asdict

        print_json(asdict(done), err=err)
        return status
    _print(done, fix=fix, err=err)
    return status


def _print(done: Any, *, fix: bool, err: bool) -> None:
    from pktpath.path.checksum import STATES

    rows = [[row["protocol"], row["sender"], *(number(row[state]) for state in STATES)] for row in done.transport[:_ROWS]]
    if any(done.ipv4_header.values()):
        rows.append(["IPv4 header", "all", *(number(done.ipv4_header[state]) for state in STATES)])
    if rows:
        print_table(["protocol", "sender", *_COLUMNS], rows, left=(0, 1), err=err)
    more = len(done.transport) - _ROWS
    if more > 0:
        click.echo(f"… and {number(more)} more (all with --json)", err=err)
    for line in _words(done, fix=fix):
        click.echo(line, err=err)


def _words(done: Any, *, fix: bool) -> list[str]:
    """Return what there is to say about the counts."""
    lines = [f"{count_of(done.frames, 'frame')} read, {number(done.without)} without a TCP, UDP or ICMP checksum"]

    def said(state: str, text: str, *, only: str = "") -> None:
        if count := sum(row[state] for row in done.transport if only in row["sender"]):
            lines.append(f"{number(count)} {text}")

    said("partial", f"partial: {_PARTIAL}")
    said("partial_no_length", f"partial without the length (Windows large send offload): {_PARTIAL}")
    said("zero", "zero: UDP without a checksum")
    said("zero", "of them IPv6, where only tunnels may leave the checksum out (RFC 6935)", only=":")
    said("not_verifiable", "not verifiable: cut by a snaplen, an IP fragment, malformed, or on the way through a routing header")
    said("wrong", f"wrong, first in {_frames(done.first_wrong)}")
    if count := done.ipv4_header["zero"]:
        lines.append(f"{count_of(count, _HEADER, _HEADERS)} zero: {_PARTIAL}")
    if count := done.ipv4_header["wrong"]:
        lines.append(f"{count_of(count, _HEADER, _HEADERS)} wrong, first in {_frames(done.first_wrong_header)}")
    if fix:
        lines.append(
            f"{count_of(done.written, 'frame')} written, {number(done.fixed)} transport and "
            f"{count_of(done.fixed_headers, 'IPv4 header checksum')} fixed"
        )
    return lines


def _frames(numbers: list[int]) -> str:
    return ("frame " if len(numbers) == 1 else "frames ") + ", ".join(map(number, numbers))
