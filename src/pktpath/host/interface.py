"""What else an interface has besides what ethtool knows: number, MTU, up or down, addresses.

Source: netdevice(7) for the ioctls, rtnetlink(7) for addresses.
"""

import contextlib
import errno
import fcntl
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

from pktpath.errors import BadInput, Refused
from pktpath.host.netns import inside

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCGIFMTU, _SIOCSIFMTU = 0x8913, 0x8914, 0x8921, 0x8922
_SIOCSIFHWADDR, _SIOCGIFHWADDR = 0x8924, 0x8927
_IFF_UP = 1
_ARPHRD_ETHER = 1
_REQUEST = 40
"""Bytes of a struct ifreq."""


class KernelInterfaces:
    """Reads and changes interfaces by their names; `netns` is None for the namespace of the caller.

    What can be asked for: `mtu` (a number), `up` (a boolean), `mac` (a string), `feature` with the kernel's name of it as key
    (a boolean: what is wanted), `address` with ADDRESS/LENGTH as key (a boolean: whether it is there).
    """

    def index(self, device: str, netns: str | None = None) -> int | None:
        """Return the number of an interface, None when there is none."""
        try:
            with inside(netns):
                return socket.if_nametoindex(device)
        except (OSError, BadInput):
            return None

    def get(self, device: str, netns: str | None, what: str, key: str = "") -> Any:
        """Return how something is now.

        Raises:
            BadInput: there is no such interface, or nothing of this name.
            Refused: the kernel does not say.

        """
        with inside(netns), _refusals(device, what):
            match what:
                case "mtu":
                    return _ask(_SIOCGIFMTU, device)
                case "up":
                    return bool(_ask(_SIOCGIFFLAGS, device, "H") & _IFF_UP)
                case "mac":
                    return _mac(device)
                case "feature":
                    from pktpath.host.features import read_features

                    found = read_features(device)
                    if key not in found.names:
                        message = f"{device}: its kernel has no feature {key}"
                        raise BadInput(message)
                    return key in found.wanted or (key in found.active and key not in found.hw)
                case "address":
                    return str(ipaddress.ip_interface(key)) in _addresses(device)
        message = f"{device}: {what} is nothing of an interface"
        raise BadInput(message)

    def set(self, device: str, netns: str | None, what: str, key: str, value: Any) -> None:
        """Change it; raises as `get` does."""
        with inside(netns), _refusals(device, f"{what} {value}"):
            match what:
                case "mtu":
                    _tell(_SIOCSIFMTU, device, struct.pack("=i", value))
                case "up":
                    flags = _ask(_SIOCGIFFLAGS, device, "H")
                    _tell(_SIOCSIFFLAGS, device, struct.pack("=H", flags | _IFF_UP if value else flags & ~_IFF_UP))
                case "mac":
                    _tell(_SIOCSIFHWADDR, device, struct.pack("=H", _ARPHRD_ETHER) + bytes.fromhex(value.replace(":", "")))
                case "feature":
                    _set_feature(device, key, on=value)
                case "address":
                    _set_address(device, key, there=value)
                case _:
                    message = f"{device}: {what} is nothing of an interface"
                    raise BadInput(message)


def _set_feature(device: str, name: str, *, on: bool) -> None:
    from pktpath.device_features import why_not
    from pktpath.host.features import read_features, write_features

    change = write_features(device, {name: on})
    if change.missed:
        after = read_features(device)
        # What is only wanted comes with what it depends on.
        if on != (name in after.wanted):
            message = f"{device}: {name} cannot be {'on' if on else 'off'}: {why_not(after, name)}"
            raise Refused(message)


def _ask(call: int, device: str, kind: str = "i") -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        reply = fcntl.ioctl(control, call, _request(device))
    return int(struct.unpack_from("=" + kind, reply, 16)[0])


def _mac(device: str) -> str:
    """Return the Ethernet address of an interface; zero where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        reply = fcntl.ioctl(control, _SIOCGIFHWADDR, _request(device))
    return reply[18:24].hex(":")


def _tell(call: int, device: str, value: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, call, _request(device, value))


def _request(device: str, value: bytes = b"") -> bytes:
    name = device.encode()
    if not 0 < len(name) < 16 or b"\0" in name:
        message = f"{device}: no name of an interface"
        raise BadInput(message)
    return name.ljust(16, b"\0") + value.ljust(_REQUEST - 16, b"\0")


@contextlib.contextmanager
def _route() -> Iterator[Any]:
    from pyroute2 import IPRoute

    route = IPRoute()
    try:
        yield route
    finally:
        route.close()


def _addresses(device: str) -> set[str]:
    index = socket.if_nametoindex(device)
    with _route() as route:
        found = [
            (item.get_attr("IFA_LOCAL") or item.get_attr("IFA_ADDRESS"), item["prefixlen"])
            for item in route.get_addr(index=index)
        ]
    return {str(ipaddress.ip_interface(f"{address}/{length}")) for address, length in found}


def _set_address(device: str, text: str, *, there: bool) -> None:
    from pyroute2.netlink.exceptions import NetlinkError

    wanted = ipaddress.ip_interface(text)
    index = socket.if_nametoindex(device)
    try:
        with _route() as route:
            route.addr("add" if there else "del", index=index, address=str(wanted.ip), prefixlen=wanted.network.prefixlen)
    except NetlinkError as error:
        if error.code != (errno.EEXIST if there else errno.EADDRNOTAVAIL):
            raise OSError(error.code, os.strerror(error.code)) from None


@contextlib.contextmanager
def _refusals(device: str, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # if_nametoindex says ENODEV with or without a number.
        if error.errno in (errno.ENODEV, errno.ENXIO, None):
            message = f"{device}: no such interface: 'ip link' lists them"
            raise BadInput(message) from None
        why = "needs CAP_NET_ADMIN: run as root" if error.errno == errno.EPERM else f"the kernel refused: {error.strerror}"
        message = f"{device}: {what}: {why}"
        raise Refused(message) from error
