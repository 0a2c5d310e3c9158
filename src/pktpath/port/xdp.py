"""A port on AF_XDP: a small program in the driver, or behind it, hands every frame of a device to sockets of ours.

Frames lie in chunks of the pool of the worker that polls a queue, so a queue stays with its worker. It carries no
offload, and the kernel cannot mark a frame whose checksum its sender left unfinished: `warnings` says what to switch.
Link, sockets and the promiscuous mode belong to file descriptors: the kernel undoes them, however the process ends.

Source: Documentation/networking/af_xdp.rst, linux/if_link.h (XDP_FLAGS_*).
"""

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pktpath.errors import BadInput, Refused
from pktpath.features import Feature
from pktpath.host.genetlink import no_device
from pktpath.pool import NORMAL, Pool, chunk_alloc, chunk_put
from pktpath.port.bpf_syscall import MAP_XSK, create_map, update_map
from pktpath.port.live import Kind, Queues, RxQueue
from pktpath.port.xdp_device import HEADER, MODES, ROOM, attach_program, checksum_warnings, ethernet_mtu, receive_queues
from pktpath.port.xdp_rows import CHUNK, COUNTERS, PIECES
from pktpath.port.xdp_socket import XdpSocket, make_promiscuous, packet_socket

_LEAST_CHUNKS = 64
_SETTLE = 1000


class XdpPort:
    """A live port; see `LivePort`. While it opens and closes, its workers stand still: it takes chunks of their pools."""

    kind = "xdp"
    able = Feature.GRO | Feature.RXCSUM
    default = Feature.GRO

    def __init__(
        self,
        name: str,
        number: int,
        queues: Queues,
        pools: Sequence[Pool],
        *,
        interface: str | None = None,
        mode: str = "auto",
        rx_queues: int | None = None,
        ring: int = 2048,
        homes: Sequence[int] | None = None,
    ) -> None:
        """Open it in the network namespace of this thread; later that may be another one.

        Args:
            name: the port's name.
            number: what frames have as `in_port`.
            queues: the tables of all queues.
            pools: the pool of each worker.
            interface: the device, if it is not the port's name.
            mode: `native` in the driver, `generic` behind it, `auto` the first of them that works.
            rx_queues: how many of the device's queues to open, from 0 on; all of them without.
            ring: entries of each ring, a power of two from 64 to 32,768.
            homes: the worker of each queue; in turn without.

        Raises:
            BadInput: no such device, a value that cannot be.
            Refused: no permission, or the kernel says no.

        """
        self.name = name
        self._device = interface or name
        self._queues, self._pools, self._number = queues, pools, number
        self._table = queues.xdp
        self._undo = contextlib.ExitStack()
        self._link: contextlib.ExitStack = contextlib.ExitStack()
        self._sockets: dict[int, XdpSocket] = {}
        self._tx: dict[int, int] = {}
        self._warnings: list[str] = []
        self._gone: dict[str, int] = dict.fromkeys((*COUNTERS, "rx_over_errors"), 0)
        self._check(mode, ring, rx_queues)
        try:
            self._open(mode, ring, rx_queues, homes)
        except BaseException:
            self.close()
            raise

    def _check(self, mode: str, ring: int, rx_queues: int | None) -> None:
        message = ""
        if mode not in MODES:
            message = f"mode is {', '.join(MODES[:-1])} or {MODES[-1]}, not {mode!r}"
        elif not 64 <= ring <= 1 << 15 or ring & (ring - 1):
            message = f"a ring has a power of two of entries, 64 to 32768, not {ring}"
        elif rx_queues is not None and rx_queues < 1:
            message = f"at least one queue, not {rx_queues}"
        elif any(int(pool.base[NORMAL]) % 4096 for pool in self._pools):
            message = "a worker's chunks do not begin at a page"
        if message:
            message = f"{self.name}: {message}"
            raise BadInput(message)

    def _open(self, mode: str, ring: int, rx_queues: int | None, homes: Sequence[int] | None) -> None:
        try:
            self._ifindex = socket.if_nametoindex(self._device)
        except OSError:
            raise no_device(self._device) from None
        self.mtu = ethernet_mtu(self._device)
        count = self._count(rx_queues)
        self.homes = tuple(homes) if homes is not None else tuple(queue % len(self._pools) for queue in range(count))
        """Worker of each receive queue."""
        if len(self.homes) != count or not all(0 <= home < len(self._pools) for home in self.homes):
            message = f"{self.name}: {count} queues need a worker each, 0 to {len(self._pools) - 1}, not {list(self.homes)}"
            raise BadInput(message)
        try:
            self._sockets_by_number = create_map(MAP_XSK, 4, count)
            self._undo.callback(os.close, self._sockets_by_number)
            attached = attach_program(self._device, self._ifindex, self._sockets_by_number, mode, long=self.mtu + HEADER > ROOM)
            self._link.callback(os.close, attached.link)
        except Refused as error:
            message = f"{self.name}: {error}"
            raise Refused(message) from None
        self.mode, self._pieces = attached.mode, attached.fragments
        self._warnings += attached.notes
        self._promiscuous()
        self.rx = tuple(self._queue(queue, ring) for queue in range(count))
        zero_copy = all(opened.zero_copy for opened in self._sockets.values())
        self.options = {"mode": self.mode, "queues": str(count), "ring": str(ring)} | ({"zero_copy": "on"} if zero_copy else {})
        self._warnings += checksum_warnings(self._device, self._ifindex, self.mode)

    def _count(self, wanted: int | None) -> int:
        """Return how many queues to open."""
        there, word = receive_queues(self._device)
        count = there if wanted is None else wanted
        if count > there:
            message = f"{self.name}: {self._device} has {there} receive queue{'s' * (there > 1)}, not {count}"
            raise BadInput(message)
        if count < there:
            few = f"{count} {'is' if count == 1 else 'are'}"
            self._warnings.append(
                f"{self._device} has {there} receive queues and {few} open: frames of the others go to the host; "
                f"`ethtool -L {self._device} {word} {count}` brings all here"
            )
        return count

    def _promiscuous(self) -> None:
        packets = self._refusing("a packet socket", lambda: packet_socket(self._device))
        self._undo.callback(packets.close)
        make_promiscuous(packets, self._ifindex)

    # Queues

    def _queue(self, queue: int, ring: int) -> RxQueue:
        worker = self.homes[queue]
        pool = self._pools[worker]
        target = min(ring, int(pool.free_count[NORMAL]) // 2)
        if target < _LEAST_CHUNKS:
            message = (
                f"{self.name}: a queue needs {2 * _LEAST_CHUNKS} free chunks of 2 KiB, its worker has {pool.free_count[NORMAL]}"
            )
            raise Refused(message)
        row = self._claim()
        opened = self._refusing(
            f"AF_XDP on queue {queue}",
            lambda: XdpSocket(pool, ifindex=self._ifindex, queue=queue, ring=ring, pieces=self._pieces),
        )
        self._sockets[row] = opened
        chunks = int(pool.first[NORMAL + 1] - pool.first[NORMAL])
        lent, sending = np.zeros(chunks, np.uint8), np.zeros(chunks, np.uint8)
        self._undo.callback(self._settle, row, pool, lent, sending)
        record = self._table[row]
        opened.write_row(record)
        pieces = PIECES if opened.pieces else 1
        for name, value in {
            "mask": ring - 1,
            "start": pool.base[NORMAL],
            "first_chunk": pool.first[NORMAL],
            "chunks": chunks,
            "lent": lent.ctypes.data,
            "sending": sending.ctypes.data,
            "fill_target": target,
            "most": min(self.mtu + HEADER, pieces * CHUNK),
        }.items():
            record[name] = value
        numbers = [int(chunk_alloc(pool, NORMAL) - pool.first[NORMAL]) for _ in range(target)]
        lent[numbers] = 1
        record["fill_next"] = record["lent_count"] = target
        opened.lend(numbers)
        update_map(self._sockets_by_number, queue, struct.pack("=i", opened.fd))
        self._tx.setdefault(worker, row)
        return RxQueue(Kind.XDP, row, queue, opened.fd)

    def _claim(self) -> int:
        """Return the number of a row that nobody has, which is zero but for `taken` and `in_port`."""
        rows: NDArray[Any] = np.asarray(self._table)
        free = np.flatnonzero(rows["taken"] == 0)
        if not len(free):
            message = f"{self.name}: no more than {len(rows)} AF_XDP queues: use fewer ports or queues"
            raise Refused(message)
        row = int(free[0])
        rows[row] = np.zeros((), rows.dtype)
        rows["taken"][row] = 1
        rows["in_port"][row] = self._number
        self._undo.callback(self._free, row)
        return row

    def _free(self, row: int) -> None:
        for name in COUNTERS:
            self._gone[name] += int(self._table[row][name])
        self._table[row]["taken"] = 0

    def _settle(self, row: int, pool: Pool, lent: NDArray[np.uint8], sending: NDArray[np.uint8]) -> None:
        """Close a queue: what waits to be sent has its chance, then every chunk comes back."""
        opened = self._sockets.pop(row)
        opened.drain(_SETTLE)
        with contextlib.suppress(OSError):
            self._gone["rx_over_errors"] += _over(opened)
        opened.close()
        first = int(pool.first[NORMAL])
        for chunk in np.flatnonzero(lent | sending):
            for _ in range(int(lent[chunk]) + int(sending[chunk])):
                chunk_put(pool, first + int(chunk))

    def _refusing(self, what: str, opening: Callable[[], Any]) -> Any:
        """Open something; the kernel's refusal becomes one line."""
        try:
            return opening()
        except OSError as error:
            said = error.strerror
            if isinstance(error, PermissionError):
                said = "needs CAP_NET_RAW (run as root)"
            elif error.errno == errno.EAFNOSUPPORT:
                said = "this kernel has none (CONFIG_XDP_SOCKETS)"
            elif error.errno == errno.EBUSY:
                said = "another socket has it"
            elif error.errno == errno.ENOBUFS:
                said = "the chunks are more than RLIMIT_MEMLOCK allows to be locked (`ulimit -l`)"
            elif error.errno == errno.ENETDOWN:
                said = f"the device is down (`ip link set {self._device} up`)"
        message = f"{self.name}: {what}: {said}"
        raise Refused(message)

    # What a port is to the path

    def tx(self, worker: int) -> tuple[Kind, int]:
        """Return the transmit queue of a worker: that of its first receive queue, or a packet socket of its own."""
        if worker not in self._tx:
            row = self._claim()
            packets = self._refusing("a packet socket", lambda: packet_socket(self._device))
            self._undo.callback(packets.close)
            self._table[row]["packet"] = 1
            self._table[row]["fd"] = packets.fileno()
            self._tx[worker] = row
        return Kind.XDP, self._tx[worker]

    def set_features(self, active: Feature) -> None:
        """Do nothing: the kernel knows of none of them."""

    def alive(self) -> bool:
        """Whether the device is still there."""
        return all(opened.bound() for opened in self._sockets.values())

    def warnings(self) -> list[str]:
        """Return one line for each thing that will not work as one may expect."""
        sampled, unfinished = (self.counters()[name] for name in ("rx_sampled", "rx_unfinished"))
        found = list(self._warnings)
        if unfinished:
            found.append(
                f"{self.name}: {unfinished} of {sampled} sampled frames came with unfinished checksums, and whoever gets them "
                f"drops them: at the end that sends to {self._device}, `ethtool -K … tx off`"
            )
        return found

    def counters(self) -> dict[str, int]:
        """Return the sums over all queues; `rx_over_errors` is what the kernel dropped for want of room."""
        found = dict(self._gone)
        for row in {*self._sockets, *self._tx.values()}:
            for name in COUNTERS:
                found[name] += int(self._table[row][name])
        for opened in self._sockets.values():
            with contextlib.suppress(OSError):
                found["rx_over_errors"] += _over(opened)
        return found

    def detach(self) -> None:
        """Let no more frames come: the device's go to the host again; those that are here already stay."""
        self._link.close()

    def close(self) -> None:
        """Leave everything as it was found."""
        self.detach()
        self._undo.close()
        self._tx = {}


def _over(opened: XdpSocket) -> int:
    statistics = opened.statistics()
    return statistics["rx_dropped"] + statistics.get("rx_ring_full", 0)
