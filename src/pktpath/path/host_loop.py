"""Time in a host: frames arrive, interrupts come, CPUs do one step after another, in the order of the clock.

Enters: a parsed batch whose timestamps are nanoseconds since the start and whose hashes are known. Leaves:
frames in `Receiver.stack` and every counter of card and host. What is due first happens next; an arrival comes
before a CPU's step of the same time, CPUs in the order of their numbers: the same capture gives the same result.
"""

import numpy as np

from pktpath.batch import FRAMES
from pktpath.jit import inlined, kernel
from pktpath.nic.clock import NEVER, look, spend
from pktpath.nic.counters import Event, QueueCount, Stage, note
from pktpath.nic.lists import HEAD, pop
from pktpath.nic.moderation import irq_arm, irq_fire, irq_mask
from pktpath.nic.napi import (
    IN_BUSY_POLL,
    NPSVC,
    SCHED_THREADED,
    busy_poll_begin,
    napi_schedule,
    napi_watchdog,
)
from pktpath.nic.rings import ring_drop, ring_full, ring_put, ring_take, ring_waiting
from pktpath.nic.softnet import round_begin, round_next
from pktpath.path.receive import (
    after_hand_up,
    begin_poll,
    book_taken,
    end_busy_poll,
    hand_up,
    poll_step,
    stack_is_full,
    to_backlog,
)
from pktpath.pool import HEADROOM, NO_CHUNK, NORMAL, chunk_address, chunk_alloc, chunk_class_for, chunk_put

ARRIVALS_WANTED, STACK_FULL, IDLE = 0, 1, 2
"""Why `run` came back: it needs to know what arrives next; `stack` must be emptied; nothing is left to do."""
_NO_BUFFER, _INTERRUPTS, _TIMERS = int(QueueCount.NO_BUFFER), int(QueueCount.INTERRUPTS), int(QueueCount.TIMERS)
_BUSY_POLLS = int(QueueCount.BUSY_POLLS)
_IRQ, _POLL_TIME, _DRIVER, _STEER = int(Stage.IRQ), int(Stage.POLL), int(Stage.DRIVER), int(Stage.STEER)
_SPIN, _LOST = int(Stage.SPIN), int(Stage.LOST)
_ARRIVED, _DROPPED, _INTERRUPT = int(Event.ARRIVED), int(Event.DROPPED), int(Event.INTERRUPT)


@kernel
def run(r, batch, first, last, queue_of_frame, finish):
    """Let frames `first` to `last` (excluded) arrive and the CPUs work.

    Args:
        r: a `Receiver`.
        batch: frames in the order of their time; those that arrived belong to the receiver.
        first: the next frame to arrive.
        last: the frame after the last that is known.
        queue_of_frame: (frames,) the ring that each frame goes to.
        finish: whether nothing arrives afterwards; otherwise time ends with the last arrival.

    Returns:
        (next frame to arrive, why it came back).

    """
    wake = r.host.wake
    i = np.int64(first)
    while True:
        cpu = 0
        for other in range(1, len(wake)):
            if wake[other] < wake[cpu]:
                cpu = other
        if i < last and batch.frames[np.uint64(i)].timestamp <= wake[cpu]:
            _arrive(r, batch, np.uint64(i), queue_of_frame[i])
            i += 1
        elif i >= last and not finish:
            return i, ARRIVALS_WANTED
        elif wake[cpu] == NEVER:
            return i, IDLE
        else:
            if stack_is_full(r):
                return i, STACK_FULL
            _wait_until(r, cpu, wake[cpu])
            # Here and not further down: what is deep inside is compiled again on each floor above it.
            goes_up = _cpu_step(r, cpu)
            while goes_up:
                hand_up(r, cpu)
                goes_up = after_hand_up(r, cpu)
            wake[cpu] = _next_step(r, cpu)


@inlined
def _arrive(r, batch, i, queue):
    card = r.card
    frame = batch.frames[i]
    now = frame.timestamp
    note(r.host.timeline, _ARRIVED, now, 1)
    if ring_full(card.rings, queue):
        ring_drop(card.rings, queue)
        chunk_put(batch.pool, np.int64(frame.head_chunk))
        note(r.host.timeline, _DROPPED, now, 1)
        return
    if r.switches.copy and not _write_to_memory(batch, i, r.stack.pool):
        card.counts[queue, _NO_BUFFER] += 1
        note(r.host.timeline, _DROPPED, now, 1)
        return
    if r.switches.copy:
        _remember(batch, i, r.originals)
    ring_put(card.rings, queue, batch, i)
    line = card.queues[np.uint64(queue)]
    if not line.masked:
        due = np.int64(line.irq_at)
        irq_arm(line, now, 1)
        if line.irq_at != due:
            _wake_at(r.host, queue, np.int64(line.irq_at))
    if r.switches.busy_poll > 0 and r.host.napis[queue].state & IN_BUSY_POLL:
        _wake_at(r.host, queue, now)


@inlined
def _wake_at(host, queue, when):
    """Let the CPU of a queue do its next step at `when`, or earlier where it has one."""
    cpu = np.int64(host.napis[queue].cpu)
    host.wake[cpu] = min(host.wake[cpu], max(when, host.clock.hands[cpu]))


@inlined
def _wait_until(r, cpu, when):
    """Let time pass on a CPU that has nothing to do, or whose reader polls in vain."""
    host = r.host
    gap = when - host.clock.hands[cpu]
    if host.clock.wall or gap <= 0:
        return
    host.clock.hands[cpu] = when
    if r.switches.busy_poll > 0:
        for queue in range(cpu, len(r.card.queues), len(host.wake)):
            if host.napis[queue].state & IN_BUSY_POLL:
                host.times[cpu, _SPIN] += gap
                break


@inlined
def _write_to_memory(batch, i, pool):
    """Write a frame into a buffer of the host, as a card does; False when none is free."""
    frame = batch.frames[i]
    length = np.int64(frame.head_len)
    chunk_class = max(chunk_class_for(length), NORMAL)
    chunk = chunk_alloc(pool, chunk_class) if length + HEADROOM <= pool.size[chunk_class] else NO_CHUNK
    if chunk == NO_CHUNK:
        return False
    target = chunk_address(pool, chunk) + HEADROOM
    source = frame.head_addr
    for k in range(length):
        pool.mem[target + k] = batch.pool.mem[source + k]
    frame.head_addr = target
    frame.head_chunk = chunk
    frame.option_addr = 0
    frame.option_len = 0
    return True


@inlined
def _remember(batch, i, originals):
    """Keep the descriptor of a frame that arrived, under the number that its payload will carry."""
    number = originals.used[FRAMES] & (len(originals.frames) - 1)
    originals.used[FRAMES] += 1
    batch.frames[i].origin = number
    originals.frames[np.uint64(number)] = batch.frames[i]


@inlined
def _cpu_step(r, cpu):
    """Do what is due first on a CPU: interrupts, then the softirq, then threads, then a busy polling reader.

    Returns whether a group of frames shall go up.
    """
    host = r.host
    state = host.softnet[cpu]
    now = look(host.clock, cpu)
    if state.ipi:
        state.ipi = 0
        _work(host, cpu, _STEER, host.costs.ipi)
    elif _interrupted(r, cpu, now):
        return False
    elif state.polling >= 0:
        return poll_step(r, cpu)
    elif state.in_round:
        _poll_next(r, cpu, round_next(host.softnet, host.lists, host.round_lists, cpu, host.napis))
    elif host.lists[cpu, HEAD] >= 0:
        round_begin(host.softnet, host.lists, host.round_lists, cpu, host.napis, now, host.limits)
    elif host.lists[len(host.wake) + cpu, HEAD] >= 0:
        number = pop(host.lists, len(host.wake) + cpu, host.napis)
        if not host.napis[number].state & SCHED_THREADED:
            host.napis[number].state = np.int64(host.napis[number].state) | SCHED_THREADED
            _work(host, cpu, _POLL_TIME, host.costs.wake)
        _poll_next(r, cpu, number)
    elif r.switches.busy_poll > 0:
        _busy_poll(r, cpu, now)
    return False


@inlined
def _poll_next(r, cpu, number):
    if number >= 0 and not r.host.napis[number].state & NPSVC:
        begin_poll(r, cpu, number)


@inlined
def _work(host, cpu, stage, nanoseconds):
    spend(host.clock, cpu, nanoseconds)
    host.times[cpu, stage] += nanoseconds


@inlined
def _interrupted(r, cpu, now):
    """Handle one interrupt, or one timer, that is due."""
    host = r.host
    cpus = len(host.wake)
    for queue in range(cpu, len(r.card.queues), cpus):
        if r.card.queues[queue].irq_at <= now:
            _interrupt(r, cpu, queue, now)
            return True
        if host.napis[queue].timer <= now:
            _work(host, cpu, _IRQ, host.costs.irq)
            r.card.counts[queue, _TIMERS] += 1
            napi_watchdog(host.napis, queue, host.lists)
            return True
    return False


@inlined
def _interrupt(r, cpu, queue, now):
    host = r.host
    line = r.card.queues[queue]
    told = ring_waiting(r.card.rings, queue) if line.usecs > 0 or line.frames > 1 else np.int64(1)
    irq_fire(line)
    r.card.counts[queue, _INTERRUPTS] += 1
    note(host.timeline, _INTERRUPT, now, 1)
    if r.switches.netif_rx:
        _netif_rx(r, cpu, queue, told)
        waiting = ring_waiting(r.card.rings, queue)
        if waiting > 0:
            irq_arm(line, now, waiting)
    else:
        _work(host, cpu, _IRQ, host.costs.irq)
        irq_mask(line)
        napi_schedule(host.napis, queue, host.lists)


@inlined
def _netif_rx(r, cpu, queue, most):
    """The handler before NAPI: take frames out of the ring and leave each to the softirq, or drop it."""
    host = r.host
    stack = r.stack
    before = stack.used[FRAMES]
    count = ring_take(r.card.rings, queue, stack, min(most, np.int64(64)))
    book_taken(r.card, queue, stack, before, count)
    kept = before
    for j in range(before, before + count):
        frame = stack.frames[np.uint64(j)]
        first = host.costs.irq if j == before else 0
        if to_backlog(r, cpu, cpu, np.int64(frame.wire_len), np.int64(1), frame.timestamp):
            _work(host, cpu, _IRQ, first)
            _work(host, cpu, _DRIVER, host.costs.frame)
            stack.frames[np.uint64(kept)] = stack.frames[np.uint64(j)]
            kept += 1
        else:
            chunk_put(stack.pool, np.int64(frame.head_chunk))
            _work(host, cpu, _LOST, first + host.costs.frame)
    if count == 0:
        _work(host, cpu, _IRQ, host.costs.irq)
    stack.used[FRAMES] = kept


@inlined
def _busy_poll(r, cpu, now):
    """A reader with nothing to read polls the queues of its CPU, for some time after its last frame."""
    host = r.host
    state = host.softnet[cpu]
    over = now >= state.fed_at + r.switches.busy_poll
    for queue in range(cpu, len(r.card.queues), len(host.wake)):
        napi = host.napis[queue]
        if napi.state & IN_BUSY_POLL:
            if over:
                end_busy_poll(r, cpu, queue)
                return
            if ring_waiting(r.card.rings, queue) > 0:
                r.card.counts[queue, _BUSY_POLLS] += 1
                begin_poll(r, cpu, queue)
                return
        elif not over and state.fed_at > 0:
            busy_poll_begin(napi)


@inlined
def _next_step(r, cpu):
    """Return when a CPU does its next step; NEVER while it waits for others."""
    host = r.host
    state = host.softnet[cpu]
    cpus = len(host.wake)
    now = host.clock.hands[cpu]
    if state.ipi or state.polling >= 0 or state.in_round or host.lists[cpu, HEAD] >= 0 or host.lists[cpus + cpu, HEAD] >= 0:
        return now
    when = np.int64(NEVER)
    for queue in range(cpu, len(r.card.queues), cpus):
        when = min(when, r.card.queues[queue].irq_at, host.napis[queue].timer)
        if r.switches.busy_poll > 0 and state.fed_at > 0:
            if host.napis[queue].state & IN_BUSY_POLL:
                waits = ring_waiting(r.card.rings, queue) > 0
                when = min(when, now if waits else state.fed_at + r.switches.busy_poll)
            elif now < state.fed_at + r.switches.busy_poll:
                when = min(when, now)
    return when if when == NEVER else max(when, now)
