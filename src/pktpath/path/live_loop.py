"""The turn of a datapath thread, compiled: answers of the slow path, then each queue, then rest if nothing came.

queue ─ parse ─ (verify checksums) ─ gro ─ classify ─ forward ─ lists ─ gso, unless the port does it ─ port

With an epoll a thread sleeps until a queue or the slow path has something (interrupt mode); without it, it asks again
and again (poll mode) and may sleep a little longer each time that nothing came.
"""

import numpy as np

from pktpath.batch import CHECKSUM_NONE, FRAGS, FRAMES, release
from pktpath.features import Feature
from pktpath.jit import inlined, kernel
from pktpath.nic.clock import cycles, monotonic
from pktpath.offload.checksum import verify
from pktpath.offload.flow_hash import flow_hash
from pktpath.offload.gro import FLUSH_ALL, gro_poll
from pktpath.offload.gro_table import gro_of
from pktpath.path.live_forward import classify, forward
from pktpath.path.live_mirror import DATAPATH, WIRE_IN, wanted, watch_all
from pktpath.path.live_queues import give_back, receive
from pktpath.path.live_types import Control, Setting, Tally
from pktpath.path.live_upcall import take_answers, wake_slow_path
from pktpath.port import libc
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
_FOREVER = -1
_LAST_TURNS = 64
"""Turns after a stop in which what queues hold already still goes its way."""
_SLEEP_STEP, _SLEEP_LOAD = 1000, 16
"""A sleep grows by a microsecond with each turn that brings fewer frames than this (pmd-sleep-max of Open vSwitch)."""


@inlined
def _poll(worker, datapath, queues, nth, now):
    """Take a turn of one queue; return the frames that it gave."""
    queue = worker.rx[nth]
    polled, seen = worker.polled, worker.seen
    count = np.int64(receive(queues, queue.kind, queue.row, polled, min(worker.settings[_WEIGHT], MAX_BURST), worker.scratch))
    if count <= 0:
        if count < 0:
            worker.control[_BROKEN] = count
        return np.int64(0)
    port = np.uint64(queue.port)
    size = np.int64(0)
    unsure = np.int64(0)
    for i in range(count):
        frame = polled.frames[np.uint64(i)]
        frame.in_port = queue.port
        size += frame.frame_len
        unsure += frame.ip_summed == CHECKSUM_NONE
    worker.counts[port, _RX] += count
    worker.counts[port, _RX_BYTES] += size
    parse(polled, 0, count)
    if wanted(worker.mirror, WIRE_IN):
        watch_all(worker.mirror, polled, 0, count, WIRE_IN, now)
    merge = queue.features & _GRO != 0 and queue.table >= 0
    batch = polled
    if merge:
        if unsure > 0:
            verify(polled, 0, count)
        flow_hash(polled, 0, count)
        table = gro_of(worker.tables, queue.table)
        gro_poll(polled, 0, count, seen, table, worker.rules, queue.features, True, FLUSH_ALL)
        polled.used[FRAMES] = 0
        polled.used[FRAGS] = 0
        worker.counts[port, _MERGED] += count - seen.used[FRAMES]
        batch = seen
    if wanted(worker.mirror, DATAPATH):
        watch_all(worker.mirror, batch, 0, batch.used[FRAMES], DATAPATH, now)
    classify(worker, datapath, batch, now)
    forward(worker, datapath, queues, batch, now)
    release(batch)
    give_back(queues, queue.kind, queue.row)
    return count


@inlined
def _answers(worker, datapath, queues, now):
    """Let the frames that the slow path answered go their way; return how many."""
    count = np.int64(take_answers(worker, worker.seen, MAX_BURST))
    if count > 0:
        forward(worker, datapath, queues, worker.seen, now)
        release(worker.seen)
    return count


@inlined
def _turn(worker, datapath, queues):
    """Serve everything once; return (answers, frames)."""
    now = monotonic(worker.timespec)
    start = cycles()
    answered = _answers(worker, datapath, queues, now)
    frames = np.int64(0)
    for nth in range(worker.rx_count[0]):
        before = cycles()
        count = _poll(worker, datapath, queues, nth, now)
        if count > 0:
            queue = worker.rx[nth]
            queue.frames += count
            queue.cycles += cycles() - before
        frames += count
    wake_slow_path_if_asked(worker)
    spent = cycles() - start
    busy = frames + answered > 0
    worker.tally[_ITERATIONS] += 1
    worker.tally[_BUSY] += busy
    worker.tally[_IDLE] += not busy
    worker.tally[_BUSY_CYCLES if busy else _IDLE_CYCLES] += spent
    return answered, frames


@inlined
def wake_slow_path_if_asked(worker):
    """Wake the slow path where it sleeps and an upcall waits."""
    if worker.waiting.rings[0] != worker.waiting.rings[1]:
        wake_slow_path(worker)


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
def _rest(worker):
    """Wait in epoll until a queue or somebody else has news."""
    # Who has news looks at ASLEEP after writing them, so they are looked for once more after saying so.
    worker.control[_ASLEEP] = 1
    timeout = 0 if worker.waiting.rings[2] != worker.waiting.rings[3] or worker.control[_STOP] else _FOREVER
    before = monotonic(worker.timespec)
    libc.epoll_wait(np.int32(worker.settings[_EPOLL]), worker.events.ctypes.data, 5, timeout)
    worker.control[_ASLEEP] = 0
    worker.tally[_SLEEPS] += 1
    worker.tally[_SLEEP_NS] += monotonic(worker.timespec) - before
    # Level-triggered: an eventfd that was written would wake us for ever.
    libc.read(np.int32(worker.settings[_EVENT]), worker.timespec.ctypes.data + 16, 8)


@kernel
def run(worker, datapath, queues):
    """Serve until `Control.STOP`, then what queues hold already; return the turns taken."""
    control = worker.control
    sleep = np.int64(0)
    last = np.int64(0)
    while last < _LAST_TURNS:
        control[_TURNS] += 1
        answered, frames = _turn(worker, datapath, queues)
        if control[_STOP]:
            last = last + 1 if answered + frames > 0 else np.int64(_LAST_TURNS)
            continue
        if worker.settings[_EPOLL] >= 0:
            if answered + frames == 0:
                _rest(worker)
                if worker.settings[_DELAY] > 0:
                    _sleep(worker, worker.settings[_DELAY])
        elif worker.settings[_SLEEP_MAX] > 0:
            if frames >= _SLEEP_LOAD:
                sleep = np.int64(0)
            else:
                sleep = min(sleep + _SLEEP_STEP, worker.settings[_SLEEP_MAX])
                _sleep(worker, sleep)
    return control[_TURNS]
