"""The Internet checksum's sum against a loop over 16-bit words."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pktpath.jit import JIT_DISABLED, kernel
from pktpath.wire.checksum import fold, sum_bytes, swap
from support.naive_checksum import add


@kernel
def sums(mem, at, length, out):
    for k in range(len(at)):
        out[k] = sum_bytes(mem, at[k], length[k])


def compiled(data, places):
    out = np.zeros(len(places), np.int64)
    sums(np.frombuffer(data, np.uint8), *(np.array(column, np.int64) for column in zip(*places, strict=True)), out)
    return out.tolist()


@pytest.mark.parametrize(
    "make", [random.Random(1).randbytes, lambda size: b"\xff" * size, bytes], ids=["random", "ones", "zeros"]
)
def test_every_length_at_every_alignment(make):
    data = make(300)
    places = [(at, length) for at in range(16) for length in range(0, 201, 7 if JIT_DISABLED else 1)]
    assert compiled(data, places) == [add(data[at : at + length]) for at, length in places]


@pytest.mark.parametrize("size", [1447, 1448, 9000, 65535, 65536])
@pytest.mark.parametrize("fill", [None, b"\xff", b"\x00", b"\x00\xff"])
def test_long_ranges(size, fill):
    data = random.Random(size).randbytes(size + 3) if fill is None else (fill * (size + 3))[: size + 3]
    assert compiled(data, [(3, size)]) == [add(data[3 : 3 + size])]


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_a_sum_moves_by_a_byte_with_swap(one, other):
    rest = add(other)
    assert add(one + other) == fold(add(one) + (swap(rest) if len(one) % 2 else rest))


@given(st.integers(0, 2**62))
def test_fold_keeps_the_remainder(total):
    folded = fold(total)
    assert 0 <= folded <= 0xFFFF
    assert folded % 0xFFFF == total % 0xFFFF
    assert (folded == 0) == (total == 0)
