"""A capture as a port of the switch."""

import itertools
import struct
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pktpath.batch import CHECKSUM_NONE, FRAMES, frame_bytes, make_batch
from pktpath.errors import BadInput, Refused
from pktpath.features import Feature
from pktpath.pool import NO_CHUNK
from pktpath.port.capture import open_capture
from pktpath.port.live import MAX_QUEUES, Kind
from pktpath.port.live_pcap import LEAST_BUFFER, PcapPort
from pktpath.port.memory import load
from pktpath.port.pcap_io import pcap_give_back, pcap_receive, pcap_transmit
from pktpath.wire.link import Link
from support.live_ports import make_worker

WORKER = make_worker()
START = 1_700_000_000_000_000_000


@pytest.fixture
def worker():
    yield WORKER
    WORKER.clear()
    assert not WORKER.queues.pcap.taken.any(), "a row was left"


def write_pcap(path, frames, *, linktype=1, wire=0):
    """Nanosecond pcap, a frame a microsecond; `wire` more bytes were on the wire than are there."""
    out = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, linktype)]
    for i, frame in enumerate(frames):
        out += [struct.pack("<IIII", START // 10**9, i * 1000, len(frame), len(frame) + wire), frame]
    path.write_bytes(b"".join(out))
    return str(path)


def some_frames(count, length=64):
    return [i.to_bytes(4, "big") * (length // 4) for i in range(count)]


def port_of(worker, **options):
    return PcapPort("p0", worker.memory, worker.queues.pcap, number=7, **options)


def receive(worker, port, budget=256):
    return int(pcap_receive(worker.queues, port.rx[0].row, worker.batch, budget, worker.scratch))


def read_back(path):
    with open_capture(path) as reader:
        return [
            (frame_bytes(batch, i), int(batch.timestamp[i]), int(batch.wire_len[i]))
            for batch in reader
            for i in range(int(batch.used[FRAMES]))
        ]


def send(worker, row, batch, first=0, last=None):
    last = int(batch.used[FRAMES]) if last is None else last
    return int(pcap_transmit(worker.queues, row, batch, worker.order, first, last, worker.scratch))


def in_memory_of(worker, frames, timestamp=0):
    """A batch over the worker's own memory, at the end of it; heads and fragments of what `load` makes."""
    batch = make_batch(worker.batch.pool, len(frames), 4 * len(frames))
    at = worker.memory.reserve(sum(map(len, frames)) + 8)
    plain = load(frames)
    np.asarray(batch.frames)[:] = np.asarray(plain.frames)[: len(frames)]
    for i, frame in enumerate(frames):
        worker.memory.mem[at : at + len(frame)] = np.frombuffer(frame, np.uint8)
        cut = len(frame) // 2
        batch.head_addr[i], batch.head_len[i] = at, cut
        batch.frag_addr[2 * i], batch.frag_len[2 * i] = at + cut, 1
        batch.frag_addr[2 * i + 1], batch.frag_len[2 * i + 1] = at + cut + 1, len(frame) - cut - 1
        batch.frag_first[i], batch.frag_count[i] = 2 * i, 2
        at += len(frame)
    batch.frag_chunk[:] = NO_CHUNK
    batch.timestamp[:] = timestamp
    batch.used[:] = (len(frames), 2 * len(frames))
    return batch


def test_every_descriptor_says_what_the_capture_says(worker, tmp_path):
    frames = some_frames(300)
    port = port_of(worker, rx_file=write_pcap(tmp_path / "in.pcap", frames))
    # What the batch held before must not shine through.
    np.asarray(worker.batch.frames).view(np.uint8)[:] = 0xFF
    assert [queue.kind for queue in port.rx] == [Kind.PCAP]
    assert port.rx[0].fd == -1
    assert not port.finished
    assert receive(worker, port, 200) == 200
    assert worker.frames() == frames[:200]
    batch = worker.batch
    for column, value in (
        ("head_chunk", NO_CHUNK), ("in_port", 7), ("frag_count", 0), ("ip_summed", CHECKSUM_NONE), ("gso_size", 0),
        ("gso_type", 0), ("gso_segs", 1), ("hash", 0), ("reason", 0), ("vlan_proto", 0), ("payload_sum", -1),
        ("option_len", 0), ("wire_len", 64), ("frame_len", 64), ("link", Link.ETHERNET), ("csum_start", 0), ("csum_offset", 0),
    ):  # fmt: skip
        assert (getattr(batch, column)[:200] == value).all(), column
    assert batch.timestamp[:200].tolist() == [START + i * 1000 for i in range(200)]
    assert batch.origin[:200].tolist() == list(range(200))
    worker.clear()
    assert receive(worker, port) == 100
    pcap_give_back(worker.queues, port.rx[0].row)
    assert worker.frames() == frames[200:]
    assert port.finished
    assert receive(worker, port) == 0
    assert port.statistics()["rx_packets"] == 300
    assert port.statistics()["rx_bytes"] == 300 * 64
    port.close()
    port.close()
    assert not port.alive()


@given(
    lengths=st.lists(st.integers(1, 3000), min_size=1, max_size=40),
    budgets=st.lists(st.integers(0, 300), max_size=10),
    loop=st.booleans(),
)
def test_bursts_give_the_frames_in_their_order(tmp_path_factory, lengths, budgets, loop):
    worker = WORKER
    frames = [bytes([i + 1]) * length for i, length in enumerate(lengths)]
    port = port_of(worker, rx_file=write_pcap(tmp_path_factory.mktemp("burst") / "in.pcap", frames), loop=loop)
    expected = itertools.cycle(frames) if loop else iter(frames)
    left = len(frames)
    for budget in budgets:
        got = receive(worker, port, budget)
        assert got == (min(budget, 256) if loop else min(budget, 256, left))
        left -= got
        assert worker.frames() == list(itertools.islice(expected, got))
        worker.clear()
    assert port.finished == (not loop and left == 0)
    port.close()


def test_a_full_batch_takes_what_fits(worker, tmp_path):
    port = port_of(worker, rx_file=write_pcap(tmp_path / "in.pcap", some_frames(3)), loop=True)
    assert receive(worker, port, 250) == 250
    assert receive(worker, port, 250) == 6
    assert receive(worker, port, 250) == 0
    port.close()


def test_frames_that_a_snaplen_cut_say_so(worker, tmp_path):
    port = port_of(
        worker, rx_file=write_pcap(tmp_path / "in.pcap", some_frames(2, 96), wire=1400), tx_file=str(tmp_path / "o.pcap")
    )
    receive(worker, port)
    assert worker.batch.wire_len[:2].tolist() == [1496, 1496]
    assert worker.batch.frame_len[:2].tolist() == [96, 96]
    row = port.tx(0)[1]
    assert send(worker, row, worker.batch) == 2
    port.close()
    assert [wire for _, _, wire in read_back(tmp_path / "o.pcap")] == [1496, 1496]


def test_a_rate_is_kept_and_a_pause_is_not_made_up_for(worker, tmp_path):
    port = port_of(worker, rx_file=write_pcap(tmp_path / "in.pcap", some_frames(3)), loop=True, pps=20_000)
    receive(worker, port)
    worker.clear()
    begin, got = time.monotonic(), 0
    while (elapsed := time.monotonic() - begin) < 1.3:
        got += receive(worker, port, 64)
        worker.clear()
        time.sleep(0.0005)
    assert got <= 20_000 * (elapsed + 0.05) + 64
    assert got >= 20_000 * elapsed * 0.3  # a busy machine may pause us
    time.sleep(0.05)
    before = time.monotonic()
    first = receive(worker, port)
    worker.clear()
    assert first + receive(worker, port) <= 256 + 20_000 * (time.monotonic() - before) + 1, "the pause is worth 1,000 frames"
    port.close()


@pytest.mark.parametrize("suffix", ["pcap", "pcapng"])
def test_what_is_sent_is_in_the_file_when_it_is_closed(worker, tmp_path, suffix):
    target = tmp_path / f"out.{suffix}"
    port = port_of(worker, tx_file=str(target))
    assert port.rx == ()
    assert port.finished
    frames = [bytes([i]) * (60 + 7 * i) for i in range(100)]
    batch = in_memory_of(worker, frames, START)
    batch.timestamp[50:] = 0
    rows = [port.tx(number)[1] for number in (0, 1)]
    assert rows[0] != rows[1]
    assert port.tx(0) == (Kind.PCAP, rows[0])
    before = time.time_ns()
    for first in range(0, 100, 20):
        assert send(worker, rows[0], batch, first, first + 20) == 20
        assert port.drain() == 20
    assert (batch.timestamp[50:] == 0).all(), "the batch is the caller's"
    assert send(worker, rows[1], batch, 0, 3) == 3
    assert not target.exists()
    port.close()
    told = read_back(target)
    assert [data for data, _, _ in told] == [*frames, *frames[:3]]
    assert [stamp for _, stamp, _ in told[:50]] == [START] * 50
    assert all(before - 10**8 < stamp < time.time_ns() + 10**8 for _, stamp, _ in told[50:100])
    assert port.statistics()["tx_packets"] == 103
    assert port.statistics()["tx_bytes"] == sum(map(len, frames)) + sum(map(len, frames[:3]))


def test_the_first_ring_of_a_memory_is_a_ring(tmp_path):
    """Address 0 in a row says "no ring": nothing may lie there."""
    worker = make_worker()
    port = port_of(worker, tx_file=str(tmp_path / "out.pcapng"))
    row = port.tx(0)[1]
    assert send(worker, row, in_memory_of(worker, [b"first"], START)) == 1
    port.close()
    assert [data for data, _, _ in read_back(tmp_path / "out.pcapng")] == [b"first"]


@given(rounds=st.lists(st.tuples(st.lists(st.integers(3, 70_000), min_size=1, max_size=12), st.booleans()), max_size=12))
def test_a_buffer_gives_back_what_it_took_in_order(tmp_path_factory, rounds):
    """The twin is a list; records wrap, and a full buffer refuses whole frames only."""
    worker = WORKER
    target = tmp_path_factory.mktemp("ring") / "out.pcapng"
    port = port_of(worker, tx_file=str(target), buffer=LEAST_BUFFER)
    row = port.tx(0)[1]
    expected, waiting, number = [], 0, 0
    for lengths, drained in rounds:
        frames = [bytes([(number + i) % 251]) * length for i, length in enumerate(lengths)]
        number += len(frames)
        size = sum(map(len, frames)) + 8
        batch = in_memory_of(worker, frames, START)
        got = send(worker, row, batch)
        worker.memory.unmap(int(batch.head_addr[0]), size)
        expected += frames[:got]
        waiting += sum(len(frame) + 144 for frame in frames[:got])
        if got < len(frames):
            assert waiting + len(frames[got]) + 144 > LEAST_BUFFER - 80_000, "refused although there was room"
        assert worker.queues.pcap.errno[row] == (0 if got == len(frames) else 105)
        if drained:
            port.drain()
            waiting = 0
    port.close()
    assert [data for data, _, _ in read_back(target)] == expected
    assert port.statistics()["tx_packets"] == len(expected)


def test_a_writer_and_its_reader_run_at_once(worker, tmp_path):
    target = tmp_path / "out.pcapng"
    port = port_of(worker, tx_file=str(target), buffer=LEAST_BUFFER)
    row = port.tx(0)[1]
    batch = in_memory_of(worker, [i.to_bytes(2, "big") * (30 + i % 700) for i in range(2000)], START)
    done = threading.Event()

    def drain():
        while not done.is_set():
            port.drain()

    reader = threading.Thread(target=drain)
    order = np.arange(2000)
    reader.start()
    at, deadline = 0, time.monotonic() + 60
    while at < 2000 and time.monotonic() < deadline:
        at += int(pcap_transmit(worker.queues, row, batch, order, at, min(at + 37, 2000), worker.scratch))
    done.set()
    reader.join()
    port.close()
    assert [data for data, _, _ in read_back(target)] == [i.to_bytes(2, "big") * (30 + i % 700) for i in range(2000)]


def test_without_a_file_frames_are_counted_and_forgotten(worker, tmp_path):
    port = port_of(worker)
    batch = in_memory_of(worker, some_frames(50))
    assert send(worker, port.tx(3)[1], batch, 10, 50) == 40
    assert port.statistics()["tx_packets"] == 40
    assert port.statistics()["tx_bytes"] == 40 * 64
    assert port.drain() == 0
    assert Feature.TSO in port.able
    assert Feature.HW_CSUM in port.default
    port.set_features(Feature.NONE)
    assert port.alive()
    port.close()


def test_a_file_gets_frames_as_they_are_on_the_wire_unless_asked_otherwise(worker, tmp_path):
    plain = port_of(worker, tx_file=str(tmp_path / "a.pcap"))
    assert not plain.able & (Feature.TSO | Feature.TSO6 | Feature.HW_CSUM | Feature.GSO_UDP_L4)
    whole = port_of(worker, tx_file=str(tmp_path / "b.pcap"), super_frames=True)
    assert Feature.TSO | Feature.HW_CSUM | Feature.GSO_UDP_L4 in whole.default
    plain.close(keep=False)
    whole.close()
    assert [path.name for path in tmp_path.iterdir()] == ["b.pcap"]


def test_a_port_that_cannot_be_opened_leaves_nothing(worker, tmp_path):
    free = list(worker.memory._free)
    good = write_pcap(tmp_path / "in.pcap", some_frames(3))
    other = write_pcap(tmp_path / "raw.pcap", some_frames(1), linktype=101)
    empty = write_pcap(tmp_path / "empty.pcap", [])
    before = sorted(tmp_path.iterdir())
    for options, what in (
        ({"rx_file": good, "tx_file": str(tmp_path / "no" / "o.pcap")}, "no/o.pcap: No such file"),
        ({"rx_file": str(tmp_path / "none.pcap"), "tx_file": str(tmp_path / "o.pcap")}, "none.pcap: No such file"),
        ({"rx_file": other}, "link type: 101 is not Ethernet"),
        ({"rx_file": empty}, "holds no frames"),
        ({"rx_file": good, "pps": -1}, r"p0: pps=-1: 0 \(no limit\) to"),
        ({"rx_file": good, "pps": 10**10}, "p0: pps=10000000000"),
        ({"tx_file": str(tmp_path / "o.pcap"), "buffer": 100}, "p0: buffer=100: at least"),
    ):
        with pytest.raises(BadInput, match=what) as error:
            port_of(worker, **options)
        assert "\n" not in str(error.value)
    small = PcapPort("p1", worker.memory, worker.queues.pcap, tx_file=str(tmp_path / "o.pcap"), buffer=1 << 40)
    with pytest.raises(Refused, match="left for rings"):
        small.tx(0)
    small.close(keep=False)
    assert sorted(tmp_path.iterdir()) == before
    assert worker.memory._free == free


def test_a_truncated_capture_is_kept_up_to_its_end_and_said(worker, tmp_path):
    whole = tmp_path / "in.pcap"
    write_pcap(whole, some_frames(3))
    whole.write_bytes(whole.read_bytes()[:-5])
    port = port_of(worker, rx_file=str(whole))
    assert port.frames == 2
    assert "truncated" in port.warnings()[0]
    port.close()


def test_rows_end_in_one_line(worker):
    ports = [port_of(worker) for _ in range(MAX_QUEUES + 1)]
    for port in ports[:-1]:
        port.tx(0)
    with pytest.raises(Refused, match=f"p0: no more than {MAX_QUEUES} queues"):
        ports[-1].tx(0)
    for port in ports:
        port.close()
