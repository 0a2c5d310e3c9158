"""The capture port: frames from and to pcap and pcapng files, as fast as the disk.

Enters: a path, "-" or a file object. Leaves: parsed batches whose frames lie, read-only, in a window of the
file, and the blocks between them; or a file. Formats: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from pktpath.batch import FRAMES, Batch
from pktpath.offload.flow_hash import flow_hash
from pktpath.port.capture_output import Output
from pktpath.port.capture_reader import CaptureReader
from pktpath.port.capture_scan import last_poll_end
from pktpath.port.capture_source import CaptureSource
from pktpath.port.capture_types import Block, CaptureError, ExtraOptions, Interface
from pktpath.port.capture_writer import CaptureWriter
from pktpath.port.pcapng_options import encode_option, find_option

__all__ = [
    "Block",
    "CaptureError",
    "CaptureReader",
    "CaptureWriter",
    "ExtraOptions",
    "Interface",
    "create_capture",
    "encode_option",
    "find_option",
    "open_capture",
    "read",
    "write",
]

CAPTURE_BATCH = 4096
WINDOW = 16 << 20
_COMPRESSED = (".gz", ".zst", ".xz", ".lz4", ".bz2")


def open_capture(
    target: str | os.PathLike[str] | BinaryIO,
    *,
    filter: str | None = None,  # noqa: A002  the word that every capture tool uses
    batch_size: int = CAPTURE_BATCH,
    window: int = WINDOW,
    header_chunks: int | None = None,
    recycle: bool = True,
    align: tuple[int, int] | None = None,
    boundary: Callable[[Batch], int] | None = None,
) -> CaptureReader:
    """Open a pcap or pcapng capture, plain or compressed by gzip or zstd, and read its first bytes.

    Args:
        target: a path, "-" for stdin, or a binary file object.
        filter: a pcap-filter(7) expression; frames that it refuses are left out.
        batch_size: most frames in a batch.
        window: bytes of the file in memory at once, twice; grows where one record needs more.
        header_chunks: header chunks in the pool of each window, for who changes frames; 2 a frame without.
            For each 8 of them there is one of 2 KiB.
        recycle: use memory again: a batch is valid until the next but one is asked for. Without,
            each batch stays valid for as long as it is held.
        align: (frames, nanoseconds): end batches only where a poll ends, after so many frames or
            at a pause above so many nanoseconds; polls are counted from the first frame of a batch.
            A block between packets, and the end of the file, end a poll too.
        boundary: instead of `align`, a function of a batch: how many of its first frames may go now.
            What stays is the start of the next batch; a full batch goes whatever it says.

    Raises:
        CaptureError: it cannot be opened, or is no capture, or the filter is wrong.
        ValueError: a batch cannot hold a poll.

    """
    if align is not None and not 0 < align[0] <= batch_size:
        message = f"a poll of {align[0]} frames does not fit into a batch of {batch_size}"
        raise ValueError(message)
    if align is not None:
        boundary = partial(_last_poll_end, poll=align[0], gap=align[1])
    source = CaptureSource(target)
    try:
        return CaptureReader(
            source,
            filter_text=filter,
            batch_size=batch_size,
            window=window,
            header_chunks=2 * batch_size if header_chunks is None else header_chunks,
            recycle=recycle,
            boundary=boundary,
        )
    except BaseException:
        source.close()
        raise


def _last_poll_end(batch: Batch, poll: int, gap: int) -> int:
    return int(last_poll_end(batch, poll, gap))


def create_capture(
    target: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002  the word that every capture tool uses
    interfaces: Sequence[Interface] | None = None,
    like: CaptureReader | None = None,
    snaplen: int = 0,
) -> CaptureWriter:
    """Create a capture; it appears under its name when the writer is closed without an error.

    Args:
        target: a path, or "-" for stdout.
        format: "pcap" or "pcapng"; by default pcap where the name ends in .pcap, else pcapng.
        interfaces: what frames come from, by `Batch.in_port`; times are converted from `Batch.timestamp`.
        like: the reader that the batches come from: its byte order, interfaces and exact ticks are kept.
            Without both, an interface with nanoseconds is declared when its first frame comes.
        snaplen: what a pcap states at the least: frames may be longer than those of `like`.

    Raises:
        CaptureError: it cannot be created.

    """
    suffix = "" if target == "-" else Path(target).suffix.lower()
    if suffix in _COMPRESSED:
        raise CaptureError(os.fspath(target), "captures are written uncompressed: write to - and compress that")
    kind = format or ("pcap" if suffix == ".pcap" else "pcapng")
    if kind not in ("pcap", "pcapng"):
        raise CaptureError(os.fspath(target), f"{kind} is neither pcap nor pcapng", field="format")
    return CaptureWriter(Output(target), pcapng=kind == "pcapng", interfaces=interfaces, like=like, snaplen=snaplen)


def read(
    target: str | os.PathLike[str] | BinaryIO,
    filter: str | None = None,  # noqa: A002  the word that every capture tool uses
) -> Iterator[Batch]:
    """Yield the frames of a capture as parsed batches, each in memory of its own, with a receive hash as a NIC gives one.

    Raises:
        CaptureError: it cannot be read any further; what came before was yielded.

    """
    with open_capture(target, filter=filter, recycle=False) as reader:
        for batch in reader:
            flow_hash(batch, 0, int(batch.used[FRAMES]))
            yield batch


def write(target: str | os.PathLike[str], batches: Iterable[Batch]) -> int:
    """Write batches to a new capture with nanosecond timestamps; return how many frames it has.

    Raises:
        CaptureError: it cannot be written; nothing is left behind.

    """
    with create_capture(target) as writer:
        for batch in batches:
            writer.write(batch)
        return writer.frames
