"""The engine of the switch, stage for stage as it is compiled, with ports of memory and the real slow path."""

import random
import time
import warnings
from collections import Counter
from pathlib import Path

import pytest

from pktpath.batch import CHECKSUM_PARTIAL
from pktpath.control.flow_text import parse_flow
from pktpath.control.live_parts import commands
from pktpath.control.view_json import flow_document
from pktpath.features import Feature
from pktpath.jit import JIT_DISABLED
from pktpath.offload.rules import DEFAULT_RULES, RULES
from pktpath.path.live_mirror import At, want, watched
from pktpath.path.live_types import Tally
from pktpath.switch.datapath import Count
from support.flow_tables import ACTIONS
from support.gso_frames import super_frame
from support.memory_switch import PLAIN, LiveSwitch
from support.naive_bytes import NaiveBytes
from support.naive_gso import naive_checksum, naive_gso
from support.switch_traffic import likely_frame, random_flows, random_frame

WAITING = 1024

ROUNDS = 3 if JIT_DISABLED else 12
FRAMES = 40 if JIT_DISABLED else 250
GROUPS = (
    "group_id=1,type=all,bucket=output:2,bucket=mod_dl_dst:00:00:00:00:00:09,mod_vlan_vid:3,output:3",
    "group_id=2,type=select,bucket=weight:2,output:2,bucket=weight:1,mod_nw_tos:8,output:3",
)
METERS = ("meter=1,pktps,band=type=drop,rate=1000000",)


def naive_of(switch, flows):
    return NaiveBytes(switch.bridge, [parse_flow(flow, switch.bridge.numbers()) for flow in flows])


def wanted(naive, arrivals):
    """What leaves when these frames come in, in order."""
    found = []
    for number, frame in arrivals:
        try:
            found += naive.frames(number, frame)
        except RecursionError:
            continue  # tables inside of tables: dropped
    return found


def by_port(frames):
    """Frames of each port in their order: ports do not wait for each other."""
    found = {}
    for number, data in frames:
        found.setdefault(number, []).append(data.hex())
    return found


def arrivals(rng, count):
    return [(rng.choice((1, 1, 2, 3, 5)), random_frame(rng)) for _ in range(count)]


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_same_frames_as_the_naive_switch(seed):
    """One after the other, all at once, and again when megaflows and caches know them all."""
    rng = random.Random(seed)
    flows = random_flows(rng)
    with LiveSwitch(flows, groups=GROUPS, meters=METERS, emc_insert_inv_prob=rng.choice((0, 1, 2))) as switch:
        naive = naive_of(switch, flows)
        frames = arrivals(rng, FRAMES)
        for number, frame in frames[: FRAMES // 4]:
            assert by_port(switch.send(number, frame)) == by_port(wanted(naive, [(number, frame)])), (flows, frame.hex())
        expected = wanted(naive, frames)
        # What waits for the slow path comes later.
        assert Counter(switch.send_all(frames)) == Counter(expected), flows
        for number in (1, 2, 3, 5):
            mine = [arrival for arrival in frames if arrival[0] == number]
            assert by_port(switch.send_all(mine)) == by_port(wanted(naive, mine)), flows
        total = switch.check_books()
        assert total[Count.SEEN] == FRAMES // 4 + 2 * FRAMES
        assert total[Count.UPCALLS] < FRAMES + FRAMES // 4 or not expected
        if switch.engine.settings.emc_insert_inv_prob:
            assert switch.tally(Tally.EMC_HITS)
        else:
            assert not switch.tally(Tally.EMC_HITS)


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_no_frame_gets_an_old_answer(seed):
    """Behind a change and a round of revalidation every megaflow and cache entry says what the slow path says."""
    rng = random.Random(seed)
    flows = random_flows(rng)
    with LiveSwitch(flows, groups=GROUPS, meters=METERS, emc_insert_inv_prob=seed % 2) as switch:
        frames = arrivals(rng, FRAMES)
        switch.send_all(frames)
        for turn in range(3):
            flows = rng.sample(flows, len(flows) - 2)
            flows.append(f"priority={50 + turn},{rng.choice(('ip', 'arp', 'in_port=1', 'tcp'))},actions={rng.choice(ACTIONS)}")
            replace(switch, flows)
            switch.revalidate()
            for number, made in switch.engine._upcalls._made.items():
                answer = switch.tables.translate(made.key, learn=False)
                _, mask, actions = switch.engine._table.flows[number]
                assert answer.actions == actions
                assert not answer.mask & ~mask
            naive = naive_of(switch, flows)
            some = rng.sample(frames, len(frames) // 2)
            assert Counter(switch.send_all(some)) == Counter(wanted(naive, some)), flows
        assert switch.check_books()[Count.UPCALLS] > 0


def replace(switch, flows):
    """Let a bridge have these flows and no others."""
    for line in switch.tables.dump("br0", "flows"):
        switch.tables.remove("br0", "flows", line)
    assert switch.tables.dump("br0", "flows") == []
    switch.add(*flows)


def test_learning_follows_a_station():
    """NORMAL, one frame after the other, beside the naive switch; a station that moves is found where it is."""
    rng = random.Random(3)
    tagging = {"p1": {"tag": 10}, "p2": {"tag": 10}, "p3": {"trunks": [0, 10, 20]}}
    for vlans in (None, tagging):
        with LiveSwitch(["actions=NORMAL"], tagging=vlans) as switch:
            naive = naive_of(switch, ["actions=NORMAL"])
            naive.learn = True
            for _ in range(FRAMES):
                number, frame = rng.choice((1, 2, 3, 4, 5)), likely_frame(rng)
                frame = frame[:12] + frame[16:] if frame[12:14] == b"\x88\xa8" else frame
                expected = wanted(naive, [(number, frame)])
                assert Counter(switch.send(number, frame)) == Counter(expected), (number, frame.hex())
                switch.revalidate()
            switch.check_books()


def test_rules_count_every_frame():
    """Those that waited for the slow path, those that a megaflow took, and their bytes."""
    rng = random.Random(5)
    with LiveSwitch(["table=0,arp,actions=drop", "priority=0,actions=resubmit(,1)", "table=1,actions=output:2"]) as switch:
        frames = [likely_frame(rng) for _ in range(FRAMES)]
        for _ in range(2):
            switch.send_all([(1, frame) for frame in frames])
        switch.revalidate()
        found = {(rule.table.number, rule.priority): (rule.packets, rule.size) for rule in switch.bridge.flows()}
        others = [frame for frame in frames if b"\x08\x06" not in (frame[12:14], frame[16:18])]
        arps = [frame for frame in frames if frame not in others]
        assert found[0, 32768] == (2 * len(arps), 2 * sum(map(len, arps)))
        assert found[0, 0] == found[1, 32768] == (2 * len(others), 2 * sum(map(len, others)))


def many_flows(count):
    """Frames of UDP that differ in their source ports."""
    head = bytes.fromhex("000000000002000000000001080045000020000040004011 0000 0a0000010a000002".replace(" ", ""))
    return [head + (1000 + nth).to_bytes(2) + b"\x00\x50\x00\x0c\x00\x00" + bytes(4) for nth in range(count)]


def test_an_upcall_too_many_is_lost_and_counted():
    with LiveSwitch(
        ["udp,tp_src=1,actions=drop", "priority=0,actions=output:2"], flow_limit=4000, upcall_queue=WAITING
    ) as switch:
        count = WAITING + 100
        for frame in many_flows(count):
            assert switch.ports[1].send(frame)
        switch.engine.turn()  # nobody answers
        view = switch.engine.view()
        assert view.lost == 100
        assert view.workers[0].counters["queued"] == WAITING
        assert switch.take() == []
        switch.serve()
        assert len(switch.take()) == WAITING
        total = switch.check_books()
        assert (total[Count.DROP_LOST], total[Count.UPCALLS]) == (100, WAITING)


def test_flow_limit_and_idle_expiry():
    with LiveSwitch(["udp,tp_src=1,actions=drop", "udp,tp_src=0xffff,actions=drop", "priority=0,actions=output:2"],
                    flow_limit=8, max_idle_ms=5000) as switch:  # fmt: skip
        frames = [frame[:34] + (1 << nth).to_bytes(2) + frame[36:] for nth, frame in enumerate(many_flows(15), 1)]
        assert len(switch.send_all([(1, frame) for frame in frames])) == 15
        assert len(list(switch.engine.flows())) <= 8
        switch.revalidate()
        assert list(switch.engine.flows())
        switch.revalidate(time.monotonic() + 5.5)
        assert not list(switch.engine.flows())
        assert len(switch.send_all([(1, frame) for frame in frames])) == 15
        switch.check_books()


@pytest.mark.parametrize("version", [4, 6])
def test_a_super_frame_is_cut_only_where_it_must_be(version):
    rng = random.Random(version)
    big = super_frame(version=version, payload=rng.randbytes(9000), size=1400, flags=0x18, tcp_options=b"\1" * 12)
    features = {"p3": PLAIN, "p4": PLAIN | Feature.HW_CSUM}
    with LiveSwitch(["actions=output:2,output:3,output:4"], features=features, mtu=1500) as switch:
        fields = {"ip_summed": CHECKSUM_PARTIAL, "csum_start": big.transport_at, "csum_offset": 16, "gso_size": 1400,
                  "gso_segs": 7, "gso_type": big.gso_type}  # fmt: skip
        for _ in range(2):
            assert switch.ports[1].send(big.data, **fields)
            switch.serve()
            left = switch.take()
            whole = [frame for port, frame in left if port == 2]
            assert [frame.data for frame in whole] == [big.data]
            assert {name: whole[0].fields[name] for name in fields} == fields
            for port, kept in ((3, PLAIN), (4, PLAIN | Feature.HW_CSUM)):
                expected = naive_gso(big.data, network_at=big.network_at, gso_type=big.gso_type, gso_size=1400, features=kept,
                                     rules=switch.engine._threads[0].worker.rules)  # fmt: skip
                mine = [frame for number, frame in left if number == port]
                assert [frame.data for frame in mine] == [wire.data for wire in expected]
                assert len(mine) == 7
                assert {frame.fields["ip_summed"] == CHECKSUM_PARTIAL for frame in mine} == {port == 4}
        total = switch.check_books()
        assert total[Count.CUT] == 2 * 2 * 6


def test_a_partial_checksum_is_completed_only_where_it_must_be():
    small = super_frame(payload=b"x" * 100, size=1400)
    with LiveSwitch(["actions=output:2,output:3"], features={"p3": PLAIN}) as switch:
        fields = {"ip_summed": CHECKSUM_PARTIAL, "csum_start": small.transport_at, "csum_offset": 16}
        done = naive_checksum(small.data, small.transport_at, 16)
        assert done != small.data
        assert switch.send(1, small.data, **fields) == [(2, small.data), (3, done)]
        switch.check_books()


def train(count, *, size=1000, version=4):
    """Return the frames that a card without offloads sends for one long write."""
    rng = random.Random(count)
    big = super_frame(version=version, payload=rng.randbytes(count * size), size=size, flags=0x10)
    return big, [wire.data for wire in naive_gso(big.data, network_at=big.network_at, gso_type=big.gso_type, gso_size=size,
                                                 features=PLAIN,
                                                 rules=RULES[DEFAULT_RULES])]  # fmt: skip


@pytest.mark.parametrize("version", [4, 6])
def test_gro_merges_a_train_and_plain_ports_get_it_back(version):
    _, frames = train(12, version=version)
    features = {"p1": Feature.GRO | Feature.RXCSUM | PLAIN, "p3": PLAIN}
    with LiveSwitch(["actions=output:2,output:3"], features=features) as switch:
        want(switch.engine.mirrors()[0], At.WIRE_IN | At.WIRE_OUT | At.DATAPATH)
        for frame in frames:
            assert switch.ports[1].send(frame)
        switch.serve()
        left = switch.take()
        merged = [frame for port, frame in left if port == 2]
        assert len(merged) == 1
        assert (merged[0].fields["gso_size"], merged[0].fields["gso_segs"]) == (1000, 12)
        assert [frame.data for port, frame in left if port == 3] == frames
        total = switch.check_books()
        assert (total[Count.RX], total[Count.MERGED], total[Count.SEEN], total[Count.CUT]) == (12, 11, 1, 11)
        seen = list(watched(switch.engine.mirrors()[0]))
        assert [one.frame for one in seen if one.at == At.WIRE_IN] == frames
        datapath = [one for one in seen if one.at == At.DATAPATH]
        assert [(len(one.frame), one.gso_size, one.gso_segs, one.port) for one in datapath] == [
            (len(merged[0].data), 1000, 12, 1)
        ]
        out = [one for one in seen if one.at == At.WIRE_OUT]
        assert [one.frame for one in out if one.port == 3] == frames
        assert [one.frame for one in out if one.port == 2] == [merged[0].data]
        # Super-frames go through actions whole, too.
        switch.add("priority=40000,actions=mod_dl_dst:00:00:00:00:00:09,output:2,push_vlan:0x8100,mod_vlan_vid:7,output:3")
        switch.revalidate()
        for frame in frames:
            assert switch.ports[1].send(frame)
        switch.serve()
        left = switch.take()
        changed = [bytes(5) + b"\x09" + frame[6:] for frame in frames]
        assert [len(frame.data) for port, frame in left if port == 2] == [len(merged[0].data)]
        assert [frame.data for port, frame in left if port == 3] == [
            frame[:12] + b"\x81\0\0\x07" + frame[12:] for frame in changed
        ]
        switch.check_books()


def test_tags_beside_a_frame_are_put_in():
    rng = random.Random(1)
    with LiveSwitch(["dl_vlan=7,actions=output:2,strip_vlan,output:3,push_vlan:0x8100,mod_vlan_vid:9,output:4"]) as switch:
        plain = likely_frame(rng)
        while plain[12:14] in (b"\x81\0", b"\x88\xa8"):
            plain = likely_frame(rng)

        def tagged(vid):
            return plain[:12] + b"\x81\0" + vid.to_bytes(2) + plain[12:]

        for fields, frame in (({"vlan_proto": 0x8100, "vlan_tci": 7}, plain), ({}, tagged(7))):
            assert switch.send(1, frame, **fields) == [(2, tagged(7)), (3, plain), (4, tagged(9))]
        switch.check_books()


def test_meters_and_the_controller_have_their_rates():
    frames = many_flows(1)
    with LiveSwitch(["in_port=1,actions=meter:1,output:2", "in_port=3,actions=controller,output:2"],
                    meters=["meter=1,pktps,burst,band=type=drop,rate=1,burst_size=20"]) as switch:  # fmt: skip
        assert len(switch.send_all([(1, frames[0])] * 60)) in (20, 21)
        said = flow_document(next(iter(switch.engine.flows())))
        assert said["actions"] == [{"type": "Meter", "number": 1}, {"type": "Output", "port": 2}]
        left = switch.send_all([(3, frames[0])] * 400)
        assert len(left) == 400
        total = switch.check_books()
        assert total[Count.DROP_METER] in (39, 40)
        assert total[Count.CONTROLLER] + total[Count.CONTROLLER_DROPPED] == 400
        assert 250 <= total[Count.CONTROLLER] < 400 or JIT_DISABLED


def test_what_finds_no_port_or_no_room_is_counted():
    frame = many_flows(1)[0]
    with LiveSwitch(["in_port=1,actions=output:2,output:3", "in_port=3,actions=output:4"], features={"p4": PLAIN}) as switch:
        switch.send(1, frame)
        switch.engine.datapath.ports[2].up = 0
        assert switch.send(1, frame) == [(3, frame)]
        assert switch.send(3, frame + bytes(1700)) == []
        total = switch.check_books()
        assert (total[Count.DROP_NO_PORT], total[Count.UNSENDABLE]) == (1, 1)


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_descriptors_and_chunks_stay_as_many():
    rng = random.Random(9)
    before = open_files()
    flows = random_flows(rng)
    with LiveSwitch(flows, groups=GROUPS, meters=METERS) as switch:
        during = open_files()
        for _ in range(2 if JIT_DISABLED else 40):
            switch.send_all(arrivals(rng, FRAMES))
            switch.engine.flush()
            switch.check_books()
        assert open_files() == during
    assert open_files() == before


def test_an_order_to_run_is_never_lost():
    """Pause and go on in quick succession: once the thread overlooked an order and everybody waited for ever."""
    with warnings.catch_warnings(), LiveSwitch(["actions=output:2"]) as switch:
        # Interpreted hashes overflow aloud, and numpy is silenced for the main thread only.
        warnings.simplefilter("ignore", RuntimeWarning)
        switch.engine.start()
        for _ in range(200):
            with switch.engine.paused():
                pass
        frame = many_flows(1)[0]
        assert switch.ports[1].send(frame)
        until = time.monotonic() + 30
        left = []
        while not left and time.monotonic() < until:
            switch.engine.handle_upcalls(10)
            left = switch.take()
        assert [(port, one.data) for port, one in left] == [(2, frame)]
        assert not switch.engine.failures()


def test_queues_are_given_anew_by_their_load():
    """Of five queues on two workers the two busy ones must not stay together, and frames still find their way."""
    with LiveSwitch(["in_port=1,actions=output:2", "in_port=3,actions=output:4"], cores=(0, 0)) as switch:
        engine = switch.engine
        for seconds in (1, 7):
            for thread in engine._threads:
                for rx in thread.worker.rx[: int(thread.worker.rx_count[0])]:
                    if int(rx.port) in (1, 3):
                        rx.cycles = int(seconds * engine.hertz / 2)
            engine.tick(float(10 + seconds))
        engine.rebalance()
        homes = {queue.port: at for at, worker in enumerate(engine.view().workers) for queue in worker.queues}
        assert homes["p1"] != homes["p3"]
        assert sorted(homes) == sorted(port.port.name for port in engine.ports.values())
        frame = bytes(12) + b"\x08\x00" + bytes(50)
        assert switch.ports[1].send(frame)
        switch.serve()
        assert len(switch.take()) == 1


def test_meters_tell_what_they_dropped():
    with LiveSwitch(["actions=meter:1,output:2"], meters=["meter=1,pktps,burst,band=type=drop,rate=1,burst_size=2"]) as switch:
        frames = many_flows(7)
        for frame in frames:
            assert switch.ports[1].send(frame)
        switch.serve()
        passed = len(switch.take())
        text = commands(switch.engine, switch.tables)["ofctl/meter-stats"].run(["br0"])
        dropped = 7 - passed
        assert "packet_in_count:7 " in text
        assert f"0: packet_count:{dropped} byte_count:{dropped * len(frames[0])}" in text
        assert dropped > 3
