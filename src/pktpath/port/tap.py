"""TAP interfaces as ports: made here, gone with the process, and as the port through which a bridge's own host talks.

The kernel is the other end: what it sends through the interface is received here, what is sent here arrives there. Both ways
super-frames and partial checksums pass with a virtio_net_hdr. Source: tun(4), Documentation/networking/tuntap.rst.
"""

import errno
import fcntl
import os
import socket
import struct
from typing import Any

from pktpath.errors import BadInput, Refused
from pktpath.features import Feature
from pktpath.port.live import Kind, Memory, RxQueue
from pktpath.port.live_features import RECEIVES, VIRTIO
from pktpath.port.live_rows import claim_row, counters_of, free_row, make_rows
from pktpath.port.tap_io import TAP_ROW
from pktpath.port.virtio import HEADER_LENGTH

MAX_TAP_QUEUES = 256
"""Queues that Linux gives a TAP."""
_DEVICE = "/dev/net/tun"
_SETIFF, _GETIFF, _SETOFFLOAD, _SETVNETHDRSZ = 0x400454CA, 0x800454D2, 0x400454D0, 0x400454D8
_TAP, _MULTI_QUEUE, _NO_PI, _VNET_HDR = 0x0002, 0x0100, 0x1000, 0x4000
_CSUM, _TSO, _USO, _TUNNEL, _TUNNEL_CSUM = 0x01, 0x0E, 0x60, 0x80, 0x100
"""TUN_F_*: TSO is both families and ECN; Linux takes USO for both families or for none."""
_OFFLOADS = {"csum": _CSUM, "tso": _CSUM | _TSO, "uso": _CSUM | _TSO | _USO, "udp_tunnel": _CSUM | _TSO | _TUNNEL,
             "udp_tunnel_csum": _CSUM | _TSO | _TUNNEL | _TUNNEL_CSUM}  # fmt: skip
_GIFFLAGS, _SIFFLAGS, _SIFMTU, _SIFHWADDR = 0x8913, 0x8914, 0x8922, 0x8924
_UP, _ARPHRD_ETHER = 1, 1
_NAME_LENGTH = 15


def make_tap_rows() -> Any:
    """Return the table of all queues of this kind."""
    return make_rows(TAP_ROW)


class TapPort:
    """A TAP interface; it may be moved to another network namespace while it is open.

    `RXCSUM` lets the kernel leave checksums to us, `GRO_HW` lets it send super-frames, as a virtio network card has it.
    """

    kind = "tap"

    def __init__(
        self, interface: str, memory: Memory, rows: Any, *, name: str = "", number: int = 0, queues: int = 1, mtu: int = 1500
    ) -> None:
        """Create the interface, or open it where it persists, with every offload that the kernel offers.

        Args:
            interface: its name, at most 15 bytes.
            memory: not needed: frames are read into chunks.
            rows: the table of `make_tap_rows`.
            name: the port's name, the interface's without.
            number: the port's number in the datapath: `in_port` of its frames.
            queues: pairs of queues; the kernel chooses among them by flow.
            mtu: what the port says of itself; `set_up` tells the kernel.

        Raises:
            BadInput: no interface can have this name, or so many queues.
            Refused: no permission, the name is taken, or the kernel has no TAPs.

        """
        encoded = interface.encode()
        if not 0 < len(encoded) <= _NAME_LENGTH or interface in (".", "..") or any(c in "/:%" or c.isspace() for c in interface):
            message = f"{interface!r}: no name for an interface: 1 to {_NAME_LENGTH} bytes without /, :, % and white space"
            raise BadInput(message)
        if not 1 <= queues <= MAX_TAP_QUEUES:
            message = f"{interface}: queues={queues}: 1 to {MAX_TAP_QUEUES}"
            raise BadInput(message)
        self.name, self.mtu, self.number = name or interface, mtu, number
        self._interface = interface
        self.rx: tuple[RxQueue, ...] = ()
        self._rows = rows
        self._fds: list[int] = []
        self._tx: dict[int, int] = {}
        try:
            for _ in range(queues):
                self._fds.append(self._open_queue(encoded, queues))
            self.offered = tuple(word for word, bits in _OFFLOADS.items() if self._offload(bits))
            """What the kernel would offload: csum, tso, uso, udp_tunnel, udp_tunnel_csum; tunnels are not asked for."""
            uso = Feature.GSO_UDP_L4 if "uso" in self.offered else Feature.NONE
            self.able = (VIRTIO & ~Feature.GSO_UDP_L4) | uso | RECEIVES | Feature.RXCSUM | Feature.GRO_HW
            self.default = self.able & ~Feature.GRO_UDP_FWD
            self.set_features(self.default)
            for queue, fd in enumerate(self._fds):
                row = self._claim(fd)
                self.rx += (RxQueue(Kind.TAP, row, queue, fd),)
        except BaseException:
            self.close()
            raise
        self.options = {"queues": str(queues)} if queues > 1 else {}

    @property
    def counters(self) -> dict[str, int]:
        """What all queues of the port counted."""
        return counters_of(self._rows, (*(queue.row for queue in self.rx), *self._tx.values()))

    def set_up(self, *, mtu: int | None = None, mac: bytes | None = None) -> None:
        """Give the interface its MTU and address and bring it up; it must still be in this thread's network namespace.

        Raises:
            Refused: the kernel takes one of them not.

        """
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asking:
            if mac is not None:
                self._tell(asking, _SIFHWADDR, struct.pack("H6s", _ARPHRD_ETHER, mac), f"address {mac.hex(':')}")
            if mtu is not None:
                self._tell(asking, _SIFMTU, struct.pack("i", mtu), f"mtu={mtu}")
                self.mtu = mtu
            (flags,) = struct.unpack_from("h", self._tell(asking, _GIFFLAGS, b"", "flags"), 16)
            self._tell(asking, _SIFFLAGS, struct.pack("h", flags | _UP), "up")

    def tx(self, worker: int) -> tuple[Kind, int]:
        """Kind and row of the transmit queue that this worker uses: the kernel sends a flow back where it came from."""
        if worker not in self._tx:
            self._tx[worker] = self._claim(self._fds[worker % len(self._fds)])
        return Kind.TAP, self._tx[worker]

    def set_features(self, active: Feature) -> None:
        """Tell the kernel what it may leave to us."""
        wanted = 0
        if active & Feature.RXCSUM and "csum" in self.offered:
            wanted = _CSUM
            if active & Feature.GRO_HW:
                wanted = _OFFLOADS["uso" if "uso" in self.offered else "tso"] if "tso" in self.offered else wanted
        self._offload(wanted)

    def alive(self) -> bool:
        """Whether the interface is still there."""
        if not self._fds:
            return False
        try:
            fcntl.ioctl(self._fds[0], _GETIFF, bytes(40))
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close every queue; an interface that does not persist is gone with the last one. No thread may use them any more."""
        rows = (*(queue.row for queue in self.rx), *self._tx.values()) if self._fds else ()
        for row in rows:
            free_row(self._rows, row)
        while self._fds:
            os.close(self._fds.pop())

    def _open_queue(self, encoded: bytes, queues: int) -> int:
        try:
            fd = os.open(_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            message = f"{self._interface}: {_DEVICE}: {error.strerror}: load the module tun, and let this user read and write it"
            raise Refused(message) from None
        try:
            flags = _TAP | _NO_PI | _VNET_HDR | _MULTI_QUEUE
            try:
                fcntl.ioctl(fd, _SETIFF, struct.pack("16sH22x", encoded, flags))
            except OSError as error:
                if error.errno != errno.EINVAL or queues > 1:
                    raise
                # One that persists may have been made for a single queue.
                fcntl.ioctl(fd, _SETIFF, struct.pack("16sH22x", encoded, flags & ~_MULTI_QUEUE))
            fcntl.ioctl(fd, _SETVNETHDRSZ, struct.pack("i", HEADER_LENGTH))
        except OSError as error:
            os.close(fd)
            message = f"{self._interface}: {_why(error)}"
            raise Refused(message) from None
        return fd

    def _offload(self, bits: int) -> bool:
        try:
            fcntl.ioctl(self._fds[0], _SETOFFLOAD, bits)
        except OSError:
            return False
        return True

    def _claim(self, fd: int) -> int:
        row = claim_row(self._rows, self.name)
        self._rows.fd[row] = fd
        self._rows.in_port[row] = self.number
        return row

    def _tell(self, asking: socket.socket, request: int, value: bytes, what: str) -> bytes:
        try:
            return fcntl.ioctl(asking, request, struct.pack("16s24s", self._interface.encode(), value))
        except OSError as error:
            message = f"{self._interface}: the kernel refuses {what}: {error.strerror}"
            raise Refused(message) from None


class InternalPort(TapPort):
    """The port of a bridge that its own host talks through (LOCAL): a TAP with the bridge's name."""

    kind = "internal"


def _why(error: OSError) -> str:
    if error.errno == errno.EPERM:
        return "a TAP needs CAP_NET_ADMIN, or one that persists and belongs to this user"
    if error.errno == errno.EBUSY:
        return "another program has this TAP open: close it, or choose another name"
    if error.errno == errno.EINVAL:
        return "the name belongs to an interface that is no TAP, or to a TAP without these queues: choose another name"
    return f"no TAP: {error.strerror}"
