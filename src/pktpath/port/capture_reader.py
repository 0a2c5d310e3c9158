"""Reading captures: formats, interfaces, blocks and what to say when a file lies or ends too early."""

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import numpy as np

from pktpath.batch import FRAMES, Batch
from pktpath.port import pcap_format, pcapng_format
from pktpath.port.capture_scan import (
    BAD,
    CLAIM,
    CODE,
    FULL,
    MORE,
    NEED,
    ODD,
    PROBLEM,
    PROBLEMS,
    SECTION,
    InterfaceTable,
)  # fmt: skip
from pktpath.port.capture_source import CaptureSource
from pktpath.port.capture_types import Block, CaptureError, Interface
from pktpath.port.capture_window import Window
from pktpath.port.filter import Filter
from pktpath.wire.parse import parse

_MAX_OFFSET = 1 << 33
_MAX_INTERFACES = 1 << 20


class CaptureReader:
    """An open capture; see `pktpath.port.capture.open_capture`."""

    def __init__(
        self,
        source: CaptureSource,
        *,
        filter_text: str | None,
        batch_size: int,
        window: int,
        header_chunks: int,
        recycle: bool,
        boundary: Callable[[Batch], int] | None,
    ) -> None:
        """Look at the first bytes and take nothing else."""
        self.file = source.label
        self.interfaces: list[Interface] = []
        """Interfaces declared so far; `Batch.in_port` is an index into it."""
        self.warnings: list[str] = []
        """One line each about what was not as it should be; complete when the last batch was delivered."""
        self.damage = ""
        """One line about where the file ends too early or lies, once `items` or `kept_items` came there."""
        self.frames = 0
        """Frames delivered so far."""
        self.header = b""
        """The file header of a pcap, as it stands there."""
        self.big_endian = False
        """Byte order of the file, or of the present section."""
        self._source = source
        self._filter = Filter(filter_text) if filter_text else None
        self._boundary = boundary
        self._window = Window(source, size=window, batch_size=batch_size, header_chunks=header_chunks, recycle=recycle)
        self._batch_size = batch_size
        self._base = 0
        self._table = InterfaceTable(
            np.zeros(1, np.uint64), np.zeros(1, np.int64), np.zeros(1, np.uint8), np.zeros(1, np.int64), np.zeros(1, np.bool_)
        )
        self._record_header = pcap_format.RECORD_HEADER
        self.format = self._open()
        """"pcap" or "pcapng"."""

    @property
    def bytes_read(self) -> int:
        """Bytes taken from the file so far (compressed ones where it is compressed)."""
        return self._source.raw.bytes_read

    @property
    def size(self) -> int | None:
        """Bytes in the file, None where nobody knows."""
        return self._source.raw.size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; batches that were delivered stay valid."""
        self._source.close()

    def __iter__(self) -> Iterator[Batch]:
        return (item for item in self.items() if isinstance(item, Batch))

    def items(self) -> Iterator[Batch | Block]:
        """Yield batches and, between them, the pcapng blocks that are no packets, in the order of the file.

        Raises:
            CaptureError: a field lies or the file cannot be read; what came before was delivered.

        """
        while True:
            code = self._scan()
            if code == MORE:
                count = self._complete_frames()
                if count:
                    yield self._deliver(count)
                elif not self._window.fill():
                    break
            elif code == FULL:
                if self._window.frames == self._batch_size:  # else the filter made room
                    yield self._deliver(self._complete_frames() or self._batch_size)
            else:
                if self._window.frames:
                    yield self._deliver(self._window.frames)
                if code == BAD:
                    raise self._lie()
                yield self._take_block(section=code == SECTION)
        if self._window.frames:
            yield self._deliver(self._window.frames)
        self._report_end()

    def _open(self) -> str:
        while self._window.rest < pcap_format.HEADER and self._window.fill():
            pass
        start = self._window.look(pcap_format.HEADER)
        if start[:4] == pcapng_format.MAGIC:
            return "pcapng"
        if not pcap_format.is_pcap(start[:4]):
            nothing = "the compressed data end before the first byte" if self.bytes_read else "is empty"
            raise CaptureError(self.file, "neither pcap nor pcapng" if start else nothing, offset=0, field="magic number")
        if len(start) < pcap_format.HEADER:
            message = f"truncated: a pcap header has {pcap_format.HEADER} bytes, {len(start)} are there"
            raise CaptureError(self.file, message, offset=len(start), field="file header")
        interface, self._record_header = pcap_format.parse_header(start)
        self.header = self._window.take(pcap_format.HEADER)
        self.big_endian = interface.big_endian
        self._declare(interface)
        return "pcap"

    def _scan(self) -> int:
        """Append to the batch; return why the scan stopped."""
        window = self._window
        batch, state = window.batch, window.state
        first = window.frames
        with np.errstate(over="ignore"):
            if self.format == "pcap":
                pcap_format.scan_pcap(batch, state, window.end, self._record_header, self._table)
            else:
                count = len(self.interfaces)
                pcapng_format.scan_pcapng(batch, state, window.end, self.big_endian, self._base, count, self._table)
        if self._filter and batch.used[FRAMES] > first:
            self._filter.keep(batch, first)
        if batch.used[FRAMES] > first:
            parse(batch, first, int(batch.used[FRAMES]))
        return int(state[CODE])

    def _complete_frames(self) -> int:
        """Frames of the batch that can be delivered now: whole polls where those are asked for."""
        if self._boundary is None:
            return self._window.frames
        return self._boundary(self._window.batch)

    def _deliver(self, count: int) -> Batch:
        self.frames += count
        return self._window.deliver(count)

    def _take_block(self, *, section: bool) -> Block:
        """Return the block that the scan stopped at and learn what it declares."""
        offset = self._window.offset
        data = self._window.take(int(self._window.state[NEED]))
        if section:
            self.big_endian = data[8:12] == pcapng_format.BYTE_ORDER_MAGIC.to_bytes(4, "big")
            self._base = len(self.interfaces)
        kind = int.from_bytes(data[:4], "big" if self.big_endian else "little")
        if kind != pcapng_format.INTERFACE_DESCRIPTION:
            return Block(kind, data, self.big_endian)
        try:
            self._declare(pcapng_format.parse_interface(data, big_endian=self.big_endian))
        except ValueError as error:
            raise CaptureError(self.file, str(error), offset=offset, field="interface block") from error
        return Block(kind, data, self.big_endian, len(self.interfaces) - 1)

    def kept_items(self) -> Iterator[Batch | Block]:
        """Yield what `items` yields and end where the file lies, with `damage` set, instead of raising."""
        try:
            yield from self.items()
        except CaptureError as error:
            self.damage = str(error)
            self.warnings.append(self.damage)

    def _declare(self, interface: Interface) -> None:
        row = len(self.interfaces)
        if row == _MAX_INTERFACES:
            message = f"more than {_MAX_INTERFACES} interfaces"
            raise ValueError(message)
        if row == len(self._table.rate):
            self._table = InterfaceTable(*(np.concatenate([column, np.zeros_like(column)]) for column in self._table))
        self._table.rate[row] = interface.ticks_per_second
        self._table.offset[row] = max(-_MAX_OFFSET, min(interface.offset, _MAX_OFFSET))
        self._table.link[row] = interface.link
        self._table.snaplen[row] = interface.snaplen
        self._table.big[row] = interface.big_endian
        if self._filter:
            self._filter.declare(interface)
        self.interfaces.append(interface)

    def _lie(self) -> CaptureError:
        state = self._window.state
        message = f"{int(state[CLAIM])} is impossible; {self._kept()}"
        return CaptureError(self.file, message, offset=self._window.offset, field=PROBLEMS[int(state[PROBLEM])])

    def _kept(self) -> str:
        return "1 frame before it was kept" if self.frames == 1 else f"{self.frames} frames before it were kept"

    def _report_end(self) -> None:
        rest, state = self._window.rest, self._window.state
        pcap = self.format == "pcap"
        if rest or self._source.cut:
            what, least = ("record", self._record_header) if pcap else ("block", pcapng_format.MIN_BLOCK)
            claim = f"a {what} header has {least} bytes, {rest} are there"
            if rest == 0:
                claim = "nothing follows"
            elif rest >= least:
                claim = f"the {what} header says {int(state[CLAIM])} bytes, {rest - least if pcap else rest} are there"
            cause = f"{self._source.cut}; " if self._source.cut else ""
            where = f"truncated at offset {self._window.offset + rest}"
            self.damage = f"{self.file}: {where}: {cause}{claim}; {self._kept()}"
            self.warnings.append(self.damage)
        odd = int(state[ODD])
        if odd and pcap:
            self._warn(f"{odd} timestamps have a fraction of a second or more: they are written with whole seconds carried over")
        elif odd:
            self._warn(f"the options of {odd} packets are malformed and were left out")

    def _warn(self, text: str) -> None:
        self.warnings.append(f"{self.file}: {text}")
