"""What an AF_XDP port asks of a device, and the program that it attaches there.

Source: linux/if_link.h (XDP_FLAGS_*), linux/bpf.h (struct xdp_md), netdevice(7).
"""

import contextlib
import errno
import fcntl
import os
import socket
import struct
from typing import NamedTuple

from pktpath.errors import BadInput, Refused
from pktpath.host.ethtool import HostDevice
from pktpath.host.features import read_features
from pktpath.port.bpf_syscall import (
    GENERIC,
    NATIVE,
    REDIRECT_MAP_HELPER,
    XDP_PASS,
    attach_xdp,
    instruction,
    load_map,
    load_xdp,
)

MODES = ("auto", "native", "generic")
HEADER = 18
"""Bytes of Ethernet with one VLAN tag."""
ROOM = 2048 - 256
"""Bytes of a frame that a chunk takes: the kernel keeps XDP_PACKET_HEADROOM free before it."""
_NUMBERS = {"native": NATIVE, "generic": GENERIC}
_SIOCGIFMTU, _SIOCGIFHWADDR = 0x8921, 0x8927
_ETHERNET_TYPES = (1, 772)
_UNFINISHED = ("veth", "tun", "virtio_net")
"""Drivers whose frames may come with unfinished checksums."""
_CHECKSUMS = frozenset({"tx-checksum-ip-generic", "tx-checksum-ipv4", "tx-checksum-ipv6"})


class Attached(NamedTuple):
    """A program at a device."""

    link: int
    """Descriptor: the program stays as long as it is open."""
    mode: str
    fragments: bool
    """Frames may come in several pieces."""
    notes: list[str]


def ethernet_mtu(device: str) -> int:
    """Return the MTU of a device.

    Raises:
        BadInput: it is no Ethernet.
        Refused: the kernel does not tell.

    """
    request = struct.pack("=16s24x", device.encode())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            (mtu,) = struct.unpack_from("=i", fcntl.ioctl(asking, _SIOCGIFMTU, request), 16)
            (kind,) = struct.unpack_from("=H", fcntl.ioctl(asking, _SIOCGIFHWADDR, request), 16)
        except OSError as error:
            message = f"{device}: {error.strerror}"
            raise Refused(message) from None
    if kind not in _ETHERNET_TYPES:
        message = f"{device} is no Ethernet device (its type is {kind})"
        raise BadInput(message)
    return int(mtu)


def receive_queues(device: str) -> tuple[int, str]:
    """Return the number of receive queues, and ethtool's word for them; a driver that tells nothing is taken to have one."""
    try:
        channels = HostDevice(device).channels()
    except Refused:
        return 1, "combined"
    return max((channels.rx or 0) + (channels.combined or 0), 1), "combined" if channels.combined else "rx"


def attach_program(device: str, ifindex: int, sockets: int, mode: str, *, long: bool) -> Attached:
    """Attach the program that hands frames to the sockets of a map.

    Args:
        device: its name, for errors.
        ifindex: its number.
        sockets: descriptor of the map: sockets by number of the queue.
        mode: one of `MODES`.
        long: a frame of its MTU does not fit into a chunk. One of its peer's may not either: that the kernel says.

    Raises:
        Refused: no permission, another program is there, or no mode works.

    """
    said = ""
    for attempt in MODES[1:] if mode == "auto" else (mode,):
        for fragments in (True,) if long else (False, True):
            program = load_xdp(_redirect(sockets), fragments=fragments)
            try:
                link = attach_xdp(program, ifindex, _NUMBERS[attempt])
            except OSError as error:
                said = said or _why(device, attempt, error)
                if error.errno in (errno.EPERM, errno.EBUSY, errno.ENODEV):
                    raise Refused(said) from None
                continue
            finally:
                os.close(program)
            notes = [f"generic mode: {said}"] if attempt == "generic" and mode == "auto" else []
            return Attached(link, attempt, fragments, notes)
    raise Refused(said)


def _redirect(sockets: int) -> bytes:
    """Return the instructions that hand a frame to the socket of its queue, or to the host where there is none."""
    return b"".join(
        [
            instruction(0x61, 2, 1, 16),  # r2 = rx_queue_index
            load_map(1, sockets),
            instruction(0xB7, 3, value=XDP_PASS),
            instruction(0x85, value=REDIRECT_MAP_HELPER),
            instruction(0x95),
        ]
    )


def _why(device: str, mode: str, error: OSError) -> str:
    if error.errno == errno.EPERM:
        return "attaching an XDP program needs CAP_NET_ADMIN (run as root)"
    if error.errno == errno.EBUSY:
        return f"{device} has another XDP program (`ip link set {device} xdp off` removes one of ip's)"
    if error.errno == errno.EOPNOTSUPP:
        return f"{device}: its driver has no {mode} XDP"
    if error.errno == errno.ERANGE:
        return f"{device}: frames of its MTU, or of its peer's, are too long for {mode} XDP"
    return f"{device}: {mode} XDP: {error.strerror}"


def checksum_warnings(device: str, ifindex: int, mode: str) -> list[str]:
    """Say if frames may come whose checksum is unfinished, which AF_XDP cannot tell, and what to do about it."""
    driver = ""
    with contextlib.suppress(Refused):
        driver = HostDevice(device).driver().driver
    # virtio_net makes its host finish them while a program is in the driver.
    if driver not in _UNFINISHED or (driver == "virtio_net" and mode == "native"):
        return []
    peer = _peer_of(ifindex) if driver == "veth" else None
    if peer is not None:
        with contextlib.suppress(Refused, BadInput):
            if not _CHECKSUMS & read_features(peer).active:
                return []
    end = f"{peer}, its other end," if peer else "the end that sends to it"
    switch = f"`ethtool -K {peer or '…'} tx off`"
    return [f"{device}: AF_XDP cannot tell a frame whose checksum {end} leaves unfinished: there, {switch}"]


def _peer_of(ifindex: int) -> str | None:
    """Return the other end of a veth, if it is in this network namespace."""
    from pyroute2 import IPRoute

    try:
        with IPRoute() as route:
            (link,) = route.get_links(ifindex)
            attributes = dict(link["attrs"])
        if "IFLA_LINK" not in attributes or "IFLA_LINK_NETNSID" in attributes:
            return None
        return socket.if_indextoname(attributes["IFLA_LINK"])
    except Exception:  # noqa: BLE001  it is only a name in a hint
        return None
