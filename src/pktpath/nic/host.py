"""A card and the CPUs that serve it: all of their state in two values that compiled code takes.

Queue `q` interrupts CPU `q % cpus`, and its instance is polled there; instance `queues + c` is the backlog of CPU `c`.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pktpath.nic.backlog import Backlog, make_backlog
from pktpath.nic.clock import Clock, make_clock
from pktpath.nic.counters import POLL_SIZES, QUEUE_COUNTS, STAGES, WAITS, Timeline, make_timeline
from pktpath.nic.host_types import Costs, Limits
from pktpath.nic.lists import make_lists
from pktpath.nic.moderation import make_queues
from pktpath.nic.napi import NAPI_POLL_WEIGHT, make_napis
from pktpath.nic.rings import RxRings, make_rings
from pktpath.nic.settings import NicSettings
from pktpath.nic.softnet import make_softnet


class Card(NamedTuple):
    """Queues with their rings and interrupts."""

    queues: Any
    """(queues,) records of type `moderation.QUEUE`."""
    rings: RxRings
    counts: NDArray[np.int64]
    """(queues, QUEUE_COUNTS) see `counters.QueueCount`."""


class Host(NamedTuple):
    """CPUs with their softirqs."""

    clock: Clock
    napis: Any
    """(queues + cpus,) records of type `napi.NAPI`."""
    lists: NDArray[np.int64]
    """(2 * cpus, 2) who is to be polled by the softirq of a CPU, and by its threads."""
    round_lists: NDArray[np.int64]
    """(2 * cpus, 2) who is left in the round that runs, and who has more for the next."""
    softnet: Any
    """(cpus,) records of type `softnet.SOFTNET`."""
    backlog: Backlog
    wake: NDArray[np.int64]
    """(cpus,) when each CPU does its next step."""
    times: NDArray[np.int64]
    """(cpus, STAGES) nanoseconds by `counters.Stage`."""
    poll_sizes: NDArray[np.int64]
    """(POLL_SIZES,) polls by the frames that they took."""
    waits: NDArray[np.int64]
    """(WAITS,) frames by how long they waited between card and stack; see `counters.wait_bucket`."""
    timeline: Timeline
    limits: Limits
    costs: Costs


def make_card(settings: NicSettings) -> Card:
    """Return a card as it is after it was opened."""
    return Card(
        make_queues(settings.queues, usecs=settings.rx_usecs, frames=settings.rx_frames, adaptive=settings.adaptive_rx),
        make_rings(settings.queues, settings.rx_ring),
        np.zeros((settings.queues, QUEUE_COUNTS), np.int64),
    )


def make_host(
    settings: NicSettings,
    cpus: int,
    *,
    limits: Limits,
    costs: Costs,
    weight: int = NAPI_POLL_WEIGHT,
    rps: bool = False,
    rfs_flows: int = 0,
    wall: bool = False,
) -> Host:
    """Return so many CPUs with an instance for each queue of the card, all enabled."""
    napis = make_napis(settings.queues + cpus, cpus, weight=weight)
    napis.cpu[settings.queues :] = np.arange(cpus)
    return Host(
        clock=make_clock(cpus, wall=wall),
        napis=napis,
        lists=make_lists(2 * cpus),
        round_lists=make_lists(2 * cpus),
        softnet=make_softnet(cpus),
        backlog=make_backlog(cpus, limits.max_backlog, rps=rps, rfs_flows=rfs_flows),
        wake=np.full(cpus, np.iinfo(np.int64).max, np.int64),
        times=np.zeros((cpus, STAGES), np.int64),
        poll_sizes=np.zeros(POLL_SIZES, np.int64),
        waits=np.zeros(WAITS, np.int64),
        timeline=make_timeline(recording=not wall),
        limits=limits,
        costs=costs,
    )
