"""The way of `pktpath segment`: a capture full of super-frames becomes a capture of wire frames.

capture ─ undo records ─ segment sizes ─ GSO ─ order of the originals ─ capture
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pktpath.batch import FRAMES, Batch, make_batch, release
from pktpath.features import Feature
from pktpath.offload.gso import gso_segment
from pktpath.offload.rules import DEFAULT_RULES, RULES
from pktpath.path.mss import Basis, make_mss_table
from pktpath.path.segment_cut import COUNTS, Count, Wishes, choose_sizes, put_in_order, replay, run_end, write_out
from pktpath.path.undo import narrow_interface, unmark_section
from pktpath.path.undo_read import make_plan, read_records, whole_groups
from pktpath.port.capture import CaptureReader, CaptureWriter, create_capture, open_capture
from pktpath.port.capture_types import Block
from pktpath.port.pcapng_format import INTERFACE_DESCRIPTION, SECTION_HEADER, parse_interface

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
    """What the reader and the writer had to say."""
    damaged: bool = False
    """The input ends too early or lies; what came before is in the output."""


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
        open_capture(
            source, filter=expression or None, batch_size=_BATCH, header_chunks=_OUT, recycle=True, boundary=whole_groups
        ) as reader,
        create_capture(target, like=reader) as writer,
    ):
        return _Segmenter(reader, writer, Wishes(mtu, ufo, spread, recorded=False)).run(progress)


class _Segmenter:
    """The stages of one run and what they keep between batches."""

    def __init__(self, reader: CaptureReader, writer: CaptureWriter, wishes: Wishes) -> None:
        self.reader, self.writer, self.wishes = reader, writer, wishes
        self.counts = np.zeros(COUNTS, np.int64)
        self.sizes = make_mss_table()
        self.plan = make_plan(_BATCH)
        self.basis = np.zeros(_BATCH, np.int64)
        self.group, self.place, self.order = (np.zeros(_OUT, np.int64) for _ in range(3))
        self.out: Batch | None = None
        self.ticks_per_second = np.zeros(0, np.uint64)
        self.result = Segmented()

    def run(self, progress: Callable[[int], None]) -> Segmented:
        """Go through the capture once."""
        for item in self.reader.kept_items():
            progress(self.reader.bytes_read)
            if isinstance(item, Batch):
                self._segment(item)
            else:
                self._pass(item)
        counts, result = self.counts, self.result
        result.super_frames = {basis.name.lower(): int(counts[basis]) for basis in Basis if basis and counts[basis]}
        result.segments, result.cut_by_snaplen, result.refused, result.disordered = (
            int(counts[count]) for count in (Count.SEGMENTS, Count.SNAPLEN, Count.REFUSED, Count.DISORDERED)
        )
        result.damaged_records = int(self.plan.damaged[0])
        result.warnings = self.reader.warnings + self.writer.warnings
        result.damaged = bool(self.reader.damage)
        return result

    def _pass(self, block: Block) -> None:
        """Pass a block on; the first mark in a section header is for us, more are of captures coalesced before."""
        if block.type == SECTION_HEADER:
            unmarked = unmark_section(block.data, big_endian=block.big_endian)
            self.wishes = self.wishes._replace(recorded=unmarked is not None and self.wishes.mtu == 0)
            block = block._replace(data=unmarked or block.data)
        elif block.type == INTERFACE_DESCRIPTION:
            block = block._replace(data=narrow_interface(block.data, big_endian=block.big_endian))
            # What a pcap states of its interface is taken from here.
            self.reader.interfaces[block.interface] = parse_interface(block.data, big_endian=block.big_endian)
        self.writer.write_block(block)

    def _segment(self, batch: Batch) -> None:
        """Cut the frames of a batch and write what they become, in the order of the originals."""
        out = make_batch(batch.pool, _OUT, 3 * _OUT) if self.out is None else self.out._replace(pool=batch.pool)
        self.out = out
        self.ticks_per_second = np.array([interface.ticks_per_second for interface in self.reader.interfaces], np.uint64)
        total, done = int(batch.used[FRAMES]), 0
        self.result.frames += total
        read_records(batch, self.plan)
        choose_sizes(batch, self.plan, self.sizes, self.wishes, self.basis, self.counts)
        while done < total:
            stop = int(run_end(batch, done, total, out, self.plan))
            start = int(out.used[FRAMES])
            if stop > done:
                batch.used[FRAMES] = stop
                stop = int(gso_segment(batch, done, out, int(Feature.SG), RULES[DEFAULT_RULES]))
            elif stop == done and write_out(batch, done, out, self.plan):
                stop = done + 1
            elif start == 0:  # more segments than an output holds
                self.plan.flags[done] = 0
                self.plan.damaged[0] += 1
                continue
            if stop <= done:
                self._write(out)
                continue
            self._replay(batch, done, stop, out, start)
            done = stop
        self._write(out)

    def _replay(self, batch: Batch, first: int, last: int, out: Batch, start: int) -> None:
        replay(
            batch, first, last, out, start, self.plan, self.wishes, self.basis, self.ticks_per_second, self.counts,
            self.group, self.place,
        )  # fmt: skip

    def _write(self, out: Batch) -> None:
        """Write what is cut and empty the batch."""
        count = int(out.used[FRAMES])
        put_in_order(count, self.group, self.place, self.order, self.counts)
        reorder(out, self.order)
        self.writer.write(out)
        self.result.written += count
        release(out)


def reorder(batch: Batch, order: np.ndarray) -> None:
    """Put the descriptors of a batch into `order`: row `order[k]` comes to place k."""
    count = int(batch.used[FRAMES])
    rows = order[:count]
    if np.array_equal(rows, np.arange(count)):
        return
    # As plain bytes: numpy copies records field by field.
    descriptors = np.asarray(batch.frames).view(np.uint64).reshape(len(batch.frames), -1)
    descriptors[:count] = descriptors[rows]
