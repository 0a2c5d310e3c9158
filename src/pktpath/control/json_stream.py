"""Objects of JSON that follow each other in a stream, cut apart without being understood.

Each byte is looked at once, however small the pieces are in which it arrives.
"""

import re

from pktpath.errors import BadInput

MAX_DEPTH = 32
"""Brackets within brackets; a request of a control socket has two."""
_MARKS = re.compile(rb'["{}\[\]]')
_IN_STRING = re.compile(rb'["\\]')
_SPACE = b" \t\r\n"


class JsonStream:
    """Cut a stream of bytes into the texts of its objects.

    Args:
        limit: bytes of one object.

    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._seen = 0
        self._depth = 0
        self._in_string = False
        self.broken: str | None = None
        """Why nothing more is to be had from this stream."""

    @property
    def held(self) -> int:
        """Bytes of an object that is not whole yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[str]:
        """Return the objects that are whole with these bytes; what then is no stream of objects any more breaks it."""
        if self.broken is not None:
            return []
        self._buffer += data
        found: list[str] = []
        try:
            while (end := self._end()) is not None:
                whole = bytes(self._buffer[:end])
                del self._buffer[:end]
                self._seen = 0
                found.append(whole.decode())
            if len(self._buffer) > self._limit:
                self.broken = f"a message of more than {self._limit} bytes"
        except UnicodeDecodeError as error:
            self.broken = f"no UTF-8: byte {error.start} of a message"
        except BadInput as error:
            self.broken = str(error)
        if self.broken is not None:
            self._buffer.clear()
        return found

    def _end(self) -> int | None:
        """Return where the first object ends, None if it is not whole."""
        buffer = self._buffer
        if self._depth == 0:
            rest = len(buffer) - len(buffer.lstrip(_SPACE))
            del buffer[:rest]
            if buffer and buffer[0] != ord("{"):
                message = f"no JSON object: it starts with {bytes(buffer[:16])!r}"
                raise BadInput(message)
        while True:
            mark = (_IN_STRING if self._in_string else _MARKS).search(buffer, self._seen)
            if mark is None:
                self._seen = len(buffer)
                return None
            at = mark.start()
            self._seen = at + 1
            match mark.group():
                case b"\\":
                    if at + 1 == len(buffer):
                        # What it escapes has not arrived.
                        self._seen = at
                        return None
                    self._seen = at + 2
                case b'"':
                    self._in_string = not self._in_string
                case b"{" | b"[":
                    self._depth += 1
                    if self._depth > MAX_DEPTH:
                        message = f"brackets more than {MAX_DEPTH} deep"
                        raise BadInput(message)
                case _:
                    self._depth -= 1
                    if self._depth == 0:
                        return self._seen
