"""What travels between a running switch and `pktpath dump`: records on a stream socket beside the control socket.

The client sends one line of JSON (`DumpRequest`). The answer is a magic and records: length of the body as u32, kind as
u8, body; numbers are little-endian. The client shuts its side down when it has enough, and reads on to END.

    INTERFACE   number u32, link type u16, snaplen u32, name
    FRAME       interface u32, timestamp in ns i64, wire length u32, length of the comment u16, comment, bytes
    ERROR       text
    END         JSON: frames sent, and how many were dropped where
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import NamedTuple, Protocol

from pktpath.errors import BadInput

MAGIC = b"pktpath dump 1\n"
MOST_REQUEST = 4096
MOST_RECORD = 1 << 20
_HEAD = struct.Struct("<IB")
_INTERFACE = struct.Struct("<IHI")
_FRAME = struct.Struct("<IqIH")
ETHERNET = 1
"""LINKTYPE_ETHERNET."""


class Record(IntEnum):
    """Kinds of records."""

    INTERFACE = 1
    FRAME = 2
    ERROR = 3
    END = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpRequest:
    """What a client wants to see."""

    bridge: str
    port: str | None = None
    at: str = "wire"
    """wire: frames as they came in and as they go out; datapath: as the datapath saw them, merged."""
    snaplen: int = 262144


class DumpInterface(NamedTuple):
    """Where frames come from: a port and a direction."""

    number: int
    name: str
    linktype: int = ETHERNET
    snaplen: int = 262144


class DumpFrame(NamedTuple):
    """One frame."""

    interface: int
    timestamp: int
    """Nanoseconds since 1970."""
    wire_length: int
    data: bytes
    comment: str = ""
    """What bytes do not say: gso_size, the flow."""


class DumpEnd(NamedTuple):
    """How it ended."""

    frames: int
    dropped_mirror: int
    """Frames that the datapath had no room for in the mirror's ring."""
    dropped_client: int
    """Frames that the client was too slow for."""


class DumpSource(Protocol):
    """An open mirror. All methods are called in the loop's thread and return at once."""

    interfaces: list[DumpInterface]
    """Those that frames may name so far; ports may come later."""
    dropped: int
    """Frames for which its ring had no room."""

    def take(self, most: int) -> list[DumpFrame]:
        """Return up to `most` frames that have come since the last call."""
        ...

    def close(self) -> None:
        """End the mirror."""
        ...


Item = DumpInterface | DumpFrame | DumpEnd | str
"""A record as a value; a string is an error's text."""


def encode_request(request: DumpRequest) -> bytes:
    """Return a request as its line."""
    return json.dumps(asdict(request)).encode() + b"\n"


def decode_request(line: bytes) -> DumpRequest:
    """Return the request of a line; raises BadInput."""
    message = "no request of pktpath dump"
    try:
        request = DumpRequest(**json.loads(line))
    except (ValueError, TypeError, RecursionError):
        raise BadInput(message) from None
    texts = isinstance(request.bridge, str) and isinstance(request.port, str | None)
    if not texts or request.at not in ("wire", "datapath") or type(request.snaplen) is not int or request.snaplen < 1:
        raise BadInput(message)
    return request


def encode(item: Item) -> bytes:
    """Return a record."""
    match item:
        case DumpInterface(number, name, linktype, snaplen):
            kind, body = Record.INTERFACE, _INTERFACE.pack(number, linktype, snaplen) + name.encode()
        case DumpFrame(interface, timestamp, wire_length, data, comment):
            words = comment.encode()[:65535]
            kind, body = Record.FRAME, _FRAME.pack(interface, timestamp, wire_length, len(words)) + words + data
        case DumpEnd():
            kind, body = Record.END, json.dumps(item._asdict()).encode()
        case _:
            kind, body = Record.ERROR, item.encode()
    return _HEAD.pack(len(body), kind) + body


class Decoder:
    """Cuts a stream into records."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._begun = False

    def feed(self, data: bytes) -> Iterator[Item]:
        """Take bytes, and yield the records that are whole now; raises BadInput where they are none."""
        self._data += data
        if not self._begun:
            if not MAGIC.startswith(self._data[: len(MAGIC)]):
                message = "this is no socket of pktpath dump, or one of another version"
                raise BadInput(message)
            if len(self._data) < len(MAGIC):
                return
            del self._data[: len(MAGIC)]
            self._begun = True
        at = 0
        while len(self._data) - at >= _HEAD.size:
            length, kind = _HEAD.unpack_from(self._data, at)
            if length > MOST_RECORD:
                message = f"the switch sent a record of {length} bytes"
                raise BadInput(message)
            if len(self._data) - at < _HEAD.size + length:
                break
            body = bytes(self._data[at + _HEAD.size : at + _HEAD.size + length])
            at += _HEAD.size + length
            try:
                yield _decode(kind, body)
            except (ValueError, TypeError, struct.error):
                message = f"the switch sent a record of kind {kind} that is not whole"
                raise BadInput(message) from None
        del self._data[:at]


def _decode(kind: int, body: bytes) -> Item:
    match Record(kind):
        case Record.INTERFACE:
            number, linktype, snaplen = _INTERFACE.unpack_from(body)
            return DumpInterface(number, body[_INTERFACE.size :].decode(), linktype, snaplen)
        case Record.FRAME:
            interface, timestamp, wire_length, words = _FRAME.unpack_from(body)
            start = _FRAME.size + words
            return DumpFrame(interface, timestamp, wire_length, body[start:], body[_FRAME.size : start].decode())
        case Record.END:
            return DumpEnd(**json.loads(body))
        case _:
            return body.decode()
