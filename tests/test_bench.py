"""The bench: rows of the right form with and without its peer, and a peer that does what it says."""

import json
import math
import shutil
import subprocess
import sys

import pytest

from pktpath.batch import FRAMES, GSO_TCPV4
from pktpath.jit import JIT_DISABLED
from pktpath.lab.bench import checksum, files, gro, gso, peer, receive
from pktpath.lab.bench.common import QUICK, Effort, Row, as_markdown, clock_cost, one_core
from pktpath.lab.bench.traffic import PAYLOAD, as_rows, burst, super_frame, write_capture
from pktpath.offload.gro import UNLIMITED, make_gro_table
from pktpath.offload.gro import gro as merge
from pktpath.offload.gso import gso as cut
from pktpath.port.capture import read
from pktpath.port.memory import unload

KEYS = ["case", "pktpath", "peer", "unit", "ratio"]


@pytest.fixture(scope="module")
def dpdk():
    with one_core() as core, peer.started(core) as (process, missing):
        if process is None:
            pytest.skip(missing)
        yield process


timed = pytest.mark.skipif(JIT_DISABLED, reason="nothing to time without the compiler")
BENCHES = pytest.mark.parametrize("bench", [gro, gso, checksum], ids=["gro", "gso", "checksum"])


def check_rows(rows, *, with_peer):
    assert len({row.case for row in rows}) == len(rows) > 0
    for row in rows:
        shown = row.as_json()
        assert list(shown)[:5] == KEYS
        assert math.isfinite(shown["pktpath"])
        assert shown["pktpath"] > 0
        if with_peer:
            assert shown["peer"] > 0
            assert shown["ratio"] > 0
        else:
            assert shown["peer"] is shown["ratio"] is None
            assert shown["note"] == "none here"
        json.dumps(shown)


@timed
@BENCHES
def test_rows_without_a_peer(bench):
    check_rows(bench.rows(None, "none here", QUICK), with_peer=False)


@timed
@pytest.mark.parametrize("verified", [False, True])
def test_the_receive_path_sums_up_what_the_card_does_not(verified):
    """Payloads with a wrong byte merge only where nobody is to look at them."""
    right = receive._Ours(1024, 1, verified=verified)
    right()
    wrong = receive._Ours(1024, 1, verified=verified)
    wrong.batch.pool.mem[wrong.told.head_addr + wrong.told.payload_offset + PAYLOAD // 2] ^= 0x55
    wrong()
    assert right.frames_out < 1024
    assert wrong.frames_out == (right.frames_out if verified else 1024)


@pytest.mark.peer
@timed
@BENCHES
def test_rows_with_the_peer(bench, dpdk):
    check_rows(bench.rows(dpdk, "", QUICK), with_peer=True)


@timed
def test_rows_of_files():
    rows = files.rows(Effort(turns=1, frames=1, capture_bytes=1_000_000))
    assert [row.case for row in rows[::4]] == ["files coalesce, beside cp", "files segment, beside cp"]
    assert all(row.pktpath > 0 and row.unit == "MB/s" for row in rows)
    assert all(row.peer is None or row.peer > 0 for row in rows)
    assert rows[4].more["identical"]


def test_a_missing_library_is_a_row_and_no_error(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _program: None)
    with peer.started(0) as (process, missing):
        assert process is None
        assert missing == "peer not installed: apt-get install libdpdk-dev gcc pkg-config"


def test_ratio_is_how_much_faster():
    assert Row("a", 10.0, 20.0, "ns/frame").ratio == 2
    assert Row("a", 10.0, 20.0, "GB/s").ratio == 0.5
    assert Row("a", 10.0, None, "GB/s").ratio is None


def test_the_page_says_what_was_missed():
    page = as_markdown(
        [Row("a", 10.0, 20.0, "ns/frame", goal=3), Row("b", 5.0, 20.0, "ns/frame", goal=3)], date="2026-11-21", peer="DPDK"
    )
    assert "| a | 10 | 20 | ns/frame | 2 | 3 missed |" in page
    assert "| b | 5 | 20 | ns/frame | 4 | 3 reached |" in page


def test_the_clock_of_compiled_code_goes():
    assert 0 < clock_cost() < 1e6


@pytest.mark.peer
@pytest.mark.parametrize(
    ("how", "flows", "size", "delivered"),
    [
        # 44 of 1448 bytes fit below 65536, or 20 where DPDK counts segments (23.07 and later).
        ("light", 1, 64, {2, 4}),
        ("light", 4, 64, {4}),
        ("light", 16, 64, {16}),
        ("light", 64, 64, {64}),
        ("heavy", 1, 1024, {23, 24, 52}),
        ("heavy", 64, 1024, {64}),
        ("heavy", 1024, 1024, {1024}),
    ],
)
def test_the_peer_merges(dpdk, how, flows, size, delivered):
    dpdk.load(as_rows(burst(flows, size, header=64)))
    answer = dpdk.ask("gro", how, size, 3)
    assert answer["frames_in"] == size
    assert answer["frames_out"] in delivered
    if 1 < flows < size:
        batch = burst(flows, size, header=size)
        table = make_gro_table(depth=UNLIMITED, frames=size)
        assert merge(batch, table=table).used[FRAMES] == answer["frames_out"]


@pytest.mark.peer
def test_the_peer_cuts_the_same_segments(dpdk):
    batch = super_frame(gso.SEGMENTS, normal=64, header=64)
    dpdk.load(as_rows(batch))
    assert dpdk.ask("gso", PAYLOAD, 3)["segments"] == gso.SEGMENTS
    theirs = [bytes.fromhex(dpdk.ask("frame", k)["hex"]) for k in range(gso.SEGMENTS)]
    assert unload(cut(batch)) == theirs


@pytest.mark.peer
def test_the_peer_refuses_what_it_cannot(dpdk):
    with pytest.raises(peer.PeerMissingError, match="a burst must divide"):
        dpdk.ask("gro", "light", 1024, 3)
    with pytest.raises(peer.PeerMissingError, match="unknown command"):
        dpdk.ask("hello")


def test_the_frames_of_a_burst_are_the_ones_described():
    batch = burst(4, 64, header=64)
    assert set(batch.payload_len[:64]) == {PAYLOAD}
    assert set(batch.shape_flags[:64]) == {0}
    assert len(set(batch.hash[:64])) == 4
    assert super_frame(45).gso_type[0] == GSO_TCPV4


def test_a_capture_of_any_size(tmp_path):
    path = tmp_path / "wire.pcap"
    count = write_capture(path, 1_000_000)
    batches = list(read(path))
    assert sum(int(batch.used[FRAMES]) for batch in batches) == count
    assert abs(path.stat().st_size - 1_000_000) < 450_000
    assert not any(batch.shape_flags[: batch.used[FRAMES]].any() for batch in batches)


@timed
def test_command():
    words = [sys.executable, "-m", "pktpath", "bench", "checksum", "--quick", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    rows = json.loads(done.stdout)
    assert [list(row)[:5] for row in rows] == [KEYS] * len(rows)
