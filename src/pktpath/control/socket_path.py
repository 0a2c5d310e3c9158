"""Where control sockets are, and how their names fit into an address of 107 bytes."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pktpath.errors import BadInput, Refused

_ROOM = 107
"""Bytes of a name in struct sockaddr_un (unix(7)), without its zero."""
_PATIENCE = 5.0
"""Seconds that a start waits for another start in the same directory."""
SUFFIX = ".ctl"


def run_directory() -> Path:
    """Return where daemons of this user have their sockets: $XDG_RUNTIME_DIR/pktpath, without it /run/pktpath."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    return Path(base) / "pktpath" if base else Path("/run/pktpath")


def find_socket(target: str | None = None) -> Path:
    """Return the socket that `-t TARGET` names, or $PKTPATH_SOCKET: a path, a name in the run directory, or the only one there.

    Raises:
        BadInput: there is none, or several.

    """
    directory = run_directory()
    target = target or os.environ.get("PKTPATH_SOCKET")
    if target:
        return Path(target) if "/" in target else directory / (target if target.endswith(SUFFIX) else target + SUFFIX)
    found = sorted(path for path in directory.glob(f"*{SUFFIX}") if path.is_socket())
    if len(found) == 1:
        return found[0]
    if found:
        message = f"{directory}: {len(found)} daemons have a socket here; name one with -t: {', '.join(p.stem for p in found)}"
    else:
        message = f"{directory}: no daemon has a socket here; start one with 'pktpath switch run FILE' or name a socket with -t"
    raise BadInput(message)


@contextmanager
def address_of(path: Path) -> Iterator[str]:
    """Yield a name of this path that fits into an address of a unix socket."""
    if len(os.fsencode(path)) <= _ROOM:
        yield str(path)
        return
    parent = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        short = f"/proc/self/fd/{parent}/{path.name}"
        if len(os.fsencode(short)) > _ROOM:
            message = f"{path}: the name of a socket has at most {_ROOM - len(short) + len(path.name)} bytes"
            raise BadInput(message)
        yield short
    finally:
        os.close(parent)


@contextmanager
def start_lock(path: Path) -> Iterator[None]:
    """Hold the directory of a socket, so that of two daemons that start together one sees the other."""
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    message = f"{path.parent}: held by another program for {_PATIENCE:.0f} seconds"
                    raise Refused(message) from None
                time.sleep(0.01)
        yield
    finally:
        os.close(directory)
