"""AF_XDP ports between veths in a namespace of the test's: the kernel's own packet sockets say what came and went."""

import contextlib
import errno
import itertools
import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pktpath.batch import CHECKSUM_NONE, FRAGS, FRAMES
from pktpath.errors import BadInput, Refused
from pktpath.features import Feature
from pktpath.lab.bench.generator import frame as generated
from pktpath.pool import HEADROOM, NORMAL
from pktpath.port.bpf_syscall import instruction, load_xdp
from pktpath.port.live import Kind
from pktpath.port.xdp_io import ROW, make_xdp_queues
from support.naive_checksum import add, judge
from support.xdp_lab import Lab, packets, run, space, veths

pytestmark = pytest.mark.oracle
SPACE = f"pp-xdp-{os.getpid()}"
WITHOUT = Path(__file__).parent / "support" / "without_capabilities.py"
MODES = ("native", "generic")
OPEN = """
import os, sys, time
sys.path.insert(0, {tests!r})
from support.naive_checksum import add, judge
from support.xdp_lab import Lab
port = Lab().port({name!r}, mode={mode!r})
print("open", flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module", autouse=True)
def inside():
    with space(SPACE):
        yield


@pytest.fixture
def devices():
    with veths():
        yield


@pytest.fixture
def lab():
    made = Lab()
    yield made
    assert made.all_free()
    made.memory.close()


@contextlib.contextmanager
def opened(lab, *names, **options):
    ports = [lab.port(name, number, **options) for number, name in enumerate(names, 1)]
    try:
        yield ports if len(ports) > 1 else ports[0]
    finally:
        for port in ports:
            port.close()


def some(count, *, least=14, most=1514, seed=0):
    """Frames of an ethertype that nobody handles."""
    chance = random.Random(seed)
    return [
        bytes(6) + chance.randbytes(6) + b"\x88\xb5" + chance.randbytes(chance.randint(least, most) - 14) for _ in range(count)
    ]


def gather(lab, port, count, *, worker=0, seconds=2.0):
    """Receive until so many frames are there."""
    deadline = time.monotonic() + seconds
    got = 0
    while got < count and time.monotonic() < deadline:
        got += lab.receive(port, worker=worker)
    return got


def read(sock, count):
    return [sock.recv(1 << 16) for _ in range(count)]


def program_of(device):
    return "xdp" in run("ip", "-d", "link", "show", device).split("qdisc")[1].replace("xdpoffload", "")


# Frames


@pytest.mark.parametrize("mode", MODES)
def test_frames_come_and_go_byte_for_byte(devices, lab, mode):
    frames = some(200)
    with packets("g0") as sender, packets("r0") as receiver, opened(lab, "f0", "f1", mode=mode) as (f0, f1):
        assert f0.mode == mode == f0.options["mode"]
        for frame in frames:
            sender.send(frame)
        assert gather(lab, f0, 200) == 200
        batch = lab.batches[0]
        pool = batch.pool
        assert (batch.in_port[:200] == 1).all()
        assert (batch.ip_summed[:200] == CHECKSUM_NONE).all()
        assert (batch.gso_segs[:200] == 1).all()
        assert (batch.payload_sum[:200] == -1).all()
        # A chunk of its own, with room for what is pushed before a frame.
        assert len(set(batch.head_chunk[:200])) == 200
        start = pool.base[NORMAL] + (batch.head_chunk[:200] - pool.first[NORMAL]) * 2048
        assert (batch.head_addr[:200] - start >= HEADROOM).all()
        assert (pool.refs[batch.head_chunk[:200]] == 1).all()
        assert lab.transmit(f1) == 200
        assert lab.taken() == frames
        assert read(receiver, 200) == frames
        counters, sent = f0.counters(), f1.counters()
    size = sum(map(len, frames))
    assert (counters["rx_packets"], counters["rx_bytes"], counters["rx_over_errors"]) == (200, size, 0)
    assert (sent["tx_packets"], sent["tx_bytes"], sent["tx_zero_copy"], sent["tx_copied"]) == (200, size, 200, 0)
    assert f1.counters() == sent
    assert sent["kicks"] >= 1


def test_auto_is_native_where_there_is_native(devices, lab):
    with opened(lab, "f0") as port:
        assert port.mode == "native"
        assert (port.kind, port.mtu, port.rx[0].kind, port.tx(0)) == ("xdp", 1500, Kind.XDP, (Kind.XDP, port.rx[0].row))
        assert Feature.SG | Feature.HW_CSUM | Feature.TSO not in port.able
        assert port.default in port.able


def test_auto_is_generic_where_there_is_no_native(devices, lab):
    run("ip", "link", "add", "d0", "type", "bridge")
    try:
        with opened(lab, "d0") as port:
            assert port.mode == "generic"
            assert "no native XDP" in port.warnings()[0]
        with pytest.raises(Refused, match="d0: its driver has no native XDP"):
            lab.port("d0", mode="native")
    finally:
        run("ip", "link", "del", "d0")


@pytest.mark.parametrize("mode", MODES)
def test_many_times_the_rings_go_through(devices, lab, mode):
    """More frames than there are entries in any ring, or chunks in the pool, in bursts of all sizes."""
    with packets("g0") as sender, packets("r0") as receiver, opened(lab, "f0", "f1", mode=mode, ring=64) as (f0, f1):
        chance = random.Random(1)
        for turn in range(200):
            frames = some(chance.randint(1, 60), seed=turn)
            for frame in frames:
                sender.send(frame)
            assert gather(lab, f0, len(frames)) == len(frames)
            assert lab.transmit(f1) == len(frames)
            assert lab.taken() == frames
            assert read(receiver, len(frames)) == frames
        total = f0.counters()["rx_packets"]
    assert total == f1.counters()["tx_packets"] > 4096


def test_a_budget_and_the_room_of_a_batch_are_kept(devices, lab):
    frames = some(300)
    with packets("g0") as sender, opened(lab, "f0") as port:
        for frame in frames:
            sender.send(frame)
        time.sleep(0.1)
        assert lab.receive(port, budget=10) == 10
        assert lab.receive(port) == 246
        assert lab.receive(port) == 0
        assert lab.taken() == frames[:256]
        assert lab.receive(port) == 44
        assert lab.taken() == frames[256:]


@given(
    frames=st.lists(
        st.tuples(st.integers(14, 1514), st.sets(st.integers(1, 1500), max_size=4), st.sampled_from(["chunk", "window"])),
        min_size=1,
        max_size=40,
    )
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_frame_leaves_whole_however_it_lies(devices, frames):
    lab = Lab()
    with packets("r0") as receiver, opened(lab, "f1") as port:
        expected, copied = [], 0
        for seed, (length, cuts, place) in enumerate(frames):
            (frame,) = some(1, least=length, most=length, seed=seed)
            places = [0, *sorted(cut for cut in cuts if cut < length), length]
            pieces = [frame[start:end] for start, end in itertools.pairwise(places)]
            lab.put(pieces, place=place)
            expected.append(frame)
            copied += len(pieces) > 1 or place == "window"
        assert lab.transmit(port) == len(frames)
        assert read(receiver, len(frames)) == expected
        assert lab.taken() == expected
        counters = port.counters()
        assert (counters["tx_copied"], counters["tx_zero_copy"]) == (copied, len(frames) - copied)
    assert lab.all_free()
    lab.memory.close()


def test_a_chunk_that_is_sent_twice_comes_back_twice(devices, lab):
    with packets("r0") as receiver, packets("g0") as other, opened(lab, "f0", "f1") as (f0, f1):
        (frame,) = some(1)
        lab.put([frame])
        for port in (f1, f1, f0):
            assert lab.transmit(port) == 1
        assert lab.taken() == [frame]
        assert read(receiver, 2) == [frame, frame]
        assert read(other, 1) == [frame]


def test_what_cannot_be_a_frame_is_counted_and_dropped(devices, lab):
    frames = [*some(1), bytes(13), *some(1, least=1519, most=1519), *some(1, seed=3)]
    with packets("r0") as receiver, opened(lab, "f1") as port:
        for frame in frames:
            lab.put([frame])
        assert lab.transmit(port) == 4
        assert lab.errno(port) == errno.EMSGSIZE
        assert read(receiver, 2) == [frames[0], frames[3]]
        lab.taken()
        counters = port.counters()
        assert (counters["tx_packets"], counters["tx_errors"]) == (2, 2)


def test_without_chunks_no_copy_is_taken(devices):
    lab = Lab(normal=256)
    with opened(lab, "f1") as port:
        while lab.pools[0].free_count[NORMAL]:
            lab.put([some(1)[0]])
        lab.put([some(1)[0]], place="window")
        last = int(lab.batches[0].used[FRAMES])
        assert lab.transmit(port, first=last - 1, last=last) == 0
        assert lab.errno(port) == errno.ENOBUFS
        lab.taken()
    assert lab.all_free()


# Long frames


@pytest.mark.parametrize("mode", MODES)
def test_frames_of_9000_bytes_are_several_pieces(lab, mode):
    frames = some(60, least=60, most=9014)
    with veths(mtu=9000, peer_mtu=9000), packets("g0") as sender, packets("r0") as receiver:  # noqa: SIM117  in this order
        with opened(lab, "f0", "f1", mode=mode) as (f0, f1):
            for frame in frames:
                sender.send(frame)
            assert gather(lab, f0, 60) == 60
            assert lab.batches[0].used[FRAGS] > 60
            assert (lab.batches[0].head_len[:60] <= 2048).all()
            assert lab.transmit(f1) == 60
            assert lab.taken() == frames
            assert read(receiver, 60) == frames
            assert f0.mode == mode


@pytest.mark.parametrize("mode", MODES)
def test_a_peer_with_longer_frames(lab, mode):
    with veths(mtu=1500, peer_mtu=9000), packets("g0") as sender, opened(lab, "f0", mode=mode) as port:
        frames = some(20, most=1514)
        for frame in frames:
            sender.send(frame)
        assert gather(lab, port, 20) == 20
        assert lab.taken() == frames
        assert port.mode == mode


def test_a_frame_in_more_pieces_than_there_is_room_for_is_counted(lab):
    with veths(mtu=9000, peer_mtu=9000), packets("g0") as sender, opened(lab, "f0") as port:
        frames = some(3, least=9000, most=9000)
        for frame in frames:
            sender.send(frame)
        batch = lab.batches[0]
        batch.used[FRAGS] = len(batch.frag_addr) - 6
        batch.frag_chunk[:] = -1
        assert gather(lab, port, 2, seconds=0.5) == 1
        assert port.counters()["rx_dropped"] == 2
        batch.used[FRAGS] = len(batch.frag_addr)
        assert lab.taken() == frames[:1]


# Queues and workers


def test_each_queue_stays_with_its_worker():
    lab = Lab(workers=2)
    with veths(queues=2), packets("g0") as sender, opened(lab, "f0", "f1") as (f0, f1):
        assert f0.homes == (0, 1)
        assert [queue.number for queue in f0.rx] == [0, 1]
        assert f0.tx(0) == (Kind.XDP, f0.rx[0].row)
        assert f0.tx(1) == (Kind.XDP, f0.rx[1].row)
        first = generated(64, "02:00:00:00:00:66", 9)
        frames = [first[:34] + flow.to_bytes(2) + first[36:] for flow in range(1000, 1100)]
        with packets("r0") as receiver:
            # The kernel spreads them over the queues by their flows.
            for frame in frames:
                sender.send(frame)
            time.sleep(0.1)
            counts = [lab.receive(f0, worker=worker) for worker in (0, 1)]
            assert sum(counts) == 100
            assert min(counts) > 10
            for worker in (0, 1):
                assert lab.transmit(f1, worker=worker) == counts[worker]
            assert sorted(read(receiver, 100)) == sorted(frames)
            assert sorted(lab.taken(0) + lab.taken(1)) == sorted(frames)
    assert lab.all_free()


def test_queues_that_are_not_open_are_told():
    lab = Lab()
    with veths(queues=4):
        with opened(lab, "f0", rx_queues=1) as port:
            assert len(port.rx) == 1
            assert "4 receive queues and 1 is open" in port.warnings()[0]
            assert "`ethtool -L f0 rx 1`" in port.warnings()[0]
        with opened(lab, "f0") as port:
            assert len(port.rx) == 4
            assert not any("receive queues" in line for line in port.warnings())
        with pytest.raises(BadInput, match="f0 has 4 receive queues, not 5"):
            lab.port("f0", rx_queues=5)
    assert lab.all_free()


def test_a_worker_without_a_queue_sends_by_a_packet_socket(devices):
    lab = Lab(workers=2)
    frames = some(300, seed=7)
    with packets("r0") as receiver, opened(lab, "f1") as port:
        assert port.tx(1)[1] != port.tx(0)[1]
        assert port.tx(1) == port.tx(1)
        for turn in (frames[:200], frames[200:]):
            for k, frame in enumerate(turn):
                cut = min(40, len(frame))
                lab.put([frame] if k % 2 else [frame[:cut], frame[cut:]], worker=1, place="window" if k % 3 else "chunk")
            assert lab.transmit(port, worker=1) == len(turn)
            assert read(receiver, len(turn)) == turn
            lab.taken(1)
        assert port.counters()["tx_packets"] == 300
        # One that is too long is dropped and counted, and those behind it are sent.
        for frame in some(1, least=1600, most=1600) + frames[:2]:
            lab.put([frame], worker=1)
        assert lab.transmit(port, worker=1) == 3
        assert read(receiver, 2) == frames[:2]
        lab.taken(1)
        assert port.counters()["tx_errors"] == 1
    assert lab.all_free()


def test_epoll_wakes_for_a_frame(devices, lab):
    with packets("g0") as sender, opened(lab, "f0") as port:
        waiting = select.epoll()
        waiting.register(port.rx[0].fd, select.EPOLLIN)
        assert waiting.poll(0.05) == []
        sender.send(some(1)[0])
        assert waiting.poll(2) == [(port.rx[0].fd, select.EPOLLIN)]
        assert lab.receive(port) == 1
        assert waiting.poll(0.05) == []
        waiting.close()
        lab.taken()


# Checksums


def variants(version, protocol):
    """Frames, each with whether its checksum is looked at."""
    from scapy.all import IP, TCP, UDP, Ether, IPOption, IPv6

    inner = (TCP if protocol == 6 else UDP)(sport=1, dport=2)
    outer = IP(src="192.0.2.1", dst="192.0.2.2") if version == 4 else IPv6(src="2001:db8::1", dst="2001:db8::2")
    link = Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01")
    made = bytes(link / outer / inner / bytes(range(61)))
    at = (14 + (20 if version == 4 else 40)) + (16 if protocol == 6 else 6)
    addresses = made[26:34] if version == 4 else made[22:54]
    length = len(made) - 14 - (20 if version == 4 else 40)
    start = add(addresses + length.to_bytes(4) + protocol.to_bytes(4))
    yield made, True
    for field in (start, 0, 1, start ^ 1, start ^ 0xFFFF, 0xFFFF):
        yield made[:at] + field.to_bytes(2) + made[at + 2 :], True
    yield made[:13] + b"\xb5" + made[14:], False
    if version == 4:
        outer.options = [IPOption(b"\x01\x01\x01\x00")]
        yield bytes(link / outer / inner / bytes(60)), False
        outer.options, outer.flags = [], "MF"
        yield bytes(link / outer / inner / bytes(60)), False


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("protocol", [6, 17])
def test_unfinished_checksums_are_noticed(devices, lab, version, protocol):
    with packets("g0") as sender, opened(lab, "f0") as port:
        sampled = unfinished = 0
        before = port.warnings()
        for frame, looked_at in variants(version, protocol):
            sender.send(frame)
            assert gather(lab, port, 1) == 1
            sampled += looked_at
            unfinished += looked_at and judge(frame)[0] == "partial"
            assert (port.counters()["rx_sampled"], port.counters()["rx_unfinished"]) == (sampled, unfinished)
        assert unfinished == 1
        (line,) = set(port.warnings()) - set(before)
        assert f"1 of {sampled} sampled frames" in line
        assert "\n" not in line
        lab.taken()


def test_the_other_end_is_named_until_it_finishes_its_checksums(devices, lab):
    with opened(lab, "f0") as port:
        (line,) = port.warnings()
        assert "`ethtool -K g0 tx off`" in line
        assert "\n" not in line
    run("ethtool", "-K", "g0", "tx", "off")
    with opened(lab, "f0") as port:
        assert port.warnings() == []


# Faults


@pytest.mark.parametrize("mode", MODES)
def test_a_deleted_device_is_noticed_and_leaves_nothing(devices, lab, mode):
    with packets("g0") as sender, opened(lab, "f0", "f1", mode=mode) as (f0, f1):
        for frame in some(10):
            sender.send(frame)
        assert gather(lab, f0, 10) == 10
        assert f1.alive()
        waiting = select.epoll()
        waiting.register(f1.rx[0].fd, select.EPOLLIN)
        run("ip", "link", "del", "f1")
        # It does not keep a worker awake that waits for it.
        assert waiting.poll(0.05) == []
        waiting.close()
        assert not f1.alive()
        assert f0.alive()
        for _ in range(400):
            lab.transmit(f1)
        assert lab.errno(f1) != 0
        assert lab.transmit(f1) < 10
        assert lab.receive(f1) == 0
        lab.give_back(f1)
        lab.taken()


def test_what_waits_is_sent_when_the_device_is_up_again(devices, lab):
    frames = some(40)
    with packets("r0") as receiver, opened(lab, "f1") as port:
        for frame in frames:
            lab.put([frame])
        run("ip", "link", "set", "f1", "down")
        assert lab.transmit(port) == 40
        assert lab.errno(port) == errno.ENETDOWN
        assert port.alive()
        run("ip", "link", "set", "f1", "up")
        time.sleep(0.1)
        lab.give_back(port)
        assert read(receiver, 40) == frames
        assert lab.taken() == frames


def test_a_full_ring_takes_no_more_and_loses_nothing(devices, lab):
    frames = some(100)
    with packets("r0") as receiver, opened(lab, "f1", ring=64) as port:
        for frame in frames:
            lab.put([frame])
        run("ip", "link", "set", "f1", "down")
        assert lab.transmit(port) == 64
        assert lab.transmit(port, first=64) == 0
        run("ip", "link", "set", "f1", "up")
        time.sleep(0.1)
        assert lab.transmit(port, first=64) == 36
        assert read(receiver, 100) == frames
        lab.taken()


def test_what_the_kernel_drops_is_counted(devices, lab):
    with packets("g0") as sender, opened(lab, "f0", ring=64) as port:
        for frame in some(200):
            sender.send(frame)
        time.sleep(0.1)
        got = gather(lab, port, 200, seconds=0.3)
        lab.taken()
        assert 0 < got < 200
        assert got + port.counters()["rx_over_errors"] == 200
    assert port.counters()["rx_over_errors"] == 200 - got


def test_after_detach_the_host_has_its_frames_again(devices, lab):
    with packets("g0") as sender, packets("f0", timeout=0.2) as host, opened(lab, "f0") as port:
        first, second = some(2)
        sender.send(first)
        assert gather(lab, port, 1) == 1
        sender.send(first)
        time.sleep(0.05)
        port.detach()
        sender.send(second)
        # What was accepted before is still there.
        assert gather(lab, port, 1) == 1
        assert lab.taken() == [first, first]
        assert host.recv(1 << 16) == second


@pytest.mark.parametrize("mode", MODES)
def test_nothing_stays_open(devices, lab, mode):
    def counts():
        maps = len(Path("/proc/self/maps").read_text().splitlines())
        return len(list(Path("/proc/self/fd").iterdir())), maps, int(lab.queues.xdp.taken.sum())

    features = run("ethtool", "-k", "f0") + run("ethtool", "-k", "g0")
    with opened(lab, "f0", mode=mode):
        pass
    before = counts()
    for _ in range(100):
        with opened(lab, "f0", mode=mode) as port:
            port.tx(1)
        assert lab.all_free()
    after = counts()
    assert (after[0], after[2]) == (before[0], before[2])
    assert after[1] <= before[1] + 2
    assert run("ethtool", "-k", "f0") + run("ethtool", "-k", "g0") == features
    assert not program_of("f0")
    assert "promiscuity 0" in run("ip", "-d", "link", "show", "f0")


@pytest.mark.parametrize("mode", MODES)
def test_kill_leaves_nothing_attached(devices, mode):
    code = OPEN.format(tests=str(Path(__file__).parent), name="f0", mode=mode)
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "open\n"
        assert program_of("f0")
        assert "promiscuity 1" in run("ip", "-d", "link", "show", "f0")
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    deadline = time.monotonic() + 5
    while program_of("f0") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not program_of("f0")
    assert "promiscuity 0" in run("ip", "-d", "link", "show", "f0")


# Refusals


def test_refusals_are_one_line_and_leave_nothing(devices, lab):
    def refused(kind, words, name="f0", **options):
        before = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(kind, match=words) as caught:
            lab.port(name, **options)
        assert "\n" not in str(caught.value)
        assert len(list(Path("/proc/self/fd").iterdir())) == before
        assert lab.all_free()
        assert not lab.queues.xdp.taken.any()

    refused(BadInput, "absent: no such device in this network namespace; there are: .*f0", name="absent")
    refused(BadInput, "f0: mode is auto, native or generic, not 'fast'", mode="fast")
    for ring in (63, 100, 32, 1 << 16):
        refused(BadInput, f"power of two of entries, 64 to 32768, not {ring}", ring=ring)
    refused(BadInput, "at least one queue, not 0", rx_queues=0)
    refused(BadInput, "f0 has 1 receive queue, not 2", rx_queues=2)
    refused(BadInput, r"1 queues need a worker each, 0 to 0, not \[1\]", homes=[1])
    with opened(Lab(), "f0"):
        refused(Refused, "f0: f0 has another XDP program")
    small = Lab(normal=100)
    with pytest.raises(Refused, match="needs 128 free chunks of 2 KiB, its worker has 100"):
        small.port("f0")
    assert small.all_free()
    with lab_of_taken_rows() as full, pytest.raises(Refused, match="no more than 64 AF_XDP queues"):
        full.port("f0")
    run("ip", "tuntap", "add", "t0", "mode", "tun")
    try:
        refused(BadInput, r"t0 is no Ethernet device \(its type is 65534\)", name="t0")
    finally:
        run("ip", "link", "del", "t0")


@contextlib.contextmanager
def lab_of_taken_rows():
    made = Lab()
    made.queues.xdp.taken[:] = 1
    yield made
    assert made.all_free()


def test_without_privilege_it_is_one_line(devices):
    code = OPEN.format(tests=str(Path(__file__).parent), name="f0", mode="auto").replace(
        "port = ", "from pktpath.errors import Refused\ntry: port = "
    )
    code = code.replace('print("open"', "except Refused as error: sys.exit(str(error))\nprint('open'")
    done = subprocess.run([sys.executable, str(WITHOUT), "all", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "f0: making a BPF map needs CAP_BPF and CAP_NET_ADMIN (run as root)\n"


def test_the_verifier_has_the_last_word():
    with pytest.raises(Refused, match=r"^loading an XDP program failed: Permission denied: R0 !read_ok$|R0") as caught:
        load_xdp(instruction(0x95))
    assert "\n" not in str(caught.value)


def test_a_row_is_whole_cache_lines():
    assert ROW.itemsize % 64 == 0
    assert not make_xdp_queues().taken.any()
