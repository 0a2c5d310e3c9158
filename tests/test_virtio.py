"""virtio_net_hdr to descriptor and back, beside a twin over bytes."""

import struct

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pktpath.batch import (
    CHECKSUM_PARTIAL,
    GSO_PARTIAL,
    GSO_TCP_ACCECN,
    GSO_TCP_ECN,
    GSO_TCP_FIXEDID,
    GSO_TCPV4,
    GSO_TCPV6,
    GSO_UDP,
    GSO_UDP_L4,
    make_batch,
)  # fmt: skip
from pktpath.jit import kernel
from pktpath.pool import make_pool
from pktpath.port.memory import load
from pktpath.port.virtio import frame_to_virtio, super_frame_holds, virtio_to_frame
from support import naive_virtio
from support.craft import Packet

SAID = ("ip_summed", "csum_start", "csum_offset", "gso_type", "gso_size", "gso_segs")
HEADERS = np.zeros((4, 16), np.uint8)
POOL = make_pool(header=0)
BATCH = make_batch(POOL, 2)
AT = 3


@kernel
def to_frame(at, batch, i):
    return virtio_to_frame(batch.pool.mem, at, batch.frames[i])


@kernel
def from_frame(batch, i, headers, row):
    return frame_to_virtio(batch.frames[i], headers, row)


@kernel
def holds(batch, i):
    return super_frame_holds(batch.frames[i])


def said_of(header, head_len, frame_len):
    POOL.mem[: AT + 20] = 0xAA
    POOL.mem[AT : AT + 10] = np.frombuffer(header, np.uint8)
    np.asarray(BATCH.frames).view(np.uint8)[:] = 0xAA
    BATCH.head_len[1], BATCH.frame_len[1] = head_len, frame_len
    taken = to_frame(AT, BATCH, 1)
    return {name: int(getattr(BATCH, name)[1]) for name in SAID} if taken else None


numbers = st.one_of(st.integers(0, 100), st.sampled_from([0, 1, 13, 14, 34, 54, 1448, 1514, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF]))
kinds = st.one_of(st.sampled_from([0, 1, 3, 4, 5, 0x81, 0x84]), st.integers(0, 255))


@given(st.integers(0, 255), kinds, numbers, numbers, numbers, numbers, st.integers(14, 1952), st.integers(0, 70_000))
@example(1, 0, 0, 0, 40, 22, 64, 0)
@example(1, 0, 0, 0, 40, 23, 64, 0)
@example(1, 1, 64, 10, 34, 16, 64, 0)
@example(1, 1, 65, 10, 34, 16, 64, 0)
@example(1, 0, 0, 0, 13, 16, 64, 0)
@example(1, 0, 0, 0, 14, 16, 64, 0)
def test_a_header_is_read_as_the_rules_say(flags, kind, hdr_len, size, start, offset, head_len, more):
    header = struct.pack("<BBHHHH", flags, kind, hdr_len, size, start, offset)
    assert said_of(header, head_len, head_len + more) == naive_virtio.read(header, head_len, head_len + more)


bits = st.one_of(
    st.sampled_from(
        [0, GSO_TCPV4, GSO_TCPV6, GSO_UDP, GSO_UDP_L4, GSO_TCPV4 | GSO_TCP_ECN, GSO_TCPV6 | GSO_TCP_ACCECN,
         GSO_TCPV4 | GSO_TCP_FIXEDID, GSO_TCPV4 | GSO_PARTIAL, GSO_UDP_L4 | GSO_TCP_ECN, GSO_TCPV4 | GSO_TCPV6]
    ),
    st.integers(0, 1 << 20),
)  # fmt: skip


@given(st.integers(0, 3), bits, st.integers(-1, 70_000), numbers, numbers, numbers)
def test_a_header_is_written_as_the_rules_say(summed, gso_type, gso_size, start, offset, payload_offset):
    fields = {
        "ip_summed": summed, "gso_type": gso_type, "gso_size": gso_size, "csum_start": start, "csum_offset": offset,
        "payload_offset": payload_offset,
    }  # fmt: skip
    for name, value in fields.items():
        getattr(BATCH, name)[0] = value
    HEADERS[:] = 0xAA
    written = from_frame(BATCH, 0, HEADERS, 3)
    assert (HEADERS[3, :10].tobytes() if written else None) == naive_virtio.write(fields)
    assert (HEADERS[:3] == 0xAA).all()
    assert (HEADERS[3, 10:] == 0xAA).all()


@given(
    st.sampled_from([0, 1, 3, 4, 5, 0x81, 0x84]),
    st.integers(0, 3),
    st.integers(1, 0xFFFE),
    st.integers(14, 1000),
    st.integers(0, 80),
)
def test_what_is_read_is_written_again(kind, flags, size, start, offset):
    if kind:
        flags |= 1
    if flags & 1:
        flags = 1
    else:
        start = offset = 0
    header = struct.pack("<BBHHHH", flags, kind, 54 if kind else 0, size if kind else 0, start, offset)
    assert said_of(header, 1952, 60_000)
    BATCH.payload_offset[1] = 54
    assert from_frame(BATCH, 1, HEADERS, 0)
    assert HEADERS[0, :10].tobytes() == header


def super_frame(packet, gso_type, size=100, **fields):
    """Whether a frame is taken as a super-frame, with its descriptor."""
    batch = load([packet.frame()])
    told = {"gso_type": gso_type, "gso_size": size, "ip_summed": CHECKSUM_PARTIAL, "csum_start": int(batch.transport_offset[0])}
    told |= {"csum_offset": 6 if packet.protocol == "udp" else 16} | fields
    for name, value in told.items():
        getattr(batch, name)[0] = value
    return bool(holds(batch, 0)), batch


TCP4, TCP6 = Packet(payload=bytes(950)), Packet(family=6, payload=bytes(950))
UDP4, UDP6 = Packet(protocol="udp", payload=bytes(950)), Packet(family=6, protocol="udp", payload=bytes(950))


@pytest.mark.parametrize(
    ("packet", "gso_type"),
    [
        (TCP4, GSO_TCPV4), (TCP6, GSO_TCPV6), (UDP4, GSO_UDP_L4), (UDP6, GSO_UDP_L4), (TCP4, GSO_TCPV4 | GSO_TCP_ECN),
        (Packet(payload=bytes(950), tags=((0x8100, 5),)), GSO_TCPV4),
    ],
)  # fmt: skip
def test_a_super_frame_is_counted_in_segments(packet, gso_type):
    taken, batch = super_frame(packet, gso_type)
    assert taken
    assert (batch.gso_segs[0], batch.gso_type[0], batch.gso_size[0]) == (10, gso_type, 100)


def test_a_frame_of_one_segment_is_no_super_frame():
    taken, batch = super_frame(TCP4, GSO_TCPV4, size=950)
    assert taken
    assert (batch.gso_segs[0], batch.gso_type[0], batch.gso_size[0]) == (1, 0, 0)
    assert batch.ip_summed[0] == CHECKSUM_PARTIAL


@pytest.mark.parametrize(
    ("packet", "gso_type", "fields"),
    [
        (UDP4, GSO_TCPV4, {}), (TCP4, GSO_UDP_L4, {}), (TCP6, GSO_TCPV4, {}), (TCP4, GSO_TCPV6, {}),
        (TCP4, GSO_TCPV4, {"csum_start": 30}), (TCP4, GSO_TCPV4, {"csum_offset": 6}), (UDP4, GSO_UDP_L4, {"csum_offset": 16}),
        (Packet(payload=bytes(950), mf=True), GSO_TCPV4, {}),
        (Packet(payload=bytes(950), ip_length_error=500), GSO_TCPV4, {}),
        (Packet(payload=bytes(950), ethertype=0x0806), GSO_TCPV4, {}),
        (TCP4, GSO_UDP, {}), (UDP4, GSO_UDP, {}), (TCP4, GSO_TCPV4, {"ip_summed": 1, "csum_start": 0, "csum_offset": 0}),
    ],
)  # fmt: skip
def test_a_frame_that_is_not_what_its_header_says_is_dropped(packet, gso_type, fields):
    assert not super_frame(packet, gso_type, **fields)[0]
