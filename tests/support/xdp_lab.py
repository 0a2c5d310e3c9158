"""Devices and ports for tests of AF_XDP: two veths in a namespace that the testing thread has entered.

g0 <-> f0 (port 1)      f1 (port 2) <-> r0
"""

import contextlib
import ctypes
import os
import socket
import subprocess

import numpy as np

from pktpath.batch import FRAGS, FRAMES, frame_bytes, make_batch, release
from pktpath.pool import NO_CHUNK, NORMAL, chunk_alloc
from pktpath.port.live import Queues, make_scratch
from pktpath.port.live_memory import LiveMemory
from pktpath.port.rows import make_rows
from pktpath.port.xdp import XdpPort
from pktpath.port.xdp_io import xdp_give_back, xdp_receive, xdp_transmit
from pktpath.port.xdp_rows import XDP_ROW

_libc = ctypes.CDLL(None, use_errno=True)
ORDER = np.arange(256, dtype=np.int32)


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def space(name: str):
    """Make a network namespace and be in it."""
    run("ip", "netns", "add", name)
    here, there = os.open("/proc/thread-self/ns/net", os.O_RDONLY), os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        assert _libc.setns(there, 0x40000000) == 0
        yield name
    finally:
        assert _libc.setns(here, 0x40000000) == 0
        os.close(here)
        os.close(there)
        run("ip", "netns", "del", name)


@contextlib.contextmanager
def veths(*, mtu: int = 1500, peer_mtu: int = 1500, queues: int = 1):
    """Make the devices: `mtu` is that of f0 and f1."""
    try:
        for far, near in (("g0", "f0"), ("r0", "f1")):
            many = ("numtxqueues", str(queues), "numrxqueues", str(queues))
            run("ip", "link", "add", far, *many, "type", "veth", "peer", "name", near, *many)
            for device, size in ((far, peer_mtu), (near, mtu)):
                run("sysctl", "-qw", f"net.ipv6.conf.{device}.disable_ipv6=1")
                run("ip", "link", "set", device, "up", "mtu", str(size))
        yield
    finally:
        for device in ("g0", "r0"):
            subprocess.run(["ip", "link", "del", device], check=False, capture_output=True)


def packets(device: str, *, timeout: float = 2.0) -> socket.socket:
    """Return a packet socket that sees every frame that arrives at a device."""
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    opened.setsockopt(263, 23, 1)  # PACKET_IGNORE_OUTGOING
    opened.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
    opened.bind((device, 3))
    opened.settimeout(timeout)
    return opened


class Lab:
    """A worker or more, with pools in one memory."""

    def __init__(self, *, workers: int = 1, normal: int = 4096) -> None:
        self.memory = LiveMemory(window=1 << 24, chunks=1 << 26)
        self.pools = [self.memory.pool(header=256, normal=normal, large=4) for _ in range(workers)]
        none = np.zeros(1, np.int64)
        self.queues = Queues(none, none, make_rows(XDP_ROW), none, none)
        self.scratch = make_scratch()
        self.batches = [make_batch(pool) for pool in self.pools]
        self.full = [pool.free_count.tolist() for pool in self.pools]

    def port(self, name: str, number: int = 1, **options) -> XdpPort:
        return XdpPort(name, number, self.queues, self.pools, **options)

    def receive(self, port: XdpPort, *, worker: int = 0, budget: int = 256) -> int:
        """Receive from every queue of a worker into its batch, which stays."""
        rows = [queue.row for queue, home in zip(port.rx, port.homes, strict=True) if home == worker]
        return sum(xdp_receive(self.queues, row, self.batches[worker], budget, self.scratch) for row in rows)

    def transmit(self, port: XdpPort, *, worker: int = 0, first: int = 0, last: int | None = None) -> int:
        batch = self.batches[worker]
        last = int(batch.used[FRAMES]) if last is None else last
        return xdp_transmit(self.queues, port.tx(worker)[1], batch, ORDER, first, last, self.scratch)

    def give_back(self, port: XdpPort) -> None:
        for queue in port.rx:
            xdp_give_back(self.queues, queue.row)

    def errno(self, port: XdpPort, worker: int = 0) -> int:
        return int(self.queues.xdp[port.tx(worker)[1]].errno)

    def taken(self, worker: int = 0) -> list[bytes]:
        """Return the frames of a batch and empty it."""
        batch = self.batches[worker]
        found = [frame_bytes(batch, i) for i in range(int(batch.used[FRAMES]))]
        release(batch)
        return found

    def put(self, cuts: list[bytes], *, place: str = "chunk", worker: int = 0) -> None:
        """Append a frame, whose head is the first piece and whose fragments are the others.

        `place` is where its pieces lie: a NORMAL `chunk` each, or a `window` that nobody counts.
        """
        batch, pool = self.batches[worker], self.pools[worker]
        i, row = (int(value) for value in batch.used)
        spots = [self._spot(piece, place, pool) for piece in cuts]
        frame = batch.frames[i]
        frame.head_chunk, frame.head_addr = spots[0]
        frame.head_len = len(cuts[0])
        frame.frame_len = frame.wire_len = sum(map(len, cuts))
        frame.frag_first, frame.frag_count = row, len(cuts) - 1
        for (chunk, address), piece in zip(spots[1:], cuts[1:], strict=True):
            batch.frag_chunk[row], batch.frag_addr[row], batch.frag_len[row] = chunk, address, len(piece)
            row += 1
        batch.used[FRAMES], batch.used[FRAGS] = i + 1, row

    def _spot(self, piece: bytes, place: str, pool) -> tuple[int, int]:
        if place == "window":
            chunk, address = NO_CHUNK, self.memory.reserve(max(len(piece), 1))
        else:
            chunk = int(chunk_alloc(pool, NORMAL))
            address = int(pool.base[NORMAL] + (chunk - pool.first[NORMAL]) * 2048) + 2048 - len(piece)
        pool.mem[address : address + len(piece)] = np.frombuffer(piece, np.uint8)
        return chunk, address

    def all_free(self) -> bool:
        return [pool.free_count.tolist() for pool in self.pools] == self.full and not any(pool.refs.any() for pool in self.pools)
