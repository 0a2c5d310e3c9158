"""The kernel's own tables: tools/testing/selftests/net/udpgso.c and net/core/net_test.c."""

import pytest

from pktpath.batch import (
    CHECKSUM_UNNECESSARY,
    FRAGS,
    FRAMES,
    GSO_TCP_ACCECN,
    GSO_TCP_ECN,
    GSO_TCP_FIXEDID,
    GSO_UDP,
    GSO_UDP_L4,
    frame_bytes,
    release,
)
from pktpath.features import Feature
from pktpath.offload.gso import gso, gso_count
from pktpath.offload.reason import Reason
from pktpath.offload.rules import RULES
from pktpath.wire import ipv4, tcp
from pktpath.wire.parse import parse
from support.gso_frames import assert_all_free, batch_of, super_frame
from support.naive_gso import naive_checksum, u16

ID = 14 + ipv4.ID
V4_MSS, V6_MSS = 1472, 1452
ALL = Feature.SG | Feature.HW_CSUM | Feature.TSO | Feature.TSO6 | Feature.GSO_UDP_L4 | Feature.GSO_UDP


def payloads(out):
    return [int(length) for length in out.payload_len[: out.used[FRAMES]]]


# (version, bytes sent, gso_size, full segments, bytes in the last): udpgso.c, those that a socket accepts.
UDPGSO = [
    (4, 1, V4_MSS, 0, 1),
    (4, V4_MSS, V4_MSS, 1, 0),
    (4, V4_MSS + 1, V4_MSS, 1, 1),
    (4, 2 * V4_MSS, V4_MSS, 2, 0),
    (4, 2 * V4_MSS + 1, V4_MSS, 2, 1),
    (4, 65535 // V4_MSS * V4_MSS, V4_MSS, 65535 // V4_MSS, 0),
    (4, 65535 - 28, V4_MSS, (65535 - 28) // V4_MSS, (65535 - 28) % V4_MSS),
    (4, 1, 1, 1, 0),
    (4, 2, 1, 2, 0),
    (4, 5, 2, 2, 1),
    (4, 128, 1, 128, 0),
    (6, 1, V6_MSS, 0, 1),
    (6, V6_MSS, V6_MSS, 1, 0),
    (6, V6_MSS + 1, V6_MSS, 1, 1),
    (6, 2 * V6_MSS, V6_MSS, 2, 0),
    (6, 2 * V6_MSS + 1, V6_MSS, 2, 1),
    (6, 65535 // V6_MSS * V6_MSS, V6_MSS, 65535 // V6_MSS, 0),
    (6, 65535 - 8, V6_MSS, (65535 - 8) // V6_MSS, (65535 - 8) % V6_MSS),
    (6, 1, 1, 1, 0),
    (6, 2, 1, 2, 0),
    (6, 5, 2, 2, 1),
    (6, 128, 1, 128, 0),
]


@pytest.mark.parametrize(("version", "sent", "size", "full", "last"), UDPGSO)
def test_udpgso(version, sent, size, full, last):
    frame = super_frame(version=version, udp=GSO_UDP_L4, payload=bytes(sent), size=size)
    out = gso(batch_of([frame]), Feature.SG)
    assert payloads(out) == [size] * full + [last] * (last > 0)


# (payload, features, payload of each frame, gso_segs of each): net_test.c, GSO_TEST_SIZE 1000.
KUNIT = {
    "no_gso": (1000, Feature.SG | Feature.HW_CSUM, [1000], [1]),
    "linear": (2001, Feature.SG | Feature.HW_CSUM, [1000, 1000, 1], [1, 1, 1]),
    "frags_pure": (3000 - 998, Feature.SG | Feature.HW_CSUM, [1000, 1000, 2], [1, 1, 1]),
    "gso_partial": (2003, Feature.SG | Feature.HW_CSUM | Feature.GSO_PARTIAL, [2000, 3], [2, 1]),
    "partial_needs_sums": (2003, Feature.SG | Feature.GSO_PARTIAL, [1000, 1000, 3], [1, 1, 1]),
    "partial_of_one": (1003, Feature.SG | Feature.HW_CSUM | Feature.GSO_PARTIAL, [1000, 3], [1, 1]),
}


@pytest.mark.parametrize("name", KUNIT)
def test_kunit(name):
    size, features, lengths, segments = KUNIT[name]
    out = gso(batch_of([super_frame(payload=bytes(size), size=1000)]), features)
    assert [int(n) - 54 for n in out.frame_len[: out.used[FRAMES]]] == lengths
    assert list(out.gso_segs[: out.used[FRAMES]]) == segments


def test_partial_frame_says_the_length_of_one_segment():
    frame = super_frame(payload=bytes(2003), size=1000, ident=7)
    out = gso(batch_of([frame]), KUNIT["gso_partial"][1])
    first, last = (frame_bytes(out, j) for j in range(2))
    assert u16(first, 14 + ipv4.TOTAL_LENGTH) == 40 + 1000
    assert [u16(data, ID) for data in (first, last)] == [7, 9]
    again = gso(out, Feature.NONE)
    whole = gso(batch_of([frame]), Feature.NONE)
    assert [frame_bytes(again, j) for j in range(3)] == [frame_bytes(whole, j) for j in range(3)]


@pytest.mark.parametrize(
    ("gso_type", "kept"), [(0, [1, 0, 0]), (GSO_TCP_ECN, [1, 0, 0]), (GSO_TCP_ACCECN, [1, 1, 1])], ids=["none", "ecn", "accecn"]
)
def test_cwr(gso_type, kept):
    frame = super_frame(payload=bytes(2500), flags=tcp.CWR | tcp.ACK | tcp.PSH | tcp.FIN, gso_type=gso_type)
    for version, rules in RULES.items():
        out = gso(batch_of([frame]), Feature.SG, rules)
        flags = [u16(frame_bytes(out, j), 34 + tcp.FLAG_WORD) for j in range(3)]
        assert [int(word & tcp.CWR > 0) for word in flags] == ([1, 0, 0] if version == "6.12" else kept)
        assert [word & (tcp.PSH | tcp.FIN) for word in flags] == [0, 0, tcp.PSH | tcp.FIN]


def test_ids():
    for df in (True, False):
        counting = gso(batch_of([super_frame(payload=bytes(2500), ident=0xFFFF, df=df)]))
        assert [u16(frame_bytes(counting, j), ID) for j in range(3)] == [0xFFFF, 0, 1]
        fixed = gso(batch_of([super_frame(payload=bytes(2500), ident=5, df=df, gso_type=GSO_TCP_FIXEDID)]))
        assert [u16(frame_bytes(fixed, j), ID) for j in range(3)] == [5, 5, 5]
    refused = gso(batch_of([super_frame(payload=bytes(2500), df=False, gso_type=GSO_TCP_FIXEDID)]), rules=RULES["6.12"])
    assert refused.used[FRAMES] == 1
    assert refused.reason[0] == Reason.IP_ID


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"gso_type": 0}, Reason.OTHER_PROTOCOL),
        ({"gso_type": 1 << 9}, Reason.OTHER_PROTOCOL),
        ({"gso_type": GSO_UDP_L4}, Reason.OTHER_PROTOCOL),
        ({"network": 0}, Reason.NOT_IP),
        ({"shape_flags": 512}, Reason.MALFORMED),
        ({"shape_flags": 64}, Reason.CUT_BY_SNAPLEN),
        ({"shape_flags": 2}, Reason.IP_FRAGMENT),
        ({"head_len": 2000}, Reason.MALFORMED),
    ],
)
def test_refusals_pass_unchanged(change, reason):
    frame = super_frame(payload=bytes(2500))
    batch = batch_of([frame])
    for name, value in change.items():
        getattr(batch, name)[0] = value
    before = frame_bytes(batch, 0)
    out = gso(batch)
    assert out.used[FRAMES] == 1
    assert out.reason[0] == reason
    assert frame_bytes(out, 0) == before
    assert out.gso_size[0] == 1000
    release(out)
    assert_all_free(out.pool)


def test_ufo_refusals():
    for size in (1, 7):
        out = gso(batch_of([super_frame(udp=GSO_UDP, payload=bytes(100), size=size)]))
        assert out.reason[0] == Reason.BAD_UDP_LENGTH
    out = gso(batch_of([super_frame(payload=bytes(70000), size=65530)]))
    assert out.reason[0] == Reason.MALFORMED


def test_ufo_size_is_rounded_down():
    out = gso(batch_of([super_frame(udp=GSO_UDP, payload=bytes(100), size=63)]))
    assert [int(n) - 34 for n in out.frame_len[: out.used[FRAMES]]] == [56, 52]
    assert gso_count(batch_of([super_frame(udp=GSO_UDP, payload=bytes(100), size=63)]))[0] >= 2


def test_what_the_port_carries_passes():
    frames = [
        super_frame(payload=bytes(5000)),
        super_frame(version=6, payload=bytes(5000)),
        super_frame(udp=GSO_UDP_L4, payload=bytes(5000)),
        super_frame(udp=GSO_UDP, payload=bytes(5000)),
    ]
    out = gso(batch_of(frames), ALL)
    assert [frame_bytes(out, j) for j in range(4)] == [frame.data for frame in frames]
    assert list(out.gso_size[:4]) == [1000] * 4
    # A device computes no checksum that is complete, so such a frame is cut here (netif_needs_gso).
    assert gso(batch_of(frames, partial=False), ALL).used[FRAMES] > 4
    # It repeats no ID where a router could fragment (gso_features_check).
    fixed = [super_frame(payload=bytes(5000), gso_type=GSO_TCP_FIXEDID, df=df) for df in (True, False)]
    assert gso(batch_of(fixed), ALL | Feature.TSO_MANGLEID).used[FRAMES] == 6


def test_ordinary_frame_gets_its_checksum():
    frame = super_frame(payload=bytes(99), size=0)
    done = naive_checksum(frame.data, frame.transport_at, frame.field)
    for features in (Feature.NONE, Feature.SG, Feature.SG | Feature.IPV6_CSUM):
        batch = batch_of([frame])
        out = gso(batch, features)
        assert frame_bytes(out, 0) == done
        assert bytes(batch.pool.mem[: len(frame.data)]) == frame.data, "the window is read-only"
        assert out.ip_summed[0] == CHECKSUM_UNNECESSARY
        assert out.head_len[0] == (54 if features else len(done))
        assert out.used[FRAGS] == (1 if features else 0)
        # The head is its own now: a second port writes in place.
        out.ip_summed[0], out.head_len[0] = 0, out.head_len[0]
        chunk = out.head_chunk[0]
        assert gso(out, features).head_chunk[0] == chunk
    assert frame_bytes(gso(batch_of([frame]), Feature.SG | Feature.IP_CSUM), 0) == frame.data


@pytest.mark.parametrize(("start", "offset"), [(-1, 16), (34, -40), (34, 10_000), (10_000, 16), (2**31 - 1, 2**31 - 1)])
def test_lying_checksum_place(start, offset):
    frame = super_frame(payload=bytes(99), size=0)
    batch = batch_of([frame])
    batch.csum_start[0], batch.csum_offset[0] = start, offset
    out = gso(batch)
    assert out.reason[0] == Reason.MALFORMED
    assert frame_bytes(out, 0) == frame.data


def test_checksum_of_a_cut_frame_is_not_repaired():
    frame = super_frame(payload=bytes(99), size=0)
    batch = batch_of([frame])
    batch.wire_len[0] += 1
    parse(batch, 0, 1)
    out = gso(batch)
    assert out.reason[0] == Reason.CUT_BY_SNAPLEN
    assert frame_bytes(out, 0) == frame.data


def test_jumbo_length_beyond_its_column():
    frame = super_frame(version=6, jumbo=True, payload=bytes(2500))
    batch = batch_of([frame])
    for length in (0x80000100, 0xFFFFFFFF):
        batch.pool.mem[58:62] = list(length.to_bytes(4, "big"))
        parse(batch, 0, 1)
        assert batch.payload_len[0] > 2**30
    before = frame_bytes(batch, 0)
    out = gso(batch)
    assert out.reason[0] == Reason.CUT_BY_SNAPLEN
    assert frame_bytes(out, 0) == before
