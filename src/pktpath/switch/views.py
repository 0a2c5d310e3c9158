"""What a datapath tells of itself: values that texts, metrics and the doctor are made of."""

from collections.abc import Mapping
from typing import NamedTuple

from pktpath.switch.actions import Actions


class PortView(NamedTuple):
    """One port of the datapath."""

    number: int
    name: str
    kind: str
    """What `dpctl/show` puts in parentheses: tap, packet, xdp, pcap, memory, internal."""
    bridge: str
    openflow: int
    """Its number in its bridge; LOCAL is 65534."""
    options: Mapping[str, str]
    counters: Mapping[str, int]
    """rx_packets, rx_bytes, rx_errors, rx_dropped, rx_over_errors, rx_frame_errors, tx_packets, tx_bytes, tx_errors,
    tx_dropped, and the path's own: merged, cut, copied, queued, drop_<reason>."""


class FlowView(NamedTuple):
    """One megaflow."""

    key: int
    mask: int
    actions: Actions
    packets: int
    size: int
    """Bytes forwarded."""
    idle: float | None
    """Seconds since it was last used, None if never."""
    tcp_flags: int
    """All flags seen."""
    core: int | None
    """Core of the poll-mode thread that asked for it, None for the interrupt schedule (the main thread of OVS)."""
    number: int
    """Identity, for its ufid."""


class QueueView(NamedTuple):
    """One receive queue of a worker."""

    port: str
    queue: int
    enabled: bool
    usage: float | None
    """Share of the core in the last minute, 0 to 1; None where nothing is known yet."""


class WorkerView(NamedTuple):
    """One datapath thread."""

    core: int | None
    """None for the interrupt schedule."""
    numa: int
    isolated: bool
    queues: tuple[QueueView, ...]
    overhead: float | None
    """Share of the core spent beside its queues, 0 to 1."""
    counters: Mapping[str, int]
    """packets, emc_hits, megaflow_hits, subtable_lookups, upcalls, upcall_ns, lost, tx_packets, tx_batches, passes,
    iterations, idle_iterations, busy_iterations, sleep_iterations, sleep_ns, idle_cycles, busy_cycles, ns."""
    hertz: float
    """Cycles a second of the counter that `idle_cycles` and `busy_cycles` are counted in."""


class DatapathView(NamedTuple):
    """A datapath with all that belongs to it."""

    name: str
    hit: int
    missed: int
    lost: int
    flows: int
    masks: int
    mask_lookups: int
    ports: tuple[PortView, ...]
    workers: tuple[WorkerView, ...]
