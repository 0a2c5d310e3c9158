"""The compiled manager and its naive twin deliver the same frames, in the same order, for the same reasons."""

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pktpath.batch import FRAMES, GSO_TCPV4, frame_bytes, make_batch
from pktpath.offload.lro import lro, lro_flush_all, lro_flush_pkt, lro_polls, lro_receive, make_lro_table
from pktpath.offload.lro_table import LroTable
from pktpath.offload.poll import poll_numbers
from pktpath.offload.reason import Reason
from pktpath.port.memory import load
from support.arrivals import batch_of, check_books, told
from support.craft import Packet
from support.lro_frames import lro_round
from support.naive_gro import Arrival, Delivery
from support.naive_lro import NaiveLro
from support.run_apart import run_apart


def random_limits(rng: random.Random) -> dict:
    return {
        "max_desc": rng.choice((1, 2, 8, 8, 64)),
        "max_aggr": rng.choice((1, 2, 5, 64, 64, 1000)),
        "mtu": rng.choice((1500, 1500, 9000, 68, 65535)),
        "trust_partial": rng.random() < 0.3,
    }


def check_accounts(arrivals: list[Arrival], out, table: LroTable) -> None:
    check_books(arrivals, out, table)
    assert list(table.free) == [table.max_desc, len(table.parked.frames)]
    assert not np.any(table.sessions.count)


def both(arrivals: list[Arrival], limits: dict) -> tuple[list[Delivery], list[Delivery]]:
    twin = NaiveLro(**limits)
    for number, arrival in enumerate(arrivals):
        twin.receive(arrival, number)
    theirs = twin.flush()
    table = make_lro_table(**limits, frames=len(arrivals))
    ours = lro(batch_of(arrivals), table)
    assert list(table.statistics) == [twin.aggregated, twin.flushed, twin.no_desc]
    check_accounts(arrivals, ours, table)
    return told(ours), theirs


def test_twin_on_hostile_rounds() -> None:
    counts: Counter[str] = Counter()
    for seed in range(800):
        ours, theirs = both(lro_round(seed, 60), random_limits(random.Random(seed)))
        assert ours == theirs, f"seed {seed}"
        counts.update(delivery.reason for delivery in ours if delivery.segs > 1 or delivery.reason != "none")
    print(counts)
    expected = {
        "none", "alone", "not_ip", "malformed", "cut_by_snaplen", "ip_options", "ip_fragment", "bad_ip_checksum",
        "length_mismatch", "super_frame", "bad_checksum", "partial_checksum", "empty", "syn", "rst", "fin", "urg", "cwr",
        "out_of_sequence", "not_for_lro", "no_descriptor", "no_ack", "ece", "ce", "other_options", "timestamp_back",
        "no_timestamp_echo", "max_aggregated", "no_room_for_mtu",
    }  # fmt: skip
    assert set(counts) == expected


STAMP = b"\x01\x01\x08\x0a\x00\x00\x00"


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 0, 0, 1, 2]),
            st.sampled_from([2, 2, 1, 0, 30000]),
            st.sampled_from([0x10, 0x10, 0x18, 0x11, 0x50, 0]),
            st.sampled_from([0, 0, 0, -1, 1]),
            st.sampled_from([b"", b"", STAMP + b"\1\0\0\0\1", STAMP + b"\2\0\0\0\2", STAMP + b"\1\0\0\0\0", b"\1\1\1\1"]),
            st.sampled_from([0, 3]),
        ),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 3),
    st.integers(1, 4),
    st.sampled_from(["none", "good"]),
)
def test_twin_on_short_trains(steps, max_desc: int, max_aggr: int, checked: str) -> None:
    """Small enough that Hypothesis can shrink a disagreement to the few frames that matter."""
    sequence = [100] * 3
    arrivals = []
    for flow, length, flags, jump, options, tos in steps:
        packet = Packet(
            sport=flow, payload=b"x" * length, seq=sequence[flow] + jump, flags=flags, options=options, tos=tos, ack=len(arrivals)
        )
        arrivals.append(Arrival(packet.frame(), checked=checked))
        sequence[flow] += length
    ours, theirs = both(arrivals, {"max_desc": max_desc, "max_aggr": max_aggr})
    assert ours == theirs


def train(count: int, size: int = 10, **fields) -> list[bytes]:
    return [Packet(payload=b"y" * size, seq=100 + size * k, **fields).frame() for k in range(count)]


def test_a_merged_frame_as_the_stack_sees_it() -> None:
    batch = load(train(3))
    out = lro(batch)
    assert list(batch.used) == [0, 0]
    assert (int(out.used[FRAMES]), int(out.gso_type[0]), int(out.gso_segs[0]), int(out.gso_size[0])) == (1, GSO_TCPV4, 3, 10)
    assert (int(out.csum_start[0]), int(out.csum_offset[0])) == (34, 16)
    rows = slice(int(out.frag_first[0]), int(out.frag_first[0] + out.frag_count[0]))
    # The payload stays where it came.
    assert list(out.frag_addr[rows]) == [54, 64 + 54, 128 + 54]
    assert list(out.frag_origin[rows]) == [0, 1, 2]


def test_polls_end_by_count_by_gap_and_with_the_batch() -> None:
    batch = load(train(10), timestamps=[0, 10, 20, 30, 40, 50, 500, 510, 520, 530])
    out = make_batch(batch.pool, 10, 10)
    numbers = poll_numbers(out)
    lro_polls(batch, out, make_lro_table(), 4, 100, numbers)
    assert [int(segs) for segs in out.gso_segs[: out.used[0]]] == [4, 2, 4]
    assert [int(number) for number in numbers[: out.used[0]]] == [0, 1, 2]
    assert list(batch.used) == [0, 0]


def test_what_is_held_needs_its_batch_no_more() -> None:
    """Calls of any length, the descriptors and links of each destroyed behind it, deliver what one call does."""
    for seed in range(200):
        arrivals = lro_round(seed, 40)
        limits = random_limits(random.Random(seed))
        _, expected = both(arrivals, limits)
        batch = batch_of(arrivals)
        count = len(arrivals)
        out = make_batch(batch.pool, count, count)
        table = make_lro_table(**limits, frames=count)
        rng = random.Random(seed)
        first = 0
        while first < count:
            last = min(first + rng.randrange(1, 12), count)
            lro_receive(batch, first, last, out, table)
            batch.frames[first:last] = np.zeros(1, batch.frames.dtype)
            batch.follower[:] = rng.randrange(count)
            first = last
        lro_flush_all(out, table)
        assert told(out) == expected, f"seed {seed}"
        check_accounts(arrivals, out, table)


def test_one_flow_is_flushed_when_asked_for() -> None:
    for seed in range(100):
        arrivals = lro_round(seed, 40)
        limits = random_limits(random.Random(seed))
        twin, table = NaiveLro(**limits), make_lro_table(**limits)
        batch = batch_of(arrivals)
        count = len(arrivals)
        out = make_batch(batch.pool, count, count)
        half = count // 2
        for number, arrival in enumerate(arrivals[:half]):
            twin.receive(arrival, number)
        lro_receive(batch, 0, half, out, table)
        for k in range(half, count):
            # A frame is judged by its driver before its flow is looked for: only such as it would hand over.
            if batch.ip_summed[k] == 1 and not batch.shape_flags[k] & 1023 and batch.wire_len[k] == batch.frame_len[k]:
                lro_flush_pkt(out, table, batch, k)
                twin.flush_flow(arrivals[k])
        flushed = twin.flushed
        assert int(table.statistics[1]) == flushed, f"seed {seed}"
        lro_flush_all(out, table)
        assert told(out) == twin.flush(), f"seed {seed}"


def test_flushing_the_flow_of_what_has_none() -> None:
    frames = [
        *train(2),
        Packet(family=6, payload=b"z").frame(),
        Packet(protocol="udp", payload=b"z").frame(),
        b"",
        train(1)[0][:40],
    ]
    batch = load(frames)
    out = make_batch(batch.pool, 6, 6)
    table = make_lro_table()
    lro_receive(batch, 0, 2, out, table)
    for i in range(2, 6):
        lro_flush_pkt(out, table, batch, i)
    assert int(out.used[FRAMES]) == 0
    lro_flush_pkt(out, table, batch, 0)
    assert [int(segs) for segs in out.gso_segs[: out.used[0]]] == [2]


def test_a_table_too_small_for_what_stays_held_delivers_it() -> None:
    batch = load(train(4))
    out = make_batch(batch.pool, 4, 4)
    table = make_lro_table(frames=3)
    lro_receive(batch, 0, 2, out, table)
    assert out.used[0] == 0
    lro_receive(batch, 2, 4, out, table)
    assert [(int(out.gso_segs[0]), Reason(out.reason[0]))] == [(4, Reason.NO_MEMORY)]
    assert list(table.free) == [8, 3]


def test_without_a_header_chunk_nothing_merges_and_nothing_is_lost() -> None:
    batch = load(train(3))
    batch.pool.free_count[:] = 0
    out = lro(batch)
    assert [Reason(reason) for reason in out.reason[:3]] == [Reason.ALONE, Reason.NO_MEMORY, Reason.ALONE]
    assert [frame_bytes(out, i) for i in range(3)] == train(3)


@pytest.mark.parametrize("limits", [{"max_desc": 0}, {"max_aggr": 0}, {"mtu": 67}, {"mtu": 65536}, {"frames": 0}])
def test_limits_that_make_no_sense(limits: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(limits)).replace('frames', 'for')} {next(iter(limits.values()))}"):
        make_lro_table(**limits)


@pytest.mark.parametrize("switch", ["NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK"])
def test_without_the_compiler_and_with_bounds_checks(switch: str) -> None:
    """The cases and some hostile rounds, where every index is looked at."""
    run_apart("from support.lro_smoke import smoke; smoke()", switch)


@pytest.mark.fuzz
def test_no_load_outside_a_frame() -> None:
    """Each frame ends at a page that may not be read; a load beyond it kills the child."""
    import os

    rounds = os.environ.get("PKTPATH_FUZZ_ROUNDS", "10000")
    run_apart(f"from support.lro_smoke import guard; guard({rounds})")
