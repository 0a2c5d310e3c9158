"""The switch's side of `pktpath dump`: mirrors opened for clients, frames handed on while they can take them.

Nothing here waits for a client: what does not fit into its queue is dropped and counted, and told at the end.
"""

import contextlib
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

from pktpath.control.dump_records import (
    MAGIC,
    MOST_REQUEST,
    DumpEnd,
    DumpFrame,
    DumpRequest,
    DumpSource,
    decode_request,
    encode,
)  # fmt: skip
from pktpath.control.loop import Loop, Timer
from pktpath.control.places import address_of
from pktpath.errors import BadInput, Refused

MOST_CLIENTS = 16
QUEUE = 8 << 20
"""Bytes that may wait for one client."""
BURST = 4096
"""Frames taken from a mirror at once."""
_INTERVAL = 0.02
_PATIENCE = 5.0
"""Seconds that a client has for what is queued when it ends."""
_log = logging.getLogger("pktpath.dump")


class DumpServer:
    """Listens beside the control socket, with its permissions."""

    def __init__(self, path: str, opener: Callable[[DumpRequest], DumpSource], loop: Loop) -> None:
        """Listen.

        Args:
            path: of the socket; an old one is replaced.
            opener: opens a mirror; BadInput and Refused are told to the client.
            loop: calls back.

        Raises:
            Refused: the socket cannot be made.

        """
        self._path, self._opener, self.loop = Path(path), opener, loop
        self._clients: set[_Client] = set()
        self._timer: Timer | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        mask = os.umask(0o177)
        try:
            with address_of(self._path) as address:
                self._socket.bind(address)
        except BadInput:
            self._socket.close()
            raise
        except OSError as error:
            self._socket.close()
            message = f"{path}: {error.strerror or error}"
            raise Refused(message) from error
        finally:
            os.umask(mask)
        self._socket.listen(8)
        loop.watch(self._socket.fileno(), self._accept)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            connection, _ = self._socket.accept()
            if len(self._clients) >= MOST_CLIENTS:
                connection.close()
                return
            connection.setblocking(False)
            self._clients.add(_Client(self, connection))

    def open_source(self, request: DumpRequest) -> DumpSource:
        """Open a mirror, and begin to look after mirrors."""
        source = self._opener(request)
        if self._timer is None:
            self._timer = self.loop.every(_INTERVAL, self._pump)
        return source

    def _pump(self) -> None:
        for client in list(self._clients):
            client.pump()
        if not self._clients and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def forget(self, client: "_Client") -> None:
        """Forget a client that has gone."""
        self._clients.discard(client)

    def close(self) -> None:
        """Tell every client that it ends, and listen no more."""
        for client in list(self._clients):
            client.finish()
            client.close()
        if self._timer is not None:
            self._timer.cancel()
        self.loop.forget(self._socket.fileno())
        self._socket.close()
        self._path.unlink(missing_ok=True)


class _Client:
    """One that watches."""

    def __init__(self, server: DumpServer, connection: socket.socket) -> None:
        self._server, self._connection = server, connection
        self._request = b""
        self._queue = bytearray()
        self._source: DumpSource | None = None
        self._told = 0
        self._snaplen = 0
        self._frames = self._dropped = 0
        self._ending = False
        server.loop.watch(connection.fileno(), self._readable)

    def _readable(self) -> None:
        try:
            data = self._connection.recv(MOST_REQUEST)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not data:
            # It has enough, or is gone: what is queued is sent if it still reads.
            self.finish()
            return
        if self._source is not None or self._ending:
            return
        self._request += data
        if b"\n" in self._request or len(self._request) >= MOST_REQUEST:
            self._open()

    def _open(self) -> None:
        self._queue += MAGIC
        try:
            request = decode_request(self._request.partition(b"\n")[0])
            self._source = self._server.open_source(request)
        except (BadInput, Refused) as error:
            self._queue += encode(str(error))
            self._ending = True
            self._server.loop.after(_PATIENCE, self.close)
        else:
            self._snaplen = request.snaplen
        self._send()

    def pump(self) -> None:
        """Take what the mirror has."""
        if self._source is None or self._ending:
            return
        frames = self._source.take(BURST)
        self._declare()
        for frame in frames:
            self._queue_frame(frame)
        self._send()

    def _declare(self) -> None:
        assert self._source is not None
        for interface in self._source.interfaces[self._told :]:
            self._queue += encode(interface)
            self._told += 1

    def _queue_frame(self, frame: DumpFrame) -> None:
        if len(self._queue) > QUEUE:
            self._dropped += 1
            return
        self._frames += 1
        self._queue += encode(frame._replace(data=frame.data[: self._snaplen]))

    def finish(self) -> None:
        """Queue the end, and close when it is sent."""
        if self._source is None:
            if not self._ending:
                self.close()
            return
        if not self._ending:
            self.pump()
        if not self._ending:
            self._ending = True
            self._queue += encode(DumpEnd(self._frames, self._source.dropped, self._dropped))
            self._close_source()
            self._server.loop.after(_PATIENCE, self.close)
            self._send()

    def _send(self) -> None:
        try:
            while self._queue:
                sent = self._connection.send(memoryview(self._queue)[: 1 << 18])
                del self._queue[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if self._ending and not self._queue:
            self.close()
            return
        # A side that was shut down is readable for ever.
        read, write = None if self._ending else self._readable, self._send if self._queue else None
        self._server.loop.watch(self._connection.fileno(), read, write)

    def _close_source(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None

    def close(self) -> None:
        """Drop the connection."""
        if self._connection.fileno() >= 0:
            self._server.loop.forget(self._connection.fileno())
            self._connection.close()
        self._close_source()
        self._server.forget(self)
