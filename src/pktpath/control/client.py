"""Ask a running switch: one command over its control socket (JSON-RPC as ovs-appctl sends it, RFC 7047, section 4)."""

import json
import os
import socket

from pktpath.errors import BadInput, Refused

_MOST = 256 << 20
"""Bytes of an answer."""


def call(path: str, command: str, arguments: list[str] | tuple[str, ...] = (), timeout: float | None = None) -> str:
    """Return the text that a switch answers to a command.

    Args:
        path: its control socket.
        command: such as `switch/status`.
        arguments: words after it.
        timeout: seconds without a byte; None waits for ever.

    Raises:
        Refused: it answers with an error, or nobody answers.
        BadInput: what it answers is no answer.

    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(path)
            request = {"id": 0, "method": command, "params": list(arguments)}
            connection.sendall(json.dumps(request).encode())
            return _answer(connection, path)
        except TimeoutError:
            message = f"{path}: no answer to {command} in {timeout:g} seconds"
        except (FileNotFoundError, ConnectionRefusedError):
            message = f"{path}: no switch answers on this socket: is it running?"
        except OSError as error:
            message = f"{path}: {error.strerror or os.strerror(error.errno or 0)}"
    raise Refused(message)


def _answer(connection: socket.socket, path: str) -> str:
    data = bytearray()
    while len(data) < _MOST and (piece := connection.recv(1 << 18)):
        data += piece
        if piece.rstrip().endswith(b"}"):
            try:
                message = json.loads(data)
            except ValueError:
                continue
            return _text(message, path)
    reason = f"{path}: the switch closed the connection" if len(data) < _MOST else f"{path}: an answer above {_MOST} bytes"
    raise Refused(reason)


def _text(message: object, path: str) -> str:
    if isinstance(message, dict) and message.get("id") == 0:
        if isinstance(error := message.get("error"), str):
            raise Refused(error.rstrip("\n"))
        if isinstance(result := message.get("result"), str):
            return result
    reason = f"{path}: no answer of a control socket"
    raise BadInput(reason)
