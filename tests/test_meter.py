"""Meters: buckets beside a twin's, and what bands, bursts and super-frames mean."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pktpath.errors import BadInput
from pktpath.switch.meter import MAX_BANDS, MAX_RATE, make_meters, meter_frames, set_meter
from support.naive_rewrite import Meter

RATES = st.one_of(st.integers(1, 2000), st.just(MAX_RATE))
BANDS = st.lists(st.tuples(RATES, st.integers(0, 100)), min_size=1, max_size=MAX_BANDS, unique_by=lambda band: band[0])
FRAMES = st.lists(st.tuples(st.integers(0, 40_000_000), st.sampled_from((1, 1, 1, 2, 45)), st.integers(60, 65535)), max_size=40)


def ask(meters, number, frames):
    """Return whether each of (ns, packets, bytes) passes."""
    times, packets, sizes = (np.array([frame[k] for frame in frames], np.int64) for k in range(3))
    passed = np.zeros(len(frames), np.int64)
    meter_frames(meters, number, times, packets, sizes, passed)
    return [bool(one) for one in passed]


@given(BANDS, st.booleans(), FRAMES, st.integers(0, 10**15))
def test_a_meter_is_its_twin(bands, by_packets, gaps, start):
    meters = make_meters(3)
    set_meter(meters, 1, bands, by_packets=by_packets, now_ns=start)
    twin = Meter(bands, by_packets=by_packets, now_ms=start // 10**6)
    frames, now = [], start
    for gap, packets, size in gaps:
        now += gap
        frames.append((now, packets, size))
    assert ask(meters, 1, frames) == [twin.passes(ns // 10**6, packets, size) for ns, packets, size in frames]
    records, table = meters
    assert (records[1].packets, records[1].octets) == (sum(f[1] for f in frames), sum(f[2] for f in frames))
    assert [int(band.dropped_packets) for band in table[1, : len(bands)]] == [band["dropped"] for band in twin.bands]


def test_a_rate_in_kilobits_and_a_burst():
    """8 Mbit/s are 1,000 bytes a millisecond; a burst of 80 kbit is 10,000 bytes more."""
    meters = make_meters(1)
    set_meter(meters, 0, [(8000, 80)])
    assert ask(meters, 0, [(0, 1, 1000)] * 12) == [True] * 10 + [False] * 2
    assert ask(meters, 0, [(1_999_999, 1, 1000)] * 2) == [True, False]
    assert ask(meters, 0, [(10**12, 1, 1000)] * 11) == [True] * 10 + [False]
    records, table = meters
    assert (records[0].packets, table[0, 0].dropped_packets, table[0, 0].dropped_octets) == (25, 4, 4000)


def test_a_rate_in_packets_has_a_second_of_burst():
    meters = make_meters(1)
    set_meter(meters, 0, [(5, 0)], by_packets=True)
    assert ask(meters, 0, [(0, 1, 60)] * 7) == [True] * 5 + [False] * 2
    assert ask(meters, 0, [(200_000_000, 1, 60)] * 2) == [True, False]


def test_a_super_frame_larger_than_the_bucket_is_paid_off():
    """Else it would never pass; so the rate is right: 64,000 bytes at 1,000 a millisecond every 64 ms."""
    meters = make_meters(1)
    set_meter(meters, 0, [(8000, 80)])
    passed = ask(meters, 0, [(ms * 10**6, 44, 64000) for ms in range(640)])
    assert [ms for ms, one in enumerate(passed) if one] == list(range(0, 640, 64))
    assert ask(meters, 0, [(10**12, 1, 64000)]) == [False]


def test_time_that_stands_or_goes_back_fills_nothing():
    meters = make_meters(1)
    set_meter(meters, 0, [(1, 0)], by_packets=True, now_ns=5 * 10**9)
    assert ask(meters, 0, [(5 * 10**9, 1, 60), (10**9, 1, 60), (10**9, 1, 60)]) == [True, False, False]


def test_a_number_without_bands_lets_all_pass():
    meters = make_meters(2)
    set_meter(meters, 0, [(1, 1)])
    set_meter(meters, 0, [])
    assert all(ask(meters, 0, [(0, 1, 65535)] * 5))
    assert all(ask(meters, 1, [(0, 1, 65535)] * 5))


@pytest.mark.parametrize("bands", [[(0, 1)], [(1, -1)], [(MAX_RATE + 1, 0)], [(1, 0)] * (MAX_BANDS + 1)])
def test_what_no_meter_can_be(bands):
    with pytest.raises(BadInput, match="meter"):
        set_meter(make_meters(1), 0, bands)
