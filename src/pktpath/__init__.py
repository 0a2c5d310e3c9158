"""pktpath: the Linux and Open vSwitch packet path in Python.

The names below are the whole public interface. They are imported when they are first used, so that
`import pktpath` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pktpath.batch import Batch, frame_bytes, make_batch, release
    from pktpath.errors import BadInput, Refused
    from pktpath.features import Feature
    from pktpath.offload.gro import gro
    from pktpath.offload.gso import gso
    from pktpath.offload.reason import Reason
    from pktpath.offload.rules import RULES, KernelRules
    from pktpath.pool import Pool, make_pool
    from pktpath.port.capture import CaptureError, create_capture, open_capture, read, write
    from pktpath.port.memory import load, unload
    from pktpath.wire.link import Link

__version__ = "0.1.0"

__all__ = [
    "RULES",
    "BadInput",
    "Batch",
    "CaptureError",
    "Feature",
    "KernelRules",
    "Link",
    "Pool",
    "Reason",
    "Refused",
    "__version__",
    "create_capture",
    "frame_bytes",
    "gro",
    "gso",
    "load",
    "make_batch",
    "make_pool",
    "open_capture",
    "read",
    "release",
    "unload",
    "write",
]

_EXPORTS = {
    "BadInput": "pktpath.errors",
    "Batch": "pktpath.batch",
    "CaptureError": "pktpath.port.capture",
    "Feature": "pktpath.features",
    "KernelRules": "pktpath.offload.rules",
    "Link": "pktpath.wire.link",
    "Pool": "pktpath.pool",
    "RULES": "pktpath.offload.rules",
    "Reason": "pktpath.offload.reason",
    "Refused": "pktpath.errors",
    "create_capture": "pktpath.port.capture",
    "frame_bytes": "pktpath.batch",
    "gro": "pktpath.offload.gro",
    "gso": "pktpath.offload.gso",
    "load": "pktpath.port.memory",
    "make_batch": "pktpath.batch",
    "make_pool": "pktpath.pool",
    "open_capture": "pktpath.port.capture",
    "read": "pktpath.port.capture",
    "release": "pktpath.batch",
    "unload": "pktpath.port.memory",
    "write": "pktpath.port.capture",
}


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        message = f"module 'pktpath' has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
