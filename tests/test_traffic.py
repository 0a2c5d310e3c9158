"""The built-in traffic (`write_frames`) is well-formed, says what its plan says, and is the same every time."""

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from pktpath.batch import FRAMES
from pktpath.lab import traffic
from pktpath.port.memory import unload

PLANS = {
    "bulk": traffic.bulk(3, 200, train=4),
    "bulk6": traffic.bulk(12, 100, network=6),
    "bursts": traffic.bursts(2, 100),
    "bursts6": traffic.bursts(2, 100, network=6),
    "requests": traffic.requests(5, 100),
    "requests6": traffic.requests(1, 50, network=6),
}


@pytest.mark.parametrize("name", PLANS)
def test_every_length_and_checksum_is_what_scapy_computes(name):
    for raw in unload(traffic.frames(PLANS[name])):
        packet = Ether(raw)
        for layer, field in ((IP, "chksum"), (TCP, "chksum"), (UDP, "chksum"), (IP, "len"), (IPv6, "plen"), (UDP, "len")):
            if layer in packet:
                packet[layer].delfieldval(field)
        assert bytes(Ether(bytes(packet))) == bytes(packet)
        assert bytes(packet) == raw


@pytest.mark.parametrize("name", PLANS)
def test_frames_are_what_the_plan_says(name):
    plan = PLANS[name]
    batch = traffic.frames(plan)
    count = int(batch.used[FRAMES])
    assert count == len(plan.flow)
    assert not batch.shape_flags[:count].any()
    assert (batch.network[:count] == plan.network).all()
    assert (batch.protocol[:count] == plan.protocol).all()
    assert (batch.payload_len[:count] == plan.length).all()
    assert (np.diff(batch.timestamp[:count]) > 0).all()
    assert len(set(batch.hash[:count].tolist())) == len(set(zip(plan.flow, plan.reverse, strict=True)))


def test_each_direction_of_a_tcp_flow_is_one_unbroken_stream():
    for name in ("bulk", "bulk6", "requests"):
        expected = {}
        for raw in unload(traffic.frames(PLANS[name])):
            packet = Ether(raw)
            network, segment = packet[IP] if IP in packet else packet[IPv6], packet[TCP]
            key = (network.src, network.dst, segment.sport, segment.dport)
            assert segment.seq == expected.get(key, 1)
            expected[key] = segment.seq + len(segment.payload)


def test_requests_acknowledge_what_the_other_side_sent():
    sent = {0: 0, 1: 0}
    plan = traffic.requests(1, 30)
    for k in range(30):
        side = int(plan.reverse[k])
        assert plan.acknowledgment[k] == sent[1 - side]
        assert plan.sequence[k] == sent[side]
        sent[side] += int(plan.length[k])


def test_the_same_arguments_make_the_same_bytes():
    plan = traffic.bulk(7, 300)
    assert unload(traffic.frames(plan)) == unload(traffic.frames(plan))


def test_an_empty_plan_is_an_empty_batch():
    assert unload(traffic.frames(traffic.bulk(1, 0))) == []


@pytest.mark.parametrize("network", [4, 6])
@pytest.mark.parametrize("gso_max_size", [16384, 65536, 262144])
def test_super_frames_hold_the_segments_that_the_transport_would_have_cut(network, gso_max_size):
    whole = traffic.sent(3, 6, network=network, gso_max_size=gso_max_size)
    cut = traffic.sent(3, 6, network=network)
    assert (whole.gso_size[whole.gso_size > 0] == 1448).all()
    assert (traffic.frame_lengths(whole) < gso_max_size).all()
    assert whole.length.sum() == cut.length.sum()
    segments = np.maximum(whole.length // 1448, 1)
    assert segments.sum() == len(cut.flow)
    firsts = np.cumsum(segments) - segments
    for column in ("flow", "sequence", "ident", "stamp", "acknowledgment"):
        assert (getattr(whole, column) == getattr(cut, column)[firsts]).all()
    batch = traffic.frames(whole)
    count = int(batch.used[FRAMES])
    assert (batch.payload_len[:count] == whole.length).all()
    assert (batch.gso_segs[:count] == segments).all()
