"""`segment(coalesce(x)) == x`, to the byte, for any x: frames, order, times, lengths, interfaces, options, blocks."""

import os
import random
import subprocess
import sys
from dataclasses import replace

import pytest

from pktpath.path.coalesce import Options, coalesce_capture
from pktpath.path.segment import segment_capture
from support import naive_capture as naive
from support.wild_captures import wild_pcap, wild_pcapng

ROUNDS = int(os.environ.get("PKTPATH_FUZZ_ROUNDS", "12000")) // 100  # each is a whole capture


def random_options(rng: random.Random) -> Options:
    return Options(
        rules=rng.choice(("6.12", "6.18", "7.0")), poll=rng.choice((1, 2, 7, 64, 64, 300, 1024)),
        flush_timeout=rng.choice((0, 1000, 100_000, 10**10)), unlimited=rng.random() < 0.5, udp=rng.random() < 0.8,
        reassemble=rng.random() < 0.5, partial=rng.random() < 0.3, trust_partial=rng.random() < 0.5,
    )  # fmt: skip


def assert_same(found: bytes, expected: bytes, *about):
    """Say first which frame differs: two whole files are too much to look at."""
    if found == expected:
        return
    for k, (one, other) in enumerate(zip(naive.read(found).items, naive.read(expected).items, strict=False)):
        assert one == other, (*about, f"item {k}")
    assert found == expected, about


def through(folder, data, options, seed, *, suffix, middle=".pcapng"):
    """Coalesce and segment a capture given as bytes; returns the result's bytes and what both said."""
    source, merged, back = (folder / (name + end) for name, end in (("x", suffix), ("m", middle), ("y", suffix)))
    source.write_bytes(data)
    done = coalesce_capture(str(source), str(merged), options)
    undone = segment_capture(str(merged), str(back))
    assert (done.damaged, undone.damaged, done.warnings) == (False, False, []), seed
    assert (undone.damaged_records, undone.disordered, undone.refused) == (0, 0, 0), (seed, options)
    assert done.written == undone.frames, seed
    assert done.frames == undone.written, seed
    return back.read_bytes(), done, undone


@pytest.mark.fuzz
def test_any_pcapng_comes_back_to_the_byte(tmp_path):
    merged = reassembled = patched = 0
    for seed in range(ROUNDS):
        options = random_options(random.Random(seed))
        wild = wild_pcapng(seed)
        found, done, _ = through(tmp_path, wild.data, options, seed, suffix=".pcapng")
        assert_same(found, wild.data, seed, options)
        assert done.frames == len(wild.frames)
        merged, reassembled, patched = merged + done.merged, reassembled + done.reassembled, patched + done.patched
    # The property would also hold if nothing were merged.
    assert min(merged // 500, reassembled // 2, patched // 50) >= ROUNDS // 120


@pytest.mark.fuzz
def test_any_pcap_comes_back_as_the_same_file(tmp_path):
    merged = 0
    for seed in range(ROUNDS // 3):
        options = random_options(random.Random(seed + 1))
        wild = wild_pcap(seed)
        found, done, _ = through(tmp_path, wild.data, options, seed, suffix=".pcap")
        assert_same(found, wild.data, seed, options)
        merged += done.merged
    assert merged > ROUNDS


@pytest.mark.fuzz
def test_what_was_coalesced_before_comes_back_too(tmp_path):
    """Each time of coalescing has its own layer of records, and `segment` takes off the last."""
    layers = 0
    for seed in range(ROUNDS // 6):
        data = wild_pcapng(seed + 5000).data
        (tmp_path / "0.pcapng").write_bytes(data)
        options = Options(poll=4, unlimited=True)
        coalesce_capture(str(tmp_path / "0.pcapng"), str(tmp_path / "1.pcapng"), options)
        once = (tmp_path / "1.pcapng").read_bytes()
        found, done, _ = through(tmp_path, once, replace(options, poll=64, reassemble=True), seed, suffix=".pcapng")
        assert_same(found, once, seed)
        layers += done.merged + done.reassembled
        found = tmp_path / "back.pcapng"
        segment_capture(str(tmp_path / "y.pcapng"), str(found))
        assert_same(found.read_bytes(), data, seed)
    assert layers > 0


def test_groups_do_not_fit_into_one_output_and_records_into_one_option(tmp_path):
    """Interleaved trains of tiny segments, each header its own: thousands of places, records of several options."""
    from support.craft import Packet

    rng = random.Random(9)
    flow = Packet(options=b"\x01" * 40, payload=b"x", tags=((0x8100, 1),))
    frames = []
    for _ in range(12):
        trains = [
            [
                flow.but(sport=100 + f, seq=k, urgent=rng.randrange(65536), id=k).frame()
                for k in range(1000)
            ]
            for f in range(2)
        ]  # fmt: skip
        piece = naive.option(1, rng.randbytes(300))
        frames += [naive.Frame(one, len(one), len(frames), options=piece) for pair in zip(*trains, strict=True) for one in pair]
    data = naive.section() + naive.interface(resolution=9)
    data += b"".join(naive.packet(frame, raw_options=frame.options) for frame in frames)
    found, done, _ = through(tmp_path, data, Options(poll=1024, flush_timeout=10**9), 0, suffix=".pcapng")
    assert done.merged > 23_000
    assert_same(found, data)


def test_datagrams_of_thousands_of_fragments_come_back(tmp_path):
    """Reassembly makes the largest groups, and their frames are written out: those must not be torn apart."""
    from support.craft import Packet

    frames = []
    for number in range(5):
        body = Packet(protocol="udp", payload=bytes(40_000), sport=number)._transport()
        pieces = [
            Packet(
                protocol="17", payload=body[at : at + 48], df=False, id=number, mf=at + 48 < len(body), fragment_offset=at // 8
            )
            for at in range(0, len(body), 48)
        ]
        frames += [piece.frame() for piece in pieces]
    rng = random.Random(3)
    for at in range(0, len(frames), 2000):
        part = frames[at : at + 2000]
        rng.shuffle(part)
        frames[at : at + 2000] = part
    data = naive.pcap_file([naive.Frame(frame, len(frame), k) for k, frame in enumerate(frames)])
    found, done, undone = through(tmp_path, data, Options(poll=1024, reassemble=True), 0, suffix=".pcap")
    assert done.reassembled >= 4  # a batch ends within the fifth
    assert undone.disordered == 0
    assert_same(found, data)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_commands_do_the_same_through_pipes(tmp_path, seed):
    wild = wild_pcapng(seed)
    command = f"{sys.executable} -m pktpath"
    line = f"{command} coalesce -r - -w - --reassemble | {command} segment -r - -w -"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], input=wild.data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_same(done.stdout, wild.data)


def test_a_filter_leaves_the_rest_as_it_was(tmp_path):
    wild = wild_pcap(11)
    (tmp_path / "x.pcap").write_bytes(wild.data)
    coalesce_capture(str(tmp_path / "x.pcap"), str(tmp_path / "m.pcapng"), Options(), expression="tcp")
    segment_capture(str(tmp_path / "m.pcapng"), str(tmp_path / "y.pcap"))
    segment_capture(str(tmp_path / "x.pcap"), str(tmp_path / "z.pcap"), mtu=65535, expression="tcp")
    assert (tmp_path / "y.pcap").read_bytes() == (tmp_path / "z.pcap").read_bytes()
