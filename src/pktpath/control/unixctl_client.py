"""Ask a daemon: one command over its control socket, pktpath's own or ovs-vswitchd's."""

import json
import os
import socket
import time
from pathlib import Path

from pktpath.control.places import address_of
from pktpath.errors import BadInput, Refused

MAX_REPLY = 256 << 20
"""Bytes of an answer."""


def call(path: str | Path, command: str, arguments: list[str] | tuple[str, ...] = (), timeout: float | None = None) -> str:
    """Return what a daemon answers to a command.

    Args:
        path: its control socket.
        command: such as `dpctl/show`.
        arguments: words after it.
        timeout: seconds until the whole answer must be there; None waits for ever.

    Raises:
        Refused: the daemon answers with an error, or no daemon is there, or it does not answer in time.
        BadInput: what it answers is no answer.

    """
    path = Path(path)
    until = None if timeout is None else time.monotonic() + timeout
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock, address_of(path) as address:
        try:
            _connect(sock, address, until)
            sock.settimeout(timeout)
            request = {"id": 0, "method": command, "params": list(arguments)}
            sock.sendall(json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogateescape"))
            return _answer(sock, path, until)
        except TimeoutError:
            message = f"{path}: no answer to {command} within {timeout:g} seconds"
        except (ConnectionResetError, BrokenPipeError):
            message = f"{path}: the daemon closed the connection"
        except OSError as error:
            message = f"{path}: {no_answer(error)}"
    raise Refused(message) from None


def no_answer(error: OSError) -> str:
    """Return why nobody answers on a socket, with what to look at."""
    if isinstance(error, FileNotFoundError):
        return "no control socket is there: does the switch run?"
    if isinstance(error, ConnectionRefusedError):
        return "the daemon of this control socket is gone"
    return error.strerror or os.strerror(error.errno or 0)


def _connect(sock: socket.socket, address: str, until: float | None) -> None:
    while True:
        sock.setblocking(False)
        try:
            sock.connect(address)
        except BlockingIOError:
            # More clients than the daemon's queue holds: unlike TCP, a unix socket does not wait in it.
            if until is not None and time.monotonic() > until:
                raise TimeoutError from None
            time.sleep(0.005)
        else:
            return


def _answer(sock: socket.socket, path: Path, until: float | None) -> str:
    pieces = bytearray()
    while len(pieces) <= MAX_REPLY:
        if until is not None:
            # A daemon that sends a byte now and then does not outlast it.
            sock.settimeout(max(until - time.monotonic(), 1e-3))
        piece = sock.recv(1 << 18)
        if not piece:
            raise ConnectionResetError
        pieces += piece
        # Only a closing bracket can end it: do not read half of it again and again.
        if piece.rstrip().endswith(b"}"):
            try:
                message = json.loads(pieces)
            except (ValueError, RecursionError):
                continue
            return _text(message, path)
    reason = f"{path}: an answer of more than {MAX_REPLY} bytes"
    raise BadInput(reason)


def _text(message: object, path: Path) -> str:
    if isinstance(message, dict) and message.get("id") == 0:
        if isinstance(error := message.get("error"), str):
            raise Refused(error.rstrip("\n"))
        if isinstance(result := message.get("result"), str):
            return result
    reason = f"{path}: no answer of a control socket"
    raise BadInput(reason)
