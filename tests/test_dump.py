"""`pktpath dump`: records over a socket, bounded queues, and a pcapng that other programs read."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pktpath.control.dump_client import DumpClient
from pktpath.control.dump_records import (
    MAGIC,
    Decoder,
    DumpEnd,
    DumpFrame,
    DumpInterface,
    DumpRequest,
    decode_request,
    encode,
    encode_request,
)  # fmt: skip
from pktpath.control.dump_server import DumpServer
from pktpath.control.loop import Loop
from pktpath.errors import BadInput, Refused

START = 1_700_000_000_000_000_000


def frame_of(number, port, length=60):
    """Return an Ethernet frame with UDP over IPv4 to a port."""
    payload = number.to_bytes(4, "big") + bytes(length - 46)
    udp = (5000).to_bytes(2, "big") + port.to_bytes(2, "big") + (8 + len(payload)).to_bytes(2, "big") + bytes(2) + payload
    total = (20 + len(udp)).to_bytes(2, "big")
    head = b"\x45\0" + total + bytes(4) + b"\x40\x11" + bytes(2) + bytes([10, 0, 0, 1, 10, 0, 0, 2])
    return bytes(6) + b"\2" + bytes(5) + b"\x08\0" + head + udp


class Source:
    """A mirror that gives frames it was made with."""

    def __init__(self, frames, dropped=0):
        self.interfaces = [DumpInterface(3, "p1 in"), DumpInterface(9, "p2 out")]
        self.frames, self.dropped, self.closed = list(frames), dropped, False

    def take(self, most):
        taken, self.frames = self.frames[:most], self.frames[most:]
        return taken

    def close(self):
        self.closed = True


def made_up(count, length=60):
    return [
        DumpFrame(
            9 if k % 2 else 3,
            START + k * 1001,
            length,
            frame_of(k, 80 if k % 3 else 9, length),
            f"flow {k}" if k % 5 == 0 else "",
        )
        for k in range(count)
    ]


@contextmanager
def served(tmp_path, source, refuse=None):
    """Yield the control socket's path of a dump server in a thread, and the requests."""
    loop, requests = Loop(), []

    def opener(request):
        requests.append(request)
        if refuse:
            raise refuse
        return source

    path = str(tmp_path / "s.ctl")
    server = DumpServer(f"{path}.dump", opener, loop)
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        yield path, requests, loop, server
    finally:
        loop.call(server.close)
        loop.call(loop.stop)
        thread.join()
        loop.close()
    assert not os.path.lexists(f"{path}.dump")


def dump(path, *words, **options):
    return subprocess.run(
        [sys.executable, "-m", "pktpath", "dump", "-t", path, *words], capture_output=True, check=False, timeout=60, **options
    )


frames = st.builds(
    DumpFrame,
    st.integers(0, 2**32 - 1),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=80),
    st.text(max_size=9),
)
interfaces = st.builds(
    DumpInterface, st.integers(0, 2**32 - 1), st.text(max_size=9), st.integers(0, 65535), st.integers(0, 2**32 - 1)
)
ends = st.builds(DumpEnd, st.integers(0), st.integers(0), st.integers(0))


@given(st.lists(st.one_of(frames, interfaces, ends, st.text(max_size=9))), st.lists(st.integers(1, 40)))
def test_records_come_back_however_they_are_cut(items, cuts):
    data = MAGIC + b"".join(map(encode, items))
    decoder, found = Decoder(), []
    for cut in cuts:
        found += decoder.feed(data[:cut])
        data = data[cut:]
    assert [*found, *decoder.feed(data)] == items


@given(st.binary(max_size=60))
def test_garbage_is_no_dump_and_no_fault(data):
    for start in (b"", MAGIC):
        with suppress(BadInput):
            list(Decoder().feed(start + data))


@given(st.one_of(st.binary(max_size=60), st.just(b"[" * 100_000)))
def test_a_request_is_read_or_refused(data):
    with pytest.raises(BadInput, match="no request of pktpath dump"):
        decode_request(data)


def test_a_request_comes_back():
    request = DumpRequest(bridge="br0", port="p1", at="datapath", snaplen=96)
    assert decode_request(encode_request(request)) == request


def test_a_file_has_every_frame_and_comment(tmp_path):
    source = Source(made_up(300), dropped=4)
    out = tmp_path / "out.pcapng"
    with served(tmp_path, source) as (path, requests, _, _):
        done = dump(path, "br0/p1", "--at", "datapath", "-w", str(out), "-c", "300", "-s", "128")
    assert done.returncode == 0, done.stderr
    assert done.stderr == b"300 frames, 4 dropped as the mirror was full\n"
    assert requests == [DumpRequest(bridge="br0", port="p1", at="datapath", snaplen=128)]
    assert source.closed
    from pktpath.port.capture import open_capture

    with open_capture(out) as reader:
        stamps = [int(stamp) for batch in reader for stamp in batch.timestamp[: int(batch.used[0])]]
    assert stamps == [frame.timestamp for frame in made_up(300)]


def test_a_filter_and_a_count(tmp_path):
    with served(tmp_path, Source(made_up(300))) as (path, *_):
        done = dump(path, "br0", "-c", "20", "udp", "port", "9")
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0, done.stderr
    assert len(lines) == 20
    assert lines[0].endswith(" p1 in: 60 bytes, flow 0")
    assert lines[1].endswith(" p2 out: 60 bytes")
    with served(tmp_path, Source([])) as (path, *_):
        done = dump(path, "br0", "not a filter")
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)


@pytest.mark.peer
@pytest.mark.parametrize("program", ["tcpdump", "tshark"])
def test_other_programs_read_the_stream(tmp_path, program):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    command = {
        "tcpdump": ["tcpdump", "-n", "-tt", "--nano", "-r", "-"],
        "tshark": [
            "tshark",
            "-r",
            "-",
            "-T",
            "fields",
            "-e",
            "frame.time_epoch",
            "-e",
            "frame.interface_name",
            "-e",
            "frame.comment",
        ],
    }[program]
    with served(tmp_path, Source(made_up(40))) as (path, *_):
        done = dump(path, "br0", "-w", "-", "-c", "40")
    read = subprocess.run(command, input=done.stdout, capture_output=True, check=True)
    lines = read.stdout.decode().splitlines()
    assert len(lines) == 40
    if program == "tcpdump":
        assert lines[1].startswith("1700000000.000001001 IP 10.0.0.1.5000 > 10.0.0.2.80: UDP, length 18")
    else:
        assert lines[5].split("\t")[0].startswith("1700000000.000005005")
        assert lines[5].split("\t")[1:] == ["p2 out", "flow 5"]


@pytest.mark.peer
def test_tcpdump_sees_frames_while_they_come(tmp_path):
    if shutil.which("tcpdump") is None:
        pytest.skip("tcpdump is not installed")
    source = Source(made_up(3))
    command = f"{sys.executable} -m pktpath dump -t {tmp_path}/s.ctl br0 -w - | tcpdump -n -l -r - -c 4 2>/dev/null"
    with served(tmp_path, source), subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, text=True) as pipe:
        first = [pipe.stdout.readline() for _ in range(3)]
        assert all("UDP" in line for line in first)
        source.frames += made_up(2)
        assert "UDP" in pipe.stdout.readline()
        pipe.stdout.close()
        source.frames += made_up(9)
        assert pipe.wait(20) == 0


def test_an_interrupt_keeps_what_came(tmp_path):
    out = tmp_path / "out.pcapng"
    source = Source(made_up(50))
    with served(tmp_path, source) as (path, *_):
        child = subprocess.Popen(
            [sys.executable, "-m", "pktpath", "dump", "-t", path, "br0", "-w", str(out)], stderr=subprocess.PIPE
        )
        until = time.monotonic() + 20
        while source.frames:
            assert time.monotonic() < until
            time.sleep(0.01)
        time.sleep(0.5)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=20)
    assert (child.returncode, err) == (0, b"50 frames\n")
    assert out.stat().st_size > 50 * 60


def test_a_slow_reader_costs_only_its_own_frames(tmp_path, monkeypatch):
    monkeypatch.setattr("pktpath.control.dump_server.QUEUE", 100_000)
    source = Source(made_up(20_000, 1000))
    with served(tmp_path, source) as (path, _, loop, _):
        slow = DumpClient(f"{path}.dump", DumpRequest(bridge="br0"))
        until = time.monotonic() + 20
        while source.frames:
            assert time.monotonic() < until
            # The loop still answers.
            loop.call(lambda: None, 1)
            time.sleep(0.005)
        slow.enough()
        items = [item for piece in slow.items() for item in piece]
        slow.close()
    end = items[-1]
    got = sum(isinstance(item, DumpFrame) for item in items)
    assert (end.frames, end.dropped_mirror) == (got, 0)
    assert end.frames + end.dropped_client == 20_000
    assert end.dropped_client > 10_000
    assert source.closed


@pytest.mark.parametrize(("error", "status"), [(BadInput("br9: no such bridge"), 2), (Refused("no room for a mirror"), 2)])
def test_what_the_switch_refuses_is_said(tmp_path, error, status):
    with served(tmp_path, None, refuse=error) as (path, *_):
        done = dump(path, "br9")
    assert (done.returncode, done.stdout, done.stderr.decode()) == (status, b"", f"pktpath: {error}\n")


def test_no_switch_is_one_line(tmp_path):
    done = dump(f"{tmp_path}/none.ctl", "br0")
    assert (done.returncode, done.stderr.decode()) == (
        2, f"pktpath: {tmp_path}/none.ctl.dump: no control socket is there: does the switch run?\n",
    )  # fmt: skip


def test_a_directory_with_a_long_name(tmp_path):
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    with served(deep, Source(made_up(3))) as (path, *_):
        done = dump(path, "br0", "-c", "3")
    assert (done.returncode, done.stdout.count(b"\n")) == (0, 3)


def test_a_switch_that_ends_ends_the_dump_in_order(tmp_path):
    with served(tmp_path, Source(made_up(3))) as (path, _, loop, server):
        client = DumpClient(f"{path}.dump", DumpRequest(bridge="br0"))
        pieces = client.items()
        found = next(pieces)
        loop.call(server.close)
        for piece in pieces:
            found += piece
        client.close()
    assert found[-1] == DumpEnd(3, 0, 0)


def test_clients_that_say_nothing_or_nonsense(tmp_path):
    source = Source([])
    with served(tmp_path, source) as (path, _, loop, server):
        for data in (b"", b"\xff" * 5000, b"{}\n", b'{"bridge": 5}\n'):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(f"{path}.dump")
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                client.settimeout(5)
                with suppress(ConnectionResetError):
                    while client.recv(4096):
                        pass
        many = []
        for _ in range(30):
            many.append(socket.socket(socket.AF_UNIX))
            many[-1].connect(f"{path}.dump")
            time.sleep(0.002)
        assert loop.call(lambda: len(server._clients)) <= 16
        for client in many:
            client.close()
        until = time.monotonic() + 5
        while loop.call(lambda: len(server._clients)):
            assert time.monotonic() < until
            time.sleep(0.01)


def test_a_port_is_asked_without_numpy():
    code = "import sys, pktpath.control.port_device, pktpath.control.dump_client; print(' '.join(sys.modules))"
    assert not {"numpy", "numba"} & set(subprocess.check_output([sys.executable, "-c", code], text=True).split())
