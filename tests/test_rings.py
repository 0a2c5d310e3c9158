"""Receive rings and the lists of instances against queues and lists of Python."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pktpath.batch import FRAMES, make_batch
from pktpath.nic.lists import HEAD, NOBODY, make_lists, pop, push, splice
from pktpath.nic.napi import make_napis
from pktpath.nic.rings import make_rings, ring_drop, ring_full, ring_put, ring_take, ring_waiting
from pktpath.pool import make_pool


@pytest.mark.parametrize("size", [0, -1, 3, 1000])
def test_a_ring_has_a_power_of_two(size):
    with pytest.raises(ValueError, match=f"a ring of {size} descriptors"):
        make_rings(1, size)


@given(
    size=st.sampled_from((1, 2, 8)),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 1), st.integers(0, 9)), max_size=60),
)
def test_rings_are_queues(size, steps):
    """Nothing is lost but on a full ring, nothing overtakes, and a ring does not see another's frames."""
    rings = make_rings(2, size)
    source = make_batch(make_pool(header=0), 1, 1)
    target = make_batch(source.pool, 16, 1)
    expected = [deque(), deque()]
    lost = [0, 0]
    number = 0
    for put, queue, count in steps:
        if put:
            for _ in range(count):
                number += 1
                source.frames[0].wire_len = number
                assert ring_full(rings, queue) == (len(expected[queue]) == size)
                if ring_full(rings, queue):
                    ring_drop(rings, queue)
                    lost[queue] += 1
                else:
                    ring_put(rings, queue, source, 0)
                    expected[queue].append(number)
        else:
            target.used[FRAMES] = 3
            taken = ring_take(rings, queue, target, count)
            wanted = [expected[queue].popleft() for _ in range(min(count, len(expected[queue])))]
            assert target.wire_len[3 : 3 + taken].tolist() == wanted
            assert target.used[FRAMES] == 3 + len(wanted)
        assert [ring_waiting(rings, queue) for queue in (0, 1)] == [len(queue) for queue in expected]
    assert rings.dropped.tolist() == lost
    assert (rings.produced - rings.consumed).tolist() == [len(queue) for queue in expected]


def test_a_ring_goes_round_for_ever():
    """The counters do not wrap with the ring."""
    rings = make_rings(1, 4)
    rings.produced[0] = rings.consumed[0] = 2**40 + 3
    batch = make_batch(make_pool(header=0), 8, 1)
    for k in range(4):
        batch.frames[0].wire_len = k
        ring_put(rings, 0, batch, 0)
    assert ring_full(rings, 0)
    assert ring_take(rings, 0, batch, 9) == 4
    assert batch.wire_len[:4].tolist() == [0, 1, 2, 3]


@given(st.lists(st.tuples(st.sampled_from(("push", "pop", "splice")), st.integers(0, 2), st.integers(0, 5)), max_size=60))
def test_lists_of_instances(steps):
    """Three lists over six instances; pushing one that is on a list changes nothing."""
    napis, lists = make_napis(6, 1), make_lists(3)
    expected = [[], [], []]
    for kind, which, other in steps:
        if kind == "push":
            push(lists, which, napis, other)
            if not any(other in members for members in expected):
                expected[which].append(other)
        elif kind == "pop":
            wanted = expected[which].pop(0) if expected[which] else NOBODY
            assert pop(lists, which, napis) == wanted
        elif which != other % 3:
            splice(lists, which, napis, lists, other % 3)
            expected[which] += expected[other % 3]
            expected[other % 3] = []
        assert sorted(number for each in expected for number in each) == np.flatnonzero(napis.on_list).tolist()
    for which in range(3):
        while expected[which]:
            assert pop(lists, which, napis) == expected[which].pop(0)
        assert lists[which, HEAD] == NOBODY
