"""Where the daemon's socket and state are when nothing else is said."""

import os
from pathlib import Path

from pktpath.errors import BadInput

NAME = "pktpath"


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


def control_socket(target: str | None = None) -> str:
    """Return the socket that a command talks to.

    Args:
        target: what follows -t: a path, or the name of a switch; without, $PKTPATH_SOCKET, else the only one there.

    Raises:
        BadInput: there are none, or several.

    """
    target = target or os.environ.get("PKTPATH_SOCKET")
    if target:
        return target if "/" in target else f"{run_dir()}/{target.removesuffix('.ctl')}.ctl"
    found = sorted(path for path in Path(run_dir()).glob("*.ctl") if path.is_socket())
    if len(found) == 1:
        return str(found[0])
    if found:
        message = f"{run_dir()}: several switches run; name one with -t: {', '.join(path.stem for path in found)}"
    else:
        message = f"{run_dir()}: no switch runs; start one with 'pktpath switch run FILE', or name its socket with -t"
    raise BadInput(message)
