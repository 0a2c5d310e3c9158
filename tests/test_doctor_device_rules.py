"""What the doctor says of devices and offloads, and where it keeps silent."""

import pytest

from pktpath.doctor.case import Case
from pktpath.doctor.facts.base import Place
from pktpath.doctor.facts.device import Coalesce, DeviceFeature
from pktpath.doctor.facts.host import Cores, Counter, CpuTime, Interrupt, Kernel, LogMessage, Setting
from pktpath.doctor.facts.ovs import DatapathPort, OvsInterface
from pktpath.doctor.finding import Confidence, Severity
from pktpath.doctor.rules import all_rules
from pktpath.doctor.rules._nic_loss import kind_of
from support.doctor import EVIDENCE, case_of, evidence, facts_of, findings, says

CASES = EVIDENCE / "cases"
MINE = [
    "coalescing-off-at-high-rate", "debugging-feature-left-on", "feature-requested-but-off", "fewer-queues-than-cpus",
    "gro-does-what-lro-did", "gro-off", "gso-off", "indirection-table-skips-queues", "link-errors", "lro-on-while-forwarding",
    "nic-drops-frames", "qdisc-drops", "ring-below-maximum-while-dropping", "rx-checksum-off", "switch-dragged-others-along",
    "tso-off-for-want-of-checksum", "tunnel-mtu-too-large", "ufo-off-is-normal", "vxlan-bad-udp-checksums",
    "vxlan-offloads-lost", "vxlan-zero-outer-checksum-defeats-gro",
]  # fmt: skip


def text(name):
    return (CASES / name).read_text()


def place(source="x", when=None, order=0, scope=""):
    return Place(source, 1, "line", scope, when, order)


def with_facts(case_text, *more):
    return Case([*facts_of(case_text), *more])


def mine(case):
    return [finding for name in MINE for finding in findings(case, name)]


def table(dev, **states):
    """Return a table of ethtool -k with these lines, `_` in names for `-`."""
    return f"$ ethtool -k {dev}\nFeatures for {dev}:\n" + "".join(f"{n.replace('_', '-')}: {s}\n" for n, s in states.items())


def test_every_rule_has_its_text():
    for rule in all_rules():
        if rule.id in MINE:
            assert "Speaks" in rule.text, rule.id
            assert "Silent" in rule.text or rule.id in {"ufo-off-is-normal", "indirection-table-skips-queues"}, rule.id
            assert rule.well.endswith(".")
            assert rule.ask
    assert set(MINE) <= {rule.id for rule in all_rules()}


# Healthy hosts

HEALTHY = [*(f"healthy/{path.name}" for path in sorted((EVIDENCE / "healthy").iterdir())), "sos-ovs-vxlan-node.tar.xz"]


@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_above_a_note_on_healthy_hosts(name):
    said = mine(evidence(name))
    assert [finding.summary for finding in said if finding.severity > Severity.NOTE] == []
    # One note for all devices, not one each.
    assert len(said) <= 5


def test_the_network_node_hears_only_of_its_cards():
    case = evidence("sos-ovs-vxlan-node.tar.xz")
    note = says(case, "gro-does-what-lro-did", "LRO is off .fixed. and GRO on", "ens3")
    assert "veth" not in note.summary
    assert "tap" not in note.summary
    assert "br-" not in note.summary


def test_totals_of_one_look_are_no_findings():
    case = case_of(text("../healthy/few-old-drops/e1000e.txt"))
    assert mine(case) == []


# One switch drags others along: tests/evidence/veth-features/truth.toml


def test_tx_off_takes_segmentation_along():
    case = evidence("veth-features/tx-off.txt")
    said = says(case, "switch-dragged-others-along", "tx off turned off TSO", "TSO and UDP segmentation need checksum offload")
    assert "consequences, not causes" in said.why
    assert any("tx-udp-segmentation: off [not requested]" in at.text for at in said.evidence)
    assert said.severity == Severity.NOTE
    assert said.remedies[0].command == "ethtool -K e1 tx on"
    assert said.remedies[0].undo == "ethtool -K e1 tx off"
    says(case, "tso-off-for-want-of-checksum", "tx-checksum-ip-generic is off")
    note = says(case, "feature-requested-but-off", "UDP segmentation is off", "it needs checksum offload")
    assert note.severity == Severity.NOTE


def test_sg_off_takes_gso_and_tso_along():
    case = evidence("veth-features/sg-off.txt")
    says(case, "switch-dragged-others-along", "sg off turned off GSO and TSO", "GSO and TSO need scatter-gather")
    says(case, "tso-off-for-want-of-checksum", "tx-scatter-gather is off")
    says(case, "feature-requested-but-off", "GSO is off", "scatter-gather")


def test_a_switch_alone_is_judged_by_itself():
    both = case_of(text("switch_dragged_others_along/tx-sg-off.txt"))
    assert {f.severity for f in findings(both, "switch-dragged-others-along")} == {Severity.WARNING}
    old = says(case_of(text("vxlan_bad_udp_checksums/after.txt")), "switch-dragged-others-along", "flannel.1", "TSO and UFO")
    assert old.about == "flannel.1"
    back = case_of(text("switch_dragged_others_along/tx-sg-on.txt"))
    assert findings(back, "switch-dragged-others-along") == []


def test_veth_switched_by_hand_is_no_card():
    for name in ("gro-off", "rx-off"):
        case = evidence(f"veth-features/{name}.txt")
        assert findings(case, "gro-off") == findings(case, "rx-checksum-off") == []


# Features that are not as somebody asked


def test_a_tap_without_a_program_is_no_case_for_tx_on():
    case = case_of(text("feature_requested_but_off/tap-without-program.txt"))
    assert findings(case, "tso-off-for-want-of-checksum") == []
    said = says(case, "feature-requested-but-off", "At t0", "the program behind it does not take such frames")
    assert said.severity == Severity.NOTE
    assert len(findings(case, "feature-requested-but-off")) == 1


def test_a_card_that_can_do_nothing_is_not_accused():
    case = case_of(text("gro_does_what_lro_did/router.txt"))
    said = says(case, "feature-requested-but-off", "GSO is off", "it needs scatter-gather, which this device cannot do")
    assert said.severity == Severity.NOTE
    assert {f.severity for f in mine(case)} == {Severity.NOTE}


def test_a_bridge_does_what_its_ports_do():
    assert findings(case_of(text("feature_requested_but_off/bridge.txt")), "feature-requested-but-off") == []


def test_a_driver_that_refuses():
    on = case_of("$ ethtool -k eth0\nFeatures for eth0:\nrx-vlan-offload: on [requested off]\n")
    found = says(on, "feature-requested-but-off", "eth0", "on, though asked to be off", "driver keeps it so")
    assert found.confidence == Confidence.LIKELY


def test_a_device_above_can_do_no_more_than_the_one_below():
    case = case_of(
        table("eth0", generic_segmentation_offload="off") + table("eth0.5", generic_segmentation_offload="off [requested on]")
        + "$ ip -d link\n7: eth0.5@eth0: <UP> mtu 1500\n    link/ether 1e:49 brd ff\n    vlan protocol 802.1Q id 5 "
        "<REORDER_HDR>\n"
    )  # fmt: skip
    says(case, "feature-requested-but-off", "eth0.5", "eth0 does not do it")


# Segmentation, merging and checksums


def test_gso_off():
    both = says(evidence("veth-features/tso-off-gso-off.txt"), "gso-off", "GSO is off at e1, and TSO too")
    assert both.severity == Severity.WARNING
    assert both.remedies[0].command == "ethtool -K e1 tso on gso on"
    alone = case_of(table("eth0", tx_tcp_segmentation="on", generic_segmentation_offload="off"))
    assert says(alone, "gso-off", "GSO is off at eth0").severity == Severity.NOTE
    for state in ("off [fixed]", "off [requested on]", "on"):
        assert findings(case_of(table("eth0", generic_segmentation_offload=state)), "gso-off") == []


BRIDGED = "$ ip -d link\n2: eth0: <UP> mtu 1500 master br0\n    link/ether 1e:49 brd ff\n    bridge_slave state forwarding\n"


def test_gro_off_matters_where_frames_are_forwarded():
    off = table("eth0", generic_receive_offload="off")
    note = says(case_of(off), "gro-off", "GRO is off at eth0")
    assert (note.severity, note.confidence) == (Severity.NOTE, Confidence.POSSIBLE)
    port = says(case_of(off + BRIDGED), "gro-off", "is a port of the bridge br0")
    assert port.severity == Severity.WARNING
    assert findings(case_of(table("eth0", generic_receive_offload="off [fixed]") + BRIDGED), "gro-off") == []
    assert findings(case_of(table("veth1", generic_receive_offload="off") + BRIDGED.replace("eth0", "veth1")), "gro-off") == []


def rates(bytes_a_second, packets_a_second, dev="eth0", state="off", name="generic_receive_offload"):
    """Return two looks at a link five seconds apart beside a table."""
    facts = facts_of(table(dev, **{name: state}))
    for n, when in ((0, 0.0), (1, 5.0)):
        link = f"$ ip -s link\n2: {dev}: <UP> mtu 1500\n    RX:  bytes packets errors dropped  missed   mcast\n"
        link += f"      {bytes_a_second * 5 * n + 7}  {packets_a_second * 5 * n + 7}  0 0 0 0\n"
        facts += facts_of(link, when=when, order=10 * n)
    return Case(facts)


def test_gro_off_at_a_bulk_receiver():
    bulk = says(rates(75_000_000, 50_000), "gro-off", "50,000 frames/s of 1500 bytes")
    assert (bulk.severity, bulk.confidence) == (Severity.WARNING, Confidence.CERTAIN)
    for few in (rates(7_500_000, 5_000), rates(3_200_000, 50_000)):
        assert findings(few, "gro-off")[0].severity == Severity.NOTE


def test_rx_checksum_off():
    slow, fast = rates(1_000, 10, name="rx_checksumming"), rates(500_000_000, 350_000, name="rx_checksumming")
    assert says(slow, "rx-checksum-off", "rx-checksumming is off at eth0").severity == Severity.NOTE
    assert says(fast, "rx-checksum-off", "4.0 Gbit/s").severity == Severity.WARNING
    assert findings(rates(500_000_000, 350_000, name="rx_checksumming", state="off [fixed]"), "rx-checksum-off") == []


def test_lro_on_while_forwarding():
    said = says(case_of(text("lro_on_while_forwarding/bridge-port.txt")), "lro-on-while-forwarding", "eth1", "bridge br-ens3")
    assert (said.severity, said.confidence) == (Severity.WARNING, Confidence.CERTAIN)
    assert said.remedies[0].command == "ethtool -K eth1 lro off"
    assert {who for who, _ in said.remedies[0].lasting} == {"udev", "NetworkManager", "systemd-networkd", "TuneD"}
    assert findings(case_of(text("../healthy/lro-receiver/ethtool.txt")), "lro-on-while-forwarding") == []


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        (DatapathPort(at=place(), datapath="netdev@ovs-netdev", number=2, name="eth1"), "port of the datapath netdev@ovs-netdev"),
        (OvsInterface(at=place(), bridge="br-ex", name="eth1"), "port of the Open vSwitch bridge br-ex"),
        (Setting(at=place(), where="sysctl", name="net.ipv4.ip_forward", value="1"), "this host routes"),
    ],
)
def test_lro_and_other_forwarders(fact, words):
    says(with_facts(text("../healthy/lro-receiver/ethtool.txt"), fact), "lro-on-while-forwarding", words)


def test_lro_below_a_bond_and_a_vlan_of_a_bridge():
    bond = (
        "$ ip -d link\n2: eth1: <UP> mtu 1500 master bond0\n    link/ether 1e:49 brd ff\n    bond_slave state ACTIVE\n"
        "3: bond0: <UP> mtu 1500 master br0\n    link/ether 1e:49 brd ff\n    bond mode active-backup\n    bridge_slave state "
        "forwarding\n"
    )  # fmt: skip
    says(case_of(table("eth1", large_receive_offload="on") + bond), "lro-on-while-forwarding", "bridge br0 through bond0")
    vlan = (
        "$ ip -d link\n2: eth1: <UP> mtu 1500\n    link/ether 1e:49 brd ff\n"
        "3: eth1.5@eth1: <UP> mtu 1500 master br0\n    link/ether 1e:49 brd ff\n    vlan protocol 802.1Q id 5\n    "
        "bridge_slave state x\n"
    )  # fmt: skip
    says(case_of(table("eth1", large_receive_offload="on") + vlan), "lro-on-while-forwarding", "carries eth1.5")


def test_debugging_features():
    case = case_of(table("eth0", rx_all="on", rx_fcs="on", loopback="on"))
    assert {f.severity for f in findings(case, "debugging-feature-left-on")} == {Severity.WARNING, Severity.PROBLEM}
    says(case, "debugging-feature-left-on", "loopback is on at eth0", "reaches the wire")
    assert findings(case_of(table("lo", loopback="on [fixed]")), "debugging-feature-left-on") == []


# Seeds: tables of old kernels

OLD = {
    "rx_checksumming": "on", "tx_checksum_ipv4": "on", "tx_tcp_segmentation": "on", "udp_fragmentation_offload": "off [fixed]",
    "generic_receive_offload": "on", "large_receive_offload": "off [fixed]", "tx_udp_tnl_segmentation": "off [fixed]",
}  # fmt: skip


def test_a_pasted_table_is_read_aloud_once():
    case = case_of(table("eth0", **OLD).replace("udp-tnl", "udp_tnl"))
    says(case, "ufo-off-is-normal", "udp-fragmentation-offload. is off and cannot be switched at eth0: that is normal")
    says(case, "gro-does-what-lro-did", "LRO is off .fixed. and GRO on at eth0")
    said = says(case, "vxlan-offloads-lost", "VXLAN or Geneve over eth0 loses TCP segmentation in the card", "off .fixed.")
    assert "table has no" not in said.summary, "an excerpt says nothing of what is not in it"
    assert {f.severity for f in mine(case)} == {Severity.NOTE}
    keeps = case_of(table("eth0", **(OLD | {"tx_udp_tnl_segmentation": "on"})).replace("udp-tnl", "udp_tnl"))
    assert findings(keeps, "vxlan-offloads-lost") == []


@pytest.mark.parametrize(
    ("name", "loses"),
    [
        ("ufo_off_is_normal/kernel-3.13.txt", "TCP segmentation"),
        ("vxlan_offloads_lost/one-line.txt", "it keeps TCP segmentation"),
    ],
)
def test_tables_of_old_kernels_in_documents(name, loses):
    case = case_of(text(name))
    says(case, "ufo-off-is-normal", "is off and cannot be switched at eth0: that is normal")
    says(case, "gro-does-what-lro-did", "LRO is off", "GRO on at eth0", "undone")
    said = says(case, "vxlan-offloads-lost", "VXLAN or Geneve over eth0 loses", loses)
    if "keeps" in loses:
        # A whole table of Linux 3.x: nobody segments there with an outer checksum, and ports were told without a feature.
        assert (said.confidence, bool(said.proof)) == (Confidence.LIKELY, True)
        assert "table has no tx-udp_tnl-csum-segmentation)" in said.summary
    assert len(mine(case)) == 3


@pytest.mark.parametrize("name", ["grep-v-fixed.txt", "grep-seg.txt"])
def test_a_table_that_was_searched_says_nothing_of_what_is_missing(name):
    case = case_of(text(f"../healthy/searched-tables/{name}"))
    assert DeviceFeature in case
    assert findings(case, "vxlan-offloads-lost") == []


# Tunnels


def test_vxlan_over_a_card_that_knows_no_tunnels():
    node = facts_of(text("tunnel_mtu_too_large/ip-link.txt").replace(" veth ", " ").replace("    veth addr", "    addr"))
    card = table("e1", **(OLD | {"tx_udp_tnl_segmentation": "off"})).replace("udp-tnl", "udp_tnl")
    said = says(
        Case([*node, *facts_of(card)]), "vxlan-offloads-lost", r"VXLAN \(vx0 and vx1\) over e1", "tx-udp_tnl-segmentation: off"
    )
    assert said.severity == Severity.NOTE
    assert said.remedies[0].command == "ethtool -K e1 tx-udp_tnl-segmentation on"
    # With a host's devices and no tunnel among them, nobody asked.
    no_tunnel = [fact for fact in node if getattr(fact, "kind", "") != "vxlan"]
    assert findings(Case([*no_tunnel, *facts_of(card)]), "vxlan-offloads-lost") == []


def test_vxlan_of_open_vswitch_is_traced_to_the_card_by_its_address():
    links = (
        "$ ip -d addr\n2: ens3: <UP> mtu 1500 master br-ens3\n    link/ether 52:54 brd ff\n    bridge_slave state forwarding\n"
        "9: br-ens3: <UP> mtu 1500\n    link/ether 22:c2 brd ff\n    bridge forward_delay 1500\n    inet 10.0.0.128/24 scope "
        "global br-ens3\n"
        "31: vxlan_sys_4789: <UP> mtu 65000 master ovs-system\n    link/ether 5a:bc brd ff\n    vxlan external\n    "
        "openvswitch_slave addrgenmode eui64\n"
    )  # fmt: skip
    port = OvsInterface(at=place(), bridge="br-tun", name="vxlan-0a", kind="vxlan", options={"local_ip": "10.0.0.128"})
    tables = table("ens3", **OLD).replace("udp-tnl", "udp_tnl") + table("ens4", **OLD)
    (said,) = findings(Case([*facts_of(links + tables), port]), "vxlan-offloads-lost")
    assert "VXLAN (vxlan_sys_4789) over ens3" in said.summary
    # Its MTU of 65000 limits nothing.
    assert findings(Case([*facts_of(links), port]), "tunnel-mtu-too-large") == []


def test_a_tunnel_longer_than_what_carries_it():
    said = says(case_of(text("tunnel_mtu_too_large/ip-link.txt")), "tunnel-mtu-too-large", "vx1", "50 more than the 1500 of e1")
    assert said.remedies[0].command == "ip link set dev vx1 mtu 1450"
    # vx0 beside it has an MTU of 1450.
    assert len(findings(case_of(text("tunnel_mtu_too_large/ip-link.txt")), "tunnel-mtu-too-large")) == 1


def test_zero_outer_checksum_needs_load_and_an_old_kernel():
    folder = "cases/vxlan_zero_outer_checksum_defeats_gro"
    name = "vxlan-zero-outer-checksum-defeats-gro"
    assert says(evidence(folder), name, "77,6.. packets/s of 1428 bytes").severity == Severity.NOTE
    facts = [fact for kind in evidence(folder)._facts.values() for fact in kind]
    for release, severity in (("4.18.0-240.el8", Severity.WARNING), ("5.4.100-generic", Severity.WARNING)):
        (said,) = findings(Case([*facts, Kernel(at=place(), release=release)]), name)
        assert said.severity == severity
    for release in ("6.18.44", "5.4.166-generic", "5.12.0", "4.19.181"):
        assert findings(Case([*facts, Kernel(at=place(), release=release)]), name) == []
    # One look has no rate, and without load nobody minds.
    assert findings(evidence(f"{folder}/ip-link.5s"), name) == []


def test_bad_udp_checksums_of_a_tunnel():
    name, flannel = "vxlan-bad-udp-checksums", text("vxlan_bad_udp_checksums/flannel.txt")
    case = with_facts(flannel, Kernel(at=place(), release="3.10.0-1062.el7.x86_64"))
    said = says(case, name, "4 lines 'UDP: bad checksum'", "from 172.16.9.99", "before 5.7")
    assert (said.severity, said.confidence) == (Severity.WARNING, Confidence.LIKELY)
    assert "TSO" in said.remedies[0].cost
    assert "on the sender" in said.remedies[0].command
    alone = flannel[flannel.index("$ ethtool") :]
    assert findings(case_of(alone), name) == [], "the offload alone is right"
    other = [LogMessage(at=place(), program="kernel", message="UDP: bad checksum. From 10.0.0.1:53 to 10.0.0.2:4000 ulen 75")]
    assert findings(with_facts(alone, *other), name) == [], "not the tunnel's port"
    switched = case_of(flannel.replace("tx-checksum-ip-generic: on", "tx-checksum-ip-generic: off"))
    assert findings(switched, name) == []


def test_bad_udp_checksums_that_rise_now():
    flannel = text("vxlan_bad_udp_checksums/flannel.txt").replace("bad checksum", "quiet")
    counters = [
        Counter(at=place(when=when, order=order), group="nstat", owner="", name="UdpInCsumErrors", value=7 + 40 * order)
        for when, order in ((0.0, 0), (5.0, 1))
    ]
    said = says(with_facts(flannel, *counters), "vxlan-bad-udp-checksums", "UdpInCsumErrors 40 in 5 s", "kernel the sender runs")
    assert (said.severity, said.confidence) == (Severity.WARNING, Confidence.POSSIBLE)
    assert findings(with_facts(flannel, counters[1]), "vxlan-bad-udp-checksums") == []


# Loss


def test_a_ring_that_could_be_longer():
    case = evidence("cases/ring_below_maximum_while_dropping")
    name = "ring-below-maximum-while-dropping"
    said = says(case, name, "140.0/s", "255 descriptors, of 4096 possible")
    assert (said.severity, said.confidence) == (Severity.PROBLEM, Confidence.LIKELY)
    assert said.remedies[0].command == "ethtool -G enp1s0 rx 2048"
    assert said.remedies[0].undo == "ethtool -G enp1s0 rx 255"
    # The other rule leaves it to this one.
    assert findings(case, "nic-drops-frames") == []
    assert findings(case_of(text("ring_below_maximum_while_dropping/ring.txt")), name) == []
    quiet = evidence("cases/ring_below_maximum_while_dropping/ring.txt", "cases/ring_below_maximum_while_dropping/igb-S.0")
    assert [f.severity for f in findings(quiet, name)] == [Severity.NOTE]


def test_frames_that_an_xdp_program_dropped_are_not_lost():
    looks = [text(f"ring_below_maximum_while_dropping/igb-S.{n}").replace("csum_err", "xdp_drops") for n in ("0", "5s")]
    wished = looks[1].replace("xdp_drops: 0", "xdp_drops: 500")
    assert findings(case_of(looks[0], wished), "nic-drops-frames") == []
    # virtio_net has no counter for want of descriptors: a longer ring is no answer to its drops.
    said = says(case_of(*looks), "nic-drops-frames", "rx_queue_N_drops rose by 700", "could not use them")
    assert said.severity == Severity.PROBLEM
    both = case_of(text("ring_below_maximum_while_dropping/ring.txt"), *looks)
    assert findings(both, "ring-below-maximum-while-dropping") == []


def test_frames_that_a_card_lost():
    case = evidence("cases/nic_drops_frames/e1000e-S.0", "cases/nic_drops_frames/e1000e-S.5s")
    said = says(case, "nic-drops-frames", "eth0 loses frames", "rx_missed_errors rose by 5,000 in 5 s", "1,000.0/s")
    assert (said.severity, said.confidence) == (Severity.PROBLEM, Confidence.CERTAIN)
    old = says(case_of(text("nic_drops_frames/be2net-one-look.txt")), "nic-drops-frames", "since it began to count", "0.99%")
    assert (old.severity, old.confidence) == (Severity.NOTE, Confidence.POSSIBLE)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("rx_no_buffer_count", "ring"), ("[0]: rx_discards", "ring"), ("port_rx_nodesc_drops", "ring"),
        ("rx_out_of_buffer", "ring"),
        ("Rx Queue# 3 pkts rx OOB", "ring"), ("rx_discards_phy", "port"), ("rx_prio3_discards", "port"), ("rx7_drops", "ring"),
        ("alloc_rx_page_failed", "memory"), ("pps_allowance_exceeded", "allowance"), ("tx_timeout", "transmit"),
        ("rx_queue_0_xdp_drops", ""), ("rx_address_filtered", ""), ("rx_dropped", ""), ("rx_packets", ""),
        ("tx_xdp_tx_drops", ""), ("rx_steer_missed_packets", ""), ("veb.rx_discards", ""), ("rx_queue_0_drops", "ring"),
        ("rx_fw_discards", "ring"), ("rx_drops_no_erx_descr", "ring"), ("rx_brb_discard", "port"),
        ("rx_prio0_buf_discard", "port"),
        ("queue_3_rx_page_alloc_fail", "memory"), ("[2]: rx_skb_alloc_discard", "memory"), ("rx_dropped.nic", "ring"),
        ("rx_dropped_runt", ""), ("peer_ifindex", ""), ("x" * 5000, ""),
    ],
)  # fmt: skip
def test_words_for_loss(name, kind):
    assert kind_of(name) == kind


def test_links_that_damage_frames():
    said = says(evidence("cases/link_errors"), "link-errors", "eth3", "rx_crc_errors 37 in 5 s")
    assert said.severity == Severity.PROBLEM
    assert findings(evidence("cases/link_errors/igb-S.5s"), "link-errors") == []
    again = [text("link_errors/igb-S.0")] * 2
    assert findings(case_of(*again), "link-errors") == []


def test_queueing_disciplines_that_drop():
    shaped = says(case_of(text("qdisc_drops/pfifo.txt")), "qdisc-drops", "pfifo 10: of e1", "htb drops on purpose")
    assert shaped.severity == Severity.NOTE
    says(case_of(text("qdisc_drops/tbf.txt")), "qdisc-drops", "tbf 1:", "on purpose")
    # The same queue without the shaper above it: it is the device that takes too little.
    lines = text("qdisc_drops/pfifo.txt").replace("parent 1:1", "root").splitlines()
    alone = [line for n, line in enumerate(lines) if not any(word in "".join(lines[max(0, n - 2) : n + 1]) for word in ("htb",))]
    assert says(case_of("\n".join(alone)), "qdisc-drops", "pfifo 10:", "Its queue was full").severity == Severity.WARNING
    once = "qdisc pfifo_fast 0: dev eth0 root\n Sent 1 bytes 100000 pkt (dropped 9, overlimits 0 requeues 0) \n"
    assert findings(case_of(once), "qdisc-drops") == []


# Queues


def busy(cpus=8, softirq=97.0):
    return [
        Cores(at=place(), node=0, cpus=tuple(range(cpus))),
        CpuTime(at=place(), cpu="3", per_cent=True, user=0, softirq=softirq),
    ]


def test_too_few_queues_need_load():
    name, one = "fewer-queues-than-cpus", text("fewer_queues_than_cpus/one-of-64.txt")
    said = says(with_facts(one, *busy()), name, "1 of 64 queues, with 8 CPUs", "CPU 3 is at 97 % in softirq")
    assert said.remedies[0].command == "ethtool -L ens3f0 combined 8"
    assert said.remedies[0].undo == "ethtool -L ens3f0 combined 1"
    assert findings(case_of(one), name) == []
    assert findings(with_facts(one, *busy(softirq=20.0)), name) == []
    assert findings(with_facts(one, *busy(cpus=1)), name) == []


def test_an_indirection_table_of_one_queue():
    name, zero = "indirection-table-skips-queues", text("indirection_table_skips_queues/all-zero.txt")
    assert says(case_of(zero), name, "names 1 of 4 receive queues").severity == Severity.WARNING
    assert says(with_facts(zero, *busy()), name, "CPU 3").confidence == Confidence.LIKELY
    assert findings(case_of(text("../healthy/rss-even/ethtool.txt")), name) == []


def interrupts(rise, label="eth2-TxRx-0"):
    return [
        Interrupt(at=place(when=when, order=order), irq="33", label=label, chip="MSI", counts=(7 + rise * order, 5), cpus=(0, 1))
        for when, order in ((0.0, 0), (5.0, 1))
    ]  # fmt: skip


def test_interrupts_without_moderation_need_a_rate():
    name, off = "coalescing-off-at-high-rate", text("coalescing_off_at_high_rate/mlx.txt")
    said = says(with_facts(off, *interrupts(500_000)), name, "100,000 times a second", "eth2-TxRx-0")
    assert said.remedies[0].command == "ethtool -C eth2 adaptive-rx on"
    assert findings(with_facts(off, *interrupts(5_000)), name) == []
    assert findings(with_facts(off, *interrupts(500_000, "eth20-TxRx-0")), name) == []
    adaptive = text("../healthy/adaptive-moderation/ixgbevf.txt")
    assert facts_of(adaptive, Coalesce)
    assert findings(with_facts(adaptive, *interrupts(500_000, "eth0-TxRx-0")), name) == []


# The link


def test_a_link_below_its_best():
    slow = text("link_below_its_best/speed-100.txt")
    name = "link-below-its-best"
    said = says(case_of(slow), name, "enp0s31f6 runs at 100 Mb/s, though both ends can do 1,000")
    assert (said.severity, said.evidence[0].text) == (Severity.WARNING, "\tSpeed: 100Mb/s")
    says(case_of(slow.replace("Duplex: Full", "Duplex: Half")), name, "100 Mb/s, half duplex", "collide")
    fixed = says(case_of(slow.replace("negotiation: on", "negotiation: off")), name, "somebody set it")
    assert fixed.remedies[0].undo == "ethtool -s enp0s31f6 autoneg off speed 100 duplex full"
    # The port at the other end can do no more, is not there, or nobody said.
    lines = slow.splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if "Link partner advertised link" in line)
    assert findings(case_of("".join(lines[: at + 2] + lines[at + 3 :])), name) == []
    assert says(case_of("".join(lines[:at] + lines[at + 4 :])), name, "the card offers up to 1,000").severity == Severity.NOTE
    assert findings(case_of(slow.replace("detected: yes", "detected: no")), name) == []
    assert findings(case_of(text("../healthy/gigabit-link/ethtool.txt")), name) == []


@pytest.mark.parametrize(
    "words",
    ["Speed: Unknown!\n\tDuplex: Unknown! (255)", "Speed: 10Mb/s\n\tDuplex: Half", "Link detected: yes", "Speed: 9e9Mb/s"],
)
def test_a_driver_that_says_little_of_its_link(words):
    """https://github.com/gnubee-git/GnuBee_Docs/issues/85: it runs a gigabit, and says 10 Mb/s and half duplex."""
    assert (
        findings(case_of(f"$ ethtool eth0\nSettings for eth0:\n\t{words}\n\tLink detected: yes\n"), "link-below-its-best") == []
    )


# Recipes


def recipes(case, rule):
    return dict(findings(case, rule)[0].remedies[0].lasting)


def test_a_link_file_knows_a_renamed_card_by_its_address():
    """udev reads .link files before it gives the name, and takes the first one that fits alone."""
    renamed = recipes(case_of(table("enp3s0f0", rx_all="on").replace("rx-all", "rx-checksumming").replace(": on", ": off")),
                      "rx-checksum-off")["systemd-networkd"]  # fmt: skip
    assert "OriginalName" not in renamed
    assert "PermanentMACAddress=MAC\n# as `ethtool -P enp3s0f0` prints it" in renamed
    assert "NamePolicy=keep kernel database" in renamed
    kept = recipes(case_of(table("eth0", rx_checksumming="off")), "rx-checksum-off")["systemd-networkd"]
    assert "[Match]\nOriginalName=eth0\n[Link]\nReceiveChecksumOffload=yes" in kept


def test_tso_has_two_words_in_a_link_file():
    """https://github.com/systemd/systemd/issues/6854: TCPSegmentationOffload is IPv4's alone."""
    case = case_of(table("eth0", generic_segmentation_offload="off", tx_tcp_segmentation="off"))
    link = recipes(case, "gso-off")["systemd-networkd"]
    assert "TCPSegmentationOffload=yes\nTCP6SegmentationOffload=yes\nGenericSegmentationOffload=yes" in link


def test_nobody_keeps_settings_of_another_namespace():
    case = case_of("$ ip netns exec h1 ethtool -k eth0\n" + table("eth0", rx_checksumming="off").split("\n", 1)[1])
    assert findings(case, "rx-checksum-off")[0].remedies[0].lasting == ()


def test_a_bond_is_known_by_its_name():
    case = case_of(table("bond0", generic_segmentation_offload="off [requested on]"))
    assert "a device below does not do it" in says(case, "feature-requested-but-off", "At bond0, GSO is off").summary
    assert findings(case_of(table("br0", generic_segmentation_offload="off [requested on]")), "feature-requested-but-off") == []
