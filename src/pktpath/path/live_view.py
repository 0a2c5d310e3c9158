"""What workers and ports count, as views."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pktpath.path.live_thread import LiveThread
from pktpath.path.live_types import Ring, Tally
from pktpath.port.live import EnginePort
from pktpath.switch.datapath import Count
from pktpath.switch.views import PortView, QueueView, WorkerView

if TYPE_CHECKING:
    from pktpath.path.live_engine import LiveEngine

_DROPS = {
    Count.DROP_ACTION: "drop_action",
    Count.DROP_METER: "drop_meter",
    Count.DROP_LOST: "drop_lost",
    Count.DROP_MEMORY: "drop_no_memory",
    Count.DROP_NO_PORT: "drop_no_port",
    Count.UNSENDABLE: "drop_unsendable",
}


def port_view(port: EnginePort, counts: Sequence[NDArray[np.int64]]) -> PortView:
    """Return what is known of a port; `counts` are those of all workers."""
    total = np.sum([table[port.number] for table in counts], axis=0)
    own = port.port.statistics()
    drops = {name: int(total[count]) for count, name in _DROPS.items()}
    counters = {
        "rx_packets": int(total[Count.RX]),
        "rx_bytes": int(total[Count.RX_BYTES]),
        "rx_errors": own.get("rx_errors", 0),
        "rx_dropped": own.get("rx_dropped", 0),
        "rx_over_errors": own.get("rx_over_errors", 0),
        "rx_frame_errors": own.get("rx_frame_errors", 0),
        "tx_packets": int(total[Count.TX]),
        "tx_bytes": int(total[Count.TX_BYTES]),
        "tx_errors": own.get("tx_errors", 0),
        "tx_dropped": int(total[Count.TX_DROPPED]),
        "merged": int(total[Count.MERGED]),
        "seen": int(total[Count.SEEN]),
        "handed": int(total[Count.HANDED]),
        "cut": int(total[Count.CUT]),
        "copied": int(total[Count.COPIED]),
        "upcalls": int(total[Count.UPCALLS]),
        "controller": int(total[Count.CONTROLLER]),
        **drops,
    }
    options = dict(port.port.options)
    return PortView(port.number, port.port.name, port.port.kind, port.bridge, port.openflow, options, counters)


def worker_view(engine: "LiveEngine", thread: LiveThread) -> WorkerView:
    """Return what is known of a worker."""
    worker = thread.worker
    tally = {name.name.lower(): int(worker.tally[name]) for name in Tally}
    tally["queued"] = int(thread.context.waiting.rings[Ring.ASKED] - thread.context.waiting.rings[Ring.TAKEN])
    tally["passes"] = tally["packets"]
    tally["ns"] = time.monotonic_ns() - thread.counted_since
    tally["upcall_ns"] = thread.upcall_ns
    queues = []
    used = 0.0
    for nth in range(int(worker.rx_count[0])):
        row = worker.rx[nth]
        port = engine.ports[int(row.port)].port
        number = next(queue.number for queue in port.rx if (int(queue.kind), queue.row) == (int(row.kind), int(row.row)))
        usage = engine.usage(worker.number, int(row.kind), int(row.row))
        used += usage or 0.0
        queues.append(QueueView(port.name, number, enabled=True, usage=usage))
    busy = tally["busy_cycles"]
    rx_cycles = int(worker.rx.cycles[: int(worker.rx_count[0])].sum())
    spent = busy + tally["idle_cycles"]
    overhead = max(busy - rx_cycles, 0) / spent if spent and any(queue.usage is not None for queue in queues) else None
    return WorkerView(thread.core if thread.poll else None, 0, False, tuple(queues), overhead, tally, engine.hertz)
