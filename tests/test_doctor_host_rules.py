"""Rules about what a host counts: each on a real transcript, and silent on healthy hosts."""

import pytest

from pktpath.doctor.case import Case, took
from pktpath.doctor.diagnose import diagnose
from pktpath.doctor.facts.host import KernelLog
from pktpath.doctor.finding import Confidence, Severity
from support.doctor import EVIDENCE, case_of, evidence, facts_of, findings, says

MINE = frozenset(
    (
        "conntrack-drops-packets", "conntrack-table-full", "interrupt-on-a-remote-node", "interrupts-on-one-cpu",
        "ip-fragments-not-reassembled", "ksoftirqd-busy", "listen-queue-overflows", "neighbour-table-overflow",
        "network-memory-pressure", "one-interrupt-for-many-cpus", "partial-checksums-reach-a-receiver", "path-mtu-trouble",
        "ping-works-but-tcp-does-not", "softirq-on-one-cpu", "softnet-drops", "softnet-squeezed-alone",
        "softnet-squeezed-with-drops", "syn-retransmit-pattern", "tcp-checksum-errors", "tcp-prunes-or-backlog-drops",
        "tcp-retransmissions-high", "udp-checksum-errors", "udp-receive-buffer-full",
    )
)  # fmt: skip


def said(case) -> set[str]:
    return {finding.rule for finding in diagnose(case).findings if finding.rule in MINE}


def two_looks(command: str, first: str, last: str) -> str:
    return f"$ {command}\n{first}\n\n$ {command}\n{last}\n"


def nstat(**counters: tuple[int, int]) -> str:
    looks = ["\n".join(f"{name}  {values[at]}  0.0" for name, values in counters.items()) for at in (0, 1)]
    return two_looks("nstat -zas", *looks)


# real cases


@pytest.mark.parametrize(
    ("rule", "words", "severity"),
    [
        ("tcp_checksum_errors", ("TcpInCsumErrors rose by 828 in 5 s", "in b"), Severity.PROBLEM),
        ("udp_checksum_errors", ("UdpInCsumErrors rose by 108 in 5 s", "2.1 %"), Severity.PROBLEM),
        ("udp_receive_buffer_full", ("2,994 in 5 s", "does not read its socket in time"), Severity.PROBLEM),
        ("listen_queue_overflows", ("TcpExtListenOverflows rose by 185", "in b"), Severity.PROBLEM),
        ("tcp_retransmissions_high", ("3.1 %", "1,634 in 5 s", "of 52,785"), Severity.PROBLEM),
        ("ip_fragments_not_reassembled", ("IpReasmFails rose by 60", "IpReasmTimeout rose by 60"), Severity.PROBLEM),
        ("path_mtu_trouble", ("1500 bytes to 10.66.0.2 vanish", "84 bytes get through"), Severity.PROBLEM),
        ("syn_retransmit_pattern", ("3.07 s, 7.12 s",), Severity.PROBLEM),
        ("interrupts_on_one_cpu", ("2 queues of eth0", "100.0 %", "CPU 0", "since the start"), Severity.WARNING),
        ("ksoftirqd_busy", ("ksoftirqd/0 93.2 %",), Severity.WARNING),
        ("conntrack_drops_packets", ("in 4 lines",), Severity.WARNING),
        ("conntrack_table_full", ("of b is full", "262,142 of 262,144"), Severity.PROBLEM),
        ("interrupt_on_a_remote_node", ("NUMA node 1", "100 %", "4,926 receive interrupts a second"), Severity.WARNING),
        ("network_memory_pressure", ("TcpExtTCPMemoryPressures rose by 1",), Severity.PROBLEM),
        ("softirq_on_one_cpu", ("CPU 3 serves 100 %", "67,213 frames a second", "81 % busy"), Severity.WARNING),
        ("softnet_drops", ("cpu0: dropped rose by 5,411",), Severity.PROBLEM),
        ("softnet_squeezed_alone", ("cpu0: time_squeeze rose by 933",), Severity.NOTE),
        ("tcp_prunes_or_backlog_drops", ("RcvPruned rose by 314", "TCPRcvQDrop rose by 166", "in b"), Severity.PROBLEM),
        ("neighbour_table_overflow", ("2 lines", "gc_thresh3 is 1024"), Severity.WARNING),
    ],
)
def test_a_real_case_is_named_and_nothing_else_is(rule: str, words: tuple[str, ...], severity: Severity) -> None:
    case = evidence(f"cases/{rule}")
    name = rule.replace("_", "-")
    finding = says(case, name, *words)
    assert finding.severity is severity
    assert said(case) == {name}
    assert finding.proof or finding.confidence is Confidence.CERTAIN
    folder = EVIDENCE / "cases" / rule
    texts = {line for path in folder.iterdir() for line in path.read_text().splitlines()}
    assert {place.text for place in finding.evidence} <= texts


@pytest.mark.parametrize("name", ["host-idle", "host-busy", "host-flood", "host-small-buffers", "vmxnet3-own-node"])
def test_healthy_hosts_are_left_in_peace(name: str) -> None:
    found = [one for one in diagnose(evidence(f"healthy/{name}")).findings if one.severity > Severity.NOTE]
    assert found == []


@pytest.mark.parametrize("name", ["sos-ovs-vxlan-node.tar.xz", "pmd-idle-vhostuser", "perf-iperf-stacks", "veth-features"])
def test_nothing_is_said_of_hosts_without_such_trouble(name: str) -> None:
    # The network node has 153 of 6,113,441 segments sent again, no drop in its counters, and devices of one queue; one look.
    assert said(evidence(name)) == set()


# partial checksums


def test_partial_checksums_are_named_with_their_switches() -> None:
    case = evidence("netdev-partial-checksum")
    finding = says(
        case, "partial-checksums-reach-a-receiver", r"TcpInCsumErrors rose by 3 on the receiver.* while InErrs rose by 3",
        r"tx checksum offload is on at the sending veth e1 \(partial checksums leave it\)",
        "ICMP is unaffected because its checksum is complete",
    )  # fmt: skip
    assert (finding.severity, finding.confidence) == (Severity.PROBLEM, Confidence.CERTAIN)
    commands = [remedy.command for remedy in finding.remedies]
    assert commands[0] == "ip netns exec h1 ethtool -K e1 tx off  # and e2"
    assert commands[1] == "ip netns exec h2 ethtool -K e2 tx off"
    assert commands[2] == "ovs-vsctl set Open_vSwitch . other_config:userspace-tso-enable=true"
    assert said(case) == {"partial-checksums-reach-a-receiver"}, "it explains the others"
    lines = {place.text for place in finding.evidence}
    assert "\ttx-checksum-ip-generic: on" in lines
    assert any("Connection timed out" in line for line in lines)
    for word in ("routing", "firewall", "mtu"):
        assert word not in f"{finding.summary} {finding.why}".lower()


def test_without_the_datapath_only_the_wrong_checksums_are_said() -> None:
    names = ("h1_ethtool_-k_e1.txt", "h2_proc_net_snmp.0", "h2_proc_net_snmp.15s", "ping.txt", "iperf3.txt")
    case = evidence(*(f"netdev-partial-checksum/{name}" for name in names))
    assert said(case) == {"tcp-checksum-errors", "ping-works-but-tcp-does-not"}
    says(case, "tcp-checksum-errors", "in h2", "TcpInCsumErrors rose by 3 in 15 s", "100 % of all segments")
    says(case, "ping-works-but-tcp-does-not", "3 of 3 pings to 10.77.0.2 are answered", "Connection timed out")


def test_partial_checksums_are_no_matter_while_no_receiver_complains() -> None:
    names = ("h1_ethtool_-k_e1.txt", "h2_proc_net_snmp.0", "ovs-appctl_dpctl.show.txt", "ovs-vsctl_show.txt")
    assert said(evidence(*(f"netdev-partial-checksum/{name}" for name in names))) == set()


def test_a_refused_connection_is_no_fault_of_the_path() -> None:
    ping = (EVIDENCE / "netdev-partial-checksum/ping.txt").read_text()
    refused = "$ ip netns exec h1 iperf3 -c 10.77.0.2\niperf3: error - unable to connect to server: Connection refused\n"
    elsewhere = "$ ip netns exec h1 iperf3 -c 10.77.0.9\niperf3: error - unable to connect to server: Connection timed out\n"
    assert said(case_of(ping, refused, elsewhere)) == set()


# softnet


ROW = "{:08x} {:08x} {:08x}" + " 00000000" * 9 + " 00000001 00000000 00000000"


def softnet(first: tuple[int, int, int], last: tuple[int, int, int]) -> str:
    return two_looks("cat /proc/net/softnet_stat", ROW.format(*first), ROW.format(*last))


TABLE = """top - 14:31:10 up 1 day, 56 min,  2 users,  load average: 1.01, 1.73, 2.16
Threads: 697 total,   2 running, 695 sleeping,   0 stopped,   0 zombie

  PID USER      PR  NI    VIRT    RES    SHR S  %CPU  %MEM     TIME+ COMMAND
   22 root      20   0       0      0      0 R  43.2   0.0  43:47.43 ksoftirqd/1
"""
TOP = f"$ top -H -b -n 2\n{TABLE}\n{TABLE}"


def test_softnet_drops_need_to_rise() -> None:
    case = case_of(
        softnet((1000, 5, 0), (90_000, 700, 0)), "$ sysctl net.core.netdev_max_backlog\nnet.core.netdev_max_backlog = 1000\n"
    )
    finding = says(case, "softnet-drops", "cpu1: dropped rose by 695")
    assert finding.remedies[0].command == "sysctl -w net.core.netdev_max_backlog=2000"
    assert finding.remedies[0].undo == "sysctl -w net.core.netdev_max_backlog=1000"
    assert said(case) == {"softnet-drops"}
    assert said(case_of(softnet((1000, 700, 0), (90_000, 700, 0)))) == set()


def test_old_softnet_drops_are_a_note_where_they_are_many() -> None:
    row = ROW.format(1_000_000, 5_000, 0)
    finding = says(case_of(f"$ cat /proc/net/softnet_stat\n{row}\n"), "softnet-drops", "since it began to count")
    assert (finding.severity, finding.confidence) == (Severity.NOTE, Confidence.POSSIBLE)
    assert said(case_of(f"$ cat /proc/net/softnet_stat\n{ROW.format(1_000_000, 50, 0)}\n")) == set()


def test_squeeze_alone_is_a_note() -> None:
    case = case_of(softnet((1000, 0, 5), (90_000, 0, 400)))
    assert said(case) == {"softnet-squeezed-alone"}
    assert says(case, "softnet-squeezed-alone", "395", "nothing was lost").severity is Severity.NOTE
    assert said(case_of(softnet((1000, 0, 5), (90_000, 0, 9)))) == set()
    assert said(evidence("healthy/squeezed-once")) == set(), "one look says nothing"


def test_squeeze_with_drops_or_a_busy_ksoftirqd_is_none() -> None:
    drops = case_of(softnet((1000, 0, 5), (90_000, 60, 400)))
    assert said(drops) == {"softnet-drops", "softnet-squeezed-with-drops"}
    assert says(drops, "softnet-squeezed-with-drops", "dropped rose by 60").severity is Severity.PROBLEM
    busy = case_of(softnet((1000, 0, 5), (90_000, 0, 400)), TOP)
    assert says(busy, "softnet-squeezed-with-drops", "ksoftirqd/1 uses 43.2 %").severity is Severity.WARNING
    assert said(busy) == {"softnet-squeezed-with-drops"}


def test_a_squeeze_says_which_of_the_two_limits_was_met() -> None:
    case = evidence("cases/softnet_squeezed_with_drops")
    assert said(case) == {"softnet-drops", "softnet-squeezed-with-drops"}
    finding = says(case, "softnet-squeezed-with-drops", "time_squeeze rose by 12,853", "dropped rose by 350,958")
    assert finding.severity is Severity.PROBLEM
    assert finding.remedies[0].command == "sysctl -w net.core.netdev_budget=300", "64 frames came for each squeeze, and it was 64"
    assert finding.remedies[0].undo == "sysctl -w net.core.netdev_budget=64"
    slow = says(case_of(softnet((1000, 0, 5), (90_000, 60, 400))), "softnet-squeezed-with-drops")
    assert slow.remedies[0].command == "sysctl -w net.core.netdev_budget_usecs=20000", "225 frames for each: the time ran out"


def test_a_squeezed_cpu_that_is_busy_is_no_matter_of_moments() -> None:
    files = [f"cases/softirq_on_one_cpu/proc_{name}.{look}" for name in ("net_softnet_stat", "stat") for look in ("0", "5s")]
    assert said(evidence(*files[:2])) == {"softnet-squeezed-alone"}
    assert "softnet-squeezed-alone" not in said(evidence(*files))


def test_a_ksoftirqd_that_timers_keep_busy_is_not_the_networks() -> None:
    text = TOP.replace("43.2", "93.2")
    rows = ("      CPU0\n  NET_RX:  10\n  TIMER:  10", "      CPU0\n  NET_RX:  20\n  TIMER:  90000")
    assert "ksoftirqd-busy" in said(case_of(text))
    assert said(case_of(text, two_looks("cat /proc/softirqs", *rows))) == set()


# interrupts: rows of the network node, and what they could become within five seconds

HEAD = "           CPU0       CPU1       \n"
INPUT = " 25: {:10d} {:10d}   PCI-MSI 49153-edge      {}\n"
BUSY = (
    "cpu0 100 0 100 1000 0 0 1000 0 0 0\ncpu1 100 0 100 1000 0 0 0 0 0 0\n",
    "cpu0 110 0 120 1010 0 0 1460 0 0 0\ncpu1 120 0 110 1470 0 0 0 0 0 0\n",
)


def looks_of(*files: tuple[str, str, str]):
    """Make a case of files that were read twice, five seconds apart."""
    from pktpath.doctor.case import Case
    from pktpath.doctor.parse.transcript import Transcript

    facts = []
    for name, *texts in files:
        for order, (text, when) in enumerate(zip(texts, (0.0, 5.0), strict=True), 1):
            facts += Transcript(text.splitlines(), name, when=when, order=1000 * order).facts()
    return Case(facts)


def interrupts(first: str, last: str) -> tuple[str, str, str]:
    return "proc/interrupts", HEAD + first, HEAD + last


def test_one_queue_that_keeps_one_cpu_busy() -> None:
    rows = interrupts(INPUT.format(24376036, 13487, "virtio0-input.0"), INPUT.format(24476036, 13487, "virtio0-input.0"))
    case = looks_of(rows, ("proc/stat", *BUSY))
    finding = says(
        case, "one-interrupt-for-many-cpus", "virtio0 has one receive queue", "20,000 interrupts a second", "92 % busy"
    )
    assert finding.remedies[0].command == "echo 3 > /sys/class/net/DEV/queues/rx-0/rps_cpus"
    assert said(case) == {"one-interrupt-for-many-cpus"}
    idle = ("proc/stat", BUSY[0], BUSY[0].replace("1000 0 0 1000", "1490 0 0 1010").replace("1000 0 0 0 0", "1500 0 0 0 0"))
    assert said(looks_of(rows, idle)) == set(), "a CPU with time left is no fault"
    assert said(looks_of(rows)) == set()


def test_several_queues_at_one_cpu() -> None:
    def rows(first: int, last: int) -> str:
        return INPUT.format(first, 7, "eth0-TxRx-0") + INPUT.format(first, 9, "eth0-TxRx-1").replace(" 25:", " 26:").replace(
            "\n", "\n"
        )

    case = looks_of(interrupts(rows(1000, 0), rows(51_000, 0)))
    finding = says(case, "interrupts-on-one-cpu", "2 queues of eth0", "20,000 a second", "CPU 0")
    assert finding.remedies[0].command == "echo 1 > /proc/irq/26/smp_affinity_list"
    assert said(looks_of(interrupts(rows(1000, 0), rows(1900, 0)))) == set(), "360 a second are no load"
    spread = rows(1000, 0) + rows(51_000, 0)
    both = INPUT.format(51_000, 7, "eth0-TxRx-0") + INPUT.format(1000, 50_009, "eth0-TxRx-1").replace(" 25:", " 26:")
    assert spread
    assert said(looks_of(interrupts(rows(1000, 0), both))) == set()
    kept = case_of(HEAD + rows(9_000_000, 0), "BOOT_IMAGE=/vmlinuz isolcpus=1 quiet")
    assert says(kept, "interrupts-on-one-cpu", "isolcpus=1 asks for that").severity is Severity.NOTE


def test_disks_and_vsock_are_no_receive_queues() -> None:
    for name in ("nvme0q1", "virtio3-rx", "virtio7-req.0", "megasas-msix0", "ahci[0000:00:1f.2]", "virtio0-output.0"):
        rows = INPUT.format(9_000_000, 0, name) + INPUT.format(9_000_000, 0, name.replace("0", "1")).replace(" 25:", " 26:")
        assert said(case_of(HEAD + rows)) == set(), name


def test_interrupts_of_a_remote_node() -> None:
    rows = interrupts(INPUT.format(1000, 5, "eth0-TxRx-0"), INPUT.format(51_000, 5, "eth0-TxRx-0"))
    nodes = "$ numactl -H\nnode 0 cpus: 0\nnode 1 cpus: 1\n"
    home = "$ cat /sys/class/net/eth0/device/numa_node\n{}\n"
    from pktpath.doctor.case import Case

    def case(node: int):
        looks, rest = looks_of(rows), case_of(nodes, home.format(node))
        return Case([fact for one in (looks, rest) for kind in one._facts.values() for fact in kind])

    says(case(1), "interrupt-on-a-remote-node", "NUMA node 1", "100 %", "10,000")
    assert said(case(0)) == set()
    assert said(case(-1)) == set()


def test_softirqs_on_one_cpu() -> None:
    softirqs = (HEAD + "  NET_RX:   1000   1000\n", HEAD + "  NET_RX:   101000   1100\n")
    case = looks_of(("proc/softirqs", *softirqs), ("proc/stat", *BUSY))
    says(case, "softirq-on-one-cpu", "CPU 0 serves 100 %", "20,000 NET_RX", "92 % busy", "CPU 1 idles")
    assert said(looks_of(("proc/softirqs", *softirqs))) == set(), "it may be the CPU of the only program that talks"


def test_a_cpu_that_polls_all_the_time_is_hardly_interrupted() -> None:
    # 129 interrupts and 1,141 NET_RX softirqs a second: frames tell how busy it is.
    case = evidence("cases/one_interrupt_for_many_cpus")
    assert said(case) == {"one-interrupt-for-many-cpus", "softirq-on-one-cpu"}
    finding = says(case, "one-interrupt-for-many-cpus", "virtio0", "129 interrupts", "polls", "CPU 3 72 % busy", "3 other CPUs")
    assert (finding.severity, finding.confidence) == (Severity.WARNING, Confidence.POSSIBLE)
    files = [f"cases/one_interrupt_for_many_cpus/proc_{name}.{look}" for name in ("interrupts", "stat") for look in ("0", "5s")]
    assert said(evidence(*files)) == set(), "129 interrupts a second alone prove nothing"


def test_frames_of_other_sources_are_not_laid_to_a_device() -> None:
    def rows(name: str, count: int) -> str:
        return INPUT.format(count, 7, name)

    softnet = ("proc/net/softnet_stat", *(ROW.replace("00000001", "00000000").format(n, 0, 0) for n in (1000, 501_000)))
    quiet = interrupts(rows("virtio0-input.0", 1000), rows("virtio0-input.0", 1100))
    assert said(looks_of(quiet, softnet, ("proc/stat", *BUSY))) == set(), "20 a second may be anything"
    two = [rows("virtio0-input.0", 1000 + n) + rows("virtio1-input.0", 1000 + 2 * n).replace(" 25:", " 26:") for n in (0, 500)]
    found = findings(looks_of(interrupts(*two), softnet, ("proc/stat", *BUSY)), "one-interrupt-for-many-cpus")
    assert [finding.about for finding in found] == ["virtio1"]


# thresholds


def test_few_or_old_events_are_nothing() -> None:
    assert said(case_of(nstat(TcpRetransSegs=(0, 60), TcpOutSegs=(0, 50_000)))) == set()
    assert said(case_of(nstat(TcpRetransSegs=(0, 40), TcpOutSegs=(0, 1_000)))) == set()
    assert said(case_of(nstat(UdpRcvbufErrors=(5, 9), UdpInDatagrams=(0, 9)))) == set()
    assert said(case_of(nstat(IpReasmFails=(900, 905), IpReasmReqds=(0, 9)))) == set()
    assert said(case_of(nstat(TcpExtPruneCalled=(0, 5000), TcpInSegs=(0, 9)))) == set(), "that only packs closer"
    for old in ("TcpExtListenOverflows  9 0.0\nTcpPassiveOpens 100000 0.0", "UdpRcvbufErrors 99 0.0\nUdpInDatagrams 999999 0.0",
                "TcpInCsumErrors 4 0.0\nTcpInSegs 999999 0.0",
                "TcpExtTCPMemoryPressures 4 0.0", "IpReasmFails 4000 0.0"):  # fmt: skip
        assert said(case_of(f"$ nstat -zas\n{old}\n")) == set(), old


def test_old_totals_are_notes_where_they_are_many() -> None:
    case = case_of(
        "$ nstat -zas\nTcpRetransSegs 9000 0.0\nTcpOutSegs 200000 0.0\nUdpRcvbufErrors 500 0.0\nUdpInDatagrams 900 0.0\n"
    )
    found = [finding for finding in diagnose(case).findings if finding.rule in MINE]
    assert {finding.rule for finding in found} == {"tcp-retransmissions-high", "udp-receive-buffer-full"}
    assert {(finding.severity, finding.confidence) for finding in found} == {(Severity.NOTE, Confidence.POSSIBLE)}
    assert all("since it began to count" in finding.summary for finding in found)


def test_looks_of_two_hosts_are_not_compared() -> None:
    case = case_of(nstat(TcpOutSegs=(900_000, 1000), TcpRetransSegs=(0, 700), TcpInCsumErrors=(0, 9)))
    assert said(case) == set()


def test_tcp_drops_for_want_of_room() -> None:
    case = case_of(nstat(TcpExtTCPBacklogDrop=(3, 60), TcpExtTCPRcvQDrop=(0, 9), TcpInSegs=(0, 90_000)))
    says(case, "tcp-prunes-or-backlog-drops", "TcpExtTCPBacklogDrop rose by 57", "TcpExtTCPRcvQDrop rose by 9")
    remedy = says(evidence("cases/tcp_prunes_or_backlog_drops"), "tcp-prunes-or-backlog-drops").remedies[0]
    assert remedy.command.startswith("ip netns exec b sysctl -w net.ipv4.tcp_rmem="), "each namespace has its own"
    assert remedy.undo.startswith("ip netns exec b sysctl -w net.ipv4.tcp_rmem='4096 ")


def test_a_namespace_has_its_own_longest_listen_queue() -> None:
    remedy = says(evidence("cases/listen_queue_overflows"), "listen-queue-overflows").remedies[0]
    assert remedy.command == "ip netns exec b sysctl -w net.core.somaxconn=4096"
    assert remedy.lasting == (), "sysctl.d holds for the host only"


def test_memory_pressure() -> None:
    says(case_of(nstat(TcpExtTCPMemoryPressures=(3, 4))), "network-memory-pressure", "TcpExtTCPMemoryPressures rose by 1")
    log = "$ nstat -zas\nTcpInSegs 1 0.0\n\n$ dmesg\n[1.000000] TCP: out of memory -- consider tuning tcp_mem\n"
    assert says(case_of(log), "network-memory-pressure", "out of memory").severity is Severity.WARNING


@pytest.mark.parametrize(
    ("count", "most", "severity"),
    [(65_536, 65_536, Severity.PROBLEM), (60_000, 65_536, Severity.WARNING), (40_000, 65_536, None), (5, 0, None)],
)
def test_conntrack_table(count: int, most: int, severity: Severity | None) -> None:
    case = case_of(f"$ sysctl -a\nnet.netfilter.nf_conntrack_count = {count}\nnet.netfilter.nf_conntrack_max = {most}\n")
    found = findings(case, "conntrack-table-full")
    assert [finding.severity for finding in found] == ([severity] if severity else [])
    if found:
        assert found[0].remedies[0].command == "sysctl -w net.netfilter.nf_conntrack_max=131072"


def test_each_namespace_has_its_table_of_connections() -> None:
    text = (EVIDENCE / "cases/conntrack_table_full/sysctl.txt").read_text()
    assert text.index("nf_conntrack_count = 0\n") < text.index("nf_conntrack_count = 262142")
    finding = says(case_of(text), "conntrack-table-full", "of b is full")
    assert finding.about == "b"
    assert finding.remedies[0].command == "sysctl -w net.netfilter.nf_conntrack_max=524288", "the host's holds for all"
    assert findings(case_of(text.split("\n\n")[0]), "conntrack-table-full") == []


def test_dropping_connections_now_is_a_problem() -> None:
    log = (EVIDENCE / "cases/conntrack_drops_packets/starphleet-352.txt").read_text()
    counts = two_looks("conntrack -S", "cpu=0 found=1 drop=5 early_drop=0", "cpu=0 found=1 drop=25 early_drop=0")
    assert says(case_of(log, counts), "conntrack-drops-packets", "drop of cpu0 rose by 20").severity is Severity.PROBLEM


@pytest.mark.parametrize(
    ("times", "speaks"),
    [
        ((63.05, 31.1), True),
        ((1.02, 3.01), True),
        ((67.1, 0.01), False),
        ((1.1, 1.2, 2.1), False),
        ((8.9, 22.0), False),
        ((3.9, 6.1), False),
    ],
)
def test_only_the_times_of_lost_syns_count(times: tuple[float, ...], speaks: bool) -> None:
    text = "$ curl -w ... http://h/\n" + "".join(f"time_connect: {time}\n" for time in times)
    assert bool(findings(case_of(text), "syn-retransmit-pattern")) is speaks


def test_a_single_late_connection_with_syns_sent_again() -> None:
    case = case_of("$ curl http://h/\ntime_connect: 63.1\n", nstat(TcpExtTCPSynRetrans=(4, 10)))
    says(case, "syn-retransmit-pattern", "63.1 s", "TcpExtTCPSynRetrans rose by 6")


def test_a_path_that_tells_its_limit_is_a_note() -> None:
    small = "$ ping -c 3 h\nPING h (10.0.0.1) 56(84) bytes of data.\n\n3 packets transmitted, 3 received, 0% packet loss\n"
    large = (
        "$ ping -M do -s 1472 h\nPING h (10.0.0.1) 1472(1500) bytes of data.\nping: local error: message too long, mtu=1450\n\n"
    )
    large += "3 packets transmitted, 0 received, 100% packet loss\n"
    assert says(case_of(small, large), "path-mtu-trouble", "mtu=1450").severity is Severity.NOTE
    lossy = small.replace("3 received", "0 received")
    assert said(case_of(lossy, large.replace("ping: local error: message too long, mtu=1450\n", ""))) == set(), (
        "nothing gets through"
    )


@pytest.mark.parametrize(
    ("release", "times", "speaks"),
    [
        ("", "3.07 7.12", True),
        ("", "5.02 11.1", True),  # since Linux 6.5
        ("", "5.02 15.1", False),  # of no row both
        ("6.8.0", "5.02 11.1", True),
        ("5.14.0", "5.02 11.1", False),
        ("5.14.0", "3.07 7.12", True),
        ("", "3.1 3.6 3.9 4.7 5.5 7.1", False),  # a slow server takes any time
    ],
)
def test_times_of_syns_sent_again_are_of_one_row(release: str, times: str, speaks: bool) -> None:
    text = "".join(f"$ curl http://h/\ntime_connect: {time}\n" for time in times.split())
    text += f"$ uname -r\n{release}\n" if release else ""
    assert bool(findings(case_of(text), "syn-retransmit-pattern")) is speaks


def test_a_buffer_is_never_made_smaller() -> None:
    udp = nstat(UdpRcvbufErrors=(0, 500), UdpInDatagrams=(0, 1000))
    assert "rmem_max=8388608" in says(case_of(udp), "udp-receive-buffer-full").remedies[0].command
    large = case_of("$ sysctl -a\nnet.core.rmem_max = 26214400\n", udp)
    assert "rmem_max=52428800" in says(large, "udp-receive-buffer-full", "500").remedies[0].command
    tcp = nstat(TcpExtTCPBacklogDrop=(0, 50), TcpInSegs=(0, 1000))
    large = case_of("$ sysctl -a\nnet.ipv4.tcp_rmem = 8192 262144 67108864\n", tcp)
    assert "'8192 262144 134217728'" in says(large, "tcp-prunes-or-backlog-drops").remedies[0].command


def test_old_drops_of_other_cpus_are_not_those_of_now() -> None:
    row = "{:08x} {:08x} 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 {:08x}"
    looks = row.format(1000, 5, 0) + "\n" + row.format(1000, 900, 1) + "\n", row.format(2000, 45, 0) + "\n"
    said = says(case_of(two_looks("cat /proc/net/softnet_stat", *looks)), "softnet-drops", "cpu0: dropped rose by 40")
    assert "cpu1" not in said.summary


def test_a_transfer_that_stands_still() -> None:
    case = evidence("cases/transfer_stands_still")
    finding = says(case, "transfer-stands-still", "to 192.168.1.2", "7 intervals", "1.41 KBytes after 5 segments")
    assert (finding.severity, finding.confidence) == (Severity.PROBLEM, Confidence.LIKELY)
    text = (EVIDENCE / "cases/transfer_stands_still/iperf3.txt").read_text()
    # With a larger window it is the receiver's or the buffer's matter (esnet/iperf#970), and one interval is a pause.
    assert findings(case_of(text.replace("1.41 KBytes", "33.9 KBytes")), "transfer-stands-still") == []
    assert findings(case_of("\n".join(text.splitlines()[:9])), "transfer-stands-still") == []
    assert (
        findings(
            case_of(text + "[  4]   8.00-9.00   sec  110 MBytes  920 Mbits/sec    0   900 KBytes\n"), "transfer-stands-still"
        )
        == []
    )


@pytest.mark.parametrize(
    ("wrong", "segments", "severity"),
    [(3, 10, Severity.PROBLEM), (200, 10_000_000, Severity.WARNING), (1, 10_000_000, Severity.NOTE)],
)
def test_single_wrong_checksums_come_from_anywhere(wrong: int, segments: int, severity: Severity) -> None:
    tcp = case_of(nstat(TcpInCsumErrors=(7, 7 + wrong), TcpInSegs=(0, segments)))
    assert says(tcp, "tcp-checksum-errors").severity is severity
    udp = case_of(nstat(UdpInCsumErrors=(7, 7 + wrong), UdpInDatagrams=(0, segments)))
    assert says(udp, "udp-checksum-errors").severity is severity


def test_dropped_syns_without_an_overflow() -> None:
    """https://github.com/netdata/netdata/issues/3234: other people's packets do that."""
    counters = {"TcpExtListenDrops": (10, 13), "TcpPassiveOpens": (0, 100)}
    looks = [nstat(**{name: (values[at], values[at]) for name, values in counters.items()}).split("\n\n")[0] for at in (0, 1)]
    facts = [fact for at, look in enumerate(looks) for fact in facts_of(look, when=10.0 * at, order=at)]
    assert says(Case(facts), "listen-queue-overflows", "3 in 10 s").severity is Severity.NOTE


def test_a_frame_now_and_then_at_a_full_backlog() -> None:
    row = "{:08x} {:08x} 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000\n"
    looks = [row.format(1000 * at, 5 + at) for at in (0, 1)]
    facts = [
        fact
        for at, look in enumerate(looks)
        for fact in facts_of(f"$ cat /proc/net/softnet_stat\n{look}", when=10.0 * at, order=at)
    ]
    assert says(Case(facts), "softnet-drops", "rose by 1 in 10 s").severity is Severity.WARNING


def test_the_kernel_tells_of_queues_that_hang() -> None:
    case = evidence("cases/kernel_log_tells_of_trouble")
    found = {finding.about: finding for finding in findings(case, "kernel-log-tells-of-trouble")}
    assert set(found) == {"eth0", "eth1", "eth4"}
    assert "in 2 lines that eth0 took no frame" in found["eth0"].summary
    assert "in 2 lines that eth1" in found["eth1"].summary, "r8125's and r8152's"
    assert all((one.severity, one.confidence) == (Severity.WARNING, Confidence.LIKELY) for one in found.values())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("eth0: hw csum failure", "eth0 reports checksums that are wrong"),
        ("TCP: request_sock_TCP: Possible SYN flooding on port 80. Sending cookies.  Check SNMP counters.", "at port 80"),
        ("br0: received packet on eth1 with own address as source address", "come back to it on eth1"),
        ("br0: received packet on eth1 with own address as source address (addr:00:11:22:33:44:55, vlan:0)", "on eth1"),
    ],
)
def test_other_trouble_in_the_log(line: str, words: str) -> None:
    says(case_of(f"$ dmesg\n[   12.345678] {line}\n"), "kernel-log-tells-of-trouble", words)
    assert findings(case_of("$ dmesg\n[   12.345678] eth0: Link is up at 1000 Mbps\n"), "kernel-log-tells-of-trouble") == []


def test_a_log_with_dates_in_brackets() -> None:
    """dmesg -T, as in https://github.com/openvswitch/ovs-issues/issues/318."""
    text = "[Tue Jan 30 22:31:12 2024] nf_conntrack: nf_conntrack: table full, dropping packet\n"
    says(case_of("Look:\n```\n" + text + "```\n"), "conntrack-drops-packets", "in 1 line")


def test_a_limit_that_is_not_known_is_doubled_by_the_shell() -> None:
    """A number of ours might be smaller than what is set."""
    full = "[   12.345678] nf_conntrack: nf_conntrack: table full, dropping packet\n"
    name = "net.netfilter.nf_conntrack_max"
    unknown = says(case_of(full), "conntrack-drops-packets").remedies[0]
    assert unknown.command == f"sysctl -w {name}=$((2 * $(sysctl -n {name})))"
    known = says(case_of(full, f"$ sysctl -a\n{name} = 1048576\n"), "conntrack-drops-packets").remedies[0]
    assert (known.command, known.undo) == (f"sysctl -w {name}=2097152", f"sysctl -w {name}=1048576")


def test_a_log_that_says_nothing_was_asked() -> None:
    case = case_of("$ dmesg\n(nothing during the last day)\n")
    assert [fact.lines for fact in case.all(KernelLog)] == [1]
    well = {rule.id for rule in diagnose(case).well}
    assert {"neighbour-table-overflow", "conntrack-drops-packets"} <= well
    assert "neighbour-table-overflow" in {rule.id for rule in diagnose(case_of("$ uname -r\n6.1.0\n")).unasked}


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.538856, "0.54 s"), (2.054, "2.1 s"), (5.0, "5 s"), (12.996, "13 s"), (300.0, "300 s")]
)
def test_spans_are_told_in_sensible_figures(seconds: float, words: str) -> None:
    assert took(seconds) == words


def test_who_sends_partial_checksums_is_known_by_the_pair() -> None:
    """Only a device that is the other end of a port is accused, though other namespaces have the same numbers."""
    case = evidence("cases/partial_checksums_of_a_pair")
    said = says(case, "partial-checksums-reach-a-receiver", "sending veth a0 ")
    assert said.about == "a0"
    assert [remedy.command.split("  #")[0] for remedy in said.remedies[:2]] == [
        "ip netns exec h1 ethtool -K a0 tx off",
        "ip netns exec h2 ethtool -K c0 tx off",
    ]


def test_checksums_that_a_userspace_datapath_needs_are_not_to_be_left_to_the_device() -> None:
    folder = EVIDENCE / "cases/partial_checksums_of_a_pair"
    table = (folder / "h1_ethtool_-k_a0.txt").read_text()
    for name in ("tx-checksum-ip-generic: on", "tx-tcp-segmentation: on", "tx-tcp6-segmentation: on"):
        assert name in table
        table = table.replace(name, name.replace(": on", ": off" if "checksum" in name else ": off [requested on]"))
    links = [path.read_text() for path in sorted(folder.glob("*ip_-s*"))]
    assert findings(case_of(*links, table), "tso-off-for-want-of-checksum")
    switch = (folder / "ovs-vsctl_show.txt").read_text()
    assert findings(case_of(*links, table, switch), "tso-off-for-want-of-checksum") == []
