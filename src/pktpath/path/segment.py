"""The way of `pktpath segment`: a capture full of super-frames becomes a capture of wire frames.

capture ─ undo records ─ segment sizes ─ GSO ─ order of the originals ─ capture
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pktpath.batch import FRAME_COLUMNS, FRAMES, Batch, make_batch, release
from pktpath.offload.rules import DEFAULT_RULES, RULES
from pktpath.path.mss import Basis, learn, make_mss_table
from pktpath.path.segment_cut import COUNTS, Count, Wishes, cut_capture
from pktpath.path.undo_read import make_plan, read_records, whole_groups
from pktpath.port.capture import CaptureReader, CaptureWriter, create_capture, open_capture

_BATCH = 4096
_OUT = 16384


@dataclass
class Segmented:
    """What `segment` did."""

    frames: int = 0
    """Frames read."""
    written: int = 0
    super_frames: dict[str, int] = field(default_factory=dict)
    """Super-frames that were cut, by the basis of their segment size."""
    segments: int = 0
    """Frames that they were cut into."""
    cut_by_snaplen: int = 0
    """Super-frames kept as they were because the capture does not hold them whole."""
    refused: int = 0
    """Super-frames kept as they were because their headers could not be understood."""
    damaged_records: int = 0
    """Undo records that did not fit their frames and were left aside."""
    disordered: int = 0
    """Groups of frames whose undo records were not all there: they keep the order they have."""
    warnings: list[str] = field(default_factory=list)
    """What the reader had to say."""


def segment_capture(
    source: str,
    target: str,
    *,
    mtu: int = 0,
    ufo: bool = False,
    spread: int = 0,
    expression: str = "",
    progress: Callable[[int], None] = lambda _offset: None,
) -> Segmented:
    """Cut the super-frames of capture `source` and write all frames to `target`.

    Args:
        source: file name, or "-" for standard input.
        target: file name, or "-" for standard output.
        mtu: bytes of IP in a frame; 0: from undo records, SYNs, frames seen, or 1500.
        ufo: cut UDP super-frames into IP fragments; they become datagrams otherwise.
        spread: bits per second by which segments follow each other; 0: all at the time of their frame.
        expression: pcap-filter expression; other frames are left out.
        progress: called with the offset reached in the input, in bytes.

    Raises:
        CaptureError: a capture cannot be read or written any further.

    """
    with (
        open_capture(source, filter=expression or None, batch_size=_BATCH, header_chunks=_OUT, recycle=True, boundary=whole_groups) as reader,
        create_capture(target, like=reader) as writer,
    ):
        return _segment(reader, writer, Wishes(mtu, ufo, spread), progress)


def _segment(reader: CaptureReader, writer: CaptureWriter, wishes: Wishes, progress: Callable[[int], None]) -> Segmented:
    counts = np.zeros(COUNTS, np.int64)
    sizes = make_mss_table()
    rules = RULES[DEFAULT_RULES]
    plan = make_plan(_BATCH)
    order, place = np.zeros(_OUT, np.int64), np.zeros(_OUT, np.int64)
    out: Batch | None = None
    result = Segmented()
    for item in reader.items():
        progress(reader.bytes_read)
        if not isinstance(item, Batch):
            writer.write_block(item)
            continue
        if out is None:
            out = make_batch(item.pool, _OUT, 3 * _OUT)
        out = out._replace(pool=item.pool)
        ticks_per_second = np.array([interface.ticks_per_second for interface in reader.interfaces], np.int64)
        result.frames += int(item.used[FRAMES])
        read_records(item, plan)
        learn(item, sizes)
        done, total = 0, int(item.used[FRAMES])
        while done < total:
            done = cut_capture(item, done, out, plan, sizes, wishes, rules, ticks_per_second, counts, order, place)
            result.written += int(out.used[FRAMES])
            reorder(out, order)
            writer.write(out)
            release(out)
    result.super_frames = {basis.name.lower(): int(counts[basis]) for basis in Basis if basis and counts[basis]}
    result.segments, result.cut_by_snaplen, result.refused, result.disordered = (
        int(counts[count]) for count in (Count.SEGMENTS, Count.SNAPLEN, Count.REFUSED, Count.DISORDERED)
    )
    result.damaged_records = int(plan.damaged[0])
    result.warnings = reader.warnings
    return result


def reorder(batch: Batch, order: np.ndarray) -> None:
    """Put the descriptors of a batch into `order`: row `order[k]` comes to place k."""
    count = int(batch.used[FRAMES])
    rows = order[:count]
    if np.array_equal(rows, np.arange(count)):
        return
    for name in FRAME_COLUMNS:
        column = getattr(batch, name)
        column[:count] = column[rows]
