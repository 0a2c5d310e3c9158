"""The running kernel judges when held frames are flushed: gro_flush_timeout, napi_defer_hard_irqs, and the age in jiffies.

The same frames are written at the same times, at the same places in a jiffy, to a TAP and to the receive engine. What
the stack has got by each look, bytes and virtio_net_hdr, must be equal. A random round whose outcome depends on less than
the kernel's latency, since a timer, a tick and a write are too close to each other, is not judged: the engine itself
says so, by telling different things when its polls come a little later.
"""

import random

import pytest

from pktpath.features import PORT_FEATURES, Feature
from pktpath.nic.host_types import Costs, Limits
from pktpath.nic.napi import MISSED
from pktpath.nic.settings import NicSettings
from pktpath.path.replay import Replay
from pktpath.path.replay_types import ReplayOptions
from pktpath.port.memory import load
from support.craft import Packet
from support.kernel_flush import Answer, Asked, KernelFlush, jiffy_ns
from support.kernel_gro import why_unavailable
from support.vnet import as_kernel_tells

pytestmark = pytest.mark.oracle
MICRO, MILLI = 1000, 1_000_000
LATENCY = 120 * MICRO
"""From a write to its poll, or from a timer to its: no more than that, and not always the same."""
ROUNDS = 70
MARKER = bytes(12) + b"\x88\xb6" + bytes(46)
"""No IP: goes to a queue and a CPU of its own, and lets time pass up to a look."""


@pytest.fixture(scope="module")
def kernel():
    missing = why_unavailable()
    if missing:
        pytest.skip(missing)
    with KernelFlush() as oracle:
        yield oracle


def segments(first, count, flow=0, length=100, **fields):
    return [Packet(sport=1500 + flow, seq=(first + k) * length, payload=bytes(length), **fields).frame() for k in range(count)]


def engine(asked: Asked, answer: Answer, latency: int = 0, timeout: int | None = None):
    """What the receive engine makes of the same round: what the stack got by each look, and after the last if anything."""
    tick = jiffy_ns()
    features = PORT_FEATURES.active & ~Feature.RXHASH | Feature.GRO_UDP_FWD
    card = NicSettings(
        features=PORT_FEATURES._replace(active=features), queues=2, indirection=(1, 1),
        gro_flush_timeout=asked.timeout if timeout is None else timeout, napi_defer_hard_irqs=asked.defer,
    )  # fmt: skip
    costs = Costs(irq=0, poll=latency, frame=0, gro=0, stack=0, byte=0, sum=0, ipi=0, wake=0)
    got = []
    replay = Replay(
        ReplayOptions(settings=card, cpus=2, costs=costs, limits=Limits(hz=10**9 // tick)),
        sink=lambda stack: got.extend(as_kernel_tells(stack)),
    )
    replay.arrive(load([MARKER], timestamps=[0]))
    seen = []
    for (_, frames), (jiffy, inside) in zip(asked.events, answer.at, strict=True):
        now = (10 + jiffy) * tick + inside
        data = [MARKER] if frames is None else list(frames)
        # A TAP has no interrupt that could be masked: each write schedules, whatever napi_complete_done said.
        replay.receiver.card.queues[1].masked = 0
        replay.arrive(load(data, timestamps=[now] * len(data)))
        if frames is not None and len(frames) > 1:
            # Those after the first find the instance scheduled.
            replay.receiver.host.napis[1].state |= MISSED
        if frames is None:
            seen.append([frame for frame in got if frame[1] != MARKER])
            got.clear()
    replay.finish()
    late = [frame for frame in got if frame[1] != MARKER]
    return [*seen, late] if late else seen


def sizes(seen):
    """Segments of 100 bytes in each frame that a look found."""
    return [[len(data[54:]) // 100 for _, data in got] for got in seen]


def judge(kernel, asked):
    answer = kernel.ask(asked)
    assert answer is not None, "something came into every try"
    assert answer.seen == engine(asked, answer)
    return sizes(answer.seen)


def at(*events):
    """Turn (microseconds, frames or None) into events."""
    return [(when * MICRO, frames) for when, frames in events]


def test_without_a_timeout_each_poll_flushes(kernel):
    events = at((0, segments(0, 3)), (200, None), (400, segments(3, 2)), (600, None))
    assert judge(kernel, Asked(0, 0, 500 * MICRO, events)) == [[3], [2]]


def test_polls_of_one_jiffy_merge_until_the_watchdog_polls(kernel):
    events = at((0, segments(0, 1)), (200, None), (400, segments(1, 1)), (600, None), (20_000, None))
    assert judge(kernel, Asked(10 * MILLI, 0, 500 * MICRO, events)) == [[], [], [2]]


def test_a_poll_that_was_missed_flushes(kernel):
    """The second write finds the instance scheduled. The one more poll that it gets is empty, and holds nothing longer."""
    events = at((0, segments(0, 2)), (200, None), (400, segments(2, 1)), (600, None), (20_000, None))
    assert judge(kernel, Asked(10 * MILLI, 0, 500 * MICRO, events)) == [[2], [], [1]]


def test_what_is_older_than_the_jiffy_leaves_at_the_end_of_a_poll(kernel):
    """The second poll, a jiffy later, merges into what is held and then flushes it: it keeps the age of its first frame."""
    tick = jiffy_ns() // MICRO
    events = at((0, segments(0, 1)), (200, None), (tick, segments(1, 1)), (tick + 200, None), (40_000, None))
    assert judge(kernel, Asked(15 * MILLI, 0, 500 * MICRO, events)) == [[], [2], []]


def test_what_is_held_first_in_this_jiffy_stays_beside_what_is_older(kernel):
    """The empty poll for what was missed is deferred, and flushes no more than the one before it."""
    tick = jiffy_ns() // MICRO
    second = segments(3, 2) + segments(0, 2, flow=1)
    events = at((0, segments(0, 3)), (200, None), (tick, second), (tick + 200, None), (90_000, None))
    assert judge(kernel, Asked(15 * MILLI, 3, 500 * MICRO, events)) == [[], [5], [2]]


def test_a_gap_above_the_timeout_is_flushed_by_the_watchdog(kernel):
    events = at((0, segments(0, 1)), (200, None), (1500, None), (2000, segments(1, 1)), (2200, None), (6000, None))
    assert judge(kernel, Asked(700 * MICRO, 0, 200 * MICRO, events)) == [[], [1], [], [1]]


def test_deferral_polls_on_and_flushes_what_is_old_only(kernel):
    """One poll with a frame and three empty ones 900 microseconds apart; the last flushes all, one after a tick what is older."""
    events = at((0, segments(0, 1)), (1500, None), (2500, None), (8000, None))
    assert judge(kernel, Asked(900 * MICRO, 3, 200 * MICRO, events)) == [[], [], [1]]
    before_a_tick = jiffy_ns() - 600 * MICRO
    assert judge(kernel, Asked(900 * MICRO, 3, before_a_tick, events)) == [[1], [], []]


def test_deferral_without_a_timeout_holds_nothing(kernel):
    events = at((0, segments(0, 3)), (200, None), (500, segments(3, 2)), (700, None))
    assert judge(kernel, Asked(0, 5, 500 * MICRO, events)) == [[3], [2]]


def test_the_judge_can_say_no(kernel):
    """With another timeout, or a jiffy earlier, the engine tells another story than the kernel."""
    tick = jiffy_ns() // MICRO
    events = at((0, segments(0, 1)), (200, None), (tick, segments(1, 1)), (tick + 200, None), (40_000, None))
    asked = Asked(15 * MILLI, 0, 500 * MICRO, events)
    answer = kernel.ask(asked)
    assert answer.seen == engine(asked, answer)
    assert answer.seen != engine(asked, answer, timeout=0)
    assert answer.seen != engine(asked, answer, timeout=1 * MILLI)
    one_jiffy = Answer([(0, k) for k, _ in enumerate(answer.at)], answer.seen)
    assert answer.seen != engine(asked, one_jiffy)


def random_round(rng: random.Random) -> Asked:
    timeout = rng.choice((0, 400 * MICRO, 1700 * MICRO, 6 * MILLI, 11 * MILLI))
    defer = rng.choice((0, 0, 1, 3))
    now, events, sent = 0, [], [0, 0, 0]
    for _ in range(rng.randrange(1, 6)):
        frames = []
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            flow, count = rng.randrange(3), rng.choice((1, 1, 2, 3))
            frames += segments(sent[flow], count, flow, flags=0x18 if rng.random() < 0.1 else 0x10)
            sent[flow] += count
        events.append((now, frames))
        now += 400 * MICRO
        events.append((now, None))
        now += rng.choice((50, 700, 1100, 2600, 4300, 5200)) * MICRO
        if rng.random() < 0.4:
            events.append((now, None))
            now += 100 * MICRO
    events.append((now + (defer + 2) * timeout + 2 * jiffy_ns(), None))
    return Asked(timeout, defer, rng.randrange(jiffy_ns()), events)


def moved(asked: Asked, answer: Answer, by: dict[int, int]) -> Answer:
    """Let some writes be later, within their jiffy."""
    at = [(jiffy, min(max(inside + by.get(number, 0), 0), jiffy_ns() - 1)) for number, (jiffy, inside) in enumerate(answer.at)]
    return answer._replace(at=at)


def variants(asked: Asked, answer: Answer):
    """Yield what the engine tells where polls come a little after their writes and timers, and not all equally so."""
    writes = {number for number, (_, frames) in enumerate(asked.events) if frames is not None}
    early = dict.fromkeys(writes, -LATENCY)
    yield engine(asked, answer, LATENCY)
    yield engine(asked, moved(asked, answer, early), LATENCY)
    for one in writes:
        yield engine(asked, moved(asked, answer, {one: LATENCY}))
        yield engine(asked, moved(asked, answer, {**early, one: 0}), LATENCY)


def test_random_rounds(kernel, capsys):
    judged = blurred = held = 0
    for seed in range(ROUNDS):
        asked = random_round(random.Random(seed))
        answer = kernel.ask(asked)
        if answer is None:
            blurred += 1
            continue
        expected = engine(asked, answer)
        if any(variant != expected for variant in variants(asked, answer)):
            blurred += 1
            continue
        assert answer.seen == expected, f"seed {seed}"
        judged += 1
        held += expected != engine(asked, answer, timeout=0)
    with capsys.disabled():
        print(f"\n{judged} rounds of polls judged, in {held} of them frames were held from poll to poll; {blurred} not judged")
    assert judged > ROUNDS // 3
    assert held > ROUNDS // 7
