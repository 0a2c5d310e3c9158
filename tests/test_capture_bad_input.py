"""Captures that end too early or lie: what was good is kept, the rest is said in one line, nothing crashes."""

import gzip
import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from pktpath.port.capture import CaptureError, create_capture, open_capture
from pktpath.port.memory import load
from support import naive_capture as naive
from support.captures import Pieces, contents_of
from support.fuzz_captures import seeds

TESTS = Path(__file__).parent


def run(*arguments, **settings):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "0"} | settings
    return subprocess.run([sys.executable, *arguments], env=environment, cwd=TESTS, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("number", range(len(seeds())))
def test_truncation_at_every_byte(number):
    data = seeds()[number]
    pcap = data[:4] != b"\x0a\x0d\x0d\x0a"
    truncated = 0
    for length in range(len(data)):
        target = io.BytesIO(data[:length])
        if length < (24 if pcap else 4):
            with (
                pytest.raises(CaptureError, match=r"offset|empty"),
                open_capture(target, window=4096, batch_size=8, header_chunks=1),
            ):
                pass
            continue
        expected = naive.read(data[:length])
        found, lines = contents_of(target, window=4096, batch_size=8, header_chunks=1)
        assert (found.blocks, found.end) == (expected.blocks, expected.end)
        assert [(f.data, f.ticks, f.options) for f in found.frames] == [(f.data, f.ticks, f.options) for f in expected.frames]
        if found.end == "truncated":
            truncated += 1
            assert f"truncated at offset {length}:" in lines[0]
            count = len(found.frames)
            assert lines[0].endswith(f"; {count} frames before it were kept" if count != 1 else "; 1 frame before it was kept")
    assert truncated > len(data) / 2


def test_the_line_about_a_truncated_record():
    data = naive.pcap_file([naive.Frame(bytes(100), 100, 1), naive.Frame(bytes(1500), 1500, 2)])[:-1300]
    _, lines = contents_of(Pieces(data))
    assert lines == [
        "capture: truncated at offset 356: the record header says 1500 bytes, 200 are there; 1 frame before it was kept"
    ]


@pytest.mark.parametrize("captured", [2**26 + 1, 2**31, 2**32 - 1])
def test_a_lying_length_is_an_error_after_the_good_frames(captured, tmp_path):
    good = naive.pcap_file([naive.Frame(b"good", 4, 1)] * 3)
    path = tmp_path / "x.pcap"
    path.write_bytes(good + struct.pack("<4I", 0, 0, captured, 60) + bytes(100))
    found, lines = contents_of(path)
    assert len(found.frames) == 3
    assert lines == [f"{path}: captured length: {captured} is impossible; 3 frames before it were kept at offset {len(good)}"]


def test_lying_blocks():
    start = naive.section() + naive.interface()
    frame = naive.packet(naive.Frame(b"abcd", 4, 1))
    cases = {
        "block total length": frame[:4] + struct.pack("<I", 30) + frame[8:],
        "second block total length": frame[:-4] + struct.pack("<I", 40),
        "interface id": naive.packet(naive.Frame(b"abcd", 4, 1), number=1),
        "captured length": frame[:20] + struct.pack("<I", 5) + frame[24:],
        "original length": frame[:24] + struct.pack("<I", 2**31) + frame[28:],
        "byte-order magic": naive.section()[:8] + bytes(20),
    }
    for field, bad in cases.items():
        _, lines = contents_of(io.BytesIO(start + frame + bad))
        offset = len(start + frame)
        assert lines[0].startswith(f"capture: {field}: ")
        assert lines[0].endswith(f"at offset {offset}")
    _, lines = contents_of(io.BytesIO(naive.section() + naive.block(1, b"1234")))
    assert lines == ["capture: interface block: an interface block has at least 20 bytes, not 16 at offset 28"]


def test_odd_but_harmless_fields_are_told():
    record = struct.pack("<4I", 1, 1_000_000, 1, 1) + b"x"
    found, lines = contents_of(io.BytesIO(naive.pcap_file([]) + record))
    assert found.frames[0].ticks == 2_000_000
    assert "fraction of a second" in lines[0]
    packet = naive.packet(naive.Frame(b"abcd", 4, 1), raw_options=struct.pack("<HH", 1, 400))
    found, lines = contents_of(io.BytesIO(naive.section() + naive.interface() + packet))
    assert found.frames[0].options == b""
    assert lines == ["capture: the options of 1 packets are malformed and were left out"]


@pytest.mark.parametrize(("data", "said"), [(b"", "is empty"), (b"hello, world", "neither pcap nor pcapng")])
def test_what_is_no_capture(tmp_path, data, said):
    path = tmp_path / "x.pcap"
    path.write_bytes(data)
    with pytest.raises(CaptureError, match=f"x.pcap: magic number: {said} at offset 0"):
        open_capture(path)


def test_what_cannot_be_opened(tmp_path):
    with pytest.raises(CaptureError, match="No such file or directory"):
        open_capture(tmp_path / "none.pcap")
    with pytest.raises(CaptureError, match="directory"):
        open_capture(tmp_path)
    with pytest.raises(CaptureError, match="No such file"):
        create_capture(tmp_path / "none" / "x.pcap")


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_damaged_compression(compress):
    data = naive.pcap_file([naive.Frame(os.urandom(3000), 3000, k) for k in range(400)])
    packed = compress(data)
    found, lines = contents_of(io.BytesIO(packed[: len(packed) // 2]))
    assert 0 < len(found.frames) < 400
    assert "truncated at offset" in lines[0]
    with pytest.raises(CaptureError, match="offset"):
        open_capture(io.BytesIO(packed[:8]))
    broken = packed[: len(packed) // 2] + b"\xff" * 8 + packed[len(packed) // 2 :]
    _, lines = contents_of(io.BytesIO(broken))
    assert len(lines) == 1


def test_mutated_files_between_guard_pages():
    runs = [run("-m", "support.fuzz_captures", str(seed), "5000") for seed in (1, 2)]
    for result in runs:
        assert result.returncode == 0, result.stderr[-2000:]
        assert result.stdout.count(" ") == 5, result.stdout  # whole, truncated and lie all happened


@pytest.mark.parametrize("setting", ["NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK"])
def test_mutated_files_where_every_index_is_seen(setting):
    result = run("-W", "error", "-m", "support.fuzz_captures", "3", "300", **{setting: "1"})
    assert result.returncode == 0, result.stderr[-2000:]


_FULL = """
import resource, signal, sys
from pktpath.port.capture import CaptureError, create_capture
from pktpath.port.memory import load
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
batch = load([bytes(1000)] * 1000)
try:
    with create_capture(sys.argv[1]) as writer:
        for _ in range(5):
            writer.write(batch)
except CaptureError as error:
    print(error)
"""


def test_a_file_that_cannot_grow_leaves_nothing_behind(tmp_path):
    result = run("-c", _FULL, str(tmp_path / "x.pcapng"), NUMBA_DISABLE_JIT="1")
    assert result.stdout == f"{tmp_path}/x.pcapng: write: File too large at offset 3000000\n", result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk():
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    writer = create_capture("/dev/full")
    with pytest.raises(CaptureError, match="/dev/full: write: No space left on device at offset 0"):
        writer.write(load([b"frame"]))


def test_a_closed_pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = create_capture(path)
    os.close(reading)
    with pytest.raises(CaptureError, match="closed pipe"):
        writer.write(load([b"frame"]))
    assert path.is_fifo()
