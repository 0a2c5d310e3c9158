"""What ethtool, ip, ifconfig and tc print of devices, as facts."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pktpath.doctor.facts.device import (
    Channels,
    Coalesce,
    DeviceFeature,
    Driver,
    FeatureChange,
    Indirection,
    Link,
    Pause,
    Qdisc,
    Ring,
)
from pktpath.doctor.facts.host import Counter
from pktpath.doctor.parse.transcript import Transcript
from support.doctor import EVIDENCE, facts_of


def values(text, group):
    return {(c.owner, c.name): c.value for c in facts_of(text, Counter) if c.group == group}


def test_every_line_of_a_table_of_this_kernel():
    text = (EVIDENCE / "veth-features/tx-off.txt").read_text()
    found = {fact.name: fact for fact in facts_of(text, DeviceFeature)}
    assert len(found) == text.count(": o") - text.split("$ ethtool -k")[0].count(": o") == 63
    assert {fact.dev for fact in found.values()} == {"e1"}
    assert (found["tx-tcp-segmentation"].active, found["tx-tcp-segmentation"].requested) == (False, True)
    assert found["large-receive-offload"].fixed
    assert found["tx-tcp-segmentation"].group == "tcp-segmentation-offload"
    assert found["generic-receive-offload"].requested is None
    assert not found["generic-receive-offload"].fixed


def test_a_table_in_one_line_of_a_document():
    text = (
        "ethtool \N{EN DASH}k eth0 |\n"
        "Features for eth0: rx-checksumming: on tx-checksum-ip-generic: off [fixed] rx-lro: off [requested on] 状态 |"
    )
    assert [(f.dev, f.name, f.active, f.fixed, f.requested) for f in facts_of(text)] == [
        ("eth0", "rx-checksumming", True, False, None),
        ("eth0", "tx-checksum-ip-generic", False, True, None),
        ("eth0", "rx-lro", False, False, True),
    ]


def test_names_with_spaces_of_old_ethtool():
    text = (
        "Offload parameters for eth0:\nCannot get device flags: Operation not supported\nrx-checksumming: on\nscatter-gather: "
        "on\n"
        "tcp segmentation offload: on\nudp fragmentation offload: off\ngeneric segmentation offload: off\n"
    )
    assert [(f.name, f.active) for f in facts_of(text)] == [
        ("rx-checksumming", True),
        ("scatter-gather", True),
        ("tcp-segmentation-offload", True),
        ("udp-fragmentation-offload", False),
        ("generic-segmentation-offload", False),
    ]


def test_changes_of_old_and_new_ethtool_tell_what_was_asked():
    old = facts_of((EVIDENCE / "cases/vxlan_bad_udp_checksums/after.txt").read_text(), FeatureChange)
    assert [c.name for c in old if c.asked] == ["tx-checksumming", "tx-checksum-ip-generic", "tcp-segmentation-offload"]
    assert all(not c.asked for c in old if c.name.startswith("tx-tcp"))
    new = facts_of((EVIDENCE / "cases/switch_dragged_others_along/tx-sg-on.txt").read_text(), FeatureChange)
    assert {c.name: c.asked for c in new}["tx-udp-segmentation"] is False
    # Asked for and not granted: nothing dragged that along.
    assert {c.name: c.asked for c in new}["tx-checksum-ipv4"] is True


def test_rings_and_channels_keep_what_the_driver_does_not_say():
    text = (EVIDENCE / "healthy/virtio-guest/ethtool.txt").read_text()
    assert [(r.which, r.maximum, r.current) for r in facts_of(text, Ring)] == [
        ("rx", 256, 256), ("rx-mini", None, None), ("rx-jumbo", None, None), ("tx", 256, 256),
    ]  # fmt: skip
    assert [(c.which, c.maximum, c.current) for c in facts_of(text, Channels)][-1] == ("combined", 1, 1)
    two = (EVIDENCE / "cases/fewer_queues_than_cpus/one-of-64.txt").read_text()
    assert [(c.which, c.maximum, c.current) for c in facts_of(two, Channels)] == [
        ("rx", None, None), ("tx", None, None), ("other", 1, 1), ("combined", 64, 1),
    ]  # fmt: skip


def test_what_a_driver_cannot_do_gives_nothing():
    text = "$ ethtool -g br0\nRing parameters for br0:\nCannot get device ring settings: Operation not supported\n"
    assert facts_of(text) == []
    assert facts_of("$ ethtool -l lo\nnetlink error: Operation not supported\n$ ethtool -S lo\nno stats available\n") == []


def test_coalescing_of_both_formats():
    mlx = {c.name: c.value for c in facts_of((EVIDENCE / "cases/coalescing_off_at_high_rate/mlx.txt").read_text(), Coalesce)}
    assert mlx["adaptive-rx"] == "off"
    assert mlx["rx-usecs"] == "0"
    assert mlx["pkt-rate-low"] == "400000"
    tap = facts_of((EVIDENCE / "healthy/netns-tunnels/ethtool.txt").read_text(), Coalesce)
    assert {c.value for c in tap if c.name in {"rx-usecs", "cqe-mode-rx"}} == {"n/a"}
    assert {c.dev for c in tap} == {"t0"}


def test_pause():
    text = "$ ethtool -a eth0\nPause parameters for eth0:\nAutonegotiate:\ton\nRX:\t\toff\nTX:\t\toff\nRX negotiated: on\n"
    assert [(p.dev, p.which, p.state) for p in facts_of(text, Pause)] == [
        ("eth0", "autonegotiate", "on"), ("eth0", "rx", "off"), ("eth0", "tx", "off"),
    ]  # fmt: skip


def test_indirection_tables():
    (zero,) = facts_of((EVIDENCE / "cases/indirection_table_skips_queues/all-zero.txt").read_text(), Indirection)
    assert (zero.dev, zero.rings, set(zero.table), len(zero.table), zero.function) == ("enp2s0f0", 4, {0}, 32, "toeplitz")
    (even,) = facts_of((EVIDENCE / "healthy/rss-even/ethtool.txt").read_text(), Indirection)
    assert even.rings == 14
    assert set(even.table) == set(range(14))
    # Without a table there is nothing to say, and after a gap nothing that could be trusted.
    assert facts_of((EVIDENCE / "healthy/virtio-guest/ethtool.txt").read_text(), Indirection) == []
    gap = "RX flow hash indirection table for e1 with 4 RX ring(s):\n    0:  0 1 2 3\n...\n   16:  3 3 3 3\n"
    assert facts_of(gap, Indirection)[0].table == (0, 1, 2, 3)


VMXNET3 = """$ ethtool -S ens192
NIC statistics:
     Tx Queue#: 0
       TSO pkts tx: 69
       pkts tx err: 0
     Tx Queue#: 1
       TSO pkts tx: 7
     Rx Queue#: 0
       ucast pkts rx: 1041
       pkts rx OOB: 12
       drv dropped rx total: 3
          err: 2
     tx timeout count: 0
"""


def test_counters_below_a_queue_carry_its_number():
    found = values(VMXNET3, "nic")
    assert found["ens192", "Tx Queue# 0 TSO pkts tx"] == 69
    assert found["ens192", "Tx Queue# 1 TSO pkts tx"] == 7
    assert found["ens192", "Rx Queue# 0 pkts rx OOB"] == 12
    assert found["ens192", "tx timeout count"] == 0
    assert found["ens192", "Rx Queue# 0 drv dropped rx total err"] == 2


def test_counters_with_colons_in_their_names_and_64_bits():
    text = "$ ethtool -S eth0\nNIC statistics:\n     [0]: rx_discards: 5\n     rxq0: rx_pkts: 18446744073709551615\n     x: n/a\n"
    assert values(text, "nic") == {("eth0", "[0]: rx_discards"): 5, ("eth0", "rxq0: rx_pkts"): (1 << 64) - 1}


def test_two_tables_without_a_device_are_not_two_looks_at_one():
    table = "NIC statistics:\n     rx_missed_errors: 5\n"
    assert len({owner for owner, _ in values(f"{table}\n\n{table}", "nic")}) == 2


def test_driver():
    (card,) = facts_of((EVIDENCE / "healthy/virtio-guest/ethtool.txt").read_text(), Driver)
    assert (card.dev, card.driver, card.version, card.bus) == ("eth0", "virtio_net", "1.0.0", "0000:00:03.0")


def test_links_with_details():
    links = {link.dev: link for link in facts_of((EVIDENCE / "healthy/netns-tunnels/ip.txt").read_text(), Link)}
    assert links["e1"].kind == "veth"
    assert links["e1"].lower == "if2"
    assert links["e1"].words["numrxqueues"] == "2"
    assert links["vx0"].kind == "vxlan"
    assert links["vx0"].mtu == 1450
    assert links["vx0"].words["dev"] == "e1"
    assert links["vx0"].words["srcport"] == "0 0"
    assert links["vx0"].words["dstport"] == "4789"
    assert "udpcsum" in links["vx0"].words
    assert links["t0"].kind == "tun"
    assert links["t0"].master == "br0"
    assert "bridge_slave" in links["t0"].words
    assert links["br0"].kind == "bridge"
    assert links["br0"].words["mcast_snooping"] == "1"
    assert links["lo"].kind == ""
    assert {"LOOPBACK", "UP"} <= links["lo"].flags
    assert links["lo"].state == "UNKNOWN"
    assert links["lo"].words["gso_max_size"] == "65536"


def test_counters_of_links_have_the_kernels_names():
    text = (EVIDENCE / "cases/vxlan_zero_outer_checksum_defeats_gro/ip-link.5s").read_text()
    found = values(text, "link")
    assert found["vx0", "rx_bytes"] == 623952748
    assert found["vx0", "rx_packets"] == 436958
    assert found["vx0", "rx_missed_errors"] == 0
    assert found["vx0", "multicast"] == 0
    assert found["vx0", "tx_carrier_errors"] == 0
    both = values((EVIDENCE / "healthy/netns-tunnels/ip.txt").read_text(), "link")
    assert {"rx_crc_errors", "rx_over_errors", "rx_missed_errors", "tx_aborted_errors", "carrier_changes"} <= {n for _, n in both}
    old = "2: eth0: <UP> mtu 1500\n    RX: bytes  packets  errors  dropped overrun mcast   \n    10   2   3   4   5   6  \n"
    assert values(old, "link") == {
        ("eth0", "rx_bytes"): 10, ("eth0", "rx_packets"): 2, ("eth0", "rx_errors"): 3, ("eth0", "rx_dropped"): 4,
        ("eth0", "rx_over_errors"): 5, ("eth0", "multicast"): 6,
    }  # fmt: skip


def test_virtual_functions_count_for_themselves():
    text = (
        "2: eth0: <UP> mtu 1500\n    RX: bytes  packets  errors  dropped missed mcast\n    10   2   3   4   5   6\n"
        "    vf 0     link/ether 1e:49 brd ff, spoof checking on\n"
        "    RX: bytes  packets  mcast   bcast   dropped\n    7  1  0  0  9\n"
    )
    found = values(text, "link")
    assert found["eth0", "rx_bytes"] == 10
    assert found["eth0", "rx_dropped"] == 4
    assert found["eth0 vf 0", "rx_dropped"] == 9


def test_rounded_counters_are_no_numbers():
    text = "2: eth0: <UP> mtu 1500\n    RX: bytes  packets  errors  dropped overrun mcast   \n    1.2G   2M   3   0   0   0  \n"
    assert ("eth0", "rx_bytes") not in values(text, "link")
    assert values(text, "link")["eth0", "rx_errors"] == 3


def test_a_device_in_one_line():
    text = (
        "$ ip -o -d link\n3: vx0: <UP> mtu 1450 qdisc noqueue state UNKNOWN \\    link/ether 1e:49 brd ff "
        "\\    vxlan id 42 dev e1 noudpcsum\n"
    )
    (link,) = facts_of(text, Link)
    assert (link.kind, link.words["id"], link.words["dev"], "noudpcsum" in link.words) == ("vxlan", "42", "e1", True)


def test_addresses():
    text = (
        "$ ip -s addr\n2: e1@if2: <UP> mtu 1500 state UP\n    link/ether 1e:49 brd ff\n"
        "    inet 10.9.0.1/24 scope global e1\n    inet 10.9.0.3/24 x\n"
    )
    assert facts_of(text, Link)[0].words["inet"] == "10.9.0.1/24 10.9.0.3/24"


NEW_IFCONFIG = """$ ifconfig eth0
eth0: flags=4163<UP,BROADCAST,RUNNING,MULTICAST>  mtu 1500
        inet 10.5.224.27  netmask 255.255.255.0  broadcast 10.5.224.255
        ether 52:54:00:a4:44:ae  txqueuelen 1000  (Ethernet)
        RX packets 9525661556  bytes 10963926751740 (9.9 TiB)
        RX errors 1  dropped 2  overruns 3  frame 4
        TX packets 8801210220  bytes 12331600148587 (11.2 TiB)
        TX errors 0  dropped 0 overruns 0  carrier 5  collisions 6
"""


def test_both_layouts_of_ifconfig():
    new, old = values(NEW_IFCONFIG, "link"), values((EVIDENCE / "healthy/few-old-drops/e1000e.txt").read_text(), "link")
    assert new["eth0", "rx_packets"] == 9525661556
    assert new["eth0", "rx_bytes"] == 10963926751740
    assert new["eth0", "tx_carrier_and_other_errors"] == 5
    assert new["eth0", "collisions"] == 6
    assert new["eth0", "rx_errors"] == 1
    assert old["eth0", "rx_packets"] == 3811442658
    assert old["eth0", "rx_bytes"] == 3492834266631
    assert old["eth0", "rx_dropped_and_missed"] == 7183
    # They are sums there: never to be compared with what ip says.
    assert not {name for _, name in (*new, *old)} & {"rx_dropped", "rx_frame_errors", "tx_carrier_errors"}
    (link,) = facts_of(NEW_IFCONFIG, Link)
    assert link.mtu == 1500
    assert "RUNNING" in link.flags


def test_queueing_disciplines():
    text = (EVIDENCE / "cases/qdisc_drops/pfifo.txt").read_text()
    assert [(q.dev, q.kind, q.handle, q.parent) for q in facts_of(text, Qdisc)][:2] == [
        ("e1", "htb", "1:", "root"), ("e1", "pfifo", "10:", "1:1"),
    ]  # fmt: skip
    found = values(text, "qdisc")
    assert found["e1 pfifo 10: 1:1", "dropped"] == 584047
    assert found["e1 pfifo 10: 1:1", "sent_packets"] == 6931
    assert found["e1 htb 1: root", "overlimits"] == 6928
    assert found["e1 htb 1: root", "backlog"] == 0
    mq = facts_of("$ tc -s qdisc\nqdisc mq 0: dev t0 root \n Sent 1 bytes 1 pkt (dropped 0, overlimits 0 requeues 0) \n", Qdisc)
    assert mq[0].owner == "t0 mq 0: root"
    held = values("qdisc fq 8001: dev e1 root\n backlog 121Kb 84p requeues 9\n", "qdisc")
    assert held == {("e1 fq 8001: root", "backlog"): 84}


HOSTILE = [
    "Features for", "Ring parameters for e:", "NIC statistics:", "RX flow hash indirection table for e with 4 RX ring(s):",
    "2: e: <UP> mtu 1500", "qdisc fq 0: dev e root", "eth0: flags=1<UP>  mtu 1", "$ ethtool -S e", "$ ip -s link",
    "Actual changes:", "    0:  0 1 99999999999999999999", "     rx: 99999999999999999999999999", "RX:\t\t" + "9" * 30,
    "    RX: bytes packets",
    "    " + "9" * 5000, "     x: " + "9" * 5000, " Sent 1 bytes 1 pkt (dropped 1", "tx-x: on [requested", "\x00\xff\ufffd",
    "RX: 接收",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=60)), max_size=30))
def test_no_text_makes_a_parser_fail(lines):
    for fact in Transcript(lines, "hostile").facts():
        assert fact.at.line


@pytest.mark.parametrize(
    "name", ["veth-features/tx-off.txt", "healthy/netns-tunnels/ip.txt", "healthy/netns-tunnels/ethtool.txt"]
)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_transcript_cut_anywhere_gives_the_facts_before_the_cut(name, data):
    text = (EVIDENCE / name).read_text()
    cut = data.draw(st.integers(0, len(text)))
    whole = {(type(f), f.key) for f in facts_of(text)}
    before = facts_of(text[:cut])
    # What stands before the cut is the same; only the line that was cut, and what belongs to a device, may differ.
    assert sum((type(f), f.key) not in whole for f in before) <= 2


@pytest.mark.parametrize(
    "line", [" " * 65000, "a" * 65000, "a-" * 32000, "x: on " * 10000, "9 " * 32000, "[" * 65000, "\\" * 65000]
)
@pytest.mark.parametrize(
    "begin", ["$ ethtool -k e", "$ ethtool -S e", "2: e: <UP> mtu 1", "$ tc -s qdisc", "$ ifconfig", "$ ethtool -x e"]
)
def test_a_line_of_64_kib_takes_no_time(begin, line):
    start = time.process_time()
    for _ in Transcript([begin, line], "long").facts():
        pass
    # Quadratic work would take minutes: this bound is no speed test.
    assert time.process_time() - start < 20
