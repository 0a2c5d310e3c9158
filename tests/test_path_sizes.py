"""By what size `segment` cuts: the order of bases, what headers take off, `--spread`, UFO, and an honest count for pcap."""

import random
import struct

import pytest

from pktpath.path.coalesce import Options, coalesce_capture
from pktpath.path.segment import segment_capture
from support import naive_capture as naive
from support.craft import Packet, flag_bits
from support.gso_frames import super_frame
from support.wild_captures import wild_pcap

STAMP = b"\x01\x01\x08\x0a" + bytes(8)
SYN, ACK = flag_bits("S"), flag_bits("A")
JUMBO = ((0, b"\xc2\x04" + struct.pack(">I", 0)),)


def mss(value):
    return b"\x02\x04" + struct.pack(">H", value)


def backwards(packet):
    """The same flow in the other direction."""
    one, other = packet.addresses[: len(packet.addresses) // 2], packet.addresses[len(packet.addresses) // 2 :]
    return packet.but(source=other, destination=one, sport=packet.dport, dport=packet.sport)


def sizes(tmp_path, packets, suffix=".pcap", **options):
    """Payload sizes that the last of these frames is cut to, and the basis."""
    frames = [packet if isinstance(packet, bytes) else packet.frame() for packet in packets]
    (tmp_path / "x.pcap").write_bytes(naive.pcap_file([naive.Frame(frame, len(frame), k) for k, frame in enumerate(frames)]))
    done = segment_capture(str(tmp_path / "x.pcap"), str(tmp_path / ("y" + suffix)), **options)
    out = naive.read((tmp_path / ("y" + suffix)).read_bytes()).frames[len(frames) - 1 :]
    assert (done.refused, done.cut_by_snaplen) == (0, 0)
    return [len(frame.data) for frame in out], next(iter(done.super_frames), None)


def check(found, headers, size, payload, basis):
    lengths, by = found
    expected = [headers + min(size, payload - at) for at in range(0, payload, size)]
    assert (lengths, by) == (expected, basis)


@pytest.mark.parametrize("family", [4, 6])
def test_the_order_of_bases(tmp_path, family):
    ip = 20 if family == 4 else 40
    flow = Packet(family=family, options=STAMP)
    large = flow.but(payload=bytes(5000))
    head = 14 + ip + 32
    seen = flow.but(payload=bytes(1200))
    syn, answer = flow.but(flags=SYN, options=mss(1400)), backwards(flow).but(flags=SYN | ACK, options=mss(1300))
    check(sizes(tmp_path, [large]), head, 1500 - ip - 32, 5000, "default")
    check(sizes(tmp_path, [seen, large]), head, 1200, 5000, "seen")
    check(sizes(tmp_path, [seen, syn, large]), head, 1400 - 12, 5000, "syn")
    check(sizes(tmp_path, [seen, syn, answer, large]), head, 1300 - 12, 5000, "syn")
    check(sizes(tmp_path, [answer, syn, large]), head, 1300 - 12, 5000, "syn")
    check(sizes(tmp_path, [answer, large]), head, 1300 - 12, 5000, "syn")
    check(sizes(tmp_path, [syn, answer, large], mtu=1000), head, 1000 - ip - 32, 5000, "mtu")


def test_1460_with_timestamps_cuts_at_1448(tmp_path):
    flow = Packet(options=STAMP)
    check(sizes(tmp_path, [flow.but(flags=SYN, options=mss(1460)), flow.but(payload=bytes(4344))]), 66, 1448, 4344, "syn")
    check(
        sizes(tmp_path, [flow.but(flags=SYN, options=mss(1460)), flow.but(payload=bytes(2897), options=b"")]),
        54,
        1460,
        2897,
        "syn",
    )


def test_what_is_no_segment_size_is_not_learnt(tmp_path):
    flow = Packet()
    other = Packet(sport=9)
    bad = flow.but(flags=SYN, options=mss(40))
    short = flow.but(payload=bytes(500))
    opposite = backwards(flow).but(payload=bytes(1000))
    check(
        sizes(tmp_path, [bad, short, opposite, other.but(payload=bytes(900)), flow.but(payload=bytes(4000))]),
        54,
        1460,
        4000,
        "default",
    )


def test_frames_that_fit_are_not_cut(tmp_path):
    flow = Packet()
    for packets in ([flow.but(payload=bytes(1460))], [flow.but(flags=SYN, options=mss(8960)), flow.but(payload=bytes(8960))]):
        assert sizes(tmp_path, packets) == ([54 + len(packets[-1].payload)], None)


@pytest.mark.parametrize("tags", [(), ((0x8100, 7),), ((0x88A8, 7), (0x8100, 8))])
def test_tags_do_not_count_and_extension_headers_do(tmp_path, tags):
    link = 14 + 4 * len(tags)
    flow = Packet(family=6, tags=tags, extensions=((60, bytes(14)),))
    check(sizes(tmp_path, [flow.but(payload=bytes(4000))]), link + 76, 1424, 4000, "default")
    # RFC 6691: the sender takes IP options off the MSS too.
    check(sizes(tmp_path, [flow.but(flags=SYN, options=mss(1440)), flow.but(payload=bytes(4000))]), link + 76, 1424, 4000, "syn")


@pytest.mark.parametrize("version", [4, 6])
def test_big_tcp_is_cut_as_if_its_header_were_not_there(tmp_path, version):
    """Total length 0, or a jumbo header that segmentation leaves out: neither counts."""
    big = super_frame(version=version, payload=bytes(100_000), jumbo=version == 6, zero_length=version == 4, tcp_options=STAMP)
    size = 1448 if version == 4 else 1428
    check(sizes(tmp_path, [big.data]), 1514 - size, size, 100_000, "default")
    check(sizes(tmp_path, [big.data], mtu=1400), 1514 - size, size - 100, 100_000, "mtu")


def test_snaplen_cut_super_frames_are_kept_and_counted(tmp_path):
    whole = Packet(payload=bytes(4000)).frame()
    frames = [naive.Frame(whole[:96], len(whole), 1), naive.Frame(whole[:96], 1000, 2)]
    (tmp_path / "x.pcap").write_bytes(naive.pcap_file(frames))
    done = segment_capture(str(tmp_path / "x.pcap"), str(tmp_path / "y.pcap"))
    assert (done.cut_by_snaplen, done.written, done.segments) == (1, 2, 0)
    assert (tmp_path / "y.pcap").read_bytes() == (tmp_path / "x.pcap").read_bytes()


@pytest.mark.parametrize("family", [4, 6])
def test_udp_becomes_datagrams_or_fragments_of_one(tmp_path, family):
    ip = 20 if family == 4 else 40
    large = Packet(family=family, protocol="udp", payload=random.Random(1).randbytes(5000), df=False)
    check(sizes(tmp_path, [large]), 14 + ip + 8, 1500 - ip - 8, 5000, "default")
    lengths, _ = sizes(tmp_path, [large], ufo=True)
    assert len(lengths) == 4
    assert max(lengths) <= 1514
    assert min(lengths[:-1]) > 1490
    coalesce_capture(str(tmp_path / "y.pcap"), str(tmp_path / "z.pcap"), Options(reassemble=True))
    again = naive.read((tmp_path / "z.pcap").read_bytes()).frames
    assert [frame.data for frame in again] == [large.frame()]


@pytest.mark.parametrize("suffix", [".pcap", ".pcapng"])
@pytest.mark.parametrize("nanoseconds", [False, True])
@pytest.mark.parametrize("rate", [10**9, 10**10, 100_000])
def test_spread_spaces_segments_as_a_link_does(tmp_path, nanoseconds, suffix, rate):
    ticks = 1_700_000_000 * (10**9 if nanoseconds else 10**6) + 17
    frame = Packet(payload=bytes(60_000)).frame()
    source = naive.pcap_file([naive.Frame(frame, len(frame), ticks)], nanoseconds=nanoseconds)
    (tmp_path / "x.pcap").write_bytes(source)
    segment_capture(str(tmp_path / "x.pcap"), str(tmp_path / ("y" + suffix)), spread=rate)
    found = naive.read((tmp_path / ("y" + suffix)).read_bytes()).frames
    assert len(found) == 42
    unit = 1 if nanoseconds else 1000
    sent = 0
    for k, one in enumerate(found):
        assert one.nanoseconds // unit == (ticks * unit + sent * 8 * 10**9 // rate) // unit, k
        sent += 1514 + 24


def truth(tmp_path, data, options):
    """What `coalesce` says of a pcap, and which of its frames `segment` does not give back."""
    (tmp_path / "x.pcap").write_bytes(data)
    said = coalesce_capture(str(tmp_path / "x.pcap"), str(tmp_path / "m.pcap"), options)
    segment_capture(str(tmp_path / "m.pcap"), str(tmp_path / "y.pcap"))
    left = [(frame.data, frame.wire_len) for frame in naive.read((tmp_path / "y.pcap").read_bytes()).frames]
    lost = 0
    for frame in naive.read(data).frames:
        if (frame.data, frame.wire_len) in left:
            left.remove((frame.data, frame.wire_len))
        else:
            lost += 1
    return said, lost, left


def stream(count=10, size=1448, start=1, step=1, **fields):
    flow = Packet(options=STAMP, **fields)
    fill = random.Random(4)
    return [flow.but(seq=k * size, id=start + k * step, payload=fill.randbytes(size)) for k in range(count)]


@pytest.mark.parametrize(
    ("packets", "lost"),
    [
        pytest.param(stream(), 0, id="default 1500"),
        pytest.param([Packet(flags=SYN, options=mss(1212)), *stream(size=1200)], 0, id="by the SYN"),
        pytest.param(stream(size=1200), 10, id="nothing to infer from"),
        pytest.param([Packet(seq=9, options=STAMP, payload=bytes(1200)), *stream(size=1200)], 0, id="seen"),
        pytest.param(stream(count=1, size=1200) + stream(count=3, size=8948, sport=9), 3, id="jumbo frames without a SYN"),
        pytest.param([Packet(sport=9, flags=SYN, options=mss(8960)), *stream(3, 8948, sport=9)], 0, id="jumbo with a SYN"),
        pytest.param(stream(count=1, size=8948), 1, id="jumbo alone: segment would cut it"),
        pytest.param(stream(step=0), 9, id="fixed IDs"),
        pytest.param(stream(step=0, family=6, size=1428), 0, id="IPv6 has no ID"),
        pytest.param([p.but(urgent=k) for k, p in enumerate(stream())], 9, id="urgent pointers"),
        pytest.param([p.but(flags=flag_bits("AC")) for p in stream()], 0, id="CWR does not merge"),
        pytest.param(stream(count=2, size=600), 2, id="a merged frame that fits"),
        pytest.param([p.but(checksum_error=1) for p in stream()], 0, id="bad checksums do not merge"),
    ],
)  # fmt: skip
def test_the_count_of_what_a_pcap_loses(tmp_path, packets, lost):
    data = naive.pcap_file([naive.Frame(p.frame(), len(p.frame()), k) for k, p in enumerate(packets)])
    for partial in (False, True):
        said, found, _ = truth(tmp_path, data, Options(partial=partial))
        assert (said.not_restorable, found) == (lost, lost)


def test_the_count_is_true_for_hostile_captures(tmp_path):
    total = 0
    for seed in range(60):
        options = Options(
            poll=random.Random(seed).choice((8, 64, 500)),
            reassemble=seed % 3 == 0,
            unlimited=seed % 2 == 0,
            trust_partial=seed % 5 == 0,
        )
        said, lost, _ = truth(tmp_path, wild_pcap(seed + 100).data, options)
        assert (seed, said.not_restorable) == (seed, lost)
        total += lost
    assert total > 100
