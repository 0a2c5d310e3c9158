"""`pktpath dump`: the traffic of a running switch, live."""

import signal
import sys
import time
from typing import Any

import click

from pktpath.cli.common import DONE, number, say
from pktpath.cli.daemon import which
from pktpath.control.plural import count_of


@click.command(short_help="The traffic of a running switch, live, as pcapng.")
@click.argument("where", metavar="BRIDGE[/PORT]")
@click.argument("expression", nargs=-1, metavar="[FILTER]...", callback=lambda _ctx, _param, value: " ".join(value))
@click.option(
    "-w", "--write", "file", metavar="OUT", help="Capture to write (pcapng); - is standard output. Without, a line a frame."
)
@click.option("--at", type=click.Choice(["wire", "datapath"]), default="wire", show_default=True,
              help="As frames came and go, or as the datapath saw them: merged, before they are cut.")  # fmt: skip
@click.option("-c", "--count", type=click.IntRange(1), metavar="N", help="End after N frames.")
@click.option("-s", "--snaplen", type=click.IntRange(1, 262144), default=262144, show_default=True, metavar="BYTES",
              help="Bytes of a frame that are kept.")  # fmt: skip
@which
def dump(where: str, expression: str, file: str | None, at: str, count: int | None, snaplen: int, target: str | None) -> int:
    r"""Show what passes a bridge, or one of its ports, while the switch runs.

    The words after it are a pcap-filter expression. Each frame's comment has what its bytes do not
    say: the size of the segments of a super-frame, the flow. Frames that nobody took in time are
    dropped, counted and told at the end; the switch never waits.

    \b
    pktpath dump br0
    pktpath dump br0/p1 -w - tcp port 80 | tcpdump -n -r -
    pktpath dump br0 --at datapath -w merged.pcapng -c 1000
    pktpath dump br0 -w - | wireshark -k -i -
    """
    from pktpath.control.dump_client import DumpClient, FrameFilter
    from pktpath.control.dump_records import DumpRequest
    from pktpath.control.places import find_socket

    bridge, _, port = where.partition("/")
    keep = FrameFilter(expression) if expression else None
    request = DumpRequest(bridge=bridge, port=port or None, at=at, snaplen=snaplen)
    path = f"{find_socket(target)}.dump"
    # Before frames come: what is imported here takes a while.
    sink: _Lines | _File = _Lines() if file is None else _File(file)
    try:
        client = DumpClient(path, request)
    except BaseException:
        sink.discard()
        raise
    try:
        end = _receive(client, keep, sink, count)
        sink.commit()
    except BaseException:
        sink.discard()
        raise
    finally:
        client.close()
    say(
        count_of(sink.frames, "frame")
        + (f", {number(end.dropped_mirror)} dropped as the mirror was full" if end.dropped_mirror else "")
        + (f", {number(end.dropped_client)} dropped as this reader was slow" if end.dropped_client else "")
    )
    return DONE


def _receive(client: Any, keep: Any, sink: Any, count: int | None) -> Any:
    """Hand what comes to the sink until there is enough; return how it ended."""
    from pktpath.control.dump_records import DumpEnd, DumpFrame, DumpInterface

    linktypes: dict[int, int] = {}
    stopped = False

    def take(items: list[Any]) -> None:
        nonlocal stopped
        interfaces = [item for item in items if isinstance(item, DumpInterface)]
        linktypes.update((item.number, item.linktype) for item in interfaces)
        frames = [item for item in items if isinstance(item, DumpFrame)]
        if keep is not None:
            frames = keep.keep(frames, linktypes)
        if count is not None:
            frames = frames[: count - sink.frames]
        sink.write(interfaces, frames)
        if count is not None and sink.frames >= count and not stopped:
            stopped = True
            client.enough()

    def stop(number: int, _frame: object) -> None:
        # What is under way is still written; a second one ends at once.
        nonlocal stopped
        if stopped:
            raise SystemExit(128 + number)
        stopped = True
        client.enough()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for piece in client.items():
            take(piece)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    end: DumpEnd = piece[-1]
    return end


class _File:
    """A pcapng, in a file or on standard output."""

    def __init__(self, target: str) -> None:
        from pktpath.control.dump_client import PcapngStream
        from pktpath.port.capture_output import Output

        self.frames = 0
        self._stream = PcapngStream()
        self._output = Output(target)
        self._put(self._stream.begin())
        self.commit = self._output.commit
        self.discard = self._output.discard

    def write(self, interfaces: list[Any], frames: list[Any]) -> None:
        self.frames += len(frames)
        self._put(self._stream.blocks([*interfaces, *frames]))

    def _put(self, data: bytes) -> None:
        if data:
            self._output.write(memoryview(data))


class _Lines:
    """A line a frame on standard output."""

    def __init__(self) -> None:
        self.frames = 0
        self._names: dict[int, str] = {}

    def write(self, interfaces: list[Any], frames: list[Any]) -> None:
        self._names.update((item.number, item.name) for item in interfaces)
        self.frames += len(frames)
        for frame in frames:
            seconds, rest = divmod(frame.timestamp, 1_000_000_000)
            at = time.strftime("%H:%M:%S", time.localtime(seconds))
            words = f"{at}.{rest // 1000:06d} {self._names[frame.interface]}: {frame.wire_length} bytes"
            click.echo(f"{words}, {frame.comment}" if frame.comment else words)
        sys.stdout.flush()

    def commit(self) -> None:
        """All is written."""

    def discard(self) -> None:
        """All is written."""
