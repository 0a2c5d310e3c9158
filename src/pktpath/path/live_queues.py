"""Which kernel serves a queue of which kind: the only place that knows them all."""

import numpy as np

from pktpath.jit import opened, stage
from pktpath.path.live_types import FIT, batch_at
from pktpath.port.live import Kind, Queues
from pktpath.port.memory_io import MEMORY_ROW, memory_give_back, memory_receive, memory_transmit
from pktpath.port.packet_io import PACKET_ROW, packet_give_back, packet_receive, packet_transmit
from pktpath.port.pcap_io import PCAP_ROW, pcap_give_back, pcap_receive, pcap_transmit
from pktpath.port.rows import make_rows
from pktpath.port.tap_io import TAP_ROW, tap_give_back, tap_receive, tap_transmit
from pktpath.port.xdp_io import xdp_give_back, xdp_receive, xdp_transmit
from pktpath.port.xdp_rows import XDP_ROW

TAP, PACKET, XDP, PCAP, MEMORY = (int(kind) for kind in Kind)


def make_queues() -> Queues:
    """Return the empty tables of a process."""
    return Queues(*(make_rows(kind) for kind in (TAP_ROW, PACKET_ROW, XDP_ROW, PCAP_ROW, MEMORY_ROW)))


@stage
def receive(shared, nth, budget, _c, _d):
    """Append up to `budget` frames of the worker's queue `nth` to `polled`; return how many, or -errno."""
    parts = opened(shared)
    worker, queues = opened(parts.worker), opened(parts.queues)
    kind, row, batch, scratch = worker.rx[nth].kind, worker.rx[nth].row, opened(parts.polled), opened(parts.scratch)
    if kind == PACKET:
        return np.int64(packet_receive(queues, row, batch, budget, scratch))
    if kind == TAP:
        return np.int64(tap_receive(queues, row, batch, budget, scratch))
    if kind == XDP:
        return np.int64(xdp_receive(queues, row, batch, budget, scratch))
    if kind == PCAP:
        return np.int64(pcap_receive(queues, row, batch, budget, scratch))
    return np.int64(memory_receive(queues, row, batch, budget, scratch))


@stage
def give_back(shared, nth, _b, _c, _d):
    """Tell the worker's queue `nth` that its frames are finished with."""
    parts = opened(shared)
    worker, queues = opened(parts.worker), opened(parts.queues)
    kind, row = worker.rx[nth].kind, worker.rx[nth].row
    if kind == PACKET:
        packet_give_back(queues, row)
    elif kind == TAP:
        tap_give_back(queues, row)
    elif kind == XDP:
        xdp_give_back(queues, row)
    elif kind == PCAP:
        pcap_give_back(queues, row)
    else:
        memory_give_back(queues, row)
    return np.int64(0)


@stage
def transmit(shared, port, which, first, last):
    """Send frames `first` to `last` (excluded) of a port's list, or of what was made fit for it; return how many were taken."""
    parts = opened(shared)
    worker, queues = opened(parts.worker), opened(parts.queues)
    batch = batch_at(parts, which)
    order = worker.kept if which == FIT else worker.lists[port]
    kind, row, scratch = worker.tx[port, 0], worker.tx[port, 1], opened(parts.scratch)
    if kind == PACKET:
        return np.int64(packet_transmit(queues, row, batch, order, first, last, scratch))
    if kind == TAP:
        return np.int64(tap_transmit(queues, row, batch, order, first, last, scratch))
    if kind == XDP:
        return np.int64(xdp_transmit(queues, row, batch, order, first, last, scratch))
    if kind == PCAP:
        return np.int64(pcap_transmit(queues, row, batch, order, first, last, scratch))
    return np.int64(memory_transmit(queues, row, batch, order, first, last, scratch))
