"""TAPs: the kernels over socket pairs, which anybody has, and the ports beside the running kernel."""

import contextlib
import errno
import hashlib
import json
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pktpath.batch import CHECKSUM_PARTIAL, CHECKSUM_UNNECESSARY, FRAGS, FRAMES, GSO_TCPV4
from pktpath.errors import BadInput, Refused
from pktpath.features import Feature
from pktpath.pool import HEADROOM, LARGE, NO_CHUNK, NORMAL
from pktpath.port.live import Kind
from pktpath.port.live_rows import claim_row, free_row
from pktpath.port.tap import InternalPort, TapPort
from pktpath.port.tap_io import HEAD_ROOM, LONGEST, MAX_PIECES, tap_give_back, tap_receive, tap_transmit
from pktpath.wire.link import Link
from support import naive_virtio
from support.craft import Packet
from support.live_ports import make_worker
from support.own_network import inside, named_networks, open_files, own_network, run
from support.tap_loop import Joined

WORKER = make_worker()
HOME = Path(__file__).parent
WITHOUT = HOME / "support" / "without_capabilities.py"
PLAIN = bytes(10)
OUR = f"pp-tap-{os.getpid()}"


@pytest.fixture
def worker():
    free = WORKER.free_chunks()
    yield WORKER
    WORKER.clear()
    assert WORKER.free_chunks() == free, "a chunk was left"
    assert not WORKER.queues.tap.taken.any(), "a row was left"


class Pipe:
    """A row whose descriptor is one end of a pair of datagram sockets: what a TAP is to a reader and a writer."""

    def __init__(self, worker):
        self.far, self.near = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.near.setblocking(False)
        self.far.setblocking(False)
        for end in (self.far, self.near):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.rows, self.number = worker.queues.tap, claim_row(worker.queues.tap, "pipe")
        self.row = self.rows[self.number]
        self.row.fd, self.row.in_port = self.near.fileno(), 3

    def close(self):
        free_row(self.rows, self.number)
        self.far.close()
        self.near.close()


@pytest.fixture
def pipe(worker):
    made = Pipe(worker)
    yield made
    made.close()


def receive(worker, row, budget=256):
    return int(tap_receive(worker.queues, row, worker.batch, budget, worker.scratch))


def transmit(worker, row, first=0, last=None):
    last = int(worker.batch.used[FRAMES]) if last is None else last
    return int(tap_transmit(worker.queues, row, worker.batch, worker.order, first, last, worker.scratch))


def drained(end):
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(end.recv(1 << 18))
    return found


def test_small_frames_take_one_chunk_and_long_ones_two(worker, pipe):
    before = worker.free_chunks()
    np.asarray(worker.batch.frames).view(np.uint8)[:] = 0xFF
    lengths = [14, 60, HEAD_ROOM, HEAD_ROOM + 1, 65_535, 70_000]
    frames = [bytes([i + 1]) * length for i, length in enumerate(lengths)]
    for frame in frames:
        pipe.far.send(PLAIN + frame)
    assert receive(worker, pipe.number) == 6
    assert worker.frames() == frames
    batch = worker.batch
    told = {
        "in_port": 3, "link": Link.ETHERNET, "ip_summed": 0, "gso_type": 0, "gso_size": 0, "gso_segs": 1, "hash": 0, "reason": 0,
        "vlan_proto": 0, "payload_sum": -1, "timestamp": 0, "option_len": 0, "csum_start": 0, "csum_offset": 0,
    }  # fmt: skip
    for name, value in told.items():
        assert (getattr(batch, name)[:6] == value).all(), name
    assert batch.frag_count[:6].tolist() == [0, 0, 0, 1, 1, 1]
    assert batch.frame_len[:6].tolist() == batch.wire_len[:6].tolist() == lengths
    assert ((batch.head_addr[:6] - worker.batch.pool.base[NORMAL]) % 2048 == HEADROOM).all()
    after = worker.free_chunks()
    assert [before[NORMAL] - after[NORMAL], before[LARGE] - after[LARGE]] == [6, 3]
    assert (pipe.row.rx_packets, pipe.row.rx_bytes) == (6, sum(lengths))
    assert receive(worker, pipe.number) == 0
    tap_give_back(worker.queues, pipe.number)
    assert worker.frames() == frames


good = Packet(payload=bytes(3000), partial=True).frame()
HEADER = struct.pack("<BBHHHH", 1, 1, 54, 1448, 34, 16)


@given(
    st.lists(
        st.tuples(
            st.one_of(st.sampled_from([HEADER, PLAIN, bytes([2]) + bytes(9)]), st.binary(min_size=10, max_size=10)),
            st.one_of(st.just(good), st.integers(0, 9000).map(bytes), st.binary(max_size=40)),
        ),
        max_size=20,
    )
)
def test_a_frame_whose_header_lies_is_dropped_and_counted(items):
    """What is left is what the twin lets through, and never a super-frame that is none."""
    worker = WORKER
    worker.clear()
    before, pipe = worker.free_chunks(), Pipe(worker)
    expected = []
    for header, frame in items:
        pipe.far.send(header + frame)
        said = naive_virtio.read(header, min(len(frame), HEAD_ROOM), len(frame)) if len(frame) >= 14 else None
        # One super-frame here is one; random headers that name it so by chance say the same as HEADER.
        holds = frame == good and said and (said["gso_type"], said["csum_start"], said["csum_offset"]) == (GSO_TCPV4, 34, 16)
        if said and (not said["gso_type"] or holds):
            expected.append((frame, said["ip_summed"]))
    assert receive(worker, pipe.number) == len(expected)
    assert list(zip(worker.frames(), worker.batch.ip_summed.tolist(), strict=False)) == expected
    assert pipe.row.rx_frame_errors == len(items) - len(expected)
    worker.clear()
    assert worker.free_chunks() == before
    pipe.close()


def test_a_super_frame_says_what_its_header_says(worker, pipe):
    pipe.far.send(HEADER + good)
    pipe.far.send(bytes([2]) + bytes(9) + good)
    assert receive(worker, pipe.number) == 2
    batch = worker.batch
    assert batch.ip_summed[:2].tolist() == [CHECKSUM_PARTIAL, CHECKSUM_UNNECESSARY]
    assert (batch.gso_type[0], batch.gso_size[0], batch.gso_segs[0]) == (GSO_TCPV4, 1448, 3)
    assert (batch.csum_start[0], batch.csum_offset[0]) == (34, 16)
    assert batch.gso_type[1] == 0


def test_frames_that_are_cut_or_no_frames_are_dropped(worker, pipe):
    for length in (LONGEST - 1, LONGEST, LONGEST + 5, 13, 0, 14):
        pipe.far.send(PLAIN + bytes(length))
    assert receive(worker, pipe.number) == 2
    assert [len(frame) for frame in worker.frames()] == [LONGEST - 1, 14]
    assert pipe.row.rx_frame_errors == 4


def test_a_burst_ends_at_its_budget_its_batch_and_its_fragments(worker, pipe):
    for i in range(200):
        pipe.far.send(PLAIN + bytes([i]) * 60)
    assert receive(worker, pipe.number, 7) == 7
    assert receive(worker, pipe.number, 0) == 0
    assert receive(worker, pipe.number, 300) == 193
    assert [frame[0] for frame in worker.frames()] == list(range(200))
    worker.clear()
    worker.batch.used[FRAGS] = len(worker.batch.frag_addr)
    worker.batch.frag_chunk[:] = NO_CHUNK
    pipe.far.send(PLAIN + bytes(60))
    assert receive(worker, pipe.number) == 0
    worker.clear()
    assert receive(worker, pipe.number) == 1


def test_liars_do_not_hold_a_burst_for_ever(worker, pipe):
    for _ in range(50):
        pipe.far.send(bytes([0, 77]) + bytes(8) + bytes(60))
    assert receive(worker, pipe.number, 10) == 0
    assert pipe.row.rx_frame_errors == 20


@pytest.mark.parametrize("chunk_class", [NORMAL, LARGE])
def test_without_chunks_frames_stay_where_they_are(worker, pipe, chunk_class):
    pool = worker.batch.pool
    free = int(pool.free_count[chunk_class])
    for i in range(3):
        pipe.far.send(PLAIN + bytes([i]) * 3000)
    pool.free_count[chunk_class] = 2
    assert receive(worker, pipe.number) == 2
    assert receive(worker, pipe.number) == 0
    assert pipe.row.rx_no_memory == 2
    assert pipe.row.errno == errno.ENOBUFS
    pool.free_count[chunk_class] += free - 2
    assert receive(worker, pipe.number) == 1
    assert worker.frames() == [bytes([i]) * 3000 for i in range(3)]


def test_a_queue_that_is_gone_says_so(worker, pipe):
    pipe.far.send(PLAIN + bytes(60))
    receive(worker, pipe.number)
    pipe.row.fd = 1 << 20
    assert receive(worker, pipe.number) == -errno.EBADF
    assert transmit(worker, pipe.number) == 0
    assert pipe.row.errno == errno.EBADF
    assert pipe.row.tx_refused == 1


def test_frames_leave_as_they_came(worker, pipe):
    frames = [HEADER + good, PLAIN + b"y" * 60, PLAIN + b"z" * 65_000]
    for frame in frames:
        pipe.far.send(frame)
    assert receive(worker, pipe.number) == 3
    worker.batch.payload_offset[0] = 54
    assert transmit(worker, pipe.number) == 3
    assert drained(pipe.far) == frames
    assert (pipe.row.tx_packets, pipe.row.tx_bytes) == (3, sum(map(len, frames)) - 30)
    assert transmit(worker, pipe.number, 1, 2) == 1
    assert drained(pipe.far) == frames[1:2]


def test_a_frame_in_many_pieces_is_gathered(worker, pipe):
    pipe.far.send(PLAIN + bytes(range(256)) * 20)
    receive(worker, pipe.number)
    batch = worker.batch
    whole = worker.frames()[0]
    start, tail = int(batch.frag_addr[0]), len(whole) - HEAD_ROOM
    for count in (MAX_PIECES, MAX_PIECES + 1):
        batch.frag_first[0], batch.frag_count[0] = 1, count
        batch.frag_addr[1 : count + 1] = start + np.arange(count)
        batch.frag_len[1 : count + 1] = 1
        batch.frag_len[count] = tail - count + 1
        assert transmit(worker, pipe.number) == 1
        assert drained(pipe.far) == ([PLAIN + whole] if count == MAX_PIECES else [])
    assert pipe.row.tx_errors == 1
    batch.frag_first[0], batch.frag_count[0] = 0, 1


def test_what_the_header_cannot_say_is_not_sent(worker, pipe):
    for _ in range(2):
        pipe.far.send(PLAIN + b"a" * 60)
    receive(worker, pipe.number)
    worker.batch.gso_type[0] = 1 << 30
    assert transmit(worker, pipe.number) == 2
    assert (pipe.row.tx_packets, pipe.row.tx_errors) == (1, 1)
    assert drained(pipe.far) == [PLAIN + b"a" * 60]


def test_a_full_queue_takes_no_more_and_says_so(worker, pipe):
    pipe.far.send(PLAIN + b"b" * 60_000)
    receive(worker, pipe.number)
    order = np.zeros(256, np.int64)
    taken = int(tap_transmit(worker.queues, pipe.number, worker.batch, order, 0, 256, worker.scratch))
    assert 0 < taken < 256
    assert pipe.row.errno == errno.EAGAIN
    assert pipe.row.tx_refused == 256 - taken
    assert len(drained(pipe.far)) == taken
    assert int(tap_transmit(worker.queues, pipe.number, worker.batch, order, taken, 256, worker.scratch)) > 0


@pytest.mark.parametrize("name", ["", "a" * 16, "é" * 8, "a/b", "a b", ".", "..", "tap%d", "a:1"])
def test_names_that_no_interface_can_have(worker, name):
    with pytest.raises(BadInput, match="no name for an interface") as error:
        TapPort(name, worker.memory, worker.queues.tap)
    assert "\n" not in str(error.value)


def test_a_number_of_queues_that_no_tap_can_have(worker):
    for queues in (0, 257):
        with pytest.raises(BadInput, match=f"t0: queues={queues}: 1 to 256"):
            TapPort("t0", worker.memory, worker.queues.tap, queues=queues)


@pytest.mark.skipif(not Path("/dev/net/tun").exists(), reason="no /dev/net/tun")
def test_without_the_capability_the_error_names_it():
    code = """
from pktpath.errors import Refused
from pktpath.port.tap import TapPort, make_tap_rows
try:
    TapPort("pp-nocap", None, make_tap_rows())
except Refused as error:
    print(error)
"""
    done = subprocess.run([sys.executable, WITHOUT, "all", code], capture_output=True, text=True, check=False)
    assert done.stdout == "pp-nocap: a TAP needs CAP_NET_ADMIN, or one that persists and belongs to this user\n", done.stderr


@pytest.fixture
def network():
    with own_network():
        # The kernel sends no frames of its own then.
        Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
        yield


def port_of(worker, name="t0", **options):
    port = TapPort(name, worker.memory, worker.queues.tap, number=4, **options)
    port.set_up()
    return port


def interfaces():
    return {name for _, name in socket.if_nameindex()}


def until(what, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.oracle
def test_a_port_has_a_name_beside_its_interface(worker, network):
    port = TapPort("t0", worker.memory, worker.queues.tap, name="vm1")
    port.set_up()
    assert port.name == "vm1"
    assert "t0" in interfaces()
    assert "vm1" not in interfaces()
    port.close()
    assert "t0" not in interfaces()
    with pytest.raises(Refused, match=r"^lo: the name belongs to an interface that is no TAP"):
        TapPort("lo", worker.memory, worker.queues.tap, name="vm1")


@pytest.mark.oracle
def test_bytes_pass_both_ways(worker, network):
    port = port_of(worker)
    port.set_up(mtu=9000, mac=bytes.fromhex("02aabbccddee"))
    (told,) = json.loads(run("ip", "-j", "link", "show", "t0"))
    assert (told["mtu"], port.mtu, told["address"], "UP" in told["flags"]) == (9000, 9000, "02:aa:bb:cc:dd:ee", True)
    frames = [bytes(6) + b"\2" * 6 + b"\x88\xb5" + bytes([i]) * length for i, length in enumerate((46, 1500, 9000))]
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5)) as host:
        host.bind(("t0", 0x88B5))
        for frame in frames:
            host.send(frame)
        until(lambda: receive(worker, port.rx[0].row) >= 0 and worker.batch.used[FRAMES] == 3)
        assert worker.frames() == frames
        assert (worker.batch.in_port[:3] == 4).all()
        kind, row = port.tx(0)
        assert kind is Kind.TAP
        assert transmit(worker, row) == 3
        host.settimeout(5)
        assert [host.recv(1 << 16) for _ in range(3)] == frames
    assert port.counters["tx_packets"] == 3
    assert port.counters["tx_bytes"] == port.counters["rx_bytes"]
    assert port.alive()
    port.close()
    port.close()
    assert not port.alive()
    assert "t0" not in interfaces()


SERVER = """
import hashlib, socket
server = socket.create_server(("10.77.0.2", 5077)); server.settimeout(30)
print("ready", flush=True)
stream, _ = server.accept()
digest = hashlib.md5(usedforsecurity=False)
while piece := stream.recv(1 << 20): digest.update(piece)
print(digest.hexdigest())
"""


@pytest.mark.oracle
@pytest.mark.parametrize("whole", [True, False], ids=["super-frames", "wire frames"])
def test_a_transfer_passes_through_two_taps(worker, network, whole):
    """The interfaces are in namespaces of their own, the descriptors here."""
    names = [f"{OUR}-a", f"{OUR}-b"]
    with named_networks(*names):
        ports = [TapPort(f"t{i}", worker.memory, worker.queues.tap, number=i) for i in range(2)]
        for i, (port, name) in enumerate(zip(ports, names, strict=True)):
            if not whole:
                port.set_features(Feature.RXCSUM)
            run("ip", "link", "set", f"t{i}", "netns", name)
            run(*inside(name, "ip", "addr", "add", f"10.77.0.{i + 1}/24", "dev", f"t{i}"))
            run(*inside(name, "ip", "link", "set", f"t{i}", "up"))
            assert port.alive()
        data = os.urandom(1 << 20)
        client = "import socket, sys; s = socket.create_connection(('10.77.0.2', 5077), 20); s.sendall(sys.stdin.buffer.read())"
        with Joined(worker, ports, ports[::-1]) as joined:
            server = subprocess.Popen(inside(names[1], sys.executable, "-c", SERVER), stdout=subprocess.PIPE, text=True)
            assert server.stdout.readline() == "ready\n"
            subprocess.run(inside(names[0], sys.executable, "-c", client), input=data, check=True, timeout=60)
            told, _ = server.communicate(timeout=60)
        assert told.strip() == hashlib.md5(data, usedforsecurity=False).hexdigest()
        assert (joined.seen[0] > 1514) == whole
        assert (joined.seen[1] > 0) == whole
        for port in ports:
            assert port.counters["rx_frame_errors"] == port.counters["tx_errors"] == port.counters["rx_no_memory"] == 0
        assert ports[0].counters["rx_bytes"] > len(data)
        assert ports[1].counters["tx_bytes"] == ports[0].counters["rx_bytes"]
        for port in ports:
            port.close()


@pytest.mark.oracle
def test_flows_spread_over_queues(worker, network):
    port = port_of(worker, queues=4)
    run("ip", "addr", "add", "10.78.0.1/24", "dev", "t0")
    run("ip", "neigh", "add", "10.78.0.2", "lladdr", "02:00:00:00:00:01", "dev", "t0")
    assert [queue.number for queue in port.rx] == [0, 1, 2, 3]
    assert len({queue.fd for queue in port.rx}) == 4
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flows:
        for number in range(200):
            flows.sendto(b"x", ("10.78.0.2", 1000 + number))
    counts = [receive(worker, queue.row) for queue in port.rx]
    assert sum(counts) == 200
    assert min(counts) > 0
    rows = [port.tx(number)[1] for number in range(6)]
    assert len({*rows, *(queue.row for queue in port.rx)}) == 10
    for row in rows:
        assert transmit(worker, row, 0, 1) == 1
    assert port.options == {"queues": "4"}
    port.close()


@pytest.mark.oracle
def test_an_interface_that_is_down_or_deleted_is_said_not_suffered(worker, network):
    port = port_of(worker)
    row = port.rx[0].row
    run("ip", "neigh", "add", "10.78.0.2", "lladdr", "02:00:00:00:00:01", "dev", "t0")
    run("ip", "addr", "add", "10.78.0.1/24", "dev", "t0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
        flow.sendto(b"x", ("10.78.0.2", 9))
    assert receive(worker, row) == 1
    _, out = port.tx(0)
    run("ip", "link", "set", "t0", "down")
    assert transmit(worker, out) == 0
    assert worker.queues.tap.errno[out] == errno.EIO
    assert port.alive()
    run("ip", "link", "set", "t0", "up")
    assert transmit(worker, out) == 1
    run("ip", "link", "del", "t0")
    assert receive(worker, row) == -errno.EBADFD
    assert transmit(worker, out) == 0
    assert worker.queues.tap.errno[out] == errno.EBADFD
    assert port.counters["tx_refused"] == 2
    assert not port.alive()
    port.close()


@pytest.mark.oracle
def test_ports_come_and_go_and_leave_nothing(worker, network):
    before = open_files()
    for _ in range(100):
        port = TapPort("t0", worker.memory, worker.queues.tap, queues=2)
        port.tx(0)
        port.close()
    assert open_files() == before
    assert interfaces() == {"lo"}


@pytest.mark.oracle
def test_names_that_are_taken(worker, network):
    before = open_files()
    first = TapPort("t0", worker.memory, worker.queues.tap)
    run("ip", "tuntap", "add", "old0", "mode", "tap")
    old = TapPort("old0", worker.memory, worker.queues.tap)
    for name, what in (("old0", "another program has this TAP open"), ("lo", "an interface that is no TAP")):
        with pytest.raises(Refused, match=f"{name}: .*{what}") as error:
            TapPort(name, worker.memory, worker.queues.tap)
        assert "\n" not in str(error.value)
    old.close()
    assert interfaces() == {"lo", "t0", "old0"}, "one that persists was here before"
    first.close()
    assert open_files() == before


@pytest.mark.oracle
def test_features_are_told_to_the_kernel(worker, network):
    port = port_of(worker)

    def shown():
        lines = run("ethtool", "-k", "t0").splitlines()
        return {line.split(":")[0].strip(): line.split()[1] for line in lines[1:]}

    assert "tso" in port.offered
    assert port.default & (Feature.TSO | Feature.HW_CSUM | Feature.RXCSUM | Feature.GRO_HW | Feature.SG)
    names = ["tx-checksum-ip-generic", "tx-tcp-segmentation", "tx-tcp6-segmentation"]
    if "uso" in port.offered:
        names.append("tx-udp-segmentation")
        assert Feature.GSO_UDP_L4 in port.able
    assert {shown()[name] for name in names} == {"on"}
    port.set_features(Feature.RXCSUM)
    assert [shown()[name] for name in names] == ["on"] + ["off"] * (len(names) - 1)
    port.set_features(Feature.NONE)
    assert {shown()[name] for name in names} == {"off"}
    port.set_features(port.default)
    assert {shown()[name] for name in names} == {"on"}
    port.close()


@pytest.mark.oracle
def test_a_bridge_has_a_port_of_its_name(worker, network):
    port = InternalPort("br0", worker.memory, worker.queues.tap, number=65534)
    port.set_up(mtu=1400)
    assert (port.kind, port.name, port.mtu) == ("internal", "br0", 1400)
    with pytest.raises(Refused, match="br0: the kernel refuses mtu=20"):
        port.set_up(mtu=20)
    port.close()
