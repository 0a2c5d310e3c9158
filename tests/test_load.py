"""Loads, stores and copies of frame bytes are what `int.from_bytes` and slices say."""

import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pktpath.jit import kernel
from pktpath.wire import load

ROOM = st.binary(min_size=16, max_size=64)


@kernel
def every_load(mem, at, out):
    out[0] = load.load8(mem, at)
    out[1] = load.load16(mem, at)
    out[2] = load.load32(mem, at)
    out[3] = load.word32(mem, at)


@kernel
def eight(mem, at, out):
    out[0] = load.word64(mem, at)
    out[1] = load.load64(mem, at)


@kernel
def every_store(mem, value):
    load.store16(mem, 1, value)
    load.store32(mem, 5, value)


@kernel
def copy(mem, target, source, length):
    load.copy_bytes(mem, target, source, length)


@kernel
def at_once(mem, target, source, length):
    load.copy_at_once(mem, target, source, length)


@kernel
def under(mem, a, b, masks, mask, length):
    return load.same_under(mem, a, b, masks, mask, length)


@given(st.binary(min_size=96, max_size=96), st.integers(32, 96))
def test_copy_at_once(data, length):
    mem = np.frombuffer(data + b"\xee" * 98, np.uint8).copy()
    at_once(mem, 97, 96 - length, length)
    assert mem.tobytes() == data + b"\xee" + data[96 - length :] + b"\xee" * (97 - length)


@given(st.integers(32, 96), st.lists(st.tuples(st.integers(0, 95), st.integers(0, 7)), max_size=3), st.data())
def test_same_under(length, flips, data):
    first = data.draw(st.binary(min_size=96, max_size=96))
    second = bytearray(first)
    masks = bytearray(b"\xff" * 97)
    for at, bit in flips:
        second[at] ^= 1 << bit
        if data.draw(st.booleans()):
            masks[1 + at] ^= 1 << bit
    mem = np.frombuffer(first + bytes(second), np.uint8)
    differ = any((first[k] ^ second[k]) & masks[1 + k] for k in range(length))
    assert under(mem, 0, 96, np.frombuffer(bytes(masks), np.uint8), 1, length) is not differ


@given(ROOM, st.integers(0, 8))
def test_loads(data, at):
    mem, out = np.frombuffer(data, np.uint8), np.zeros(4, np.int64)
    every_load(mem, at, out)
    assert out.tolist() == [
        data[at],
        int.from_bytes(data[at : at + 2], "big"),
        int.from_bytes(data[at : at + 4], "big"),
        int.from_bytes(data[at : at + 4], sys.byteorder),
    ]
    wide = np.zeros(2, np.uint64)
    eight(mem, at, wide)
    assert [int(word) for word in wide] == [int.from_bytes(data[at : at + 8], order) for order in (sys.byteorder, "big")]


@given(st.integers(-(2**40), 2**40))
def test_stores_keep_the_low_bits_and_touch_nothing_else(value):
    mem = np.full(12, 0xEE, np.uint8)
    every_store(mem, value)
    two, four = (value & 0xFFFF).to_bytes(2, "big"), (value & 0xFFFFFFFF).to_bytes(4, "big")
    assert mem.tobytes() == b"\xee" + two + b"\xee\xee" + four + b"\xee\xee\xee"


@given(ROOM, st.integers(0, 8))
def test_copies(data, length):
    mem = np.frombuffer(data, np.uint8).copy()
    copy(mem, 8, 0, length)
    assert mem.tobytes() == data[:8] + data[:length] + data[8 + length :]


@given(st.binary(max_size=20), st.integers(0, 19))
def test_same_bytes_sees_every_difference(data, k):
    mem = np.frombuffer(data + data + b"\0", np.uint8).copy()
    assert load.same_bytes(mem, 0, len(data), len(data))
    if data:
        mem[k % len(data)] ^= 1
        assert not load.same_bytes(mem, 0, len(data), len(data))
