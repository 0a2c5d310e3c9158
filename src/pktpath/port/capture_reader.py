"""Reading captures: windows of file bytes, scanned and parsed by compiled code.

The bytes of a capture go into a window once and stay there: descriptors point at them. Two windows
take turns; what a window ends within, an unfinished record or poll, goes to the front of the other.
"""

import mmap
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import numpy as np

from pktpath.batch import FRAMES, Batch, make_batch
from pktpath.pool import Pool, make_pool
from pktpath.port import pcap_format, pcapng_format
from pktpath.port.capture_scan import (
    BAD, CLAIM, CODE, FULL, MORE, NEED, NEXT, ODD, POSITION, PROBLEM, PROBLEMS, SECTION, STATE_LENGTH, InterfaceTable,
    carry, last_poll_end,
)  # fmt: skip
from pktpath.port.capture_source import CaptureSource
from pktpath.port.capture_types import Block, CaptureError, Interface
from pktpath.port.filter import Filter
from pktpath.wire.parse import parse

_READ_SIZE = 4 << 20
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
        align: tuple[int, int] | None,
    ) -> None:
        """Look at the first bytes and take nothing else."""
        self.file = source.label
        self.interfaces: list[Interface] = []
        """Interfaces declared so far; `Batch.in_port` is an index into it."""
        self.warnings: list[str] = []
        """One line each about what was not as it should be."""
        self.frames = 0
        """Frames delivered so far."""
        self.header = b""
        """The file header of a pcap, as it stands there."""
        self.big_endian = False
        """Byte order of the file, or of the present section."""
        self._source = source
        self._filter = Filter(filter_text) if filter_text else None
        self._batch_size, self._header_chunks = batch_size, header_chunks
        self._window = -(-max(window, mmap.PAGESIZE) // mmap.PAGESIZE) * mmap.PAGESIZE
        self._recycle, self._align = recycle, align
        self._state = np.zeros(STATE_LENGTH, np.int64)
        self._end = 0
        self._ended = False
        self._delivered = True  # something of the present window
        self._base = 0
        self._table = InterfaceTable(
            np.zeros(1, np.uint64), np.zeros(1, np.int64), np.zeros(1, np.uint8), np.zeros(1, np.int64), np.zeros(1, np.bool_)
        )
        self._pools: list[Pool] = []
        self._columns: list[Batch] = []
        self._pool = self._next_pool()
        self._batch = self._next_batch()
        self._offset_base = 0
        """File offset of address 0, for bytes that no scan has taken."""
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

    @property
    def interface_base(self) -> int:
        """Index in `interfaces` of the first one of the present section."""
        return self._base

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
                kept = self._complete_frames()
                if kept:
                    yield self._deliver(kept)
                elif not self._fill():
                    break
            elif code == FULL:
                if self._batch.used[FRAMES] < self._batch_size:
                    continue  # the filter made room
                yield self._deliver(self._complete_frames() or self._batch_size)
            else:
                if self._batch.used[FRAMES]:
                    yield self._deliver(int(self._batch.used[FRAMES]))
                if code == BAD:
                    raise self._lie()
                yield self._take_block(section=code == SECTION)
        if self._batch.used[FRAMES]:
            yield self._deliver(int(self._batch.used[FRAMES]))
        self._report_end()

    def _open(self) -> str:
        while self._end < pcap_format.HEADER and self._fill():
            pass
        start = self._pool.mem[: min(self._end, pcap_format.HEADER)].tobytes()
        if start[:4] == pcapng_format.MAGIC:
            return "pcapng"
        if not pcap_format.is_pcap(start[:4]):
            raise CaptureError(self.file, "neither pcap nor pcapng" if start else "is empty", offset=0, field="magic number")
        if len(start) < pcap_format.HEADER:
            message = f"truncated: a pcap header has {pcap_format.HEADER} bytes, {len(start)} are there"
            raise CaptureError(self.file, message, offset=len(start), field="file header")
        interface, self._record_header = pcap_format.parse_header(start)
        self.header = start
        self.big_endian = interface.big_endian
        self._declare(interface)
        self._state[POSITION] = pcap_format.HEADER
        return "pcap"

    def _scan(self) -> int:
        """Append to the batch; return why the scan stopped."""
        first = int(self._batch.used[FRAMES])
        with np.errstate(over="ignore"):
            if self.format == "pcap":
                pcap_format.scan_pcap(self._batch, self._state, self._end, self._record_header, self._table)
            else:
                count = len(self.interfaces)
                pcapng_format.scan_pcapng(self._batch, self._state, self._end, self.big_endian, self._base, count, self._table)
        last = int(self._batch.used[FRAMES])
        if self._filter and last > first:
            self._filter.keep(self._batch, first, self.interfaces)
            last = int(self._batch.used[FRAMES])
        if last > first:
            parse(self._batch, first, last)
        return int(self._state[CODE])

    def _complete_frames(self) -> int:
        """Frames of the batch that can be delivered now: whole polls where those are asked for."""
        if self._align is None:
            return int(self._batch.used[FRAMES])
        return int(last_poll_end(self._batch, *self._align))

    def _deliver(self, count: int) -> Batch:
        """Return the first `count` frames; the rest starts the next batch."""
        batch = self._batch
        self._batch = self._next_batch()
        carry(batch, count, int(batch.used[FRAMES]), self._batch, self._state, False)
        self.frames += count
        self._delivered = True
        return batch

    def _fill(self) -> bool:
        """Read more behind what is there; make room first when the window is full. False at the end."""
        position = int(self._state[POSITION])
        if self._ended:
            return False
        if max(int(self._state[NEED]), 1) > int(self._pool.base[0]) - position or self._end == self._pool.base[0]:
            self._turn()
        room = memoryview(self._pool.mem)[self._end : min(int(self._pool.base[0]), self._end + _READ_SIZE)]  # type: ignore[arg-type]
        count = self._source.readinto(room)
        self._end += count
        self._ended = count == 0
        return count > 0

    def _turn(self) -> None:
        """Go on in a window with room: its front gets the frames of the batch and the bytes not scanned yet."""
        position, need = int(self._state[POSITION]), int(self._state[NEED])
        old, batch = self._pool, self._batch
        frames = int(batch.used[FRAMES])
        held = int(batch.head_len[:frames].sum(dtype=np.int64) + batch.option_len[:frames].sum(dtype=np.int64))
        rest = self._end - position
        while held + max(need, rest + 1) > self._window:
            self._window *= 2
        # A window of which nothing was delivered is used again at once: only its reader looks at it.
        if frames or self._delivered or self._window > old.base[0]:
            self._pool = self._next_pool()
            self._batch = batch._replace(pool=self._pool)
            self._state[NEXT] = 0
            carry(batch, 0, frames, self._batch, self._state, True)
        self._pool.mem[held : held + rest] = old.mem[position : self._end]
        self._state[POSITION], self._end = held, held + rest
        self._offset_base += position - held

    def _next_pool(self) -> Pool:
        """Return a window that no batch still in use lies in, the last two delivered being in use."""
        if self._recycle and not self._delivered:
            self._pools = self._pools[:-1]
        elif self._recycle and len(self._pools) == 2:
            pool = self._pools.pop(0)
            if pool.base[0] >= self._window:
                self._pools.append(pool)
                self._delivered = False
                return pool
        pool = make_pool(window=self._window, header=self._header_chunks)
        if self._recycle:
            self._pools.append(pool)
        self._delivered = False
        return pool

    def _next_batch(self) -> Batch:
        """Return columns that no batch still in use has, over the present window."""
        if self._recycle and len(self._columns) == 3:
            batch = self._columns.pop(0)._replace(pool=self._pool)
        else:
            batch = make_batch(self._pool, self._batch_size, fragments=1)
        if self._recycle:
            self._columns.append(batch)
        batch.used[:] = 0
        return batch

    def _take_block(self, *, section: bool) -> Block:
        """Return the block that the scan stopped at and learn what it declares."""
        position, total = int(self._state[POSITION]), int(self._state[NEED])
        data = self._pool.mem[position : position + total].tobytes()
        self._state[POSITION] += total
        if section:
            self.big_endian = data[8:12] == pcapng_format.BYTE_ORDER_MAGIC.to_bytes(4, "big")
            self._base = len(self.interfaces)
        kind = int.from_bytes(data[:4], "big" if self.big_endian else "little")
        if kind != pcapng_format.INTERFACE_DESCRIPTION:
            return Block(kind, data, self.big_endian)
        try:
            interface = pcapng_format.parse_interface(data, big_endian=self.big_endian)
            self._declare(interface)
        except ValueError as error:
            raise CaptureError(self.file, str(error), offset=self._offset_base + position, field="interface block") from error
        return Block(kind, data, self.big_endian, len(self.interfaces) - 1)

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
        self.interfaces.append(interface)

    def _lie(self) -> CaptureError:
        offset = self._offset_base + int(self._state[POSITION])
        message = f"{int(self._state[CLAIM])} is impossible; {self.frames} frames before it were kept"
        return CaptureError(self.file, message, offset=offset, field=PROBLEMS[int(self._state[PROBLEM])])

    def _report_end(self) -> None:
        position = int(self._state[POSITION])
        rest = self._end - position
        if rest or self._source.cut:
            what = "record" if self.format == "pcap" else "block"
            least = self._record_header if self.format == "pcap" else pcapng_format.MIN_BLOCK
            claim = f"a {what} header has {least} bytes, {rest} are there"
            if rest >= least:
                shown = rest - least if self.format == "pcap" else rest
                claim = f"the {what} header says {int(self._state[CLAIM])} bytes, {shown} are there"
            cause = f"{self._source.cut}; " if self._source.cut else ""
            self._warn(
                f"truncated at offset {self._offset_base + self._end}: {cause}{claim}; {self.frames} frames before it were kept"
            )
        odd = int(self._state[ODD])
        if odd and self.format == "pcap":
            self._warn(f"{odd} timestamps have a fraction of a second or more: they are written with whole seconds carried over")
        elif odd:
            self._warn(f"the options of {odd} packets are malformed and were left out")

    def _warn(self, text: str) -> None:
        self.warnings.append(f"{self.file}: {text}")
