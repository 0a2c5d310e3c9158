"""Where a daemon's sockets and state are when nothing else is said, and how a socket's name fits into an address."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pktpath.errors import BadInput, Refused

NAME = "pktpath"
SUFFIX = ".ctl"
_ROOM = 107
"""Bytes of a name in struct sockaddr_un (unix(7)), without its zero."""
_PATIENCE = 5.0
"""Seconds that a start waits for another start in the same directory."""


def run_dir() -> str:
    """Return the directory of control sockets: systemd's for a service, the user's of a session, else the system's."""
    if directory := os.environ.get("RUNTIME_DIRECTORY"):
        return directory.partition(":")[0]
    session = os.environ.get("XDG_RUNTIME_DIR")
    return str(Path(session) / NAME) if session else f"/run/{NAME}"


def state_dir() -> str:
    """Return the directory of what a restart needs, chosen in the same way."""
    if directory := os.environ.get("STATE_DIRECTORY"):
        return directory.partition(":")[0]
    if os.geteuid() == 0:
        return f"/var/lib/{NAME}"
    home = os.environ.get("XDG_STATE_HOME")
    return str((Path(home) if home else Path.home() / ".local" / "state") / NAME)


def find_socket(target: str | None = None) -> Path:
    """Return the control socket that a command talks to.

    Args:
        target: what follows -t: a path, or the name of a switch; without, $PKTPATH_SOCKET, else the only one there.

    Raises:
        BadInput: there are none, or several.

    """
    directory = Path(run_dir())
    target = target or os.environ.get("PKTPATH_SOCKET")
    if target:
        return Path(target) if "/" in target else directory / (target.removesuffix(SUFFIX) + SUFFIX)
    found = sorted(path for path in directory.glob(f"*{SUFFIX}") if path.is_socket())
    if len(found) == 1:
        return found[0]
    if found:
        message = f"{directory}: several switches run; name one with -t: {', '.join(path.stem for path in found)}"
    else:
        message = f"{directory}: no switch runs; start one with 'pktpath switch run FILE', or name its socket with -t"
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
