"""The backlog of a CPU: frames that another context left for its softirq.

That context is an interrupt handler that calls `netif_rx`, as all did before NAPI, or the softirq of another
CPU that spreads load (RPS, RFS: the software's RSS). Only sizes wait here, the frames are the stack's already.
`process_backlog` polls it as an instance of its own. Sources: net/core/dev.c, Documentation/networking/scaling.rst.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pktpath.jit import inlined

NO_CPU = -1
SIZE, SEGMENTS, ARRIVED = 0, 1, 2


class Backlog(NamedTuple):
    """The backlogs of one host and who is steered to them."""

    waiting: NDArray[np.int64]
    """(cpus, netdev_max_backlog, 3) of each frame: bytes, wire frames, when the card got the first of these."""
    put: NDArray[np.int64]
    """(cpus,) frames that came."""
    taken: NDArray[np.int64]
    """(cpus,) frames that the stack took."""
    dropped: NDArray[np.int64]
    """(cpus,) frames that found it full."""
    rps_cpus: NDArray[np.int64]
    """CPUs that a queue's frames are spread over; empty without RPS."""
    flow_cpu: NDArray[np.int64]
    """(flows,) CPU on which the reader of a flow runs, by hash: `rps_sock_flow_entries`; empty without RFS."""
    steered_to: NDArray[np.int64]
    """(flows, 2) CPU that a flow was last steered to, and `put` there after its last frame."""


def make_backlog(cpus: int, max_backlog: int, *, rps: bool = False, rfs_flows: int = 0) -> Backlog:
    """Return empty backlogs; `rps` spreads over all CPUs, `rfs_flows` (a power of two) follows the readers.

    The reader of a flow runs on the CPU that the upper half of the flow's hash chooses: as good as any.
    """
    steered = np.zeros((rfs_flows, 2), np.int64)
    steered[:, 0] = NO_CPU
    return Backlog(
        waiting=np.zeros((cpus, max_backlog, 3), np.int64),
        put=np.zeros(cpus, np.int64),
        taken=np.zeros(cpus, np.int64),
        dropped=np.zeros(cpus, np.int64),
        rps_cpus=np.arange(cpus if rps else 0),
        flow_cpu=np.full(rfs_flows, NO_CPU, np.int64),
        steered_to=steered,
    )


@inlined
def backlog_length(backlog, cpu):
    """Return how many frames wait."""
    return backlog.put[cpu] - backlog.taken[cpu]


@inlined
def enqueue_to_backlog(backlog, cpu, octets, segments, arrived):
    """Leave a frame for a CPU; False when its backlog is full: dropped, and counted there."""
    room = backlog.waiting.shape[1]
    if backlog_length(backlog, cpu) >= room:
        backlog.dropped[cpu] += 1
        return False
    entry = backlog.waiting[cpu, backlog.put[cpu] % room]
    entry[SIZE] = octets
    entry[SEGMENTS] = segments
    entry[ARRIVED] = arrived
    backlog.put[cpu] += 1
    return True


@inlined
def backlog_take(backlog, cpu):
    """Take the oldest frame of a backlog that is not empty: (bytes, wire frames, arrival)."""
    entry = backlog.waiting[cpu, backlog.taken[cpu] % backlog.waiting.shape[1]]
    backlog.taken[cpu] += 1
    return entry[SIZE], entry[SEGMENTS], entry[ARRIVED]


@inlined
def rps_cpu(backlog, flow_hash):
    """Return the CPU whose backlog a frame goes to (`get_rps_cpu`), NO_CPU for none: the stack has it at once.

    A frame that is steered to the CPU that polls goes through that CPU's backlog all the same.

    RFS moves a flow to its reader's CPU only when nothing of it waits elsewhere, so that it stays in order.
    """
    flows = len(backlog.flow_cpu)
    if flows > 0 and flow_hash != 0:
        entry = flow_hash & (flows - 1)
        steered = backlog.steered_to[entry]
        if backlog.flow_cpu[entry] == NO_CPU:
            backlog.flow_cpu[entry] = (flow_hash >> 16) % len(backlog.put)
        now = steered[0]
        if now == NO_CPU or backlog.taken[now] >= steered[1]:
            steered[0] = backlog.flow_cpu[entry]
        steered[1] = backlog.put[steered[0]] + 1
        return np.int64(steered[0])
    if len(backlog.rps_cpus) > 0 and flow_hash != 0:
        return np.int64(backlog.rps_cpus[flow_hash * len(backlog.rps_cpus) >> 32])
    return np.int64(NO_CPU)
