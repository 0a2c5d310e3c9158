"""Texts of ports, threads, addresses and events: what a real Open vSwitch prints, from the same values."""

import re
import subprocess
import time

import pytest

from pktpath.control.dpctl_text import dpif_dump_dps, dpif_show, dump_dps, show
from pktpath.control.other_text import (
    Event,
    FdbStatistics,
    Learned,
    UpcallView,
    coverage_show,
    fdb_show,
    fdb_stats_show,
    memory_show,
    upcall_show,
)
from pktpath.control.pmd_text import perf_show, rxq_show, stats_show
from pktpath.control.trace_text import Kind, Trace, TraceNode, trace_text
from pktpath.switch.views import DatapathView, PortView, QueueView, WorkerView
from support.control_views import view
from support.open_vswitch import OpenVSwitch, why_unavailable

E1 = "eth(src=02:00:00:00:00:09,dst=02:00:00:00:00:0a)"
IP = "eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=6,tos=0,ttl=64,frag=no)"


@pytest.fixture(scope="module")
def switch():
    """Two bridges, ports with poll-mode threads, and traffic that has gone through both."""
    if missing := why_unavailable():
        pytest.skip(missing)
    with OpenVSwitch() as switch:
        switch.bridge("br0", {"p1": 1})
        switch.bridge("another", {"q": 7})
        for name, more in (("pmd0", ["ofport_request=2", "options:n_rxq=2"]), ("pmd-with-a-long-name", [])):
            switch.vsctl("add-port", "br0", name, "--", "set", "interface", name, "type=dummy-pmd", *more)
        # One learning packet, then so many that a port counts more than a KiB.
        for port, number in (("p1", 1), ("pmd0", 2), ("pmd0", 2)):
            for source in range(9):
                switch.appctl(
                    "netdev-dummy/receive", port, f"in_port({number}),{E1},{IP},tcp(src={source},dst=2)", "--len", "200"
                )
        time.sleep(0.5)
        yield switch


def ports_of(text):
    """PortViews of `dpctl/show -s`."""
    found = []
    for number, name, inside, body in re.findall(r"  port (\d+): (\S+) \((.*)\)\n((?:    .*\n)*)", text):
        kind, _, options = inside.partition(": ")
        options = dict(option.split("=") for option in options.split(", ") if option)
        counters = {}
        for way, line in re.findall(r"    ([RT]X) (packets.*)", body):
            counters[f"{way.lower()}_packets"] = int(re.match(r"packets:(\d+)", line).group(1))
        for way, size in re.findall(r"([RT]X) bytes:(\d+)", body):
            counters[f"{way.lower()}_bytes"] = int(size)
        found.append(PortView(int(number), name, kind, "", 0, options, counters))
    return tuple(found)


def datapath_of(text, bridges=""):
    name = text.partition(":")[0]
    hit, missed, lost = map(int, re.search(r"hit:(\d+) missed:(\d+) lost:(\d+)", text).groups())
    ports = list(ports_of(text))
    for bridge, body in re.findall(r"^  (\S+):\n((?:    .*\n)*)", bridges, re.MULTILINE):
        for openflow, number in re.findall(r" (\d+)/(\d+):", body):
            at = [port.number for port in ports].index(int(number))
            ports[at] = ports[at]._replace(bridge=bridge, openflow=int(openflow))
    flows = int(re.search(r"flows: (\d+)", text).group(1))
    return DatapathView(name, hit, missed, lost, flows, 0, 0, tuple(reversed(ports)), ())


@pytest.mark.peer
def test_datapaths_and_ports(switch):
    text = switch.appctl("dpctl/show", "-s")
    assert "KiB" in text
    datapath = datapath_of(text, switch.appctl("dpif/show"))
    assert len(datapath.ports) == 7
    assert show(datapath, statistics=True) == text
    assert show(datapath) == switch.appctl("dpctl/show")
    assert dpif_show(datapath) == switch.appctl("dpif/show")
    assert dump_dps(datapath) == switch.appctl("dpctl/dump-dps")
    # Bridges without an order of their own there.
    assert sorted(dpif_dump_dps(datapath).split()) == sorted(switch.appctl("dpif/dump-dps").split())


@pytest.mark.peer
def test_sizes_of_a_device_that_counts_all(switch):
    """Counters that a dummy lacks, and every unit: of a TAP whose counters we cannot set, so told by ovs-dpctl's own rules."""
    counters = {"rx_bytes": (1 << 40) * 3 // 2, "tx_bytes": (1 << 20) - 1, "rx_over_errors": 4}
    text = show(DatapathView("x", 0, 0, 0, 0, 0, 0, (PortView(1, "t", "tap", "b", 1, {}, counters),), ()), statistics=True)
    assert "overruns:4 frame:?" in text
    assert "    RX bytes:1649267441664 (1.5 TiB)  TX bytes:1048575 (1024.0 KiB)\n" in text


def workers_of(text, rxq=""):
    """WorkerViews of `pmd-stats-show` and of `pmd-rxq-show`."""
    found = []
    blocks = re.findall(r"((?:main thread|pmd thread.*):\n(?:  .*\n)*)", text)
    for block in blocks:
        got = {name.strip(): value.split()[0] for name, value in (line.split(":", 1) for line in block.splitlines()[1:])}
        packets, hits = int(got["packets received"]), int(got["megaflow hits"])
        sent = float(got["avg. packets per output batch"])
        counters = {
            "packets": packets,
            "passes": packets + int(got["packet recirculations"]),
            "emc_hits": int(got["emc hits"]),
            "megaflow_hits": hits,
            "subtable_lookups": round(float(got["avg. subtable lookups per megaflow hit"]) * hits),
            "upcalls": int(got["miss with success upcall"]),
            "lost": int(got["miss with failed upcall"]),
            # Only their ratio is told.
            "tx_packets": round(sent * 100),
            "tx_batches": 100,
            "idle_cycles": int(got.get("idle cycles", 0)),
            "busy_cycles": int(got.get("processing cycles", 0)),
        }
        where = re.match(r"pmd thread numa_id (\d+) core_id (\d+)", block)
        numa, core = map(int, where.groups()) if where else (0, None)
        queues = [
            QueueView(name, int(queue), state == "enabled", None if usage == "NOT AVAIL" else int(usage.split()[0]) / 100)
            for name, queue, state, usage in re.findall(r"port: (\S+) +queue-id: +(\d+) \((\w+)\) +pmd usage: +(.*)", rxq)
        ]
        overhead = re.search(r"overhead: +(\d+)", rxq)
        share = int(overhead.group(1)) / 100 if overhead else None
        found.append(WorkerView(core, numa, "isolated : true" in rxq, tuple(reversed(queues)), share, counters, 1.0))
    return tuple(reversed(found))


@pytest.mark.peer
def test_threads(switch):
    text, rxq = switch.appctl("dpif-netdev/pmd-stats-show"), switch.appctl("dpif-netdev/pmd-rxq-show")
    workers = workers_of(text, rxq)
    assert len(workers) == 2
    assert all(worker.counters["packets"] >= 9 for worker in workers)
    assert stats_show(workers) == text
    assert rxq_show(workers) == rxq
    assert rxq_show(workers, 15) == switch.appctl("dpif-netdev/pmd-rxq-show", "-secs", "12")


@pytest.mark.peer
def test_performance(switch):
    """Every number of `pmd-perf-show`, read, put into values, and written again."""
    text = switch.appctl("dpif-netdev/pmd-perf-show")
    got = {
        name.strip("- "): int(value) for name, value in re.findall(r"^  (.{20}) +(\d+)\b", text.replace(":", " "), re.MULTILINE)
    }
    seconds = float(re.search(r"Measurement duration: ([\d.]+)", text).group(1))
    lookups = float(re.search(r"([\d.]+) subtbl", text).group(1))
    # A dummy does not know the rate of its counter: it takes one cycle a second.
    clock = re.search(r"Time: (\d+):(\d+):(\d+)\.(\d+)", text)
    h, m, s, ms = map(int, clock.groups())
    counters = {
        "ns": round(seconds * 1e9), "iterations": got["Iterations"], "idle_iterations": got["idle iterations"],
        "busy_iterations": got["busy iterations"], "sleep_iterations": got["sleep iterations"], "packets": got["Rx packets"],
        "passes": got["Datapath passes"], "emc_hits": got["EMC hits"], "megaflow_hits": got["Megaflow hits"],
        "subtable_lookups": round(lookups * got["Megaflow hits"]), "upcalls": got["Upcalls"], "lost": got["Lost upcalls"],
        "tx_packets": got["Tx packets"], "tx_batches": got["Tx batches"], "upcall_ns": 0, "sleep_ns": 0,
    }  # fmt: skip
    per_packet = int(re.search(r"(\d+) cycles/pkt", text).group(1))
    busy = per_packet * got["Rx packets"]
    counters |= {"busy_cycles": busy, "idle_cycles": got["Used TSC cycles"] - busy}
    core = int(re.search(r"core_id (\d+)", text).group(1))
    ours = perf_show([WorkerView(core, 0, False, (), None, counters, 1.0)], h * 3600 + m * 60 + s + ms / 1000)
    # The duration is told in milliseconds and the share of its cycles from more digits than that.
    vague = re.compile(r"\([\d.]+ % of total cycles\)|\([\d.]+ Kpps")
    assert vague.sub("", ours) == vague.sub("", text)


def test_performance_of_a_thread_that_knows_its_clock():
    text = perf_show(view().workers, 45296.789)
    assert text.startswith("\nTime: 12:34:56.789\nMeasurement duration: 1.000 s\n\npmd thread numa_id 0 core_id 1:\n\n")
    assert "  Iterations:               100000  (10.00 us/it)\n" in text
    assert "  - Used TSC cycles:    3000000000  (100.0 % of total cycles)\n" in text
    assert "  - busy iterations:          1000  ( 33.3 % of used cycles)\n" in text
    assert "  Rx packets:                 1000  (1 Kpps, 1000000 cycles/pkt)\n" in text
    assert "  - Upcalls:                    10  (  1.0 %, 30.0 us/upcall)\n" in text
    assert "  Tx batches:                  100  (9.98 pkts/batch)\n" in text
    assert text.count("pmd thread") == 2
    assert "  Rx packets:                    0\n  Tx packets:" in text


def test_queues():
    text = rxq_show(view().workers)
    assert text.splitlines()[:6] == [
        "Displaying last 60 seconds pmd usage %",
        "pmd thread numa_id 0 core_id 1:",
        "  isolated : false",
        "  port: eth0              queue-id:  0 (enabled)   pmd usage: 33 %",
        "  port: eth0              queue-id:  1 (disabled)  pmd usage: NOT AVAIL",
        "  port: veth1             queue-id:  0 (enabled)   pmd usage:  0 %",
    ]
    assert text.endswith("  overhead:  2 %\npmd thread numa_id 0 core_id 3:\n  isolated : false\n")


def test_masks_are_told_where_they_are_wanted():
    assert "masks" not in show(view())
    assert show(view(), masks=True).splitlines()[3] == "  masks: hit:1500 total:2 hit/pkt:1.50"
    nothing = view()._replace(hit=0, missed=0)
    assert "hit/pkt:0.00" in show(nothing, masks=True)
    assert [line.split()[1] for line in show(view()).splitlines()[3:]] == ["0:", "1:", "2:", "3:"]


@pytest.mark.peer
def test_addresses(switch):
    text = switch.appctl("fdb/show", "br0")
    switch.appctl("fdb/add", "br0", "p1", "5", "00:00:00:00:00:77")
    switch.appctl("fdb/add", "br0", "br0", "0", "00:00:00:00:00:78")
    text = switch.appctl("fdb/show", "br0")
    assert "LOCAL" in text
    assert "static" in text
    entries = [
        Learned(
            65534 if port == "LOCAL" else int(port),
            int(vlan),
            int(mac.replace(":", ""), 16),
            None if age == "static" else int(age),
        )
        for port, vlan, mac, age in (line.split() for line in text.splitlines()[1:])
    ]
    assert fdb_show(entries) == text
    text = switch.appctl("fdb/stats-show", "br0")
    assert (
        fdb_stats_show(
            "br0",
            FdbStatistics(*(int(n) for n in re.findall(r"(?<=[ /])\d+", text)[:2]), *map(int, re.findall(r" : (\d+)", text))),
        )
        == text
    )


@pytest.mark.peer
def test_upcalls_memory_and_events(switch):
    text = switch.appctl("upcall/show")
    numbers = [int(n) for n in re.findall(r"(?:current|avg|max|limit|:) (\d+)", text)]
    revalidators = tuple((int(a), int(b)) for a, b in re.findall(r"^  (\d+): \(keys (\d+)\)", text, re.MULTILINE))
    datapath = datapath_of(switch.appctl("dpctl/show", "-s"))._replace(flows=numbers[0])
    assert upcall_show(datapath, UpcallView(*numbers[1:5], revalidators)) == text
    text = switch.appctl("memory/show")
    usage = dict(reversed(re.findall(r" ?([^:]+):(\d+)", text)))
    assert memory_show(usage) == text
    text = switch.appctl("coverage/show")
    until = time.monotonic() + 20
    while text.count("total:") <= 10 and time.monotonic() < until:
        # Threads hand in what they counted once a second or so.
        time.sleep(0.2)
        text = switch.appctl("coverage/show")
    events = [
        Event(name, float(a), float(b), float(c), int(total))
        for name, a, b, c, total in re.findall(
            r"^(\w+) +([\d.]+)/sec +([\d.]+)/sec +([\d.]+)/sec +total: (\d+)", text, re.MULTILINE
        )
    ]
    assert len(events) > 10
    never = int(re.search(r"(\d+) events never hit", text).group(1))
    ours = coverage_show([*events, *(Event(str(k), 0, 0, 0, 0) for k in range(never))])
    # Its mark is a hash of its own.
    assert re.sub("hash=[0-9a-f]{8}", "", ours) == re.sub("hash=[0-9a-f]{8}", "", text)


TABLES = """\
table=0,priority=3,in_port=1,actions=resubmit(,1),resubmit(,2),output:2
table=1,cookie=0x5,priority=5,ip,actions=set_field:1->reg0,resubmit(,3)
table=2,priority=5,ip,actions=dec_ttl,output:LOCAL
table=3,priority=5,actions=mod_dl_src:00:00:00:00:00:01,NORMAL
table=0,priority=4,in_port=1,dl_type=0x1235,actions=resubmit(,9)
table=0,priority=4,in_port=1,dl_type=0x1236,actions=in_port,controller,output:9
"""


def table(number, text, *nodes):
    return TraceNode(Kind.TABLE, text, number, nodes)


def act(text):
    return TraceNode(Kind.ACTION, text)


def warning(text):
    return TraceNode(Kind.WARNING, text)


LEARNING = table(
    3, "priority 5", act("set_field:00:00:00:00:00:01->eth_src"), act("NORMAL"),
    TraceNode(Kind.DETAIL, "no learned MAC for destination, flooding"),
)  # fmt: skip
FIRST = table(1, "ip, priority 5, cookie 0x5", act("set_field:0x1->reg0"), act("resubmit(,3)"), LEARNING)
ROUTED = table(2, "ip, priority 5", act("dec_ttl"), act("LOCAL"))
TOO_OLD = table(2, "ip, priority 5", act("dec_ttl"), warning("IPv4 decrement TTL exception"))
WAYS = {
    "icmp,nw_ttl=5": table(
        0, "in_port=1, priority 3", act("resubmit(,1)"), FIRST, act("resubmit(,2)"), ROUTED, act("output:2")
    ),
    "icmp,nw_ttl=1": table(
        0, "in_port=1, priority 3", act("resubmit(,1)"), FIRST, act("resubmit(,2)"), TOO_OLD, act("output:2")
    ),
    "dl_type=0x1235": table(0, "in_port=1,dl_type=0x1235, priority 4", act("resubmit(,9)"), table(9, "No match.", act("drop"))),
    "dl_type=0x1236": table(
        0, "in_port=1,dl_type=0x1236, priority 4", act("IN_PORT"), act("CONTROLLER:65535"), act("output:9"),
        warning("Nonexistent output port"),
    ),
}  # fmt: skip


@pytest.mark.peer
@pytest.mark.parametrize("packet", WAYS)
def test_traces(switch, packet):
    rules = switch.rundir / "trace.txt"
    rules.write_text(TABLES)
    management = f"unix:{switch.rundir}/br0.mgmt"
    switch.ofctl("-O", "OpenFlow13", "del-flows", management)
    switch.ofctl("-O", "OpenFlow13", "add-flows", management, str(rules))
    switch.appctl("fdb/flush", "br0")
    text = switch.appctl("ofproto/trace", "br0", f"in_port=1,{packet}")
    flow, final, megaflow, actions = (
        re.search(rf"^{name}: (.*)$", text, re.MULTILINE).group(1)
        for name in ("Flow", "Final flow", "Megaflow", "Datapath actions")
    )
    slow = re.findall(r"^  - (.*)$", text, re.MULTILINE)
    ours = trace_text(Trace(flow, "br0", (WAYS[packet],), None if final == "unchanged" else final, megaflow, actions, slow))
    assert ours == text


def test_a_trace_that_fails():
    nodes = (table(0, "in_port=1, priority 1", act("resubmit(,0)"), TraceNode(Kind.ERROR, "resubmit depth")),)
    text = trace_text(Trace("in_port=1", "b", nodes, None, "in_port=1", "drop", ("It is so.",)))
    assert "\n     >>>> resubmit depth <<<<\n" in text
    assert text.endswith("userspace slow path because it:\n  - It is so.\n")


@pytest.mark.peer
def test_the_judge_here_is_the_version_that_we_follow():
    if missing := why_unavailable():
        pytest.skip(missing)
    assert " 3.1." in subprocess.check_output(["ovs-appctl", "--version"], text=True)
