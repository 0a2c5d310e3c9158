"""A network namespace of one's own with pairs of veth, and plain packet sockets at the far ends.

`near(n)` is where a port of ours is opened, `far(n)` where a test sends and listens.
"""

import contextlib
import ctypes
import json
import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_SOL_PACKET, _PACKET_AUXDATA, _PACKET_VNET_HDR, _PACKET_IGNORE_OUTGOING = 263, 8, 15, 23
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_libc = ctypes.CDLL(None, use_errno=True)
NO_HEADER = bytes(10)


@contextlib.contextmanager
def own_namespace() -> Iterator[None]:
    """Be in a network namespace of one's own; the processes started there too."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    if _libc.unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    try:
        run("ip link set lo up")
        run("sysctl -qw net.ipv6.conf.default.disable_ipv6=1 net.ipv6.conf.all.disable_ipv6=1")
        yield
    finally:
        assert _libc.setns(before, _CLONE_NEWNET) == 0
        os.close(before)


def enter(space: Path) -> None:
    """Let this thread live in the network namespace of such a file."""
    with space.open() as file:
        if _libc.setns(file.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


def run(command: str) -> str:
    return subprocess.run(command.split(), check=True, capture_output=True, text=True).stdout


def near(number: int) -> str:
    return f"near{number}"


def far(number: int) -> str:
    return f"far{number}"


def add_pair(number: int, *, mtu: int = 1500) -> None:
    run(f"ip link add {near(number)} mtu {mtu} type veth peer name {far(number)} mtu {mtu}")
    for name in (near(number), far(number)):
        run(f"ip link set {name} up")


def delete_pair(number: int) -> None:
    run(f"ip link del {near(number)}")


def promiscuity(name: str) -> int:
    """How many want all frames of an interface."""
    return json.loads(run(f"ip -j -d link show dev {name}"))[0]["promiscuity"]


class Far:
    """A packet socket with a virtio_net_hdr, as simple as can be."""

    def __init__(self, name: str) -> None:
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
        self.socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        self.socket.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 256 << 20)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 64 << 20)
        self.socket.bind((name, 3))
        self.socket.setblocking(False)

    def send(self, frame: bytes, header: bytes = NO_HEADER) -> None:
        self.socket.send(header + frame)

    def receive(self) -> list[tuple[bytes, bytes]]:
        """Return (header, frame) of all that has come; a tag that the kernel took out is put back."""
        out = []
        while True:
            try:
                data, control, _, _ = self.socket.recvmsg(1 << 18, 64)
            except BlockingIOError:
                return out
            header, frame = data[:10], data[10:]
            for _, _, content in control:
                status, _, _, _, _, tci, tpid = struct.unpack("IIIHHHH", content)
                if status & 16:
                    frame = frame[:12] + struct.pack("!HH", tpid, tci) + frame[12:]
            out.append((header, frame))

    def close(self) -> None:
        self.socket.close()


def vnet(flags: int = 0, kind: int = 0, length: int = 0, size: int = 0, start: int = 0, offset: int = 0) -> bytes:
    return struct.pack("<BBHHHH", flags, kind, length, size, start, offset)
