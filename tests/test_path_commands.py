"""`pktpath coalesce` and `segment` as commands: what goes wrong is one line and exit 1, and leaves nothing half-written."""

import contextlib
import hashlib
import json
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from support import naive_capture as naive
from support.craft import Packet
from support.wild_captures import wild_pcap, wild_pcapng

COMMANDS = ("coalesce", "segment")
PKTPATH = [sys.executable, "-m", "pktpath"]


def call(*arguments, **options):
    return subprocess.run([*PKTPATH, *map(str, arguments)], capture_output=True, check=False, timeout=120, **options)


def frames(count=200, size=1000):
    made = [Packet(seq=k * size, id=k, payload=bytes(size)).frame() for k in range(count)]
    return [naive.Frame(one, len(one), k) for k, one in enumerate(made)]


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in" / "x.pcap"
    path.parent.mkdir()
    path.write_bytes(naive.pcap_file(frames()))
    before = hashlib.sha256(path.read_bytes()).digest()
    yield path
    assert hashlib.sha256(path.read_bytes()).digest() == before
    assert [one.name for one in path.parent.iterdir()] == ["x.pcap"]


def said(stderr):
    """What a command said of its work: not that it compiled kernels."""
    return "".join(line for line in stderr.decode().splitlines(keepends=True) if not line.startswith("compiling kernels"))


def one_line(done, *words):
    text = said(done.stderr)
    assert done.returncode == 1, text
    assert text.count("\n") == 1, text
    assert text.startswith("pktpath"), text
    for word in words:
        assert str(word) in text, text


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("ending", ["pcap", "pcapng"])
def test_a_truncated_file_keeps_what_was_good(tmp_path, command, ending):
    whole = naive.pcap_file(frames())
    if ending == "pcapng":
        whole = naive.section() + naive.interface() + b"".join(naive.packet(f) for f in frames())
    broken = tmp_path / f"x.{ending}"
    broken.write_bytes(whole[:-700])
    done = call(command, "-r", broken, "-w", tmp_path / "y.pcapng", "--json")
    one_line(done, broken, "offset", "199 frames")
    result = json.loads(done.stdout)
    assert (result["frames"], result["damaged"]) == (199, True)
    back = call("segment", "-r", tmp_path / "y.pcapng", "-w", tmp_path / "z.pcap")
    assert back.returncode == 0
    assert [f.data for f in naive.read((tmp_path / "z.pcap").read_bytes()).frames] == [f.data for f in frames()[:-1]]


def test_texts_of_one_frame(tmp_path):
    (tmp_path / "x.pcap").write_bytes(naive.pcap_file(frames(1)))
    for words, says in (
        (["coalesce", "-w", tmp_path / "y.pcap"], ["1 frame read, 1 written", "0 frames were merged into 0"]),
        (["segment", "-w", tmp_path / "z.pcap"], ["1 frame read, 1 written", "0 super-frames cut into 0 segments"]),
        (["checksum", "--fix", "-w", tmp_path / "c.pcap"], ["1 frame read, ", "1 frame written, "]),
        (["rss", "--queues", "1"], ["1 frame, 1.05 kB, 1 flow; 1 queue, "]),
    ):
        done = call(words[0], "-r", tmp_path / "x.pcap", *words[1:])
        assert done.returncode == 0, done.stderr
        for text in says:
            assert text in done.stdout.decode()
    (tmp_path / "x.pcap").write_bytes(naive.pcap_file(frames(2)))
    done = call("coalesce", "-r", tmp_path / "x.pcap", "-w", tmp_path / "y.pcapng")
    assert "2 frames read, 1 written\n2 frames were merged into 1\n" in done.stdout.decode()
    done = call("segment", "-r", tmp_path / "y.pcapng", "-w", tmp_path / "z.pcap")
    assert "1 frame read, 2 written\n1 super-frame cut into 2 segments\n" in done.stdout.decode()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_length_that_lies(tmp_path, command):
    lying = bytearray(naive.pcap_file(frames(3)))
    at = 24 + 2 * (16 + 1054) + 8
    lying[at : at + 4] = b"\xff" * 4
    (tmp_path / "x.pcap").write_bytes(lying)
    done = call(command, "-r", tmp_path / "x.pcap", "-w", tmp_path / "y.pcap")
    one_line(done, "x.pcap", "captured length", f"offset {at - 8}")
    assert naive.read((tmp_path / "y.pcap").read_bytes()).end == "whole"


@pytest.mark.parametrize("command", COMMANDS)
def test_odd_frames_pass_unchanged(tmp_path, command):
    rng = random.Random(1)
    odd = [naive.Frame(rng.randbytes(size), size, k) for k, size in enumerate((0, 1, 262144, 13, 0, 60))]
    for linktype in (1, 147):
        (tmp_path / "x.pcap").write_bytes(naive.pcap_file(odd, linktype=linktype))
        done = call(command, "-r", tmp_path / "x.pcap", "-w", tmp_path / "y.pcap")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "y.pcap").read_bytes() == (tmp_path / "x.pcap").read_bytes()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", ["is empty"]), (b"hello, world, I am no capture at all", ["magic number"]), (b"\xd4\xc3\xb2\xa1\x02", ["truncated"])],
)
def test_what_is_no_capture_leaves_no_output(tmp_path, command, data, words):
    (tmp_path / "x").write_bytes(data)
    one_line(call(command, "-r", tmp_path / "x", "-w", tmp_path / "y.pcap"), tmp_path / "x", *words)
    assert [one.name for one in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("command", COMMANDS)
def test_places_that_are_not_there(source, tmp_path, command):
    one_line(call(command, "-r", tmp_path / "missing", "-w", tmp_path / "y.pcap"), "missing", "No such file")
    one_line(call(command, "-r", tmp_path, "-w", tmp_path / "y.pcap"), "irectory")
    one_line(call(command, "-r", source, "-w", tmp_path / "none" / "y.pcap"), "none/y.pcap")
    one_line(call(command, "-r", source, "-w", "/proc/y.pcap"), "/proc/y.pcap")
    one_line(call(command, "-r", source, "-w", source), "input")
    one_line(call(command, "-r", source, "-w", tmp_path / "y.pcap", "tcp and and"), "filter")
    one_line(call(command, "-r", source, "-w", tmp_path / "y.pcap.gz"), "uncompressed")
    assert [one.name for one in tmp_path.iterdir()] == ["in"]


def limited():
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_room_for_the_output(source, tmp_path, command):
    one_line(call(command, "-r", source, "-w", tmp_path / "y.pcap", preexec_fn=limited), "y.pcap", "offset")
    assert [one.name for one in tmp_path.iterdir()] == ["in"]
    one_line(call(command, "-r", source, "-w", "/dev/full"), "/dev/full", "No space left")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_output_that_was_there_stays_when_the_run_fails(source, tmp_path, command):
    (tmp_path / "y.pcap").write_bytes(b"dear to somebody")
    one_line(call(command, "-r", source, "-w", tmp_path / "y.pcap", preexec_fn=limited), "y.pcap")
    assert (tmp_path / "y.pcap").read_bytes() == b"dear to somebody"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_reader_of_stdout_goes_away(tmp_path, command):
    (tmp_path / "x.pcap").write_bytes(naive.pcap_file(frames(5000)))
    child = subprocess.Popen(
        [*PKTPATH, command, "-r", tmp_path / "x.pcap", "-w", "-", *(["--mtu", "500"] if command == "segment" else [])],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    child.stdout.read(100)
    child.stdout.close()
    text = said(child.stderr.read())
    child.stderr.close()
    assert child.wait(60) == 1
    assert text.count("\n") == 1
    assert "stdout" in text


def test_the_input_may_be_the_output_s_old_self_on_stdin(source, tmp_path):
    copy = tmp_path / "y.pcap"
    copy.write_bytes(source.read_bytes())
    with copy.open("rb") as stdin:
        assert call("segment", "-r", "-", "-w", copy, stdin=stdin).returncode == 0
    assert copy.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_no_file(tmp_path, command, number):
    """Whenever it comes: the input is a pipe that never ends, so each delay hits another place."""
    data = naive.pcap_file(frames(300))
    for delay in (0.0, 0.05):
        child = subprocess.Popen(
            [*PKTPATH, command, "-r", "-", "-w", tmp_path / "y.pcap"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )

        def feed(pipe=child.stdin):
            try:
                pipe.write(data)
                for _ in range(3000):
                    pipe.write(data[24:])
                    time.sleep(0.002)
            except (OSError, ValueError):
                pass

        feeder = threading.Thread(target=feed)
        feeder.start()
        give_up = time.monotonic() + 60
        while not list(tmp_path.iterdir()) and child.poll() is None and time.monotonic() < give_up:
            time.sleep(0.002)
        time.sleep(delay)
        child.send_signal(number)
        text = child.stderr.read()
        assert child.wait(60) in (130, 128 + number), text
        child.stderr.close()
        feeder.join()
        with contextlib.suppress(OSError):
            child.stdin.close()
        assert list(tmp_path.iterdir()) == []
        assert b"Traceback" not in text


def test_why_gives_each_frame_its_reason_and_its_number(tmp_path):
    flow = Packet()
    made = [
        flow.but(seq=0, payload=bytes(100)),
        flow.but(seq=100, id=1, payload=bytes(100)),
        flow.but(sport=2, flags=0x02),
        flow.but(sport=3),
        flow.but(sport=4, payload=b"x", checksum_error=1),
        flow.but(sport=5, payload=b"x", partial=True),
        flow.but(sport=6, payload=b"x", ip_options=b"\1\1\1\0"),
        flow.but(sport=7, payload=b"x", ip_checksum_error=1),
        flow.but(protocol="132", payload=b"x"),
        flow.but(ethertype=0x0806),
        flow.but(sport=8, payload=b"x", mf=True),
        flow.but(sport=9, payload=b"x", padding=bytes(3)),
        flow.but(protocol="udp", sport=10, payload=b"x", checksum=0),
        flow.but(family=6, sport=11, payload=b"x"),
    ]
    expected = [
        None, None, "syn", "empty", "bad_checksum", "partial_checksum", "ip_options", "bad_ip_checksum", "other_protocol",
        "not_ip", "ip_fragment", "length_mismatch", "zero_checksum", "alone",
    ]  # fmt: skip
    (tmp_path / "x.pcap").write_bytes(naive.pcap_file([naive.Frame(p.frame(), len(p.frame()), k) for k, p in enumerate(made)]))
    done = call("coalesce", "-r", tmp_path / "x.pcap", "-w", tmp_path / "y.pcapng", "--why", "--json")
    assert done.returncode == 0, done.stderr
    lines, _, rest = done.stdout.decode().partition("\n{\n")
    told = {line["frame"]: line for line in map(json.loads, lines.splitlines())}
    result = json.loads("{\n" + rest)
    assert {frame: line["reason"] for frame, line in told.items()} == {k + 1: word for k, word in enumerate(expected) if word}
    assert told[14]["flow"] == "[2001:db8::1]:11 > [2001:db8::2]:8000 tcp 1 bytes"
    assert sum(result["reasons"].values()) == result["written"]
    assert (result["frames"], result["merged"], result["merged_frames"], result["written"]) == (14, 2, 1, 13)
    text = call("coalesce", "-r", tmp_path / "x.pcap", "-w", tmp_path / "y.pcapng", "--why").stdout.decode()
    assert "frame 5  192.0.2.1:4 > 192.0.2.2:8000 tcp 1 bytes: bad_checksum" in text


def test_what_the_counters_add_up_to(tmp_path):
    for seed in range(2):
        (tmp_path / "x.pcapng").write_bytes(wild_pcapng(seed).data)
        one = call("coalesce", "-r", tmp_path / "x.pcapng", "-w", tmp_path / "y.pcapng", "--json", "--why", "--reassemble")
        lines, _, rest = one.stdout.decode().partition("\n{\n")
        result = json.loads("{\n" + rest if _ else lines)
        untouched = len([line for line in lines.splitlines() if line.startswith('{"')])
        assert untouched + result["merged_frames"] + result["reassembled"] == result["written"]
        assert sum(result["reasons"].values()) == result["written"]
        if result["reassembled"] == 0:
            assert result["frames"] == untouched + result["merged"]
        two = json.loads(call("segment", "-r", tmp_path / "y.pcapng", "-w", tmp_path / "z.pcapng", "--json").stdout)
        assert two["written"] == two["frames"] - sum(two["super_frames"].values()) + two["segments"] == result["frames"]


def anonymous(pid):
    """Anonymous memory of a process now, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


@pytest.mark.parametrize("command", COMMANDS)
def test_memory_does_not_grow_with_the_file(tmp_path, command):
    """A stream of more than 300 MB on standard input, wire frames or super-frames."""
    large = command == "segment"
    some = frames(2000, 1448) if not large else frames(45, 64000)
    records = naive.pcap_file(some)
    times = 320_000_000 // len(records) + 1
    child = subprocess.Popen(
        [*PKTPATH, command, "-r", "-", "-w", "/dev/null", "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    peak = 0
    with child.stdin as pipe:
        pipe.write(records[:24])
        for _ in range(times):
            pipe.write(records[24:])
            peak = max(peak, anonymous(child.pid))
    result = json.loads(child.stdout.read())
    child.stdout.close()
    assert child.wait(60) == 0
    assert result["frames"] == times * len(some)
    print(command, f"peak {peak / 2**20:.0f} MiB of anonymous memory for {times * len(records) / 1e6:.0f} MB")
    assert peak < 256 << 20


def test_a_compressed_input(tmp_path):
    import gzip

    wild = wild_pcap(3)
    (tmp_path / "x.pcap.gz").write_bytes(gzip.compress(wild.data))
    assert call("coalesce", "-r", tmp_path / "x.pcap.gz", "-w", tmp_path / "y.pcapng").returncode == 0
    assert call("segment", "-r", tmp_path / "y.pcapng", "-w", tmp_path / "z.pcap").returncode == 0
    assert (tmp_path / "z.pcap").read_bytes() == wild.data
