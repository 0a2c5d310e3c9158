"""What a configuration names and a start needs: captures, directories, interfaces, namespaces. Looked at, not opened for good.

A start would stop at the first that is not there; here each is a line.
"""

import os
import stat
from pathlib import Path

from pktpath.control.config_values import PortConfig, SwitchConfig
from pktpath.errors import BadInput, Refused
from pktpath.host.interface import KernelInterfaces
from pktpath.host.netns import inside

_KERNEL = ("packet", "xdp")
"""Types whose interface must be there before."""


def missing(config: SwitchConfig) -> list[BadInput | Refused]:
    """Return an error for each thing that is not as a start needs it, in the order of the file.

    `Refused` is what this user may not even look at.
    """
    found: list[BadInput | Refused] = []
    for bridge in config.bridges:
        local = bridge.local_port()
        for port in (*([local] if local else ()), *bridge.ports):
            for key, check in (("netns", _network), ("rx_file", _capture), ("tx_file", _target)):
                try:
                    check(port)
                except (BadInput, Refused) as error:
                    kind = BadInput if isinstance(error, BadInput) else Refused
                    place = "interface" if isinstance(error, _NoInterface) else key
                    found.append(kind(f"{port.places.get(place, port.where)}: {error}"))
    return found


class _NoInterface(BadInput):
    """The namespace is there, the interface is not."""


def _network(port: PortConfig) -> None:
    with inside(port.netns):
        if port.type not in _KERNEL or KernelInterfaces().index(port.interface) is not None:
            return
    place = f" in network namespace {port.netns}" if port.netns else ""
    message = f"{port.interface}: no such interface{place}: 'ip link' lists them"
    raise _NoInterface(message)


def _capture(port: PortConfig) -> None:
    """Read a capture to its end, as a start does; what is no regular file gives its bytes only once."""
    if port.rx_file is None:
        return
    path = Path(port.rx_file)
    if _is_special(path):
        if not os.access(path, os.R_OK):
            message = f"{path}: no permission to read it"
            raise BadInput(message)
        return
    from pktpath.port.capture import open_capture
    from pktpath.wire.link import Link

    with open_capture(path, header_chunks=1) as reader:
        for _ in reader:
            pass
        strange = next((one for one in reader.interfaces if one.link is not Link.ETHERNET), None)
        frames = reader.frames
    if strange is not None:
        message = f"{path}: link type {strange.linktype & 0xFFFF} is not Ethernet (1)"
        raise BadInput(message)
    if frames == 0:
        message = f"{path}: holds no frames"
        raise BadInput(message)


def _target(port: PortConfig) -> None:
    """A capture is written beside its name: the directory counts, not a file that is there already."""
    if port.tx_file is None:
        return
    path = Path(port.tx_file)
    special = _is_special(path)
    # Not `Path`, which raises where a directory on the way may not be entered.
    beside = port.tx_file if special else os.path.dirname(os.path.realpath(port.tx_file))  # noqa: PTH120
    if os.path.isdir(path):  # noqa: PTH112
        message = f"{path}: is a directory"
    elif not special and not os.path.isdir(beside):  # noqa: PTH112
        message = f"{beside}: there is no such directory"
    elif not os.access(beside, os.W_OK if special else os.W_OK | os.X_OK):
        message = f"{beside}: no permission to write there"
    else:
        return
    raise BadInput(message)


def _is_special(path: Path) -> bool:
    """Whether a path is that of a device or a pipe, which has no beside."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
