"""Ethernet addresses of the interfaces behind ports, asked of the kernel whenever somebody wants to see them."""

from collections.abc import Callable
from typing import Any

from pktpath.control.config_values import PortConfig
from pktpath.errors import BadInput, Refused
from pktpath.host.interface import KernelInterfaces

_WITH_INTERFACE = ("packet", "xdp", "tap", "internal")


class PortAddresses:
    """Knows by numbers of the datapath which interface each port has."""

    def __init__(self, get: Callable[[str, str | None, str], Any] | None = None) -> None:
        """Take what reads one thing of an interface in a namespace, the kernel's without."""
        self._get = get or KernelInterfaces().get
        self._ports: dict[int, PortConfig] = {}
        self._seen: dict[int, str] = {}

    def note(self, number: int, config: PortConfig) -> None:
        """Take a port that was just opened, or another one of this number."""
        self._seen.pop(number, None)
        self._ports[number] = config
        self(number)

    def __call__(self, number: int) -> str:
        """Return the address of a port's interface, nothing where it has none.

        Of an interface that is not where it was, as a TAP that somebody has moved into a namespace, it is the last one seen.
        """
        config = self._ports.get(number)
        if config is None or config.type not in _WITH_INTERFACE:
            return ""
        try:
            self._seen[number] = str(self._get(config.interface, config.netns, "mac"))
        except (BadInput, Refused):
            return self._seen.get(number, "")
        return self._seen[number]
