"""Parsers of what a host counts: every format, and what must not break them."""

import pytest

from pktpath.doctor.facts.host import Cores, Counter, CpuTime, Interrupt, Kernel, LogMessage, Setting
from pktpath.doctor.facts.traffic import Connection, Ping, Transfer
from pktpath.doctor.parse.transcript import Transcript
from support.doctor import EVIDENCE, case_of, facts_of

ZERO = " 00000000"


def counters(text: str, **more) -> dict[tuple[str, str], int]:
    return {(fact.owner, fact.name): fact.value for fact in facts_of(text, Counter, **more)}


def parts(name: str) -> str:
    return (EVIDENCE / name).read_text()


# softnet_stat


@pytest.mark.parametrize(
    ("columns", "last"),
    [(9, "cpu_collision"), (10, "received_rps"), (11, "flow_limit_count"), (13, "cpu_id"), (15, "process_qlen")],
)
def test_softnet_stat_of_every_width(columns: int, last: str) -> None:
    row = " ".join(f"{column:08x}" for column in range(1, columns + 1))
    found = counters(f"$ cat /proc/net/softnet_stat\n{row}\n{row}\n")
    cpu = "cpu13" if columns >= 13 else "cpu0"
    assert found[cpu, "processed"] == 1
    assert found[cpu, "dropped"] == 2
    assert found[cpu, "time_squeeze"] == 3
    assert found[cpu, last] == (13 if last == "cpu_id" else columns)
    assert {name for _, name in found} & {"column4", ""} == set()
    # Without a column that says so, the row is the CPU.
    assert ("cpu1", "processed") in found or columns >= 13


def test_softnet_stat_keeps_columns_of_later_kernels() -> None:
    found = counters("$ cat /proc/net/softnet_stat\n00000001" + ZERO * 14 + " 0000002a\n")
    assert found["cpu0", "column16"] == 42


def test_softnet_stat_is_known_by_its_shape_and_its_file() -> None:
    row = "0131c0bd 00000000 0000002e" + ZERO * 12
    assert counters(row)["cpu0", "time_squeeze"] == 0x2E
    document = Transcript([row], "sosreport/proc/net/softnet_stat")
    assert [fact for fact in document.facts() if isinstance(fact, Counter)]


# interrupts and softirqs


def test_interrupts_with_all_kinds_of_rows() -> None:
    text = parts("pmd-idle-vhostuser/proc_interrupts.0")
    found = {fact.irq: fact for fact in facts_of(text, Interrupt)}
    assert found["38"].label == "virtio2-input.0"
    assert found["38"].chip == "PCI-MSIX-0000:00:03.0 1-edge"
    assert (found["38"].counts, found["38"].cpus) == ((0, 5929), (0, 1))
    assert found["LOC"].label == "Local timer interrupts"
    assert found["LOC"].counts == (520283, 420413)
    assert "ERR" not in found, "it counts for no CPU"


@pytest.mark.parametrize(
    ("row", "chip", "label"),
    [
        ("  27:  7  9   PCI-MSI 1048577-edge      eth0-TxRx-0", "PCI-MSI 1048577-edge", "eth0-TxRx-0"),
        ("  11:  7  9     GICv3  27 Level     arch_timer", "GICv3 27 Level", "arch_timer"),
        ("  10:  7  9   IO-APIC  10-fasteoi   virtio10, ehci_hcd:usb1", "IO-APIC 10-fasteoi", "virtio10, ehci_hcd:usb1"),
        (" 102:  7  9   xen-dyn    -event     eth0-q0-rx", "xen-dyn -event", "eth0-q0-rx"),
        ("  44:  7  9   mlx5_comp0@pci:0000:03:00.0", "", "mlx5_comp0@pci:0000:03:00.0"),
    ],
)
def test_what_an_interrupt_is_for(row: str, chip: str, label: str) -> None:
    (found,) = facts_of(f"            CPU0       CPU2\n{row}\n", Interrupt)
    assert (found.chip, found.label, found.counts, found.cpus) == (chip, label, (7, 9), (0, 2))


def test_interrupts_of_grep_have_no_row_of_cpus() -> None:
    found = facts_of(parts("cases/interrupts_on_one_cpu/irqbalance-122.txt"), Interrupt)
    assert [fact.label for fact in found] == ["eth0", "eth0-TxRx-0", "eth0-TxRx-1"]
    assert found[1].counts[0] == 356669796
    assert found[1].cpus == tuple(range(32))


def test_interrupts_that_were_cut_off_are_said() -> None:
    case = case_of("$ cat /proc/interrupts\n      CPU0       CPU1\n 25:  24376036\n 26:  1  2  PCI-MSI 1-edge eth0-rx-0\n")
    assert [fact.irq for fact in case.all(Interrupt)] == ["26"]
    assert "1 counts for 2 CPUs" in case.missing[0].why


def test_softirqs() -> None:
    found = counters(parts("pmd-idle-vhostuser/proc_softirqs.0"))
    assert found["cpu0", "NET_RX"] == 18429406
    assert found["cpu1", "NET_RX"] == 7887124
    assert not facts_of(parts("pmd-idle-vhostuser/proc_softirqs.0"), Interrupt)


# protocols


def test_snmp_and_netstat_name_counters_as_nstat_does() -> None:
    found = counters(
        parts("netdev-partial-checksum/h2_proc_net_snmp.15s") + parts("netdev-partial-checksum/h2_proc_net_netstat.15s")
    )
    assert found["", "TcpInCsumErrors"] == 3
    assert found["", "TcpInErrs"] == 3
    assert found["", "IpInReceives"] == 6
    assert "TcpExtListenDrops" in {name for _, name in found}
    assert not {"TcpRtoMin", "TcpMaxConn", "IpDefaultTTL", "TcpCurrEstab"} & {name for _, name in found}


def test_values_that_were_cut_off_are_not_guessed() -> None:
    case = case_of("$ cat /proc/net/snmp\nUdp: InDatagrams NoPorts InErrors OutDatagrams\nUdp: 50 7 12\nTcp: 1 2 3\n")
    assert {fact.name: fact.value for fact in case.all(Counter)} == {"UdpInDatagrams": 50, "UdpNoPorts": 7}
    assert "cut off" in case.missing[0].why
    assert "without their names" in case.missing[1].why


def test_snmp6() -> None:
    text = "$ cat /proc/net/snmp6\nIp6InReceives                   \t347944\nUdp6RcvbufErrors                \t2\n"
    assert counters(text) == {("", "Ip6InReceives"): 347944, ("", "Udp6RcvbufErrors"): 2}


def test_nstat_counts_only_where_it_prints_totals() -> None:
    text = "#kernel\nIpInReceives                    2168061            0.0\nTcpExtListenDrops   5  0.0\n"
    assert counters("$ nstat -zas\n" + text) == {("", "IpInReceives"): 2168061, ("", "TcpExtListenDrops"): 5}
    for command in ("nstat", "nstat -z", "nstat -s"):
        case = case_of(f"$ {command}\n{text}")
        assert not case.all(Counter), command
        assert "nstat -zas" in case.missing[0].why


def test_netstat_s_says_some_of_it_in_sentences() -> None:
    text = """$ netstat -s
Ip:
    Forwarding: 2
    758840 total packets received
    60 packet reassemblies failed
Tcp:
    747669 segments sent out
    576 segments retransmitted
    15511 bad segments received.
Udp:
    5 packets received
    7 receive buffer errors
TcpExt:
    5191585 times the listen queue of a socket overflowed
    5191585 SYNs to LISTEN sockets dropped
    2397 packets pruned from receive queue because of socket buffer overrun
    TCPBacklogDrop: 12
"""
    assert counters(text) == {
        ("", "IpInReceives"): 758840, ("", "IpReasmFails"): 60, ("", "TcpOutSegs"): 747669, ("", "TcpRetransSegs"): 576,
        ("", "TcpInErrs"): 15511, ("", "UdpInDatagrams"): 5, ("", "UdpRcvbufErrors"): 7,
        ("", "TcpExtListenOverflows"): 5191585, ("", "TcpExtListenDrops"): 5191585, ("", "TcpExtPruneCalled"): 2397,
        ("", "TcpExtTCPBacklogDrop"): 12,
    }  # fmt: skip


def test_conntrack_statistics() -> None:
    text = "$ conntrack -S\ncpu=0   \tfound=7 invalid=3 insert=0 insert_failed=2 drop=2 early_drop=0 error=1 search_restart=4\n"
    assert counters(text)["cpu0", "drop"] == 2


# CPUs


def test_proc_stat() -> None:
    every, first = facts_of("$ cat /proc/stat\ncpu  300 0 100 400 10 0 50 5 0 0\ncpu0 300 0 100 400\nintr 5 6\n", CpuTime)
    assert (every.cpu, every.user, every.softirq, every.steal) == ("", 3.0, 0.5, 0.05)
    assert (first.cpu, first.idle, first.softirq) == ("0", 4.0, 0.0)


def test_mpstat_in_all_its_columns() -> None:
    head = "12:00:01 PM  CPU    %usr   %nice    %sys %iowait    %irq   %soft  %steal  %guest  %gnice   %idle\n"
    text = f"$ mpstat -P ALL 5 1\nLinux 6.1\n\n{head}"
    text += "12:00:06 PM  all    1.00    0.00    2.00    0.00    0.00   40.00    0.00    1.00    0.00   56.00\n"
    text += "12:00:06 PM    0    0,00    0,00    1,00    0,00    0,00   99,00    0,00    0,00    0,00    0,00\n"
    every, first = facts_of(text, CpuTime)
    assert (every.cpu, every.user, every.softirq, every.idle, every.per_cent) == ("", 2.0, 40.0, 56.0, True)
    assert (first.cpu, first.softirq) == ("0", 99.0)


def test_numa_nodes_of_both_tools() -> None:
    hardware = "$ numactl -H\navailable: 2 nodes (0-1)\nnode 0 cpus: 0 2\nnode 0 size: 100 MB\nnode 1 cpus:\n"
    assert [(fact.node, fact.cpus) for fact in facts_of(hardware, Cores)] == [(0, (0, 2)), (1, ())]
    for word in ("NUMA node0", "NUMA-Knoten0"):
        assert facts_of(f"$ lscpu\nArchitecture:  x86_64\n{word} CPU(s):   0-2,8\n", Cores)[0].cpus == (0, 1, 2, 8)


def test_uname() -> None:
    assert facts_of("Linux vm 6.18.44-fc #1 SMP PREEMPT_DYNAMIC x86_64 GNU/Linux", Kernel)[0].release == "6.18.44-fc"
    assert facts_of("$ uname -r\n5.15.0-91-generic\n", Kernel)[0].release == "5.15.0-91-generic"


# settings


def test_sysctl_in_its_ways_to_print() -> None:
    text = (
        "$ sysctl -a\nnet.core.netdev_budget = 300\nnet.ipv4.tcp_rmem = 4096\t131072\t6291456\nnet.ipv4.conf.eth0.rp_filter = 2\n"
    )
    assert {fact.name: fact.value for fact in facts_of(text, Setting)} == {
        "net.core.netdev_budget": "300",
        "net.ipv4.tcp_rmem": "4096 131072 6291456",
    }
    for text in ("$ sysctl -n net.core.somaxconn\n4096\n", "$ cat /proc/sys/net/core/somaxconn\n4096\n"):
        (fact,) = facts_of(text, Setting)
        assert (fact.where, fact.name, fact.value) == ("sysctl", "net.core.somaxconn", "4096")


def test_settings_in_files() -> None:
    for text, where, name, value in (
        ("$ cat /sys/class/net/eth0/device/numa_node\n1\n", "sysfs", "eth0/device/numa_node", "1"),
        ("$ cat /proc/irq/25/smp_affinity_list\n0-3\n", "irq", "25", "0-3"),
    ):
        (fact,) = facts_of(text, Setting)
        assert (fact.where, fact.name, fact.value) == (where, name, value)
    words = {fact.name: fact.value for fact in facts_of("BOOT_IMAGE=/vmlinuz root=/dev/sda1 isolcpus=2-7 quiet\n", Setting)}
    assert (words["isolcpus"], words["quiet"]) == ("2-7", "")


# logs


@pytest.mark.parametrize(
    "line",
    [
        "[843041.359054] neighbour: arp_cache: neighbor table overflow!",
        "Feb 23 16:44:36 jobs kernel: [38775494.393661] neighbour: arp_cache: neighbor table overflow!",
        "[Sat Nov 21 16:00:01 2026] neighbour: arp_cache: neighbor table overflow!",
        "2026-11-21T16:00:01+0000 host kernel: neighbour: arp_cache: neighbor table overflow!",
    ],
)
def test_kernel_log_with_every_stamp(line: str) -> None:
    (fact,) = facts_of(f"$ dmesg\n{line}\n[1.000000] random: crng init done\n", LogMessage)
    assert fact.message == "neighbour: arp_cache: neighbor table overflow!"


def test_kernel_log_keeps_some_of_many_alike() -> None:
    lines = "\n".join(f"[{second}.000000] nf_conntrack: table full, dropping packet" for second in range(500))
    assert len(facts_of(f"$ dmesg\n{lines}\n", LogMessage)) == 20


# traffic


def test_iperf3_takes_the_last_lines_and_the_sum() -> None:
    (one,) = facts_of(parts("cases/tcp_retransmissions_high/a_iperf3.txt"), Transfer)
    assert (one.tool, one.target, one.sent, one.received, one.retransmits) == ("iperf3", "10.66.0.2", 155e6, 151e6, 1627)
    (two,) = facts_of(parts("healthy/host-busy/a_iperf3.txt"), Transfer)
    assert two.received is None or two.received > 5e9
    (error,) = facts_of(parts("netdev-partial-checksum/iperf3.txt"), Transfer)
    assert (error.error, error.target, error.at.scope) == ("unable to connect to server: Connection timed out", "10.77.0.2", "h1")


def test_iperf3_of_udp_and_iperf_2() -> None:
    (udp,) = facts_of(
        "$ iperf3 -u -c h\n[  5]   0.00-10.00  sec  1.25 MBytes  1.05 Mbits/sec  0.000 ms  0/906 (0%)  sender\n"
        "[  5]   0.00-10.04  sec  1.25 MBytes  1.04 Mbits/sec  0.012 ms  9/900 (1%)  receiver\n",
        Transfer,
    )
    assert (udp.protocol, udp.lost, udp.received) == ("udp", 1.0, 1.04e6)
    (old,) = facts_of("$ iperf -c h\n[  3]  0.0-10.0 sec  1.10 GBytes   941 Mbits/sec\n", Transfer)
    assert (old.tool, old.sent) == ("iperf", 941e6)


def test_ping_of_several_systems() -> None:
    small, large = facts_of(parts("cases/path_mtu_trouble/a_ping.txt"), Ping)
    assert (small.target, small.sent, small.received, small.size, small.average) == ("10.66.0.2", 3, 3, 56, 2.036)
    assert (large.size, large.received, large.error) == (1472, 0, "")
    (box,) = facts_of(
        "PING 10.0.0.1 (10.0.0.1): 56 data bytes\n64 bytes from 10.0.0.1: seq=0 ttl=64 time=0.1 ms\n\n"
        "2 packets transmitted, 1 packets received, 50% packet loss\nround-trip min/avg/max = 0.1/0.2/0.3 ms\n",
        Ping,
    )
    assert (box.size, box.sent, box.received, box.maximum) == (56, 2, 1, 0.3)
    (told,) = facts_of(
        "$ ping -M do -s 1472 h\nPING h (10.0.0.1) 1472(1500) bytes of data.\nping: local error: message too long, mtu=1450\n\n"
        "--- h ping statistics ---\n1 packets transmitted, 0 received, +1 errors, 100% packet loss, time 0ms\n",
        Ping,
    )
    assert told.error == "message too long, mtu=1450"
    (none,) = facts_of("$ ping 10.9.9.9\nping: connect: Network is unreachable\n", Ping)
    assert (none.target, none.sent, none.error) == ("10.9.9.9", 0, "Network is unreachable")


def test_connection_times() -> None:
    assert [fact.seconds for fact in facts_of(parts("cases/syn_retransmit_pattern/a_curl.txt"), Connection)] == [
        3.071924,
        7.122423,
    ]
    (real,) = facts_of("$ time curl -s http://h/\nok\n\nreal\t1m3,021s\nuser\t0m0.01s\n", Connection)
    assert real.seconds == pytest.approx(63.021)
    (failed,) = facts_of("$ curl http://h/\ncurl: (28) Connection timed out after 130213 milliseconds\n", Connection)
    assert failed.failed


# what must not break them


COMMANDS = (
    "cat /proc/net/softnet_stat", "cat /proc/interrupts", "cat /proc/softirqs", "cat /proc/net/snmp", "cat /proc/net/snmp6",
    "cat /proc/net/netstat", "nstat -zas", "nstat", "netstat -s", "cat /proc/stat", "mpstat -P ALL", "sysctl -a",
    "sysctl -n net.core.x", "cat /proc/sys/net/core/x", "cat /sys/class/net/eth0/device/numa_node", "cat /proc/cmdline",
    "numactl -H", "lscpu", "uname -a", "dmesg", "iperf3 -c h", "iperf -c h", "ping h", "conntrack -S", "curl h",
)  # fmt: skip
HOSTILE = (
    "", "\x00\x01\xff\ufffd", "9" * 5000, ": " * 3000, "[" * 5000,
    "-" * 5000, " " * 20000 + "x", "a=" * 5000, "Tcp: " + "9" * 5000,
    "Tcp:", "Tcp: -", "TcpExt: a b c", "IpInReceives " + "9" * 5000 + " 0.0", "CPU0 " * 4000, "  7: " + "9" * 5000 + " x",
    "  7: " + "1 " * 5000 + "x", "cpu0 " + "9" * 5000, "cpu" + "9" * 5000 + " 1 2 3 4 5 6 7 8",
    "NUMA node0 CPU(s): 0-99999999999", "node 0 cpus: " + "9" * 5000, "node " + "9" * 5000 + " cpus: 1",
    "[ ID] Interval", "[  5] 0.00-10.00 sec 1 MBytes " + "9" * 5000 + " Mbits/sec sender", "[" + "9" * 5000 + "] 0.0- 1.0 sec",
    "PING " + "x" * 5000 + " bytes", "PING h (" + "9" * 5000 + ") 56(84) bytes", "9" * 5000 + " packets transmitted, 1 received",
    "rtt min/avg/max/mdev = 1.1.1/2/3/4 ms", "real " + "9" * 5000 + "m1s", "time_connect: " + "9" * 5000 + ".1",
    "12:00:01 CPU %usr %nice %idle", "12:00:02 all 1.0 2.0", "net.core.x = " + "y" * 60000, "net." + "a." * 20000 + " = 1",
    "[" + "9" * 5000 + ".1] table full", "Feb 23 16:44:36 " + "x" * 60000 + " kernel: table full", "cpu=0 found=" + "9" * 5000,
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_no_text_breaks_a_parser(command: str) -> None:
    for text in (*HOSTILE, "\n".join(HOSTILE), "\n".join(reversed(HOSTILE))):
        facts_of(f"$ {command}\n{text}\n")


@pytest.mark.parametrize("name", ["proc_interrupts.0", "proc_softirqs.0", "proc_net_softnet_stat.0"])
def test_every_beginning_of_a_text_is_read(name: str) -> None:
    text = parts(f"pmd-idle-vhostuser/{name}")
    whole = len(facts_of(text))
    for end in range(0, len(text), 37):
        assert len(facts_of(text[:end])) <= whole
