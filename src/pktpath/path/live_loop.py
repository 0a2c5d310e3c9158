"""The turn of a datapath thread, compiled: answers of the slow path, then each queue, then rest if nothing came.

queue ─ parse ─ (verify checksums) ─ gro ─ classify ─ forward ─ lists ─ gso, unless the port does it ─ port

With an epoll a thread sleeps until a queue or the slow path has something (interrupt mode); without it, it asks again
and again (poll mode) and may sleep a little longer each time that nothing came.
"""

import numpy as np

from pktpath.batch import CHECKSUM_NONE, FRAGS, FRAMES
from pktpath.features import Feature
from pktpath.jit import call_stage, inlined, kernel, opened, shared_of, stage, stage_address
from pktpath.nic.clock import cycles, monotonic
from pktpath.offload.checksum import verify
from pktpath.offload.flow_hash import flow_hash
from pktpath.offload.gro import FLUSH_ALL, gro_poll
from pktpath.offload.gro_table import gro_of
from pktpath.path.live_forward import classify, forward, run_program
from pktpath.path.live_mirror import DATAPATH, WIRE_IN, wanted, watch_all
from pktpath.path.live_queues import give_back, receive, transmit
from pktpath.path.live_transmit import send
from pktpath.path.live_types import POLLED, SEEN, Context, Control, Ring, Setting, Stages, Tally, batch_at
from pktpath.path.live_upcall import take_answers, wake_slow_path
from pktpath.port import libc
from pktpath.port.barrier import fence
from pktpath.port.live import MAX_BURST
from pktpath.switch.datapath import Count
from pktpath.wire.parse import parse

_GRO, _RXCSUM = int(Feature.GRO), int(Feature.RXCSUM)
_STOP, _ASLEEP, _TURNS, _BROKEN = int(Control.STOP), int(Control.ASLEEP), int(Control.ITERATIONS), int(Control.BROKEN)
_EPOLL, _EVENT, _WEIGHT = int(Setting.EPOLL), int(Setting.EVENT), int(Setting.WEIGHT)
_SLEEP_MAX, _DELAY = int(Setting.SLEEP_MAX_NS), int(Setting.DELAY_NS)
_RX, _RX_BYTES, _MERGED = int(Count.RX), int(Count.RX_BYTES), int(Count.MERGED)
_ITERATIONS, _IDLE, _BUSY = int(Tally.ITERATIONS), int(Tally.IDLE_ITERATIONS), int(Tally.BUSY_ITERATIONS)
_IDLE_CYCLES, _BUSY_CYCLES = int(Tally.IDLE_CYCLES), int(Tally.BUSY_CYCLES)
_SLEEPS, _SLEEP_NS = int(Tally.SLEEP_ITERATIONS), int(Tally.SLEEP_NS)
_RECEIVE, _MERGE, _CLASSIFY, _FORWARD, _GIVE_BACK, _POLL = (
    int(Stages.RECEIVE), int(Stages.MERGE), int(Stages.CLASSIFY), int(Stages.FORWARD), int(Stages.GIVE_BACK), int(Stages.POLL),
)  # fmt: skip
_ASKED, _READ, _ANSWERED, _TAKEN = int(Ring.ASKED), int(Ring.READ), int(Ring.ANSWERED), int(Ring.TAKEN)
_FOREVER = -1
_LAST_TURNS = 64
"""Turns after a stop in which what queues hold already still goes its way."""
_SLEEP_STEP, _SLEEP_LOAD = 1000, 16
"""A sleep grows by a microsecond with each turn that brings fewer frames than this (pmd-sleep-max of Open vSwitch)."""


@stage
def merge(shared, nth, count, _c, _d):
    """Let GRO make `seen` of the `count` frames of `polled` that the worker's queue `nth` gave."""
    parts = opened(shared)
    worker, polled, seen = opened(parts.worker), opened(parts.polled), opened(parts.seen)
    queue = worker.rx[nth]
    unsure = np.int64(0)
    for i in range(count):
        unsure += polled.frames[np.uint64(i)].ip_summed == CHECKSUM_NONE
    if unsure > 0:
        verify(polled, 0, count)
    flow_hash(polled, 0, count)
    table = gro_of(opened(parts.tables), queue.table)
    gro_poll(polled, 0, count, seen, table, worker.rules, queue.features, True, FLUSH_ALL)
    polled.used[FRAMES] = 0
    polled.used[FRAGS] = 0
    worker.counts[np.uint64(queue.port), _MERGED] += count - seen.used[FRAMES]
    return np.int64(0)


@stage
def poll(shared, nth, now, _c, _d):
    """Take a turn of one queue; return the frames that it gave."""
    parts = opened(shared)
    worker, polled, mirror = opened(parts.worker), opened(parts.polled), opened(parts.mirror)
    calls = worker.calls
    queue = worker.rx[nth]
    count = call_stage(calls[_RECEIVE], shared, nth, min(worker.settings[_WEIGHT], MAX_BURST), 0, 0)
    if count <= 0:
        if count < 0:
            worker.control[_BROKEN] = count
        # A ring may have been full of frames that are none: its slots go back too.
        call_stage(calls[_GIVE_BACK], shared, nth, 0, 0, 0)
        return np.int64(0)
    before = cycles()
    port = np.uint64(queue.port)
    size = np.int64(0)
    for i in range(count):
        size += polled.frames[np.uint64(i)].frame_len
    worker.counts[port, _RX] += count
    worker.counts[port, _RX_BYTES] += size
    parse(polled, 0, count)
    if wanted(mirror, WIRE_IN):
        watch_all(mirror, polled, 0, count, WIRE_IN, monotonic(worker.timespec))
    which = np.int64(POLLED)
    if queue.features & _GRO and queue.table >= 0:
        call_stage(calls[_MERGE], shared, nth, count, 0, 0)
        which = np.int64(SEEN)
    if wanted(mirror, DATAPATH):
        batch = batch_at(parts, which)
        watch_all(mirror, batch, 0, batch.used[FRAMES], DATAPATH, monotonic(worker.timespec))
    call_stage(calls[_CLASSIFY], shared, which, now, 0, 0)
    call_stage(calls[_FORWARD], shared, which, now, 0, 0)
    call_stage(calls[_GIVE_BACK], shared, nth, 0, 0, 0)
    queue.frames += count
    queue.cycles += cycles() - before
    return count


@inlined
def _turn(shared, parts, worker, waiting):
    """Serve everything once; return (answers, frames)."""
    now = monotonic(worker.timespec)
    start = cycles()
    answered = np.int64(0)
    if waiting.rings[_ANSWERED] != waiting.rings[_TAKEN]:
        answered = np.int64(take_answers(worker, waiting, opened(parts.seen), MAX_BURST))
        call_stage(worker.calls[_FORWARD], shared, SEEN, now, 0, 0)
    frames = np.int64(0)
    for nth in range(worker.rx_count[0]):
        frames += call_stage(worker.calls[_POLL], shared, nth, now, 0, 0)
    if waiting.rings[_ASKED] != waiting.rings[_READ]:
        wake_slow_path(worker)
    spent = cycles() - start
    busy = frames + answered > 0
    worker.tally[_ITERATIONS] += 1
    worker.tally[_BUSY] += busy
    worker.tally[_IDLE] += not busy
    worker.tally[_BUSY_CYCLES if busy else _IDLE_CYCLES] += spent
    return answered, frames


@inlined
def _sleep(worker, nanoseconds):
    """Sleep so long in the kernel."""
    worker.timespec[2] = 0
    worker.timespec[3] = nanoseconds
    before = monotonic(worker.timespec)
    libc.nanosleep(worker.timespec.ctypes.data + 16, 0)
    worker.tally[_SLEEPS] += 1
    worker.tally[_SLEEP_NS] += monotonic(worker.timespec) - before


@inlined
def _rest(worker, waiting):
    """Wait in epoll until a queue or somebody else has news."""
    # Who has news looks at ASLEEP after writing them, so they are looked for once more after saying so.
    worker.control[_ASLEEP] = 1
    fence()
    timeout = 0 if waiting.rings[_ANSWERED] != waiting.rings[_TAKEN] or worker.control[_STOP] else _FOREVER
    before = monotonic(worker.timespec)
    libc.epoll_wait(np.int32(worker.settings[_EPOLL]), worker.events.ctypes.data, 5, timeout)
    worker.control[_ASLEEP] = 0
    worker.tally[_SLEEPS] += 1
    worker.tally[_SLEEP_NS] += monotonic(worker.timespec) - before
    # Level-triggered: an eventfd that was written would wake us for ever.
    libc.read(np.int32(worker.settings[_EVENT]), worker.timespec.ctypes.data + 16, 8)


@kernel
def run(context):
    """Serve until `Control.STOP`, then what queues hold already; return the turns taken."""
    shared = shared_of(context)
    parts = opened(shared)
    worker, waiting = context.worker, context.waiting
    control = worker.control
    sleep = np.int64(0)
    last = np.int64(0)
    while last < _LAST_TURNS:
        control[_TURNS] += 1
        answered, frames = _turn(shared, parts, worker, waiting)
        if control[_STOP]:
            last = last + 1 if answered + frames > 0 else np.int64(_LAST_TURNS)
            continue
        if worker.settings[_EPOLL] >= 0:
            if answered + frames == 0:
                _rest(worker, waiting)
                if worker.settings[_DELAY] > 0:
                    _sleep(worker, worker.settings[_DELAY])
        elif worker.settings[_SLEEP_MAX] > 0:
            if frames >= _SLEEP_LOAD:
                sleep = np.int64(0)
            else:
                sleep = min(sleep + _SLEEP_STEP, worker.settings[_SLEEP_MAX])
                _sleep(worker, sleep)
    return control[_TURNS]


def link(context: Context) -> None:
    """Fill in the addresses of the stages, compiling those that this machine has not seen yet."""
    stages = {
        Stages.RECEIVE: receive,
        Stages.MERGE: merge,
        Stages.CLASSIFY: classify,
        Stages.FORWARD: forward,
        Stages.SEND: send,
        Stages.TRANSMIT: transmit,
        Stages.GIVE_BACK: give_back,
        Stages.RUN: run_program,
        Stages.POLL: poll,
    }
    for place, function in stages.items():
        context.worker.calls[place] = stage_address(function, context)
