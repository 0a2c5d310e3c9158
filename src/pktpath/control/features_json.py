"""Features of a port as they travel over the control socket: lists of the kernel's names."""

from collections.abc import Mapping
from typing import Any

from pktpath.device_features import DeviceFeatures
from pktpath.errors import BadInput


def to_json(device: DeviceFeatures) -> dict[str, list[str]]:
    """Return features as JSON has them: lists of names, in the order of the bits."""
    sets = {name: getattr(device, name) for name in ("hw", "wanted", "active", "nochange")}
    return {"names": list(device.names)} | {
        name: [word for word in device.names if word in found] for name, found in sets.items()
    }


def from_json(document: Mapping[str, Any]) -> DeviceFeatures:
    """Return what `to_json` wrote.

    Raises:
        BadInput: it did not.

    """
    try:
        sets = (frozenset(document[name]) for name in ("hw", "wanted", "active", "nochange"))
        return DeviceFeatures(tuple(document["names"]), *sets)
    except (KeyError, TypeError):
        message = "the switch sent no features: is it another version?"
        raise BadInput(message) from None
