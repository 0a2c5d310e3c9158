"""What does the running kernel make of these frames in one NAPI poll?

A child process in network and mount namespaces of its own opens a TAP with threaded NAPI. At
real-time priority, on the CPU of the NAPI thread, it queues a round of frames, so the thread
cannot run until the round is complete; then the thread takes all of them in one poll. A packet
socket with PACKET_VNET_HDR reads what the stack was given.

The last frame of a round is a sentinel: one TCP frame of a flow of its own. It is held as the
youngest of bucket 0 and so comes out last. If it finds the bucket full, the frame that it evicts is
the oldest, which the end of the poll would have delivered first anyway: it changes nothing.
"""

import ctypes
import fcntl
import os
import pickle
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Self

MOST_FRAMES = 60
UNKNOWN_ETHERTYPE = 0x88B5
"""The one ethertype beside IPv4, IPv6 and ARP whose place in the order can be seen."""
LINEAR = 3712
"""What the TAP driver puts into the linear part of an skb at most; it shows in hdr_len."""
VnetHdr = tuple[int, int, int, int, int, int]
"""flags, gso_type, hdr_len, gso_size, csum_start, csum_offset."""
Round = list[tuple[VnetHdr, bytes]]

_DEVICE = "gro0"
_MTU = 9000
_CLONE_NEWNET, _CLONE_NEWNS = 0x40000000, 0x00020000
_TUNSETIFF, _IFF_TAP, _IFF_NAPI, _IFF_NO_PI, _IFF_VNET_HDR = 0x400454CA, 2, 0x10, 0x1000, 0x4000
_SOL_PACKET, _PACKET_VNET_HDR, _PACKET_IGNORE_OUTGOING, _SO_RCVBUFFORCE = 263, 15, 23, 33
_NO_VNET_HDR = bytes(10)
_SENTINEL = bytes.fromhex(
    "02fffffffffe02ffffffffff080045000029000040004006b6cbc0000201c00002020001000200000000000000005010ffffd3cc000058"
)


def why_unavailable() -> str | None:
    """Say what is missing to ask the kernel, or None."""
    if not os.uname().release.startswith("6.18."):
        return f"the kernel oracle judges the rules of 6.18, this kernel is {os.uname().release}"
    if os.geteuid() != 0:
        return "the kernel oracle needs root"
    for program in ("ip", "ethtool", "mount"):
        if shutil.which(program) is None:
            return f"the kernel oracle needs {program}"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "the kernel oracle needs /dev/net/tun"
    return None


class KernelGro:
    """The oracle, as seen by a test: a context manager around the child process."""

    def __init__(self) -> None:
        self._child = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        if self._receive() != "ready":
            message = "the kernel oracle did not start"
            raise RuntimeError(message)

    def run(self, frames: Sequence[bytes], vnet_hdrs: Sequence[bytes] = ()) -> Round:
        """Return what one poll over `frames` delivers, in order."""
        return self.run_rounds([(frames, vnet_hdrs)])[0]

    def run_rounds(self, rounds: Sequence[tuple[Sequence[bytes], Sequence[bytes]]]) -> list[Round]:
        """Return what each of many polls delivers."""
        pickle.dump([(list(frames), list(headers)) for frames, headers in rounds], self._child.stdin)
        self._child.stdin.flush()
        return self._receive()

    def _receive(self):
        try:
            return pickle.load(self._child.stdout)
        except EOFError:
            self._child.wait()
            message = f"the kernel oracle died: {self._child.stderr.read().decode()}"
            raise RuntimeError(message) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.stdin.close()
        self._child.wait(10)
        self._child.stdout.close()
        self._child.stderr.close()


class _Tap:
    """In the child: the device, its NAPI thread and the packet socket."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_CLONE_NEWNET | _CLONE_NEWNS):
            raise OSError(ctypes.get_errno(), "unshare")
        _run("mount", "--make-rprivate", "/")
        _run("mount", "-t", "sysfs", "none", "/sys")
        self.tap = os.open("/dev/net/tun", os.O_RDWR)
        flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR | _IFF_NAPI
        fcntl.ioctl(self.tap, _TUNSETIFF, struct.pack("16sH22x", _DEVICE.encode(), flags))
        _write(f"/proc/sys/net/ipv6/conf/{_DEVICE}/disable_ipv6", "1")
        _run("ethtool", "-K", _DEVICE, "rx-udp-gro-forwarding", "on")
        before = _napi_threads()
        _run("ip", "link", "set", _DEVICE, "up", "mtu", str(_MTU))
        _write(f"/sys/class/net/{_DEVICE}/threaded", "1")
        self.cpu = min(os.sched_getaffinity(0))
        threads = _napi_threads() - before
        if not threads:
            message = "no NAPI thread: the kernel is older than 5.12"
            raise RuntimeError(message)
        for thread in threads:
            os.sched_setaffinity(thread, {self.cpu})
        os.sched_setaffinity(0, {self.cpu})
        self.reader = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.reader.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
        self.reader.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        self.reader.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 64 << 20)
        self.reader.bind((_DEVICE, 0))
        self.reader.settimeout(5)
        # The stack gives a frame of a protocol that nobody handles to a packet socket later than
        # others, out of order. So someone handles the one that tests use.
        self.handler = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(UNKNOWN_ETHERTYPE))
        self.handler.bind((_DEVICE, UNKNOWN_ETHERTYPE))

    def round(self, frames: Sequence[bytes], vnet_hdrs: Sequence[bytes]) -> Round:
        if len(frames) > MOST_FRAMES:
            message = f"a round takes {MOST_FRAMES} frames, not {len(frames)}"
            raise ValueError(message)
        headers = vnet_hdrs or [_NO_VNET_HDR] * len(frames)
        queue = [header + frame for header, frame in zip(headers, frames, strict=True)]
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
        try:
            for frame in queue:
                os.write(self.tap, frame)
            os.write(self.tap, _NO_VNET_HDR + _SENTINEL)
        finally:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        delivered: Round = []
        while True:
            data = self.reader.recv(1 << 18)
            if data[10:] == _SENTINEL:
                return delivered
            delivered.append((struct.unpack("<BBHHHH", data[:10]), data[10:]))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _write(path: str, text: str) -> None:
    Path(path).write_text(text)


def _napi_threads() -> set[int]:
    """Return the kernel threads named after the device's NAPI; others may exist in other namespaces."""
    found = set()
    for name in Path("/proc").glob("[0-9]*/comm"):
        try:
            if name.read_text().startswith(f"napi/{_DEVICE}"):
                found.add(int(name.parent.name))
        except OSError:
            continue
    return found


def _serve(requests: BinaryIO, replies: BinaryIO) -> None:
    tap = _Tap()
    pickle.dump("ready", replies)
    replies.flush()
    while True:
        try:
            rounds = pickle.load(requests)
        except EOFError:
            return
        pickle.dump([tap.round(frames, headers) for frames, headers in rounds], replies)
        replies.flush()


if __name__ == "__main__":
    _serve(sys.stdin.buffer, sys.stdout.buffer)
