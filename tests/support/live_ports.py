"""Hands for the kernels of live ports: memory, tables and a batch of one worker."""

from typing import NamedTuple

import numpy as np

from pktpath.batch import FRAMES, Batch, frame_bytes, make_batch, release
from pktpath.port.live import MAX_BURST, Queues, make_scratch
from pktpath.port.live_memory import LiveMemory
from pktpath.port.memory_io import MEMORY_ROW
from pktpath.port.pcap_io import PCAP_ROW
from pktpath.port.rows import make_rows
from pktpath.port.tap_io import TAP_ROW


class Worker(NamedTuple):
    memory: LiveMemory
    queues: Queues
    batch: Batch
    scratch: object
    order: np.ndarray

    def free_chunks(self) -> list[int]:
        return self.batch.pool.free_count.tolist()

    def frames(self) -> list[bytes]:
        return [frame_bytes(self.batch, i) for i in range(int(self.batch.used[FRAMES]))]

    def clear(self) -> None:
        release(self.batch)


def make_worker(*, window: int = 1 << 26, normal: int = 600, large: int = 300) -> Worker:
    memory = LiveMemory(window=window, chunks=1 << 26)
    batch = make_batch(memory.pool(header=600, normal=normal, large=large))
    queues = Queues(make_rows(TAP_ROW), np.zeros(1), np.zeros(1), make_rows(PCAP_ROW), make_rows(MEMORY_ROW))
    return Worker(memory, queues, batch, make_scratch(), np.arange(MAX_BURST))
