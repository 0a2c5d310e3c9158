"""What the doctor says about Open vSwitch: each rule on a real transcript, and where it is silent."""

import dataclasses

import pytest

from pktpath.doctor.case import Case
from pktpath.doctor.diagnose import diagnose
from pktpath.doctor.facts.base import Place
from pktpath.doctor.facts.ovs import DatapathPort, Rxq, Upcalls
from pktpath.doctor.facts.process import Thread
from pktpath.doctor.finding import Confidence, Severity
from support.doctor import case_of, evidence, facts_of, findings, says

RULES = {
    "datapath-drops-upcalls": (Severity.WARNING, "28,741,496", "3.2 %"),
    "emc-thrashing": (Severity.WARNING, "33.7 %", "461 cycles"),
    "flow-limit-near": (Severity.PROBLEM, "2,025 megaflows of 2,000", "673,502"),
    "flows-to-userspace": (Severity.PROBLEM, "controller", "5,236,832 between two looks"),
    "hw-offload-without-offloaded-flows": (Severity.WARNING, "none of the 2", "Function not implemented"),
    "interface-error": (Severity.PROBLEM, "null1", "memory pool"),
    "mac-table-full": (Severity.WARNING, "1000 of 1000", "292,282"),
    "megaflow-masks-many": (Severity.WARNING, "10.30 masks of 16"),
    "ovs-drops-packets": (Severity.PROBLEM, "965,260.8", "datapath_drop_userspace_action_error"),
    "ovs-thread-blocked": (Severity.WARNING, "main thread", "98 %", "computing"),
    "pmd-interrupted": (Severity.WARNING, "pmd-c01/id:8", "520 times"),
    "pmd-mask-overlaps-lcore-mask": (Severity.WARNING, "Core 1"),
    "pmd-overloaded": (Severity.WARNING, "100.0 %", "Kpps"),
    "pmd-small-batches": (Severity.WARNING, "1.33 packets in an output batch"),
    "pmd-upcalls-many": (Severity.WARNING, "93.3 %", "limit of flows"),
    "revalidation-slow": (Severity.WARNING, "1079 ms", "102,094"),
    "rxq-imbalance": (Severity.WARNING, "core 0 is 99 %", "core 1 is 0 %"),
    "rxq-on-another-node": (Severity.WARNING, "p1 is on NUMA node 1"),
    "upcall-rate-high": (Severity.WARNING, "670,734", "93.2 %"),
}


@pytest.mark.parametrize("rule", RULES)
def test_on_its_transcript(rule):
    severity, *words = RULES[rule]
    finding = says(evidence(f"cases/{rule.replace('-', '_')}"), rule, *words)
    assert finding.severity == severity


QUIET = ("healthy/ovs-dpdk-forwarding", "healthy/ovs-dpdk-idle", "healthy/ovs-hw-offload-thread", "sos-ovs-vxlan-node.tar.xz")


@pytest.mark.parametrize("name", QUIET)
def test_silent_where_all_is_well(name):
    case = evidence(name)
    assert [finding.summary for rule in RULES for finding in findings(case, rule)] == []


# Datapaths

SHOW = """$ ovs-dpctl show
system@ovs-system:
  lookups: hit:{} missed:{} lost:{}
  flows: 10
  masks: hit:{} total:16 hit/pkt:{}
"""


def two_looks(before, after, seconds=5.0):
    facts = [*case_facts(before, 0.0, 0), *case_facts(after, seconds, 1000)]
    return Case(facts)


def case_facts(text, when, order):
    from pktpath.doctor.parse.transcript import Transcript

    return Transcript(text.splitlines(), f"look{order}", when=when, order=order).facts()


def test_the_figures_of_a_datapath_that_does_well():
    case = case_of(SHOW.format(308129543, 38878373, 0, 934093039, 2.69))
    finding = says(case, "datapath-cache-well", "hit 308129543, missed 38878373, lost 0: 88.8 % hits, 2.69 masks a packet")
    assert finding.severity == Severity.NOTE
    assert findings(case, "megaflow-masks-many") == []


def test_losses_are_a_problem_when_they_rise():
    case = two_looks(SHOW.format(1000, 10_000, 5, 2000, 1), SHOW.format(2000, 30_000, 505, 4000, 1))
    finding = says(case, "datapath-drops-upcalls", "500 packets", "100.0/s", "20,000 missed")
    assert (finding.severity, finding.confidence) == (Severity.PROBLEM, Confidence.CERTAIN)
    assert len(finding.evidence) == 2


def test_old_losses_are_none():
    old = SHOW.format(68166908035, 65130584, 4419, 541048459085, 7.93)
    assert findings(case_of(old), "datapath-drops-upcalls") == []
    assert findings(two_looks(old, old), "datapath-drops-upcalls") == []


def test_failed_upcalls_of_the_userspace_datapath_are_not_called_lost():
    case = evidence("cases/upcall_rate_high")
    assert findings(case, "datapath-drops-upcalls") == []


def test_masks_of_late_count():
    # Many in all, few between the looks.
    before, after = (SHOW.format(10**9, 0, 0, 10**10, 10.0), SHOW.format(10**9 + 10**6, 0, 0, 10**10 + 10**6, 9.99))
    assert findings(two_looks(before, after), "megaflow-masks-many") == []
    assert says(case_of(before), "megaflow-masks-many").confidence == Confidence.LIKELY


def test_a_few_upcalls_are_none_too_many():
    before, after = SHOW.format(10**6, 1000, 0, 10**6, 1), SHOW.format(2 * 10**6, 3000, 0, 2 * 10**6, 1)
    assert findings(two_looks(before, after), "upcall-rate-high") == []


def test_a_limit_that_is_configured_can_be_raised():
    text = """$ ovs-appctl upcall/show
system@ovs-system:
  flows         : (current 199000) (avg 19999) (max 199999) (limit 200000)
  dump duration : 107ms
"""
    finding = says(case_of(text), "flow-limit-near", "199,000 megaflows of 200,000", "limit that is configured")
    assert "flow-limit=400000" in finding.remedies[0].command
    lowered = says(case_of(text.replace("200000", "200001").replace("(limit 200001", "(limit 100000")), "flow-limit-near")
    assert lowered.remedies == ()


# Threads


def test_an_idle_thread():
    finding = says(evidence("pmd-idle-vhostuser"), "pmd-idle", r"load is 0 %, idle iterations 100.0 %, Rx packets 0", "by design")
    assert finding.severity == Severity.NOTE
    commands = [remedy.command for remedy in finding.remedies]
    assert any("pmd-maxsleep" in command for command in commands)
    assert any("pmd-sleep-max" in command for command in commands)
    assert findings(evidence("cases/pmd_overloaded"), "pmd-idle") == []


@pytest.mark.parametrize(("version", "names"), [("3.1.0", {"pmd-maxsleep"}), ("3.3.1", {"pmd-sleep-max"}), ("2.17.9", set())])
def test_the_sleep_is_named_as_this_version_does(version, names):
    from support.doctor import EVIDENCE

    text = (EVIDENCE / "pmd-idle-vhostuser" / "ovs-appctl_dpif-netdev.pmd-perf-show.txt").read_text()
    case = case_of(text, f'$ ovs-vsctl show\n    ovs_version: "{version}"\n')
    commands = " ".join(remedy.command for remedy in says(case, "pmd-idle").remedies)
    assert {name for name in ("pmd-maxsleep", "pmd-sleep-max") if name in commands} == names
    assert "pmd-cpu-mask=0x2" in commands
    # Where that is the mask already, it is no advice.
    case = case_of(text, '$ ovs-vsctl get Open_vSwitch . other_config\n{dpdk-init="true", pmd-cpu-mask="0x2"}\n')
    assert "pmd-cpu-mask" not in " ".join(remedy.command for remedy in says(case, "pmd-idle").remedies)


def test_an_idle_worker_of_pktpaths_own_switch_has_its_own_remedy():
    idle = evidence("pmd-idle-vhostuser")
    port = DatapathPort(at=Place("x", 1, "port 1: p1 (packet)"), datapath="netdev@pktpath", number=1, name="p1", kind="packet")
    case = Case([port, *(fact for kind in idle._facts.values() for fact in kind)])
    assert [remedy.command for remedy in says(case, "pmd-idle").remedies if "ovs-vsctl" in remedy.command] == []


def test_small_batches_of_an_idle_thread_are_as_they_should_be():
    # 136,000 packets a second in batches of 1.39 at 14 % load: it comes round often.
    assert findings(evidence("healthy/ovs-dpdk-forwarding"), "pmd-small-batches") == []


def test_receive_drops_make_it_a_problem():
    rxq = """$ ovs-appctl dpif-netdev/pmd-rxq-show
pmd thread numa_id 0 core_id 1:
  isolated : false
  port: dpdk0             queue-id:  0 (enabled)   pmd usage: 99 %
"""
    show = """$ ovs-appctl dpctl/show -s
netdev@ovs-netdev:
  port 2: dpdk0 (dpdk: mtu=1500)
    RX packets:1 errors:0 dropped:{} overruns:? frame:?
"""
    stats = """$ ovs-appctl dpif-netdev/pmd-stats-show
pmd thread numa_id 0 core_id 1:
  packets received: {}
  idle cycles: {}
  processing cycles: {}
"""
    before = rxq + show.format(10) + stats.format(1000, 10**9, 10**6)
    after = rxq + show.format(510) + stats.format(10**6, 10**9 + 10, 10**9)
    finding = says(two_looks(before, after), "pmd-overloaded", "dpdk0 dropped 500 in 5 s", "at 200 Kpps")
    assert finding.severity == Severity.PROBLEM
    assert finding.remedies[0].command.endswith("pmd-cpu-mask=0x6")
    # A host that is known to have two CPUs only: the first is left to the kernel.
    stat = "$ cat /proc/stat\ncpu  2 0 2 200 0 0 0 0 0 0\ncpu0 1 0 1 100 0 0 0 0 0 0\ncpu1 1 0 1 100 0 0 0 0 0 0\n"
    assert says(two_looks(before + stat, after + stat), "pmd-overloaded").remedies == ()
    stat += "cpu4 1 0 1 100 0 0 0 0 0 0\n"
    case = two_looks(before + stat, after + stat)
    assert says(case, "pmd-overloaded").remedies[0].command.endswith("pmd-cpu-mask=0x12")


def test_a_busy_past_is_no_load_now():
    stats = "$ ovs-appctl dpif-netdev/pmd-stats-show\npmd thread numa_id 0 core_id 1:\n  packets received: {}\n"
    stats += "  idle cycles: {}\n  processing cycles: {}\n"
    case = two_looks(stats.format(10**9, 10**6, 10**12), stats.format(10**9 + 10, 10**10, 10**12 + 10))
    assert findings(case, "pmd-overloaded") == []


def test_pinned_and_unmeasured_queues_are_let_be():
    text = """pmd thread numa_id 0 core_id 0:
  isolated : {}
  port: nA                queue-id:  0 (enabled)   pmd usage: {}
  port: nC                queue-id:  0 (enabled)   pmd usage: 48 %
pmd thread numa_id {} core_id 1:
  isolated : false
  port: nB                queue-id:  0 (enabled)   pmd usage:  0 %
"""
    assert says(case_of(text.format("false", "46 %", 0)), "rxq-imbalance")
    for words in (("true", "46 %", 0), ("false", "NOT AVAIL", 0), ("false", "46 %", 1)):
        assert findings(case_of(text.format(*words)), "rxq-imbalance") == []


def test_one_heavy_queue_wants_more_queues():
    text = """pmd thread numa_id 0 core_id 0:
  isolated : false
  port: dpdk0             queue-id:  0 (enabled)   pmd usage: 96 %
pmd thread numa_id 0 core_id 1:
  isolated : false
  port: dpdk1             queue-id:  0 (enabled)   pmd usage:  0 %
"""
    assert "n_rxq=2" in says(case_of(text), "rxq-imbalance").remedies[0].command


def test_a_cache_that_hits_is_let_be():
    text = "pmd thread numa_id 0 core_id 1:\n  packets received: 9000000\n  emc hits: 8000000\n  megaflow hits: 1000000\n"
    assert findings(case_of(text), "emc-thrashing") == []
    assert findings(case_of(text.replace("emc hits: 8000000", "emc hits: 0")), "emc-thrashing") == []


def test_few_switches_are_the_kernels_own():
    case = evidence("cases/pmd_interrupted")
    threads = [fact for fact in case.all(Thread) if fact.name.startswith("pmd-c01")]
    threads = [dataclasses.replace(fact, delayed=2.0) for fact in threads]
    few = [dataclasses.replace(fact, involuntary=100 + 10 * number) for number, fact in enumerate(threads)]
    assert findings(Case(few), "pmd-interrupted") == []
    assert findings(Case(threads[:1]), "pmd-interrupted") == []


# The daemon


def test_what_is_over_is_not_told():
    # 371 a second in the last minute, by its mean; not one between the looks.
    told = {finding.about for finding in findings(evidence("cases/ovs_drops_packets"), "ovs-drops-packets")}
    assert told == {"datapath_drop_userspace_action_error", "packet_in_overflow"}


def test_devices_that_are_gone_are_a_warning():
    text = """$ ovs-vsctl show
    Bridge br-int
        Port tapA
            Interface tapA
                error: "could not open network device tapA (No such device)"
"""
    finding = says(case_of(text), "interface-error", "tapA", "no device")
    assert finding.severity == Severity.WARNING
    assert finding.remedies[0].command == "ovs-vsctl --if-exists del-port br-int tapA"


def test_an_idle_offload_thread_is_not_late():
    assert findings(evidence("healthy/ovs-hw-offload-thread"), "ovs-thread-blocked") == []


def test_samples_and_control_protocols_go_up_by_design():
    flow = "recirc_id(0),in_port(2), packets:900000, bytes:9, used:0.1s, actions:{}\n"
    for actions in (
        "sample(sample=12.5%,actions(userspace(pid=1,sFlow(vid=0,pcp=0,output=1)))),3",
        "userspace(pid=0,slow_path(lacp))",
        "userspace(pid=0,slow_path(bfd))",
        "drop",
    ):
        assert findings(case_of(flow.format(actions)), "flows-to-userspace") == []
    assert says(case_of(flow.format("userspace(pid=0,slow_path(action))")), "flows-to-userspace", "slow path: action")


def test_offloaded_flows_are_seen():
    upcalls = Upcalls(at=Place("x", 1, ""), datapath="d", current=5, average=5, maximum=5, limit=9, dump_ms=1, offloaded=5)
    assert findings(Case([upcalls]), "hw-offload-without-offloaded-flows") == []
    assert says(Case([dataclasses.replace(upcalls, offloaded=0)]), "hw-offload-without-offloaded-flows")


def test_masks_that_share_no_core():
    text = '$ ovs-vsctl get Open_vSwitch . other_config\n{{dpdk-lcore-mask="{}", pmd-cpu-mask="{}"}}'
    assert findings(case_of(text.format("0x1", "0x2")), "pmd-mask-overlaps-lcore-mask") == []
    assert findings(case_of(text.format("zz", "f" * 5000)), "pmd-mask-overlaps-lcore-mask") == []
    assert says(case_of(text.format("3", "0x2")), "pmd-mask-overlaps-lcore-mask").severity == Severity.NOTE


# Hosts whose truth is known


def test_ports_without_a_guest():
    finding = says(evidence("pmd-idle-vhostuser"), "vhost-user-without-guest", "2 vhost-user ports have no guest")
    assert finding.severity == Severity.NOTE
    assert findings(evidence("netdev-partial-checksum"), "vhost-user-without-guest") == []


def test_kernel_devices_on_the_userspace_datapath():
    finding = says(evidence("netdev-partial-checksum"), "kernel-ports-on-userspace-datapath", "p2, p1", "AF_PACKET")
    assert finding.severity == Severity.NOTE
    assert findings(evidence("pmd-idle-vhostuser"), "kernel-ports-on-userspace-datapath") == []


@pytest.mark.parametrize("name", ["pmd-idle-vhostuser", "netdev-partial-checksum", "sos-ovs-vxlan-node.tar.xz"])
def test_nothing_above_a_note_about_open_vswitch(name):
    ours = {*RULES, "datapath-cache-well", "pmd-idle", "vhost-user-without-guest", "kernel-ports-on-userspace-datapath"}
    said = diagnose(evidence(name)).findings
    assert [finding.summary for finding in said if finding.rule in ours and finding.severity > Severity.NOTE] == []


LATE = "2020-06-29T03:04:24.792Z|00027|timeval|WARN|Unreasonably long 7210ms poll interval (6019ms user, 674ms system)\n"


@pytest.mark.parametrize(
    ("line", "who"),
    [
        (("2020-05-20T08:53:08.110Z|00840|poll_loop|INFO|wakeup due to [POLLIN] on fd 18 (NETLINK_ROUTE<->NETLINK_ROUTE) at "
         "../lib/netlink-socket.c:1401 (97% CPU usage)"), "ovs-vswitchd"),
        ("2020-06-29T02:53:34.957Z|00024|memory|INFO|cells:1813179 monitors:3 sessions:34", ""),
        ("2024-05-21T13:54:40.923Z|00042|coverage|INFO|lflow_cache_miss  0.0/sec  3.233/sec  0.0539/sec   total: 103372", ""),
        ("2024-10-15T11:48:41.948Z|05683|timeval|WARN|faults: 59637 minor, 0 major", "a daemon of Open vSwitch or OVN"),
    ],
)  # fmt: skip
def test_a_log_that_may_be_of_another_daemon(line, who):
    """ovsdb-server and OVN's daemons log in the same form (ovs-issues#185, ovn#51, #247, #261)."""
    case = case_of(LATE + line)
    if who:
        says(case, "ovs-thread-blocked", f"main thread of {who} did not come round for up to 7210 ms")
    else:
        assert findings(case, "ovs-thread-blocked") == []


def show(missed, lost, name="system@ovs-system"):
    return f"$ ovs-appctl dpctl/show\n{name}:\n  lookups: hit:1000000 missed:{missed} lost:{lost}\n  flows: 3\n"


def test_what_a_kernel_datapath_lost_is_among_what_it_missed():
    says(case_of(show(1000, 250)), "datapath-drops-upcalls", "25.0 % of those that had no megaflow")
    looks = [
        fact
        for when, missed in ((0.0, 0), (1.0, 4000))
        for fact in facts_of(show(missed, missed // 2), when=when, order=int(when))
    ]
    assert findings(Case(looks), "upcall-rate-high") == []


def test_a_few_lost_packets_of_billions():
    """https://github.com/openvswitch/ovs/pull/279 asked what they mean."""
    text = show(65130584, 4419).replace("hit:1000000", "hit:68166908035")
    says(case_of(text), "datapath-cache-well", "99.9 % hits", "Only 4,419 packets were lost")


def test_nothing_is_well_where_masks_are_many():
    """The output in https://github.com/antrea-io/antrea/issues/709."""
    text = show(1759191, 3).replace("hit:1000000", "hit:64902030") + "  masks: hit:686354117 total:16 hit/pkt:10.30\n"
    says(case_of(text), "megaflow-masks-many", "10.30 masks of 16")
    assert findings(case_of(text), "datapath-cache-well") == []


def test_cores_above_a_hundred():
    looks = [
        Thread(at=Place("status", 1, "", "", when, int(when)), pid=1, tid=7, name="pmd-c128/id:9", state="R", cpu=99.0,
               involuntary=int(when) * 40)
        for when in (0.0, 2.0)
    ]  # fmt: skip
    assert "isolated_cores=128" in says(Case(looks), "pmd-interrupted", "pmd-c128/id:9").remedies[0].command


def test_memory_for_packets_is_never_made_less():
    text = (
        '$ ovs-vsctl get Open_vSwitch . other_config\n{dpdk-socket-mem="4096,1024"}\n'
        "$ ovs-vsctl show\n1f7a0c91-b705-44b2-9daf-5a087b6af484\n    Bridge br0\n        Port p0\n            Interface p0\n"
        '                type: dpdk\n                error: "could not open"\n'
        "$ cat ovs-vswitchd.log\n2020-05-20T08:53:04.683Z|00168|netdev_dpdk|ERR|p0: Failed to create memory pool for port\n"
    )
    assert says(case_of(text), "interface-error").remedies[0].command.endswith("dpdk-socket-mem=8192,2048")


def test_a_log_and_a_command_behind_a_hash_without_a_blank():
    """As pasted in https://github.com/openvswitch/ovs-issues/issues/261."""
    case = case_of(
        "2022-08-24T07:12:42.643Z|00433|ovs_rcu(urcu2)|WARN|blocked 1000 ms waiting for pmd73 to quiesce\n"
        "2022-08-24T07:12:44.301Z|00434|ovs_rcu(urcu2)|WARN|blocked 1000 ms waiting for pmd73 to quiesce\n"
        "2022-08-24T07:12:45.958Z|00435|ovs_rcu(urcu2)|WARN|blocked 1000 ms waiting for pmd73 to quiesce\n"
        "#ovs-appctl dpif-netdev/pmd-rxq-show\npmd thread numa_id 0 core_id 5:\n  isolated : true\n"
        "  port: dpdk1             queue-id:  1  pmd usage: 96 %\n"
    )
    says(case, "ovs-thread-blocked", "A pmd thread of ovs-vswitchd")
    assert [queue.usage for queue in case.latest(Rxq)] == [96.0]
