"""From the counters of a receiver to what a person reads of a replay."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pktpath.nic.counters import BINS, Event, QueueCount, Stage, bucket_start
from pktpath.offload.lro_table import STATISTICS
from pktpath.offload.reason import Reason
from pktpath.path.loss import named
from pktpath.path.receive import Receiver
from pktpath.path.replay_types import CpuReport, QueueReport, Replayed

_SECOND = 1e9


def report(receiver: Receiver, losses: NDArray[np.int64], last_arrival: int, warnings: list[str], *, damaged: bool) -> Replayed:
    """Return what a receiver did until all of its CPUs were idle."""
    card, host = receiver.card, receiver.host
    softnet = host.softnet
    end = max(last_arrival, int(host.clock.hands.max()))
    queues = [_queue(receiver, queue) for queue in range(len(card.queues))]
    cpus = [_cpu(receiver, cpu, end) for cpu in range(len(softnet))]
    polls = sum(queue.polls for queue in queues)
    frames = sum(queue.frames for queue in queues)
    reasons = receiver.tables.counts.sum(axis=0) + receiver.sessions.counts.sum(axis=0)
    return Replayed(
        frames=frames,
        bytes=sum(queue.bytes for queue in queues),
        seconds=end / _SECOND,
        wire_seconds=last_arrival / _SECOND * frames / (frames - 1) if frames > 1 else 0.0,
        queues=queues,
        cpus=cpus,
        interrupts=sum(queue.interrupts for queue in queues),
        timers=sum(queue.timers for queue in queues),
        polls=polls,
        frames_per_poll=int(card.counts[:, QueueCount.TAKEN].sum()) / polls if polls else 0.0,
        time_squeeze=sum(cpu.time_squeeze for cpu in cpus),
        drops={
            "ring": sum(queue.dropped for queue in queues),
            "no_buffer": sum(queue.no_buffer for queue in queues),
            "backlog": int(softnet.lost.sum()),
        },
        stack_frames=sum(cpu.processed for cpu in cpus),
        stack_segments=int(softnet.segments.sum()),
        waiting=sum(queue.waiting for queue in queues),
        merged=int(receiver.tables.merged.sum() + receiver.sessions.merged.sum()),
        reasons={reason.word: int(reasons[reason]) for reason in Reason if reasons[reason] and reason != Reason.NONE},
        seconds_by_stage={stage.name.lower(): float(host.times[:, stage].sum() / _SECOND) for stage in Stage},
        busiest_cpu=max(cpu.busy for cpu in cpus),
        wait_us=_waits(host.waits),
        poll_sizes={size: int(count) for size, count in enumerate(host.poll_sizes) if count},
        timeline=_timeline(host.timeline.bins, end, 1 << int(host.timeline.width[0])),
        interval=(1 << int(host.timeline.width[0])) / _SECOND,
        warnings=warnings,
        damaged=damaged,
        lro=dict(zip(STATISTICS, map(int, receiver.sessions.statistics.sum(axis=0)), strict=True))
        if receiver.switches.lro
        else {},
        losses=named(losses),
    )


def _queue(receiver: Receiver, queue: int) -> QueueReport:
    rings = receiver.card.rings
    counts = {kind: int(receiver.card.counts[queue, kind]) for kind in QueueCount}
    return QueueReport(
        frames=int(rings.produced[queue] + rings.dropped[queue]) + counts[QueueCount.NO_BUFFER],
        bytes=counts[QueueCount.BYTES],
        dropped=int(rings.dropped[queue]),
        no_buffer=counts[QueueCount.NO_BUFFER],
        interrupts=counts[QueueCount.INTERRUPTS],
        timers=counts[QueueCount.TIMERS],
        polls=counts[QueueCount.POLLS],
        empty_polls=counts[QueueCount.EMPTY_POLLS],
        full_polls=counts[QueueCount.FULL_POLLS],
        busy_polls=counts[QueueCount.BUSY_POLLS],
        waiting=int(rings.produced[queue] - rings.consumed[queue]),
    )


def _cpu(receiver: Receiver, cpu: int, end: int) -> CpuReport:
    times = receiver.host.times[cpu]
    state: Any = receiver.host.softnet[cpu]
    return CpuReport(
        seconds={stage.name.lower(): float(times[stage] / _SECOND) for stage in Stage},
        busy=float(times.sum() / end) if end else 0.0,
        processed=int(state.processed),
        dropped=int(state.dropped),
        time_squeeze=int(state.time_squeeze),
        received_rps=int(state.received_rps),
        flow_limit_count=int(state.flow_limit_count),
        rounds=int(state.rounds),
    )


def _waits(waits: NDArray[np.int64]) -> dict[str, float]:
    """Return microseconds below which half, and 99 of 100, of the frames waited, and the longest wait."""
    total = int(waits.sum())
    if total == 0:
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    below = np.cumsum(waits)
    places = {"p50": total / 2, "p99": total * 0.99, "max": total}
    return {name: bucket_start(int(np.searchsorted(below, place))) / 1000 for name, place in places.items()}


def _timeline(bins: NDArray[np.int64], end: int, width: int) -> dict[str, list[int]]:
    used = min(end // width + 1, BINS)
    return {event.name.lower(): bins[:used, event].tolist() for event in Event}
