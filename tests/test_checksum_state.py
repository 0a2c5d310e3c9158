"""Checksum offload against its naive twin."""

import random
from collections import Counter

import numpy as np
import pytest

from pktpath.batch import CHECKSUM_BAD, CHECKSUM_NONE, CHECKSUM_PARTIAL, CHECKSUM_UNNECESSARY, FRAMES, release
from pktpath.jit import JIT_DISABLED, kernel
from pktpath.offload.checksum import ChecksumState, classify, complete, partial_frame, verify
from pktpath.pool import make_pool
from pktpath.port.memory import load, unload
from pktpath.wire.parse import parse
from support.checksum_frames import KINDS, MACS, header_of, ipv4_packet, ipv6_packet, mutated, random_frame, scatter, sealed
from support.naive_checksum import judge

ROUNDS = 40 if JIT_DISABLED else 2000


def states(batch):
    count = int(batch.used[FRAMES])
    transport, header = np.zeros(count, np.uint8), np.zeros(count, np.uint8)
    classify(batch, 0, count, transport, header)
    return [(ChecksumState(t).name.lower(), ChecksumState(h).name.lower()) for t, h in zip(transport, header, strict=True)]


@kernel
def make_partial(batch):
    for i in range(batch.used[FRAMES]):
        partial_frame(batch, i)


@pytest.mark.parametrize("split", [False, True])
def test_states_are_those_of_the_twin(split):
    rng = random.Random(7)
    frames = [random_frame(rng) for _ in range(ROUNDS)]
    batch = load(frames)
    if split:
        scatter(batch, rng)
    found = states(batch)
    assert found == [judge(frame) for frame in frames]
    if not JIT_DISABLED:
        assert {state for state, _ in found} == {state.name.lower() for state in ChecksumState}
        assert {state for _, state in found} == {"right", "wrong", "zero", "not_applicable"}


def test_states_of_hostile_frames_are_those_of_the_twin():
    rng = random.Random(8)
    frames = [mutated(random_frame(rng), rng) for _ in range(3 * ROUNDS)]
    for frame, found in zip(frames, states(load(frames)), strict=True):
        assert found == judge(frame), frame.hex()


def test_frames_cut_by_a_snaplen_are_not_judged():
    rng = random.Random(9)
    frames = [random_frame(rng) for _ in range(200)]
    lengths = [len(frame) for frame in frames]
    cut = [frame[:96] for frame in frames]
    batch = load(cut)
    batch.wire_len[: len(cut)] = lengths
    parse(batch, 0, len(cut))
    found = states(batch)
    assert found == [judge(frame, length) for frame, length in zip(cut, lengths, strict=True)]
    assert Counter(state for state, _ in found)["not_verifiable"] > 50


def udp_frame(payload, value, addresses=bytes(8)):
    upper = bytes(4) + (8 + len(payload)).to_bytes(2) + value.to_bytes(2) + payload
    return MACS + b"\x08\x00" + ipv4_packet(upper, 17, addresses, random.Random(0))


def test_a_right_checksum_that_looks_partial_is_right():
    # Pseudo-header sum 17 + 10 = 27; the rest sums to 0xFFFF - 2 * 27 + ... so that both forms are 27.
    rest = 0xFFFF - 27 - 27 - 10
    frame = udp_frame(rest.to_bytes(2), 27)
    assert states(load([frame])) == [("right", "right")]
    assert states(load([udp_frame((rest ^ 1).to_bytes(2), 27)])) == [("partial", "right")]


def test_udp_never_gets_a_checksum_of_zero():
    rest = 0xFFFF - 27 - 10
    frame = udp_frame(rest.to_bytes(2), 27)
    batch = load([frame])
    verify(batch, 0, 1)
    assert batch.ip_summed[0] == CHECKSUM_PARTIAL
    assert complete(batch, 0, 1, False) == (1, 0, 0)
    assert unload(batch)[0][40:42] == b"\xff\xff"
    assert states(batch) == [("right", "right")]


def test_verify_sets_what_a_device_would():
    rng = random.Random(10)
    frames = [random_frame(rng) for _ in range(ROUNDS)]
    batch = load(frames)
    verify(batch, 0, len(frames))
    meaning = {
        "right": CHECKSUM_UNNECESSARY,
        "wrong": CHECKSUM_BAD,
        "partial": CHECKSUM_PARTIAL,
        "partial_no_length": CHECKSUM_PARTIAL,
    }
    for i, frame in enumerate(frames):
        state, _ = judge(frame)
        assert batch.ip_summed[i] == meaning.get(state, CHECKSUM_NONE)
        if batch.ip_summed[i] == CHECKSUM_PARTIAL:
            assert batch.csum_start[i] == batch.transport_offset[i]
            assert batch.csum_offset[i] == (16 if batch.protocol[i] == 6 else 6)


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("repair", [False, True])
def test_complete_writes_what_was_left_and_nothing_else(split, repair):
    rng = random.Random(11)
    frames = [random_frame(rng) for _ in range(ROUNDS // 4)]
    batch = load(frames)
    window = batch.pool.mem[: sum(map(len, frames))].copy()
    if split:
        scatter(batch, rng)
    verify(batch, 0, len(frames))
    transports, headers, missed = complete(batch, 0, len(frames), repair)
    assert missed == 0
    assert np.array_equal(window, batch.pool.mem[: len(window)])
    written = Counter()
    for before, after in zip(frames, unload(batch), strict=True):
        (transport, header), found = judge(before), judge(after)
        to_write = ("partial", "partial_no_length") + (("wrong",) if repair and before_is_tcp_udp(before) else ())
        assert found[0] == ("right" if transport in to_write else transport)
        assert found[1] == ("right" if header == "zero" or (repair and header == "wrong") else header)
        written["transport"] += transport in to_write
        written["header"] += header != found[1]
        changed = [k for k in range(len(before)) if before[k] != after[k]]
        assert len(before) == len(after)
        assert len(changed) <= 4
        if found == (transport, header):
            assert before == after
    assert (transports, headers) == (written["transport"], written["header"])
    assert transports > 0
    free = int(batch.pool.free_count.sum())
    release(batch)
    assert batch.pool.free_count.sum() == len(batch.pool.refs) > free


def before_is_tcp_udp(frame):
    batch = load([frame])
    return batch.protocol[0] in (6, 17)


def test_partial_is_the_kernels_form():
    rng = random.Random(12)
    frames = [random_frame(rng, kind) for kind in KINDS for _ in range(20)]
    batch = load(frames)
    make_partial(batch)
    for i, (before, after) in enumerate(zip(frames, unload(batch), strict=True)):
        state, _ = judge(before)
        if batch.ip_summed[i] == CHECKSUM_PARTIAL:
            assert judge(after)[0] in ("partial", "right")
        else:
            assert before == after
            assert state in ("not_verifiable", "not_applicable") or batch.protocol[i] in (1, 58)


def test_without_chunks_frames_stay_and_are_counted():
    frames = [random_frame(random.Random(3), "partial") for _ in range(8)]
    batch = load(frames, pool=make_pool(window=20000, header=2))
    verify(batch, 0, 8)
    waiting = int((batch.ip_summed[:8] == CHECKSUM_PARTIAL).sum())
    transports, _, missed = complete(batch, 0, 8, False)
    assert transports <= 2
    assert missed >= waiting - 2
    assert [len(frame) for frame in unload(batch)] == [len(frame) for frame in frames]


def test_a_super_frame_above_64_kib():
    rng = random.Random(4)
    payload, addresses = rng.randbytes(100_000), rng.randbytes(32)
    for kind in ("right", "partial", "partial_no_length"):
        upper = sealed(header_of(6, rng, payload) + payload, 6, addresses, kind)
        jumbo = bytes([6, 0, 0xC2, 4]) + (8 + len(upper)).to_bytes(4)
        frame = MACS + b"\x86\xdd" + ipv6_packet(upper, 0, addresses, extensions=jumbo, length=0)
        batch = load([frame])
        assert states(batch) == [(kind, "not_applicable")] == [judge(frame)]
        verify(batch, 0, 1)
        complete(batch, 0, 1, False)
        assert states(batch)[0][0] == judge(unload(batch)[0])[0] == "right"
