"""The control socket of a daemon: commands by JSON-RPC over a unix socket, as ovs-appctl 3.1 sends them.

A request is `{"id": …, "method": COMMAND, "params": [words]}`, the answer the same id with a text as `result` or as
`error`; objects follow each other without a mark between (ovs-vswitchd(8), "RUNTIME MANAGEMENT COMMANDS"; RFC 7047,
section 4). What is no such request ends its connection and nothing else. Memory is bounded: a connection has one
answer under way and is not read before it is taken; when all of them hold too much, or are too many, the one that was
silent longest goes.
"""

import errno
import json
import os
import selectors
import socket
import stat
import struct
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pktpath.control.commands import Commands
from pktpath.control.json_stream import JsonStream
from pktpath.control.places import address_of, start_lock
from pktpath.errors import BadInput, Refused

MAX_CLIENTS = 32
"""Connections at the same time."""
MAX_REQUEST = 4 << 20
"""Bytes of one request: a flow table of some 50,000 lines."""
MAX_REPLY = 128 << 20
"""Bytes of one answer: all flows of a full table with their names."""
MAX_HELD = 256 << 20
"""Bytes of requests and answers that all connections together may hold."""
REQUESTS_A_TURN = 16
"""Requests of one connection that are answered before the others have their turn."""
_BACKLOG = 256
"""Connections that wait to be taken: a client does not wait, it fails when there are more."""
_CHUNK = 1 << 16


class _Client:
    """One connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.stream = JsonStream(MAX_REQUEST)
        self.requests: deque[str] = deque()
        self.waiting = 0
        """Bytes of these."""
        self.out = memoryview(b"")
        self.ended = False
        """The other side sends no more."""
        self.events = selectors.EVENT_READ
        self.moved = time.monotonic()
        """When bytes last went either way."""

    @property
    def held(self) -> int:
        """Bytes that it costs."""
        return self.stream.held + self.waiting + len(self.out)


class UnixctlServer:
    """A control socket; the daemon's loop owns the selector.

    Every file object is registered with a function as its data, and the loop calls it: `key.data(events)`. Nothing here blocks.

    Args:
        path: where the socket is made, mode 0600. A socket that nobody serves any more is replaced.
        commands: what can be asked.
        log: takes a line for each connection that was ended for a reason, and the traceback of a fault of our own.

    Raises:
        Refused: another daemon serves this socket, or the system refuses it.

    """

    def __init__(self, path: str | Path, commands: Commands, log: Callable[[str], None] | None = None) -> None:
        self.path = Path(path)
        self.commands = commands
        self.received = self.replied = self.dropped = 0
        """Requests, answers, and connections ended for a reason."""
        self._log = log or (lambda _line: None)
        self._clients: dict[int, _Client] = {}
        self._selector: selectors.BaseSelector | None = None
        self._sock = _listen(self.path)
        self._inode = self._where()

    def fileno(self) -> int:
        """Descriptor of the listening socket."""
        return self._sock.fileno()

    def register(self, selector: selectors.BaseSelector) -> None:
        """Have the listening socket, and later each connection, watched by this selector."""
        self._selector = selector
        selector.register(self._sock, selectors.EVENT_READ, self.handle)

    def handle(self, _events: int = selectors.EVENT_READ) -> None:
        """Take the connections that wait."""
        for _ in range(MAX_CLIENTS):
            try:
                sock, _ = self._sock.accept()
            except OSError as error:
                if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM} and self._clients:
                    # Else the loop would turn for ever around a connection that cannot be taken.
                    self._drop(self._silent_longest(), "descriptors or memory are used up")
                    continue
                return
            sock.setblocking(False)
            client = _Client(sock)
            self._clients[sock.fileno()] = client
            if self._selector is not None:
                self._selector.register(sock, client.events, lambda events, client=client: self._serve(client, events))
            if len(self._clients) > MAX_CLIENTS:
                self._drop(self._silent_longest(), f"more than {MAX_CLIENTS} connections")

    def close(self, timeout: float = 1.0) -> None:
        """Send the answers that are under way for at most `timeout` seconds, then end everything and take the socket away."""
        until = time.monotonic() + timeout
        while (open_ones := [client for client in self._clients.values() if client.out]) and time.monotonic() < until:
            for client in open_ones:
                self._send(client)
            time.sleep(0.002)
        for client in list(self._clients.values()):
            self._end(client)
        if self._selector is not None:
            with suppress(KeyError, ValueError):
                self._selector.unregister(self._sock)
        self._sock.close()
        if self._inode is not None and self._where() == self._inode:
            # Another daemon may have put its own there meanwhile.
            with suppress(OSError):
                self.path.unlink()

    @property
    def clients(self) -> int:
        """Connections that are open."""
        return len(self._clients)

    # One connection

    def _serve(self, client: _Client, events: int) -> None:
        if client.sock.fileno() < 0:
            return
        if events & selectors.EVENT_WRITE:
            self._send(client)
        if events & selectors.EVENT_READ and not client.out and not client.requests:
            self._receive(client)
        if client.sock.fileno() >= 0:
            self._answer(client)
        while sum(other.held for other in self._clients.values()) > MAX_HELD:
            self._drop(max(self._clients.values(), key=lambda other: (bool(other.held), -other.moved)), "too much is held")
        if client.sock.fileno() < 0:
            return
        if not client.out and not client.requests:
            if client.stream.broken is not None:
                self._drop(client, client.stream.broken)
                return
            if client.ended:
                self._end(client)
                return
        # A connection with requests left is always writable: so it has another turn after the others.
        wanted = selectors.EVENT_WRITE if client.out or client.requests else selectors.EVENT_READ
        if wanted != client.events and self._selector is not None:
            client.events = wanted
            self._selector.modify(client.sock, wanted, self._selector.get_key(client.sock).data)

    def _receive(self, client: _Client) -> None:
        try:
            data = client.sock.recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._end(client)
            return
        client.moved = time.monotonic()
        if not data:
            client.ended = True
            return
        for text in client.stream.feed(data):
            client.requests.append(text)
            client.waiting += len(text)

    def _answer(self, client: _Client) -> None:
        for _ in range(REQUESTS_A_TURN):
            if client.out or not client.requests or client.sock.fileno() < 0:
                return
            text = client.requests.popleft()
            client.waiting -= len(text)
            try:
                ident, command, words = _request(text)
            except BadInput as error:
                self._drop(client, str(error))
                return
            self.received += 1
            client.out = memoryview(self._reply(ident, command, words))
            self.replied += 1
            self._send(client)

    def _reply(self, ident: Any, command: str, words: list[Any]) -> bytes:
        try:
            body: dict[str, Any] = {"id": ident, "result": _line(self.commands.run(command, words)), "error": None}
        except (BadInput, Refused) as error:
            body = {"id": ident, "error": _line(str(error))}
        except Exception as error:  # noqa: BLE001  a fault of one command must not end the daemon
            import traceback

            self._log(traceback.format_exc())
            body = {"id": ident, "error": _line(f"internal error of {command}: {type(error).__name__}: {error}")}
        whole = _encoded(body)
        if len(whole) > MAX_REPLY:
            return _encoded(
                {"id": ident, "error": f"the answer to {command} has {len(whole)} bytes, at most {MAX_REPLY} can go\n"}
            )
        return whole

    def _send(self, client: _Client) -> None:
        while client.out:
            try:
                sent = client.sock.send(client.out[: 16 * _CHUNK], socket.MSG_NOSIGNAL)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self._end(client)
                return
            client.moved = time.monotonic()
            client.out = client.out[sent:]

    # Ends

    def _silent_longest(self) -> _Client:
        return min(self._clients.values(), key=lambda client: client.moved)

    def _drop(self, client: _Client, reason: str) -> None:
        self.dropped += 1
        self._log(f"control connection {client.sock.fileno()} ended: {reason}")
        self._end(client)

    def _end(self, client: _Client) -> None:
        number = client.sock.fileno()
        if number < 0:
            return
        if self._selector is not None:
            with suppress(KeyError, ValueError):
                self._selector.unregister(client.sock)
        del self._clients[number]
        client.out, client.requests, client.waiting = memoryview(b""), deque(), 0
        client.sock.close()

    def _where(self) -> tuple[int, int] | None:
        try:
            state = self.path.lstat()
        except OSError:
            return None
        return state.st_dev, state.st_ino


def _line(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


def _encoded(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def _request(text: str) -> tuple[Any, str, list[Any]]:
    """Return id, method and parameters of a request, or say why it is none."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = f"no JSON: {error}"
        raise BadInput(reason) from None
    if not isinstance(message, dict) or message.keys() != {"id", "method", "params"}:
        reason = "no request: id, method and params are its members"
        raise BadInput(reason)
    ident, command, words = message["id"], message["method"], message["params"]
    if ident is None or not isinstance(command, str) or not isinstance(words, list):
        reason = "no request: id is not null, method a string, params an array"
        raise BadInput(reason)
    return ident, command, words


def _listen(path: Path) -> socket.socket:
    """Make and return the listening socket; one daemon at a time looks at a directory."""
    try:
        with start_lock(path):
            _clear(path)
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            try:
                # Before bind: the file is never there with another mode, whatever the umask.
                os.fchmod(sock.fileno(), stat.S_IRUSR | stat.S_IWUSR)
                with address_of(path) as address:
                    sock.bind(address)
                sock.listen(_BACKLOG)
            except BaseException:
                sock.close()
                raise
            return sock
    except OSError as error:
        message = f"{path}: no control socket: {error.strerror or error}"
        raise Refused(message) from None


def _clear(path: Path) -> None:
    """Take away the socket of a daemon that is gone."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        message = f"{path}: there is something that is no socket; name another control socket"
        raise Refused(message)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe, address_of(path) as address:
        try:
            probe.connect(address)
        except BlockingIOError:
            pid = 0
        except ConnectionRefusedError:
            path.unlink()
            return
        else:
            pid = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    who = f"the daemon of pid {pid}" if pid else "another daemon"
    message = f"{path}: {who} serves this control socket"
    raise Refused(message)
