"""Two packet ports joined by a compiled loop: `python -m support.packet_forwarder LEFT RIGHT MODE [QUEUES]`.

Prints `ready` when frames flow, and its counters as JSON when its standard input ends.
"""

import json
import sys
import threading
import time

import numpy as np

from pktpath.batch import make_batch, release
from pktpath.jit import kernel
from pktpath.port.libc import poll
from pktpath.port.live import MAX_BURST, Queues, make_scratch
from pktpath.port.live_memory import LiveMemory
from pktpath.port.packet import PacketPort
from pktpath.port.packet_io import PACKET_ROW, packet_give_back, packet_receive, packet_transmit
from pktpath.port.rows import make_rows
from pktpath.wire.parse import parse

NOTHING = np.zeros(1, np.int64)


def packet_tables() -> Queues:
    """Return tables of which only packet's is real."""
    return Queues(NOTHING, make_rows(PACKET_ROW), NOTHING, NOTHING, NOTHING)


@kernel
def shuttle(queues, ways, batch, order, budget, scratch, state):
    """Carry what has come on each way (receive row, transmit row) to its end; return how many frames came."""
    total = 0
    for way in range(len(ways)):
        count = packet_receive(queues, ways[way, 0], batch, budget, scratch)
        if count > 0:
            parse(batch, 0, count)
            first = 0
            for _ in range(1000):
                first += packet_transmit(queues, ways[way, 1], batch, order, first, count, scratch)
                if first == count:
                    break
            state[1] += count - first
            total += count
        elif count < 0:
            state[2] = count
        release(batch)
        packet_give_back(queues, ways[way, 0])
    return total


@kernel
def shuttle_until(queues, ways, batch, order, budget, scratch, state, pollfds):
    """Do so until `state[0]` is not 0, sleeping while there is nothing."""
    idle = 0
    while state[0] == 0:
        idle = 0 if shuttle(queues, ways, batch, order, budget, scratch, state) else idle + 1
        if idle > 1:
            poll(np.int64(pollfds.ctypes.data), len(pollfds), 20)


def main(left: str, right: str, mode: str, queues_each: int = 1) -> None:
    memory = LiveMemory(window=1 << 28, chunks=1 << 28)
    queues = packet_tables()
    a = PacketPort(left, memory, queues.packet, mode=mode, number=1, queues=queues_each)
    b = PacketPort(right, memory, queues.packet, mode=mode, number=2, queues=queues_each)
    pairs = [(x.row, b.tx(0)[1]) for x in a.rx] + [(x.row, a.tx(0)[1]) for x in b.rx]
    pollfds = np.array([x.fd | 1 << 32 for x in (*a.rx, *b.rx)], np.int64)
    pool = memory.pool(header=0, normal=1024, large=512)
    batch = make_batch(pool, MAX_BURST)
    state = np.zeros(4, np.int64)
    arguments = (queues, np.array(pairs), batch, np.arange(MAX_BURST), 64, make_scratch(), state, pollfds)
    state[0] = 1
    shuttle_until(*arguments)
    state[0] = 0
    thread = threading.Thread(target=shuttle_until, args=arguments)
    before = time.process_time()
    thread.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    state[0] = 1
    thread.join()
    spent = time.process_time() - before
    whole = list(pool.free_count) == [0, 1024, 512]
    told = {
        "left": a.statistics(),
        "right": b.statistics(),
        "unsent": int(state[1]),
        "error": int(state[2]),
        "whole": whole,
        "seconds": spent,
    }
    sys.stdout.write(json.dumps(told) + "\n")
    a.close()
    b.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]) if len(sys.argv) > 4 else 1)
