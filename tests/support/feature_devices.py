"""Devices of several kinds in network namespaces of their own, to switch features on.

A namespace belongs to one thread, in which whatever is done there runs; it goes with the thread, and its devices
with it. Devices of two namespaces may have one name, and then their texts can be compared as they are.
"""

import contextlib
import ctypes
import fcntl
import io
import os
import struct
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _TUNSETOFFLOAD, _IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x400454CA, 0x400454D0, 2, 0x1000, 0x4000
_ALL_OFFLOADS = 0x1 | 0x2 | 0x4 | 0x8 | 0x20 | 0x40
"""TUN_F_CSUM, _TSO4, _TSO6, _TSO_ECN, _USO4, _USO6."""
KINDS = {
    "lo": "",
    "veth": "link add veth type veth peer name other",
    "bridge": "link add bridge type bridge",
    "vxlan": "link add vxlan type vxlan id 5 dstport 4789",
    "ifb": "link add ifb type ifb",
    "tap": "tuntap add tap mode tap",
    "tap_open": "tuntap add tap_open mode tap vnet_hdr",
}
"""What `ip` does to make a device of a kind; the device is called as its kind is."""


class Namespace:
    """A network namespace with one device of every kind in it."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._files: list[int] = []
        self.missing: dict[str, str] = {}
        """Kinds that this kernel cannot make, and what `ip` said."""
        self.do(self._enter)

    def do(self, function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        """Run a function in the namespace."""
        return self._pool.submit(function, *arguments, **keywords).result()

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program in the namespace."""
        return self.do(subprocess.run, command, capture_output=True, text=True, check=False)

    def call(self, function: Callable[..., int], *arguments: Any, **keywords: Any) -> tuple[int, str, str]:
        """Run a command's function in the namespace; return its status and what it wrote."""

        def captured() -> tuple[int, str, str]:
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = function(*arguments, **keywords)
            return status, out.getvalue(), err.getvalue()

        return self.do(captured)

    def _enter(self) -> None:
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        for kind, words in KINDS.items():
            done = subprocess.run(["ip", *words.split()], capture_output=True, text=True, check=False) if words else None
            if done and done.returncode:
                self.missing[kind] = done.stderr.strip()
        tap = os.open("/dev/net/tun", os.O_RDWR)
        self._files.append(tap)
        fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", b"tap_open", _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR))
        fcntl.ioctl(tap, _TUNSETOFFLOAD, _ALL_OFFLOADS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            os.close(file)
        self._pool.shutdown()
