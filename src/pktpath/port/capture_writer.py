"""Writing captures: sections and interfaces by Python, frames by compiled packing."""

from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import numpy as np

from pktpath.batch import Batch
from pktpath.port import capture_pack as pack
from pktpath.port import pcap_format, pcapng_format
from pktpath.port.capture_output import BEHIND, Output
from pktpath.port.capture_reader import CaptureReader
from pktpath.port.capture_types import MICROSECONDS, NANOSECONDS, Block, CaptureError, ExtraOptions, Interface
from pktpath.wire.link import LINKTYPES, Link

_BUFFER = 1 << 20
_MAX_INTERFACES = 1 << 20
_LINKTYPE_OF: dict[int, int] = {int(link): number for number, link in reversed(LINKTYPES.items())}
_NO_EXTRA = ExtraOptions(np.zeros(1, np.uint8), np.zeros(0, np.int64), np.zeros(0, np.int32))


class CaptureWriter:
    """A capture being written; see `pktpath.port.capture.create_capture`."""

    def __init__(
        self,
        output: Output,
        *,
        pcapng: bool,
        interfaces: Sequence[Interface] | None = None,
        like: CaptureReader | None = None,
        snaplen: int = 0,
    ) -> None:
        """Write nothing yet: the header waits for the first frame or block."""
        self.file = output.label
        self.frames = 0
        """Frames written so far."""
        self.warnings: list[str] = []
        """One line each about what the format could not hold."""
        self._output = output
        self._pcapng = pcapng
        self._given, self._like, self._snaplen = interfaces, like, snaplen
        self._big = interfaces[0].big_endian if interfaces else False
        self._started = False
        self._numbers = 0
        self._left_out = 0
        self._first: Interface | None = None
        self._seen: dict[int, Interface] = {}
        self._out = np.zeros(_BUFFER, np.uint8)
        self._spares = deque(np.zeros(_BUFFER, np.uint8) for _ in range(BEHIND))
        self._state = np.zeros(pack.STATE_LENGTH, np.int64)
        self._table = pack.grow_table(None, 8)

    @property
    def format(self) -> str:
        """What the file is: "pcap" or "pcapng"."""
        return "pcapng" if self._pcapng else "pcap"

    @property
    def bytes_written(self) -> int:
        """Bytes written so far."""
        return self._output.written + int(self._state[pack.FILL])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self._output.discard()

    def close(self) -> None:
        """Write what is left and give the file its name.

        Raises:
            CaptureError: the rest cannot be written; nothing is left behind.

        """
        try:
            if not self._started:
                self._start()
                for port in range(len(self._like.interfaces) if self._like and self._pcapng and self._given is None else 0):
                    self._declare(port, self._known(port, Link.UNKNOWN))
            if not self._pcapng and self._first is None:
                self._declare(0, self._known(0, Link.ETHERNET))
            self._flush()
        except BaseException:
            self._output.discard()
            raise
        self._output.commit()
        if self._left_out:
            self.warnings.append(f"{self.file}: {self._left_out} pcapng blocks have no place in a pcap and were left out")

    def write(self, batch: Batch, extra: ExtraOptions | None = None, *, by_timestamp: bool = False) -> None:
        """Write the frames of a batch in their order.

        Args:
            batch: frames with heads and fragments; the batch stays as it is.
            extra: more pcapng options for each frame; a pcap leaves all options out.
            by_timestamp: take the time from `Batch.timestamp` even where `Batch.ticks` are exact:
                for whoever changed the one and not the other.

        Raises:
            CaptureError: disk full, closed pipe, or an interface that the output cannot hold.

        """
        self._start()
        state = self._state
        state[pack.FRAME] = 0
        while True:
            with np.errstate(over="ignore"):
                if self._pcapng:
                    pack.pack_pcapng(
                        batch, state, self._out, self._table, self._big, by_timestamp, _NO_EXTRA if extra is None else extra
                    )
                else:
                    pack.pack_pcap(batch, state, self._out, self._table, self._big, by_timestamp)
            code = int(state[pack.CODE])
            if code == pack.DONE:
                break
            i = int(state[pack.FRAME])
            if code == pack.UNDECLARED:
                port = int(batch.in_port[i])
                self._declare(port, self._known(port, Link(int(batch.link[i]))))
            else:
                self._flush()
                if state[pack.NEED] > len(self._out):
                    self._out = np.zeros(int(state[pack.NEED]), np.uint8)
        self.frames += int(state[pack.FRAME])
        if self._output.live:
            self._flush()

    def write_block(self, block: Block) -> None:
        """Write a block as it stands; a section header starts a section and its interfaces anew.

        A pcap has no place for blocks: they are counted and named in `warnings`.
        """
        if block.type == pcapng_format.SECTION_HEADER:
            self._section(block)
        elif block.type == pcapng_format.INTERFACE_DESCRIPTION:
            interface = pcapng_format.parse_interface(block.data, big_endian=block.big_endian)
            self._seen[block.interface] = interface
            if self._pcapng:
                self._start()
                self._put(block.data if block.big_endian == self._big else self._interface_block(interface))
                self._register(block.interface, interface, exact=True)
        elif self._pcapng:
            self._start()
            self._put(block.data)
        else:
            self._left_out += 1
        if self._output.live:
            self._flush()

    def interface(self, interface: Interface) -> int:
        """Declare an interface; return the `Batch.in_port` that means it."""
        self._start()
        port = int(np.flatnonzero(self._table.number >= 0)[-1]) + 1 if self._numbers else 0
        self._declare(port, interface)
        return port

    def _start(self) -> None:
        """Begin the first section, unless a block did."""
        if self._started:
            return
        self._started = True
        if self._like is not None and self._given is None:
            self._big = self._like.big_endian
        if self._pcapng:
            self._put(pcapng_format.build_section(big_endian=self._big))
        for port, interface in enumerate(self._given or ()):
            self._declare(port, interface)

    def _section(self, block: Block) -> None:
        if not self._pcapng:
            return
        self._started = True
        self._big = block.big_endian
        self._numbers = 0
        self._table.number[:] = pack.NOT_DECLARED
        # The length of a section whose packets may change is unknown.
        self._put(block.data[:16] + b"\xff" * 8 + block.data[24:])

    def _known(self, port: int, link: Link) -> Interface:
        """Return the interface that frames of this port came from."""
        like = self._like
        if like is not None and 0 <= port < len(like.interfaces):
            return like.interfaces[port]
        if port in self._seen:
            return self._seen[port]
        if self._given:
            message = f"a frame came from interface {port}, {len(self._given)} are declared"
            raise CaptureError(self.file, message, field="interface id")
        if link not in _LINKTYPE_OF or not 0 <= port < _MAX_INTERFACES:
            message = f"no capture link type is known for frames of interface {port} ({link.name})"
            raise CaptureError(self.file, message, field="link type")
        return Interface(_LINKTYPE_OF[link])

    def _declare(self, port: int, interface: Interface) -> None:
        if self._pcapng:
            self._put(self._interface_block(interface))
        elif self._first is None:
            self._first = interface
            like = self._like
            if like is not None and like.format == "pcap" and self._given is None and like.header[:4] not in _MODIFIED:
                self._put(pcap_format.with_snaplen(like.header, self._snaplen))
            else:
                rates = {one.ticks_per_second for one in (like.interfaces if like else [interface])}
                rate = MICROSECONDS if rates | {interface.ticks_per_second} == {MICROSECONDS} else NANOSECONDS
                self._first = interface._replace(ticks_per_second=rate)
                header = pcap_format.build_header(self._first._replace(big_endian=self._big))
                self._put(pcap_format.with_snaplen(header, self._snaplen))
        elif interface.linktype != self._first.linktype:
            message = (
                f"a pcap has one link type: interface {port} is {interface.linktype & 0xFFFF}, "
                f"the first one {self._first.linktype & 0xFFFF}; write pcapng"
            )
            raise CaptureError(self.file, message, field="link type")
        like = self._like
        exact = like is not None and 0 <= port < len(like.interfaces) and _clock(like.interfaces[port]) == _clock(interface)
        self._register(port, interface, exact=exact)

    def _interface_block(self, interface: Interface) -> bytes:
        try:
            return pcapng_format.build_interface(interface, big_endian=self._big)
        except (ValueError, OverflowError) as error:
            raise CaptureError(self.file, str(error), field="interface") from error

    def _register(self, port: int, interface: Interface, *, exact: bool) -> None:
        if port >= len(self._table.number):
            self._table = pack.grow_table(self._table, port + 1)
        rate, offset = _clock(interface)
        if not self._pcapng and self._first is not None:
            exact = exact and (rate, offset) == (self._first.ticks_per_second, 0)
            if rate > self._first.ticks_per_second:
                self.warnings.append(f"{self.file}: interface {port} has finer timestamps than the pcap: they were cut")
            rate, offset = self._first.ticks_per_second, 0
        self._table.number[port] = self._numbers
        self._table.rate[port] = rate
        self._table.offset[port] = offset
        self._table.exact[port] = exact or rate == 0
        self._numbers += 1

    def _put(self, data: bytes) -> None:
        fill = int(self._state[pack.FILL])
        if fill + len(data) > len(self._out):
            self._flush()
            fill = 0
        if len(data) > len(self._out):
            self._output.wait()
            self._output.write(memoryview(data))
            return
        self._out[fill : fill + len(data)] = np.frombuffer(data, np.uint8)
        self._state[pack.FILL] = fill + len(data)

    def _flush(self) -> None:
        fill = int(self._state[pack.FILL])
        self._state[pack.FILL] = 0
        self._output.write_behind(self._out[:fill].data)
        self._spares.append(self._out)
        self._out = self._spares.popleft()


_MODIFIED = tuple(pcap_format.MAGIC_MODIFIED.to_bytes(4, order) for order in ("big", "little"))


def _clock(interface: Interface) -> tuple[int, int]:
    return interface.ticks_per_second, interface.offset
