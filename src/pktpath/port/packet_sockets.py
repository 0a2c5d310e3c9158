"""Packet sockets as the port wants them: options in the order that the kernel asks for, errors in one line.

What a socket switches on (promiscuous mode, fanout, a ring), the kernel switches off when its last descriptor is
closed, however the process ends. Source: packet(7), include/uapi/linux/if_packet.h, net/packet/af_packet.c.
"""

import errno
import fcntl
import socket
import struct
from difflib import get_close_matches
from typing import NamedTuple

from pktpath.errors import BadInput, Refused

ETH_P_ALL = 3
_SOL_PACKET = 263
_ADD_MEMBERSHIP, _RX_RING, _STATISTICS, _COPY_THRESH, _AUXDATA = 1, 5, 6, 7, 8
_VERSION, _RESERVE, _VNET_HDR, _FANOUT, _QDISC_BYPASS, _IGNORE_OUTGOING = 10, 12, 15, 18, 20, 23
_PROMISC = 1
_TPACKET_V2 = 1
_FANOUT_HASH, _FANOUT_UNIQUE_ID, _FANOUT_IGNORE_OUTGOING = 0, 0x2000, 0x4000
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_SIOCGIFMTU, _SIOCGIFHWADDR, _SIOCGIFINDEX = 0x8921, 0x8927, 0x8933
_ARPHRD_ETHER, _ARPHRD_LOOPBACK = 1, 772
_NAME_LENGTH = 15
_BLOCK = 1 << 18
BUFFER = 64 << 20
"""Bytes that may wait in a socket: some hundreds of super-frames."""
RESERVE = 6
"""Bytes before the headers in a slot, so that the IP header lies at a multiple of 16."""


class Interface(NamedTuple):
    """What a packet socket needs to know of an interface."""

    name: str
    ifindex: int
    mtu: int


def look_up(name: str) -> Interface:
    """Return what the kernel says of an interface.

    Raises:
        BadInput: there is none of this name, or its frames are not Ethernet's.

    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        request = name.encode(errors="surrogateescape")
        if not 0 < len(request) <= _NAME_LENGTH or b"\0" in request:
            raise BadInput(_unknown(name))
        try:
            ifindex = _ask(asking, _SIOCGIFINDEX, request)
            mtu = _ask(asking, _SIOCGIFMTU, request)
            kind = _ask(asking, _SIOCGIFHWADDR, request) & 0xFFFF
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            raise BadInput(_unknown(name)) from None
    if kind not in (_ARPHRD_ETHER, _ARPHRD_LOOPBACK):
        message = f"{name}: no Ethernet interface (its link type is {kind}); a packet port takes Ethernet alone"
        raise BadInput(message)
    return Interface(name, ifindex, mtu)


def _ask(asking: socket.socket, request: int, name: bytes) -> int:
    answer = fcntl.ioctl(asking, request, struct.pack("16s24x", name))
    return int(struct.unpack_from("i", answer, 16)[0])


def _unknown(name: str) -> str:
    known = [known for _, known in socket.if_nameindex()]
    near = get_close_matches(name, known, n=3, cutoff=0.3) or known
    return f"{name}: no such interface; nearest: {', '.join(near)}" if near else f"{name}: no such interface; there is none"


def open_socket(interface: Interface) -> socket.socket:
    """Return a packet socket that neither receives nor is bound yet; its frames have a virtio_net_hdr.

    Raises:
        Refused: without CAP_NET_RAW, or the kernel has no packet sockets.

    """
    try:
        packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError:
        message = f"{interface.name}: a packet port needs CAP_NET_RAW: run as root or grant it"
        raise Refused(message) from None
    packet.setsockopt(_SOL_PACKET, _VNET_HDR, 1)
    return packet


def refused(interface: Interface, error: OSError) -> Refused:
    """Return the error of one line for what the kernel did not do."""
    if error.errno in (errno.EPERM, errno.EACCES):
        return Refused(f"{interface.name}: a packet port needs CAP_NET_RAW: run as root or grant it")
    return Refused(f"{interface.name}: the kernel refuses a packet port: {error.strerror}")


def grow(packet: socket.socket, *, send: bool) -> None:
    """Let much wait in a socket; without CAP_NET_ADMIN as much as net.core.[rw]mem_max allows."""
    force, plain = (_SO_SNDBUFFORCE, socket.SO_SNDBUF) if send else (_SO_RCVBUFFORCE, socket.SO_RCVBUF)
    try:
        packet.setsockopt(socket.SOL_SOCKET, force, BUFFER)
    except PermissionError:
        packet.setsockopt(socket.SOL_SOCKET, plain, BUFFER)


def make_ring(packet: socket.socket, slots: int, slot_bytes: int) -> int:
    """Give an unbound socket a receive ring; return its length in bytes.

    A frame that does not fit its slot comes a second time through the socket.
    """
    packet.setsockopt(_SOL_PACKET, _VERSION, _TPACKET_V2)
    packet.setsockopt(_SOL_PACKET, _RESERVE, RESERVE)
    packet.setsockopt(_SOL_PACKET, _COPY_THRESH, 1)
    length = slots * slot_bytes
    block = min(_BLOCK, length)
    packet.setsockopt(_SOL_PACKET, _RX_RING, struct.pack("4I", block, length // block, slot_bytes, slots))
    return length


def start(sockets: list[socket.socket], interface: Interface) -> None:
    """Let sockets receive what comes to an interface, whomever it is for, each frame in one of them.

    Until all share the frames, a filter lets none pass: else each would get all of them.
    """
    for packet in sockets:
        packet.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        packet.setsockopt(_SOL_PACKET, _AUXDATA, 1)
        if len(sockets) > 1:
            _drop_all(packet)
        packet.bind((interface.name, ETH_P_ALL))
    membership = struct.pack("iHH8x", interface.ifindex, _PROMISC, 0)
    sockets[0].setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, membership)
    if len(sockets) == 1:
        return
    kind = (_FANOUT_HASH | _FANOUT_IGNORE_OUTGOING) << 16
    sockets[0].setsockopt(_SOL_PACKET, _FANOUT, kind | _FANOUT_UNIQUE_ID << 16)
    group = sockets[0].getsockopt(_SOL_PACKET, _FANOUT) & 0xFFFF
    for packet in sockets[1:]:
        packet.setsockopt(_SOL_PACKET, _FANOUT, kind | group)
    for packet in sockets:
        packet.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)


def _drop_all(packet: socket.socket) -> None:
    import ctypes

    program = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))  # ret #0
    packet.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HxxxxxxP", 1, ctypes.addressof(program)))


def bind_sender(packet: socket.socket, interface: Interface, *, qdisc_bypass: bool) -> None:
    """Bind a socket that receives nothing."""
    if qdisc_bypass:
        packet.setsockopt(_SOL_PACKET, _QDISC_BYPASS, 1)
    packet.bind((interface.name, 0))


def is_bound(packet: socket.socket) -> bool:
    """Whether the interface of a socket is still there, under whatever name."""
    try:
        return bool(packet.getsockname()[0])
    except OSError:
        return False


def dropped(packet: socket.socket) -> int:
    """Frames that found no room at the socket since the last call."""
    _, drops = struct.unpack("2I", packet.getsockopt(_SOL_PACKET, _STATISTICS, 8))
    return int(drops)
