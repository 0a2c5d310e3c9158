"""The slow path beside a real Open vSwitch: the same actions, no megaflow that covers less, the same text of flows."""

import re
import time
from pathlib import Path

import pytest

from pktpath.control.flow_match import match_text
from pktpath.control.flow_text import dump_flows, parse_flow
from pktpath.control.group_text import group_text, meters_text, parse_group, parse_meter
from pktpath.control.trace_text import trace_text
from pktpath.control.trace_tree import trace
from pktpath.errors import BadInput
from pktpath.switch import openflow as of
from pktpath.switch.fields import FIELDS, mask_of
from pktpath.switch.xlate import Slow
from support.open_vswitch import open_vswitch, without_times  # noqa: F401  the fixture
from support.ovs_words import actions_words, megaflow_mask

pytestmark = pytest.mark.peer

PORTS = {"p1": 1, "p2": 2, "p3": 3, "p4": 4}
LOCAL = 100
"""Datapath number of the bridge's own port in a dummy switch."""
ALL_VERSIONS = "protocols=OpenFlow10,OpenFlow11,OpenFlow12,OpenFlow13,OpenFlow14,OpenFlow15"


@pytest.fixture(scope="module")
def beside(open_vswitch):  # noqa: F811
    open_vswitch.bridge("br0", PORTS, ALL_VERSIONS)
    return open_vswitch


def ours(flows=()):
    slow = Slow()
    bridge = slow.add_bridge("br0", fail_mode="secure")
    for name, number in PORTS.items():
        bridge.add_port(name, number, number)
    bridge.add_port("br0", LOCAL, of.LOCAL)
    bridge.flow_mods(parse_flow(flow, bridge.numbers()) for flow in flows)
    return slow, bridge


CASES = Path(__file__).parent / "cases"


def lines_of(name):
    return [line for line in (CASES / name).read_text().splitlines() if line and not line.startswith("#")]


def tables():
    """Name -> flows, and packets that are traced through them."""
    found = {}
    for line in lines_of("ovs_tables.txt"):
        kind, _, text = line.partition(" ")
        if kind == "table":
            name = text
            found[name] = ([], [])
        else:
            found[name][kind == "packet"].append(text)
    return found


TABLES = tables()


def key_of_text(packet):
    """A packet as ofproto/trace takes it, as a key; what it does not name is 0."""
    mod = parse_flow(packet + ",actions=drop", PORTS)
    number = FIELDS["in_port"].of(mod.value)
    return FIELDS["in_port"].put(mod.value, LOCAL if number == of.LOCAL else number)


@pytest.mark.parametrize("name", TABLES)
def test_same_actions_and_no_narrower_megaflow(beside, name):
    flows, packets = TABLES[name]
    slow, _ = ours(flows)
    beside.ofctl("del-flows", "br0")
    for flow in flows:
        beside.ofctl("add-flow", "br0", flow)
    for packet in packets:
        said = beside.appctl("ofproto/trace", "br0", packet)
        key = key_of_text(packet)
        answer = slow.translate(key, learn=False)
        theirs = re.search(r"Datapath actions: (.*)", said).group(1)
        wanted = re.sub(r"userspace\(.*?reason=(\d).*?\)\)", r"controller(\1)", theirs)
        got = actions_words(answer.actions, key)
        if "FLOOD" in said or "flooding" in said or "ALL" in said:
            wanted, got = (",".join(sorted(one.split(","))) for one in (wanted, got))
        assert got == wanted, packet
        mask = megaflow_mask(re.search(r"Megaflow: (.*)", said).group(1))
        # Open vSwitch does not print that there is no tag, nor count that it looked at the fragment bits of what has none.
        shown = ~mask_of("in_port", "nw_frag", *([] if FIELDS["vlan_tci"].of(key) else ["vlan_tci"]))
        said = f"{packet}: {match_text(key, answer.mask)}\n{said}"
        assert (answer.mask & shown).bit_count() <= (mask & shown).bit_count(), said


def test_how_often_ours_is_inside_theirs(beside):
    """Of all packets above: whether the bits that we look at are among theirs, not only fewer."""
    inside = total = 0
    outside = []
    for flows, packets in TABLES.values():
        slow, _ = ours(flows)
        beside.ofctl("del-flows", "br0")
        for flow in flows:
            beside.ofctl("add-flow", "br0", flow)
        for packet in packets:
            key = key_of_text(packet)
            mask = megaflow_mask(re.search(r"Megaflow: (.*)", beside.appctl("ofproto/trace", "br0", packet)).group(1))
            shown = ~mask_of("in_port", "nw_frag", *([] if FIELDS["vlan_tci"].of(key) else ["vlan_tci"]))
            ours_only = slow.translate(key, learn=False).mask & shown & ~mask
            total += 1
            inside += not ours_only
            if ours_only:
                outside.append((packet, match_text(key, ours_only)))
    assert inside == total, outside


def test_same_text_of_flows(beside):
    for flow in lines_of("ovs_flows.txt"):
        beside.ofctl("del-flows", "br0")
        beside.ofctl("add-flow", "br0", flow)
        theirs = beside.ofctl("dump-flows", "br0")
        _, bridge = ours([flow])
        dump = dump_flows(bridge.flows(), time.monotonic())
        assert without_times(dump) == without_times(theirs), flow
        # What a dump says can be read again, and is the same flow.
        _, again = ours([dump])
        assert without_times(dump_flows(again.flows(), time.monotonic())) == without_times(dump)
        plain = [line for line in beside.ofctl("--no-stats", "dump-flows", "br0").splitlines() if "reply" not in line]
        assert dump_flows(bridge.flows(), time.monotonic(), stats=False).splitlines() == plain


@pytest.mark.parametrize("flow", lines_of("ovs_refused.txt"))
def test_refused_by_both(beside, flow):
    _, bridge = ours()
    with pytest.raises(BadInput) as said:
        bridge.flow_mod(parse_flow(flow, bridge.numbers()))
    assert "\n" not in str(said.value)
    with pytest.raises(RuntimeError):
        beside.ofctl("-O", "OpenFlow10,OpenFlow13", "add-flow", "br0", flow)


GROUPS = (
    "group_id=1,type=select,bucket=weight:2,output:2,bucket=weight:1,mod_dl_dst:00:00:00:00:00:01,output:3,bucket=actions=4",
    "group_id=2,type=all,bucket=output:2,bucket=mod_dl_dst:00:00:00:00:00:01,output:3",
    "group_id=3,type=indirect,bucket=output:2",
    "group_id=5,type=select,selection_method=hash,fields(ip_dst,nw_proto),bucket=output:2,bucket=bucket_id:7,output:3",
    "group_id=6,type=select,selection_method=dp_hash,bucket=output:2",
)
METERS = (
    "meter=1,kbps,burst,band=type=drop,rate=100,burst_size=50",
    "meter=2,pktps,stats,bands=type=drop,rate=100,type=drop,rate=200",
)


def test_same_text_of_groups_and_meters_and_the_same_trace(beside):
    slow, bridge = ours()
    beside.ofctl("del-flows", "br0")
    for group in GROUPS:
        beside.ofctl("-O", "OpenFlow15", "add-group", "br0", group)
        bridge.group_mod(parse_group(group))
    for meter in METERS:
        beside.ofctl("-O", "OpenFlow13", "add-meter", "br0", meter)
        bridge.meters.add(parse_meter(meter))
    theirs = beside.ofctl("dump-groups", "br0").splitlines()[1:]
    assert [group_text(bridge.groups.get(number)) for number in bridge.groups] == sorted(theirs)
    assert meters_text(bridge.meters) == beside.ofctl("-O", "OpenFlow13", "dump-meters", "br0").partition("\n")[2]
    flows = [
        "table=0,priority=3,ip,actions=resubmit(,1),group:2,2",
        "table=1,priority=5,ip,nw_src=10.0.0.0/8,actions=dec_ttl,resubmit(,2),mod_nw_src:1.1.1.1",
        "cookie=0x12,arp,actions=resubmit(2,3)",
        "table=3,in_port=2,actions=drop",
        "priority=0,actions=NORMAL",
    ]
    for flow in flows:
        beside.ofctl("add-flow", "br0", flow)
        bridge.flow_mod(parse_flow(flow))
    for packet in (
        "in_port=1,ip,nw_src=10.0.0.1,nw_ttl=9",
        "in_port=1,ip,nw_src=10.0.0.1,nw_ttl=1",
        "in_port=1,arp",
        "in_port=1,dl_type=0x1234",
    ):
        told = trace_text(trace(slow, "br0", key_of_text(packet)))
        said = beside.appctl("ofproto/trace", "br0", packet)
        theirs = said[said.index("bridge(") : said.index("\nFinal flow")]
        # The bucket's action came by OpenFlow 1.5, which has another word for it.
        way = told[told.index("bridge(") : told.index("\nFinal flow")]
        assert way == theirs.replace("set_field:00:00:00:00:00:01->eth_dst", "mod_dl_dst:00:00:00:00:00:01")
