"""`compare_frames` sees every byte, the order within a flow, and nothing else."""

import random

import pytest

from pktpath.batch import FRAGS
from pktpath.lab.same import first_difference
from pktpath.port.memory import load


def batch_of(frames, flows, fragments=()):
    batch = load(frames)
    batch.hash[: len(flows)] = flows
    for i, head in fragments:  # let part of the frame lie in two fragments
        row = int(batch.used[FRAGS])
        rest = int(batch.frame_len[i]) - head
        batch.head_len[i] = head
        batch.frag_first[i], batch.frag_count[i] = row, 2
        batch.frag_addr[row] = batch.head_addr[i] + head
        batch.frag_len[row] = rest // 3
        batch.frag_addr[row + 1] = batch.head_addr[i] + head + rest // 3
        batch.frag_len[row + 1] = rest - rest // 3
        batch.used[FRAGS] = row + 2
    return batch


def frames_of(count, seed=1):
    rng = random.Random(seed)
    return [rng.randbytes(rng.randint(14, 90)) for _ in range(count)]


def test_how_a_frame_is_cut_does_not_matter():
    frames = frames_of(4)
    left = batch_of(frames, [1, 2, 1, 2], [(0, 9), (2, 0)])
    right = batch_of(frames, [1, 2, 1, 2], [(1, 13), (2, 5)])
    assert first_difference(left, right) is None


def test_flows_may_change_places_but_not_frames_of_one():
    a, b, c = frames_of(3)
    assert first_difference(batch_of([a, b, c], [1, 2, 1]), batch_of([b, a, c], [2, 1, 1])) is None
    assert first_difference(batch_of([a, b, c], [1, 2, 1]), batch_of([c, b, a], [1, 2, 1])) == 0


@pytest.mark.parametrize("seed", range(20))
def test_one_changed_byte_is_seen(seed):
    rng = random.Random(seed)
    frames = frames_of(5, seed)
    changed = rng.randrange(5)
    at = rng.randrange(len(frames[changed]))
    other = list(frames)
    other[changed] = frames[changed][:at] + bytes([frames[changed][at] ^ 1 << rng.randrange(8)]) + frames[changed][at + 1 :]
    left = batch_of(frames, [7] * 5, [(changed, min(10, len(frames[changed])))])
    assert first_difference(left, batch_of(other, [7] * 5)) == changed


def test_missing_and_shorter_frames_are_seen():
    a, b = frames_of(2)
    assert first_difference(batch_of([a, b], [1, 1]), batch_of([a], [1])) is not None
    assert first_difference(batch_of([a, b], [1, 1]), batch_of([a, b[:-1]], [1, 1])) == 1
    assert first_difference(batch_of([b], [1]), batch_of([a, b], [1, 1]), 1) is None
