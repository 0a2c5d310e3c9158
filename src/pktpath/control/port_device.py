"""A port of a running switch as `ethtool` sees and changes it: asked over the control socket."""

import json
import os
from collections.abc import Mapping
from typing import Any, NoReturn

from pktpath.control.features_json import from_json
from pktpath.control.places import find_socket
from pktpath.control.unixctl_client import call
from pktpath.device_features import DeviceFeatures, FeatureChange, change_between
from pktpath.errors import BadInput, Refused
from pktpath.host.ethtool_values import DriverInfo

_PATIENCE = 10.0


def is_switch_port(dev: str) -> bool:
    """Whether a name is that of a port, BRIDGE/PORT: no file, and nothing that could be one."""
    bridge, slash, port = dev.partition("/")
    if not slash or not bridge or not port or "/" in port or bridge in (".", "..", "~") or port.endswith(".nic"):
        return False
    return not os.path.lexists(dev) and not os.path.isdir(bridge)  # noqa: PTH112  a name, not yet a path


def read_features(dev: str) -> DeviceFeatures:
    """Return the features of a port; raises BadInput and Refused."""
    return from_json(_ask("netdev/features", dev))


def write_features(dev: str, requested: Mapping[str, bool]) -> FeatureChange:
    """Switch features by their kernel names, all or none; raises BadInput and Refused."""
    reply = _ask("netdev/set-features", dev, json.dumps(dict(requested)))
    return change_between(from_json(reply.get("before", {})), from_json(reply.get("after", {})), requested)


class PortDevice:
    """A port; of the methods of `Device` it has those that have a meaning for it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def statistics(self) -> list[tuple[str, int]]:
        """Return what it has counted, in the switch's order."""
        try:
            return [(str(name), int(value)) for name, value in _ask("netdev/statistics", self.name)]
        except (TypeError, ValueError):
            message = f"{self.name}: the switch sent no statistics"
            raise BadInput(message) from None

    def driver(self) -> DriverInfo:
        """Return nobody: no driver stands behind it."""
        self._has_not("driver")

    def __getattr__(self, name: str) -> Any:
        """Refuse what a port of a switch does not have."""
        if name.startswith("_"):
            raise AttributeError(name)
        self._has_not(name.removeprefix("set_").replace("_", " "))

    def _has_not(self, what: str) -> NoReturn:
        message = (
            f"{self.name}: {what} is nothing of a port of a switch: it has -k, -K and -S, and the rest is in its configuration"
        )
        raise Refused(message)


def _ask(command: str, *words: str) -> Any:
    text = call(find_socket(), command, list(words), _PATIENCE)
    try:
        return json.loads(text)
    except ValueError:
        message = f"{words[0]}: the switch sent no JSON for {command}"
        raise BadInput(message) from None
