"""A datapath that a test made up: two bridges' worth of ports, three threads, a few megaflows."""

from pktpath.switch import actions as act
from pktpath.switch.fields import key_of, mask_of
from pktpath.switch.views import DatapathView, FlowView, PortView, QueueView, WorkerView

PORT_COUNTERS = (
    "rx_packets", "rx_bytes", "rx_errors", "rx_dropped", "rx_over_errors", "rx_frame_errors",
    "tx_packets", "tx_bytes", "tx_errors", "tx_dropped",
)  # fmt: skip


def port(number, name, kind="packet", bridge="br0", **counters):
    values = dict.fromkeys(PORT_COUNTERS, 0) | counters
    return PortView(number, name, kind, bridge, 65534 if name == bridge else number, {"mtu": "1500"}, values)


def flows(time=0):
    tcp = {
        "in_port": 1,
        "dl_type": 0x0800,
        "nw_proto": 6,
        "nw_src": 0x0A000001,
        "nw_dst": 0x0A000002,
        "tp_src": 40000,
        "tp_dst": 80,
        "nw_ttl": 64,
    }
    looked = ("in_port", "dl_type", "nw_proto", "nw_frag", "tp_dst", "vlan_tci")
    arp = key_of(in_port=2, dl_type=0x0806, nw_proto=1, nw_src=0x0A000002, nw_dst=0x0A000001, dl_dst=(1 << 48) - 1)
    return (
        FlowView(key_of(**tcp), mask_of(*looked), (act.Set("nw_ttl", 63, 255), act.Output(2)), 1000 + 500 * time,
                 150_000 + 75_000_0 * time, 0.012, 0x12, 1, 1),
        FlowView(arp, mask_of("in_port", "dl_type", "vlan_tci"), (act.Output(1), act.Output(3)), 2, 84, 3.5, 0, None, 2),
        FlowView(key_of(in_port=2, dl_type=0x88CC), mask_of("in_port", "dl_type", "vlan_tci"), (), 1, 60, None, 0, None, 3),
    )  # fmt: skip


def worker(core, time, **changes):
    counters = {
        "packets": 1000 + 500 * time, "emc_hits": 600 + 300 * time, "megaflow_hits": 390 + 200 * time,
        "subtable_lookups": 780 + 400 * time,
        "upcalls": 10, "upcall_ns": 300_000, "lost": 1, "tx_packets": 998 + 500 * time, "tx_batches": 100 + 50 * time,
        "passes": 1000 + 500 * time,
        "iterations": 100_000, "idle_iterations": 99_000, "busy_iterations": 1000, "sleep_iterations": 0, "sleep_ns": 0,
        "idle_cycles": 2_000_000_000 * (1 + time), "busy_cycles": 1_000_000_000 * (1 + time), "ns": 1_000_000_000 * (1 + time),
    }  # fmt: skip
    return WorkerView(core, 0, False, changes.pop("queues", ()), 0.02, counters | changes, 3e9)


def view(time=0):
    """The datapath after some seconds."""
    dropped = {"tx_dropped": 2 + time, "drop_meter": 3 + 2 * time}
    ports = (
        port(2, "veth1", rx_packets=500, tx_packets=998 + 500 * time, tx_bytes=150_000 + 750_000 * time, **dropped),
        port(1, "eth0", rx_packets=1000 + 500 * time, rx_bytes=1_500_000_000 + 750_000 * time),
        port(0, "br0", "internal"),
        port(3, "tap-a", "tap", "br1"),
    )  # fmt: skip
    queues = (QueueView("veth1", 0, True, 0.0), QueueView("eth0", 1, False, None), QueueView("eth0", 0, True, 0.334))
    workers = (worker(None, time), worker(3, time, packets=0, busy_cycles=0), worker(1, time, queues=queues))
    hit, missed = 990 + 500 * time, 11
    return DatapathView("netdev@pktpath", hit, missed, 1, 3, 2, 1500 + 800 * time, ports, workers)
