"""Megaflows as text: what a real Open vSwitch prints of its own, from the same values."""

import re

import pytest

from pktpath.control.dp_actions_text import actions_text
from pktpath.control.dp_groups import group_text, tcp_flags_text
from pktpath.control.dp_text import bridge_flow_dump, counters_text, flow_dump, flow_text, match_text, miniflow_bits, ufid_text
from pktpath.switch import actions as act
from pktpath.switch.fields import key_of, mask_of
from pktpath.switch.views import FlowView
from support.dp_parse import parse_dump
from support.open_vswitch import OpenVSwitch, why_unavailable

FLOWS = """\
table=0,priority=1,in_port=1,actions=resubmit(,1)
table=0,priority=1,in_port=2,actions=resubmit(,1)
table=1,priority=10,tcp,tp_dst=80,actions=2
table=1,priority=10,tcp,tp_dst=0x100/0xff00,nw_src=10.0.0.0/8,actions=2,LOCAL
table=1,priority=20,tcp,tcp_flags=+syn-ack,tp_dst=81,actions=2
table=1,priority=20,tcp,tcp_flags=+ack,tp_dst=82,actions=mod_dl_src:00:00:00:00:00:01,2
table=1,priority=10,udp,tp_dst=53,actions=mod_nw_src:1.2.3.4,mod_tp_dst:99,mod_nw_tos:0x20,dec_ttl,2
table=1,priority=10,udp6,tp_dst=53,actions=set_field:fe80::1->ipv6_dst,mod_tp_src:98,dec_ttl,set_field:0x12345->ipv6_label,2
table=1,priority=10,arp,arp_op=1,arp_tpa=10.0.0.5,actions=2
table=1,priority=5,arp,actions=2
table=1,priority=10,icmp,icmp_type=8,actions=push_vlan:0x8100,set_field:4196->vlan_vid,2
table=1,priority=10,icmp,icmp_type=0,icmp_code=0,actions=2,push_vlan:0x88a8,set_field:4197->vlan_vid,set_field:3->vlan_pcp,LOCAL
table=1,priority=11,icmp6,icmp_type=135,nd_target=fe80::5,actions=2
table=1,priority=10,icmp6,actions=2
table=1,priority=30,dl_vlan=5,actions=strip_vlan,2
table=1,priority=30,dl_vlan=6,dl_vlan_pcp=2,actions=mod_vlan_vid:7,2
table=1,priority=10,ip,nw_proto=132,actions=2
table=1,priority=10,ip,nw_proto=47,nw_tos=0x20,nw_ttl=9,actions=drop
table=1,priority=12,ip,nw_frag=later,actions=2
table=1,priority=12,ip,nw_frag=first,actions=1,2
table=1,priority=1,dl_type=0x88cc,actions=controller
table=1,priority=1,dl_type=0x1234,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,actions=controller(max_len=100,id=7),2
table=1,priority=10,ipv6,ipv6_src=2001:db8::/32,nw_proto=99,ipv6_label=0x5/0xf,actions=2
table=1,priority=10,tcp,tp_dst=90,actions=meter:1,2
table=1,priority=10,tcp,tp_dst=91,actions=mod_dl_dst:00:00:00:00:00:02,mod_tp_src:5,2,mod_nw_dst:9.9.9.9,LOCAL
table=1,priority=10,tcp,tp_dst=92,actions=load:0x5->NXM_OF_ETH_DST[0..7],2
table=1,priority=40,dl_vlan=10,actions=2
table=1,priority=40,tcp,tp_dst=700,tcp_flags=0x12,actions=2
table=1,priority=40,tcp,tp_dst=701,tcp_flags=0x0,actions=2
table=1,priority=39,dl_vlan_pcp=5,dl_dst=50:54:00:00:00:77,actions=2
table=1,priority=41,ip,nw_proto=6,nw_ecn=1,nw_src=10.0.0.7,actions=2
table=1,priority=41,ipv6,ipv6_src=::ffff:1.2.3.4,actions=2
table=1,priority=41,sctp,tp_dst=5,actions=mod_tp_dst:6,2
table=1,priority=41,rarp,arp_tha=50:54:00:00:00:01,actions=2
table=1,priority=45,dl_src=02:00:00:00:00:00/ff:00:00:00:00:00,actions=NORMAL
"""
E1 = "in_port(1),eth(src=50:54:00:00:00:09,dst=50:54:00:00:00:0a)"


def ip4(protocol, more="", *, src="10.0.0.1", tos=0, ttl=64, frag="no"):
    fields = f"src={src},dst=10.0.0.2,proto={protocol},tos={tos},ttl={ttl},frag={frag}"
    return f"eth_type(0x0800),ipv4({fields}){more}"


def ip6(protocol, more="", *, src="2001:db8::1", label=0, frag="no"):
    fields = f"src={src},dst=2001:db8::2,label={label},proto={protocol},tclass=0x70,hlimit=128,frag={frag}"
    return f"eth_type(0x86dd),ipv6({fields}){more}"


def tagged(vid, pcp, inner):
    return f"eth_type(0x8100),vlan(vid={vid},pcp={pcp}),encap({inner})"


def arp(kind, target, operation):
    return f"eth_type({kind}),arp(sip=10.0.0.1,tip={target},op={operation},sha=50:54:00:00:00:09,tha=00:00:00:00:00:00)"


PACKETS = [
    *(ip4(6, f",tcp(src=8,dst={port}),tcp_flags({flags})") for port in (80, 256, 81, 82, 90, 91, 92, 700, 701)
      for flags in ("0x012", "0x002", "0x010", "0x000", "0x1ff")),
    ip4(17, ",udp(src=8,dst=53)"),
    ip6(17, ",udp(src=8,dst=53)"),
    ip6(6, ",tcp(src=8,dst=80)"),
    ip6(99, label="0x15"),
    ip6(6, ",tcp(src=1,dst=2)", src="::ffff:1.2.3.4"),
    ip6(6, frag="later"),
    ip6(6, ",tcp(src=1,dst=2)", frag="first"),
    arp("0x0806", "10.0.0.5", 1),
    arp("0x0806", "10.0.0.6", 2),
    arp("0x8035", "10.0.0.6", 3),
    ip4(1, ",icmp(type=8,code=0)"),
    ip4(1, ",icmp(type=0,code=0)"),
    ip6(58, ",icmpv6(type=135,code=0),nd(target=fe80::5,sll=50:54:00:00:00:09,tll=00:00:00:00:00:00)"),
    ip6(58, ",icmpv6(type=128,code=0)"),
    *(tagged(vid, 2, ip4(1, ",icmp(type=8,code=0)")) for vid in (5, 6, 9, 10)),
    tagged(3, 6, ip4(1, ",icmp(type=8,code=0)")),
    tagged(0, 0, ip4(6, ",tcp(src=1,dst=2)")),
    tagged(12, 5, ip4(6, ",tcp(src=1,dst=2)")),
    ip4(132, ",sctp(src=8,dst=80)"),
    ip4(132, ",sctp(src=8,dst=5)"),
    ip4(47, tos="0x20", ttl=9),
    ip4(17, frag="later"),
    ip4(17, ",udp(src=1,dst=2)", frag="first"),
    ip4(6, ",tcp(src=1,dst=2)", frag="first"),
    ip4(6, ",tcp(src=1,dst=2)", src="10.0.0.7", tos="0x1"),
    "eth_type(0x88cc)",
    "eth_type(0x1234)",
    "eth_type(0x1235)",
]  # fmt: skip


@pytest.fixture(scope="module")
def switch():
    if missing := why_unavailable():
        pytest.skip(missing)
    with OpenVSwitch() as switch:
        switch.bridge("br0", {"p1": 1, "p2": 2}, "fail-mode=secure")
        management = f"unix:{switch.rundir}/br0.mgmt"
        switch.ofctl("-O", "OpenFlow13", "add-meter", management, "meter=1,kbps,band=type=drop,rate=1000")
        table = switch.rundir / "flows.txt"
        table.write_text(FLOWS)
        switch.ofctl("-O", "OpenFlow13", "add-flows", management, str(table))
        # A mask within the priority of a tag: only the extension of Open vSwitch has that.
        switch.ofctl("add-flow", management, "table=0,priority=42,vlan_tci=0x9003/0x9fff,actions=2")
        # Nothing ages while we look.
        switch.appctl("time/stop")
        yield switch


def injected(switch):
    """Send all packets, some of them twice, and return the text of a dump with each of the words."""
    switch.appctl("dpctl/del-flows")
    for packet in PACKETS:
        switch.appctl("netdev-dummy/receive", "p1", f"{E1},{packet}")
    switch.appctl("time/warp", "100")
    for packet in PACKETS[::3]:
        switch.appctl("netdev-dummy/receive", "p1", f"{E1},{packet}")
    tail = "in_port(1),eth(src=02:00:00:00:00:01,dst=50:54:00:00:00:0a)," + ip4(2)
    switch.appctl("netdev-dummy/receive", "p1", tail)
    switch.appctl("netdev-dummy/receive", "p1", "01020304050601020304050600" + "2e010203040506")
    return {words: switch.appctl("dpctl/dump-flows", *words) for words in ((), ("-m",), ("--names",), ("-m", "--no-names"))}


def ports_of(switch):
    found = re.findall(r"port (\d+): (\S+)", switch.appctl("dpctl/show"))
    return {int(number): name for number, name in found}


def neutral(line):
    """A line without what is not ours to say: the identity of a flow, and of a state kept for the controller."""
    return re.sub(r"recirc_id=\d+,rule", "recirc_id=0,rule", re.sub(r"ufid:[0-9a-f-]+", "ufid:", line))


@pytest.mark.peer
def test_lines_are_those_of_open_vswitch(switch):
    names = ports_of(switch)
    dumps = injected(switch)
    flows = parse_dump(dumps["-m",], {name: number for number, name in names.items()})
    assert len(flows) >= 40
    assert "vlan(vid=3,pcp=6/0x4)" in dumps[()]
    for words, text in dumps.items():
        lines = [neutral(line) for line in text.splitlines() if "slow_path" not in line]
        more, with_names = "-m" in words, words in {("-m",), ("--names",)}
        ours = flow_dump([flow for flow, _, _ in flows], names if with_names else None, more=more)
        assert [neutral(line) for line in ours.splitlines()] == lines


@pytest.mark.peer
def test_lines_of_a_bridge_are_those_of_open_vswitch(switch):
    names = ports_of(switch)
    flows = [flow for flow, _, _ in parse_dump(injected(switch)["-m",], {name: number for number, name in names.items()})]
    for words, table, more in ((["br0"], None, False), (["-m", "br0"], names, True), (["--names", "br0"], names, False)):
        theirs = switch.appctl("dpif/dump-flows", *words).splitlines()
        ours = bridge_flow_dump(flows, table, more=more).splitlines()
        assert [neutral(line) for line in ours] == [neutral(line) for line in theirs if "slow_path" not in line]


def test_the_judge_is_not_always_content():
    """A mask bit more, another name, another order: each is another line."""
    key, mask = key_of(in_port=1, dl_type=0x0800, nw_proto=6, tp_dst=80), mask_of("in_port", "dl_type", "nw_proto", "nw_frag")
    texts = {match_text(key, mask), match_text(key, mask | mask_of("tp_dst")), match_text(key, mask, {1: "p1"})}
    texts |= {match_text(key, mask, more=True), match_text(key, mask | mask_of("nw_src"))}
    assert len(texts) == 5


def flow(**changes):
    values = {"key": key_of(in_port=1, dl_type=0x88CC), "mask": mask_of("in_port", "dl_type"), "actions": (), "packets": 3,
              "size": 180, "idle": None, "tcp_flags": 0, "core": None, "number": 7}  # fmt: skip
    return FlowView(**{**values, **changes})


def test_a_dump_is_in_order_of_threads():
    text = flow_dump([flow(core=None), flow(core=3, packets=1), flow(core=1, packets=2), flow(core=3)])
    starts = [line.partition(",")[0] for line in text.splitlines()]
    one = "recirc_id(0)"
    head = "flow-dump from pmd on cpu core: "
    assert starts == [f"{head}1", one, f"{head}3", one, one, "flow-dump from the main thread:", one]
    assert flow_dump([]) == ""


def test_counters():
    assert counters_text(flow()) == "packets:3, bytes:180, used:never"
    assert counters_text(flow(idle=0.0, tcp_flags=0x1A)) == "packets:3, bytes:180, used:0.000s, flags:SP."
    assert counters_text(flow(idle=12.3456, tcp_flags=0xBFF)).endswith("used:12.346s, flags:SFPRU.ECN[200][800]")


def test_an_identity_stays():
    assert ufid_text(7) == ufid_text(7) != ufid_text(8)
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", ufid_text(1 << 100))
    assert flow_text(flow(), more=True).startswith(f"ufid:{ufid_text(7)}, skb_priority(0/0),")


def test_actions():
    tcp = key_of(dl_type=0x0800, nw_proto=6, vlan_tci=0x1005)
    assert actions_text(()) == "drop"
    assert actions_text((act.Output(1), act.Output(9)), 0, {1: "p1"}) == "p1,9"
    # Writes of one group stand together, in the order of the group, as long as nothing is between them.
    writes = (act.Set("nw_ttl", 63, 255), act.Set("nw_src", 1, (1 << 32) - 1), act.Output(1), act.Set("nw_ttl", 62, 255))
    assert actions_text(writes, tcp) == "set(ipv4(src=0.0.0.1,ttl=63)),1,set(ipv4(ttl=62))"
    assert actions_text((act.Set("dl_dst", 5, 255), act.Set("dl_dst", 0x600, 0xFF00)), tcp) == (
        "set(eth(dst=00:00:00:00:06:05/00:00:00:00:ff:ff))"
    )
    # A tag is written by another tag, which keeps what is not written of the one before.
    assert actions_text((act.Set("vlan_tci", 0x6000, 0xE000), act.Output(2)), tcp) == "pop_vlan,push_vlan(vid=5,pcp=3),2"
    assert actions_text((act.PopVlan(), act.PushVlan(0x88A8, 0x2003), act.Set("vlan_tci", 4, 0xFFF)), tcp) == (
        "pop_vlan,push_vlan(tpid=0x88a8,vid=3,pcp=1),pop_vlan,push_vlan(vid=4,pcp=1)"
    )
    assert actions_text((act.Meter(3), act.Controller(128, 1, 0)), tcp) == (
        "meter(3),userspace(pid=0,controller(reason=0,dont_send=0,continuation=0,recirc_id=0,rule_cookie=0,controller_id=1,max_len=128))"
    )


@pytest.mark.parametrize(
    ("key", "write", "text"),
    [
        (key_of(dl_type=0x86DD, nw_proto=17), act.Set("tp_src", 1, 0xFFFF), "set(udp(src=1))"),
        (key_of(dl_type=0x86DD, nw_proto=58), act.Set("tp_src", 1, 0xFFFF), "set(icmpv6(type=1))"),
        (key_of(dl_type=0x86DD), act.Set("nw_tos", 0x20, 0xFC), "set(ipv6(tclass=0x20/0xfc))"),
        (key_of(dl_type=0x86DD), act.Set("nw_ttl", 1, 0xFF), "set(ipv6(hlimit=1))"),
        (key_of(dl_type=0x86DD), act.Set("arp_sha", 1, (1 << 48) - 1), "set(nd(sll=00:00:00:00:00:01))"),
        (key_of(dl_type=0x86DD), act.Set("nd_target", 1, (1 << 128) - 1), "set(nd(target=::1))"),
        (key_of(dl_type=0x0806), act.Set("arp_sha", 1, (1 << 48) - 1), "set(arp(sha=00:00:00:00:00:01))"),
        (key_of(dl_type=0x0806), act.Set("nw_proto", 2, 0xFF), "set(arp(op=2))"),
        (key_of(dl_type=0x0806), act.Set("nw_src", 2, (1 << 32) - 1), "set(arp(sip=0.0.0.2))"),
        (key_of(dl_type=0x0800), act.Set("nw_dst", 0, 0xFF), "set(ipv4(dst=0.0.0.0/0.0.0.255))"),
    ],
)
def test_a_write_is_named_as_the_packet_is(key, write, text):
    assert actions_text((write,), key) == text


def test_every_field_that_can_be_written_has_words():
    for name in act.SETTABLE:
        for kind in (0x0800, 0x86DD, 0x0806):
            assert actions_text((act.Set(name, 1, 1),), key_of(dl_type=kind)) != "drop"


def test_a_tag_that_was_not_looked_at():
    key = key_of(in_port=1, vlan_tci=0x5003, dl_type=0x1234)
    mask = mask_of("in_port", "dl_type")
    assert match_text(key, mask) == "recirc_id(0),in_port(1),packet_type(ns=0,id=0),eth_type(0x1234)"
    more = match_text(key, mask, more=True)
    assert "eth_type(0x8100),vlan(vid=3/0x0,pcp=2/0x0),encap(eth_type(0x1234))" in more


def test_rare_masks():
    assert tcp_flags_text(0xA00, 0xFFF) == "[200]|[800]"
    assert tcp_flags_text(0, 0x801) == "-fin-[800]"
    assert group_text("tunnel", key_of(tun_id=5), mask_of("tun_id")) == "tunnel(tun_id=0x5)"
    key = key_of(in_port=1, dl_type=0x0800, tun_id=5)
    assert match_text(key, mask_of("tun_id", "dl_type")).startswith("tunnel(tun_id=0x5),recirc_id(0),")
    assert "eth_type(0x0800/0x0800)" in match_text(key, key_of(dl_type=0x0800))
    assert miniflow_bits(0) == "miniflow_bits(4,0)"
    assert miniflow_bits((1 << 1024) - 1) == "miniflow_bits(6,11)"
