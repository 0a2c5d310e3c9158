"""The reader's side of `pktpath dump`: frames from a running switch, filtered, and as the blocks of a pcapng."""

import contextlib
import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from pktpath.control.dump_records import (
    Decoder,
    DumpEnd,
    DumpFrame,
    DumpInterface,
    DumpRequest,
    Item,
    encode_request,
)  # fmt: skip
from pktpath.control.places import address_of
from pktpath.control.unixctl_client import no_answer
from pktpath.errors import Refused

_NANOSECONDS = 1_000_000_000


class DumpClient:
    """A connection to the dump socket of a switch."""

    def __init__(self, path: str, request: DumpRequest) -> None:
        """Ask for frames.

        Args:
            path: of the dump socket.
            request: what is wanted.

        Raises:
            Refused: nobody answers there.

        """
        self._path = path
        self._decoder = Decoder()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with address_of(Path(path)) as address:
                self._socket.connect(address)
            self._socket.sendall(encode_request(request))
        except OSError as error:
            self._socket.close()
            message = f"{path}: {no_answer(error)}"
            raise Refused(message) from error
        except BaseException:
            self._socket.close()
            raise

    def items(self) -> Iterator[list[Item]]:
        """Yield what has come, in pieces, until the end.

        Raises:
            BadInput: what comes is no dump.
            Refused: the switch says why there is none, or is gone before the end.

        """
        while True:
            try:
                data = self._socket.recv(1 << 18)
            except ConnectionError:
                data = b""
            if not data:
                message = f"{self._path}: the switch closed the connection before the end"
                raise Refused(message)
            found = list(self._decoder.feed(data))
            for item in found:
                if isinstance(item, str):
                    raise Refused(item)
            yield found
            if any(isinstance(item, DumpEnd) for item in found):
                return

    def enough(self) -> None:
        """Ask for no more; what is under way still comes, and the end."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


class FrameFilter:
    """A pcap-filter expression on the frames of a dump."""

    def __init__(self, expression: str) -> None:
        """Compile it for Ethernet, so that a fault is seen at once; raises BadInput."""
        from pktpath.port.filter import Filter

        self._filter = Filter(expression)
        self._declare(1)

    def keep(self, frames: list[DumpFrame], linktypes: dict[int, int]) -> list[DumpFrame]:
        """Return the frames that match.

        Args:
            frames: any number.
            linktypes: link type by the interface's number.

        """
        from pktpath.batch import FRAMES
        from pktpath.port.memory import load

        if not frames or set(linktypes.values()) - {1}:
            return frames
        batch = load([frame.data for frame in frames], timestamps=range(len(frames)))
        batch.wire_len[: len(frames)] = [frame.wire_length for frame in frames]
        batch.in_port[: len(frames)] = 0
        self._filter.keep(batch, 0)
        return [frames[int(at)] for at in batch.timestamp[: int(batch.used[FRAMES])]]

    def _declare(self, linktype: int) -> None:
        from pktpath.port.capture_types import Interface

        self._filter.declare(Interface(linktype, 0, _NANOSECONDS, 0, ""))


class PcapngStream:
    """The blocks of a pcapng, as bytes: a section, interfaces as they come, frames with their comments."""

    def __init__(self) -> None:
        self._rows: dict[int, int] = {}

    def begin(self) -> bytes:
        """Return the section header."""
        from pktpath.port.pcapng_format import build_section
        from pktpath.port.pcapng_options import encode_option

        return build_section(big_endian=False, options=encode_option(4, b"pktpath dump"))

    def blocks(self, items: Iterable[Item]) -> bytes:
        """Return the blocks of interfaces and frames."""
        from pktpath.port.capture_types import Interface
        from pktpath.port.pcapng_format import ENHANCED_PACKET, build_block, build_interface
        from pktpath.port.pcapng_options import COMMENT, END, encode_option

        out = bytearray()
        for item in items:
            if isinstance(item, DumpInterface):
                self._rows[item.number] = len(self._rows)
                interface = Interface(item.linktype, item.snaplen, _NANOSECONDS, 0, item.name)
                out += build_interface(interface, big_endian=False)
            elif isinstance(item, DumpFrame):
                high, low = item.timestamp >> 32 & 0xFFFFFFFF, item.timestamp & 0xFFFFFFFF
                length = max(item.wire_length, len(item.data))
                body = struct.pack("<IIIII", self._rows[item.interface], high, low, len(item.data), length) + item.data
                body += bytes(-len(body) % 4)
                if item.comment:
                    body += encode_option(COMMENT, item.comment.encode()) + encode_option(END, b"")
                out += build_block(ENHANCED_PACKET, body, big_endian=False)
        return bytes(out)
