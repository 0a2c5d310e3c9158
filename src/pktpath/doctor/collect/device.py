"""What ethtool shows of devices, asked of the kernel by ourselves and written in ethtool's words.

A netlink question costs a millisecond of ours: less than to start the tool for each of hundreds.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pktpath.doctor.collect.notebook import Notebook
from pktpath.errors import BadInput, Refused

if TYPE_CHECKING:
    from pktpath.host.ethtool import HostDevice

MOST = 128
"""Devices that are asked for their settings; the look stays below two seconds of CPU with them."""
_NOT_SUPPORTED = "not supported by their drivers"
_LOOPBACK = "lo"
"""It has features, and neither queues nor a driver."""


def choose(book: Notebook, names: Sequence[str], wanted: Sequence[str], most: int = MOST) -> list[str]:
    """Return the devices to ask, the important ones first; say how many are left out."""
    if wanted:
        return list(dict.fromkeys(wanted))
    order = sorted(names, key=_importance)
    if len(order) > most:
        book.lacks(f"features and queues of {len(order) - most} of {len(order)} devices", f"only {most} are asked", "name them")
    return order[:most]


def _importance(name: str) -> int:
    """Cards first, then what is made of others, then virtual ends of pairs."""
    here = Path("/sys/class/net") / name
    if os.path.exists(here / "device"):  # noqa: PTH110
        return 0
    if any(os.path.exists(here / word) for word in ("bridge", "bonding", "tun_flags")):  # noqa: PTH110
        return 1
    return 3 if name.startswith("veth") else 2


def device_counters(book: Notebook, devices: Sequence[str]) -> None:
    """Take down `ethtool -S` of each."""
    from pktpath.control.ethtool_text import statistics_text
    from pktpath.host.ethtool import HostDevice

    for name in devices:
        if name == _LOOPBACK:
            continue
        try:
            found = HostDevice(name).statistics()
        except (Refused, BadInput) as error:
            book.lacks(f"ethtool -S {name}", str(error).removeprefix(f"{name}: "))
            continue
        if found:
            book.keep(f"ethtool -S {name}", statistics_text(found), changing=True)


def device_settings(book: Notebook, devices: Sequence[str]) -> None:
    """Take down `ethtool -k`, `-i`, `-l`, `-g`, `-c` and `-x` of each; refusals are put together."""
    from pktpath.control import ethtool_text as text
    from pktpath.control.features_text import features_text
    from pktpath.host.ethtool import HostDevice
    from pktpath.host.features import read_by_ioctl

    refused: dict[tuple[str, str], list[str]] = defaultdict(list)
    never: set[tuple[str, str]] = set()
    """Drivers of virtual devices, and what they do not support at any of them."""

    def ask(option: str, name: str, show: Callable[[], str], driver: str = "") -> None:
        if (driver, option) in never:
            return
        try:
            book.keep(f"ethtool {option} {name}", show())
        except (Refused, BadInput) as error:
            reason = _reason(name, str(error))
            if driver and reason == _NOT_SUPPORTED:
                # A bridge has no rings: nothing is missing.
                never.add((driver, option))
            else:
                refused[option, reason].append(name)

    for name in devices:
        device = HostDevice(name)
        ask("-k", name, lambda name=name: features_text(name, read_by_ioctl(name)))  # type: ignore[misc]
        if name == _LOOPBACK:
            continue
        ask("-i", name, lambda device=device: text.driver_text(device.driver()))  # type: ignore[misc]
        kind = _virtual_driver(device)
        ask("-l", name, lambda device=device: text.channels_text(device.name, device.channels()), kind)  # type: ignore[misc]
        ask("-g", name, lambda device=device: text.rings_text(device.name, device.rings()), kind)  # type: ignore[misc]
        ask("-c", name, lambda device=device: text.coalesce_text(device.name, device.coalesce()), kind)  # type: ignore[misc]
        ask("-x", name, lambda device=device: text.rxfh_text(device.name, device.rxfh()), kind)  # type: ignore[misc]
    for (option, why), names in refused.items():
        book.lacks(f"ethtool {option} of {_some(names)}", why)


def _virtual_driver(device: "HostDevice") -> str:
    """Return the driver of a device that is on no bus: all that it drives are alike; nothing for a card."""
    try:
        info = device.driver()
    except (Refused, BadInput):
        return ""
    return "" if info.bus_info not in ("", "N/A", "tap", "tun") else info.driver


def _reason(name: str, message: str) -> str:
    reason = message.removeprefix(f"{name}: ")
    return _NOT_SUPPORTED if "not supported" in reason else reason


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
