"""Nobody loses a chunk: shared fragments, full outputs, an exhausted pool, released sources."""

import random

import pytest

from pktpath.batch import FRAGS, FRAMES, frame_bytes, hold_frame, make_batch, release
from pktpath.features import Feature
from pktpath.jit import kernel
from pktpath.offload.gso import gso, gso_count, gso_segment
from pktpath.offload.reason import Reason
from pktpath.offload.rules import RULES
from pktpath.pool import HEADER, chunk_alloc
from support.gso_frames import assert_all_free, batch_of, random_super, roomy_pool, super_frame

R618 = RULES["6.18"]


@kernel
def hold(batch, i):
    hold_frame(batch, i)


def frames_of(seed, count=12):
    rng = random.Random(seed)
    return [random_super(rng, links=True, small=True) for _ in range(count)], rng


@pytest.mark.parametrize("features", [Feature.NONE, Feature.SG, Feature.SG | Feature.HW_CSUM])
def test_small_output_goes_on_where_it_stopped(features):
    frames, rng = frames_of(1)
    pool = roomy_pool(frames)
    whole = gso(batch_of(frames, pool=pool), features)
    expected = [frame_bytes(whole, j) for j in range(int(whole.used[FRAMES]))]
    release(whole)
    most = max(gso_count(batch_of([frame]))[0] for frame in frames)
    for capacity in (most, most + 7):
        batch = batch_of(frames, pool=pool, rng=rng)
        out = make_batch(pool, capacity, 5000)
        got, following, total = [], 0, len(frames)
        while following < total:
            before = following
            following = gso_segment(batch, following, out, int(features), R618)
            assert following > before
            got += [frame_bytes(out, j) for j in range(int(out.used[FRAMES]))]
            release(out)
        assert got == expected
        assert batch.used[FRAMES] == batch.used[FRAGS] == 0
        assert_all_free(pool)


@pytest.mark.parametrize("features", [Feature.NONE, Feature.SG])
def test_exhausted_pool_stops_and_goes_on(features):
    frames = [super_frame(payload=bytes(5000), size=500) for _ in range(10)]
    pool = roomy_pool(frames, header=25, normal=25, large=0)
    batch = batch_of(frames, pool=pool)
    out = make_batch(pool, 256, 512)
    got, following = [], 0
    while following < 10:
        following = gso_segment(batch, following, out, int(features), R618)
        assert out.used[FRAMES] > 0
        got += [int(origin) for origin in out.origin[: out.used[FRAMES]]]
        release(out)
    assert got == [i for i in range(10) for _ in range(10)]
    assert_all_free(pool)


def test_source_may_be_released_at_any_time():
    frames, rng = frames_of(2)
    pool = roomy_pool(frames)
    batch = batch_of(frames, pool=pool, rng=rng)
    out = make_batch(pool, 60, 4000)
    gso_segment(batch, 0, out, int(Feature.SG), R618)
    release(batch)
    release(out)
    assert_all_free(pool)


def test_segments_outlive_their_source():
    frames, rng = frames_of(3)
    pool = roomy_pool(frames)
    batch = batch_of(frames, pool=pool, rng=rng)
    for i in range(len(frames)):
        hold(batch, i)
    chunks = [batch.frag_chunk[row] for row in range(int(batch.used[FRAGS])) if batch.frag_chunk[row] >= 0]
    out = gso(batch, Feature.SG)
    copy = [frame_bytes(out, j) for j in range(int(out.used[FRAMES]))]
    release(batch)
    assert copy == [frame_bytes(out, j) for j in range(int(out.used[FRAMES]))]
    release(out)
    assert all(pool.refs[chunk] == 1 for chunk in chunks)


def test_counted_head_becomes_shared_fragments():
    frame = super_frame(payload=bytes(range(250)) * 6, size=100)
    pool = roomy_pool([frame])
    batch = batch_of([frame], pool=pool)
    own = int(chunk_alloc(pool, HEADER + 1))
    batch.head_chunk[0] = own
    out = gso(batch, Feature.SG)
    assert pool.refs[own] == 15
    release(out)
    assert_all_free(pool)


def test_what_never_fits_passes_with_a_reason():
    frame = super_frame(payload=bytes(5000), size=100)
    for chunks, capacity, table in (({"header": 49}, 256, 256), ({}, 49, 256), ({}, 256, 50)):
        pool = roomy_pool([frame], **chunks)
        batch = batch_of([frame], pool=pool)
        out = make_batch(pool, capacity, table)
        assert gso_segment(batch, 0, out, int(Feature.SG), R618) == 1
        assert out.reason[0] == Reason.NO_MEMORY
        assert frame_bytes(out, 0) == frame.data
        assert_all_free(pool)


def test_convenience_says_when_the_pool_is_too_small():
    frames = [super_frame(payload=bytes(5000), size=100) for _ in range(2)]
    pool = roomy_pool(frames, header=70)
    batch = batch_of(frames, pool=pool)
    with pytest.raises(MemoryError, match="frame 1 of 2"):
        gso(batch, Feature.SG)
    release(batch)
    assert_all_free(pool)
