"""The running kernel as the judge of segmentation: how does it cut one super-frame?

A frame with a virtio_net_hdr leaves by a veth whose segmentation offloads are off, so the kernel cuts it in
software; the other end sees the wire frames. A sentinel frame ends each round. The devices live in
a network namespace that one short-lived thread enters, so this process stays where it is; the
namespace ends with the sockets.
"""

import ctypes
import os
import shutil
import socket
import struct
import subprocess
import threading

NEEDS_CSUM = 1
NONE, TCPV4, UDP, TCPV6, UDP_L4, ECN = 0, 1, 3, 4, 5, 0x80

_SOL_PACKET, _PACKET_VNET_HDR, _SO_RCVBUFFORCE, _SO_SNDBUFFORCE, _PACKET_OUTGOING = 263, 15, 33, 32, 4
_CLONE_NEWNET = 0x40000000
_SENTINEL = b"\x02" * 6 + b"\x04" * 6 + b"\x88\xb5"
_libc = ctypes.CDLL(None, use_errno=True)


def why_not():
    """Return why this machine cannot judge, or an empty string."""
    if os.geteuid():
        return "needs root"
    missing = [name for name in ("ip", "ethtool", "sysctl") if not shutil.which(name)]
    return f"needs {', '.join(missing)}" if missing else ""


class KernelGso:
    """A veth pair of its own; `checksum` and `gather` are what the sending end offloads."""

    def __init__(self, *, checksum=True, gather=True):
        self._switches = f"tx {'on' if checksum else 'off'} sg {'on' if gather else 'off'}"
        self._error = None
        thread = threading.Thread(target=self._make)
        thread.start()
        thread.join()
        if self._error:
            raise self._error
        self._round = 0

    def _make(self):
        try:
            _unshare(_CLONE_NEWNET)
            _run("ip link add gso0 type veth peer name gso1")
            for name in ("gso0", "gso1"):
                _run(f"sysctl -qw net.ipv6.conf.{name}.disable_ipv6=1")
                _run(f"ip link set {name} mtu 65535 up")
                _run(f"ethtool -K {name} tso off gso off gro off tx-udp-segmentation off")
            _run(f"ethtool -K gso0 {self._switches}")
            self._tx = _packet_socket("gso0", 0)
            self._rx = _packet_socket("gso1", 3)
            self._rx.settimeout(2)
        except (OSError, subprocess.CalledProcessError) as error:
            self._error = error

    def cut(self, frame, *, gso_type, gso_size, hdr_len, csum_start, csum_offset, flags=NEEDS_CSUM):
        """Return [(frame, partial)]: each wire frame, and (csum_start, csum_offset) or None."""
        header = struct.pack("<BBHHHH", flags, gso_type, hdr_len, gso_size, csum_start, csum_offset)
        self._round += 1
        sentinel = _SENTINEL + struct.pack("!Q", self._round) + bytes(38)
        self._tx.send(header + frame)
        self._tx.send(bytes(10) + sentinel)
        out = []
        while True:
            data, address = self._rx.recvfrom(1 << 18)
            if address[2] == _PACKET_OUTGOING:
                continue
            if data[10:] == sentinel:
                return out
            if data[10:24] != _SENTINEL:
                flags, _, _, _, start, offset = struct.unpack("<BBHHHH", data[:10])
                out.append((data[10:], (start, offset) if flags & NEEDS_CSUM else None))

    def close(self):
        """Close the sockets; the namespace and its devices go with them."""
        self._tx.close()
        self._rx.close()


def _unshare(flags):
    if _libc.unshare(flags):
        raise OSError(ctypes.get_errno(), "unshare")


def _run(command):
    subprocess.run(command.split(), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _packet_socket(name, protocol):
    packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
    packet.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
    packet.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 64 << 20)
    packet.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 64 << 20)
    packet.bind((name, protocol))
    return packet
