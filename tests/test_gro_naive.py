"""The compiled kernel and its naive twin deliver the same frames, in the same order, for the same reasons."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pktpath.batch import frame_bytes, make_batch
from pktpath.features import Feature
from pktpath.offload.gro import DEFAULT_FEATURES, UNLIMITED, gro_flush, gro_polls, gro_receive, make_gro_table, poll_numbers
from pktpath.offload.reason import Reason
from pktpath.offload.rules import RULES
from pktpath.port.memory import load
from support.arrivals import batch_of, check_books, hostile_arrivals, told
from support.craft import Packet
from support.naive_gro import Arrival, Delivery, NaiveGro


def both(
    arrivals: list[Arrival], version: str, *, unlimited: bool, udp: bool, trust: bool
) -> tuple[list[Delivery], list[Delivery]]:
    rules = RULES[version]
    twin = NaiveGro(rules, depth=None if unlimited else 8, udp=udp, trust_partial=trust)
    for number, arrival in enumerate(arrivals):
        twin.receive(arrival, number)
    batch = batch_of(arrivals)
    count = len(arrivals)
    out = make_batch(batch.pool, count, count)
    table = make_gro_table(depth=UNLIMITED, frames=count) if unlimited else make_gro_table(frames=count)
    features = DEFAULT_FEATURES if udp else DEFAULT_FEATURES & ~Feature.GRO_UDP_FWD
    gro_receive(batch, 0, count, out, table, rules, int(features), trust)
    gro_flush(out, table, rules)
    ours = told(out)
    check_accounts(arrivals, batch, out, table)
    return ours, twin.flush()


def check_accounts(arrivals, batch, out, table) -> None:
    """Nothing is lost in the books: counters, chunks, free lists, sums of payload."""
    check_books(arrivals, out, table)
    assert list(table.free) == [len(table.slots), len(table.parked.frames)]
    assert np.all(table.buckets == -1)


@pytest.mark.parametrize("version", RULES)
@pytest.mark.parametrize("unlimited", [False, True], ids=["kernel", "unlimited"])
def test_twin_on_hostile_rounds(version: str, unlimited: bool) -> None:
    for seed in range(150):
        ours, theirs = both(hostile_arrivals(seed, 40), version, unlimited=unlimited, udp=seed % 5 > 0, trust=seed % 3 == 0)
        assert ours == theirs, f"seed {seed}"


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 0, 0, 1, 2]),
            st.sampled_from([2, 2, 2, 0, 1, 3]),
            st.sampled_from([0x10, 0x10, 0x90, 0x90, 0x18, 0x11, 0x50]),
            st.sampled_from([0, 0, 0, -1, 1]),
            st.sampled_from([0, 1]),
        ),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from(list(RULES)),
    st.booleans(),
    st.sampled_from(["none", "good"]),
)
def test_twin_on_short_trains(steps, version: str, unlimited: bool, checked: str) -> None:
    """Small enough that Hypothesis can shrink a disagreement to the few frames that matter."""
    sequence, identity = [100] * 3, [7] * 3
    arrivals = []
    for flow, length, flags, jump, step in steps:
        packet = Packet(sport=flow, payload=b"x" * length, seq=sequence[flow] + jump, id=identity[flow], flags=flags, df=flow > 0)
        arrivals.append(Arrival(packet.frame(), checked=checked))
        sequence[flow] += length
        identity[flow] += step
    ours, theirs = both(arrivals, version, unlimited=unlimited, udp=True, trust=False)
    assert ours == theirs


def test_polls_end_by_count_by_gap_and_with_the_batch() -> None:
    frames = [Packet(payload=b"y" * 10, seq=100 + 10 * k).frame() for k in range(10)]
    batch = load(frames, timestamps=[0, 10, 20, 30, 40, 50, 500, 510, 520, 530])
    out = make_batch(batch.pool, 10, 10)
    numbers = poll_numbers(out)
    table = make_gro_table()
    gro_polls(batch, out, table, RULES["6.18"], int(DEFAULT_FEATURES), False, 4, 100, numbers)
    assert [int(segs) for segs in out.gso_segs[: out.used[0]]] == [4, 2, 4]
    assert [int(number) for number in numbers[: out.used[0]]] == [0, 1, 2]
    assert list(batch.used) == [0, 0]


def test_a_held_frame_outlives_its_batch() -> None:
    first = load([Packet(payload=b"y" * 10).frame(), Packet(payload=b"z" * 10, seq=110).frame()])
    out = make_batch(first.pool, 2, 4)
    table = make_gro_table()
    rules = RULES["6.18"]
    gro_receive(first, 0, 1, out, table, rules, int(DEFAULT_FEATURES), False)
    gro_receive(first, 1, 2, out, table, rules, int(DEFAULT_FEATURES), False)
    assert out.used[0] == 0
    gro_flush(out, table, rules)
    assert frame_bytes(out, 0).endswith(b"y" * 10 + b"z" * 10)


@pytest.mark.parametrize("unlimited", [False, True], ids=["kernel", "unlimited"])
def test_what_is_held_needs_its_batch_no_more(unlimited: bool) -> None:
    """Calls of any length, the descriptors and links of each destroyed behind it, deliver what one call does."""
    rules = RULES["6.18"]
    for seed in range(120):
        arrivals = hostile_arrivals(seed, 40)
        _, expected = both(arrivals, "6.18", unlimited=unlimited, udp=True, trust=False)
        batch = batch_of(arrivals)
        count = len(arrivals)
        out = make_batch(batch.pool, count, count)
        table = make_gro_table(depth=UNLIMITED, frames=count) if unlimited else make_gro_table(frames=count)
        rng = random.Random(seed)
        first = 0
        while first < count:
            last = min(first + rng.randrange(1, 12), count)
            gro_receive(batch, first, last, out, table, rules, int(DEFAULT_FEATURES), False)
            batch.frames[first:last] = np.zeros(1, batch.frames.dtype)
            batch.follower[:] = rng.randrange(count)
            first = last
        gro_flush(out, table, rules)
        assert told(out) == expected, f"seed {seed}"
        check_accounts(arrivals, batch, out, table)


def test_a_table_too_small_for_what_stays_held_delivers_it() -> None:
    batch = load([Packet(payload=b"y" * 10, seq=100 + 10 * k).frame() for k in range(4)])
    out = make_batch(batch.pool, 4, 4)
    table = make_gro_table(frames=3)
    rules = RULES["6.18"]
    gro_receive(batch, 0, 2, out, table, rules, int(DEFAULT_FEATURES), False)
    assert out.used[0] == 0
    gro_receive(batch, 2, 4, out, table, rules, int(DEFAULT_FEATURES), False)
    assert [int(segs) for segs in out.gso_segs[: out.used[0]]] == [4]
    assert Reason(out.reason[0]) == Reason.NO_MEMORY
    assert list(table.free) == [len(table.slots), 3]


def test_a_tag_beside_the_frame_is_looked_at_on_the_short_way() -> None:
    """Segments with a tag that the port took out, then one without it in the same sequence and with the same hash."""
    tags = [(0x8100, 5), (0x8100, 5), None, (0x8100, 5)]
    arrivals = []
    for k, tag in enumerate(tags):
        arrivals.append(Arrival(Packet(payload=b"y" * 10, seq=100 + 10 * k, id=7 + k).frame(), checked="good"))
        arrivals[-1].tag = tag
    ours, theirs = both(arrivals, "6.18", unlimited=True, udp=True, trust=False)
    assert ours == theirs


def test_gro_off_passes_everything() -> None:
    batch = load([Packet(payload=b"y").frame()] * 3)
    out = make_batch(batch.pool, 3, 3)
    table = make_gro_table()
    gro_receive(batch, 0, 3, out, table, RULES["6.18"], int(Feature.NONE), False)
    assert [Reason(reason) for reason in out.reason[:3]] == [Reason.GRO_OFF] * 3


def test_without_a_header_chunk_nothing_merges_and_nothing_is_lost() -> None:
    batch = load([Packet(payload=b"y" * 10, seq=100 + 10 * k).frame() for k in range(3)])
    batch.pool.free_count[:] = 0
    out = make_batch(batch.pool, 3, 3)
    table = make_gro_table()
    gro_receive(batch, 0, 3, out, table, RULES["6.18"], int(DEFAULT_FEATURES), False)
    gro_flush(out, table, RULES["6.18"])
    assert [Reason(reason) for reason in out.reason[:3]] == [Reason.ALONE, Reason.NO_MEMORY, Reason.NO_MEMORY]


def test_a_table_that_cannot_be() -> None:
    for shape in ({"buckets": 6}, {"depth": -1}, {"frames": 0}):
        with pytest.raises(ValueError, match="power of two"):
            make_gro_table(**shape)
