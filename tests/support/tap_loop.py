"""Two TAPs joined by compiled code, as the smallest switch there is."""

import threading

import numpy as np

from pktpath.batch import make_batch, release
from pktpath.jit import kernel
from pktpath.port import libc
from pktpath.port.live import MAX_BURST, make_scratch
from pktpath.port.tap_io import tap_receive, tap_transmit


@kernel
def join(queues, ways, batch, order, scratch, stop, waits, seen):
    """Carry frames along each way, a row received from and one sent to, until `stop[0]`; wait where there are none."""
    while stop[0] == 0:
        busy = 0
        for k in range(len(ways)):
            got = tap_receive(queues, ways[k, 0], batch, 64, scratch)
            if got > 0:
                busy += got
                for i in range(got):
                    seen[0] = max(seen[0], batch.frames[i].frame_len)
                    seen[1] += batch.frames[i].frag_count
                tap_transmit(queues, ways[k, 1], batch, order, 0, got, scratch)
                release(batch)
        if busy == 0:
            libc.poll(waits.ctypes.data, len(ways), np.int32(20))


class Joined:
    """A thread that carries frames between ports until it is left."""

    def __init__(self, worker, *pairs):
        self._stop = np.zeros(1, np.int64)
        self.seen = np.zeros(2, np.int64)
        """The longest frame, fragments."""
        ways = np.array([[one.rx[0].row, other.tx(0)[1]] for one, other in pairs], np.int64)
        waits = np.zeros(len(pairs), [("fd", "i4"), ("events", "i2"), ("revents", "i2")])
        waits["fd"] = [one.rx[0].fd for one, _ in pairs]
        waits["events"] = 1
        self._batch = make_batch(worker.batch.pool)
        arguments = (
            worker.queues,
            ways,
            self._batch,
            np.arange(MAX_BURST),
            make_scratch(),
            self._stop,
            waits.view(np.int64),
            self.seen,
        )
        self._thread = threading.Thread(target=join, args=arguments)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop[0] = 1
        self._thread.join()
