"""Why frames were not merged, in words: one line a frame, from the descriptors that GRO left."""

from collections.abc import Iterator
from ipaddress import ip_address
from typing import NamedTuple

import numpy as np

from pktpath.batch import FRAMES, Batch
from pktpath.offload.reason import Reason
from pktpath.wire import tcp, udp

_NAMES = {1: "icmp", tcp.PROTOCOL: "tcp", udp.PROTOCOL: "udp", 58: "icmp6", 132: "sctp", 47: "gre", 50: "esp", 2: "igmp"}

_REASONS = list(Reason)


class Unmerged(NamedTuple):
    """A frame that was not merged."""

    frame: int
    """Number in the input, from 1."""
    flow: str
    """Addresses, ports, protocol and payload, as far as they can be read."""
    reason: str
    """Word of the `Reason`."""
    rule: str
    """Sentence of the `Reason`."""


def unmerged(batch: Batch, before: int) -> Iterator[Unmerged]:
    """Yield the frames of `batch`, as GRO left it, that were not merged, in the order of the input.

    `before` is the number of frames read before this batch.
    """
    count = int(batch.used[FRAMES])
    alone = np.flatnonzero(batch.gso_segs[:count] <= 1)
    for row in alone[np.argsort(batch.origin[alone], kind="stable")]:
        i = int(row)
        reason = _REASONS[int(batch.reason[i])]
        yield Unmerged(before + int(batch.origin[i]) + 1, flow_text(batch, i), reason.word, reason.sentence)


def flow_text(batch: Batch, i: int) -> str:
    """Return "10.0.0.1:80 > 10.0.0.2:4242 tcp 1448 bytes", or what can be said of a frame that is no such packet."""
    if batch.network[i] == 0:
        return f"{int(batch.frame_len[i])} bytes, not IP"
    mem = batch.pool.mem
    at = int(batch.head_addr[i]) + int(batch.network_offset[i])
    first, size = (12, 4) if batch.network[i] == 4 else (8, 16)
    source, destination = (str(ip_address(mem[at + k : at + k + size].tobytes())) for k in (first, first + size))
    protocol = int(batch.protocol[i])
    name = _NAMES.get(protocol, f"protocol {protocol}")
    transport = int(batch.transport_offset[i])
    if transport == 0:
        return f"{source} > {destination} {name}, {int(batch.frame_len[i])} bytes in the frame"
    ports = mem[int(batch.head_addr[i]) + transport :][:4].tobytes()
    if batch.network[i] == 6:
        source, destination = f"[{source}]", f"[{destination}]"
    one, other = int.from_bytes(ports[:2]), int.from_bytes(ports[2:])
    return f"{source}:{one} > {destination}:{other} {name} {int(batch.payload_len[i])} bytes"
