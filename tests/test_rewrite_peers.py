"""The same frames through the same actions of a real Open vSwitch with made-up ports: the same bytes leave."""

import random

import pytest

from pktpath.switch.actions import PopVlan, PushVlan, Set
from pktpath.switch.fields import FIELDS
from support import naive_rewrite, ovs_flow
from support.flow_frames import flow_frame
from support.naive_flow_key import flow_key
from support.open_vswitch import why_unavailable
from support.ovs_dummy import DummySwitch
from support.rewrite_runs import Twins
from support.switch_frames import bytes_of

pytestmark = pytest.mark.peer
MAC, MAC_MASK, ADDRESS = 0x0200C0FFEE01, (1 << 48) - 1, 0xC6336407
WIDE = 0x20010DB8_0000ABCD_00000000_12345678


def wide(value):
    return f"2001:db8:0:abcd::1234:{value:x}"


CASES = {
    "eth_dst": ([""], "set_field:02:00:c0:ff:ee:01->eth_dst", [Set("dl_dst", MAC, MAC_MASK)]),
    "eth_src masked": (
        [""], "set_field:02:00:00:00:00:00/ff:ff:00:00:00:00->eth_src", [Set("dl_src", 0x0200 << 32, 0xFFFF << 32)],
    ),
    "ip_src": (["ip"], "set_field:198.51.100.7->ip_src", [Set("nw_src", ADDRESS, 0xFFFFFFFF)]),
    "ip_dst masked": (["ip"], "set_field:0.0.100.7/0.0.255.255->ip_dst", [Set("nw_dst", ADDRESS & 0xFFFF, 0xFFFF)]),
    "dscp": (["ip", "ipv6"], "mod_nw_tos:184", [Set("nw_tos", 0xB8, 0xFC)]),
    "ecn": (["ip", "ipv6"], "set_field:3->nw_ecn", [Set("nw_tos", 3, 3)]),
    "ttl": (["ip", "ipv6"], "set_field:9->nw_ttl", [Set("nw_ttl", 9, 0xFF)]),
    "ipv6_src": (["ipv6"], f"set_field:{wide(0x5678)}->ipv6_src", [Set("ipv6_src", WIDE, (1 << 128) - 1)]),
    "ipv6_dst": (["ipv6"], f"set_field:{wide(0x5678)}->ipv6_dst", [Set("ipv6_dst", WIDE, (1 << 128) - 1)]),
    "ipv6_label": (["ipv6"], "set_field:0xabcde->ipv6_label", [Set("ipv6_label", 0xABCDE, 0xFFFFF)]),
    "tcp_src": (["tcp", "tcp6"], "set_field:1025->tcp_src", [Set("tp_src", 1025, 0xFFFF)]),
    "udp_dst": (["udp", "udp6"], "set_field:1025->udp_dst", [Set("tp_dst", 1025, 0xFFFF)]),
    "sctp_dst": (["sctp", "sctp6"], "set_field:1025->sctp_dst", [Set("tp_dst", 1025, 0xFFFF)]),
    "icmp_type": (["icmp"], "set_field:11->icmp_type", [Set("tp_src", 11, 0xFF)]),
    "icmpv6_code": (["icmp6"], "set_field:4->icmpv6_code", [Set("tp_dst", 4, 0xFF)]),
    "arp_op": (["arp"], "set_field:2->arp_op", [Set("nw_proto", 2, 0xFF)]),
    "arp_spa": (["arp"], "set_field:198.51.100.7->arp_spa", [Set("nw_src", ADDRESS, 0xFFFFFFFF)]),
    "arp_tpa": (["arp"], "set_field:198.51.100.7->arp_tpa", [Set("nw_dst", ADDRESS, 0xFFFFFFFF)]),
    "arp_sha": (["arp"], "set_field:02:00:c0:ff:ee:01->arp_sha", [Set("arp_sha", MAC, MAC_MASK)]),
    "arp_tha": (["arp"], "set_field:02:00:c0:ff:ee:01->arp_tha", [Set("arp_tha", MAC, MAC_MASK)]),
    "nd_target": (
        ["icmp6,icmp_type=135,icmp_code=0", "icmp6,icmp_type=136,icmp_code=0"], f"set_field:{wide(0x5678)}->nd_target",
        [Set("nd_target", WIDE, (1 << 128) - 1)],
    ),
    "nd_sll": (
        ["icmp6,icmp_type=135,icmp_code=0"], "set_field:02:00:c0:ff:ee:01->nd_sll", [Set("arp_sha", MAC, MAC_MASK)],
    ),
    "nd_tll": (
        ["icmp6,icmp_type=136,icmp_code=0"], "set_field:02:00:c0:ff:ee:01->nd_tll", [Set("arp_tha", MAC, MAC_MASK)],
    ),
    "push": ([""], "push_vlan:0x8100", [PushVlan(0x8100, 0)]),
    "pop": (["vlan_tci=0x1000/0x1000"], "pop_vlan", [PopVlan()]),
    "several": (
        ["tcp"], "set_field:198.51.100.7->ip_src,set_field:1025->tcp_src,mod_nw_ttl:9,set_field:02:00:c0:ff:ee:01->eth_dst",
        [Set("nw_src", ADDRESS, 0xFFFFFFFF), Set("tp_src", 1025, 0xFFFF), Set("nw_ttl", 9, 0xFF), Set("dl_dst", MAC, MAC_MASK)],
    ),
}  # fmt: skip
"""Name: (matches, actions of ovs-ofctl, ours)."""
TYPES = ovs_flow.TYPES
PROTOCOLS = ovs_flow.PROTOCOLS


@pytest.fixture(scope="module")
def ovs():
    if missing := why_unavailable():
        pytest.skip(missing)
    with DummySwitch() as switch:
        yield switch


def matches(match, key):
    """Whether a key is what a match of `CASES` says."""
    for word in match.split(","):
        name, _, value = word.partition("=")
        if word in TYPES:
            wanted = {"dl_type": TYPES[word]} | ({"nw_proto": PROTOCOLS[word]} if word in PROTOCOLS else {})
        else:
            wanted = {"icmp_type": {"tp_src": value}, "icmp_code": {"tp_dst": value}}.get(name, {})
        if any(FIELDS[field].of(key) != int(number) for field, number in wanted.items()):
            return False
        if name == "vlan_tci" and not FIELDS["vlan_tci"].of(key):
            return False
    return True


def judged(case, frame):
    """Whether Open vSwitch is a judge of this frame.

    Version 3.1 writes checksums into the payload of later fragments; corrects none behind IPv6 fragment headers, nor for a new
    source behind routing headers, where RFC 8200 wants it; makes the CRC32c of a first fragment of that fragment alone;
    writes into ARP of other hardware; and writes no address where nw_proto is 0, as it is in ARP with a great opcode
    (that is left to the slow path, which knows the key), and in neighbour discovery
    none behind the first option with an address, nor where options contradict each other.
    """
    key = flow_key(frame)
    dl_type, nw_proto = FIELDS["dl_type"].of(key), FIELDS["nw_proto"].of(key)
    if dl_type in (ovs_flow.TYPES["arp"], ovs_flow.TYPES["rarp"]):
        return FIELDS["arp_sha"].of(key) > 0 and (nw_proto > 0 or case == "arp_op")
    if dl_type == ovs_flow.TYPES["ipv6"]:
        at = 12
        while frame[at : at + 2] in naive_rewrite.TAGS:
            at += 4
        at = frame.index(b"\x86\xdd", at) + 2
        protocol, rest = frame[at + 6], frame[at + 40 :]
        while protocol in (0, 51, 60):
            size = 4 * rest[1] + 8 if protocol == 51 else 8 * rest[1] + 8
            protocol, rest = rest[0], rest[size:]
        if protocol == 58 and case.startswith("nd_"):
            both = all(naive_rewrite.discovery_place(rest, name) for name in ("arp_sha", "arp_tha"))
            return FIELDS["nd_target"].of(key) > 0 and not both
        return protocol not in (43, 44)
    return FIELDS["nw_frag"].of(key) == 0


@pytest.mark.parametrize("case", CASES)
def test_the_same_bytes_leave(ovs, case):
    conditions, text, actions = CASES[case]
    rng = random.Random(case)
    frames = [frame for frame in (flow_frame(rng) for _ in range(800)) if judged(case, frame)]
    flows = [f"priority=9,{match}{',' if match else ''}actions={text},output:2" for match in conditions]
    ovs.flows("priority=0,actions=output:2", *flows)
    left = ovs.send(frames)
    assert len(left) == len(frames)
    for frame, expected in zip(frames, left, strict=True):
        twins = Twins(frames=2)
        i = twins.add(frame, place=None)
        if any(matches(match, flow_key(frame)) for match in conditions):
            for action in actions:
                assert twins.run(i, action)
        assert bytes_of(twins.batch, i).hex() == expected.hex(), frame.hex()
    assert sum(frame != expected for frame, expected in zip(frames, left, strict=True)) > 2


def test_the_daemon_reads_the_same_flow_behind_one_tag(ovs):
    """Two tags: the second one is dl_type, and nothing behind it is looked at."""
    rng = random.Random(8)
    tags = 0
    for _ in range(150):
        frame = flow_frame(rng)
        expected = ovs_flow.fields_of(ovs.flow_of(frame))
        del expected["tags"]
        found = {name: field.of(flow_key(frame)) for name, field in FIELDS.items()}
        assert {name: value for name, value in found.items() if value} == expected, frame.hex()
        tags += expected["dl_type"] in (0x8100, 0x88A8)
    assert tags > 10
