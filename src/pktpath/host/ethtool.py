"""A real device of the current network namespace, as `ethtool` sees and changes it.

Whatever the kernel says becomes one line: what is not supported, which privilege is missing, which value is
above which maximum. After a change the device is read again, and what it took only in part is named.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import TypeVar

from pktpath.errors import BadInput, Refused
from pktpath.host import ethtool_ioctl
from pktpath.host.ethtool_ioctl import FLOW_TYPES
from pktpath.host.ethtool_values import Changes, Channels, Coalesce, DriverInfo, Rings, Rxfh, RxfhChange

__all__ = ["FLOW_TYPES", "HostDevice"]

Value = TypeVar("Value", Channels, Rings, Coalesce)
_ADAPTED = {"rx_usecs": "adaptive_rx", "rx_frames": "adaptive_rx", "tx_usecs": "adaptive_tx", "tx_frames": "adaptive_tx"}
"""What the card itself changes at any time, while the other is on."""


class HostDevice:
    """A network device of this machine; see `Device` for the methods. The kernel's name replaces an alternative one."""

    def __init__(self, name: str) -> None:
        self.name = name

    # Channels, rings, coalescing

    def channels(self) -> Channels:
        """Return the numbers of queues."""
        return self._read(Channels, "channels")

    def set_channels(self, changes: Changes) -> None:
        """Change numbers of queues; all or none."""
        self._write(Channels, "channels", changes)

    def rings(self) -> Rings:
        """Return the sizes of rings."""
        return self._read(Rings, "ring sizes")

    def set_rings(self, changes: Changes) -> None:
        """Change sizes of rings; all or none."""
        self._write(Rings, "ring sizes", changes)

    def coalesce(self) -> Coalesce:
        """Return when the card interrupts."""
        return self._read(Coalesce, "coalescing")

    def set_coalesce(self, changes: Changes) -> None:
        """Change it; all or none."""
        self._write(Coalesce, "coalescing", changes)

    def _read(self, kind: type[Value], what: str) -> Value:
        # pyroute2 takes a while to import, and the ioctls do without it.
        from pktpath.host import ethtool_netlink

        with self._refusals(what):
            value, self.name = ethtool_netlink.read(self.name, kind)
        return value

    def _write(self, kind: type[Value], what: str, changes: Changes) -> None:
        from pktpath.host import ethtool_netlink

        try:
            ethtool_netlink.write(self.name, kind, changes)
        except OSError as error:
            raise Refused(self._why(kind, what, changes, error)) from error
        if not changes:
            return
        after = self._read(kind, what)
        left = [(name, value, getattr(after, name)) for name, value in changes.items() if not _taken(after, name, value)]
        if left:
            items = "; ".join(f"{_word(name)} is {'n/a' if has is None else has}, not {value}" for name, value, has in left)
            message = f"{self.name}: the device did not take every value: {items}"
            raise Refused(message)

    def _why(self, kind: type[Value], what: str, changes: Changes, error: OSError) -> str:
        """Say which values the kernel refused, as far as that can be seen."""
        if error.errno in (errno.EPERM, errno.EOPNOTSUPP):
            return self._sentence(f"changing {what}", error)
        try:
            now = self._read(kind, what)
        except Refused:
            return self._sentence(what, error)
        reasons = [reason for name, value in changes.items() if (reason := _limit(now, name, value))]
        return f"{self.name}: {'; '.join(reasons)}" if reasons else self._sentence(what, error)

    # Receive flow hashing

    def rxfh(self) -> Rxfh:
        """Return the table, key and function of receive flow hashing."""
        with self._refusals("receive flow hashing (RSS)"):
            return ethtool_ioctl.read_rxfh(self.name)

    def set_rxfh(self, change: RxfhChange) -> None:
        """Change table, key and function in one call."""
        now = self.rxfh()
        self._check_rxfh(now, change)
        try:
            with self._refusals("changing receive flow hashing (RSS)"):
                ethtool_ioctl.write_rxfh(self.name, now, change)
        except Refused as error:
            raise self._rxfh_refusal(now, change, error) from error
        after = self.rxfh()
        left = [
            what
            for what, asked, has in (("table", change.indirection, after.indirection), ("key", change.key, after.key))
            if asked and asked != has
        ]
        if left:
            message = f"{self.name}: the device did not take the {' and '.join(left)} as given; -x shows what it has"
            raise Refused(message)

    def _check_rxfh(self, now: Rxfh, change: RxfhChange) -> None:
        if now.table_only and (change.key is not None or change.function is not None):
            message = f"{self.name}: the driver lets only the indirection table be set, not the hash key or function"
            raise Refused(message)
        if change.key is not None and not now.key:
            message = f"{self.name}: the hash key cannot be set on this device"
            raise Refused(message)
        if change.key is not None and len(change.key) != len(now.key):
            message = f"{self.name}: the hash key has {len(change.key)} bytes; this device's has {len(now.key)}"
            raise BadInput(message)
        if change.function is not None:
            with self._refusals("hash functions"):
                names = ethtool_ioctl.hash_functions(self.name)
            if change.function not in names:
                message = f"{self.name}: no hash function is named {change.function!r}; there are {', '.join(names) or 'none'}"
                raise BadInput(message)
        if change.indirection is not None and not now.indirection:
            message = f"{self.name}: the device has no indirection table that could be set"
            raise Refused(message)

    def _rxfh_refusal(self, now: Rxfh, change: RxfhChange, error: Refused) -> Refused:
        worst = max(change.indirection or (0,))
        if worst >= now.rings:
            return Refused(f"{self.name}: the table names ring {worst}, and the device has rings 0 to {now.rings - 1}")
        return error

    def hash_fields(self, flow: str) -> int:
        """Return what the hash covers for a flow type, as RXH_ bits."""
        with self._refusals(f"the hash fields of {flow}"):
            return ethtool_ioctl.read_hash_fields(self.name, flow)

    def set_hash_fields(self, flow: str, fields: int) -> None:
        """Change what the hash covers for a flow type."""
        with self._refusals(f"changing the hash fields of {flow}"):
            ethtool_ioctl.write_hash_fields(self.name, flow, fields)

    # What it counts, and who drives it

    def statistics(self) -> list[tuple[str, int]]:
        """Return the driver's counters in its order."""
        try:
            return ethtool_ioctl.read_statistics(self.name)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                return []
            raise Refused(self._sentence("statistics", error)) from error

    def driver(self) -> DriverInfo:
        """Return who drives the device."""
        with self._refusals("driver information"):
            return ethtool_ioctl.read_driver(self.name)

    # How the kernel refuses

    @contextlib.contextmanager
    def _refusals(self, what: str) -> Iterator[None]:
        """Turn an OSError into one line."""
        try:
            yield
        except OSError as error:
            raise Refused(self._sentence(what, error)) from error

    def _sentence(self, what: str, error: OSError) -> str:
        if error.errno == errno.EPERM:
            return f"{self.name}: {what} needs CAP_NET_ADMIN: run as root, for example with sudo"
        if error.errno == errno.EOPNOTSUPP:
            return f"{self.name}: {what} is not supported by this device"
        if error.errno == errno.ENOENT:
            return f"{self.name}: {what} needs ethtool over netlink, which Linux has from 5.7 on"
        said = error.strerror or os.strerror(error.errno or 0)
        return f"{self.name}: {what}: the kernel refused: {said}"


def _word(name: str) -> str:
    return name.replace("_", "-")


def _taken(after: Channels | Rings | Coalesce, name: str, value: int) -> bool:
    adaptive = name in _ADAPTED and isinstance(after, Coalesce) and getattr(after, _ADAPTED[name])
    return bool(adaptive) or getattr(after, name) == value


def _limit(now: Channels | Rings | Coalesce, name: str, value: int) -> str:
    """Say what speaks against a value, nothing where nothing is known."""
    if isinstance(now, Coalesce):
        if getattr(now, name) is not None:
            return ""
        has = [_word(field) for field in Coalesce.__slots__ if getattr(now, field) is not None]
        return f"{_word(name)} cannot be set on this device, which has {', '.join(has) or 'none of it'}"
    if not hasattr(now, f"{name}_max"):
        return ""
    most = getattr(now, f"{name}_max")
    if most is None:
        return f"{_word(name)} cannot be set on this device"
    return f"{_word(name)} {value} is above the maximum of {most}" if value > most else ""
