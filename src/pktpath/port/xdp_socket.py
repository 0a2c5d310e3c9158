"""One AF_XDP socket with its four rings, bound to a queue of a device; a packet socket where a worker has none.

Each socket registers the same chunks as a UMEM of its own rather than share one (XDP_SHARED_UMEM): then no port
depends on another's being open, and each takes the mode that its driver has. Frames still pass between them uncopied,
for what counts a chunk's holders is the pool.

Source: Documentation/networking/af_xdp.rst, linux/if_xdp.h, packet(7).
"""

import contextlib
import ctypes
import errno
import mmap
import os
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from pktpath.errors import Refused
from pktpath.pool import NORMAL, Pool
from pktpath.port.xdp_rows import CHUNK, RINGS

_AF_XDP, _SOL_XDP = 44, 283
_MMAP_OFFSETS, _RX_RING, _TX_RING, _UMEM_REG, _FILL_RING, _DONE_RING, _STATISTICS, _OPTIONS = 1, 2, 3, 4, 5, 6, 7, 8
_MAX_TX_SKB_BUDGET = 9
_USE_NEED_WAKEUP, _USE_SG, _ZEROCOPY_IN_USE = 1 << 3, 1 << 4, 1
_PLACES = {"rx": 0, "tx": 1 << 31, "fill": 1 << 32, "done": 0x180000000}
"""Where a ring is found in a mapping of the socket."""
_ENTRY = {"rx": 16, "tx": 16, "fill": 8, "done": 8}
_SO_SNDBUFFORCE = 32
_SEND_ROOM = 8 << 20
_PATIENCE = 200
"""Attempts to bind to a queue that somebody has, 5 ms apart."""
_SOL_PACKET, _ADD_MEMBERSHIP, _MR_PROMISC, _QDISC_BYPASS = 263, 1, 1, 20
STATISTICS = (
    "rx_dropped",
    "rx_invalid_descs",
    "tx_invalid_descs",
    "rx_ring_full",
    "rx_fill_ring_empty_descs",
    "tx_ring_empty_descs",
)
_libc = ctypes.CDLL(None, use_errno=True)


class XdpSocket:
    """An open queue."""

    def __init__(self, pool: Pool, *, ifindex: int, queue: int, ring: int, pieces: bool) -> None:
        """Open and bind it.

        Args:
            pool: of the worker whose queue it is; the UMEM is its NORMAL chunks.
            ifindex: number of the device in the current network namespace.
            queue: number of the queue.
            ring: entries of each ring, a power of two.
            pieces: take frames of more than one chunk (XDP_USE_SG).

        Raises:
            OSError: the kernel refuses; what was opened is closed.

        """
        self.fd = -1
        self._maps: dict[str, tuple[mmap.mmap, Any]] = {}
        self._socket = socket.socket(_AF_XDP, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        try:
            self.fd = self._socket.fileno()
            self._register(pool)
            for option in (_FILL_RING, _DONE_RING, _RX_RING, _TX_RING):
                self._socket.setsockopt(_SOL_XDP, option, ring)
            # What is not there is not needed: frames then take more calls.
            with contextlib.suppress(OSError):
                self._socket.setsockopt(_SOL_XDP, _MAX_TX_SKB_BUDGET, ring)
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SEND_ROOM)
            self._offsets = self._map(ring)
            self.pieces = self._bind(ifindex, queue, pieces=pieces)
            (flags,) = struct.unpack("=I", self._socket.getsockopt(_SOL_XDP, _OPTIONS, 4))
            self.zero_copy = bool(flags & _ZEROCOPY_IN_USE)
        except OSError:
            self.close()
            raise

    def _register(self, pool: Pool) -> None:
        start = pool.mem.ctypes.data + int(pool.base[NORMAL])
        length = int(pool.first[NORMAL + 1] - pool.first[NORMAL]) * CHUNK
        self._socket.setsockopt(_SOL_XDP, _UMEM_REG, struct.pack("=QQIIII", start, length, CHUNK, 0, 0, 0))

    def _map(self, ring: int) -> dict[str, tuple[int, int, int, int]]:
        """Map the rings and return where producer, consumer, flags and entries of each lie in the process."""
        told = struct.unpack("=16Q", self._socket.getsockopt(_SOL_XDP, _MMAP_OFFSETS, 128))
        found = {}
        for k, name in enumerate(RINGS):
            producer, consumer, entries, flags = told[4 * k : 4 * k + 4]
            area = mmap.mmap(
                self.fd, entries + ring * _ENTRY[name], flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, offset=_PLACES[name]
            )
            view = np.frombuffer(area, np.uint8)
            self._maps[name] = area, view
            base = view.ctypes.data
            found[name] = base + producer, base + consumer, base + flags, base + entries
        return found

    def _bind(self, ifindex: int, queue: int, *, pieces: bool) -> bool:
        """Bind, and return whether frames may have more than one piece."""
        wished = (_USE_NEED_WAKEUP | _USE_SG, _USE_NEED_WAKEUP) if pieces else (_USE_NEED_WAKEUP,)
        for flags in wished:
            number = self._bind_with(flags, ifindex, queue)
            if number == 0:
                return bool(flags & _USE_SG)
            if number not in (errno.EINVAL, errno.EOPNOTSUPP):
                break
        raise OSError(number, os.strerror(number))

    def _bind_with(self, flags: int, ifindex: int, queue: int) -> int:
        """Return 0, or why not."""
        address = struct.pack("=HHIII", _AF_XDP, flags, ifindex, queue, 0)
        for _ in range(_PATIENCE):
            if _libc.bind(self.fd, address, len(address)) == 0:
                return 0
            number = ctypes.get_errno()
            if number != errno.EBUSY:
                break
            # Some time passes after a socket is closed, or its process has died, until the kernel gives its queue back.
            time.sleep(0.005)
        return number

    def write_row(self, row: Any) -> None:
        """Say in a row where the rings are."""
        for name, places in self._offsets.items():
            for what, address in zip(("producer", "consumer", "flags", "entries"), places, strict=True):
                row[f"{name}_{what}"] = address
        row["fd"] = self.fd
        row["zero_copy"] = self.zero_copy

    def lend(self, chunks: Sequence[int]) -> None:
        """Put the first chunks, by their number in the UMEM, into the fill ring, which is empty."""
        _, view = self._maps["fill"]
        base = view.ctypes.data
        producer, _, _, entries = (address - base for address in self._offsets["fill"])
        addresses = np.array(chunks, np.uint64) * CHUNK
        view[entries : entries + addresses.nbytes] = addresses.view(np.uint8)
        # After the addresses: the store is a call of numpy's own, and no machine here moves it before them.
        view[producer : producer + 4].view(np.uint32)[0] = len(chunks)

    def statistics(self) -> dict[str, int]:
        """Return what the kernel counted (XDP_STATISTICS)."""
        told = self._socket.getsockopt(_SOL_XDP, _STATISTICS, 48)
        return dict(zip(STATISTICS, struct.unpack(f"={len(told) // 8}Q", told), strict=False))

    def drain(self, tries: int) -> None:
        """Send what is left in the transmit ring, as far as the device takes it."""
        if "tx" not in self._offsets:
            return
        _, view = self._maps["tx"]
        producer, consumer = (view[at : at + 4].view(np.uint32) for at in (a - view.ctypes.data for a in self._offsets["tx"][:2]))
        for _ in range(tries):
            if producer[0] == consumer[0]:
                return
            try:
                self._socket.send(b"", socket.MSG_DONTWAIT)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EBUSY, errno.ENOBUFS):
                    return
                time.sleep(0.0001)

    def bound(self) -> bool:
        """Whether the device is still there; one that is down is."""
        try:
            self._socket.recv(1, socket.MSG_DONTWAIT)
        except OSError as error:
            return error.errno not in (errno.ENXIO, errno.EBADF)
        return True

    def close(self) -> None:
        """Close it; addresses in its row are no longer mapped."""
        self._offsets = {}
        self._socket.close()
        self.fd = -1
        for name in list(self._maps):
            area, view = self._maps.pop(name)
            del view
            area.close()


def packet_socket(device: str) -> socket.socket:
    """Return a packet socket that sends to a device and receives nothing.

    Raises:
        OSError: no permission or no such device.

    """
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    try:
        packets.bind((device, 0))
        packets.setsockopt(_SOL_PACKET, _QDISC_BYPASS, 1)
        with contextlib.suppress(OSError):
            packets.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SEND_ROOM)
    except OSError:
        packets.close()
        raise
    return packets


def make_promiscuous(packets: socket.socket, ifindex: int) -> None:
    """Let a device take frames for other stations while this packet socket is open.

    Raises:
        Refused: the device does not.

    """
    try:
        packets.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, struct.pack("=iHH8x", ifindex, _MR_PROMISC, 0))
    except OSError as error:
        message = f"the device takes no frames for other stations (promiscuous mode): {error.strerror}"
        raise Refused(message) from None
