"""The demo runs every switch, counts what the offloads do, and would notice a wrong byte."""

import json

import pytest

from pktpath.cli import common, pktpath
from pktpath.features import Feature
from pktpath.lab import demo, traffic
from pktpath.lab.warm import COUNT, steps
from pktpath.path import forward


@pytest.fixture(scope="module")
def results():
    return {(case.traffic, case.switches, case.gso_max_size): demo.run(case) for case in demo.cases(1536)}


def test_every_run_gives_the_wire_its_bytes_back(results):
    assert all(result.wire_identical for result in results.values())
    assert all(result.wire_frames == result.frames_in for result in results.values())


def test_every_switch_is_off_once(results):
    assert {switches for _, switches, _ in results} == set(demo.SWITCHES)


def test_the_cut_is_where_the_switches_put_it(results):
    one = "bulk TCP IPv4, 1 flow"
    assert results[one, "all on", 0].cut == "nic"
    assert results[one, "tso off", 0].cut == "driver"
    assert results[one, "gro off", 0].cut == "nowhere"
    assert results[one, "all on", 0].stack_frames < results[one, "gro off", 0].stack_frames / 20
    udp = "UDP bursts IPv4, 12 flows"
    assert results[udp, "uso off", 0].cut == "driver"
    assert results[udp, "rx-udp-gro-forwarding off", 0].stack_frames == results[udp, "all on", 0].frames_in


def test_gso_max_size_decides_how_many_frames_the_stack_handles(results):
    sender = "sending TCP IPv6, 12 flows"
    seen = [results[sender, "all on", size].stack_frames for size in (16384, 65536, 262144)]
    assert seen == sorted(seen, reverse=True)
    assert results[sender, "gso, tso off", 0].cut == "transport"
    assert results[sender, "tso off", 65536].driver_frames == results[sender, "tso off", 65536].frames_in
    # 180 segments in super-frames of 11, 45 and 180: 17, 4 and 1 for each of 8 writes.
    assert seen == [8 * 17, 8 * 4, 8]


def test_a_wrong_byte_on_the_way_is_noticed(monkeypatch):
    def spoil(way):
        forward.transmit(way)
        way.wire.pool.mem[way.wire.head_addr[3] + 14 + 8] ^= 1  # the TTL of one frame

    monkeypatch.setattr(demo, "transmit", spoil)
    case = next(demo.cases(200))
    assert not demo.run(case).wire_identical


def test_a_way_keeps_every_chunk():
    batch = traffic.frames(traffic.bulk(3, 300), header=1000)
    free = batch.pool.free_count.tolist()
    way = forward.make_way(batch.pool, 300, Feature.GRO)
    forward.receive(way, batch)
    forward.send(way)
    forward.transmit(way)
    demo.release(way.wire)
    assert batch.pool.free_count.tolist() == free


def test_a_pool_too_small_is_said():
    batch = traffic.frames(traffic.bulk(3, 300), header=400, normal=100)
    way = forward.make_way(batch.pool, 300, Feature.GRO)
    forward.receive(way, batch)
    with pytest.raises(MemoryError, match="too small"):
        forward.send(way)


def test_the_command_prints_a_table_and_json(capsys):
    assert common.run(pktpath, ["demo", "--frames", "360"]) == 0
    text = capsys.readouterr().out
    assert "wire bytes identical: yes" in text
    assert "sending TCP IPv6, 12 flows" in text
    assert common.run(pktpath, ["demo", "--frames", "360", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == len(list(demo.cases(360)))
    assert {"traffic", "switches", "stack_frames", "cut", "ns_per_frame", "gbits", "wire_identical"} <= set(rows[0])


def test_the_warm_up_says_how_many_kernels_it_has():
    assert len(list(steps_run())) == COUNT


def steps_run():
    for step in steps():
        step.call()
        yield step.name
