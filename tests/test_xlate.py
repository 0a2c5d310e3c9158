"""The slow path against the naive switch: the same frames out, and no megaflow that covers a packet it is wrong for."""

import functools
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pktpath.control.flow_text import parse_flow
from pktpath.control.group_text import parse_group, parse_meter
from pktpath.errors import BadInput
from pktpath.switch import actions as dp
from pktpath.switch import openflow as of
from pktpath.switch.fields import FIELDS, KEY_BITS, key_of, mask_of
from pktpath.switch.mirror import Mirror
from pktpath.switch.xlate import Slow
from support.flow_tables import ACTIONS, MATCHES, add_flow, matches_of
from support.naive_switch import NaiveSwitch, forwarded, plausible

PORTS = {"p1": 1, "p2": 2, "p3": 3, "p4": 4, "LOCAL": of.LOCAL}
GROUPS = (
    "group_id=1,type=all,bucket=output:2,bucket=mod_dl_dst:00:00:00:00:00:09,mod_vlan_vid:3,output:3",
    "group_id=2,type=select,bucket=weight:2,output:2,bucket=weight:1,dec_ttl,output:3",
    "group_id=3,type=select,selection_method=hash,fields(ip_dst),bucket=2,bucket=3,bucket=4",
)


METER = parse_meter("meter=1,kbps,band=type=drop,rate=1")
grouped = functools.cache(parse_group)


@functools.cache
def parsed(flow):
    return parse_flow(flow, PORTS)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def build(flows=(), *, vlans=False, fail_mode="secure"):
    """A slow path with one bridge; datapath numbers are the OpenFlow numbers plus 10."""
    clock = Clock()
    slow = Slow(clock)
    bridge = slow.add_bridge("br0", fail_mode=fail_mode)
    tagging = {"p1": {"tag": 10}, "p2": {"tag": 10}, "p3": {"trunks": [0, 10, 20]}} if vlans else {}
    for name, number in PORTS.items():
        bridge.add_port(name, number + 10, number, **tagging.get(name, {}))
    for group in GROUPS:
        bridge.group_mod(grouped(group))
    bridge.meters.add(METER)
    for flow in flows:
        bridge.flow_mod(parsed(flow))
    return slow, bridge


OTHER_ACTIONS = [
    "output:9",
    "NORMAL",
    "group:1",
    "group:2",
    "group:3",
    "meter:1",
    "controller",
    "set_tunnel:5",
    "load:2->NXM_OF_IN_PORT[]",
]


@st.composite
def tables(draw):
    flows = []
    for priority in range(draw(st.integers(1, 14))):
        kind = draw(st.sampled_from(sorted(MATCHES)))
        match = draw(st.lists(st.sampled_from([*matches_of(kind), "tun_id=5"]), unique=True, max_size=3))
        actions = draw(st.lists(st.sampled_from([*ACTIONS, *OTHER_ACTIONS]), max_size=5))
        add_flow(flows, parsed, draw(st.sampled_from([0, 0, 1, 2])), priority, kind, match, actions)
    return flows


USUAL = {
    "in_port": [11, 12, 13, of.LOCAL + 10], "dl_type": [0x0800, 0x0800, 0x0800, 0x0806, 0x86DD, 0x88CC],
    "vlan_tci": [0, 0, 0x1005, 0x100A, 0x700A, 0x1000, 0x7005], "dl_src": [1, 2, 7, 1 << 40],
    "dl_dst": [1, 2, 9, 0xFFFFFFFFFFFF, 0x0180C2000000], "nw_frag": [0, 0, 0, 1, 3], "nw_proto": [6, 6, 17, 1, 58, 2, 132],
    "nw_tos": [0, 32, 1, None], "nw_ttl": [64, 1, 0, 2, None], "nw_src": [0x0A000001, 0x0A000002, None],
    "nw_dst": [0x0A000001, 0x0A000002, 0x0B000001, None], "tp_src": [64, 0, None], "tp_dst": [80, 81, 0, None],
    "tcp_flags": [2, 0x12, 0x10], "ipv6_src": [1, 0xFE80 << 112, None], "ipv6_dst": [1, 0xFE80 << 112 | 1, None],
    "ipv6_label": [0, 1, 0xFFFFF], "arp_sha": [1, 2], "arp_tha": [0, 1],
}  # fmt: skip
"""What a field is likely to be; None: anything."""


def likely(seed):
    draw = random.Random(seed)
    picked = {name: draw.choice(values) for name, values in USUAL.items()}
    return plausible(
        key_of(**{name: draw.getrandbits(FIELDS[name].bits) if one is None else one for name, one in picked.items()})
    )


keys = st.integers(0, (1 << 64) - 1).map(likely)


def learnable(bridge, seed):
    """The same addresses in both switches."""
    bridge.macs.learn(0, 1, 1)
    bridge.macs.learn(10, 2, 3)
    naive = NaiveSwitch(bridge, seed)
    naive.macs = {(0, 1): 1, (10, 2): 3}
    return naive


@given(tables(), keys, st.booleans(), st.lists(keys, max_size=3), st.integers(0, (1 << KEY_BITS) - 1))
@example(["priority=1,tcp,actions=dec_ttl,output:2", "priority=2,tcp,tp_dst=80,actions=drop"], key_of(in_port=11), False, [], 0)
def test_same_frames_and_no_megaflow_too_wide(flows, key, vlans, others, noise):
    slow, bridge = build(flows, vlans=vlans)
    naive = learnable(bridge, [parsed(flow) for flow in flows])
    answer = slow.translate(key, learn=False)
    try:
        assert forwarded(answer.actions, key) == naive.run(key)
    except RecursionError:
        assert answer.actions == ()
    for other in (*others, noise, ~key & (1 << KEY_BITS) - 1):
        alike = plausible(key & answer.mask | other & ~answer.mask)
        if (alike ^ key) & answer.mask:
            continue  # no packet is like this
        again = slow.translate(alike, learn=False)
        assert again.actions == answer.actions, hex(alike ^ key)
        assert [type(one) for one in again.credit] == [type(one) for one in answer.credit]
        try:
            assert forwarded(again.actions, alike) == naive.run(alike)
        except RecursionError:
            assert again.actions == ()


@given(tables(), st.lists(keys, min_size=1, max_size=8), st.booleans())
def test_same_frames_while_learning(flows, sequence, vlans):
    slow, bridge = build([*flows, "priority=20,dl_type=0x88cc,actions=NORMAL"], vlans=vlans)
    naive = NaiveSwitch(bridge, [parsed(flow) for flow in [*flows, "priority=20,dl_type=0x88cc,actions=NORMAL"]])
    naive.learn = True
    for key in sequence:
        try:
            wanted = naive.run(key)
        except RecursionError:
            assert slow.translate(key).actions == ()
            continue
        version = slow.version
        known = {(row.vlan, row.mac): row.port for row in bridge.macs.rows()}
        assert forwarded(slow.translate(key).actions, key) == wanted
        learned = {(row.vlan, row.mac): row.port for row in bridge.macs.rows()}
        assert learned == naive.macs
        assert (slow.version == version) == (learned == known)


def tcp(**fields):
    usual = {"in_port": 11, "dl_type": 0x0800, "dl_src": 1, "dl_dst": 2, "nw_proto": 6, "nw_ttl": 64, "nw_src": 1, "nw_dst": 2}
    return key_of(**{**usual, **fields})


@pytest.mark.parametrize(
    ("actions", "wanted"),
    [
        ("output:2", (dp.Output(12),)),
        ("output:1", ()),
        ("in_port", (dp.Output(11),)),
        ("dec_ttl", ()),
        ("dec_ttl,output:2", (dp.Set("nw_ttl", 63, 255), dp.Output(12))),
        ("dec_ttl,mod_nw_ttl:64,output:2", (dp.Output(12),)),
        ("mod_nw_dst:0.0.0.2,output:2", (dp.Output(12),)),
        ("load:7->NXM_OF_IP_DST[0..3],output:2", (dp.Set("nw_dst", 7, 15), dp.Output(12))),
        ("mod_tp_dst:1,mod_dl_src:00:00:00:00:00:05,mod_nw_src:0.0.0.9,output:2",
         (dp.Set("dl_src", 5, (1 << 48) - 1), dp.Set("nw_src", 9, (1 << 32) - 1), dp.Set("tp_dst", 1, 0xFFFF), dp.Output(12))),
        ("mod_vlan_vid:5,output:2,strip_vlan,output:3", (dp.PushVlan(0x8100, 5), dp.Output(12), dp.PopVlan(), dp.Output(13))),
        ("push_vlan:0x88a8,output:2", (dp.PushVlan(0x88A8, 0), dp.Output(12))),
        ("set_tunnel:5,resubmit(,1),output:2", (dp.Output(13), dp.Output(12))),
        ("mod_dl_dst:00:00:00:00:00:09,output:2,mod_dl_dst:00:00:00:00:00:02,output:3",
         (dp.Set("dl_dst", 9, (1 << 48) - 1), dp.Output(12), dp.Set("dl_dst", 2, (1 << 48) - 1), dp.Output(13))),
        ("controller(max_len=64,reason=no_match,id=3),output:2", (dp.Controller(64, 3, 0), dp.Output(12))),
        ("meter:1,output:2", (dp.Meter(1), dp.Output(12))),
    ],
)  # fmt: skip
def test_what_reaches_the_datapath(actions, wanted):
    slow, _ = build([f"tcp,actions={actions}", "table=1,tun_id=5,actions=3"])
    assert slow.translate(tcp()).actions == wanted


def test_a_tag_that_was_there_keeps_its_protocol():
    slow, _ = build(["actions=mod_vlan_vid:7,output:2"])
    answer = slow.translate(tcp(vlan_tci=0x7005))
    assert answer.actions == (dp.Set("vlan_tci", 0x6007, 0xFFFF), dp.Output(12))
    assert answer.mask & FIELDS["vlan_tci"].mask == FIELDS["vlan_tci"].mask

    # Also where a group changed it before, and it is to be as it was under another one.
    slow, _ = build(["actions=group:1,push_vlan:0x8100,output:2"])
    assert slow.translate(tcp(vlan_tci=0x7005)).actions[-3:] == (
        dp.Set("vlan_tci", 0x6005, 0xFFFF),
        dp.PushVlan(0x8100, 0),
        dp.Output(12),
    )


def test_time_to_live_ends():
    slow, _ = build(["actions=resubmit(,1),output:3", "table=1,actions=dec_ttl,output:2"])
    answer = slow.translate(tcp(nw_ttl=1))
    assert answer.actions == (dp.Controller(65535, 0, of.INVALID_TTL), dp.Output(13))
    assert FIELDS["nw_ttl"].of(answer.mask) == 255


def test_circles_end():
    slow, bridge = build(["actions=output:2,resubmit(,0)"])
    trace = []
    assert slow.translate(tcp(), trace=trace).actions == ()
    assert trace[-1].what == "Translation failed (Recursion too deep), packet is dropped."
    # 2 to the power of 12 lookups and more, none of them deep.
    bridge.flow_mod(parse_flow("actions=resubmit(,1),resubmit(,1)"))
    for table in range(1, 20):
        bridge.flow_mod(parse_flow(f"table={table},actions=resubmit(,{table + 1}),resubmit(,{table + 1})"))
    trace.clear()
    assert slow.translate(tcp(), trace=trace).actions == ()
    assert trace[-1].what == "Translation failed (Too many resubmits), packet is dropped."


def test_fragments_have_no_ports():
    slow, _ = build(["tcp,tp_dst=80,actions=output:2", "tcp,tp_dst=0,actions=output:3"])
    for frag in (1, 3):
        answer = slow.translate(tcp(nw_frag=frag, tp_dst=80 if frag == 1 else 0))
        assert answer.actions == (dp.Output(13),)
        assert not answer.mask & mask_of("tp_src", "tp_dst")
    assert slow.translate(tcp(tp_dst=80)).actions == (dp.Output(12),)


def test_always_in_the_mask():
    slow, _ = build(["actions=output:2"])
    assert slow.translate(tcp()).mask == mask_of("in_port", "dl_type", "nw_frag")
    assert slow.translate(key_of(in_port=11, dl_type=0x0806)).mask == mask_of("in_port", "dl_type")
    assert slow.translate(key_of(in_port=99)) == (mask_of("in_port", "dl_type"), (), (), False)


def test_learning_ages_moves_and_follows_megaflows():
    slow, bridge = build(fail_mode="standalone")
    clock = slow.clock
    version = slow.version
    first = slow.translate(tcp())
    assert sorted(first.actions) == sorted(dp.Output(number + 10) for number in (2, 3, 4, of.LOCAL))
    assert slow.version > version
    version = slow.version
    assert slow.translate(tcp()).actions == first.actions
    back = slow.translate(tcp(in_port=12, dl_src=2, dl_dst=1))
    assert back.actions == (dp.Output(11),)
    assert slow.version == version + 1, "one new address, and nothing new by the packet before"
    assert [(row.port, row.mac) for row in bridge.macs.rows()] == [(1, 1), (2, 2)]
    # A question changes nothing.
    slow.translate(tcp(dl_src=77), learn=False)
    assert slow.version == version + 1
    # Traffic of a megaflow keeps its sender; the other one goes.
    clock.now += 200
    slow.credit(back, 5, 500, clock.now)
    clock.now += 150
    slow.expire()
    assert [(row.port, row.mac, row.age) for row in bridge.macs.rows()] == [(2, 2, 150.0)]
    # It moved: what a megaflow saw before that does not bring it back, what it sees after that does.
    version = slow.version
    slow.translate(tcp(in_port=13, dl_src=2))
    assert bridge.macs.port_of(0, 2) == 3
    assert slow.version == version + 1
    slow.credit(back, 1, 60, clock.now - 1)
    assert bridge.macs.port_of(0, 2) == 3
    slow.credit(back, 1, 60, clock.now + 1)
    assert bridge.macs.port_of(0, 2) == 2
    assert slow.version == version + 2


def test_the_address_table_is_bounded():
    slow, bridge = build(fail_mode="standalone")
    bridge.macs.limit = 10
    for mac in range(2, 60, 2):
        slow.translate(tcp(dl_src=mac))
    assert [row.mac for row in bridge.macs.rows()] == list(range(40, 60, 2))
    bridge.remove_port("p1")
    assert not len(bridge.macs)


def test_vlans_of_normal():
    slow, _ = build(vlans=True, fail_mode="standalone")
    flooded = slow.translate(tcp()).actions
    pushed = flooded.index(dp.PushVlan(0x8100, 10))
    assert set(flooded[:pushed]) == {dp.Output(12)}, "access ports of the VLAN are without a tag"
    assert dp.Output(13) in flooded[pushed:]
    assert slow.translate(tcp(vlan_tci=0x100A)).actions == (), "no tag may come in by an access port"
    assert slow.translate(tcp(in_port=13, vlan_tci=0x101E)).actions == (), "nor a VLAN that the trunk has not"
    assert slow.translate(tcp(in_port=13, vlan_tci=0x700A, dl_src=2, dl_dst=1)).actions == (dp.PopVlan(), dp.Output(11))


def test_native_vlan():
    slow, bridge = build(fail_mode="standalone")
    for name in ("p2", "p3", "p4", "LOCAL"):
        bridge.remove_port(name)
    bridge.add_port("native", 21, 7, tag=20, vlan_mode="native-untagged")
    assert slow.translate(tcp(vlan_tci=0x1014)).actions == (dp.PopVlan(), dp.Output(21))
    assert slow.translate(tcp(vlan_tci=0x1015)).actions == (dp.Output(21),)
    assert slow.translate(tcp(in_port=21, dl_dst=9)).actions == (dp.PushVlan(0x8100, 20), dp.Output(11))


def test_mirrors():
    slow, bridge = build(["in_port=1,actions=output:2,mod_dl_src:00:00:00:00:00:09,output:3", "actions=NORMAL"])
    mirror = Mirror("m", 4, sources=frozenset({1}), destinations=frozenset({3}))
    bridge.mirrors.append(mirror)
    slow.changed()
    nine = dp.Set("dl_src", 9, (1 << 48) - 1)
    answer = slow.translate(tcp())
    assert answer.actions == (dp.Output(14), dp.Output(12), nine, dp.Output(13)), "one copy, as it came in"
    slow.credit(answer, 3, 300, 0.0)
    assert (mirror.packets, mirror.size) == (3, 300)
    mirror.sources = frozenset()
    assert slow.translate(tcp()).actions == (dp.Output(12), nine, dp.Output(14), dp.Output(13)), "or as it goes out"
    assert slow.translate(tcp(in_port=14)).actions == (), "the mirror's port is for the mirror"
    assert dp.Output(14) not in slow.translate(tcp(in_port=12, dl_dst=5)).actions[2:]


def test_select_groups_share_by_weight_and_look_at_what_they_hash():
    slow, _ = build(["actions=group:2"])
    ways = {12: 0, 13: 0}
    for port in range(3000):
        answer = slow.translate(tcp(tp_src=port))
        ways[answer.actions[-1].port] += 1
        assert answer.mask & mask_of("tp_src", "tp_dst", "nw_src", "nw_dst", "nw_proto") == mask_of(
            "tp_src", "tp_dst", "nw_src", "nw_dst", "nw_proto"
        )
    assert 0.6 < ways[12] / 3000 < 0.73
    slow, _ = build(["ip,actions=group:3"])
    assert slow.translate(tcp()).mask == mask_of("in_port", "dl_type", "nw_frag", "nw_dst")


def test_counters_go_to_rules_tables_and_buckets():
    slow, bridge = build(["cookie=1,actions=resubmit(,1),resubmit(,2),group:1", "table=1,cookie=2,actions=drop"])
    slow.credit(slow.translate(tcp()), 10, 1000, 1234.0)
    counted = [(rule.cookie, rule.packets, rule.size, rule.used) for rule in bridge.flows()]
    assert counted == [(1, 10, 1000, 1234.0), (2, 10, 1000, 1234.0)]
    tables = [(table.counters.number, table.counters.lookups, table.counters.matched) for table in bridge.tables]
    assert tables == [(0, 10, 10), (1, 10, 10), (2, 10, 0)]
    group = bridge.groups.get(1)
    assert (group.packets, [bucket.packets for bucket in group.buckets]) == (10, [10, 10])


def test_timeouts():
    slow, bridge = build(["idle_timeout=10,ip,actions=2", "hard_timeout=20,arp,actions=2", "ipv6,actions=2"])
    clock, version = slow.clock, slow.version
    clock.now += 9
    slow.credit(slow.translate(tcp()), 1, 60, clock.now)
    clock.now += 9
    slow.expire()
    assert len(bridge.tables) == 3
    assert slow.version == version
    clock.now += 2
    slow.expire()
    assert len(bridge.tables) == 1
    assert slow.version > version


def actions_of(bridge):
    return sorted((rule.table.number, rule.priority, rule.cookie, [one.port for one in rule.actions]) for rule in bridge.flows())


def test_flow_mods():
    slow, bridge = build(["ip,actions=1", "tcp,priority=5,actions=2", "table=1,cookie=7,actions=3"])
    slow.credit(slow.translate(tcp()), 1, 60, 0.0)
    bridge.flow_mod(parse_flow("modify ip,actions=4"))
    assert actions_of(bridge) == [(0, 5, 0, [4]), (0, 0x8000, 0, [4]), (1, 0x8000, 7, [3])]
    assert max(rule.packets for rule in bridge.flows()) == 1, "modification keeps counters"
    bridge.flow_mod(parse_flow("modify_strict ip,actions=2"))
    assert actions_of(bridge)[:2] == [(0, 5, 0, [4]), (0, 0x8000, 0, [2])]
    bridge.flow_mod(parse_flow("modify cookie=7/-1,cookie=8,actions=1"))
    assert actions_of(bridge)[2] == (1, 0x8000, 8, [1])
    bridge.flow_mod(parse_flow("modify arp,actions=1"))
    assert len(bridge.tables) == 4, "nothing to modify: added"
    bridge.flow_mod(parse_flow("delete_strict ip"))
    bridge.flow_mod(parse_flow("delete cookie=8/-1"))
    assert [rule.priority for rule in bridge.flows()] == [0x8000, 5]
    bridge.flow_mod(parse_flow("delete out_port=4"))
    assert [rule.priority for rule in bridge.flows()] == [0x8000]
    bridge.flow_mod(parse_flow("add arp,actions=2"))
    assert actions_of(bridge) == [(0, 0x8000, 0, [2])], "the same match again: replaced"
    with pytest.raises(BadInput, match="check_overlap: a flow of priority 32768"):
        bridge.flow_mod(parse_flow("check_overlap,in_port=1,actions=2"))
    with pytest.raises(BadInput, match="group:99: is not on bridge br0"):
        bridge.flow_mod(parse_flow("actions=group:99"))
    bridge.flow_mod(parse_flow("ip,actions=group:1"))
    bridge.group_mod(parse_group("group_id=1", command="delete"))
    assert actions_of(bridge) == [(0, 0x8000, 0, [2])], "a group takes its flows along"
    bridge.flow_mod(parse_flow("delete"))
    assert not len(bridge.tables)


def test_ports_that_cannot_be():
    _, bridge = build()
    for wanted in ({"openflow": 1}, {"openflow": 0}, {"tag": 5000}, {"vlan_mode": "access"}, {"trunks": [4096]}):
        with pytest.raises(BadInput, match="port new: "):
            bridge.add_port("new", 50, **wanted)
    with pytest.raises(BadInput, match="port p1: is on bridge br0 already"):
        bridge.add_port("p1", 50)
    assert bridge.add_port("new", 50).openflow == 5


def test_a_bridge_that_goes_takes_its_ports():
    slow, _ = build(["actions=output:2"])
    assert slow.translate(tcp()).actions == (dp.Output(12),)
    slow.remove_bridge("br0")
    assert slow.translate(tcp()).actions == ()
