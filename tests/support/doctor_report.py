"""A diagnosis with everything in it that reports can tell, made by hand."""

from pktpath.doctor.case import Case, Missing
from pktpath.doctor.diagnose import Diagnosis
from pktpath.doctor.facts.base import Place
from pktpath.doctor.facts.device import DeviceFeature
from pktpath.doctor.facts.perf import SampledStack
from pktpath.doctor.facts.process import Process, Syscall, Thread
from pktpath.doctor.finding import Confidence, Finding, Remedy, Rule, Severity
from pktpath.doctor.remedy import features, sysctl

HOSTILE = "\x1b[31mred\x1b]0;title\x07 <script>alert(1)</script> \u202egnp.exe\u2066 & \"x\" 'y' {{ 7 * 7 }} \x00\x9b2J\ud800"


def place(text: str, line: int = 1, source: str = "node/ethtool_-k_eth0", **more) -> Place:
    return Place(source, line, text, **more)


def finding(**more) -> Finding:
    given = {
        "severity": Severity.WARNING, "confidence": Confidence.LIKELY, "summary": "eth0 does something.",
        "evidence": (place("rx-lro: on"),), "why": "It was told to.", "about": "eth0", "rule": "does-something",
    }  # fmt: skip
    return Finding(**(given | more))


def a_rule(name: str, ask: str = "ethtool -k DEV", well: str = "All is well.") -> Rule:
    return Rule(id=name, find=lambda case: iter(()), needs=(), ask=ask, well=well, topic="tso")


def tso(dev: str) -> Remedy:
    return features(
        dev, {"tx": True}, effect="TSO comes back by itself.", cost="Captures here show frames of up to 64 KiB.",
        verify=f"ethtool -k {dev} shows tx-tcp-segmentation: on",
    )  # fmt: skip


def stacks() -> list[SampledStack]:
    main = ("start_thread", "ovsthread_wrapper", "pmd_thread_main", "dp_netdev_process_rxq_port")
    folded = [
        ("pmd-c01/id:8", (*main, "netdev_rxq_recv", "netdev_dpdk_vhost_rxq_recv", "rte_vhost_dequeue_burst"), 420),
        ("pmd-c01/id:8", (*main, "netdev_rxq_recv", "netdev_dpdk_vhost_rxq_recv"), 60),
        ("pmd-c01/id:8", (*main, "dp_netdev_input__", "dfc_processing", "miniflow_extract"), 210),
        ("pmd-c01/id:8", (*main, "dp_netdev_input__", "fast_path_processing", "dpcls_lookup"), 150),
        ("pmd-c01/id:8", (*main[:3], "rdtsc"), 90),
        ("ovs-vswitchd", ("main", "poll_block", "poll", "<script>alert(1)</script>"), 20),
        ("ovs-vswitchd", ("main", "bridge_run"), 1),
    ]
    return [SampledStack(at=place(""), command=command, tid=0, frames=frames, samples=count) for command, frames, count in folded]


def device_features() -> list[DeviceFeature]:
    found = []
    for dev in ("eth0", "eth1", "tap1", "tap2"):
        tap = dev.startswith("tap")
        for name, active, fixed, requested, group in (
            ("rx-checksumming", True, tap, None, ""),
            ("tx-checksumming", dev != "eth1", False, None, ""),
            ("tx-checksum-ip-generic", dev != "eth1", False, None, "tx-checksumming"),
            ("tcp-segmentation-offload", dev != "eth1", False, None, ""),
            ("tx-tcp-segmentation", dev != "eth1", False, True if dev == "eth1" else None, "tcp-segmentation-offload"),
            ("large-receive-offload", False, True, None, ""),
            ("rx-vlan-filter", not tap, True, None, ""),
        ):
            if name == "rx-vlan-filter" and tap:
                continue
            at = place(f"{name}: {'on' if active else 'off'}", len(found) + 1)
            found.append(DeviceFeature(at=at, dev=dev, name=name, active=active, fixed=fixed, requested=requested, group=group))
    return found


def facts() -> list:
    threads = [(25650, "pmd-c01/id:8", "R", 99.9), (2291, "ovs-vswitchd", "S", 0.3), (2300, "urcu2", "S", 0.0)]
    calls = [
        (2291, "poll", 1290, 0, ()),
        (2291, "accept", 1290, 1290, (("EAGAIN", 1290),)),
        (25650, "futex", 3, 1, (("EAGAIN", 1),)),
    ]
    return [
        Process(at=place(""), pid=2291, name="ovs-vswitchd"),
        *(Thread(at=place("", tid), pid=2291, tid=tid, name=name, state=state, cpu=cpu) for tid, name, state, cpu in threads),
        *(
            Syscall(at=place("", 1), pid=2291, tid=tid, name=name, calls=count, errors=errors, errnos=errnos, seconds=0.012)
            for tid, name, count, errors, errnos in calls
        ),
        *stacks(),
        *device_features(),
    ]


def softnet() -> Finding:
    backlog = sysctl(
        "net.core.netdev_max_backlog", "4000", "1000", effect="Four times as many frames may wait.",
        cost="Frames wait longer before they are dropped; up to 4000 buffers more a CPU.",
        verify="the second column of /proc/net/softnet_stat no longer rises",
    )  # fmt: skip
    return finding(
        severity=Severity.PROBLEM, confidence=Confidence.CERTAIN, rule="softnet-drops", about="cpu3",
        summary="CPU 3 drops 1,204 frames a second before the stack sees them: its backlog of 1,000 is full.",
        evidence=(
            place("00015c73 000004b4 0000000a 00000000 00000000", 4, "proc_net_softnet_stat.5s"),
            place("00012a11 00000000 0000000a 00000000 00000000", 4, "proc_net_softnet_stat.0"),
        ),
        why="RPS puts frames of all queues on the backlog of one CPU. When net.core.netdev_max_backlog frames wait there, "
        "the next one is dropped.",
        remedies=(backlog, tso("eth0")),
    )  # fmt: skip


def tso_off(dev: str) -> Finding:
    return finding(
        confidence=Confidence.CERTAIN, rule="tso-off-for-want-of-checksum", about=dev,
        summary=f"{dev} does no TCP segmentation offload, though it is asked to, because tx-checksum-ip-generic is off.",
        evidence=(
            place("\ttx-checksum-ip-generic: off", 5, f"node/ethtool_-k_{dev}"),
            place("\ttx-tcp-segmentation: off [requested on]", 18, f"node/ethtool_-k_{dev}", scope="h1"),
        ),
        why="Each segment needs a checksum of its own. The [requested on] lines are consequences, not causes.",
        remedies=(tso(dev),),
    )  # fmt: skip


def pmd() -> Finding:
    return finding(
        severity=Severity.NOTE, rule="pmd-polls",
        summary="pmd-c01/id:8 uses 100 % of core 1 because it busy-polls, which is how PMD threads are made.",
        why="It asks its queues without a pause, whether there is traffic or not.",
        proof="ovs-appctl dpif-netdev/pmd-perf-show; idle iterations tell the real load",
    )  # fmt: skip


def diagnosis(*findings: Finding, live: bool = False, missing: tuple[Missing, ...] = ()) -> Diagnosis:
    """Make a diagnosis of these findings; of one of each kind without any."""
    made = missing or (
        Missing("system calls of ovs-vswitchd", "strace is not installed", "apt-get install strace"),
        Missing("node/lspci", "cut off in line 12"),
    )
    return Diagnosis(
        Case(facts(), made, live=live),
        findings or (softnet(), *map(tso_off, ("eth1", "eth2", "eth3")), pmd()),
        (a_rule("ring-too-small", well="No ring is smaller than it may be while frames are missed."), a_rule("b")),
        (a_rule("c"), a_rule("d", ask="ovs-appctl dpif-netdev/pmd-rxq-show"), a_rule("e")),
        made,
    )
