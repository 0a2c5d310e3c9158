"""Captures of every format: read as the naive reader reads them, written back to the byte."""

import io
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pktpath.batch import FRAMES, Batch, frame_bytes
from pktpath.port.capture import (
    CaptureError,
    ExtraOptions,
    Interface,
    create_capture,
    encode_option,
    find_option,
    open_capture,
    read,
    write,
)  # fmt: skip
from pktpath.port.memory import load, unload
from pktpath.wire.link import Link
from support import naive_capture as naive
from support.captures import Pieces, contents_of, frames_of, pcapngs, pcaps

captures = st.one_of(pcaps(), pcapngs())
quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def copied(data: bytes, name: str, *, blocks=True, **options) -> bytes:
    """The capture that a reader and a writer make of a capture."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / name
        with open_capture(io.BytesIO(data), **options) as reader, create_capture(target, like=reader) as writer:
            for item in reader.items():
                if isinstance(item, Batch):
                    writer.write(item)
                elif blocks:
                    writer.write_block(item)
        return target.read_bytes()


@quick
@given(
    captures,
    st.lists(st.integers(1, 400), max_size=40),
    st.integers(1, 9),
    st.sampled_from([4096, 8192, 1 << 20]),
    st.booleans(),
    st.booleans(),
)
def test_reader_agrees_with_the_naive_reader(data, sizes, batch_size, window, recycle, aligned):
    align = (min(3, batch_size), 1000) if aligned else None
    found, warnings = contents_of(
        Pieces(data, sizes), batch_size=batch_size, window=window, recycle=recycle, align=align, header_chunks=4
    )
    expected = naive.read(data)
    assert found.blocks == expected.blocks
    for mine, twin in zip(found.frames, expected.frames, strict=True):
        if abs(twin.nanoseconds) >= 2**62:
            mine.nanoseconds = twin.nanoseconds = 0
        assert mine == twin
    assert (found.end, warnings) == ("whole", [])


@quick
@given(pcaps())
def test_pcap_is_copied_to_the_byte(data):
    assert copied(data, "x.pcap") == data


@quick
@given(pcapngs(), st.integers(1, 5))
def test_pcapng_is_copied_to_the_byte(data, batch_size):
    assert copied(data, "x.pcapng", batch_size=batch_size) == data


@quick
@given(pcaps())
def test_pcap_through_pcapng_is_the_same_pcap(data):
    assert copied(copied(data, "x.pcapng"), "x.pcap") == data


@quick
@given(pcapngs())
def test_batches_alone_are_written_with_their_interfaces(data):
    """Without the blocks a writer declares the interfaces of the reader itself, in one section."""
    found = naive.read(copied(data, "x.pcapng", blocks=False))
    assert found.end == "whole"
    expected = naive.read(data).frames
    assert [(f.data, f.wire_len, f.ticks, f.options) for f in found.frames] == [
        (f.data, f.wire_len, f.ticks, f.options) for f in expected
    ]
    assert [f.nanoseconds for f in found.frames] == [f.nanoseconds for f in expected]


def test_two_batches_stay_valid_and_fresh_ones_for_ever():
    frames = [naive.Frame(bytes([k % 251]) * (k % 90), k % 90, k) for k in range(500)]
    data = naive.pcap_file(frames)
    with open_capture(Pieces(data, [700] * 100), batch_size=5, window=4096, header_chunks=4) as reader:
        last = None
        for batch in reader:
            now = frames_of(batch)
            assert last is None or frames_of(last[0]) == last[1]
            last = batch, now
    kept = [(batch, frames_of(batch)) for batch in read(io.BytesIO(data))]
    assert all(frames_of(batch) == then for batch, then in kept)


@pytest.mark.parametrize("pause", [0, 40])
def test_batches_end_where_polls_end(pause):
    """Whatever the pieces, and whatever a filter leaves out, every batch but the last ends at a poll's end."""
    rng = np.random.default_rng(7)
    times = np.cumsum(rng.choice([1, 1, 1, 1, 1, 200], 600)) * 1000
    frames = [naive.Frame(bytes([k % 2]) * 60, 60, int(t)) for k, t in enumerate(times)]
    data = naive.pcap_file(frames, nanoseconds=True)
    chosen = "ether[0] == 1" if pause else None
    wanted = [frame for frame in frames if chosen is None or frame.data[0] == 1]
    limit = 100_000

    def polls(run):
        ends, start = [], 0
        for k in range(1, len(run) + 1):
            if k == len(run) or k - start == 8 or run[k].ticks - run[k - 1].ticks > limit:
                ends.append(k)
                start = k
        return ends

    batches = []
    with open_capture(
        Pieces(data, [333] * 1000), batch_size=20, window=4096, align=(8, limit), filter=chosen, header_chunks=4
    ) as reader:
        batches.extend(frames_of(batch) for batch in reader)
    assert [frame.ticks for run in batches for frame in run] == [frame.ticks for frame in wanted]
    ends = polls(wanted)
    at = 0
    for run in batches:
        at += len(run)
        assert at in ends
    assert len(batches) > 20


def test_extra_options_stand_after_the_frame_s_own(tmp_path):
    for order in "<>":
        own = naive.option(1, b"hello", order)
        data = naive.section(order) + naive.interface(order)
        data += naive.packet(naive.Frame(b"abcde", 5, 1), order, raw_options=own) + naive.packet(naive.Frame(b"xy", 2, 2), order)
        value = struct.pack("<I", 32473) + bytes(range(250)) * 200
        more = encode_option(19373, value) + encode_option(19373, value[:9])
        extra = ExtraOptions(np.frombuffer(more, np.uint8), np.zeros(2, np.int64), np.array([len(more), 0], np.int32))
        target = tmp_path / "x.pcapng"
        with open_capture(io.BytesIO(data)) as reader, create_capture(target, like=reader) as writer:
            for batch in reader:
                writer.write(batch, extra)
        written = naive.read(target.read_bytes())
        assert written.frames[0].options == naive.option(1, b"hello") + more
        assert written.frames[1].options == b""
        with open_capture(target) as reader:
            batch = next(iter(reader))
            mem, addr, length = batch.pool.mem, batch.option_addr[0], batch.option_len[0]
            at, size, following = find_option(mem, addr, length, 19373, 0)
            assert mem[at : at + size].tobytes() == value
            at, size, following = find_option(mem, addr, length, 19373, following)
            assert mem[at : at + size].tobytes() == value[:9]
            assert find_option(mem, addr, length, 19373, following)[0] == -1
            at, size, _ = find_option(mem, addr, length, 1, 0)
            assert mem[at : at + size].tobytes() == b"hello"


def test_big_and_empty_frames(tmp_path):
    frames = [naive.Frame(bytes(size), size, k) for k, size in enumerate([0, 262144, 0, 300_000, 1, 2_000_000, 5])]
    source = tmp_path / "in.pcap"
    source.write_bytes(naive.pcap_file(frames))
    found, warnings = contents_of(source, window=8192, header_chunks=4)
    assert [len(f.data) for f in found.frames] == [len(f.data) for f in frames]
    assert not warnings
    assert copied(source.read_bytes(), "x.pcap", window=8192) == source.read_bytes()


def test_simple_and_obsolete_packet_blocks():
    data = naive.section() + naive.interface(snaplen=6) + naive.block(3, struct.pack("<I", 9) + b"simple")
    data += naive.block(2, struct.pack("<HHIIII", 0, 3, 1, 2, 3, 3) + b"old\0" + naive.option(1, b"note"))
    found, _ = contents_of(io.BytesIO(data))
    assert found.frames == naive.read(data).frames
    assert [f.data for f in found.frames] == [b"simple", b"old"]
    assert found.frames[0].wire_len == 9


def test_modified_pcap():
    header = struct.pack("<IHHiIII", 0xA1B2CD34, 2, 4, 0, 0, 65535, 1)
    data = header + struct.pack("<IIIIIHBB", 1, 2, 3, 3, 4, 5, 6, 7) + b"abc"
    found, _ = contents_of(io.BytesIO(data))
    assert found.frames == [naive.Frame(b"abc", 3, 1_000_002, nanoseconds=1_000_002_000)]
    assert copied(data, "x.pcap") == naive.pcap_file(found.frames, snaplen=65535)


@pytest.mark.parametrize(
    ("rate", "expected"), [(10**9, 1_500_000_007), (10**6, 1_500_000), (2**10, 1536), (10**12, 1_500_000_007_000)]
)
def test_times_are_converted_to_the_resolution_of_the_output(tmp_path, rate, expected):
    batch = load([b"x" * 60], timestamps=[1_500_000_007])
    target = tmp_path / "x.pcapng"
    with create_capture(target, interfaces=[Interface(ticks_per_second=rate)]) as writer:
        writer.write(batch)
    assert naive.read(target.read_bytes()).frames[0].ticks == expected


def test_timestamps_overrule_ticks_when_asked(tmp_path):
    data = naive.pcap_file([naive.Frame(b"abc", 3, 5)])
    with open_capture(io.BytesIO(data)) as reader, create_capture(tmp_path / "x.pcap", like=reader) as writer:
        for batch in reader:
            batch.timestamp[0] = 9000
            writer.write(batch, by_timestamp=True)
    assert naive.read((tmp_path / "x.pcap").read_bytes()).frames[0].ticks == 9


def test_memory_batches_and_fragments_are_written(tmp_path):
    frames = [b"one" * 30, b"two" * 40]
    assert write(tmp_path / "x.pcapng", [load(frames)]) == 2
    assert [f for batch in read(tmp_path / "x.pcapng") for f in unload(batch)] == frames
    batch = load([b"head", b"-and-", b"tail"])
    batch.frag_addr[:2] = batch.head_addr[1:3]
    batch.frag_len[:2] = batch.head_len[1:3]
    batch.frag_chunk[:2] = -1
    batch.frag_count[0] = 2
    batch.frame_len[0] = 13
    batch.used[FRAMES] = 1
    write(tmp_path / "y.pcap", [batch])
    assert naive.read((tmp_path / "y.pcap").read_bytes()).frames[0].data == b"head-and-tail" == frame_bytes(batch, 0)


def test_a_descriptor_that_lies_about_its_length_writes_what_it_has(tmp_path):
    batch = load([b"abc", bytes(60)])
    batch.frame_len[:2] = 0
    for name in ("x.pcap", "x.pcapng"):
        write(tmp_path / name, [batch])
        assert [len(f.data) for f in naive.read((tmp_path / name).read_bytes()).frames] == [3, 60]


def test_one_link_type_in_a_pcap(tmp_path):
    data = naive.section() + naive.interface() + naive.interface(linktype=113)
    data += naive.packet(naive.Frame(b"a", 1, 1)) + naive.packet(naive.Frame(b"b", 1, 1, port=1))
    with pytest.raises(CaptureError, match="a pcap has one link type: interface 1 is 113, the first one 1; write pcapng"):
        copied_to(tmp_path / "x.pcap", data)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(CaptureError, match="no capture link type"):
        write(tmp_path / "x.pcapng", [load([b"?"], link=Link.UNKNOWN)])


def copied_to(target, data):
    with open_capture(io.BytesIO(data)) as reader, create_capture(target, like=reader) as writer:
        for batch in reader:
            writer.write(batch)


def test_blocks_have_no_place_in_a_pcap(tmp_path):
    data = naive.section() + naive.interface() + naive.block(4, b"name") + naive.packet(naive.Frame(b"a", 1, 1))
    with open_capture(io.BytesIO(data)) as reader:
        with create_capture(tmp_path / "x.pcap", like=reader) as writer:
            for item in reader.items():
                (writer.write if isinstance(item, Batch) else writer.write_block)(item)
        assert writer.warnings == [f"{tmp_path}/x.pcap: 1 pcapng blocks have no place in a pcap and were left out"]


def test_empty_captures(tmp_path):
    write(tmp_path / "x.pcap", [])
    assert naive.read((tmp_path / "x.pcap").read_bytes()).items == []
    write(tmp_path / "x.pcapng", [])
    assert [len(b) for b in naive.read((tmp_path / "x.pcapng").read_bytes()).blocks] == [28]
