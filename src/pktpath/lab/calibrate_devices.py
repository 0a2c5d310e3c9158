"""A network namespace with pairs of devices, and TCP sockets in it that need no other end.

The namespace has no name and belongs to this process: whatever ends the process, the kernel takes all of it away.
"""

import ctypes
import errno
import socket
import struct
from pathlib import Path
from typing import Any

from pktpath.errors import BadInput, Refused
from pktpath.host.features import write_features
from pktpath.lab.calibrate_bpf import attach
from pktpath.lab.calibrate_figures import Unmeasurable
from pktpath.lab.calibrate_process import libc

_CLONE_NEWNET = 0x40000000
_NUD_PERMANENT = 0x80
_SO_RCVBUFFORCE = 33
_TCP_REPAIR, _TCP_REPAIR_QUEUE, _TCP_QUEUE_SEQ, _TCP_REPAIR_OPTIONS, _TCP_REPAIR_WINDOW = 19, 20, 21, 22, 29
_NO_QUEUE, _RECEIVE, _SEND = 0, 1, 2
_OFF_NO_PROBE = -1
_TCPOPT_MSS, _TCPOPT_WINDOW = 2, 3
_SCALES = 7 | 10 << 16
"""Window scales, of what is sent and of what is received."""
ACK, FIRST = 1000, 1_000_000
"""Sequence numbers: what the other end acknowledges, and the first byte that it sends."""
_WINDOW = 8 << 20
_NOBODY = "02:00:00:00:00:77"
"""The station that acknowledgements go to; the other device of a pair takes it for somebody else's."""


def enter_namespace() -> None:
    """Go into a new network namespace.

    Raises:
        Unmeasurable: it is not allowed.

    """
    if libc.unshare(_CLONE_NEWNET):
        if ctypes.get_errno() == errno.EPERM:
            message = "a network namespace needs CAP_SYS_ADMIN (run as root)"
        else:
            message = "no network namespaces (CONFIG_NET_NS)"
        raise Unmeasurable(message)


class Pair:
    """A veth: frames sent to `ifindex` arrive at the other device, in the poll of its NAPI instance."""

    def __init__(self, ipr: Any, number: int, program: int, *, gro: bool) -> None:
        """Make it, with an XDP program at the receiving device.

        Raises:
            Unmeasurable: GRO cannot be switched.
            NetlinkError: the kernel makes no such devices.
            OSError: nor lets a program look at their frames.

        """
        sender, receiver = f"calibrate{number}a", f"calibrate{number}b"
        self.address, self.other = f"192.0.2.{4 * number + 1}", f"192.0.2.{4 * number + 2}"
        ipr.link("add", ifname=sender, kind="veth", peer={"ifname": receiver})
        self.ifindex, index = (int(ipr.link_lookup(ifname=name)[0]) for name in (sender, receiver))
        for name in (sender, receiver):
            _write(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "1")
        _write(f"/proc/sys/net/ipv4/conf/{receiver}/rp_filter", "0")
        ipr.addr("add", index=index, address=self.address, prefixlen=30)
        for end in (self.ifindex, index):
            ipr.link("set", index=end, state="up")
        ipr.neigh("add", dst=self.other, lladdr=_NOBODY, ifindex=index, state=_NUD_PERMANENT)
        text = str(dict(ipr.get_links(index)[0]["attrs"])["IFLA_ADDRESS"])
        self.station = bytes.fromhex(text.replace(":", ""))
        self._program = attach(program, index)
        # A program in the driver switches GRO on; so this comes after it.
        try:
            write_features(receiver, {"rx-gro": gro})
        except (BadInput, Refused) as error:
            raise Unmeasurable(str(error)) from None

    def connection(self, port: int) -> socket.socket:
        """Return an established connection from `port` to `port` of an end that does not exist.

        The kernel makes one for whoever restores a process (TCP_REPAIR, tcp(7)).

        Raises:
            Unmeasurable: the kernel does not.

        """
        connection = socket.socket()
        try:
            self._establish(connection, port)
        except OSError as error:
            connection.close()
            what = "needs CAP_NET_ADMIN" if error.errno in {errno.EPERM, errno.EACCES} else f"failed: {error.strerror}"
            message = f"a TCP connection without an other end (TCP_REPAIR) {what}"
            raise Unmeasurable(message) from None
        return connection

    def _establish(self, connection: socket.socket, port: int) -> None:
        tcp = socket.IPPROTO_TCP
        connection.setsockopt(tcp, _TCP_REPAIR, 1)
        connection.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 2 * _WINDOW)
        for queue, first in ((_SEND, ACK), (_RECEIVE, FIRST)):
            connection.setsockopt(tcp, _TCP_REPAIR_QUEUE, queue)
            connection.setsockopt(tcp, _TCP_QUEUE_SEQ, first)
        connection.bind((self.address, port))
        connection.connect((self.other, port))
        connection.setsockopt(tcp, _TCP_REPAIR_OPTIONS, struct.pack("=IIII", _TCPOPT_MSS, 1460, _TCPOPT_WINDOW, _SCALES))
        connection.setsockopt(tcp, _TCP_REPAIR_WINDOW, struct.pack("=IIIII", FIRST, 65535, 65535, _WINDOW, FIRST))
        connection.setsockopt(tcp, _TCP_REPAIR_QUEUE, _NO_QUEUE)
        connection.setsockopt(tcp, _TCP_REPAIR, _OFF_NO_PROBE)
        connection.setblocking(False)

    def frame(self, port: int, payload: int, ethertype: int = 0x0800) -> bytes:
        """Return a frame of the connection for `calibrate_bpf.stream`; `payload` is 4 bytes at least."""
        source, target = socket.inet_aton(self.other), socket.inet_aton(self.address)
        content = b"\xff" * 4 + bytes(payload - 4)
        tcp = struct.pack("!HHIIBBHHH", port, port, 0, ACK, 0x50, 0x10, 0xFFFF, 0, 0)
        pseudo = source + target + struct.pack("!BBH", 0, 6, len(tcp) + payload)
        tcp = tcp[:16] + _checksum(pseudo + tcp + content) + tcp[18:]
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40 + payload, 0, 0x4000, 64, 6, 0, source, target)
        ip = ip[:10] + _checksum(ip) + ip[12:]
        return self.station + bytes.fromhex("020000000099") + struct.pack("!H", ethertype) + ip + tcp + content


def _checksum(content: bytes) -> bytes:
    """Return the checksum of an even number of bytes, RFC 1071."""
    total = sum(struct.unpack(f"!{len(content) // 2}H", content))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)


def _write(path: str, text: str) -> None:
    """Write a sysctl; where they are read-only the default has to do."""
    try:
        Path(path).write_text(text)
    except OSError:
        return
