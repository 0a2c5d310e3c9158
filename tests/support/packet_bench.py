"""Packet ports in one process, driven step by step: what a test opens, sends and sees."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from pktpath.batch import FRAMES, frame_bytes, make_batch, release
from pktpath.port.live import MAX_BURST, make_scratch
from pktpath.port.live_memory import LiveMemory
from pktpath.port.packet import PacketPort
from pktpath.port.packet_io import packet_give_back, packet_receive, packet_transmit
from pktpath.wire.parse import parse
from support.packet_forwarder import packet_tables, shuttle

ORDER = np.arange(MAX_BURST)
NORMAL_CHUNKS, LARGE_CHUNKS = 600, 300


class Bench:
    """Memory, tables and a batch for the ports of one test."""

    def __init__(self) -> None:
        self.memory = LiveMemory(window=1 << 26, chunks=1 << 26)
        self.queues = packet_tables()
        self.pool = self.memory.pool(header=0, normal=NORMAL_CHUNKS, large=LARGE_CHUNKS)
        self.batch = make_batch(self.pool, MAX_BURST)
        self.scratch = make_scratch()
        self.state = np.zeros(4, np.int64)
        self.ports: list[PacketPort] = []

    def port(self, interface: str, **options: object) -> PacketPort:
        port = PacketPort(interface, self.memory, self.queues.packet, **options)
        self.ports.append(port)
        return port

    def take(self, port: PacketPort, queue: int = 0, budget: int = MAX_BURST) -> int:
        """Receive into the batch and parse; return what the kernel of the port returned."""
        count = packet_receive(self.queues, port.rx[queue].row, self.batch, budget, self.scratch)
        parse(self.batch, 0, int(self.batch.used[FRAMES]))
        return count

    def done(self, port: PacketPort, queue: int = 0) -> None:
        """Have finished with what was received."""
        release(self.batch)
        packet_give_back(self.queues, port.rx[queue].row)

    def seen(self, port: PacketPort, queue: int = 0) -> list[bytes]:
        """Return the bytes of all that a queue has."""
        frames: list[bytes] = []
        while self.take(port, queue) > 0:
            frames += [frame_bytes(self.batch, i) for i in range(int(self.batch.used[FRAMES]))]
            self.done(port, queue)
        return frames

    def send(self, port: PacketPort, first: int = 0, last: int | None = None) -> int:
        """Transmit frames of the batch."""
        end = int(self.batch.used[FRAMES]) if last is None else last
        return packet_transmit(self.queues, port.tx(0)[1], self.batch, ORDER, first, end, self.scratch)

    def carry(self, source: PacketPort, target: PacketPort) -> int:
        """Forward all that has come to `source` to `target`; return how many frames."""
        ways = np.array([(queue.row, target.tx(0)[1]) for queue in source.rx])
        total = 0
        while count := shuttle(self.queues, ways, self.batch, ORDER, 64, self.scratch, self.state):
            total += count
        return total

    def whole(self) -> bool:
        """Whether every chunk is free."""
        return list(self.pool.free_count) == [0, NORMAL_CHUNKS, LARGE_CHUNKS] and not self.pool.refs.any()

    def socket_of(self, fd: int) -> socket.socket:
        """Return a second descriptor of a port's socket."""
        return socket.socket(fileno=socket.dup(fd))

    def close(self) -> None:
        for port in self.ports:
            port.close()
        self.memory.close()


@contextmanager
def bench() -> Iterator[Bench]:
    made = Bench()
    try:
        yield made
    finally:
        made.close()
