"""A software receive hash for frames whose port gave none."""

import numpy as np

from pktpath.jit import inlined, kernel
from pktpath.wire import ipv4, ipv6, tcp, udp
from pktpath.wire.load import load32


@kernel
def flow_hash(batch, first, last):
    """Fill `hash` of frames `first` to `last` (excluded) from addresses, protocol and ports.

    Equal for all frames of a flow and direction, IP fragments apart; 0 for what is not IP. It is no
    Toeplitz hash (see `offload.rss` for what a device computes) and no defence against chosen ports.
    """
    for i in range(first, last):
        hash_frame(batch, i)


@inlined
def hash_frame(batch, i):
    """Fill `hash` of frame `i` (see `flow_hash`)."""
    frame = batch.frames[i]
    mem = batch.pool.mem
    network = frame.network
    frame.hash = 0
    if network == 0:
        return
    at = frame.head_addr + frame.network_offset
    start, end = (ipv4.SOURCE, ipv4.LENGTH) if network == 4 else (ipv6.SOURCE, ipv6.LENGTH)
    protocol = np.int64(frame.protocol)
    value = protocol + 1
    for k in range(start, end, 4):
        value = _mix(value, load32(mem, at + k))
    transport = frame.transport_offset
    if transport > 0 and (protocol == tcp.PROTOCOL or protocol == udp.PROTOCOL):
        value = _mix(value, load32(mem, frame.head_addr + transport))
    frame.hash = value


@inlined
def _mix(value, word):
    """Stir 32 more bits in: a multiplication carries upwards, the shift brings it back down."""
    value = ((value ^ word) * 0x7FEB352D) & 0xFFFFFFFF
    return value ^ value >> 15
