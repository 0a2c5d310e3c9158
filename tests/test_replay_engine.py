"""The receive engine: equal to its naive twin in every counter and frame, and true to itself where no twin goes."""

import os
import random
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pktpath.features import PORT_FEATURES, Feature
from pktpath.jit import JIT_DISABLED
from pktpath.nic.counters import BINS, WAITS, QueueCount, bucket_start, make_timeline, note, wait_bucket
from pktpath.nic.host_types import Costs, Limits
from pktpath.nic.settings import NicSettings
from pktpath.offload.gro_table import HELD
from pktpath.path.replay_types import ReplayOptions
from support.craft import Packet
from support.replay_runs import SMOKE, conserved, differences, option_sets, replay, traffic

HERE = Path(__file__).parent
EXAMPLES = 60 if JIT_DISABLED else 400


@settings(max_examples=EXAMPLES)
@given(options=option_sets(), seed=st.integers(0, 10**9), count=st.integers(0, 160))
def test_the_engine_is_its_twin(options, seed, count):
    assert differences(options, traffic(random.Random(seed), count)) == []


@pytest.mark.parametrize("name", SMOKE)
def test_the_engine_is_its_twin_in_each_way_to_receive(name):
    """With more frames than a property has time for."""
    stream = traffic(random.Random(name), 200 if JIT_DISABLED else 3000)
    assert differences(SMOKE[name], stream) == []


@pytest.mark.parametrize("frames", [0, 30, 70])
def test_the_handler_before_napi_leaves_what_is_more_than_64(frames):
    """150 frames at once: the rest asks for an interrupt of its own, moderated as any."""
    card = NicSettings(queues=1, rx_ring=256, rx_usecs=50, rx_frames=frames)
    stream = [(0, Packet(payload=b"x", seq=k).frame()) for k in range(150)]
    options = ReplayOptions(settings=card, netif_rx=True)
    assert differences(options, stream) == []
    assert replay(options, stream).report.interrupts >= 3


def test_a_twin_that_costs_other_time_is_seen():
    """The comparison can fail: one nanosecond more in one cost shows."""
    stream = traffic(random.Random(5), 40)
    one, other = ReplayOptions(), ReplayOptions(costs=Costs(frame=151))
    assert {line.split(":")[0] for line in differences(one, stream, other)} >= {"stages", "end"}


# What must be so whatever the twin says; LRO, which it does not know, too.


@settings(max_examples=EXAMPLES)
@given(options=option_sets(), lro=st.booleans(), seed=st.integers(0, 10**9), count=st.integers(0, 300))
def test_every_frame_is_delivered_or_counted_in_one_place(options, lro, seed, count):
    card = options.settings
    if lro:
        features = card.features._replace(active=card.features.active | Feature.LRO)
        options = ReplayOptions(
            settings=NicSettings(features=features, queues=card.queues, rx_ring=card.rx_ring, rx_usecs=card.rx_usecs),
            costs=options.costs, limits=options.limits, rps=options.rps, busy_poll=options.busy_poll, weight=options.weight,
        )  # fmt: skip
        card = options.settings
    run = replay(options, traffic(random.Random(seed), count))
    report = run.report
    conserved(report)
    assert report.frames == count
    assert sum(segments for _, _, segments in run.delivered) == report.stack_segments + report.drops["backlog"] * (
        not options.netif_rx
    )
    tables = run.replay.receiver.tables
    assert tables.groups[:, :, HELD].sum() == 0, "GRO holds frames at the end"
    if report.waiting:
        assert card.rx_usecs == 0
        assert card.rx_frames > 1, "frames wait, and no interrupt ever comes"
        assert not card.adaptive_rx
    for queue, counts in zip(report.queues, run.replay.receiver.card.counts[:, QueueCount.TAKEN], strict=True):
        assert queue.frames == queue.dropped + queue.no_buffer + queue.waiting + counts
        assert queue.polls >= queue.full_polls + queue.empty_polls


@settings(max_examples=EXAMPLES // 4)
@given(options=option_sets(), seed=st.integers(0, 10**9), count=st.integers(0, 120), pieces=st.integers(1, 9))
def test_where_a_batch_ends_makes_no_difference(options, seed, count, pieces):
    """Nor is a second run other than the first."""
    stream = traffic(random.Random(seed), count)
    assert replay(options, stream).told == replay(options, stream, pieces=pieces).told


def test_more_than_the_stack_takes_at_once():
    """Frames that do not merge, and more of them in one batch than the stack's batch has room for."""
    frames = [Packet(sport=1000 + k % 97, payload=b"x", flags=0x18).frame() for k in range(97)]
    stream = [(k * 300, frames[k % 97]) for k in range(500 if JIT_DISABLED else 20_000)]
    run = replay(ReplayOptions(settings=NicSettings(queues=1, rx_ring=4096), speed=Fraction(3)), stream)
    conserved(run.report)
    assert len(run.delivered) == run.report.stack_frames
    assert run.report.drops["ring"] > 0 or JIT_DISABLED


def test_a_frame_that_no_buffer_holds_is_counted():
    """Jumbo frames take large buffers, of which there are fewer; a frame longer than those finds none."""
    long = [(0, Packet(payload=bytes(3000), seq=k * 3000).frame()) for k in range(1100)]
    long.append((0, Packet(protocol="udp", payload=bytes(60_000)).frame() + bytes(9000)))
    run = replay(ReplayOptions(settings=NicSettings(queues=1, rx_ring=2048)), long)
    assert run.report.drops == {"ring": 0, "no_buffer": 77, "backlog": 0}
    assert run.report.queues[0].no_buffer == 77
    conserved(run.report)


def test_interrupts_that_never_come():
    """rx-frames alone waits for so many frames: the last ones stay in the ring, and the report says so."""
    stream = [(100_000 * k, Packet(payload=b"x", seq=100 + k).frame()) for k in range(10)]
    run = replay(ReplayOptions(settings=NicSettings(queues=1, rx_frames=4)), stream)
    assert (run.report.interrupts, run.report.waiting, run.report.stack_segments) == (2, 2, 8)


def test_times_that_lie():
    """A gap of more than a day is one of a day; a frame older than the one before it comes together with it."""
    day = 86_400 * 10**9
    frame = Packet(payload=b"x").frame()
    run = replay(ReplayOptions(), [(0, frame), (3 * day, frame), (2 * day, frame), (3 * day + 1000, frame)])
    assert run.report.seconds == pytest.approx(86_400, abs=1e-3)
    assert [when for _, when, _ in run.delivered] == [0, day, day, day + 1000]
    assert [line.split(" ")[:6] for line in run.report.warnings] == [
        ["frame", "3", "is", "older", "than", "the"],
        ["frame", "2", "is", "more", "than", "a"],
    ]


def test_one_interrupt_a_frame():
    """80 Mbit/s of 1500-byte frames: 6667 interrupts a second, one interrupt and one poll a frame."""
    stream = [(150_000 * k, Packet(payload=bytes(1460), seq=k * 1460).frame()) for k in range(667)]
    report = replay(ReplayOptions(settings=NicSettings(queues=1)), stream).report
    assert report.interrupts == report.polls == report.frames == 667
    assert report.interrupts / report.seconds == pytest.approx(6667, rel=0.002)


def test_before_napi_overload_is_livelock_and_napi_delivers_on():
    """Frames every 700 nanoseconds on a CPU that needs longer for one."""
    stream = [(700 * k, Packet(payload=b"x", seq=100 + k, flags=0x18).frame()) for k in range(600 if JIT_DISABLED else 6000)]
    limits, card = Limits(max_backlog=100), NicSettings(queues=1, rx_ring=64)
    old = replay(ReplayOptions(settings=card, limits=limits, netif_rx=True), stream).report
    new = replay(ReplayOptions(settings=card, limits=limits), stream).report
    assert old.drops["backlog"] > 0
    assert new.drops["backlog"] == 0
    assert new.drops["ring"] > 0
    assert new.stack_segments > 2 * old.stack_segments
    assert old.seconds_by_stage["lost"] > 0


# GRO from one poll to the next.


def full_polls(hz: int, gap: int = 100) -> dict[int, int]:
    """One flow, twice the weight in the ring at once, nothing costs time: how many frames have so many segments."""
    stream = [(10**10 + 1, Packet(payload=b"x", sport=9).frame())]
    stream += [(10**10 + 1 + gap * k, Packet(payload=bytes(10), seq=100 + 10 * k).frame()) for k in range(24)]
    stream.insert(0, (0, Packet(payload=b"y", sport=9).frame()))
    free = Costs(*[0] * 9)
    options = ReplayOptions(settings=NicSettings(queues=1, rx_usecs=50), costs=free, limits=Limits(hz=hz), weight=12)
    sizes: dict[int, int] = {}
    for _, _, segments in replay(options, stream).delivered[1:]:
        sizes[segments] = sizes.get(segments, 0) + 1
    return sizes


def test_a_full_poll_keeps_what_is_of_this_jiffy_where_jiffies_are_short():
    """1 + 24 frames at weight 12: three polls. At 1000 jiffies a second a full poll flushes only what is older."""
    assert full_polls(1000) == {1: 1, 24: 1}
    assert full_polls(250) == {1: 2, 11: 1, 12: 1}


# Counters.


@given(st.integers(0, 2**62))
def test_buckets_of_waiting_times(value):
    bucket = wait_bucket(value)
    assert bucket_start(bucket) <= value < bucket_start(bucket + 1)
    assert bucket_start(bucket + 1) - bucket_start(bucket) <= max(1, value // 8)
    assert bucket < WAITS
    assert wait_bucket(-1) == 0


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 4), st.integers(1, 9)), max_size=60))
def test_timelines(events):
    timeline = make_timeline(recording=True, width=3)
    for now, event, count in events:
        note(timeline, event, now, count)
    width = 1 << int(timeline.width[0])
    assert width == 8 or max(now for now, _, _ in events) // (width // 2) >= BINS
    expected = np.zeros_like(timeline.bins)
    for now, event, count in events:
        expected[now // width, event] += count
    assert (timeline.bins == expected).all()


# The same without the compiler, and with every index looked at.


@pytest.mark.parametrize("switch", ["NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK"])
def test_without_the_compiler_and_with_bounds_checks(switch):
    # Bounds checks change the compiled code, and numba's cache knows nothing of them.
    own_cache = {"NUMBA_CACHE_DIR": os.environ["NUMBA_CACHE_DIR"] + "/bounds"} if switch == "NUMBA_BOUNDSCHECK" else {}
    paths = os.pathsep.join([str(HERE), str(HERE.parent / "src")])
    environment = {**os.environ, **own_cache, switch: "1", "PYTHONPATH": paths, "PYTHONWARNINGS": "ignore"}
    script = "from support.replay_runs import smoke; smoke()"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}{done.stderr}"


def test_features_of_the_card_are_those_of_its_settings():
    """The features that a replay knows: without GRO nothing merges, without RXCSUM the CPU sums."""
    stream = [(0, Packet(payload=bytes(100), seq=100 + 100 * k).frame()) for k in range(8)]

    def without(feature):
        features = PORT_FEATURES._replace(active=PORT_FEATURES.active & ~feature)
        return replay(ReplayOptions(settings=NicSettings(features=features)), stream).report

    assert without(Feature.NONE).merged == 7
    assert without(Feature.GRO).merged == 0
    sums = without(Feature.RXCSUM).seconds_by_stage["offload"] - without(Feature.NONE).seconds_by_stage["offload"]
    assert sums == pytest.approx(8 * (154 * 40 // 1000) * 1e-9)
