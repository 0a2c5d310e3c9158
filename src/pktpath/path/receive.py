"""The way of a frame from a ring to the stack: the poll of one instance.

ring ─ (checksum) ─ lro | gro ─ stack, or the backlog of another CPU

A poll goes step by step, so that on a capture's clock frames arrive while it runs. Up to `GROUP` frames go
through the offloads at once, as the kernel hands them up (gro_normal_batch); where a group ends makes no
difference to what merges. With LRO on, the driver merges and GRO sees nothing.
"""

from typing import NamedTuple

import numpy as np

from pktpath.batch import FRAGS, FRAMES, Batch, batch_of, make_batch, make_batches
from pktpath.jit import inlined
from pktpath.nic.backlog import NO_CPU, backlog_length, backlog_take, enqueue_to_backlog, rps_cpu
from pktpath.nic.clock import look, spend
from pktpath.nic.counters import Event, QueueCount, Stage, note, wait_bucket
from pktpath.nic.host import Card, Host
from pktpath.nic.lists import NOBODY
from pktpath.nic.moderation import adapt, irq_unmask
from pktpath.nic.napi import (
    DISABLE,
    IN_BUSY_POLL,
    SCHED,
    busy_poll_end,
    napi_budget,
    napi_complete_done,
    napi_complete_prepare,
    napi_may_complete,
    napi_schedule,
    to_poller,
)
from pktpath.nic.rings import ring_take, ring_waiting
from pktpath.nic.softnet import jiffy_of, round_polled
from pktpath.offload.gro import FLUSH_ALL, FLUSH_OLD, NO_FLUSH, gro_held, gro_poll
from pktpath.offload.gro_table import GroTable, gro_of, make_gro_tables
from pktpath.offload.lro import lro_flush_all, lro_receive
from pktpath.offload.lro_table import LroTable, lro_of, make_lro_tables
from pktpath.offload.rules import DEFAULT_RULES, RULES, KernelRules
from pktpath.pool import Pool

_PARKED = 4096
"""Segments that an instance may hold from one group to the next."""
_TAKEN, _BYTES = int(QueueCount.TAKEN), int(QueueCount.BYTES)
_POLLS, _EMPTY, _FULL = int(QueueCount.POLLS), int(QueueCount.EMPTY_POLLS), int(QueueCount.FULL_POLLS)
_POLL_TIME, _DRIVER, _OFFLOAD = int(Stage.POLL), int(Stage.DRIVER), int(Stage.OFFLOAD)
_STACK, _STEER = int(Stage.STACK), int(Stage.STEER)
_POLLED, _DELIVERED, _DROPPED = int(Event.POLL), int(Event.DELIVERED), int(Event.DROPPED)


class Switches(NamedTuple):
    """What is switched on, as compiled code takes it."""

    features: int
    """Number of a `Feature` value."""
    lro: bool
    gro: bool
    verify: bool
    """Checksums are summed up by the CPU: rx-checksumming is off."""
    netif_rx: bool
    """The world before NAPI: the handler hands each frame to the backlog."""
    copy: bool
    """The card writes each frame into memory of its own; else it stays where the batch has it."""
    grain: int
    """Frames that a poll takes in one step: 1 where time is told by what work costs, more on the wall clock."""
    group: int
    """Frames that go through the offloads at once."""
    busy_poll: int
    """Nanoseconds that a reader polls by itself after its last frame, 0 for none."""


class Receiver(NamedTuple):
    """A card, its host and what the frames need on the way."""

    card: Card
    host: Host
    polls: Batch
    """(cpus) frames of the group that each CPU has in hand."""
    tables: GroTable
    """(queues) what GRO holds of each instance."""
    sessions: LroTable
    """(queues) what LRO holds of each instance."""
    stack: Batch
    """What the stack was given; whoever runs the receiver empties it."""
    originals: Batch
    """Descriptors of the frames that arrived last, by their `origin`: a power of two of them, so that merged frames
    can be set beside what they were made of. Of one frame where nobody asks for that."""
    rules: KernelRules
    switches: Switches


def make_receiver(
    pool: Pool, card: Card, host: Host, switches: Switches, *, stack_frames: int = 8192, originals: int = 1
) -> Receiver:
    """Return a receiver whose frames lie in `pool`; GRO needs a header chunk for each frame that it may merge at a time.

    `originals` is how many frames at the most are on their way through the host at a time, rounded up to a power of two.
    """
    return Receiver(
        card,
        host,
        make_batches(pool, len(host.softnet), max(switches.group, 1), 1),
        make_gro_tables(len(card.queues), frames=_PARKED),
        make_lro_tables(len(card.queues), frames=_PARKED if switches.lro else 1),
        make_batch(pool, stack_frames, stack_frames + 2 * _PARKED + 1024),
        make_batch(pool, 1 << (originals - 1).bit_length(), 1),
        RULES[DEFAULT_RULES],
        switches,
    )


@inlined
def stack_is_full(r):
    """Whether one more poll could deliver more than `stack` has room for."""
    stack = r.stack
    return stack.used[FRAMES] + 2 * 64 + r.switches.group > len(stack.frames) or stack.used[FRAGS] + len(
        r.tables.free_parked[0]
    ) + 2 * r.switches.group > len(stack.frag_addr)


@inlined
def begin_poll(r, cpu, number):
    """Start to poll an instance."""
    host = r.host
    state = host.softnet[cpu]
    state.polling = number
    state.taken = 0
    _work(host, cpu, _POLL_TIME, host.costs.poll)
    note(host.timeline, _POLLED, host.clock.hands[cpu], 1)
    if number < len(r.card.queues):
        r.card.counts[number, _POLLS] += 1


@inlined
def poll_step(r, cpu):
    """Take the next frames of the poll that runs on a CPU; True when the group in hand shall go up (`hand_up`)."""
    state = r.host.softnet[cpu]
    if state.polling < len(r.card.queues):
        return _queue_step(r, cpu, np.int64(state.polling))
    _backlog_step(r, cpu, np.int64(state.polling))
    return False


@inlined
def _work(host, cpu, stage, nanoseconds):
    """Let a CPU work, and book it."""
    spend(host.clock, cpu, nanoseconds)
    host.times[cpu, stage] += nanoseconds


@inlined
def _queue_step(r, cpu, queue):
    host = r.host
    switches = r.switches
    state = host.softnet[cpu]
    group = batch_of(r.polls, cpu)
    before = group.used[FRAMES]
    left = napi_budget(host.napis[queue]) - state.taken
    most = min(switches.grain, left, switches.group - before)
    count = ring_take(r.card.rings, queue, group, most)
    if count > 0:
        state.taken += count
        state.fed_at = host.clock.hands[cpu]
        octets = book_taken(r.card, queue, group, before, count)
        _work(host, cpu, _DRIVER, count * host.costs.frame)
        if switches.gro or switches.lro:
            _work(host, cpu, _OFFLOAD, count * host.costs.gro)
        if switches.verify:
            _work(host, cpu, _OFFLOAD, octets * host.costs.sum // 1000)
    full = count == left
    # Fewer than asked for: the ring is empty.
    state.ends = full or count < most
    state.flush = NO_FLUSH
    if state.ends and napi_may_complete(host.napis[queue]):
        if full:
            state.flush = FLUSH_OLD if host.limits.hz >= 1000 else FLUSH_ALL
        elif host.napis[queue].gro_flush_timeout == 0:
            state.flush = FLUSH_ALL
    return state.ends or group.used[FRAMES] >= switches.group


@inlined
def book_taken(card, queue, batch, first, count):
    """Count frames that were taken out of a ring; return their bytes."""
    octets = np.int64(0)
    for i in range(np.uint64(first), np.uint64(first + count)):
        octets += np.int64(batch.frames[i].wire_len)
    card.counts[queue, _TAKEN] += count
    card.counts[queue, _BYTES] += octets
    return octets


@inlined
def hand_up(r, cpu):
    """Send the group in hand through LRO or GRO, flush what `flush` says, and give the stack what comes out."""
    host = r.host
    state = host.softnet[cpu]
    queue = np.int64(state.polling)
    group = batch_of(r.polls, cpu)
    count = group.used[FRAMES]
    before = r.stack.used[FRAMES]
    if r.switches.lro:
        sessions = lro_of(r.sessions, queue)
        if count > 0:
            lro_receive(group, 0, count, r.stack, sessions)
        # The driver flushes at the end of each of its polls, whatever NAPI does afterwards.
        if state.ends:
            lro_flush_all(r.stack, sessions)
    elif count > 0 or state.flush != NO_FLUSH:
        table = gro_of(r.tables, queue)
        # What is held from now on is of this age.
        table.jiffy[0] = jiffy_of(host.limits, host.clock.hands[cpu]) & 0x7FFFFFFF
        gro_poll(group, 0, count, r.stack, table, r.rules, r.switches.features, False, state.flush)
    group.used[FRAMES] = 0
    _deliver(r, cpu, before)


@inlined
def after_hand_up(r, cpu):
    """Go on after a group went up; True when `hand_up` is wanted once more, for what is too old to stay held.

    At the end of a poll: `napi_complete_done`, or, after all of the weight, back to the end of the line (`__napi_poll`).
    """
    host = r.host
    state = host.softnet[cpu]
    if not state.ends:
        return False
    queue = np.int64(state.polling)
    napi = host.napis[queue]
    work = np.int64(state.taken)
    full = work >= napi_budget(napi)
    repoll = full and not napi.state & (DISABLE | IN_BUSY_POLL)
    completes = not repoll and napi_may_complete(napi)
    if completes and not state.completing:
        held = gro_held(gro_of(r.tables, queue))
        # After all of the weight only because it is being disabled: the kernel then says that there was no work.
        timeout, unmask = napi_complete_prepare(napi, np.int64(0) if full else work, held)
        state.timeout = timeout
        state.unmask = unmask
        if held:
            state.completing = 1
            state.flush = FLUSH_OLD if timeout > 0 else FLUSH_ALL
            return True
    state.completing = 0
    now = look(host.clock, cpu)
    if completes:
        line = r.card.queues[queue]
        if napi_complete_done(host.napis, queue, host.lists, now, np.int64(state.timeout), state.unmask):
            irq_unmask(line, now, ring_waiting(r.card.rings, queue))
        adapt(line, now, r.card.counts[queue, _TAKEN], r.card.counts[queue, _BYTES])
    host.poll_sizes[min(work, len(host.poll_sizes) - 1)] += 1
    r.card.counts[queue, _EMPTY] += work == 0
    r.card.counts[queue, _FULL] += full
    state.polling = NOBODY
    end_of_turn(r, cpu, queue, work, repoll, now)
    if napi.state & IN_BUSY_POLL and work > 0:
        end_busy_poll(r, cpu, queue)
    return False


@inlined
def end_busy_poll(r, cpu, queue):
    """A reader stops to poll: it has frames to read, or its time is over; one poll more completes the instance."""
    busy_poll_end(r.host.napis[queue])
    begin_poll(r, cpu, queue)


@inlined
def end_of_turn(r, cpu, number, work, repoll, now):
    """Tell the round, or the thread, that its instance was polled."""
    host = r.host
    if host.softnet[cpu].in_round:
        round_polled(host.softnet, host.lists, host.round_lists, cpu, host.napis, number, work, repoll, now, host.limits)
    elif repoll:
        to_poller(host.napis, number, host.lists)


@inlined
def _deliver(r, cpu, before):
    """Hand the frames of `stack` from `before` on to IP here, or to the backlog of the CPU that they are steered to."""
    host = r.host
    stack = r.stack
    end = stack.used[FRAMES]
    for j in range(before, end):
        frame = stack.frames[np.uint64(j)]
        octets = np.int64(frame.wire_len)
        segments = max(np.int64(frame.gso_segs), 1)
        target = rps_cpu(host.backlog, np.int64(frame.hash))
        if target == NO_CPU:
            to_stack(host, cpu, octets, segments, frame.timestamp)
        else:
            to_backlog(r, cpu, target, octets, segments, frame.timestamp)


@inlined
def to_stack(host, cpu, octets, segments, arrived):
    """Let IP, transport and reader have a frame."""
    if host.timeline.recording:
        host.waits[wait_bucket(host.clock.hands[cpu] - arrived)] += segments
    _work(host, cpu, _STACK, host.costs.stack + octets * host.costs.byte // 1000)
    host.softnet[cpu].processed += 1
    host.softnet[cpu].segments += segments
    note(host.timeline, _DELIVERED, host.clock.hands[cpu], 1)


@inlined
def to_backlog(r, cpu, target, octets, segments, arrived):
    """Leave a frame to the softirq of a CPU; False when its backlog is full."""
    host = r.host
    now = host.clock.hands[cpu]
    if not enqueue_to_backlog(host.backlog, target, octets, segments, arrived):
        host.softnet[target].dropped += 1
        host.softnet[target].lost += segments
        note(host.timeline, _DROPPED, now, segments)
        return False
    # Nobody has to poll once more for it: the backlog is looked at until it is empty.
    number = len(r.card.queues) + target
    if not host.napis[number].state & SCHED and napi_schedule(host.napis, number, host.lists) and target != cpu:
        host.softnet[target].received_rps += 1
        host.softnet[target].ipi = 1
        host.wake[target] = min(host.wake[target], max(now, host.clock.hands[target]))
    return True


@inlined
def _backlog_step(r, cpu, number):
    """`process_backlog`: one frame, or the end of the poll."""
    host = r.host
    state = host.softnet[cpu]
    napi = host.napis[number]
    if backlog_length(host.backlog, cpu) > 0:
        octets, segments, arrived = backlog_take(host.backlog, cpu)
        state.taken += 1
        if r.switches.netif_rx and r.switches.verify:  # with NAPI the poll did
            _work(host, cpu, _OFFLOAD, octets * host.costs.sum // 1000)
        to_stack(host, cpu, octets, segments, arrived)
    full = state.taken >= napi.weight
    if full or backlog_length(host.backlog, cpu) == 0:
        work = np.int64(state.taken)
        now = look(host.clock, cpu)
        if not full:
            napi_complete_done(host.napis, number, host.lists, now, np.int64(0), False)
        state.polling = NOBODY
        end_of_turn(r, cpu, number, work, full, now)
