"""Which kernel serves a queue of which kind: the only place that knows them all."""

from pktpath.jit import kernel
from pktpath.port.live import Kind, Queues
from pktpath.port.memory_io import make_memory_queues, memory_give_back, memory_receive, memory_transmit
from pktpath.port.packet_io import make_packet_queues, packet_give_back, packet_receive, packet_transmit
from pktpath.port.pcap_io import make_pcap_queues, pcap_give_back, pcap_receive, pcap_transmit
from pktpath.port.tap_io import make_tap_queues, tap_give_back, tap_receive, tap_transmit
from pktpath.port.xdp_io import make_xdp_queues, xdp_give_back, xdp_receive, xdp_transmit

TAP, PACKET, XDP, PCAP, MEMORY = (int(kind) for kind in Kind)


def make_queues() -> Queues:
    """Return the empty tables of a process."""
    return Queues(
        make_tap_queues(), make_packet_queues(), make_xdp_queues(), make_pcap_queues(), make_memory_queues()
    )  # fmt: skip


@kernel
def receive(queues, kind, row, batch, budget, scratch):
    """Append up to `budget` frames of a queue to a batch; return how many, or -errno."""
    if kind == PACKET:
        return packet_receive(queues, row, batch, budget, scratch)
    if kind == TAP:
        return tap_receive(queues, row, batch, budget, scratch)
    if kind == XDP:
        return xdp_receive(queues, row, batch, budget, scratch)
    if kind == PCAP:
        return pcap_receive(queues, row, batch, budget, scratch)
    return memory_receive(queues, row, batch, budget, scratch)


@kernel
def give_back(queues, kind, row):
    """Tell a queue that its frames are finished with."""
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


@kernel
def transmit(queues, kind, row, batch, order, first, last, scratch):
    """Send frames `order[first:last]` of a batch; return how many were taken."""
    if kind == PACKET:
        return packet_transmit(queues, row, batch, order, first, last, scratch)
    if kind == TAP:
        return tap_transmit(queues, row, batch, order, first, last, scratch)
    if kind == XDP:
        return xdp_transmit(queues, row, batch, order, first, last, scratch)
    if kind == PCAP:
        return pcap_transmit(queues, row, batch, order, first, last, scratch)
    return memory_transmit(queues, row, batch, order, first, last, scratch)
