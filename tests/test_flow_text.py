"""Flow text alone: what is refused says what and why, what is read is written the same way again."""

import subprocess
import sys

import pytest

from pktpath.control.flow_text import dump_flows, parse_flow, parse_flows
from pktpath.control.flow_values import masked_text, value_and_mask
from pktpath.control.group_text import parse_group, parse_meter, parse_meter_number
from pktpath.errors import BadInput
from pktpath.switch import openflow as of
from pktpath.switch.fields import FIELDS, KEY_BITS, key_of, mask_of
from pktpath.switch.groups import GroupMod
from pktpath.switch.meters import Band, MeterConfig
from pktpath.switch.openflow_fields import FIELD_NAMES
from pktpath.switch.rules import Command, FlowMod
from pktpath.switch.tables import Tables

PORTS = {"eth0": 1, "tap1": 2}


@pytest.mark.parametrize(
    ("flow", "said"),
    [
        ("actions=ct(commit)", "'ct(commit)': conntrack (ct) is not there"),
        ("ct_state=+trk,actions=2", "'ct_state=+trk': conntrack (ct) is not there"),
        ("actions=ct_clear", "conntrack (ct) is not there"),
        ("actions=resubmit(,1,ct)", "1,ct"),
        ("actions=learn(table=1),2", "'learn(table=1)': learning flows by flows is not there"),
        ("actions=conjunction(1,1/2)", "conjunctive match is not there"),
        ("conj_id=1,actions=2", "conjunctive match is not there"),
        ("mpls,actions=2", "'mpls': MPLS is not there"),
        ("actions=push_mpls:0x8847", "not there"),
        ("reg0=1,actions=2", "'reg0=1': a register is not there"),
        ("actions=load:1->NXM_NX_REG0[],2", "a register is not there"),
        ("actions=set_field:1->xreg0,2", "a register is not there"),
        ("actions=output:NXM_NX_REG0[]", "a register is not there"),
        ("metadata=1,actions=2", "'metadata=1': metadata is not there"),
        ("actions=write_metadata:1", "metadata is not there"),
        ("actions=encap(nsh)", "encapsulation is not there"),
        ("actions=decap", "encapsulation is not there"),
        ("actions=clone(output:2)", "clone is not there"),
        ("actions=set_queue:1,2", "a queue is not there"),
        ("actions=enqueue:1:2", "a queue is not there"),
        ("actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],2", "action move is not there"),
        ("actions=write_actions(output:2)", "action write_actions is not there"),
        ("actions=exit", "action exit is not there"),
        ("actions=sample(probability=1)", "sampling is not there"),
        ("tun_src=1.2.3.4,actions=2", "tunnel metadata is not there"),
        ("pkt_mark=1,actions=2", "a mark of the kernel is not there"),
        ("actions=output(port=2,max_len=100)", "cutting packets (max_len) is not there"),
        ("actions=fin_timeout(idle_timeout=1)", "action fin_timeout is not there"),
        ("tp_dst=80,actions=2", "tp_dst=80: prerequisites not met: it needs tcp, udp, sctp, icmp"),
        ("ip,tp_dst=80,actions=2", "tp_dst=80: prerequisites not met"),
        ("udp,tcp_dst=80,actions=2", "tcp_dst=80: prerequisites not met: it needs tcp or tcp6"),
        ("nw_src=1.2.3.4,actions=2", "nw_src=1.2.3.4: prerequisites not met: it needs ip or arp"),
        ("ipv6,nw_src=1.2.3.4,actions=2", "nw_src=1.2.3.4: prerequisites not met"),
        ("icmp6,nd_target=::1,actions=2", "nd_target=::1: prerequisites not met: it needs icmp6,icmp_type=135"),
        ("ip,nw_proto=58,icmp_type=1,actions=2", "icmp_type=1: prerequisites not met"),
        ("tcp,tp_dst=80x,actions=2", "tp_dst=80x: not a number"),
        ("tcp,tp_dst,actions=2", "field tp_dst missing value"),
        ("tcp,tp_dst=,actions=2", "field tp_dst missing value"),
        ("tcp,nw_proto=17,actions=2", "nw_proto=17: contradicts"),
        ("tcp,tcp_flags=+syn-bar,actions=2", "tcp_flags: bar is no TCP flag"),
        ("in_port=eth9,actions=2", "in_port=eth9: no port of this bridge"),
        (
            "actions=output:eth9",
            "output=eth9: no port of this bridge, no number from 0 to 65279 and not LOCAL; ports here: eth0",
        ),
        ("vlan_vid=5,actions=2", "vlan_vid=5: without 0x1000"),
        ("icmp,tp_src=300,actions=2", "type and code of ICMP are at most 255"),
        ("actions=set_vlan_vid:5,2", "prerequisites not met for setting dl_vlan"),
        ("tcp,actions=strip_vlan,set_field:3->vlan_pcp", "prerequisites not met for setting vlan_pcp"),
        ("icmp,actions=set_field:3->icmp_type", "writing icmp_type is not there"),
        ("ip,actions=set_field:5->nw_proto", "nw_proto is read-only"),
        ("actions=resubmit(1", "Failed to find matching ')'"),
        ("table=300,actions=2", "table=300: more than 255"),
        ("cookie=1x,actions=2", "cookie=1x: not a number"),
        ("tcp", "must specify an action"),
        ("", "must specify an action"),
        ("\x00,actions=2", "unknown keyword"),
        ("ip,nw_src=10.0.0.1/8/9,actions=2", "10.0.0.1"),
        ("dl_src=0:0:0:0:0:0:0,actions=2", "not an Ethernet address"),
        ("in_port=99999999999999999999999,actions=2", "in_port=9"),
    ],
)
def test_what_is_refused(flow, said):
    with pytest.raises(BadInput) as error:
        parse_flow(flow, PORTS)
    text = str(error.value)
    assert text.startswith("flow '")
    assert said in text
    assert "\n" not in text


def test_a_file_names_the_line():
    flows = parse_flows(["# a table", "", "tcp,actions=2  # web", "delete arp", "delete_strict priority=3,arp"], PORTS)
    assert [(flow.command, flow.priority) for flow in flows] == [
        (Command.ADD, 0x8000), (Command.DELETE, 0x8000), (Command.DELETE_STRICT, 3),
    ]  # fmt: skip
    with pytest.raises(BadInput, match=r"^web.flows:2: flow 'foo=1,actions=2': 'foo=1': unknown keyword foo$"):
        parse_flows(["ip,actions=2", "foo=1,actions=2"], name="web.flows")


def test_what_is_read():
    head = "cookie=0x5,table=3,priority=10,in_port=eth0,tcp,nw_dst=10.0.0.0/8,tp_dst=80,idle_timeout=9"
    flow = parse_flow(f"{head},actions=tap1,dec_ttl", PORTS)
    mask = mask_of("in_port", "dl_type", "nw_proto", "tp_dst") | 0xFF << FIELDS["nw_dst"].shift + 24
    value = key_of(in_port=1, dl_type=0x0800, nw_proto=6, nw_dst=10 << 24, tp_dst=80)
    assert flow == FlowMod(value, mask, 10, 3, (of.Output(2), of.DecTtl()), 5, idle_timeout=9)


@pytest.mark.parametrize(
    ("match", "name", "value", "mask"),
    [
        ("in_port=LOCAL", "in_port", of.LOCAL, 0xFFFFFFFF),
        ("dl_vlan=5", "vlan_tci", 0x1005, 0x1FFF),
        ("dl_vlan_pcp=3", "vlan_tci", 0x7000, 0xF000),
        ("dl_vlan=0xffff", "vlan_tci", 0, 0xFFFF),
        ("vlan_vid=0x1005/0x1fff", "vlan_tci", 0x1005, 0x1FFF),
        ("ip,nw_dst=1.2.3.4/0.0.0.255", "nw_dst", 4, 255),
        ("ip,nw_dst=1.2.3.4/0", "nw_dst", 0, 0),
        ("ip,nw_tos=35", "nw_tos", 32, 0xFC),
        ("ip,ip_dscp=8", "nw_tos", 32, 0xFC),
        ("ip,ip_ecn=3", "nw_tos", 3, 3),
        ("ip,nw_frag=later", "nw_frag", 3, 3),
        ("ip,nw_frag=not_later", "nw_frag", 0, 2),
        ("tcp,tcp_flags=+syn-ack", "tcp_flags", 2, 0x12),
        ("tcp,tcp_flags=syn|ack", "tcp_flags", 0x12, 0xFFF),
        ("tcp,tcp_flags=0x2/0x12", "tcp_flags", 2, 0x12),
        ("icmp,icmp_type=8", "tp_src", 8, 0xFF),
        ("icmp,tp_src=8", "tp_src", 8, 0xFF),
        ("icmp6,icmpv6_type=135,nd_sll=00:00:00:00:00:05", "arp_sha", 5, (1 << 48) - 1),
        ("arp,arp_op=2", "nw_proto", 2, 0xFF),
        ("ipv6,ipv6_label=0xfffff", "ipv6_label", 0xFFFFF, 0xFFFFF),
        ("ipv6,ipv6_dst=fe80::/10", "ipv6_dst", 0xFE80 << 112, 0x3FF << 118),
        ("udp,tp_src=100/0xfff0", "tp_src", 96, 0xFFF0),
        ("tun_id=0x5/0xff", "tun_id", 5, 255),
    ],
)
def test_bits_of_a_match(match, name, value, mask):
    flow = parse_flow(f"{match},actions=drop")
    assert (FIELDS[name].of(flow.value), FIELDS[name].of(flow.mask)) == (value, mask)
    assert not flow.value & ~flow.mask
    assert flow.mask < 1 << KEY_BITS


@pytest.mark.parametrize(
    "flow",
    [
        "priority=10,tcp,in_port=1,nw_dst=10.0.0.0/8,tp_dst=80 actions=output:2",
        "arp,arp_spa=10.0.0.1,arp_op=1 actions=NORMAL",
        "actions=push_vlan:0x8100,mod_vlan_vid:5,output:2",
        "ip actions=meter:1,dec_ttl,output:3,goto_table:7",
        "actions=group:1",
        "dl_vlan=3 actions=load:0x5->NXM_OF_VLAN_TCI[0..7],output:2",
        "tcp actions=load:0x5->NXM_OF_TCP_DST[4..7],output:2",
        "actions=load:0x1122->NXM_OF_ETH_DST[24..47],output:2",
        "tcp,nw_frag=later,tcp_flags=+syn-ack actions=resubmit(2,3),resubmit:4,LOCAL",
    ],
)
def test_dump_and_back(flow):
    tables = Tables(lambda: 5.0)
    tables.apply(parse_flow(flow))
    dump = dump_flows(tables.select(FlowMod()), 6.5)
    assert dump == f" cookie=0x0, duration=1.500s, table=0, n_packets=0, n_bytes=0, idle_age=1, {flow}\n"
    assert parse_flow(dump) == parse_flow(flow)._replace(cookie=0, table=0)


def test_a_masked_write_keeps_its_mask():
    flow = parse_flow("tcp,actions=set_field:0x50/0xf0->tcp_dst,set_field:1.2.3.4/255.255.0.0->nw_dst")
    assert flow.actions == (of.SetField("tcp_dst", 0x50, 0xF0), of.SetField("ip_dst", 0x01020000, 0xFFFF0000))


def test_every_field_reads_what_it_writes():
    for field in FIELD_NAMES.values():
        if field.kind.name in {"FRAGMENT", "PORT", "FLAGS"} or field.key == "vlan_tci":
            continue
        for value, mask in ((0, field.full), (field.full, field.full), (1, 1) if field.maskable else (1, field.full)):
            assert value_and_mask(masked_text(value, mask, field), field, field.name, None) == (value, mask), field.name


def test_groups():
    text = (
        "group_id=5,type=select,selection_method=hash,fields(ip_dst),bucket=weight:2,output:tap1,bucket=bucket_id:7,actions=drop"
    )
    assert parse_group(text, PORTS) == GroupMod(
        "add", 5, "select", ((None, 2, (of.Output(2),)), (7, 1, ())), "hash", (("ip_dst", FIELDS["nw_dst"].mask),)
    )
    assert parse_group("group_id=all", command="delete") == GroupMod("delete", None)


@pytest.mark.parametrize(
    ("group", "said"),
    [
        ("type=all,bucket=2", "must specify a group_id"),
        ("group_id=x,type=all", "group_id=x: not a number"),
        ("group_id=1", "must specify a type"),
        ("group_id=1,type=ff,bucket=watch_port:2,output:2", "type=ff: all, select, indirect"),
        ("group_id=1,type=all,bucket=weight:2,output:2", "'weight:2': not there"),
        ("group_id=1,type=select,bucket=watch_port:2,output:2", "'watch_port:2': not there"),
        ("group_id=1,type=select,selection_method=foo,bucket=2", "selection_method=foo: hash or dp_hash"),
        ("group_id=1,type=select,bucket=ct(commit)", "conntrack (ct) is not there"),
        ("group_id=1,type=select,fields(foo),bucket=2", "fields(foo): not a field"),
        ("group_id=1,type=all,foo=3,bucket=2", "'foo=3': not there"),
    ],
)
def test_groups_that_are_refused(group, said):
    with pytest.raises(BadInput) as error:
        parse_group(group)
    assert said in str(error.value)
    assert str(error.value).startswith(f"group '{group}': ")


def test_meters():
    assert parse_meter("meter=1,kbps,burst,band=type=drop,rate=100,burst_size=50") == MeterConfig(
        1, (Band(100, 50),), False, ("burst",)
    )
    assert parse_meter("meter=2 pktps bands=type=drop rate=5") == MeterConfig(2, (Band(5),), True, ())
    assert parse_meter_number("meter=3") == 3
    assert parse_meter_number("all") is None


@pytest.mark.parametrize(
    "meter",
    ["kbps,band=type=drop,rate=1", "meter=1,kbps", "meter=1,kbps,band=type=dscp_remark,rate=1", "meter=1,kbps,band=type=drop",
     "meter=1,kbps,band=type=drop,rate=1,burst_size=5", "meter=1,kbps,burst,band=type=drop,rate=1",
     "meter=1,foo,band=type=drop,rate=1",
     "meter=1,kbps,pktps,band=type=drop,rate=1", "meter=1,kbps,band=type=drop,rate=-1", "meter=1,kbps,band=rate=1", ""],
)  # fmt: skip
def test_meters_that_are_refused(meter):
    with pytest.raises(BadInput, match=r"^meter '"):
        parse_meter(meter)


def test_the_parser_waits_for_a_flow():
    code = "import sys, pktpath.control.flow_text; sys.exit(bool({'ovs', 'netaddr', 'numpy', 'numba'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
