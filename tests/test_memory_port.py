"""The memory port: what Python sends arrives, what is sent arrives in Python."""

import select
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pktpath.batch import CHECKSUM_PARTIAL, FRAMES, GSO_TCPV4
from pktpath.errors import BadInput, Refused
from pktpath.features import Feature
from pktpath.pool import NO_CHUNK
from pktpath.port.live import Kind
from pktpath.port.live_memory_port import SETTABLE, MemoryPort
from pktpath.port.memory_io import memory_give_back, memory_receive, memory_transmit
from pktpath.wire.link import Link
from support.live_ports import make_worker

WORKER = make_worker()
FULL = 105


@pytest.fixture
def worker():
    free = list(WORKER.memory._free)
    yield WORKER
    WORKER.clear()
    assert not WORKER.queues.memory.taken.any(), "a row was left"
    assert WORKER.memory._free == free, "memory was left"


def port_of(worker, **options):
    return MemoryPort("m0", worker.memory, worker.queues.memory, number=5, **options)


def receive(worker, port, budget=256):
    return int(memory_receive(worker.queues, port.rx[0].row, worker.batch, budget, worker.scratch))


def give_back(worker, port):
    worker.clear()
    memory_give_back(worker.queues, port.rx[0].row)


def transmit(worker, row, first=0, last=None):
    last = int(worker.batch.used[FRAMES]) if last is None else last
    return int(memory_transmit(worker.queues, row, worker.batch, worker.order, first, last, worker.scratch))


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def readable(port):
    return bool(select.select([port.rx[0].fd], [], [], 0)[0])


def test_a_frame_arrives_with_what_was_said_of_it(worker):
    port = port_of(worker)
    np.asarray(worker.batch.frames).view(np.uint8)[:] = 0xFF
    assert not readable(port)
    assert port.send(b"a" * 100)
    assert port.send(
        b"b" * 3000, ip_summed=CHECKSUM_PARTIAL, csum_start=34, csum_offset=16, gso_type=GSO_TCPV4, gso_size=1448, timestamp=9
    )
    assert readable(port)
    assert port.pending()
    assert receive(worker, port) == 2
    assert worker.frames() == [b"a" * 100, b"b" * 3000]
    batch = worker.batch
    told = {
        name: getattr(batch, name)[:2].tolist()
        for name in ("in_port", "link", "head_chunk", "wire_len", "gso_size", "frag_count")
    }
    assert told == {
        "in_port": [5, 5], "link": [Link.ETHERNET] * 2, "head_chunk": [NO_CHUNK] * 2, "wire_len": [100, 3000],
        "gso_size": [0, 1448], "frag_count": [0, 0],
    }  # fmt: skip
    assert batch.csum_start[:2].tolist() == [0, 34]
    assert batch.timestamp[:2].tolist() == [0, 9]
    assert readable(port), "epoll is asked again only when a receive found nothing"
    give_back(worker, port)
    assert port.pending() == 0
    assert receive(worker, port) == 0
    assert not readable(port)
    port.close()


@given(rounds=st.lists(st.tuples(st.lists(st.integers(1, 1200), max_size=9), st.integers(0, 12), st.booleans()), max_size=12))
def test_a_ring_is_a_queue_of_whole_frames(rounds):
    """The twin is a list: what is refused is refused whole, nothing is written over before it is given back."""
    worker = WORKER
    worker.clear()
    port = port_of(worker, room=4096)
    queue, held, number = [], [], 0
    for lengths, budget, back in rounds:
        for length in lengths:
            number += 1
            frame = bytes([number % 251]) * length
            if port.send(frame, hash=number):
                queue.append((frame, number))
            else:
                assert port.pending() + 2 * (length + 144) > 4096
        got = receive(worker, port, budget)
        assert got == min(budget, len(queue))
        held, queue = held + queue[:got], queue[got:]
        assert worker.frames() == [frame for frame, _ in held]
        assert worker.batch.hash[: len(held)].tolist() == [value for _, value in held]
        if back:
            give_back(worker, port)
            held = []
    worker.clear()
    port.close()


def test_what_is_sent_is_received_with_its_descriptor(worker):
    port = port_of(worker)
    for i in range(5):
        port.send(bytes([i]) * (60 + i), hash=i, vlan_tci=100 + i, vlan_proto=0x8100, gso_size=7 * i)
    receive(worker, port)
    first, second = port.tx(0), port.tx(1)
    assert first[0] == Kind.MEMORY
    assert first != second
    assert port.tx(0) == first
    assert port.take() == []
    assert transmit(worker, first[1], 0, 2) == 2
    assert transmit(worker, second[1], 2) == 3
    told = port.take()
    assert [taken.data for taken in told] == [bytes([i]) * (60 + i) for i in range(5)]
    assert [(taken.fields["vlan_tci"], taken.fields["gso_size"], taken.fields["hash"]) for taken in told] == [
        (100 + i, 7 * i, i) for i in range(5)
    ]
    assert set(told[0].fields) == set(SETTABLE)
    assert port.receive() == []
    transmit(worker, first[1])
    assert len(port.receive()) == 5
    assert port.statistics()["tx_packets"] == 10
    assert port.statistics()["rx_bytes"] == sum(range(60, 65))
    port.close()


def test_fragments_are_gathered(worker):
    port = port_of(worker)
    port.send(bytes(range(200)))
    receive(worker, port)
    batch = worker.batch
    at = int(batch.head_addr[0])
    batch.head_len[0] = 50
    batch.frag_first[0], batch.frag_count[0] = 3, 2
    batch.frag_addr[3:5] = at + 50, at + 51
    batch.frag_len[3:5] = 1, 149
    assert transmit(worker, port.tx(0)[1]) == 1
    assert port.receive() == [bytes(range(200))]
    port.close()


def test_a_full_ring_takes_no_more_and_says_so(worker):
    port = port_of(worker, room=4096)
    port.send(b"x" * 800)
    receive(worker, port)
    row = port.tx(0)[1]
    order = np.zeros(10, np.int64)
    assert memory_transmit(worker.queues, row, worker.batch, order, 0, 10, worker.scratch) == 4
    assert worker.queues.memory.errno[row] == FULL
    assert port.statistics()["tx_refused"] == 6
    assert port.receive() == [b"x" * 800] * 4
    assert memory_transmit(worker.queues, row, worker.batch, order, 0, 1, worker.scratch) == 1
    assert worker.queues.memory.errno[row] == 0
    port.close()


def test_a_batch_takes_no_more_than_it_holds(worker):
    port = port_of(worker)
    for _ in range(300):
        assert port.send(b"y" * 60)
    assert receive(worker, port, 200) == 200
    assert receive(worker, port, 200) == 56
    give_back(worker, port)
    assert receive(worker, port, 200) == 44
    port.close()


def test_python_and_a_worker_run_at_once(worker):
    """No wake-up is lost, whichever side is faster."""
    port = port_of(worker, room=1 << 14)
    total, got = 3000, []
    order = np.arange(256)
    row = port.tx(0)[1]
    stop = threading.Event()

    def work():
        poller = select.epoll()
        poller.register(port.rx[0].fd, select.EPOLLIN)
        while not stop.is_set() and len(got) < total:
            if not poller.poll(5):
                break
            while count := receive(worker, port, 64):
                at = 0
                while at < count and not stop.is_set():
                    at += int(memory_transmit(worker.queues, row, worker.batch, order, at, count, worker.scratch))
                give_back(worker, port)
        poller.close()

    thread = threading.Thread(target=work)
    thread.start()
    sent, deadline = 0, time.monotonic() + 60
    while len(got) < total and time.monotonic() < deadline and thread.is_alive():
        while sent < total and port.send(sent.to_bytes(4, "big") * 20, hash=sent):
            sent += 1
        got += port.receive()
    stop.set()
    thread.join()
    got += port.receive()
    assert got == [i.to_bytes(4, "big") * 20 for i in range(total)]
    port.close()


def test_what_cannot_be_sent_is_named(worker):
    port = port_of(worker, room=4096)
    for frame, fields, what in (
        (b"", {}, "a frame of 0 bytes: 1 to 1792"),
        (b"x" * 1793, {}, "a frame of 1793 bytes"),
        (b"x" * 60, {"colour": 1}, "colour is no field of a frame to send; there are gso_size"),
        (b"x" * 60, {"head_addr": 1}, "head_addr is no field"),
        (b"x" * 60, {"ip_summed": 256}, "ip_summed=256 is no value"),
        (b"x" * 60, {"gso_size": "many"}, "gso_size='many' is no value"),
    ):
        with pytest.raises(BadInput, match=what) as error:
            port.send(frame, **fields)
        assert "\n" not in str(error.value)
    assert not port.pending()
    port.close()
    with pytest.raises(BadInput, match="m0: room=10: at least 4096"):
        port_of(worker, room=10)
    before = open_files()
    with pytest.raises(Refused, match="left for rings"):
        port_of(worker, room=1 << 40)
    assert open_files() == before


def test_features_are_whatever_a_test_wants(worker):
    port = port_of(worker)
    assert port.active == port.default
    assert Feature.TSO | Feature.GRO | Feature.HW_CSUM in port.default
    port.set_features(Feature.SG)
    assert port.active == Feature.SG
    bare = port_of(worker, able=Feature.SG | Feature.TSO, default=Feature.NONE)
    assert (bare.able, bare.default) == (Feature.SG | Feature.TSO, Feature.NONE)
    assert port.alive()
    port.close()
    port.close()
    bare.close()
    assert not port.alive()
