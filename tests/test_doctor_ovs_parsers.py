"""Texts of Open vSwitch, of many versions and damaged in many ways, and of pktpath's own switch: what is read of them."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pktpath.control import dpctl_text, other_text, pmd_text
from pktpath.control.dp_text import flow_dump
from pktpath.doctor.facts.host import Counter, LogMessage, Setting
from pktpath.doctor.facts.ovs import (
    CoverageEvent,
    Datapath,
    DatapathPort,
    Megaflow,
    MegaflowTotals,
    OvsBridge,
    OvsInterface,
    PmdOverhead,
    PmdThread,
    Rxq,
    Upcalls,
)
from pktpath.doctor.parse.ovs_words import mapping, number, unquoted, whole
from pktpath.doctor.parse.source import read
from support import control_views
from support.doctor import EVIDENCE, facts_of
from support.live_switch import Net, Running, until
from support.open_vswitch import OpenVSwitch, why_unavailable


def only(facts):
    assert len(facts) == 1, facts
    return facts[0]


def counters(facts, group):
    return {(fact.owner, fact.name): fact.value for fact in facts if isinstance(fact, Counter) and fact.group == group}


# Datapaths

OLD_SHOW = """$ sudo ovs-dpctl show

    system@ovs-system:
        lookups: hit:308129543 missed:38878373 lost:0
        flows: 0
        masks: hit:934093039 total:0 hit/pkt:2.69
        port 0: ovs-system (internal)
        port 2: p4p2
"""
NEW_SHOW = """system@ovs-system:
  lookups: hit:1916 missed:427 lost:0
  flows: 3
  masks: hit:3507 total:2 hit/pkt:1.50
  cache: hit:1174 hit-rate:50.11%
  caches:
    masks-cache: size:256
  port 1: genev_sys_6081 (geneve: packet_type=ptap)
    RX packets:0 errors:? dropped:? overruns:? frame:?
    TX packets:24 errors:0 dropped:1 aborted:0 carrier:?
    collisions:0
    RX bytes:1144 (1.1 KiB)  TX bytes:1418 (1.4 KiB)
netdev@ovs-netdev:
  lookups: hit:0 missed:0 lost:0
  flows: 0
  port 4: vhost0 (dpdkvhostuserclient: configured_rx_queues=1, mtu=0)
, could not retrieve stats (Protocol error)
"""


def test_an_old_datapath():
    facts = facts_of(OLD_SHOW)
    datapath = only([fact for fact in facts if isinstance(fact, Datapath)])
    assert (datapath.hit, datapath.missed, datapath.lost) == (308129543, 38878373, 0)
    assert (datapath.masks, datapath.hit_per_packet, datapath.cache_hit) == (0, 2.69, None)
    assert datapath.at.text.strip().startswith("lookups:")
    assert datapath.places["masks"].line == 6
    assert [(port.number, port.name, port.kind) for port in facts if isinstance(port, DatapathPort)] == [
        (0, "ovs-system", "internal"),
        (2, "p4p2", ""),
    ]


def test_datapaths_with_caches_and_unknown_counters():
    facts = facts_of(NEW_SHOW)
    kernel, userspace = (fact for fact in facts if isinstance(fact, Datapath))
    assert (kernel.cache_hit, kernel.flows, kernel.userspace, userspace.userspace) == (1174, 3, False, True)
    assert counters(facts, "dpport") == {
        ("system@ovs-system genev_sys_6081", name): value
        for name, value in {
            "rx_packets": 0, "tx_packets": 24, "tx_errors": 0, "tx_dropped": 1, "tx_aborted_errors": 0, "collisions": 0,
            "rx_bytes": 1144, "tx_bytes": 1418,
        }.items()
    }  # fmt: skip
    ports = [fact for fact in facts if isinstance(fact, DatapathPort)]
    assert ports[-1].options == "configured_rx_queues=1, mtu=0"
    assert ports[0].kind == "geneve"


def test_upcalls():
    text = """$ ovs-appctl upcall/show
netdev@ovs-netdev:
  flows         : (current 20000) (avg 19999) (max 20000) (limit 165000)
  offloaded flows : 0
  dump duration : 107ms
  ufid enabled : true

  6: (keys 20000)
"""
    found = only(facts_of(text, Upcalls))
    assert (found.current, found.average, found.maximum, found.limit) == (20000, 19999, 20000, 165000)
    assert (found.dump_ms, found.offloaded) == (107, 0)
    assert found.places["dump duration"].line == 5


# Threads

OLD_STATS = """pmd thread numa_id 0 core_id 22:
\temc hits:17461158
\tmegaflow hits:0
\tavg. subtable lookups per hit:0.00
\tmiss:0
\tlost:0
\tpolling cycles:4948219259 (25.81%)
\tprocessing cycles:14220835107 (74.19%)
\tavg cycles per packet: 1097.81 (19169054366/17461158)
\tavg processing cycles per packet: 814.43 (14220835107/17461158)
main thread:
\temc hits:5
"""


def test_threads_of_an_old_version():
    pmd, main = facts_of(OLD_STATS, PmdThread)
    assert (pmd.thread, pmd.numa, pmd.core) == ("pmd thread numa_id 0 core_id 22", 0, 22)
    assert pmd.stats["emc hits"] == 17461158
    assert pmd.stats["polling cycles"] == 4948219259
    assert pmd.shares["processing cycles"] == 74.19
    assert pmd.stats["avg cycles per packet"] == 1097.81
    assert (main.thread, main.core, main.stats) == ("main thread", None, {"emc hits": 5})


def test_performance_of_a_thread():
    found = only([fact for fact in read([EVIDENCE / "cases/pmd_overloaded"]).all(PmdThread) if fact.seconds][:1])
    assert found.seconds == 6.028
    assert found.stats["Rx packets"] == 97581376
    assert (found.stats["cycles/pkt"], found.stats["pkts/batch"], found.stats["us/it"]) == (160, 32.0, 1.97)
    assert found.shares["busy iterations"] == 100.0
    assert found.shares["EMC hits"] == 100.0
    assert found.stats["Lost upcalls"] == 0
    assert found.places["Tx batches"].text.startswith("  Tx batches:")


def test_queues():
    text = """Displaying last 60 seconds pmd usage %
pmd thread numa_id 0 core_id 1:
  isolated : true
  port: vhost-user0       queue-id:  0 (disabled)  pmd usage:  0 %
  port: dpdk1             queue-id: 12 (enabled)   pmd usage: NOT AVAIL
  overhead: NOT AVAIL
pmd thread numa_id 1 core_id 5:
  isolated : false
  port: dpdk1             queue-id:  1  pmd usage: 96 %
  overhead:  4 %
"""
    facts = facts_of(text)
    queues = [
        (queue.core, queue.isolated, queue.port, queue.queue, queue.enabled, queue.usage)
        for queue in facts
        if isinstance(queue, Rxq)
    ]
    assert queues == [
        (1, True, "vhost-user0", 0, False, 0.0),
        (1, True, "dpdk1", 12, True, None),
        (5, False, "dpdk1", 1, True, 96.0),
    ]
    assert [(fact.core, fact.usage) for fact in facts if isinstance(fact, PmdOverhead)] == [(1, None), (5, 4.0)]
    assert not [fact for fact in facts if isinstance(fact, PmdThread)]


# Flows

DUMP = """$ ovs-appctl dpctl/dump-flows -m
flow-dump from pmd on cpu core: 1
ufid:c460740d-9ce6-4b55-8d05-f076c9f7959b, recirc_id(0),in_port(a),eth_type(0x0800), packets:8, bytes:800, used:0.012s, \
flags:S., offloaded:yes, dp:tc, actions:b, dp-extra-info:miniflow_bits(5,0)
recirc_id(0),in_port(2),eth_type(0x0806), packets:0, bytes:0, used:never, actions:drop
recirc_id(0),in_port(3), packets:5, bytes:300, used:4s, dp:ovs, actions:userspace(pid=0,controller(reason=1,max_len=65535))
recirc_id(0),in_port(4), packets:?, bytes:1, used:4s, actions:1
"""


def test_flows():
    facts = facts_of(DUMP)
    one, two, three = (fact for fact in facts if isinstance(fact, Megaflow))
    assert one.match == "recirc_id(0),in_port(a),eth_type(0x0800)"
    assert (one.actions, one.packets, one.bytes, one.used, one.offloaded, one.dp) == ("b", 8, 800, 0.012, "yes", "tc")
    assert (two.used, two.actions) == (None, "drop")
    assert three.actions.startswith("userspace(pid=0,controller(")
    totals = only([fact for fact in facts if isinstance(fact, MegaflowTotals)])
    assert (totals.flows, totals.packets, totals.bytes) == (3, 13, 1100)
    assert (totals.offloaded, totals.to_userspace, totals.drops) == (1, 1, 1)


def test_a_long_dump_is_counted_whole_and_kept_in_part():
    rows = (f"recirc_id(0),in_port({i}), packets:{i}, bytes:{i}, used:1s, actions:1\n" for i in range(20_000))
    facts = facts_of("$ ovs-dpctl dump-flows\n" + "".join(rows))
    kept = [fact.packets for fact in facts if isinstance(fact, Megaflow)]
    assert len(kept) == 2000
    assert kept[:1000] == list(range(1000))
    assert kept[1000:] == list(range(19_000, 20_000))
    assert only([fact for fact in facts if isinstance(fact, MegaflowTotals)]).packets == sum(range(20_000))


def test_connections_are_passed_over():
    text = "$ ovs-appctl dpctl/dump-conntrack\n" + "tcp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1,dport=2)\n" * 1000
    assert facts_of(text) == []


# Counts


def test_events_and_memory():
    facts = facts_of(
        "Event coverage, avg rate over last: 5 seconds, last minute, last hour,  hash=1645c64d:\n"
        "packet_in_overflow       345473.0/sec 28940.600/sec      482.3433/sec   total: 3974645\n"
        "drop_action_of_pipeline    0.0/sec 12764256.083/sec   212737.6014/sec   total: 765855365\n"
        "115 events never hit\n\n$ ovs-appctl memory/show\n"
        "handlers:1 idl-cells-Open_vSwitch:1521 ports:26 revalidators:1 rules:28 udpif keys:24\n"
    )
    events = {fact.name: fact for fact in facts if isinstance(fact, CoverageEvent)}
    assert events["packet_in_overflow"].five_seconds == 345473.0
    assert events["drop_action_of_pipeline"].total == 765855365
    assert len(events) == 2
    held = counters(facts, "memory")
    assert held["ovs-vswitchd", "udpif keys"] == 24
    assert held["ovs-vswitchd", "idl-cells-Open_vSwitch"] == 1521


# The database


def test_bridges_interfaces_and_their_errors():
    case = read([EVIDENCE / "cases/interface_error/ovs-vsctl_show.txt"])
    assert [(bridge.name, bridge.datapath_type) for bridge in case.all(OvsBridge)] == [("br0", "netdev")]
    found = {fact.name: fact for fact in case.all(OvsInterface)}
    assert set(found) == {"null0", "null1", "br0", "vhost0"}
    assert found["null0"].error == "could not add network device null0 to ofproto (Invalid argument)"
    assert found["null0"].at.text.strip().startswith("error:")
    assert found["null1"].options == {"dpdk-devargs": "eth_null1,no-rx=1"}
    assert (found["vhost0"].kind, found["vhost0"].bridge, found["vhost0"].error) == ("dpdkvhostuserclient", "br0", "")


def test_records_of_the_database():
    facts = facts_of(
        """$ ovs-vsctl list interface vhost0
_uuid               : 79cec0ca-1abb-4f98-8f6c-8bd9133dd6d0
error               : []
name                : vhost0
ofport              : 1
options             : {vhost-server-path="/run/a b/vh0.sock"}
statistics          : {ovs_tx_failure_drops=7, ovs_tx_retries=0}
status              : {mode=client, status=disconnected}
type                : dpdkvhostuserclient

$ ovs-vsctl list Open_vSwitch
_uuid               : 14201798-8a18-4ca9-9982-f3b6fab8ca50
next_cfg            : 4
other_config        : {dpdk-extra="--no-pci -m 512", dpdk-init="true", pmd-cpu-mask="0x2", pmd-rxq-assign=roundrobin}
ovs_version         : "3.1.0"
"""
    )
    vhost = only([fact for fact in facts if isinstance(fact, OvsInterface)])
    assert vhost.status == {"mode": "client", "status": "disconnected"}
    assert vhost.options == {"vhost-server-path": "/run/a b/vh0.sock"}
    assert vhost.error == ""
    assert counters(facts, "interface")["vhost0", "ovs_tx_failure_drops"] == 7
    settings = {(fact.where, fact.name): fact.value for fact in facts if isinstance(fact, Setting)}
    assert settings == {
        ("other_config", "dpdk-extra"): "--no-pci -m 512",
        ("other_config", "dpdk-init"): "true",
        ("other_config", "pmd-cpu-mask"): "0x2",
        ("other_config", "pmd-rxq-assign"): "roundrobin",
        ("ovs", "ovs_version"): "3.1.0",
    }


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ('$ ovs-vsctl get Open_vSwitch . other_config\n{pmd-cpu-mask="0x2"}', {"pmd-cpu-mask": "0x2"}),
        ('$ ovs-vsctl get Open_vSwitch . other_config:pmd-cpu-mask\n"0x2"', {"pmd-cpu-mask": "0x2"}),
        ("$ ovs-vsctl -t 5 get Open_vSwitch . other_config:hw-offload\ntrue", {"hw-offload": "true"}),
        ("$ ovs-vsctl get Open . other_config\n{}", {}),
        (
            '$ ovs-vsctl get Open_vSwitch . other_config:x\novs-vsctl: no key "x" in Open_vSwitch record "." column other_config',
            {},
        ),
    ],
)
def test_other_config(text, settings):
    assert {fact.name: fact.value for fact in facts_of(text, Setting)} == settings


def test_addresses():
    found = counters(list(read([EVIDENCE / "cases/mac_table_full"]).all(Counter)), "fdb")
    assert found["br0", "current"] == found["br0", "maximum"] == 1000
    assert found["br0", "evicted"] == 2408798


# The log


def test_telling_lines_of_a_log():
    quiet = "2026-11-21T16:20:05.240Z|00099|dpif_netdev|INFO|Core  1 on numa node 0 assigned port 'vhost0' rx queue 0.\n"
    telling = "2026-11-21T16:20:05.245Z|00101|bridge|WARN|could not add network device null1 to ofproto (Invalid argument)\n"
    late = (
        "2020-05-20T08:53:08Z|00836|timeval(handler91)|WARN|Unreasonably long 1438ms poll interval (630ms user, 787ms system)\n"
    )
    found = facts_of(quiet + telling + late, LogMessage)
    assert [(fact.program, fact.message.partition("|")[0]) for fact in found] == [
        ("ovs-vswitchd", "bridge"),
        ("ovs-vswitchd", "timeval(handler91)"),
    ]


def test_a_long_log_is_kept_in_part(tmp_path):
    path = tmp_path / "ovs-vswitchd.log"
    line = "2020-05-20T08:53:{:02d}.092Z|{:05d}|timeval|WARN|Unreasonably long {}ms poll interval (630ms user, 787ms system)\n"
    path.write_text("".join(line.format(i % 60, i, 1000 + i) for i in range(10_000)))
    found = read([path]).all(LogMessage)
    assert len(found) == 40
    assert "10999ms" in found[-1].message


# Damage


@pytest.mark.parametrize("text", ["", "?", "-1", "1" * 5000, "1_0", "\N{SUPERSCRIPT TWO}", "0x1", " 1"])
def test_no_number(text):
    assert whole(text) is None


def test_words():
    assert number("1" * 5000) is None
    assert number("1.5") == 1.5
    assert number("..") is None
    assert unquoted('"a\\"b"') == 'a"b'
    assert unquoted("[]") == ""
    assert mapping('{a=, b="x, y=z", c=1}') == {"a": "", "b": "x, y=z", "c": "1"}


REAL = sorted(
    path
    for path in (EVIDENCE / "cases").rglob("*")
    if path.is_file() and re.search(r"ovs|storm|routing", path.name) and path.stat().st_size < 40_000
)


PIECES = ("", "?", "9" * 5000, "\x00", "-", "NOT AVAIL", "\N{NO-BREAK SPACE}", ":", "(", "\n", "nan")


@given(st.data())
def test_damaged_texts_are_no_fault(data):
    text = data.draw(st.sampled_from(REAL)).read_text()
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(at, min(len(text), at + 400)))
        piece = data.draw(
            st.sampled_from(["", "?", "9" * 5000, "\x00", "-", "NOT AVAIL", "\N{NO-BREAK SPACE}", ":", "(", "\n", "nan"])
        )
        text = text[:at] + piece + text[end:]
    for fact in facts_of(text):
        assert fact.at.line >= 1


def test_absurd_numbers_are_left_out():
    nines = "9" * 5000
    for text in (
        f"system@x:\n  lookups: hit:{nines} missed:1 lost:0\n  flows: {nines}\n",
        f"pmd thread numa_id 0 core_id 1:\n  packets received: {nines}\n",
        f"pmd thread numa_id 0 core_id 1:\n  port: a queue-id: {nines} (enabled)  pmd usage: {nines} %\n",
        f"recirc_id(0), packets:{nines}, bytes:1, used:1s, actions:1\n",
        f"netdev@x:\n  flows : (current {nines}) (avg 1) (max 1) (limit 1)\n",
    ):
        assert facts_of(text) == []


# Peers


def own_texts():
    view = control_views.view()
    upcalls = other_text.UpcallView(2, 3, 200_000, 4, ((0, 3),))
    return {
        "dpctl/show -s": dpctl_text.show(view, statistics=True, masks=True),
        "dpif-netdev/pmd-stats-show": pmd_text.stats_show(view.workers),
        "dpif-netdev/pmd-perf-show": pmd_text.perf_show(view.workers, 0.0),
        "dpif-netdev/pmd-rxq-show": pmd_text.rxq_show(view.workers),
        "dpctl/dump-flows -m": flow_dump(control_views.flows(), more=True),
        "upcall/show": other_text.upcall_show(view, upcalls),
        "memory/show": other_text.memory_show({"handlers": 1, "ports": 4}),
        "coverage/show": other_text.coverage_show([other_text.Event("datapath_packets", 1.0, 2.0, 3.0, 4)]),
    }


KINDS = {
    "dpctl/show -s": (Datapath, DatapathPort, Counter),
    "dpif-netdev/pmd-stats-show": (PmdThread,),
    "dpif-netdev/pmd-perf-show": (PmdThread,),
    "dpif-netdev/pmd-rxq-show": (Rxq,),
    "dpctl/dump-flows -m": (Megaflow, MegaflowTotals),
    "upcall/show": (Upcalls,),
    "memory/show": (Counter,),
    "coverage/show": (CoverageEvent,),
}
"""What each text holds."""


@pytest.mark.parametrize("command", KINDS)
def test_texts_of_pktpaths_own_switch(command):
    # With the command before it and by its shape alone.
    text = own_texts()[command]
    typed = facts_of(f"$ pktpath appctl -t /run/x.ctl {command}\n{text}")
    bare = facts_of(text)
    assert {type(fact) for fact in typed} >= set(KINDS[command])
    assert [type(fact) for fact in typed] == [type(fact) for fact in bare]


@pytest.mark.oracle
def test_a_running_switch_of_pktpath(tmp_path):
    text = '{head}schedule = "interrupt"\n[bridge.br0]\n[bridge.br0.port.p1]\ntype = "packet"\n'
    with Net(1) as net, Running(tmp_path, text, space=net.space) as switch:
        for command in ("dpctl/show -s", "dpif-netdev/pmd-stats-show", "upcall/show", "memory/show"):
            said = switch.appctl(*command.split())
            found = {type(fact) for fact in facts_of(f"$ pktpath appctl {command}\n{said}")}
            assert found >= set(KINDS[command]), f"{command}:\n{said}"
        switch.stop()


@pytest.mark.peer
def test_a_running_open_vswitch():
    missing = why_unavailable()
    if missing:
        pytest.skip(missing)
    with OpenVSwitch(other_config={"pmd-cpu-mask": "0x1"}) as switch:
        switch.bridge("br0", {"p1": 1, "p2": 2})
        switch.vsctl("add-port", "br0", "p3", "--", "set", "interface", "p3", "type=dummy-pmd")
        frame = "02" * 5 + "01" + "02" * 5 + "02" + "88b5" + "00" * 46
        for _ in range(3):
            switch.appctl("netdev-dummy/receive", "p1", frame)
        for command, kinds in KINDS.items():
            words = command.split()
            if words[0] == "dpctl/dump-flows":
                words.append("dummy@ovs-dummy")
            if words[0] == "coverage/show":
                # It counts every five seconds.
                until(lambda: "total:" in switch.appctl("coverage/show"), 30)
            said = switch.appctl(*words)
            found = {type(fact) for fact in facts_of(f"$ ovs-appctl {command}\n{said}")}
            assert found >= set(kinds), f"{command}:\n{said}"
        shown = facts_of("$ ovs-vsctl show\n" + switch.vsctl("show"))
        assert {fact.name for fact in shown if isinstance(fact, OvsInterface)} >= {"p1", "p2", "p3", "br0"}
        listed = facts_of("$ ovs-vsctl list interface\n" + switch.vsctl("list", "interface"))
        assert {fact.name: fact.kind for fact in listed if isinstance(fact, OvsInterface)}["p3"] == "dummy-pmd"
        for words in (("list", "Open_vSwitch"), ("get", "Open_vSwitch", ".", "other_config")):
            said = f"$ ovs-vsctl {' '.join(words)}\n{switch.vsctl(*words)}"
            assert ("pmd-cpu-mask", "0x1") in {(fact.name, fact.value) for fact in facts_of(said, Setting)}
        log = next(Path(switch.rundir).glob("ovs-vswitchd.log"))
        assert facts_of(log.read_text()) is not None
