"""Super-frames of the running kernel become wire frames that tshark finds right; and every other capture that is written."""

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from pktpath.lab import traffic
from pktpath.path.checksum import checksum_capture
from pktpath.path.coalesce import Options, coalesce_capture
from pktpath.path.segment import segment_capture
from pktpath.port.capture import Interface, create_capture
from support import naive_capture as naive
from support.craft import Packet
from support.hostile import hostile_round
from support.tshark import bad_frames, datagrams, streams, tshark

HERE = Path(__file__).parent
pytestmark = pytest.mark.peer


@pytest.fixture(scope="module", params=[0, 200_000], ids=["gso_max_size 64 KiB", "BIG TCP"])
def transfer(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("transfer")
    command = ["unshare", "--net", sys.executable, "-m", "support.sender", str(folder), str(request.param)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE, timeout=60)
    if "gso_max_size" in done.stderr and request.param:
        pytest.skip("BIG TCP: this kernel or iproute2 refuses gso_max_size 200000")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.oracle
def test_super_frames_of_the_kernel_become_wire_frames(transfer, tmp_path):
    sent, wire, fixed = transfer / "sent.pcap", tmp_path / "wire.pcap", tmp_path / "fixed.pcap"
    sizes = [int(line) for line in tshark(sent, "-T", "fields", "-e", "frame.len")]
    assert max(sizes) > 30_000
    assert sum(size > 1514 for size in sizes) > 50
    done = segment_capture(str(sent), str(wire))
    assert (done.refused, done.cut_by_snaplen) == (0, 0)
    assert done.super_frames["syn"] > 50
    assert max(int(line) for line in tshark(wire, "-T", "fields", "-e", "frame.len")) <= 1514
    # Frames that were no super-frames are not touched: their sums are still left to the device.
    kept = sum(size <= 1514 for size in sizes)
    assert len(bad_frames(wire)) <= kept
    checksum_capture(str(wire), str(fixed), repair=True)
    assert bad_frames(fixed) == []
    assert streams(sent) == streams(wire) == streams(fixed) == streams(transfer / "received.pcap")
    assert {len(data) for data in streams(wire).values()} >= {3_000_000}
    assert datagrams(sent) == datagrams(wire) == datagrams(transfer / "received.pcap")
    assert {len(data) for data in datagrams(wire).values()} == {1200 * 23 + 7 + 1201}
    # A capture of several writes of the kernel coalesces again, and comes back.
    coalesce_capture(str(fixed), str(tmp_path / "again.pcapng"), Options())
    segment_capture(str(tmp_path / "again.pcapng"), str(tmp_path / "back.pcap"))
    assert (tmp_path / "back.pcap").read_bytes() == fixed.read_bytes()


@pytest.mark.oracle
def test_ufo_makes_fragments_that_tshark_puts_together(transfer, tmp_path):
    segment_capture(str(transfer / "sent.pcap"), str(tmp_path / "wire.pcap"), ufo=True, expression="udp")
    checksum_capture(str(tmp_path / "wire.pcap"), str(tmp_path / "fixed.pcap"), repair=True)
    assert bad_frames(tmp_path / "fixed.pcap") == []
    assert datagrams(tmp_path / "fixed.pcap") == datagrams(transfer / "sent.pcap")
    coalesce_capture(str(tmp_path / "wire.pcap"), str(tmp_path / "again.pcap"), Options(reassemble=True, udp=False))
    assert datagrams(tmp_path / "again.pcap") == datagrams(transfer / "sent.pcap")


def hostile_pcap(tmp_path, rounds):
    frames = [frame for seed in rounds for frame in hostile_round(seed)]
    path = tmp_path / "x.pcap"
    path.write_bytes(naive.pcap_file([naive.Frame(frame, len(frame), k * 10) for k, frame in enumerate(frames)]))
    return path


def in_tcp_order(path):
    """Payload bytes that tshark sees in right TCP frames, as a multiset of (flow, sequence number, byte)."""
    fields = [word for name in ("ip.src", "tcp.srcport", "tcp.seq_raw", "tcp.payload") for word in ("-e", name)]
    found = []
    for line in tshark(
        path, "-Y", "tcp.len > 0 && tcp.checksum.status==1", "-o", "tcp.desegment_tcp_streams:FALSE", "-T", "fields", *fields
    ):
        *flow, sequence, payload = line.split("\t")
        data = bytes.fromhex(payload.replace(":", ""))
        found += [(*flow, (int(sequence) + k) & 0xFFFFFFFF, byte) for k, byte in enumerate(data)]
    return sorted(found)


@pytest.mark.parametrize("seed", [10, 30])
def test_no_written_capture_is_worse_than_its_input(tmp_path, seed):
    source = hostile_pcap(tmp_path, range(seed, seed + 5))
    bad = len(bad_frames(source))
    before = in_tcp_order(source)
    for suffix, options in ((".pcap", Options()), (".pcapng", Options(poll=1000, unlimited=True, reassemble=True))):
        merged, back = tmp_path / ("m" + suffix), tmp_path / ("b" + suffix)
        done = coalesce_capture(str(source), str(merged), options)
        assert done.merged > 0
        assert len(bad_frames(merged)) == bad
        assert in_tcp_order(merged) == before
        segment_capture(str(merged), str(back))
        # From a pcap, a jumbo frame whose checksum was wrong may have been cut: its segments are right.
        assert len(bad_frames(back)) == bad or (suffix == ".pcap" and len(bad_frames(back)) < bad)
        assert not Counter(before) - Counter(in_tcp_order(back))


def test_one_corrupted_byte_makes_the_check_fail(tmp_path):
    frames = [Packet(seq=k * 1000, id=k, payload=random.Random(k).randbytes(1000)).frame() for k in range(8)]
    (tmp_path / "x.pcap").write_bytes(naive.pcap_file([naive.Frame(frame, len(frame), k) for k, frame in enumerate(frames)]))
    coalesce_capture(str(tmp_path / "x.pcap"), str(tmp_path / "m.pcap"), Options())
    segment_capture(str(tmp_path / "m.pcap"), str(tmp_path / "y.pcap"), mtu=900)
    for name in ("m.pcap", "y.pcap"):
        assert bad_frames(tmp_path / name) == []
        for at in (-1, 24 + 16 + 14 + 8, 24 + 16 + 14 + 20 + 5):
            wrong = bytearray((tmp_path / name).read_bytes())
            wrong[at] ^= 4
            (tmp_path / "wrong.pcap").write_bytes(wrong)
            assert len(bad_frames(tmp_path / "wrong.pcap")) == 1
    assert streams(tmp_path / "wrong.pcap") != streams(tmp_path / "y.pcap") == streams(tmp_path / "m.pcap")


def test_comments_survive_and_nothing_shows_that_was_not_there(tmp_path):
    data = naive.section() + naive.interface()
    for k in range(6):
        frame = Packet(seq=k * 1000, id=k, payload=bytes(1000), sport=1 + k % 2).frame()
        data += naive.packet(naive.Frame(frame, len(frame), k), raw_options=naive.option(1, b"frame %d" % k))
    (tmp_path / "x.pcapng").write_bytes(data)
    coalesce_capture(str(tmp_path / "x.pcapng"), str(tmp_path / "m.pcapng"), Options(unlimited=True))
    segment_capture(str(tmp_path / "m.pcapng"), str(tmp_path / "y.pcapng"))
    assert sorted(tshark(tmp_path / "m.pcapng", "-T", "fields", "-e", "frame.comment")) != []
    comments = tshark(tmp_path / "y.pcapng", "-T", "fields", "-e", "frame.comment")
    assert comments == [f"frame {k}" for k in range(6)]
    assert len(tshark(tmp_path / "m.pcapng")) == len(naive.read((tmp_path / "m.pcapng").read_bytes()).frames)


def test_tcpdump_takes_merged_frames_behind_a_short_snaplen(tmp_path):
    source, merged, back = tmp_path / "x.pcap", tmp_path / "merged.pcapng", tmp_path / "back.pcap"
    with create_capture(source, interfaces=[Interface(snaplen=1600, ticks_per_second=10**6)]) as writer:
        writer.write(traffic.frames(traffic.bulk(2, 64)))
    for target in (tmp_path / "merged.pcap", merged):
        coalesce_capture(str(source), str(target), Options())
        done = subprocess.run(["tcpdump", "-nr", target], capture_output=True, text=True, check=False)
        assert (done.returncode, len(done.stdout.splitlines())) == (0, 2), done.stderr
    segment_capture(str(merged), str(back))
    assert back.read_bytes() == source.read_bytes()
