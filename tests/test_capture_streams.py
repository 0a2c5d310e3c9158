"""Where captures come from and go to: files, pipes, compression; memory stays bounded; targets appear whole or not at all."""

import gzip
import io
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import zstandard

from pktpath.port.capture import CaptureError, create_capture, open_capture
from pktpath.port.memory import load
from support import naive_capture as naive
from support.captures import contents_of, frames_of

FRAMES = [naive.Frame(bytes([k % 256]) * (k % 1500), k % 1500, k) for k in range(2000)]
DATA = naive.pcap_file(FRAMES)
COPY = """
import sys
from pktpath.port.capture import create_capture, open_capture
with open_capture("-") as reader, create_capture("-", format="pcap", like=reader) as writer:
    for batch in reader:
        writer.write(batch)
"""


def packed_forms():
    first, second = DATA[:100_000], DATA[100_000:]
    return {
        "plain": DATA,
        "gzip": gzip.compress(DATA),
        "gzip of two members": gzip.compress(first) + gzip.compress(second),
        "zstd": zstandard.compress(DATA),
        "zstd of two frames": zstandard.compress(first) + zstandard.compress(second),
    }


@pytest.mark.parametrize("form", list(packed_forms()))
def test_compressed_files_are_read_by_their_magic(form, tmp_path):
    path = tmp_path / "capture"
    path.write_bytes(packed_forms()[form])
    found, warnings = contents_of(path)
    assert [f.data for f in found.frames] == [f.data for f in FRAMES]
    assert warnings == []
    with open_capture(path) as reader:
        assert reader.size == path.stat().st_size
        assert sum(1 for _ in reader) > 0
        assert reader.bytes_read == reader.size


@pytest.mark.parametrize("form", list(packed_forms()))
def test_stdin_and_stdout(form):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        [sys.executable, "-c", COPY], input=packed_forms()[form], capture_output=True, check=False, env=environment
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == DATA


def test_a_fifo(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    thread = threading.Thread(target=path.write_bytes, args=(DATA,))
    thread.start()
    found, _ = contents_of(path)
    thread.join()
    assert [f.data for f in found.frames] == [f.data for f in FRAMES]


@pytest.mark.parametrize("packing", ["plain", "gzip", "zstd"])
def test_what_has_arrived_is_delivered_while_the_producer_pauses(packing):
    """The next piece is written only after the frames of the one before were seen."""
    reading, writing = os.pipe()
    pipe = os.fdopen(writing, "wb", 0)
    sink = {
        "gzip": lambda: gzip.GzipFile(fileobj=pipe, mode="wb"),
        "zstd": lambda: zstandard.ZstdCompressor().stream_writer(pipe),
        "plain": lambda: pipe,
    }[packing]()

    def send(data):
        sink.write(data)
        sink.flush()

    records = [naive.pcap_file([frame])[24:] for frame in FRAMES[:9]]
    send(DATA[:24] + records[0] + records[1] + records[2][:17])
    with open_capture(f"/dev/fd/{reading}") as reader:
        assert reader.size is None
        batches = iter(reader)
        assert len(frames_of(next(batches))) == 2
        send(records[2][17:])
        assert [f.data for f in frames_of(next(batches))] == [FRAMES[2].data]
        send(b"".join(records[3:]))
        assert len(frames_of(next(batches))) == 6
        sink.close()
        pipe.close()
        assert list(batches) == []
    os.close(reading)


def test_polls_do_not_depend_on_how_bytes_arrive():
    """A live producer's unfinished poll waits for its end, so that a pipe gives what the file gives."""
    reading, writing = os.pipe()
    os.write(writing, DATA[:24] + b"".join(naive.pcap_file([frame])[24:] for frame in FRAMES[:6]))
    with os.fdopen(reading, "rb", 0) as pipe, open_capture(pipe, align=(4, 10**9)) as reader:
        batches = iter(reader)
        assert len(frames_of(next(batches))) == 4
        os.write(writing, b"".join(naive.pcap_file([frame])[24:] for frame in FRAMES[6:9]))
        assert len(frames_of(next(batches))) == 4
        os.close(writing)
        assert len(frames_of(next(batches))) == 1


def test_a_file_object_without_readinto():
    class Plain:
        def __init__(self):
            self.file = io.BytesIO(DATA)

        def read(self, size):
            return self.file.read(size)

    found, _ = contents_of(Plain())
    assert len(found.frames) == len(FRAMES)


def test_input_and_output_may_be_one_file(tmp_path):
    path = tmp_path / "x.pcap"
    path.write_bytes(DATA)
    path.chmod(0o640)
    link = tmp_path / "link.pcap"
    link.symlink_to(path)
    with open_capture(path, window=1 << 16) as reader, create_capture(link, like=reader) as writer:
        for batch in reader:
            writer.write(batch)
            assert path.read_bytes() == DATA
    assert path.read_bytes() == DATA
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert len(list(tmp_path.iterdir())) == 2


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.pcapng"
    path.write_bytes(b"old")

    def interrupted():
        with create_capture(path) as writer:
            writer.write(load([b"frame"]))
            assert len(list(tmp_path.iterdir())) == 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_formats_by_name(tmp_path):
    for name, magic in (("a.pcap", "4d3cb2a1"), ("a.PCAP", "4d3cb2a1"), ("a.pcapng", "0a0d0d0a"), ("a", "0a0d0d0a")):
        with create_capture(tmp_path / name) as writer:
            writer.write(load([b"frame"]))
        assert (tmp_path / name).read_bytes()[:4].hex() == magic
    for name, said in (("a.pcap.gz", "uncompressed"), ("a.zst", "uncompressed")):
        with pytest.raises(CaptureError, match=said):
            create_capture(tmp_path / name)
    with pytest.raises(CaptureError, match="neither pcap nor pcapng"):
        create_capture(tmp_path / "x", format="erf")


def test_a_file_that_shrinks_while_it_is_read(tmp_path):
    path = tmp_path / "x.pcap"
    path.write_bytes(DATA * 1 + DATA[24:] * 8)
    with open_capture(path, window=1 << 16) as reader:
        batches = iter(reader)
        next(batches)
        os.truncate(path, 200_000)
        assert sum(len(frames_of(batch)) for batch in batches) >= 0
        assert "truncated at offset" in reader.warnings[0]


MEMORY = """
import resource, sys
from pathlib import Path
from pktpath.port.capture import create_capture, open_capture
def anonymous():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
def run(source):
    peak = 0
    with open_capture(source, align=(64, 100_000)) as reader, create_capture("/dev/null", format="pcapng", like=reader) as writer:
        for batch in reader:
            writer.write(batch)
            peak = max(peak, anonymous())
        return peak, reader.frames
run(sys.argv[1])
before = anonymous()
peak, frames = run("-")
print(peak - before, frames)
"""


def test_memory_stays_bounded(tmp_path):
    """300 MB through stdin, in both windows, with every frame written again."""
    records = np.frombuffer(naive.pcap_file([naive.Frame(bytes(1500), 1500, 1)] * 1000)[24:], np.uint8).tobytes()
    small = tmp_path / "small.pcap"
    small.write_bytes(DATA[:24] + records[: 1516 * 3])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", MEMORY, small], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(DATA[:24])
        for _ in range(200):
            process.stdin.write(records)
        process.stdin.close()
        growth, frames = map(int, process.stdout.read().split())
    assert frames == 200_000
    assert growth < 200 * 1024, f"{growth} KiB more"


def test_source_paths_may_be_path_objects(tmp_path):
    path = Path(tmp_path) / "x.pcap"
    path.write_bytes(DATA)
    with open_capture(path) as reader:
        assert reader.file == str(path)
        assert reader.format == "pcap"
        assert reader.interfaces[0].linktype == 1
