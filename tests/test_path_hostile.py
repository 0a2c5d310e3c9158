"""Undo records that lie, and groups that are not whole: no crash, no read outside, frames kept and counted."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pktpath.path import undo
from pktpath.path.coalesce import Options, coalesce_capture
from pktpath.path.segment import segment_capture
from support import naive_capture as naive
from support.craft import Packet
from support.fuzz_undo import number, record, value_of
from support.wild_captures import wild_pcapng

HERE = Path(__file__).parent
ROUNDS = int(os.environ.get("PKTPATH_FUZZ_ROUNDS", "12000"))


@pytest.mark.fuzz
def test_mutated_records_at_guard_pages():
    """In a process of its own: a load beyond the end would kill it."""
    command = [sys.executable, "-m", "support.fuzz_undo", str(ROUNDS), "7"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE, timeout=max(120, ROUNDS // 1000))
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout)
    print(seen)
    for outcome in ("damaged", "undo", "segments", "disordered", "passed", "default", "options"):
        assert seen[outcome] > 0, outcome


def train(count=4, size=1000, port=1500, options=b""):
    return [
        naive.Frame(
            Packet(sport=port, seq=k * size, id=k, payload=bytes([65 + k]) * size).frame(), 54 + size, 100 + k, options=options
        )
        for k in range(count)
    ]


def capture(frames, marked=True):
    section = undo.mark_section(naive.section(), big_endian=False) if marked else naive.section()
    return section + naive.interface() + b"".join(naive.packet(f, raw_options=f.options) for f in frames)


def coalesced(tmp_path, frames, **options):
    (tmp_path / "x.pcapng").write_bytes(
        naive.section() + naive.interface() + b"".join(naive.packet(f, raw_options=f.options) for f in frames)
    )
    coalesce_capture(str(tmp_path / "x.pcapng"), str(tmp_path / "m.pcapng"), Options(**options))
    return naive.read((tmp_path / "m.pcapng").read_bytes()).frames


def segmented(tmp_path, data):
    (tmp_path / "m.pcapng").write_bytes(data)
    done = segment_capture(str(tmp_path / "m.pcapng"), str(tmp_path / "y.pcapng"))
    return naive.read((tmp_path / "y.pcapng").read_bytes()).frames, done


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(number(undo.CUT) + number(4054) + number(1) + number(1000) + number(2**31) + bytes(9), id="2^31 segments"),
        pytest.param(number(undo.CUT) + number(4054) + number(1) + number(1) + number(4000) + bytes(8000), id="a byte a segment"),
        pytest.param(number(undo.EXPLICIT) + number(4054) + number(54) + number(2**62) + bytes(50), id="2^62 explicit"),
        pytest.param(number(undo.EXPLICIT) + number(4054) + number(0) + number(20000) + bytes(5 * 20000), id="20,000 of nothing"),
        pytest.param(
            number(undo.CUT) + number(4054) + number(1) + number(1000) + number(4) + b"\0" + number(2**62), id="2^61 patches"
        ),
        pytest.param(number(undo.CUT) + number(99) + number(1) + number(1000) + number(4) + bytes(8), id="another length"),
        pytest.param(
            number(undo.CUT) + number(4054) + number(1 << 13 | 1) + number(1000) + number(4) + bytes(8), id="GSO_PARTIAL"
        ),
        pytest.param(b"\xff" * 50, id="endless number"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_a_record_that_lies_is_counted_and_the_frame_cut_without_it(tmp_path, value):
    frames = [Packet(payload=bytes(4000)).frame(), Packet(sport=9, payload=b"next").frame()]
    frames = [naive.Frame(frame, len(frame), k) for k, frame in enumerate(frames)]
    frames[0].options = record(value)
    found, done = segmented(tmp_path, capture(frames, marked=False))
    assert done.damaged_records == 1 or done.super_frames == {"undo": 1}
    assert found[-1].data == frames[1].data
    assert all(frame.options == b"" for frame in found)
    if done.damaged_records:
        assert [len(frame.data) for frame in found] == [1514, 1514, 1134, 58]


def test_a_total_of_2_to_the_62_waits_for_no_one(tmp_path):
    value = number(undo.PLACES | undo.GROUP_START) + number(0) + number(2**62) + number(1) + number(0) + number(0)
    found, done = segmented(tmp_path, capture([naive.Frame(b"x" * 60, 60, k, options=record(value)) for k in range(5)]))
    assert [frame.data for frame in found] == [b"x" * 60] * 5
    assert done.disordered == 5


def interleaved():
    """Two flows whose frames alternate: their group has places."""
    a, b = train(port=1), train(port=2)
    frames = [one for pair in zip(a, b, strict=True) for one in pair]
    for k, frame in enumerate(frames):
        frame.ticks = 100 + k
    return frames


@pytest.mark.parametrize("removed", [0, 1])
def test_a_group_that_is_not_whole_keeps_its_order_and_is_counted(tmp_path, removed):
    merged = coalesced(tmp_path, interleaved())
    assert len(merged) == 2
    kept = merged[1 - removed]
    others = train(port=7, count=1)
    found, done = segmented(tmp_path, capture([kept, *others, kept]))
    expected = [f.data for f in interleaved() if f.data[34:36] == kept.data[34:36]]
    assert [f.data for f in found] == [*expected, others[0].data, *expected]
    assert (done.disordered, done.damaged_records) == (2, 0)


def test_groups_inside_groups(tmp_path):
    """The second frame of a group claims to start one: the first is not whole, and its rest stands at the end."""
    merged = coalesced(tmp_path, interleaved())
    twice = [merged[0], merged[0], merged[1], merged[1]]
    found, done = segmented(tmp_path, capture(twice))
    assert len(found) == 16
    assert done.disordered == 2
    assert [f.data for f in found[4:12]] == [f.data for f in interleaved()]


def test_a_frame_that_another_tool_changed_is_cut_without_its_record(tmp_path):
    merged = coalesced(tmp_path, train(options=naive.option(1, b"mine")))
    assert len(merged) == 1
    shorter = naive.Frame(merged[0].data[:-1], len(merged[0].data), 1, options=merged[0].options)
    found, done = segmented(tmp_path, capture([shorter]))
    assert (done.damaged_records, len(found)) == (1, 1)
    assert found[0].data == shorter.data
    assert found[0].options == naive.option(1, b"mine")


def test_options_that_another_tool_put_behind_a_record_are_kept(tmp_path):
    frames = train(options=naive.option(1, b"mine"))
    merged = coalesced(tmp_path, frames)
    for piece in (60000, 7):
        value = value_of(merged[0].options)
        changed = naive.Frame(merged[0].data, merged[0].wire_len, merged[0].ticks)
        changed.options = naive.option(1, b"mine") + record(value, piece) + naive.option(1, b"theirs") + naive.option(2, bytes(4))
        found, done = segmented(tmp_path, capture([changed]))
        assert done.damaged_records == 0
        assert [f.data for f in found] == [f.data for f in frames]
        assert found[0].options == naive.option(1, b"mine") + naive.option(1, b"theirs") + naive.option(2, bytes(4))
        assert [f.options for f in found[1:]] == [naive.option(1, b"mine")] * 3


@pytest.mark.peer
def test_editcap_takes_frames_out(tmp_path):
    """The program by which people take frames out leaves options out that must not be copied: sizes are inferred then."""
    if not shutil.which("editcap"):
        pytest.skip("editcap is not installed")
    frames = interleaved() + train(port=9)
    assert len(coalesced(tmp_path, frames)) == 3
    subprocess.run(["editcap", tmp_path / "m.pcapng", tmp_path / "e.pcapng", "1"], check=True)
    done = segment_capture(str(tmp_path / "e.pcapng"), str(tmp_path / "y.pcapng"))
    found = naive.read((tmp_path / "y.pcapng").read_bytes()).frames
    assert (done.frames, done.damaged_records, done.refused) == (2, 0, 0)
    assert sum(len(frame.data) - 54 for frame in found) == 8000
    assert max(len(frame.data) for frame in found) <= 1514


def test_random_frames_go_missing(tmp_path):
    """A filter took frames out of a coalesced capture: what is left keeps its bytes, and nothing stops."""
    rng = random.Random(5)
    for seed in range(10):
        (tmp_path / "x.pcapng").write_bytes(wild_pcapng(seed + 300).data)
        coalesce_capture(str(tmp_path / "x.pcapng"), str(tmp_path / "m.pcapng"), Options(poll=64, reassemble=True))
        originals = {frame.data for frame in naive.read((tmp_path / "x.pcapng").read_bytes()).frames}
        kept = b""
        at, big, data = 0, False, (tmp_path / "m.pcapng").read_bytes()
        while at < len(data):
            big = data[at + 8 : at + 12] == b"\x1a\x2b\x3c\x4d" if data[at : at + 4] == b"\x0a\x0d\x0d\x0a" else big
            length = int.from_bytes(data[at + 4 : at + 8], "big" if big else "little")
            if int.from_bytes(data[at : at + 4], "big" if big else "little") != 6 or rng.random() < 0.7:
                kept += data[at : at + length]
            at += length
        found, done = segmented(tmp_path, kept)
        assert done.damaged_records == 0
        assert {frame.data for frame in found} <= originals
