"""Rings of packet sockets that lie: no kernel is asked."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pktpath.batch import FRAMES, frame_bytes, make_batch
from pktpath.errors import Refused
from pktpath.pool import make_pool
from pktpath.port.live import make_scratch
from pktpath.port.memory_io import MEMORY_ROW
from pktpath.port.packet_io import PACKET_ROW, packet_give_back, packet_receive
from pktpath.port.pcap_io import PCAP_ROW
from pktpath.port.rows import PortRows, make_rows, row_type
from pktpath.port.tap_io import TAP_ROW
from pktpath.port.xdp_rows import XDP_ROW
from support.packet_forwarder import packet_tables

SLOTS, SLOT = 64, 2048
POOL = make_pool(window=1 << 20, header=0, normal=4, large=2)
BATCH = make_batch(POOL, 256)
SCRATCH = make_scratch()
USER, COPY, VLAN, TPID = 1, 2, 16, 64


HEADERS = st.builds(
    lambda *fields: struct.pack("<BBHHHH", *fields),
    st.sampled_from((0, 1, 2, 3, 255)),
    st.sampled_from((0, 1, 2, 3, 4, 5, 6, 0x80, 0x81, 0x83, 0x84, 0x85)),
    st.integers(0, 200) | st.integers(0, 65535),
    st.sampled_from((0, 1, 1448, 65535)),
    st.sampled_from((0, 13, 14, 34, 82, 83, 98, 99, 65535)),
    st.sampled_from((0, 6, 16, 65535)),
)


def ring_of(slots):
    """Return tables whose first row is a ring in memory: (status, length, captured, mac, tag, tpid, bytes from mac - 10)."""
    queues = packet_tables()
    record = queues.packet[PortRows(queues.packet, "ring", 0).take()]
    record.mem_base, record.ring, record.slots, record.slot_bytes = POOL.mem.ctypes.data, SLOT, SLOTS, SLOT
    record.fd = -1
    POOL.mem[: POOL.base[0]] = 0xEE
    for k in range(SLOTS):
        POOL.mem[SLOT * (k + 1) : SLOT * (k + 1) + 4] = 0
    for k, (status, length, captured, mac, tag, tpid, content) in enumerate(slots):
        at = SLOT * (k + 1)
        head = struct.pack("<IIIHHIIHH", status, length, captured, mac, 0, 0, 0, tag, tpid)
        if mac >= 10:
            POOL.mem[at + mac - 10 : at + mac - 10 + len(content)] = list(content)
        POOL.mem[at : at + len(head)] = list(head)
    BATCH.used[:] = 0
    return queues


FRAME = bytes(range(100))
GOOD = (USER, 100, 100, 82, 0, 0, bytes(10) + FRAME)


@pytest.mark.parametrize(
    ("slot", "counter"),
    [
        ((USER, 101, 100, 82, 0, 0, bytes(10) + FRAME), "rx_over_errors"),
        ((USER, 100, 100, 1949, 0, 0, bytes(10) + FRAME[:99]), "rx_over_errors"),
        ((USER, 100, 100, 9, 0, 0, b""), "rx_over_errors"),
        ((USER, 0xFFFFFFFF, 0xFFFFFFFF, 82, 0, 0, b""), "rx_over_errors"),
        ((USER, 100, 100, 82, 0, 0, bytes([0, 2]) + bytes(8) + FRAME), "rx_frame_errors"),
        ((USER, 100, 100, 82, 0, 0, bytes([1, 0, 0, 0, 0, 0, 90, 0, 9, 0]) + FRAME), "rx_frame_errors"),
        ((USER, 100, 100, 82, 0, 0, bytes([0, 1, 10, 0, 0, 0, 0, 0, 0, 0]) + FRAME), "rx_frame_errors"),
    ],
)
def test_a_slot_that_lies_is_counted_and_skipped(slot, counter):
    queues = ring_of([GOOD, slot, GOOD])
    assert packet_receive(queues, 0, BATCH, 64, SCRATCH) == 2
    assert [frame_bytes(BATCH, i) for i in range(2)] == [FRAME, FRAME]
    record = queues.packet[0]
    assert record[counter] == 1
    assert record.rx_over_errors + record.rx_frame_errors == 1
    assert (record.rx_packets, record.rx_bytes) == (2, 200)


@given(
    st.lists(
        st.tuples(
            st.sampled_from((0, USER, USER | VLAN, USER | VLAN | TPID, USER | 0xFFFFFFFC)),
            st.integers(0, 4000), st.integers(0, 4000), st.integers(0, 2100), st.integers(0, 65535), st.integers(0, 65535),
            HEADERS,
        ),
        max_size=SLOTS,
    )
)  # fmt: skip
def test_whatever_stands_in_a_ring_frames_lie_in_their_slots(slots):
    queues = ring_of([slot if slot[1] % 3 else (*slot[:2], slot[1], *slot[3:]) for slot in slots])
    ready = next((k for k, slot in enumerate(slots) if not slot[0] & USER), len(slots))
    got = packet_receive(queues, 0, BATCH, 256, SCRATCH)
    record = queues.packet[0]
    assert got == BATCH.used[FRAMES] == record.rx_packets
    assert got + record.rx_over_errors + record.rx_frame_errors == record.head == ready
    for i in range(got):
        frame = BATCH.frames[i]
        slot = (int(frame.head_addr) - SLOT) // SLOT
        assert frame.head_addr + frame.head_len <= SLOT * (slot + 2)
        status, _, _, _, tag, tpid, _ = slots[slot]
        expected = (tag, tpid if status & TPID else 0x8100) if status & VLAN else (0, 0)
        assert (frame.vlan_tci, frame.vlan_proto) == expected


def test_a_large_frame_that_does_not_come_a_second_time_is_counted():
    cut = (USER | COPY, 5000, 1900, 82, 0, 0, bytes(10))
    queues = ring_of([GOOD, cut, GOOD, cut])
    free = POOL.free_count.copy()
    assert packet_receive(queues, 0, BATCH, 64, SCRATCH) == 2
    assert queues.packet[0].rx_over_errors == 2
    assert queues.packet[0].errno == 9
    assert queues.packet[0].head == 4
    assert (POOL.free_count == free).all()


def test_slots_return_in_their_order_and_are_read_again():
    queues = ring_of([GOOD] * SLOTS)
    record = queues.packet[0]
    statuses = POOL.mem[SLOT : SLOT * (SLOTS + 1) : SLOT]
    for budget, total in ((10, 10), (40, 50), (64, 64), (64, 64)):
        before = int(BATCH.used[FRAMES])
        assert packet_receive(queues, 0, BATCH, budget, SCRATCH) == total - before
        assert BATCH.used[FRAMES] == record.head == total
    assert statuses.all()
    packet_give_back(queues, 0)
    assert not statuses.any()
    assert record.lent == record.head == SLOTS
    BATCH.used[:] = 0
    statuses[:2] = USER
    assert packet_receive(queues, 0, BATCH, 64, SCRATCH) == 2
    assert BATCH.frames[0].head_addr == SLOT + 82


def test_a_full_batch_takes_no_more():
    queues = ring_of([GOOD] * 5)
    BATCH.used[FRAMES] = 254
    assert packet_receive(queues, 0, BATCH, 64, SCRATCH) == 2
    assert packet_receive(queues, 0, BATCH, 64, SCRATCH) == 0
    assert BATCH.used[FRAMES] == 256
    BATCH.used[:] = 0


def test_rows_are_lent_once_and_come_back_clean():
    table = make_rows(row_type("x"))[:3]
    table.x = 7
    one, other = PortRows(table, "one", 5), PortRows(table, "other", 6)
    taken = [one.take(), other.take(), one.take()]
    assert sorted(taken) == [0, 1, 2]
    assert not table.x.any()
    assert table.in_port[taken].tolist() == [5, 6, 5]
    with pytest.raises(Refused, match="other: no more than 3 queues"):
        other.take()
    table.x[taken[0]] = 5
    table.rx_packets[taken] = 1, 10, 100
    one.give(taken[0])
    assert other.take() == taken[0]
    assert table.x[taken[0]] == 0
    assert (one.counters()["rx_packets"], other.counters()["rx_packets"]) == (101, 10)
    one.give_all()
    one.give_all()
    assert table.taken.tolist() == [row != taken[2] for row in range(3)]
    assert (one.counters()["rx_packets"], other.counters()["rx_packets"]) == (101, 10)


def test_a_row_is_whole_cache_lines():
    for kind in (TAP_ROW, PACKET_ROW, XDP_ROW, PCAP_ROW, MEMORY_ROW):
        assert kind.itemsize % 64 == 0
