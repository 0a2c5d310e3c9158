"""Commands that speak of bridges: the replies of a real Open vSwitch on the same bridge, and what is refused."""

import json
import os
import re
import subprocess
import sys

import pytest

from pktpath.cli.ofctl import _VERBS
from pktpath.control.other_text import UpcallView
from pktpath.errors import BadInput
from pktpath.switch.mirror import Mirror
from pktpath.switch.openflow import LOCAL
from support.bridges import NUMBERS, Bridges, Pair, timeless
from support.control_server import Served
from support.open_vswitch import OpenVSwitch, why_unavailable


@pytest.fixture
def mine():
    return Bridges()


@pytest.fixture(scope="module")
def real():
    if missing := why_unavailable():
        pytest.skip(missing)
    with OpenVSwitch() as switch:
        switch.bridge("br0", {"p1": 1, "p2": 2, "p3": 3})
        yield switch


@pytest.fixture
def pair(real):
    found = Pair(real)
    yield found
    real.ofctl("del-groups", found.management)
    real.ofctl("-O", "OpenFlow13", "del-meters", found.management)
    real.vsctl("clear", "bridge", "br0", "mirrors")
    for port in ("p1", "p2", "p3"):
        real.vsctl("clear", "port", port, "tag")


# Traces, beside those of Open vSwitch

OF13 = ("-O", "OpenFlow13")
ROUTER = """\
priority=10,in_port=1,tcp,actions=resubmit(,1),resubmit(,2),output:2
priority=5,arp,actions=NORMAL
priority=7,icmp,cookie=0x7,actions=mod_dl_src:00:00:00:00:00:05,mod_nw_dst:10.0.0.9,resubmit(,4)
table=1,priority=5,tcp,actions=resubmit(,3)
table=2,priority=5,tcp,nw_dst=10.0.0.0/8,actions=dec_ttl,output:LOCAL
table=3,priority=5,tcp,tp_dst=80,actions=mod_dl_src:00:00:00:00:00:01,mod_tp_dst:8080,output:3
priority=2,udp6,actions=dec_ttl,output:1
"""
PORTED = """\
in_port=1,actions=mod_vlan_vid:5,output:2,strip_vlan,output:3
in_port=2,actions=mod_vlan_vid:5,mod_vlan_pcp:3,output:3
in_port=3,actions=controller,in_port,output:3,output:9
in_port=LOCAL,actions=set_tunnel:5,resubmit(,1),flood,all,in_port
table=1,tun_id=5,actions=load:0x7->NXM_OF_ETH_DST[0..7],resubmit(1,2)
table=2,in_port=1,actions=output:3
"""
GROUPED = """\
in_port=1,actions=group:1,output:3
in_port=2,udp,actions=group:2,output:1
in_port=3,tcp,actions=group:3
in_port=LOCAL,actions=group:4,group:2
table=4,tcp,actions=dec_ttl,output:2
table=4,priority=1,actions=drop
"""
GROUPS = (
    "group_id=1,type=all,bucket=bucket_id:0,actions=output:2,bucket=bucket_id:1,actions=mod_dl_dst:00:00:00:00:00:09,output:3",
    "group_id=2,type=all,bucket=bucket_id:7,actions=resubmit(,4),bucket=bucket_id:8,actions=drop",
    "group_id=3,type=select,selection_method=hash,fields=ip_dst,bucket=bucket_id:2,actions=resubmit(,4)",
    "group_id=4,type=indirect,bucket=bucket_id:0,actions=mod_dl_dst:00:00:00:00:00:08,output:3",
)
TAGS = """\
in_port=1,actions=meter:1,push_vlan:0x8100,output:2
in_port=2,actions=push_vlan:0x88a8,output:1,goto_table:3
table=3,tcp,actions=dec_ttl,output:3
"""
CIRCLES = """\
in_port=1,actions=output:2,resubmit(,0)
in_port=2,actions=resubmit(,0),output:3
in_port=3,actions=resubmit(,1),resubmit(,1)
""" + "".join(f"table={table},actions=resubmit(,{table + 1}),resubmit(,{table + 1})\n" for table in range(1, 20))

TRACES = [
    ((), ROUTER, "in_port=1,tcp,tp_dst=80,nw_dst=10.1.2.3,nw_ttl=64"),
    ((), ROUTER, "in_port=1,tcp,tp_dst=80,nw_dst=10.1.2.3,nw_ttl=1,tcp_flags=syn|ack"),
    ((), ROUTER, "in_port=p1,tcp,tp_dst=80,nw_dst=10.1.2.3,nw_ttl=9,dl_vlan=7,dl_vlan_pcp=2"),
    ((), ROUTER, "in_port=2,icmp,icmp_type=8,nw_ttl=3"),
    ((), ROUTER, "in_port=2,arp,arp_op=1,arp_tpa=10.0.0.1,dl_dst=00:00:00:00:00:44"),
    ((), ROUTER, "in_port=br0,arp,dl_vlan=7,arp_sha=00:00:00:00:00:04"),
    ((), ROUTER, "in_port=2,udp6,nw_ttl=1"),
    ((), ROUTER, "in_port=2,arp,dl_dst=01:80:c2:00:00:00"),
    ((), ROUTER, "in_port=3,dl_type=0x88cc,dl_src=00:00:00:00:00:07"),
    ((), PORTED, "in_port=1,tcp"),
    ((), PORTED, "in_port=1,tcp,dl_vlan=9"),
    ((), PORTED, "in_port=2,arp"),
    ((), PORTED, "in_port=3,ip,nw_proto=2,nw_tos=33,nw_frag=first"),
    ((), PORTED, "in_port=3,sctp6,nw_frag=later,ipv6_src=fe80::1,ipv6_label=0x5"),
    ((), PORTED, "in_port=LOCAL,udp6,ipv6_dst=::1,udp_dst=53"),
    ((), PORTED, "in_port=2,icmp6,icmpv6_type=135,icmpv6_code=0,nd_target=fe80::1,nd_sll=00:00:00:00:00:01"),
    ((), GROUPED, "in_port=1,tcp,nw_ttl=7"),
    ((), GROUPED, "in_port=2,udp,nw_ttl=7"),
    ((), GROUPED, "in_port=3,tcp,nw_ttl=7,nw_dst=10.0.0.1"),
    ((), GROUPED, "in_port=LOCAL,tcp,nw_ttl=7"),
    (OF13, TAGS, "in_port=1,tcp"),
    (OF13, TAGS, "in_port=1,tcp,dl_vlan=9"),
    (OF13, TAGS, "in_port=2,tcp,dl_vlan=9,nw_ttl=4"),
    (OF13, TAGS, "in_port=2,rarp,arp_op=4"),
    ((), CIRCLES, "in_port=1,tcp"),
    ((), CIRCLES, "in_port=2,tcp"),
    ((), CIRCLES, "in_port=3,tcp"),
]


@pytest.mark.peer
@pytest.mark.parametrize(("options", "flows", "packet"), TRACES)
def test_traces(pair, options, flows, packet):
    for group in GROUPS if flows is GROUPED else ():
        pair.change("add-group", group)
    if flows is TAGS:
        pair.change("add-meter", "meter=1,kbps,band=type=drop,rate=100", *OF13)
    pair.flows(flows, *options)
    pair.real.appctl("fdb/flush")
    version = pair.mine.slow.version
    ours, theirs = pair.trace(packet)
    assert ours == theirs
    assert pair.mine.slow.version == version
    assert all(not rule.packets for rule in pair.mine.bridge.flows())


@pytest.mark.peer
def test_traces_of_a_learning_switch(pair):
    pair.flows("actions=NORMAL\n")
    for port in ("p1", "p2"):
        pair.real.vsctl("set", "port", port, "tag=10")
        pair.mine.bridge.remove_port(port)
        pair.mine.bridge.add_port(port, int(port[1]), int(port[1]), tag=10)
    pair.real.appctl("netdev-dummy/receive", "p1", "in_port(1),eth(src=00:00:00:00:00:01,dst=ff:ff:ff:ff:ff:ff),eth_type(0x88cc)")
    pair.mine.bridge.macs.learn(10, 1, 1)
    assert pair.mine("fdb/show", "br0") == pair.real.appctl("fdb/show", "br0")
    for packet in (
        "in_port=2,dl_src=00:00:00:00:00:02,dl_dst=00:00:00:00:00:01",
        "in_port=1,dl_src=00:00:00:00:00:03,dl_dst=00:00:00:00:00:01",
        "in_port=LOCAL,dl_vlan=10,ip,dl_dst=00:00:00:00:00:01",
        "in_port=1,dl_vlan=9,tcp",
    ):
        ours, theirs = pair.trace(packet)
        assert ours == theirs
    assert pair.mine("fdb/flush") == pair.real.appctl("fdb/flush")
    assert pair.mine("fdb/flush", "br0") == pair.real.appctl("fdb/flush", "br0")
    assert pair.mine("fdb/show", "br0") == pair.real.appctl("fdb/show", "br0")
    assert pair.mine("ofproto/list") == pair.real.appctl("ofproto/list")


@pytest.mark.peer
def test_a_trace_with_a_mirror(pair):
    pair.flows("actions=output:2\n")
    create = ["--", "--id=@m", "create", "mirror", "name=m", "select-all=true", "output-port=@p"]
    pair.real.vsctl("--", "--id=@p", "get", "port", "p3", *create, "--", "set", "bridge", "br0", "mirrors=@m")
    pair.mine.bridge.mirrors.append(Mirror("m", 3, all=True))
    pair.mine.slow.changed()
    ours, theirs = pair.trace("in_port=1,tcp")
    assert ours == theirs


def test_what_a_mirror_s_port_sends_is_dropped(mine):
    mine.bridge.mirrors.append(Mirror("m", 3, all=True))
    text = mine("ofproto/trace", "br0", "in_port=3,tcp")
    assert "\n     >>>> dropping packet received on port p3, which is reserved exclusively for mirroring <<<<\n" in text
    assert text.endswith("Datapath actions: drop\n")


# Replies, beside those of Open vSwitch

FLOWS = """\
# everything that a line can say
cookie=0x5,table=0,priority=3,idle_timeout=10,in_port=1,actions=resubmit(,1),output:2
table=1,tcp,tp_dst=80,actions=dec_ttl,output:3
table=1,priority=7,hard_timeout=100,arp,actions=drop

table=9,dl_vlan=5,actions=strip_vlan,NORMAL
"""


@pytest.mark.peer
def test_replies(pair):
    pair.flows(FLOWS)
    for group in GROUPS:
        pair.change("add-group", group)
    counted = re.findall(r"table (\d+):\n.*lookup=(\d+), matched=(\d+)", pair.real.ofctl("dump-tables", pair.management))
    for table, lookups, matched in counted:
        counters = pair.mine.bridge.tables.table(int(table)).counters
        counters.lookups, counters.matched = int(lookups), int(matched)
    for verb, *words in (
        ["dump-flows"], ["dump-flows", "table=1"], ["dump-flows", "ip"], ["dump-flows", "cookie=5/-1"],
        ["dump-flows", "out_port=3"], ["dump-aggregate"], ["dump-aggregate", "table=1"], ["dump-aggregate", "in_port=p1"],
        ["dump-tables"], ["dump-groups"], ["dump-groups", "3"], ["dump-groups", "77"],
        ["dump-group-stats"], ["dump-group-stats", "group_id=1"],
    ):  # fmt: skip
        ours, theirs = pair.ask(verb, *words)
        assert timeless(ours) == timeless(theirs), (verb, words)
    pair.change("del-groups", "group_id=3")
    pair.change("mod-group", GROUPS[1].replace("resubmit(,4)", "output:1"))
    ours, theirs = pair.ask("dump-groups")
    assert ours == theirs


@pytest.mark.peer
def test_changes(pair):
    pair.flows(FLOWS)
    pair.change("add-group", GROUPS[0])
    for verb, *words in (
        ["mod-flows", "table=1,actions=output:1"],
        ["mod-flows", "in_port=2,actions=output:3"],
        ["--strict", "mod-flows", "table=1,priority=7,arp,actions=output:2"],
        ["--strict", "del-flows", "table=1,arp"],
        ["--strict", "del-flows", "table=1,priority=7,arp"],
        ["add-flow", "ip,actions=group:1"],
        ["add-flow", "priority=9,ipv6,ipv6_dst=fe80::/10,actions=flood"],
        ["del-flows", "table=9"],
        ["del-groups"],
        ["del-flows"],
    ):
        strict = [word for word in [verb, *words] if word == "--strict"]
        command, *rest = [word for word in [verb, *words] if word != "--strict"]
        pair.real.ofctl(*strict, command, pair.management, *rest)
        pair.mine(f"ofctl/{command}", *strict, "br0", *rest)
        ours, theirs = pair.ask("dump-flows")
        assert sorted(timeless(ours).splitlines()) == sorted(timeless(theirs).splitlines()), (verb, words)
    assert len(ours.splitlines()) == 1


@pytest.mark.peer
def test_meters(pair):
    for meter in ("meter=1,kbps,band=type=drop,rate=100", "meter=7,pktps,burst,stats,band=type=drop,rate=5,burst_size=9"):
        pair.change("add-meter", meter, *OF13)
    pair.flows("in_port=1,actions=meter:1,output:2\nin_port=2,actions=meter:1\n", *OF13)
    for verb, *words in (["dump-meters"], ["dump-meters", "meter=7"], ["meter-stats"], ["meter-stats", "meter=1"]):
        ours, theirs = pair.ask(verb, *words, options=OF13)
        assert timeless(ours) == timeless(theirs), (verb, words)
    pair.change("mod-meter", "meter=1,kbps,band=type=drop,rate=50", *OF13)
    pair.change("del-meters", "meter=7", *OF13)
    ours, theirs = pair.ask("dump-meters", options=OF13)
    assert ours == theirs
    pair.change("del-meters", "meter=1", *OF13)
    for verb, options in (("dump-meters", OF13), ("dump-flows", ())):
        ours, theirs = pair.ask(verb, options=options)
        assert ours == theirs, verb


@pytest.mark.peer
def test_ports(pair):
    def known(text):
        """What is not there: queues; and addresses, which are another's."""
        text = text.replace(" QUEUE_STATS", "").replace("output enqueue", "output")
        return [line.partition("dpid:")[0].partition("addr:")[0] for line in text.splitlines()]

    counted = pair.real.ofctl("dump-ports", pair.management)
    for port, *counts in re.findall(r"port +(\w+): rx pkts=(\d+), bytes=(\d+).*\n +tx pkts=(\d+), bytes=(\d+)", counted):
        names = ("rx_packets", "rx_bytes", "tx_packets", "tx_bytes")
        pair.mine.counters["br0" if port == "LOCAL" else f"p{port}"].update(zip(names, map(int, counts), strict=True))

    for verb, *words in (
        ["show"], ["dump-ports-desc"], ["dump-ports"], ["dump-ports", "2"], ["dump-ports", "p1"], ["dump-ports", "LOCAL"],
        ["dump-ports", "99"],
    ):  # fmt: skip
        ours, theirs = pair.ask(verb, *words)
        assert known(ours) == known(theirs), (verb, words)
    for action in ("no-flood", "flood"):
        pair.mine("ofctl/mod-port", "br0", "p1", action)
        pair.real.ofctl("mod-port", pair.management, "p1", action)
        ours, theirs = pair.ask("show")
        assert known(ours) == known(theirs)
        assert ("NO_FLOOD" in ours) == (action == "no-flood")
        assert ("Datapath actions: 1,3" in mine_flood(pair.mine)) == (action == "flood")


def mine_flood(bridges):
    bridges("ofctl/replace-flows", "br0", "actions=flood")
    return bridges("ofproto/trace", "br0", "in_port=2,arp")


# What does not need a judge


def test_every_verb_of_the_command_line_is_served(mine):
    assert {f"ofctl/{verb}" for verb in _VERBS} <= set(mine("list-commands").split())
    for verb, (_, most) in _VERBS.items():
        with pytest.raises(BadInput, match=r"^nobr: no such bridge; bridges here: br0$"):
            mine(f"ofctl/{verb}", "nobr", *["x"] * most)


def test_counters_are_fresh_and_changes_are_saved(mine):
    for verb in ("dump-flows", "dump-aggregate", "dump-tables", "dump-group-stats", "meter-stats"):
        before = mine.refreshed
        mine(f"ofctl/{verb}", "br0")
        assert mine.refreshed == before + 1
    assert not mine.saved
    mine("ofctl/add-flow", "br0", "ip,actions=2")
    mine("ofctl/add-meter", "br0", "meter=1,kbps,band=type=drop,rate=100")
    assert mine.saved == 2
    with pytest.raises(BadInput):
        mine("ofctl/add-flow", "br0", "ip,actions=fly")
    assert mine.saved == 2


def test_a_file_is_taken_whole_or_not_at_all(mine):
    before = mine("ofctl/dump-flows", "br0")
    for text, error in (
        ("ip,actions=2\nip,actions=fly\n", "flows.txt:2: flow 'ip,actions=fly': 'fly': unknown action fly"),
        ("ip,actions=2\narp,actions=group:9\n", "group:9: is not on bridge br0 (add-group adds it)"),
        ("ip,actions=2\ncheck_overlap,tcp,actions=3\n", "check_overlap: a flow of priority 32768 in table 0 may match"),
    ):
        for verb in ("add-flows", "replace-flows"):
            with pytest.raises(BadInput) as caught:
                mine(f"ofctl/{verb}", "br0", text, "flows.txt")
            assert str(caught.value).startswith(error)
            assert mine("ofctl/dump-flows", "br0") == before
    mine("ofctl/add-flows", "br0", "check_overlap,ip,actions=2\n# none\n\ndelete arp\n", "flows.txt")
    assert len(mine.bridge.flows()) == 2
    before = mine("ofctl/dump-groups", "br0")
    for text, error in (
        (f"{GROUPS[0]}\n{GROUPS[0]}\n", "g:2: group_id=1: is there already"),
        (f"{GROUPS[0]}\nmodify group_id=4,type=all", "g:2: group_id=4: is not there"),
        (f"{GROUPS[0]}\ngroup_id=2,type=indirect\n", "g:2: group_id=2: type=indirect has one bucket, not 0"),
        (f"{GROUPS[0]}\ngroup_id=2,type=all,bucket=group:8\n", "g:2: group:8: is not on bridge br0"),
        ("group_id=2,type=all\nfly\n", "g:2: group 'fly': 'fly': not there"),
    ):
        with pytest.raises(BadInput) as caught:
            mine("ofctl/add-groups", "br0", text, "g")
        assert str(caught.value).startswith(error)
        assert mine("ofctl/dump-groups", "br0") == before
    mine("ofctl/add-groups", "br0", f"# two\n{GROUPS[0]}\nadd_or_mod group_id=2,type=all,bucket=group:1\n")
    assert list(mine.bridge.groups) == [1, 2]
    mine("ofctl/add-groups", "br0", "delete group_id=1\n")
    assert list(mine.bridge.groups) == [2]


def test_replacing_keeps_what_stays(mine):
    mine("ofctl/replace-flows", "br0", "ip,actions=2\narp,actions=3\nipv6,cookie=1,actions=3")
    for rule in mine.bridge.flows():
        rule.packets = 7
    mine.now += 10
    mine("ofctl/replace-flows", "br0", "ip,actions=2\narp,actions=2\nipv6,cookie=2,actions=3\ntable=1,ip,actions=1")
    assert sorted(rule.packets for rule in mine.bridge.flows()) == [0, 0, 0, 7]
    with pytest.raises(BadInput, match="f: delete: a file for replace-flows"):
        mine("ofctl/replace-flows", "br0", "delete ip", "f")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["ofctl/dump-flows", "br0", "fly=1"], "flow 'fly=1': 'fly=1': unknown keyword fly"),
        (["ofctl/add-flow", "br0", "in_port=p9,actions=1"], "in_port=p9: no port of this bridge"),
        (["ofctl/add-flow", "--strict", "br0"], "--strict is for mod-flows and del-flows, not for add-flow"),
        (["ofctl/mod-flows", "br0", "a", "b"], "mod-flows takes a bridge and a flow"),
        (["ofctl/del-flows", "br0", "ip", "arp"], "del-flows takes a bridge and at most one flow"),
        (["ofctl/mod-flows", "br0", "ip"], "must specify an action"),
        (["ofctl/del-flows", "--strict"], "del-flows takes a bridge"),
        (["ofctl/dump-ports", "br0", "p9"], "port=p9: no port of this bridge"),
        (["ofctl/mod-port", "br0", "9", "flood"], "port 9: is not on bridge br0"),
        (["ofctl/mod-port", "br0", "p1", "down"], "mod-port p1 down: is not there; flood and no-flood are"),
        (["ofctl/dump-groups", "br0", "x"], "group_id=x: not a number"),
        (["ofctl/dump-meters", "br0", "meter=3"], "meter=3: is not on bridge br0"),
        (["ofctl/fly", "br0"], '"ofctl/fly" is not a valid command'),
        (["fdb/show", "br1"], "br1: no such bridge; bridges here: br0"),
        (["fdb/flush", "br1"], "br1: no such bridge"),
        (["fdb/stats-show", "br1"], "br1: no such bridge"),
        (["ofproto/trace", "br1", "in_port=1"], "br1: no such bridge"),
        (["ofproto/trace", "br0"], "ofproto/trace br0: a flow is missing"),
        (["ofproto/trace", "br0", "in_port=1", "-generate"], "-generate: is not there: a trace changes nothing"),
        (["ofproto/trace", "br0", "in_port=1", "ffff"], "ffff: may not follow the flow"),
        (["ofproto/trace", "in_port(1),eth_type(0x0800)"], "a flow of the datapath is not understood here"),
        (["ofproto/trace", "br0", "in_port(1),eth_type(0x0800)"], "a flow of the datapath is not understood here"),
        (["ofproto/trace", "br0", "tcp"], "Bad openflow flow syntax: tcp: in_port is missing; ports here: br0, p1, p2, p3"),
        (["ofproto/trace", "br0", "in_port=77"], "in_port=77: no port of this bridge; ports here"),
        (["ofproto/trace", "br0", "in_port=1,fly=1"], "Bad openflow flow syntax: in_port=1,fly=1: 'fly=1': unknown field fly"),
        (["ofproto/trace", "br0", "in_port=1,tp_dst=80"], "prerequisites not met"),
        (["ofproto/trace", "br0", "in_port=1,in_port=2"], "field in_port set multiple times"),
        (["ofproto/trace", "br0", "in_port=1,nw_src"], "field nw_src missing value"),
        (["ofproto/trace", "br0", "in_port=1,ip,nw_src=10.0.0.0/8"], "bad value for nw_src (10.0.0.0/8: wildcards not allowed"),
        (["ofproto/trace", "br0", "in_port=1,tcp,tcp_flags=+syn"], "bad value for tcp_flags (+syn: wildcards not allowed here)"),
        (["ofproto/trace", "br0", "in_port=1,ip,actions=drop"], "unknown field actions"),
        (["ofproto/trace", "br0", "in_port=1,reg0=1"], "a register is not there"),
    ],
)
def test_what_is_refused(mine, words, text):
    with pytest.raises(BadInput) as caught:
        mine(*words)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_ports_have_the_address_of_their_interface(mine):
    none = "00:00:00:00:00:00"
    mine.addresses |= {NUMBERS["p2"]: "02:00:00:00:00:22", NUMBERS["br0"]: "02:00:00:00:00:bb"}
    for text in (mine("ofctl/show", "br0"), mine("ofctl/dump-ports-desc", "br0")):
        found = dict(re.findall(r"\((\w+)\): addr:(\S+)", text))
        assert found == {
            "p1": none,
            "p2": "02:00:00:00:00:22",
            "p3": none,
            "br0": "02:00:00:00:00:bb",
        }
    assert "dpid:00000200000000bb\n" in mine("ofctl/show", "br0")


def test_addresses(mine):
    version = mine.slow.version
    mine("fdb/flush")
    assert mine.slow.version == version
    mine.bridge.macs.learn(5, 0xAB, LOCAL)
    mine.now += 7.9
    assert mine("fdb/show", "br0").splitlines()[1:] == ["LOCAL     5  00:00:00:00:00:ab    7"]
    assert "table: 1/8192\n" in mine("fdb/stats-show", "br0")
    mine("fdb/flush", "br0")
    assert mine.slow.version > version
    assert len(mine.bridge.macs) == 0


def test_events_and_their_rates(mine):
    mine.sample()
    for _ in range(60):
        mine.now += 5
        mine.counters["p1"]["drop_ring_full"] = mine.counters["p1"].get("drop_ring_full", 0) + 10
        mine.bridge.macs.learned += 1
        mine.sample()
    mine.now += 5
    text = mine("coverage/show")
    assert text.splitlines()[1].split() == ["port_drop_ring_full", "0.0/sec", "1.833/sec", "0.1667/sec", "total:", "600"]
    assert "mac_learning_learned       0.0/sec     0.183/sec        0.0167/sec   total: 60\n" in text
    assert text.endswith("events never hit\n")
    # Cleared: no rate below zero.
    mine.counters["p1"]["drop_ring_full"] = 1
    assert " 0.0/sec     0.000/sec        0.0003/sec   total: 1\n" in mine("coverage/show")


def test_what_there_is_of_everything(mine):
    mine("ofctl/add-group", "br0", GROUPS[0])
    text = mine("memory/show")
    assert text == "bridges:1 groups:1 macs:0 masks:0 megaflows:0 meters:0 ports:4 rules:1 workers:0\n"
    assert "upcall/show" not in mine.commands
    told = Bridges(upcalls=lambda: UpcallView(3, 5, 200_000, 1, ((0, 3),)))
    assert "(current 0) (avg 3) (max 5) (limit 200000)" in told("upcall/show")


# The command line, end to end


@pytest.fixture
def cli(tmp_path, mine):
    def run(*words, text=None):
        command = [sys.executable, "-m", "pktpath", *words]
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, input=text)

    (tmp_path / "pktpath").mkdir()
    with Served(tmp_path / "pktpath" / "lab.ctl", mine.commands) as served:
        run.path = served.path
        yield run


def test_the_command_line(cli, mine, tmp_path):
    file = tmp_path / "flows.txt"
    file.write_text("in_port=1,tcp,tp_dst=80,actions=output:p2\narp,actions=flood\n")
    assert cli("ofctl", "replace-flows", "br0", str(file)).stdout == ""
    done = cli("ofctl", "dump-flows", "br0", "tcp")
    head = "NXST_FLOW reply (xid=0x8):\n cookie=0x0, duration=0s, table=0, n_packets=0, n_bytes=0, idle_age=0, "
    assert (done.returncode, done.stdout) == (0, f"{head}tcp,in_port=1,tp_dst=80 actions=output:2\n")
    assert cli("ofctl", "add-flows", "br0", "-", text="ip,actions=fly\n").stderr == (
        "pktpath: standard input:1: flow 'ip,actions=fly': 'fly': unknown action fly\n"
    )
    assert cli("ofctl", "--strict", "del-flows", "br0", "arp").returncode == 0
    assert len(mine.bridge.flows()) == 1
    assert json.loads(cli("ofctl", "dump-aggregate", "br0", "--json").stdout)["lines"] == [
        "NXST_AGGREGATE reply (xid=0x4): packet_count=0 byte_count=0 flow_count=1"
    ]
    done = cli("ofctl", "show", "br7")
    assert (done.returncode, done.stderr) == (2, "pktpath: br7: no such bridge; bridges here: br0\n")
    assert "Datapath actions: 2\n" in cli("appctl", "ofproto/trace", "br0", "in_port=1,tcp,tp_dst=80").stdout


@pytest.mark.peer
def test_ovs_appctl_asks_too(cli):
    if missing := why_unavailable():
        pytest.skip(missing)
    command = ["ovs-appctl", "-t", cli.path, "ofproto/trace", "br0", "in_port=1,arp"]
    assert "flooding" in subprocess.check_output(command, text=True)
