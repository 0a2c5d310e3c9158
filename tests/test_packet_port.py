"""The packet port between real interfaces: what comes out is what went in, and what cannot be is counted."""

import hashlib
import json
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from pktpath.batch import (
    CHECKSUM_NONE,
    CHECKSUM_PARTIAL,
    CHECKSUM_UNNECESSARY,
    FRAMES,
    GSO_TCP_ECN,
    GSO_TCPV4,
    GSO_TCPV6,
    GSO_UDP_L4,
    frame_bytes,
    make_batch,
)
from pktpath.errors import BadInput, Refused
from pktpath.features import PORT_FEATURES, Feature, fix_features
from pktpath.port.packet import MODES, SLOT_BYTES, PacketPort
from pktpath.port.packet_io import packet_transmit
from support.craft import Packet
from support.packet_bench import ORDER, bench
from support.packet_net import NO_HEADER, Far, add_pair, delete_pair, enter, far, near, own_namespace, promiscuity, run, vnet

pytestmark = pytest.mark.oracle
REAL_MODES = [mode for mode in MODES if mode != "auto"]
IN_SLOT = SLOT_BYTES - 82
"""Bytes of a frame that a slot holds."""
HERE = Path(__file__).parent


@pytest.fixture(scope="module", autouse=True)
def net():
    with own_namespace():
        for number in range(2):
            add_pair(number)
        yield


@pytest.fixture
def table():
    with bench() as made:
        yield made
        assert made.whole()


@pytest.fixture
def ends():
    sockets = [Far(far(number)) for number in range(2)]
    yield sockets
    for end in sockets:
        end.close()


@pytest.fixture(params=REAL_MODES)
def mode(request):
    return request.param


def descriptors():
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def plain(length, seed=0):
    """Return a frame of no protocol that anybody knows, different for each seed."""
    content = hashlib.shake_256(bytes([seed & 255, seed >> 8])).digest(length)
    return (bytes.fromhex("020000000066 020000000001 88b5") + struct.pack("!H", seed) + content)[:length]


def tcp(length, *, family=4, size=1000, flags=0x10, seed=0, tags=()):
    """Return the header and the bytes of a super-frame, whose checksum is partial."""
    payload = hashlib.shake_256(bytes([seed])).digest(length)
    data = Packet(family=family, payload=payload, partial=True, flags=flags, seq=seed, tags=tags).frame()
    start = len(data) - length - 20
    return vnet(1, (1 if family == 4 else 4) | (0x80 if flags & 0x80 else 0), start + 20, size, start, 16), data


def udp(length, *, family=4, size=1000):
    payload = hashlib.shake_256(b"udp").digest(length)
    data = Packet(family=family, protocol="udp", payload=payload, partial=True).frame()
    start = len(data) - length - 8
    return vnet(1, 5, start + 8, size, start, 6), data


def meaning(header):
    """Return what a header says but hdr_len, which is the kernel's own matter, and DATA_VALID, which each device finds."""
    flags, kind, _, size, start, offset = struct.unpack("<BBHHHH", header)
    return flags & 1, kind, size, start, offset


def test_frames_of_every_length_pass_unchanged_and_in_order(table, ends, mode):
    left, right = table.port(near(0), mode=mode, number=3), table.port(near(1), mode=mode)
    frames = [plain(length, length) for length in (14, 15, 46, 60, 64, 65, 128, 1000, 1499, 1500, 1513, 1514)]
    for frame in frames:
        ends[0].send(frame)
    assert table.carry(left, right) == len(frames)
    assert [frame for _, frame in ends[1].receive()] == frames
    assert left.statistics() | right.statistics() == {
        "rx_packets": 0, "rx_bytes": 0, "rx_over_errors": 0, "rx_frame_errors": 0, "rx_dropped": 0,
        "tx_packets": len(frames), "tx_bytes": sum(map(len, frames)), "tx_errors": 0,
    }  # fmt: skip
    assert left.statistics()["rx_bytes"] == sum(map(len, frames))
    assert ends[0].receive() == []


def test_descriptors_say_where_a_frame_came_from(table, ends, mode):
    port = table.port(near(0), mode=mode, number=7)
    ends[0].send(plain(100, 1))
    assert table.take(port) == 1
    frame = table.batch.frames[0]
    assert (frame.in_port, frame.link, frame.frag_count, frame.timestamp, frame.payload_sum) == (7, 1, 0, 0, -1)
    assert frame.head_len == frame.frame_len == frame.wire_len == 100
    assert (frame.head_chunk == -1) == (mode == "ring")
    assert (frame.ip_summed, frame.gso_type, frame.vlan_proto) == (CHECKSUM_NONE, 0, 0)
    table.done(port)
    assert table.take(port) == 0


def test_what_the_kernel_has_verified_says_so(table, ends, mode):
    port = table.port(near(0), mode=mode)
    # A veth polls only while its peer sends no super-frames; then GRO looks at the checksums.
    run(f"ethtool -K {near(0)} gro on")
    run(f"ethtool -K {far(0)} tso off")
    try:
        ends[0].send(Packet(payload=bytes(100)).frame())
        assert table.take(port) == 1
    finally:
        run(f"ethtool -K {far(0)} tso on")
        run(f"ethtool -K {near(0)} gro off")
    frame = table.batch.frames[0]
    assert (frame.ip_summed, frame.csum_start, frame.gso_type) == (CHECKSUM_UNNECESSARY, 0, 0)
    table.done(port)


@pytest.mark.parametrize("tags", [((0x8100, 0x2064),), ((0x88A8, 0xA00A), (0x8100, 0x0014))], ids=["802.1Q", "QinQ"])
def test_the_outer_tag_comes_in_the_descriptor(table, ends, mode, tags):
    port = table.port(near(0), mode=mode)
    data = Packet(payload=bytes(100), tags=tags).frame()
    header, large = tcp(30000, tags=tags)
    ends[0].send(data)
    ends[0].send(large, header)
    assert table.take(port) == 2
    for i, whole in enumerate((data, large)):
        frame = table.batch.frames[i]
        assert (frame.vlan_proto, frame.vlan_tci) == tags[0]
        assert frame_bytes(table.batch, i) == whole[:12] + whole[16:]
    # What the device counts from is the frame without its outer tag.
    assert table.batch.frames[1].csum_start == struct.unpack_from("<H", header, 6)[0] - 4
    assert table.batch.frames[1].csum_start == table.batch.frames[1].transport_offset
    table.done(port)


def test_a_tag_in_the_frame_leaves_with_a_super_frame(table, ends, mode):
    left, right = table.port(near(0), mode=mode), table.port(near(1), mode=mode)
    # The path puts it back; here it is done by hand.
    header, large = tcp(20000, tags=((0x8100, 5),))
    ends[0].send(large, header)
    assert table.take(left) == 1
    batch, frame = table.batch, table.batch.frames[0]
    at = int(frame.head_addr)
    batch.pool.mem[at - 4 : at + 8] = batch.pool.mem[at : at + 12].copy()
    batch.pool.mem[at + 8 : at + 12] = list(struct.pack("!HH", 0x8100, 5))
    frame.head_addr, frame.head_len, frame.frame_len = at - 4, frame.head_len + 4, frame.frame_len + 4
    frame.csum_start, frame.payload_offset, frame.vlan_proto = frame.csum_start + 4, frame.payload_offset + 4, 0
    assert table.send(right) == 1
    table.done(left)
    [(told, out)] = ends[1].receive()
    assert out == large
    assert meaning(told)[:3] == (1, 1, 1000)


SUPERS = {
    "tcp4": (tcp(60000), GSO_TCPV4, 1000),
    "tcp6": (tcp(60000, family=6, size=1440), GSO_TCPV6, 1440),
    "cwr": (tcp(30000, flags=0xD0), GSO_TCPV4 | GSO_TCP_ECN, 1000),
    "largest": (tcp(65535 - 54), GSO_TCPV4, 1000),
    "udp4": (udp(30000), GSO_UDP_L4, 1000),
    "udp6": (udp(30000, family=6), GSO_UDP_L4, 1000),
    "in a slot": (tcp(1500, size=700), GSO_TCPV4, 700),
}


@pytest.mark.parametrize("name", SUPERS)
def test_super_frames_pass_whole_with_what_their_header_says(table, ends, mode, name):
    left, right = table.port(near(0), mode=mode), table.port(near(1), mode=mode)
    (header, data), gso_type, gso_size = SUPERS[name]
    ends[0].send(data, header)
    assert table.take(left) == 1
    frame = table.batch.frames[0]
    start, offset = struct.unpack_from("<HH", header, 6)
    assert (frame.gso_type, frame.gso_size, frame.gso_segs) == (gso_type, gso_size, 1)
    assert (frame.ip_summed, frame.csum_start, frame.csum_offset) == (CHECKSUM_PARTIAL, start, offset)
    assert frame.csum_start == frame.transport_offset
    assert frame_bytes(table.batch, 0) == data
    assert table.send(right) == 1
    table.done(left)
    [(told, out)] = ends[1].receive()
    assert out == data
    assert meaning(told) == meaning(header)


def test_large_and_small_frames_keep_their_order(table, ends, mode):
    left, right = table.port(near(0), mode=mode), table.port(near(1), mode=mode)
    sent = []
    for number in range(240):
        length = (40, IN_SLOT - 54 - number % 2, 9000, 41, 60000, 1000)[number % 6]
        header, data = tcp(length, seed=number) if length > 1460 else (NO_HEADER, plain(length, number))
        sent.append(data)
        ends[0].send(data, header)
        if number % 50 == 49:
            table.carry(left, right)
    table.carry(left, right)
    assert [frame for _, frame in ends[1].receive()] == sent


@pytest.mark.parametrize("extra", [-1, 0, 1, 2])
def test_the_edge_of_a_slot(table, ends, extra):
    port = table.port(near(0), mode="ring")
    header, data = tcp(IN_SLOT - 54 + extra)
    ends[0].send(data, header)
    assert table.take(port) == 1
    assert (table.batch.frames[0].head_chunk == -1) == (extra <= 0)
    assert frame_bytes(table.batch, 0) == data
    table.done(port)


def test_a_partial_checksum_stays_partial(table, ends, mode):
    left, right = table.port(near(0), mode=mode), table.port(near(1), mode=mode)
    data = Packet(payload=bytes(range(100)), partial=True).frame()
    ends[0].send(data, vnet(1, start=34, offset=16))
    assert table.take(left) == 1
    frame = table.batch.frames[0]
    assert (frame.ip_summed, frame.csum_start, frame.csum_offset, frame.gso_type) == (CHECKSUM_PARTIAL, 34, 16, 0)
    assert table.send(right) == 1
    frame.ip_summed = CHECKSUM_NONE
    assert table.send(right) == 1
    table.done(left)
    (first, out), (second, _) = ends[1].receive()
    assert out == data
    assert (meaning(first), meaning(second)) == ((1, 0, 0, 34, 16), (0, 0, 0, 0, 0))


def test_a_device_without_checksums_completes_what_we_send(table, ends, mode):
    left, right = table.port(near(0), mode=mode), table.port(near(1), mode=mode)
    data = Packet(payload=bytes(range(100)))
    run(f"ethtool -K {near(1)} tx off")
    try:
        ends[0].send(data.but(partial=True).frame(), vnet(1, start=34, offset=16))
        table.carry(left, right)
        [(header, out)] = ends[1].receive()
    finally:
        run(f"ethtool -K {near(1)} tx on")
    assert out == data.frame()
    assert meaning(header)[0] == 0


def test_what_finds_no_slot_is_dropped_by_the_kernel_and_counted(table, ends):
    port = table.port(near(0), mode="ring", slots=64)
    for number in range(100):
        ends[0].send(plain(64, number))
    assert table.take(port) == 64
    assert table.take(port) == 0, "lent slots come once"
    table.done(port)
    ends[0].send(plain(64, 100))
    assert table.seen(port) == [plain(64, 100)]
    assert port.statistics()["rx_dropped"] == 36
    assert port.statistics()["rx_packets"] == 65


def test_a_large_frame_whose_copy_finds_no_room_is_never_seen_cut(table, ends):
    port = table.port(near(0), mode="ring")
    with table.socket_of(port.rx[0].fd) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 19)
    sent = []
    for number in range(40):
        header, data = tcp(60000, seed=number)
        sent += [data, plain(64, number)]
        ends[0].send(data, header)
        ends[0].send(plain(64, number))
    got = table.seen(port)
    counters = port.statistics()
    large = [frame for frame in got if len(frame) > 64]
    assert 0 < len(large) < 40
    assert got == [frame for frame in sent if len(frame) == 64 or frame in large]
    assert counters["rx_over_errors"] == 40 - len(large)
    assert counters["rx_packets"] == len(got)


def test_a_frame_beyond_two_chunks_is_counted(table, mode):
    add_pair(7, mtu=1500)
    try:
        run(f"ip link set {far(7)} gso_max_size 200000")
        port = table.port(near(7), mode=mode)
        end = Far(far(7))
        data = Packet(family=6, payload=bytes(90000), partial=True).frame()
        try:
            end.send(data, vnet(1, 4, 74, 1000, 54, 16))
        except OSError as error:
            pytest.skip(f"BIG TCP by a packet socket: {error}")
        end.send(plain(64, 1))
        assert table.seen(port) == [plain(64, 1)]
        assert port.statistics()["rx_over_errors"] == 1
        end.close()
    finally:
        delete_pair(7)


def test_without_chunks_nothing_is_lost(table, ends, mode):
    port = table.port(near(0), mode=mode)
    header, data = tcp(30000)
    ends[0].send(plain(64, 1))
    ends[0].send(data, header)
    ends[0].send(plain(64, 2))
    free = table.pool.free_count.copy()
    table.pool.free_count[2] = 0
    first = table.take(port)
    assert first == (1 if mode == "ring" else -105)
    table.pool.free_count[2] = free[2]
    seen = [frame_bytes(table.batch, i) for i in range(int(table.batch.used[FRAMES]))]
    table.done(port)
    assert seen + table.seen(port) == [plain(64, 1), data, plain(64, 2)]


def test_each_frame_of_several_queues_comes_once(table, ends, mode):
    port = table.port(near(0), mode=mode, queues=4)
    frames = [Packet(payload=bytes([k]), sport=1000 + k).frame() for k in range(200)]
    for frame in frames:
        ends[0].send(frame)
    shares = [table.seen(port, queue) for queue in range(4)]
    assert sorted(frame for share in shares for frame in share) == sorted(frames)
    assert all(shares)
    for share in shares:
        assert share == [frame for frame in frames if frame in share]
    back = [Packet(payload=b"", sport=8000, dport=1000 + k).frame() for k in range(200)]
    back = [frame[:26] + frame[30:34] + frame[26:30] + frame[34:] for frame in back]
    for frame in back:
        ends[0].send(frame)
    where = {frame: queue for queue, share in enumerate(shares) for frame in share}
    for queue in range(4):
        for frame in table.seen(port, queue):
            assert where[frames[back.index(frame)]] == queue, "both directions of a flow share a queue"


@pytest.mark.parametrize("queues", [1, 2])
def test_our_own_frames_do_not_come_back(table, ends, mode, queues):
    port = table.port(near(0), mode=mode, queues=queues)
    ends[0].send(plain(64, 1))
    queue = next(queue for queue in range(queues) if table.take(port, queue) == 1)
    assert table.send(port) == 1
    table.done(port, queue)
    assert [table.take(port, queue) for queue in range(queues)] == [0] * queues
    assert [frame for _, frame in ends[0].receive()] == [plain(64, 1)]


def test_a_frame_that_the_kernel_never_takes_is_counted_and_the_others_leave(table, ends, mode):
    left, right = table.port(near(0), mode=mode), table.port(near(1), mode=mode)
    header, large = tcp(5000)
    ends[0].send(plain(64, 1))
    ends[0].send(large, header)
    ends[0].send(large, header)
    ends[0].send(plain(64, 2))
    assert table.take(left) == 4
    table.batch.frames[1].gso_type = 0  # now it is longer than the MTU
    table.batch.frames[2].gso_type |= 1 << 13  # and this is a word that the header does not have
    assert table.send(right) == 4
    table.done(left)
    assert [frame for _, frame in ends[1].receive()] == [plain(64, 1), plain(64, 2)]
    assert right.statistics()["tx_errors"] == 2
    assert right.statistics()["tx_packets"] == 2


def test_frames_of_many_pieces_are_gathered(table, ends):
    right = table.port(near(1), mode="mmsg")
    batch = make_batch(table.pool, 256, 9000)
    at = table.memory.reserve(1 << 16)
    table.pool.mem[at : at + 4096] = np.frombuffer(plain(4096, 1), np.uint8)
    sizes = [30] * 255
    sizes[250] = 1100  # more than the kernel gathers
    row = 0
    for i, pieces in enumerate(sizes):
        frame = batch.frames[i]
        frame.head_addr, frame.head_len, frame.head_chunk, frame.frame_len = at, 60, -1, 60 + pieces
        frame.frag_first, frame.frag_count = row, pieces
        for k in range(pieces):
            batch.frag_addr[row], batch.frag_len[row], batch.frag_chunk[row] = at + 60 + i + k, 1, -1
            row += 1
    batch.used[:] = len(sizes), row
    batch.gso_type[:] = batch.ip_summed[:] = 0
    assert packet_transmit(table.queues, right.tx(0)[1], batch, ORDER, 0, len(sizes), table.scratch) == len(sizes)
    whole = [frame_bytes(batch, i) for i in range(len(sizes)) if i != 250]
    assert [frame for _, frame in ends[1].receive()] == whole
    assert right.statistics()["tx_errors"] == 1


def test_an_interface_that_is_down_counts_and_comes_back(table, ends, mode):
    left, right = table.port(near(0), mode=mode), table.port(near(1), mode=mode)
    for number in range(3):
        ends[0].send(plain(64, number))
    assert table.take(left) == 3
    table.send(right, 0, 0)
    run(f"ip link set {near(1)} down")
    try:
        assert table.send(right) == 3
        assert right.statistics()["tx_errors"] == 3
        assert right.alive()
    finally:
        run(f"ip link set {near(1)} up")
    assert table.send(right) == 3
    table.done(left)
    assert len(ends[1].receive()) == 3
    ends[1].send(plain(64, 9))
    answers = {table.take(right) for _ in range(3)}
    assert answers <= {1, 0, -100}, "the error is told once"
    assert 1 in answers
    table.done(right)


def test_room_that_is_short_is_told_and_the_rest_goes_later(table, ends, mode):
    left, right = table.port(near(0), mode=mode), table.port(near(1), mode=mode)
    for number in range(100):
        ends[0].send(plain(1500, number))
    assert table.take(left) == 100
    # A shaper holds what was sent; the socket may have little on the way.
    run(f"tc qdisc add dev {near(1)} root tbf rate 100mbit burst 4kb limit 10mb")
    try:
        _, row = right.tx(0)
        with table.socket_of(int(table.queues.packet[row].fd)) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20000)
        first = table.send(right)
        assert 0 < first < 100
        assert table.queues.packet[row].errno == 11
        end = time.monotonic() + 5
        while first < 100 and time.monotonic() < end:
            first += table.send(right, first)
            time.sleep(0.002)
        time.sleep(0.05)
    finally:
        run(f"tc qdisc del dev {near(1)} root")
    table.done(left)
    assert [frame for _, frame in ends[1].receive()] == [plain(1500, number) for number in range(100)]


def test_an_interface_deleted_under_us(table, mode):
    add_pair(8)
    port = table.port(near(8), mode=mode)
    end = Far(far(8))
    for number in range(2):
        end.send(plain(64, number))
    assert table.take(port) == 2
    table.send(port, 0, 0)
    assert port.alive()
    delete_pair(8)
    end.close()
    assert not port.alive()
    assert table.send(port) == 2
    assert port.statistics()["tx_errors"] == 2
    table.done(port)
    answers = [table.take(port) for _ in range(200)]
    assert set(answers) == {0, -100}, "the error is told, and then no more"
    assert answers.count(-100) == 1
    add_pair(8)
    assert not port.alive(), "another interface of the same name is another one"
    delete_pair(8)


@pytest.mark.parametrize(
    ("name", "words"),
    [("naer0", f"naer0: no such interface; nearest: {near(0)}"), ("x" * 16, "no such interface"), ("", "no such interface")],
)
def test_an_unknown_interface_is_one_line_with_the_nearest(table, name, words):
    with pytest.raises(BadInput) as error:
        table.port(name)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_an_interface_without_ethernet_is_refused(table):
    run("ip tuntap add dev tun7 mode tun")
    try:
        with pytest.raises(BadInput, match="tun7: no Ethernet interface"):
            table.port("tun7")
    finally:
        run("ip tuntap del dev tun7 mode tun")


@pytest.mark.parametrize(
    "options", [{"mode": "rings"}, {"queues": 0}, {"queues": 17}, {"slots": 100}, {"slots": 32}, {"slots": 1 << 17}], ids=str
)
def test_options_that_cannot_be(table, options):
    with pytest.raises(BadInput, match=near(0)):
        table.port(near(0), **options)


def test_too_many_queues_leave_nothing_open(table):
    before = descriptors()
    for _ in range(3):
        table.port(near(0), mode="mmsg", queues=16)
    held = descriptors()
    table.port(near(0), mode="mmsg", queues=12)
    with pytest.raises(Refused, match="more than 64 queues"):
        table.port(near(0), mode="mmsg", queues=16)
    with pytest.raises(Refused, match="left for rings"):
        table.port(near(0), mode="ring", slots=1 << 16)
    table.ports.pop().close()
    assert descriptors() == held
    while table.ports:
        table.ports.pop().close()
    assert descriptors() == before


def test_without_the_capability_it_says_which(mode):
    code = f"""
from pktpath.errors import Refused
from pktpath.port.live_memory import LiveMemory
from pktpath.port.packet import PacketPort
from pktpath.port.packet_io import PACKET_ROW
from pktpath.port.rows import make_rows
try:
    PacketPort({near(0)!r}, LiveMemory(window=1 << 24, chunks=1 << 20), make_rows(PACKET_ROW), mode={mode!r})
except Refused as error:
    print(error)
"""
    program = [sys.executable, HERE / "support" / "without_capabilities.py"]
    none = subprocess.run([*program, "all", code], capture_output=True, text=True, check=True)
    assert none.stdout == f"{near(0)}: a packet port needs CAP_NET_RAW: run as root or grant it\n"
    # CAP_NET_ADMIN, 12, only makes the buffers larger.
    assert subprocess.run([*program, "12", code], capture_output=True, text=True, check=True).stdout == ""


def test_descriptors_rows_and_memory_are_flat_over_a_hundred_lives(table, mode):
    counts = set()
    for _ in range(100):
        port = table.port(near(0), mode=mode, queues=2)
        port.tx(0), port.tx(1)
        assert port.tx(1) == port.tx(1)
        counts.add(len(descriptors()))
        table.ports.pop().close()
        port.close()
    assert len(counts) == 1
    assert table.memory.reserve(1 << 26) == mmap.PAGESIZE, "something of the window is still taken"
    assert not table.queues.packet.taken.any()


def test_promiscuous_mode_ends_with_the_port(table, mode):
    assert promiscuity(near(0)) == 0
    port = table.port(near(0), mode=mode)
    assert promiscuity(near(0)) == 1
    port.close()
    assert promiscuity(near(0)) == 0


def forwarder(left, right, mode):
    command = [sys.executable, "-m", "support.packet_forwarder", left, right, mode]
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | path)
    assert child.stdout.readline() == "ready\n"
    return child


def test_promiscuous_mode_ends_with_a_killed_process(mode):
    child = forwarder(near(0), near(1), mode)
    assert promiscuity(near(0)) == promiscuity(near(1)) == 1
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert promiscuity(near(0)) == promiscuity(near(1)) == 0


class Host:
    """One network namespace of its own with an address, and one end of a pair in it."""

    def __init__(self, number):
        self.child = subprocess.Popen(["unshare", "--net", "sleep", "300"])
        while Path(f"/proc/{self.child.pid}/comm").read_text() != "sleep\n":
            time.sleep(0.01)
        run(f"ip link set {far(number)} netns {self.child.pid}")
        name = far(number)
        self.run(f"sysctl -qw net.ipv6.conf.{name}.disable_ipv6=0")
        self.run(f"ip addr add 10.66.0.{number}/24 dev {name}")
        self.run(f"ip addr add fd66::{number}/64 dev {name} nodad")
        self.run(f"ip link set {name} up")

    def run(self, command):
        return run(f"nsenter -t {self.child.pid} -n {command}")

    def enter(self, work):
        """Do something in a thread that lives in the namespace; return its result."""
        out = []

        def inside():
            enter(Path(f"/proc/{self.child.pid}/ns/net"))
            out.append(work())

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        return out[0]

    def close(self):
        self.child.kill()
        self.child.wait()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["v4", "v6"])
def test_tcp_between_two_namespaces_arrives_whole(mode, family):
    for number in (4, 5):
        add_pair(number)
    hosts = [Host(number) for number in (4, 5)]
    child = forwarder(near(4), near(5), mode)
    try:
        address = "10.66.0.5" if family == socket.AF_INET else "fd66::5"
        listener = hosts[1].enter(lambda: socket.create_server((address, 5001), family=family))
        data = os.urandom(4 << 20)
        digest = hashlib.md5(usedforsecurity=False)

        def serve():
            stream, _ = listener.accept()
            while piece := stream.recv(1 << 20):
                digest.update(piece)
            stream.sendall(data[: 1 << 20])
            stream.close()

        server = threading.Thread(target=serve)
        server.start()
        stream = hosts[0].enter(lambda: socket.create_connection((address, 5001), timeout=30))
        stream.sendall(data)
        stream.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := stream.recv(1 << 20):
            answer += piece
        server.join()
        stream.close()
        listener.close()
        assert digest.digest() == hashlib.md5(data, usedforsecurity=False).digest()
        assert answer == data[: 1 << 20]
        told = json.loads(child.communicate("")[0])
        assert told["whole"]
        assert told["unsent"] == told["error"] == 0
        for side in ("left", "right"):
            assert told[side]["tx_errors"] == told[side]["rx_over_errors"] == told[side]["rx_frame_errors"] == 0
        assert told["right"]["tx_bytes"] / told["right"]["tx_packets"] > 1514, "super-frames went through"
    finally:
        child.kill()
        child.communicate()
        for host in hosts:
            host.close()
        for number in (4, 5):
            with suppress(subprocess.CalledProcessError):
                delete_pair(number)


def test_features_are_those_that_a_virtio_header_can_say(table):
    port = table.port(near(0))
    assert port.able == port.default == fix_features(port.able)
    assert Feature.SG | Feature.HW_CSUM | Feature.TSO | Feature.TSO6 | Feature.TSO_ECN | Feature.GSO_UDP_L4 in port.able
    assert port.able in PORT_FEATURES.hw
    assert not port.able & (Feature.GSO_PARTIAL | Feature.TSO_MANGLEID | Feature.TSO_ACCECN | Feature.LRO)
    assert (port.kind, port.name, port.mtu, port.options["mode"]) == ("packet", near(0), 1500, "ring")
    port.set_features(Feature.NONE)
    assert isinstance(port, PacketPort)
