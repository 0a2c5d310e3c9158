"""Segmentation agrees with its naive twin: every header kind, link, feature and rules version."""

import random

import numpy as np
import pytest

from pktpath.batch import (
    CHECKSUM_PARTIAL,
    CHECKSUM_UNNECESSARY,
    FRAMES,
    GSO_UDP,
    GSO_UDP_L4,
    Batch,
    frame_bytes,
    release,
)
from pktpath.features import Feature
from pktpath.jit import kernel
from pktpath.offload.gso import gso
from pktpath.offload.gso_header import segment_header
from pktpath.offload.gso_layout import segment_payload_len
from pktpath.offload.gso_plan import plan_frame
from pktpath.offload.reason import Reason
from pktpath.offload.rules import RULES
from pktpath.wire.link import Link
from pktpath.wire.parse import parse
from support.gso_frames import assert_all_free, batch_of, random_super, roomy_pool, super_frame
from support.naive_gso import carried, naive_gso

FEATURES = (
    Feature.NONE,
    Feature.SG,
    Feature.HW_CSUM,
    Feature.SG | Feature.HW_CSUM,
    Feature.SG | Feature.IP_CSUM,
    Feature.SG | Feature.IPV6_CSUM,
    Feature.SG | Feature.HW_CSUM | Feature.GSO_PARTIAL,
    Feature.SG | Feature.HW_CSUM | Feature.TSO,
    Feature.SG | Feature.HW_CSUM | Feature.TSO | Feature.TSO6 | Feature.TSO_ECN | Feature.TSO_ACCECN,
    Feature.SG | Feature.HW_CSUM | Feature.TSO | Feature.TSO_MANGLEID | Feature.GSO_PARTIAL,
    Feature.SG | Feature.HW_CSUM | Feature.GSO_UDP_L4,
    Feature.SG | Feature.HW_CSUM | Feature.GSO_UDP,
)
PARSED = ("network", "protocol", "shape_flags", "network_offset", "transport_offset", "payload_offset", "payload_len")


def counted_payload(frame):
    """Bytes that `gso_size` counts: with UFO the UDP header too."""
    return frame.payload_len + (8 if frame.gso_type & GSO_UDP else 0)


def expected(frame, i, features, rules, ident):
    """Return the twin's frames, or None where the frame must pass unchanged."""
    if (
        frame.gso_size == 0
        or counted_payload(frame) <= frame.gso_size
        or carried(frame.data, frame.network_at, frame.gso_type, features)
    ):
        return None
    return naive_gso(
        frame.data, network_at=frame.network_at, gso_type=frame.gso_type, gso_size=frame.gso_size, features=features, rules=rules,
        fragment_ident=ident,
    )  # fmt: skip


def check(frames, features, rules, rng):
    pool = roomy_pool(frames)
    batch = batch_of(frames, pool=pool, rng=rng)
    out = gso(batch, features, rules)
    assert int(batch.used[FRAMES]) == 0
    j = 0
    for i, frame in enumerate(frames):
        got = []
        while j < out.used[FRAMES] and out.origin[j] == i:
            got.append(j)
            j += 1
        data = [frame_bytes(out, k) for k in got]
        ident = int.from_bytes(fragment_ident(frame, data[0]), "big") if frame.gso_type & GSO_UDP else 0
        twin = expected(frame, i, features, rules, ident)
        if twin is None:
            check_passed(frame, out, got, data, features, rules)
            continue
        assert len(data) == len(twin)
        assert data == [wire.data for wire in twin]
        for n, (k, wire) in enumerate(zip(got, twin, strict=True)):
            partial = None if out.ip_summed[k] == CHECKSUM_UNNECESSARY else (int(out.csum_start[k]), int(out.csum_offset[k]))
            assert partial == wire.partial
            assert (out.gso_size[k], out.gso_segs[k]) == (wire.gso_size, wire.gso_segs)
            assert (out.gso_type[k] != 0) == (wire.gso_segs > 1)
            assert (out.timestamp[k], out.ticks[k], out.hash[k], out.in_port[k]) == (10**18 + i, 77 + i, i * 7, i % 3)
            assert out.option_len[k] == (0 if n else 4)
            assert out.frame_len[k] == out.wire_len[k] == len(wire.data)
            assert out.frag_count[k] == 0 or features & Feature.SG
            assert out.reason[k] == Reason.NONE
    assert j == out.used[FRAMES]
    check_parsed(out)
    release(out)
    assert_all_free(pool)


def fragment_ident(frame, first):
    """Identification that the fragments of an IPv6 datagram carry; the twin does not choose it."""
    at = frame.transport_at
    return first[at + 4 : at + 8] if frame.data[frame.network_at] >> 4 == 6 else b""


def check_passed(frame, out, got, data, features, rules):
    (k,) = got
    whole = carried(frame.data, frame.network_at, frame.gso_type, features)
    if counted_payload(frame) > frame.gso_size > 0:
        assert data == [frame.data]
        assert out.reason[k] == (Reason.NONE if whole else Reason.IP_ID)
        assert out.gso_size[k] == frame.gso_size
    else:
        assert out.gso_size[k] == 0
        if out.ip_summed[k] == CHECKSUM_PARTIAL:
            assert data == [frame.data]
        else:
            from support.naive_gso import naive_checksum

            assert data == [naive_checksum(frame.data[: len(frame.data)], frame.transport_at, frame.field)]


def check_parsed(out: Batch):
    """What the kernel says about its frames is what parsing them would say."""
    columns = {name: getattr(out, name)[: out.used[FRAMES]].copy() for name in PARSED}
    cut = out.gso_size[: out.used[FRAMES]] == 0
    parse(out, 0, int(out.used[FRAMES]))
    for name, column in columns.items():
        assert np.array_equal(column[cut], getattr(out, name)[: out.used[FRAMES]][cut]), name


@pytest.mark.parametrize("version", RULES)
@pytest.mark.parametrize("features", FEATURES, ids=str)
def test_random_frames(features, version):
    rng = random.Random(f"{int(features)} {version}")
    for _ in range(4):
        check([random_super(rng, links=True, small=True) for _ in range(12)], features, RULES[version], rng)


@pytest.mark.parametrize("features", FEATURES, ids=str)
def test_linear_frames_up_to_the_limit(features):
    rng = random.Random(int(features))
    check([random_super(rng, links=True) for _ in range(6)], features, RULES["6.18"], None)


def test_big_tcp():
    rng = random.Random(1)
    payload = rng.randbytes(200_000)
    frames = [
        super_frame(payload=payload, size=1448),
        super_frame(version=6, jumbo=True, payload=payload, size=1428),
        super_frame(version=6, jumbo=True, payload=payload, size=60000, link=Link.RAW),
    ]
    for features in FEATURES[:7]:
        check(frames, features, RULES["6.18"], rng)


@pytest.mark.parametrize("features", [Feature.NONE, Feature.SG, FEATURES[6]], ids=str)
def test_one_of_each(features):
    """Short enough for a run without the compiler."""
    rng = random.Random(5)
    payload = rng.randbytes(333)
    frames = [
        super_frame(version=version, udp=udp, payload=payload, size=104, tags=tags, tcp_options=bytes(12))
        for version in (4, 6)
        for udp in (0, GSO_UDP, GSO_UDP_L4)
        for tags in (b"", b"\x81\x00\x20\x05")
    ]
    frames.append(super_frame(version=6, jumbo=True, payload=payload, size=100))
    frames.append(super_frame(payload=payload, size=0))
    for version in RULES:
        check(frames, features, RULES[version], rng)


@kernel
def predict(batch, i, target, rules, sums):
    """Write the headers of every segment of frame `i`, a chunk apart, from their payloads' sums alone."""
    _, cut = plan_frame(batch, i, rules)
    for k in range(cut.frames):
        segment_header(batch.pool.mem, target + k * 256, cut, k, segment_payload_len(cut, k), sums[k])
    return cut.frames


@pytest.mark.parametrize("udp", [0, GSO_UDP_L4])
def test_headers_are_known_before_the_cut(udp):
    rng = random.Random(6)
    frames = [super_frame(version=version, udp=udp, payload=rng.randbytes(5000), size=999) for version in (4, 6)]
    batch, other = batch_of(frames), batch_of(frames)
    out = gso(batch, Feature.SG)
    for i in range(2):
        rows = [j for j in range(int(out.used[FRAMES])) if out.origin[j] == i]
        target = int(other.pool.base[0])
        assert predict(other, i, target, RULES["6.18"], out.payload_sum[rows].astype(np.int64)) == len(rows)
        for k, j in enumerate(rows):
            header = bytes(other.pool.mem[target + k * 256 : target + k * 256 + int(out.head_len[j])])
            assert header == frame_bytes(out, j)[: len(header)]
