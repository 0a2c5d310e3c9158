"""The real parts of the daemon: which engine, tables, ports and control server it joins."""

from importlib import import_module
from typing import Any

from pktpath.control.engine import Parts
from pktpath.errors import Refused


def parts() -> Parts:
    """Return the makers of the running system; importing it imports nothing heavy.

    Raises:
        Refused: this installation has no engine.

    """
    try:
        live: Any = import_module("pktpath.control.live_parts")
    except ModuleNotFoundError as error:
        message = f"the switch is not part of this installation: {error.name} is missing"
        raise Refused(message) from None
    found: Parts = live.PARTS
    return found
