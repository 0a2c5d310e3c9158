"""Small traffic and random options for the receive engine, and runs of it and of its twin told in the same words."""

import random
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from pktpath.batch import Batch
from pktpath.features import PORT_FEATURES, Feature
from pktpath.nic.counters import QueueCount
from pktpath.nic.host_types import Costs, Limits
from pktpath.nic.settings import NicSettings
from pktpath.path.replay import Replay, steer
from pktpath.path.replay_types import Replayed, ReplayOptions
from pktpath.port.memory import load, unload
from support.craft import Packet
from support.naive_replay import NaiveReplay, Wire

EPOCH = 1_700_000_000_000_000_000
Stream = list[tuple[int, bytes]]
"""Nanoseconds and frames."""
GAPS = (0, 0, 0, 50, 120, 900, 1500, 12_000, 200_000, 1_000_000, 4_100_000)
STRANGE = [bytes(range(60)), bytes.fromhex("ffffffffffff02000000000008060001") + bytes(44), b"", bytes(14)]
"""No IP at all; ARP; nothing; a link header and nothing behind it."""


class Run(NamedTuple):
    """What the engine did."""

    told: dict[str, Any]
    report: Replayed
    replay: Replay
    delivered: list[tuple[bytes, int, int]]


def traffic(rng: random.Random, count: int) -> Stream:
    """Return frames of a few flows: mostly in order, some final, some lost, some of other kinds; time may run backwards."""
    flows = rng.randrange(1, 7)
    sequence = [rng.randrange(2**32) for _ in range(flows)]
    size = [rng.choice((1, 40, 100, 700)) for _ in range(flows)]
    now = 0
    stream: Stream = []
    gaps = rng.sample(GAPS, rng.randrange(1, 6))
    while len(stream) < count:
        flow = rng.randrange(flows)
        packet = Packet(family=rng.choice((4, 4, 6)) if flow == 0 else 4, sport=1000 + flow)
        for _ in range(rng.choice((1, 1, 3, 12))):
            now = max(0, now + rng.choice(gaps) - (rng.random() < 0.02) * 700)
            kind = rng.random()
            if kind < 0.03:
                stream.append((now, rng.choice(STRANGE)))
                continue
            if kind < 0.1:
                stream.append((now, packet.but(protocol="udp", payload=bytes(rng.randrange(1, 60))).frame()))
                continue
            payload = bytes(size[flow] if rng.random() < 0.9 else rng.randrange(size[flow] + 1))
            flags = 0x18 if rng.random() < 0.06 else 0x10
            wrong = 1 if rng.random() < 0.02 else 0
            segment = packet.but(payload=payload, seq=sequence[flow], flags=flags, checksum_error=wrong)
            sequence[flow] += len(payload) + (1 if rng.random() < 0.03 else 0)
            stream.append((now, segment.frame()))
    return stream[:count]


def option_sets(**fixed: Any) -> st.SearchStrategy[ReplayOptions]:
    """Random cards, hosts and ways to receive; small rings, small budgets, and work that may cost nothing."""
    cost = st.sampled_from((0, 1, 90, 700, 20_000))
    costs = st.builds(Costs, cost, cost, cost, cost, cost, st.integers(0, 9000), st.integers(0, 900), cost, cost)
    features = st.sampled_from((Feature.NONE, Feature.NONE, Feature.GRO, Feature.RXCSUM, Feature.RXHASH, Feature.GRO_UDP_FWD))
    deferral = st.sampled_from(((0, 0), (0, 0), (20_000, 0), (3_000_000, 0), (10_000, 2), (9_000_000, 1), (0, 3)))
    moderation = st.sampled_from(((0, 0), (0, 0), (0, 1), (10, 0), (50, 4), (0, 3), (3, 1), (100, 32)))

    def settings_of(
        off: Feature, queues: int, ring: int, wait: tuple[int, int], again: tuple[int, int], adaptive: bool, threaded
    ):
        active = PORT_FEATURES.active ^ off
        return NicSettings(
            features=PORT_FEATURES._replace(active=active), queues=queues, rx_ring=ring,
            rx_usecs=wait[0], rx_frames=wait[1], adaptive_rx=adaptive,
            gro_flush_timeout=again[0], napi_defer_hard_irqs=again[1], threaded=threaded,
        )  # fmt: skip

    cards = st.builds(
        settings_of, features, st.integers(1, 5), st.sampled_from((1, 4, 16, 128)), moderation, deferral,
        st.sampled_from((False, False, True)), st.sampled_from((False, False, True)),
    )  # fmt: skip
    limits = st.builds(
        Limits, st.sampled_from((1, 7, 300)), st.sampled_from((1, 2000, 8000)), st.sampled_from((1, 5, 1000)),
        st.sampled_from((100, 250, 1000)),
    )  # fmt: skip
    ways: dict[str, Any] = {
        "settings": cards,
        "cpus": st.sampled_from((None, 1, 2, 3)),
        "costs": st.one_of(costs, st.just(Costs())),
        "limits": limits,
        "weight": st.sampled_from((1, 3, 64, 64)),
        "netif_rx": st.sampled_from((False, False, False, True)),
        "busy_poll": st.sampled_from((0, 0, 0, 5000, 300_000)),
        "rps": st.sampled_from((False, False, True)),
        "rfs": st.sampled_from((False, False, True)),
        "speed": st.sampled_from((Fraction(1), Fraction(1), Fraction(10), Fraction(2, 3))),
    }
    return st.builds(ReplayOptions, **{**ways, **fixed})


def batch_of_stream(stream: Stream) -> Batch:
    """Return a parsed batch of a stream."""
    return load([data for _, data in stream], timestamps=[EPOCH + when for when, _ in stream])


def replay(
    options: ReplayOptions, stream: Stream, *, pieces: int = 1, watch: Callable[[Replay], object] = lambda _engine: None
) -> Run:
    """Run the engine, its input handed over in so many batches; `watch` is called after each."""
    delivered: list[tuple[bytes, int, int]] = []

    def sink(stack: Batch) -> None:
        for i, data in enumerate(unload(stack)):
            delivered.append((data, int(stack.timestamp[i]), max(int(stack.gso_segs[i]), 1)))

    engine = Replay(options, sink=sink)
    pool = engine.receiver.stack.pool
    free = pool.free_count.copy()
    length = -(-len(stream) // pieces) or 1
    for first in range(0, len(stream), length):
        engine.arrive(batch_of_stream(stream[first : first + length]))
        watch(engine)
    report = engine.finish()
    in_rings = Counter(
        int(engine.receiver.card.rings.slots[queue, slot % options.settings.rx_ring].head_chunk)
        for queue in range(options.settings.queues)
        for slot in range(int(engine.receiver.card.rings.consumed[queue]), int(engine.receiver.card.rings.produced[queue]))
    )
    assert (free - pool.free_count).sum() == len(in_rings), "chunks that nobody gave back"
    assert pool.refs[list(in_rings)].sum() == len(in_rings) == pool.refs.sum()
    return Run(_told(engine, report, delivered), report, engine, delivered)


def _told(engine: Replay, report: Replayed, delivered: list[tuple[bytes, int, int]]) -> dict[str, Any]:
    host = engine.receiver.host
    stages = [{name: round(value * 1e9) for name, value in cpu.seconds.items()} for cpu in report.cpus]
    names = ("frames", "bytes", "dropped", "interrupts", "timers", "polls", "empty_polls", "full_polls", "busy_polls", "waiting")
    cpus = ("processed", "dropped", "time_squeeze", "received_rps", "rounds")
    return {
        "delivered": delivered,
        "queues": [{name: getattr(queue, name) for name in names} for queue in report.queues],
        "cpus": [{name: getattr(cpu, name) for name in cpus} for cpu in report.cpus],
        "stages": stages,
        "end": round(report.seconds * 1e9),
        "drops": report.drops,
        "stack": (report.stack_frames, report.stack_segments, report.waiting, report.merged),
        "poll_sizes": report.poll_sizes,
        "reasons": report.reasons,
        "waits": {int(bucket): int(host.waits[bucket]) for bucket in np.flatnonzero(host.waits)},
        "timeline": {name: list(row) for name, row in report.timeline.items()},
        "width": 1 << int(host.timeline.width[0]),
        "taken": [int(count) for count in engine.receiver.card.counts[:, QueueCount.TAKEN]],
    }


def steered(options: ReplayOptions, stream: Stream) -> list[Wire]:
    """Return the frames as they arrive: on the replay's clock, hashed and sent to their queues."""
    batch = batch_of_stream(stream)
    engine = Replay(options)
    queues = np.zeros(max(len(stream), 1), np.int64)
    steer(batch, 0, len(stream), engine._rss, queues, engine._keeps_hash)
    wires = []
    newest = stream[0][0] if stream else 0
    for i, (when, data) in enumerate(stream):
        newest = max(newest, when)
        elapsed = int((newest - stream[0][0]) / options.speed)
        wires.append(Wire(elapsed, data, int(queues[i]), int(batch.hash[i])))
    return wires


def twin(options: ReplayOptions, stream: Stream) -> dict[str, Any]:
    """Run the naive twin and tell what it did in the same words as `replay`."""
    naive = NaiveReplay(options)
    wires = steered(options, stream)
    naive.run(wires)
    end = max([core.hand for core in naive.cores] + [wire.time for wire in wires[-1:]])
    width = 1024
    while max((now for _, now, _ in naive.events), default=0) // width >= 480:
        width *= 2
    bins = min(end // width + 1, 480)
    timeline = {name: [0] * bins for name in ("arrived", "dropped", "interrupt", "poll", "delivered")}
    for kind, now, count in naive.events:
        timeline[kind][now // width] += count
    waits: Counter[int] = Counter()
    for wait, segments in naive.waits:
        power = max(wait.bit_length() - 4, 0)
        waits[8 * power + (wait >> power)] += segments
    counts = [{**queue.counts, "waiting": len(queue.ring)} for queue in naive.queues]
    names = ("frames", "bytes", "dropped", "interrupts", "timers", "polls", "empty_polls", "full_polls", "busy_polls", "waiting")
    stages = ("irq", "poll", "driver", "offload", "stack", "steer", "spin", "lost")
    cpus = [
        {
            "processed": core.counts["processed"],
            "dropped": core.counts["dropped"],
            "time_squeeze": softirq.squeezed,
            "received_rps": core.counts["received_rps"],
            "rounds": softirq.rounds,
        }
        for core, softirq in zip(naive.cores, naive.host.cpus, strict=True)
    ]
    return {
        "delivered": naive.delivered,
        "queues": [{name: count.get(name, 0) for name in names} for count in counts],
        "cpus": cpus,
        "stages": [{name: core.stages[name] for name in stages} for core in naive.cores],
        "end": end,
        "drops": {
            "ring": sum(queue.counts["dropped"] for queue in naive.queues),
            "no_buffer": 0,
            "backlog": sum(core.counts["lost"] for core in naive.cores),
        },
        "stack": (
            sum(core.counts["processed"] for core in naive.cores),
            sum(core.counts["segments"] for core in naive.cores),
            sum(len(queue.ring) for queue in naive.queues),
            naive.merged,
        ),
        "poll_sizes": dict(sorted(naive.poll_sizes.items())),
        "reasons": {word: count for word, count in naive.reasons.items() if word != "none"},
        "waits": dict(waits),
        "timeline": timeline,
        "width": width,
        "taken": [queue.counts["taken"] for queue in naive.queues],
    }


def conserved(report: Replayed) -> None:
    """Every frame is delivered, waits in a ring or was dropped in one place."""
    assert report.frames == sum(report.drops.values()) + report.stack_segments + report.waiting


def differences(options: ReplayOptions, stream: Stream, other: ReplayOptions | None = None) -> list[str]:
    """Return what the engine and the twin (under `other` options) tell differently of a stream."""
    told, expected = replay(options, stream).told, twin(other or options, stream)
    assert set(told) == set(expected)
    return [f"{name}: {told[name]} is not {expected[name]}" for name in expected if told[name] != expected[name]]


def _without(feature: Feature) -> NicSettings:
    return NicSettings(features=PORT_FEATURES._replace(active=PORT_FEATURES.active & ~feature), queues=2, rx_ring=64)


SMOKE = {
    "plain": ReplayOptions(),
    "one_cpu": ReplayOptions(settings=NicSettings(queues=4, rx_ring=32), cpus=1, limits=Limits(budget=20)),
    "moderated": ReplayOptions(settings=NicSettings(queues=3, rx_usecs=40, rx_frames=20), cpus=2),
    "adaptive": ReplayOptions(settings=NicSettings(queues=1, adaptive_rx=True)),
    "deferred": ReplayOptions(settings=NicSettings(queues=2, gro_flush_timeout=40_000, napi_defer_hard_irqs=3), weight=16),
    "slow_jiffies": ReplayOptions(settings=NicSettings(queues=2, gro_flush_timeout=4_000_000), limits=Limits(hz=250)),
    "threaded": ReplayOptions(settings=NicSettings(queues=4, threaded=True), cpus=2, weight=8),
    "busy": ReplayOptions(settings=NicSettings(queues=2, rx_usecs=30), busy_poll=60_000),
    "rps": ReplayOptions(settings=NicSettings(queues=2), cpus=4, rps=True, limits=Limits(max_backlog=30)),
    "rfs": ReplayOptions(settings=NicSettings(queues=2), cpus=3, rfs=True),
    "netif_rx": ReplayOptions(settings=NicSettings(queues=2), netif_rx=True, limits=Limits(max_backlog=50)),
    "no_gro": ReplayOptions(settings=_without(Feature.GRO)),
    "no_checksum": ReplayOptions(settings=_without(Feature.RXCSUM), speed=Fraction(5, 2)),
}
"""A way to receive each, by name."""


def smoke() -> None:
    """Compare engine and twin in each way, on a few frames: for processes with other switches."""
    for name, options in SMOKE.items():
        stream = traffic(random.Random(name), 60)
        assert not differences(options, stream), name
