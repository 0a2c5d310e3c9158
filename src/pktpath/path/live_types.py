"""One datapath thread as compiled code sees it: its memory, its queues, its cache, what it counts."""

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pktpath.batch import Batch, make_batch
from pktpath.jit import inlined, opened
from pktpath.offload.gro_table import GroTable, make_gro_tables
from pktpath.offload.rules import DEFAULT_RULES, RULES, KernelRules
from pktpath.path.live_mirror import Mirror, make_mirror
from pktpath.pool import Pool
from pktpath.port.live import MAX_BURST, MAX_QUEUES, Queues, Scratch, make_scratch
from pktpath.switch.datapath import COUNTS, MAX_PORTS, Datapath
from pktpath.switch.emc import DEFAULT_INSERT_INV_PROB, Emc, make_emc
from pktpath.switch.fields import KEY_WORDS
from pktpath.switch.flow_table import Programs
from pktpath.switch.megaflow import Megaflows

LIST = 512
"""Outputs that a port may have of one batch before they are sent."""
_ROOM = 2 * MAX_BURST
_HELD_SEGMENTS = 512
_PIECES = 2048
"""Frames that one super-frame may be cut into, at segments of 32 bytes."""
GRO_QUEUES = 16
"""Queues of a worker that GRO may serve; the others pass frames on."""


class Control(IntEnum):
    """Words by which Python steers a worker."""

    STOP = 0
    """Set by Python: leave the loop."""
    ITERATIONS = 1
    """Goes up with each turn; -1 while the worker does not run."""
    ASLEEP = 2
    """1 while it waits in epoll: whoever has news then writes its eventfd."""
    UPCALL_WAKE = 3
    """1 while Python sleeps and wants an eventfd written for the next upcall."""
    BROKEN = 4
    """-errno of a queue that failed last."""


class Tally(IntEnum):
    """What a worker counts of itself, as `pmd-stats-show` and `pmd-perf-show` tell it."""

    PACKETS = 0
    EMC_HITS = 1
    MEGAFLOW_HITS = 2
    SUBTABLE_LOOKUPS = 3
    UPCALLS = 4
    LOST = 5
    TX_PACKETS = 6
    TX_BATCHES = 7
    ITERATIONS = 8
    IDLE_ITERATIONS = 9
    BUSY_ITERATIONS = 10
    SLEEP_ITERATIONS = 11
    SLEEP_NS = 12
    IDLE_CYCLES = 13
    BUSY_CYCLES = 14
    MISSED_SUBTABLES = 15
    """Subtables asked in vain before an upcall."""


class Ring(IntEnum):
    """Indices of the two rings between a worker and the slow path; each is written by one side."""

    ASKED = 0
    """Upcalls that the worker put in."""
    READ = 1
    """Upcalls that the slow path took out."""
    ANSWERED = 2
    TAKEN = 3
    """Answers that the worker took out."""


RX_QUEUE = np.dtype(
    [("kind", "i8"), ("row", "i8"), ("port", "i8"), ("features", "i8"), ("table", "i8"), ("cycles", "i8"), ("frames", "i8")]
)


class Waiting(NamedTuple):
    """Frames that wait for the slow path, one to a place."""

    held: Batch
    """(places,) linear frames."""
    keys: NDArray[np.uint64]
    """(places, KEY_WORDS)"""
    free: NDArray[np.int64]
    """(places + 1,) a stack of free places; the last element says how many there are."""
    asked: NDArray[np.int64]
    """(places,) ring of places; a power of two."""
    answers: NDArray[np.int64]
    """(places, 2) ring of places and programs."""
    rings: NDArray[np.int64]
    """(4,) `Ring` indices."""


class Worker(NamedTuple):
    """The small things of one datapath thread."""

    number: int
    keys: NDArray[np.uint64]
    """(frames, KEY_WORDS)"""
    words: NDArray[np.int64]
    """(frames,) words of each key."""
    hashes: NDArray[np.uint64]
    flow: NDArray[np.int64]
    """(frames,) megaflow of each frame."""
    todo: NDArray[np.int64]
    """(frames,) program of each frame."""
    lists: NDArray[np.int64]
    """(MAX_PORTS, LIST) frames for each port."""
    listed: NDArray[np.int64]
    """(MAX_PORTS,) how many."""
    touched: NDArray[np.int64]
    """(MAX_PORTS + 1,) ports with frames; the last element says how many."""
    kept: NDArray[np.int64]
    """frames of `fit` that go."""
    controller: NDArray[np.int64]
    """(2,) copies for the controller that are allowed now, in billionths; when that was reckoned."""
    rx: Any
    """(MAX_QUEUES,) records of type RX_QUEUE."""
    rx_count: NDArray[np.int64]
    """(1,)"""
    tx: NDArray[np.int64]
    """(MAX_PORTS, 2) kind and row of the transmit queue of each port, -1 without."""
    counts: NDArray[np.int64]
    """(MAX_PORTS, COUNTS)"""
    tally: NDArray[np.int64]
    """(len(Tally),)"""
    control: NDArray[np.int64]
    """(8,) `Control` words."""
    settings: NDArray[np.int64]
    """(8,) `Setting` words."""
    timespec: NDArray[np.int64]
    """(4,) where clocks write."""
    events: NDArray[np.uint64]
    """(64,) where epoll_wait writes."""
    calls: NDArray[np.int64]
    """(len(Stages),) addresses of the stages."""
    rules: KernelRules


class Context(NamedTuple):
    """All that a datapath thread works with; its stages get a pointer to each part."""

    worker: Worker
    polled: Batch
    """What a queue gave."""
    seen: Batch
    """What GRO made of it, or frames that were answered."""
    staged: Batch
    """Frames on their way to a port that cannot take them as they are."""
    fit: Batch
    """The same as that port takes them."""
    emc: Emc
    tables: GroTable
    waiting: Waiting
    mirror: Mirror
    scratch: Scratch
    megaflows: Megaflows
    programs: Programs
    ports: Any
    meters: Any
    queues: Queues


class Stages(IntEnum):
    """Places in `Worker.calls`: the parts of a turn that are compiled apart."""

    RECEIVE = 0
    MERGE = 1
    CLASSIFY = 2
    FORWARD = 3
    SEND = 4
    TRANSMIT = 5
    GIVE_BACK = 6
    RUN = 7
    POLL = 8


POLLED, SEEN, FIT = 0, 1, 2
"""Which batch of the worker a stage is about."""


@inlined
def batch_at(parts, which):
    """Return a batch of the worker by its number."""
    return opened(parts.polled if which == POLLED else parts.seen if which == SEEN else parts.fit)


class Setting(IntEnum):
    """What a worker is told before it runs."""

    EPOLL = 0
    """File descriptor of the epoll that knows its queues; -1 for poll mode."""
    EVENT = 1
    """eventfd that wakes it."""
    UPCALL_EVENT = 2
    """eventfd that wakes the slow path."""
    WEIGHT = 3
    """Frames that a queue may give in one turn."""
    SLEEP_MAX_NS = 4
    """Longest sleep of a poll-mode worker without load, 0 for none (pmd-sleep-max)."""
    DELAY_NS = 5
    """How long an interrupt-mode worker waits after the first frame for more (rx-usecs)."""
    CONTROLLER_RATE = 6
    """Copies a second that may go to the controller, 0 for any number."""


def make_context(
    number: int,
    pool: Pool,
    datapath: Datapath,
    queues: Queues,
    *,
    emc_insert_inv_prob: int = DEFAULT_INSERT_INV_PROB,
    weight: int = 64,
    upcall_queue: int = 4096,
) -> Context:
    """Return an idle worker without queues whose frames lie in `pool`; `upcall_queue` of them may wait for the slow path."""
    places = 1 << (upcall_queue - 1).bit_length()
    frames = _ROOM + _HELD_SEGMENTS
    control = np.zeros(8, np.int64)
    control[Control.ITERATIONS] = -1
    settings = np.zeros(8, np.int64)
    settings[: len(Setting)] = (-1, -1, -1, weight, 0, 0, 0)
    worker = Worker(
        number=number,
        keys=np.zeros((frames, KEY_WORDS), np.uint64),
        words=np.zeros(frames, np.int64),
        hashes=np.zeros(frames, np.uint64),
        flow=np.zeros(frames, np.int64),
        todo=np.zeros(frames, np.int64),
        lists=np.zeros((MAX_PORTS, LIST), np.int64),
        listed=np.zeros(MAX_PORTS, np.int64),
        touched=np.zeros(MAX_PORTS + 1, np.int64),
        kept=np.zeros(_PIECES, np.int64),
        controller=np.zeros(2, np.int64),
        rx=np.zeros(MAX_QUEUES, RX_QUEUE).view(np.recarray),
        rx_count=np.zeros(1, np.int64),
        tx=np.full((MAX_PORTS, 2), -1, np.int64),
        counts=np.zeros((MAX_PORTS, COUNTS), np.int64),
        tally=np.zeros(len(Tally), np.int64),
        control=control,
        settings=settings,
        timespec=np.zeros(4, np.int64),
        events=np.zeros(64, np.uint64),
        calls=np.zeros(len(Stages), np.int64),
        rules=RULES[DEFAULT_RULES],
    )
    waiting = Waiting(
        held=make_batch(pool, places, 1),
        keys=np.zeros((places, KEY_WORDS), np.uint64),
        free=np.append(np.arange(places - 1, -1, -1, dtype=np.int64), places),
        asked=np.zeros(places, np.int64),
        answers=np.zeros((places, 2), np.int64),
        rings=np.zeros(4, np.int64),
    )
    return Context(
        worker=worker,
        polled=make_batch(pool, _ROOM, 8 * _ROOM),
        seen=make_batch(pool, frames, 16 * _ROOM),
        staged=make_batch(pool, LIST, 32 * LIST),
        fit=make_batch(pool, _PIECES, 33 * LIST),
        emc=make_emc(emc_insert_inv_prob),
        tables=make_gro_tables(GRO_QUEUES, frames=_HELD_SEGMENTS),
        waiting=waiting,
        mirror=make_mirror(),
        scratch=make_scratch(),
        megaflows=datapath.megaflows,
        programs=datapath.programs,
        ports=datapath.ports,
        meters=datapath.meters,
        queues=queues,
    )
