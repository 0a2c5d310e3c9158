"""Where the daemon's socket and state are when nothing else is said."""

import os
from pathlib import Path

NAME = "pktpath"


def run_dir() -> str:
    """Return the directory of control sockets: systemd's, the system's for root, else the user's own."""
    if directory := os.environ.get("RUNTIME_DIRECTORY"):
        return directory.partition(":")[0]
    if os.geteuid() == 0:
        return f"/run/{NAME}"
    return str(Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}") / NAME)


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
        target: what follows -t: a path, or the name of a switch; without, $PKTPATH_SOCKET, else the default switch.

    """
    target = target or os.environ.get("PKTPATH_SOCKET") or NAME
    return target if "/" in target else f"{run_dir()}/{target}.ctl"
