"""A capture as a port of the switch: its frames arrive, once or for ever, and what is sent goes into another capture.

Enters: names of files. Leaves: a `LivePort`; what was sent is in the file when the port is closed without an error.
"""

import time
from typing import Any

import numpy as np

from pktpath.batch import FRAMES, make_batch
from pktpath.errors import BadInput
from pktpath.features import Feature
from pktpath.pool import make_pool
from pktpath.port.capture import CaptureWriter, create_capture, open_capture
from pktpath.port.capture_types import CaptureError, Interface
from pktpath.port.live import Kind, LivePort, Memory, RxQueue
from pktpath.port.live_features import COPIES, RECEIVES, SUPER_FRAMES
from pktpath.port.pcap_io import ENTRY, FRAME_ALIGN, pcap_drain, pcap_store
from pktpath.port.rows import PortRows
from pktpath.port.shared_ring import HEAD, RECORDS
from pktpath.wire.link import Link

MAX_PPS = 10**9
LEAST_BUFFER = 1 << 18
_DRAIN = 1024


class PcapPort(LivePort):
    """Frames from a capture, frames to a capture; without a file nothing arrives, and what is sent is counted and forgotten."""

    kind = "pcap"

    def __init__(
        self,
        name: str,
        memory: Memory,
        rows: Any,
        *,
        number: int = 0,
        rx_file: str = "",
        loop: bool = False,
        pps: int = 0,
        tx_file: str = "",
        super_frames: bool = False,
        buffer: int = 8 << 20,
        mtu: int = 1500,
    ) -> None:
        """Read the whole of `rx_file` and create `tx_file` beside its name.

        Args:
            name: what the configuration calls it.
            memory: where frames and the buffer lie.
            rows: the table of all queues of this kind, of rows `PCAP_ROW`.
            number: the port's number in the datapath: `in_port` of its frames.
            rx_file: a pcap or pcapng, plain or compressed; Ethernet frames only.
            loop: begin anew at the end, for ever.
            pps: most frames a second, 0 for as many as are asked for.
            tx_file: where sent frames go; a pcap where it ends in .pcap, else a pcapng.
            super_frames: write super-frames and partial checksums as the datapath saw them.
            buffer: bytes of `tx_file` for each worker that may wait for `drain`.
            mtu: what the port says of itself; a capture takes any length.

        Raises:
            BadInput: a file is no capture, is damaged or holds something else than Ethernet, or a value is out of range.
            Refused: no memory or no row is left.

        """
        if not 0 <= pps <= MAX_PPS:
            message = f"{name}: pps={pps}: 0 (no limit) to {MAX_PPS} frames a second"
            raise BadInput(message)
        if buffer < LEAST_BUFFER:
            message = f"{name}: buffer={buffer}: at least {LEAST_BUFFER} bytes"
            raise BadInput(message)
        self.name, self.mtu, self.number = name, mtu, number
        self.able = RECEIVES | (SUPER_FRAMES if super_frames or not tx_file else COPIES)
        self.default = self.able & ~Feature.GRO_UDP_FWD
        self.options = {
            key: str(value)
            for key, value in (("rx_file", rx_file), ("loop", loop), ("pps", pps), ("tx_file", tx_file))
            if value
        }  # fmt: skip
        self.frames = 0
        """Frames in `rx_file`."""
        self.rx: tuple[RxQueue, ...] = ()
        self._memory, self._table, self._loop = memory, rows, loop
        self._rows = PortRows(rows, name, number)
        self._buffer = -(-buffer // 8) * 8
        self._ranges: list[tuple[int, int]] = []
        self._tx: dict[int, int] = {}
        self._writer: CaptureWriter | None = None
        self._warnings: list[str] = []
        self._open = True
        try:
            if rx_file:
                self._read(rx_file, pps)
            if tx_file:
                self._writer = create_capture(tx_file, interfaces=[Interface(name=name)])
                # Batches of frames in the window: chunks are not looked at.
                self._batch = make_batch(make_pool(window=0, header=0, mem=memory.mem), _DRAIN, 1)
        except BaseException:
            self.close(keep=False)
            raise

    @property
    def finished(self) -> bool:
        """Whether every frame of a capture that is not looped has been received; always False where one is."""
        return not self._loop and all(self._table.position[queue.row] == self._table.frame_count[queue.row] for queue in self.rx)

    def statistics(self) -> dict[str, int]:
        """Return what all queues of the port counted."""
        return self._rows.counters()

    def warnings(self) -> list[str]:
        """Return one line for each thing in `rx_file` that was not as it should be."""
        return self._warnings

    def tx(self, worker: int) -> tuple[Kind, int]:
        """Kind and row of the transmit queue that this worker uses."""
        if worker not in self._tx:
            row = self._rows.take()
            self._tx[worker] = row
            if self._writer is not None:
                self._table.ring[row] = self._take(RECORDS + self._buffer)
                self._table.room[row] = self._buffer
                self._table.epoch[row] = time.time_ns() - time.monotonic_ns()
        return Kind.PCAP, self._tx[worker]

    def drain(self) -> int:
        """Write what workers have sent since the last call; return how many frames.

        Called by one thread at a time, while others transmit.

        Raises:
            CaptureError: the file cannot be written any further.

        """
        written = 0
        if self._writer is not None:
            for row in self._tx.values():
                written += self._drain_row(row, self._writer)
        return written

    def set_features(self, active: Feature) -> None:
        """Nobody has to know."""

    def alive(self) -> bool:
        """Whether it is open: a file that was read stays read."""
        return self._open

    def close(self, *, keep: bool = True) -> None:
        """Write the rest, give `tx_file` its name (or, without `keep`, leave nothing behind) and return the memory.

        No thread may use its queues any more.

        Raises:
            CaptureError: the rest cannot be written; nothing is left behind.

        """
        if not self._open:
            return
        self._open = False
        writer = self._writer
        try:
            if writer is not None and keep:
                with writer:
                    self.drain()
            elif writer is not None:
                # As the end of a `with` whose body failed: nothing is left behind.
                writer.__exit__(InterruptedError, None, None)
        finally:
            self._writer = None
            self._rows.give_all()
            for address, length in self._ranges:
                self._memory.unmap(address, length)

    def _drain_row(self, row: int, writer: CaptureWriter) -> int:
        place = int(self._table.ring[row]) + HEAD
        head_word = self._memory.mem[place : place + 8].view(np.int64)
        written = 0
        while True:
            self._batch.used[FRAMES] = 0
            head = int(pcap_drain(self._table, row, self._batch, int(head_word[0])))
            count = int(self._batch.used[FRAMES])
            if count:
                writer.write(self._batch, by_timestamp=True)
            head_word[0] = head
            written += count
            if count < _DRAIN:
                return written

    def _take(self, length: int) -> int:
        address = self._memory.reserve(length)
        self._ranges.append((address, length))
        return address

    def _read(self, rx_file: str, pps: int) -> None:
        """Put the bytes of all frames, and a ready descriptor for each, into the window."""
        with open_capture(rx_file, recycle=False, header_chunks=1) as reader:
            batches = list(reader)
            self._warnings = reader.warnings
            strange = next((one for one in reader.interfaces if one.link is not Link.ETHERNET), None)
        if strange is not None:
            raise CaptureError(rx_file, f"{strange.linktype & 0xFFFF} is not Ethernet (1)", field="link type")
        self.frames = sum(int(batch.used[FRAMES]) for batch in batches)
        if self.frames == 0:
            raise CaptureError(rx_file, "holds no frames")
        size = sum(int((-(-batch.head_len[: batch.used[FRAMES]] // FRAME_ALIGN)).sum()) for batch in batches) * FRAME_ALIGN
        index = self._take(self.frames * ENTRY)
        at, place = self._take(max(size, 1)), index
        for batch in batches:
            at = int(pcap_store(batch, self._memory.mem, place, at))
            place += int(batch.used[FRAMES]) * ENTRY
        row = self._rows.take()
        mine = self._table[row]
        mine.index, mine.frame_count = index, self.frames
        mine.endless, mine.pps = self._loop, pps
        self.rx = (RxQueue(Kind.PCAP, row, 0, -1),)
