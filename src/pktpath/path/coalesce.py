"""The way of `pktpath coalesce`: what GRO, or the old LRO, would have delivered of a capture.

capture ─ (reassembly) ─ GRO or LRO, poll by poll ─ losses ─ undo records ─ checksums ─ capture
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pktpath.batch import (
    CHECKSUM_PARTIAL,
    FRAMES,
    GSO_TCPV4,
    GSO_TCPV6,
    GSO_UDP,
    GSO_UDP_L4,
    Batch,
    hold_frame,
    make_batch,
    release,
)
from pktpath.features import Feature
from pktpath.jit import kernel
from pktpath.offload.checksum import complete_frame
from pktpath.offload.flow_hash import flow_hash
from pktpath.offload.gro import gro_polls
from pktpath.offload.gro_table import UNLIMITED, GroTable, make_gro_table
from pktpath.offload.lro import STATISTICS, lro_polls, make_lro_table
from pktpath.offload.reason import Reason
from pktpath.offload.reassembly import make_reassembly_table, reassemble
from pktpath.offload.rules import DEFAULT_RULES, KERNEL_BUCKET_DEPTH, RULES
from pktpath.path.loss import count_losses, frame_losses, make_counts, named
from pktpath.path.mss import learn_frame, make_mss_table, segment_size
from pktpath.path.undo import WIDE_SNAPLEN, Records, mark_section, widen_interface
from pktpath.path.undo_write import undo_records
from pktpath.pool import NORMAL, chunk_alloc, chunk_put
from pktpath.port.capture import CaptureReader, CaptureWriter, create_capture, open_capture
from pktpath.port.capture_types import Block, ExtraOptions
from pktpath.port.pcapng_format import INTERFACE_DESCRIPTION, SECTION_HEADER, build_interface, build_section

_BATCH = 4096
LARGEST_POLL = 1024
"""The larger a poll, the more frames one group of the undo record may hold."""
_PLAIN_TYPES = np.uint32(GSO_TCPV4 | GSO_TCPV6 | GSO_UDP_L4 | GSO_UDP)
FEATURES = Feature.GRO | Feature.RXCSUM | Feature.GRO_UDP_FWD


@dataclass
class Coalesced:
    """What `coalesce` did."""

    frames: int = 0
    """Frames read."""
    written: int = 0
    merged: int = 0
    """Frames that went into merged ones."""
    merged_frames: int = 0
    """Merged frames written."""
    reassembled: int = 0
    """Datagrams put together from fragments."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Written frames by why they were not merged, or why they ended."""
    patched: int = 0
    """Segments whose headers are not what segmentation would make."""
    undo: bool = True
    """Whether the output holds undo records."""
    not_restorable: int = 0
    """Without undo records: frames that `segment` cannot cut back to the same bytes."""
    out_of_place: int = 0
    """Without undo records: frames whose place among the others is lost."""
    losses: dict[str, dict[str, int]] = field(default_factory=dict)
    """By engine, what its merging loses (`path.loss.LOSSES`), whatever the output keeps; GRO always stands beside LRO."""
    sessions: dict[str, int] = field(default_factory=dict)
    """What the LRO manager counted: aggregated, flushed, no_desc."""
    warnings: list[str] = field(default_factory=list)
    """What the reader and the writer had to say."""
    damaged: bool = False
    """The input ends too early or lies; what came before is in the output."""


@dataclass
class Options:
    """How `coalesce` works; the defaults are the kernel's."""

    engine: str = "gro"
    """gro or lro."""
    rules: str = DEFAULT_RULES
    poll: int = 64
    """Frames in one NAPI poll."""
    flush_timeout: int = 100_000
    """Nanoseconds without a frame that end a poll."""
    unlimited: bool = False
    """Hold any number of flows."""
    udp: bool = True
    """rx-udp-gro-forwarding."""
    reassemble: bool = False
    partial: bool = False
    """Leave merged checksums in the kernel's partial form."""
    trust_partial: bool = False
    """Merge frames whose checksum was left to the device."""
    max_desc: int = 8
    """LRO: flows held at once."""
    max_aggr: int = 64
    """LRO: segments in a merged frame."""
    mtu: int = 1500
    """LRO: bytes of IP that the device receives."""


def coalesce_capture(
    source: str,
    target: str,
    options: Options,
    *,
    expression: str = "",
    progress: Callable[[int], None] = lambda _offset: None,
    why: Callable[[Batch, int], None] | None = None,
) -> Coalesced:
    """Merge the frames of capture `source` as GRO or LRO does and write the result to `target`.

    Args:
        source: file name, or "-" for standard input.
        target: file name, or "-" for standard output; a pcapng gets undo records.
        options: rules and switches.
        expression: pcap-filter expression; other frames are left out.
        progress: called with the offset reached in the input, in bytes.
        why: called with each written batch and the number of frames read before it.

    Raises:
        CaptureError: a capture cannot be read or written any further.

    """
    with (
        open_capture(
            source, filter=expression or None, batch_size=_BATCH, recycle=True, align=(options.poll, options.flush_timeout)
        ) as reader,
        create_capture(target, like=reader, snaplen=WIDE_SNAPLEN) as writer,
    ):
        return _Coalescer(reader, writer, options).run(progress, why)


class _Coalescer:
    """The stages of one run and what they keep between batches."""

    def __init__(self, reader: CaptureReader, writer: CaptureWriter, options: Options) -> None:
        self.reader, self.writer, self.options = reader, writer, options
        self.gro: GroTable = make_gro_table(depth=UNLIMITED if options.unlimited else KERNEL_BUCKET_DEPTH, frames=_BATCH)
        self.lro = make_lro_table(options.max_desc, options.max_aggr, options.mtu, _BATCH, trust_partial=options.trust_partial)
        self.table = self.lro if options.engine == "lro" else self.gro
        self.losses = {engine: make_counts() for engine in (("lro", "gro") if options.engine == "lro" else ("gro",))}
        self.features = int(FEATURES if options.udp else FEATURES & ~Feature.GRO_UDP_FWD)
        self.sizes = make_mss_table()
        self.result = Coalesced(undo=writer.format == "pcapng")
        self.fragments = make_reassembly_table(_BATCH)
        self.records: Records | None = None
        self.poll_of = np.zeros(_BATCH, np.int32)

    def run(self, progress: Callable[[int], None], why: Callable[[Batch, int], None] | None) -> Coalesced:
        """Go through the capture once."""
        options, result = self.options, self.result
        started = False
        for item in self.reader.kept_items():
            progress(self.reader.bytes_read)
            if isinstance(item, Block):
                started = True
                self._pass(item)
                continue
            if not started:  # a pcap has no section
                started = True
                big = self.reader.big_endian
                self._pass(Block(SECTION_HEADER, build_section(big_endian=big), big))
                for k, interface in enumerate(self.reader.interfaces):
                    self._pass(Block(INTERFACE_DESCRIPTION, build_interface(interface, big_endian=big), big, k))
            before = result.frames
            merged = self._coalesce(item)
            if why is not None:
                why(merged, before)
            release(merged)
        result.reasons = {reason.word: int(self.table.counts[reason]) for reason in Reason if self.table.counts[reason]}
        result.losses = {engine: named(counts) for engine, counts in self.losses.items()}
        if options.engine == "lro":
            result.sessions = dict(zip(STATISTICS, map(int, self.lro.statistics), strict=True))
        result.warnings = self.reader.warnings + self.writer.warnings
        result.damaged = bool(self.reader.damage)
        return result

    def _pass(self, block: Block) -> None:
        """Pass a block on: a section marked as one with undo records, an interface with a snaplen for merged frames."""
        if block.type == INTERFACE_DESCRIPTION:
            block = block._replace(data=widen_interface(block.data, big_endian=block.big_endian))
        if block.type == SECTION_HEADER:
            block = block._replace(data=mark_section(block.data, big_endian=block.big_endian))
        self.writer.write_block(block)

    def _coalesce(self, source: Batch) -> Batch:
        """Take one batch through the stages and write it; returns what was written."""
        options, result = self.options, self.result
        count = int(source.used[FRAMES])
        scratch = take_chunk(source.pool, NORMAL)
        stage = self._reassemble(source) if options.reassemble else source
        flow_hash(stage, 0, int(stage.used[FRAMES]))
        merged = make_batch(source.pool, count, 2 * count)
        if options.engine == "lro":
            self._merge_beside(source, stage)
            lro_polls(stage, merged, self.lro, options.poll, options.flush_timeout, self.poll_of)
        else:
            self._gro(stage, merged)
        count_losses(source, merged, 0, self.losses[options.engine])
        if not result.undo:
            # Neither that all segments had one IP ID nor that each carried CWR can be told from a pcap.
            merged.gso_type[:] &= _PLAIN_TYPES
        records = undo_records(source, merged, scratch, RULES[DEFAULT_RULES], self.records.data if self.records else None)
        self.records = records
        if not options.partial:
            complete_merged(merged)
        self._count(source, merged, records, count)
        extra = ExtraOptions(records.data, records.addr, records.length) if result.undo else None
        self.writer.write(merged, extra)
        put_chunk(source.pool, scratch)
        return merged

    def _gro(self, stage: Batch, merged: Batch) -> None:
        options = self.options
        gro_polls(
            stage,
            merged,
            self.gro,
            RULES[options.rules],
            self.features,
            options.trust_partial,
            options.poll,
            options.flush_timeout,
            self.poll_of,
        )

    def _merge_beside(self, source: Batch, stage: Batch) -> None:
        """Let GRO merge the same polls, count what that loses, and leave `stage` as it was."""
        used = stage.used.copy()
        hold_batch(stage)
        beside = make_batch(source.pool, int(used[FRAMES]), int(used.sum()))
        self._gro(stage, beside)
        count_losses(source, beside, 0, self.losses["gro"])
        release(beside)
        stage.used[:] = used

    def _reassemble(self, source: Batch) -> Batch:
        """Put IP fragments together; what is not whole at the end of the batch stays in pieces."""
        count = int(source.used[FRAMES])
        whole = make_batch(source.pool, count, 2 * count)
        reassemble(source, whole, self.fragments)
        return whole

    def _count(self, source: Batch, merged: Batch, records: Records, read: int) -> None:
        result = self.result
        written = int(merged.used[FRAMES])
        segments = merged.gso_segs[:written]
        fragments = merged.gso_type[:written] & GSO_UDP != 0
        grown = (segments > 1) & ~fragments
        result.frames += read
        result.written += written
        result.merged += int(segments[grown].sum())
        result.merged_frames += int(grown.sum())
        result.reassembled += int((fragments & (segments > 1)).sum())
        result.patched += int(records.patched[:written].sum())
        if not result.undo:
            result.not_restorable += int(count_lost(source, merged, self.sizes, make_counts()))
            result.out_of_place += int(count_moved(merged))


@kernel
def take_chunk(pool, chunk_class):
    """Take a chunk."""
    return chunk_alloc(pool, chunk_class)


@kernel
def put_chunk(pool, chunk):
    """Give a chunk back."""
    chunk_put(pool, chunk)


@kernel
def hold_batch(batch):
    """Hold every chunk of a batch once more."""
    for i in range(batch.used[FRAMES]):
        hold_frame(batch, i)


@kernel
def complete_merged(batch):
    """Write the whole checksum of every frame that was merged; others are not touched."""
    for j in range(batch.used[FRAMES]):
        if batch.frames[j].gso_segs > 1 and batch.frames[j].ip_summed == CHECKSUM_PARTIAL:
            complete_frame(batch, j)


@kernel
def count_lost(source, merged, sizes, counts):
    """Count the original frames that `segment` would not give back without undo records; `counts` is for `frame_losses`."""
    lost = 0
    for j in range(merged.used[FRAMES]):
        learn_frame(merged, j, sizes)
        size, _ = segment_size(merged, j, sizes, 0)
        if merged.frames[j].gso_segs > 1:
            if size > 0 and not merged.frames[j].gso_type & GSO_UDP:
                lost += frame_losses(source, merged, j, size, counts)
            else:
                lost += merged.frames[j].frag_count
        elif size > 0:
            lost += 1
    return lost


@kernel
def count_moved(merged):
    """Count the written frames that do not start where the one before ended."""
    moved = 0
    expected = 0
    for j in range(merged.used[FRAMES]):
        moved += merged.frames[j].origin != expected
        expected = merged.frames[j].origin + max(merged.frames[j].gso_segs, 1)
    return moved
