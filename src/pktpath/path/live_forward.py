"""What the datapath does with a batch: look every frame up, then run the program of its megaflow.

Looking up goes stage after stage over the whole batch, so that the loads of one frame hide behind those of the next.
"""

import numpy as np

from pktpath.batch import FRAMES, release
from pktpath.jit import call_stage, inlined, opened, stage
from pktpath.path.live_transmit import output, send_lists
from pktpath.path.live_types import Setting, Stages, Tally, batch_at
from pktpath.path.live_upcall import ask
from pktpath.switch.actions import Operation
from pktpath.switch.datapath import Count
from pktpath.switch.emc import emc_insert, emc_lookup
from pktpath.switch.fields import KEY_WORDS
from pktpath.switch.flow_key import extract_key
from pktpath.switch.flow_table import NO_PORT
from pktpath.switch.megaflow import hash_key, megaflow_lookup
from pktpath.switch.meter import meter_pass
from pktpath.switch.rewrite import set_field
from pktpath.switch.rewrite_head import clone_frame
from pktpath.switch.rewrite_vlan import pop_vlan, push_vlan

WAITS = -1
"""In `Worker.todo`: no program, an upcall."""

_OUTPUT, _PUSH_VLAN, _POP_VLAN = int(Operation.OUTPUT), int(Operation.PUSH_VLAN), int(Operation.POP_VLAN)
_SET, _SET_HIGH, _METER, _CONTROLLER = (
    int(Operation.SET), int(Operation.SET_HIGH), int(Operation.METER), int(Operation.CONTROLLER),
)  # fmt: skip
_SEEN, _SEEN_BYTES, _COPIED = int(Count.SEEN), int(Count.SEEN_BYTES), int(Count.COPIED)
_DROP_ACTION, _DROP_METER, _DROP_MEMORY = int(Count.DROP_ACTION), int(Count.DROP_METER), int(Count.DROP_MEMORY)
_TO_CONTROLLER, _NOT_TO_CONTROLLER = int(Count.CONTROLLER), int(Count.CONTROLLER_DROPPED)
_CONTROLLER_RATE, _SECOND = int(Setting.CONTROLLER_RATE), 1_000_000_000
_PACKETS, _EMC_HITS, _MEGAFLOW_HITS = int(Tally.PACKETS), int(Tally.EMC_HITS), int(Tally.MEGAFLOW_HITS)
_RUN = int(Stages.RUN)
_LOOKUPS, _MISSED = int(Tally.SUBTABLE_LOOKUPS), int(Tally.MISSED_SUBTABLES)


@stage
def classify(shared, which, now, _c, _d):
    """Find the program of every frame of a batch; a frame that no megaflow covers waits for the slow path."""
    parts = opened(shared)
    worker, emc, table, waiting = opened(parts.worker), opened(parts.emc), opened(parts.megaflows), opened(parts.waiting)
    batch = batch_at(parts, which)
    count = batch.used[FRAMES]
    if count == 0:
        return np.int64(0)
    statistics = table.statistics[worker.number]
    keys = worker.keys
    short_on = emc.chance[1] > 0
    for i in range(count):
        words = extract_key(batch, i, keys, i)
        worker.words[i] = words
        worker.hashes[i] = hash_key(table.multipliers, keys, i, words)
    emc_hits = np.int64(0)
    for i in range(count):
        flow = np.int64(-1)
        if short_on:
            flow = emc_lookup(emc, table.flows, keys, i, worker.words[i], worker.hashes[i])
            emc_hits += flow >= 0
        worker.flow[i] = flow
    hits = np.int64(0)
    if emc_hits < count:
        for i in range(count):
            if worker.flow[i] < 0:
                for word in range(worker.words[i], KEY_WORDS):
                    keys[i, word] = 0
                flow, asked = megaflow_lookup(table, keys, i, worker.number)
                worker.flow[i] = flow
                if flow >= 0:
                    hits += 1
                    worker.tally[_LOOKUPS] += asked
                    if short_on:
                        emc_insert(emc, table.flows, keys, i, worker.words[i], worker.hashes[i], flow)
                else:
                    worker.tally[_MISSED] += asked
    worker.tally[_PACKETS] += count
    worker.tally[_EMC_HITS] += emc_hits
    worker.tally[_MEGAFLOW_HITS] += hits
    _account(worker, waiting, table, statistics, batch, now)
    return np.int64(0)


@inlined
def _account(worker, waiting, table, statistics, batch, now):
    """Count frames for their megaflows, whose runs are counted at once, note programs, and let the others wait."""
    count = batch.used[FRAMES]
    size = np.int64(0)
    i = np.int64(0)
    while i < count:
        flow = worker.flow[np.uint64(i)]
        if flow < 0:
            worker.todo[np.uint64(i)] = WAITS
            size += batch.frames[np.uint64(i)].frame_len
            ask(worker, waiting, batch, i, i)
            i += 1
            continue
        program = np.int64(table.flows[np.uint64(flow)].program)
        first = i
        octets = np.int64(0)
        flags = np.uint64(0)
        while i < count and worker.flow[np.uint64(i)] == flow:
            octets += batch.frames[np.uint64(i)].frame_len
            flags |= worker.keys[np.uint64(i), 4]
            worker.todo[np.uint64(i)] = program
            i += 1
        size += octets
        used = statistics[np.uint64(flow)]
        used.packets += i - first
        used.octets += octets
        used.used = now
        used.tcp_flags |= np.int64(flags >> np.uint64(16) & np.uint64(0xFFFF))
    # Frames of one batch came from one queue, so from one port.
    port = np.uint64(batch.frames[0].in_port)
    worker.counts[port, _SEEN] += count
    worker.counts[port, _SEEN_BYTES] += size


@stage
def forward(shared, which, now, _c, _d):
    """Run the program `worker.todo` of every frame and send what it puts out; the batch is empty afterwards."""
    parts = opened(shared)
    worker, programs, ports = opened(parts.worker), opened(parts.programs), opened(parts.ports)
    batch = batch_at(parts, which)
    count = batch.used[FRAMES]
    for i in range(count):
        number = worker.todo[i]
        if number < 0:
            continue
        only = np.int64(programs.programs[np.uint64(number)].only_port)
        if only != NO_PORT:
            while not output(worker, ports, np.uint64(batch.frames[np.uint64(i)].in_port), i, only):
                send_lists(shared, worker, which)
        else:
            call_stage(worker.calls[_RUN], shared, i, number, which, now)
    send_lists(shared, worker, which)
    release(batch)
    return np.int64(0)


@inlined
def _may_disturb(controller, rate, now):
    """Whether the rate limit lets one more copy go to the controller: a quarter of a second's worth at once, as in OVS."""
    if rate == 0:
        return True
    elapsed = min(now - controller[1], _SECOND)
    controller[0] = min(controller[0] + elapsed * rate, max(rate // 4, 1) * _SECOND)
    controller[1] = now
    if controller[0] < _SECOND:
        return False
    controller[0] -= _SECOND
    return True


@stage
def run_program(shared, frame, number, which, now):
    """Run a program of several rows for one frame."""
    parts = opened(shared)
    worker, programs, ports, meters = opened(parts.worker), opened(parts.programs), opened(parts.ports), opened(parts.meters)
    batch = batch_at(parts, which)
    first = np.int64(programs.programs[np.uint64(number)].first)
    rows = np.int64(programs.programs[np.uint64(number)].rows)
    port = np.uint64(batch.frames[frame].in_port)
    counts = worker.counts[port]
    i = np.int64(frame)
    outputs = np.int64(0)
    listed = False  # whether a list holds frame `i` as it is now
    for row in range(first, first + rows):
        operation = programs.rows[row, 0]
        a = programs.rows[row, 1]
        b = programs.rows[row, 2]
        c = programs.rows[row, 3]
        if operation == _OUTPUT:
            while not output(worker, ports, port, i, a):
                send_lists(shared, worker, which)
            outputs += 1
            listed = True
            continue
        if operation == _METER:
            size = np.int64(batch.frames[i].gso_size)
            segments = (np.int64(batch.frames[i].payload_len) + size - 1) // size if size > 0 else np.int64(1)
            if not meter_pass(meters, a, now, max(segments, 1), np.int64(batch.frames[i].frame_len)):
                counts[_DROP_METER] += outputs == 0
                counts[_COPIED] += max(outputs - 1, 0)
                return np.int64(0)
            continue
        if operation == _CONTROLLER:
            counts[
                _TO_CONTROLLER if _may_disturb(worker.controller, worker.settings[_CONTROLLER_RATE], now) else _NOT_TO_CONTROLLER
            ] += 1
            continue
        if listed:
            # What is on a list stays as it is: the writes that follow are a copy's.
            j = clone_frame(batch, i)
            if j < 0:
                counts[_DROP_MEMORY] += outputs == 0
                counts[_COPIED] += max(outputs - 1, 0)
                return np.int64(0)
            i = np.int64(j)
            listed = False
        done = False
        if operation == _PUSH_VLAN:
            done = push_vlan(batch, i, a, b)
        elif operation == _POP_VLAN:
            done = pop_vlan(batch, i)
        elif operation == _SET:
            done = set_field(batch, i, a, b, c, False)
        elif operation == _SET_HIGH:
            done = set_field(batch, i, a, b, c, True)
        if not done:
            counts[_DROP_MEMORY] += outputs == 0
            counts[_COPIED] += max(outputs - 1, 0)
            return np.int64(0)
    counts[_DROP_ACTION] += outputs == 0
    counts[_COPIED] += max(outputs - 1, 0)
    return np.int64(0)
