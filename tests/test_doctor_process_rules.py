"""What is said of processes and profiles: on a transcript that shows it, and silence on those that do not."""

import pytest

from pktpath.doctor.diagnose import diagnose
from pktpath.doctor.facts.process import Process, Thread
from pktpath.doctor.finding import Confidence, Severity
from pktpath.doctor.rules import all_rules
from pktpath.doctor.rules._profile import stage
from pktpath.doctor.rules._threads import process_name, threads
from support.doctor import EVIDENCE, case_of, evidence, findings, says

RULES = {
    "backend-stalls-of-polling": (Severity.NOTE, Confidence.LIKELY, ("65.7 %", "timer", "empty ring", "132 cycles")),
    "cycles-by-stage": (Severity.NOTE, Confidence.CERTAIN, ("TCP/UDP and IP", "copies")),
    "hardware-counters-missing": (Severity.NOTE, Confidence.CERTAIN, ("stalled-cycles-backend", "nothing can be said")),
    "idle-poll-cycles": (Severity.NOTE, Confidence.LIKELY, ("35.8 %", "monotonic", "39.3 %.*cntvct_el0")),
    "lock-contention-hot": (Severity.WARNING, Confidence.LIKELY, ("74.6 %", "do_raw_spin_lock")),
    "nonblocking-poll-loop-is-normal": (Severity.NOTE, Confidence.LIKELY, ("1,290 of 1,290 accept", "44 a second", "normal")),
    "one-packet-a-system-call": (Severity.WARNING, Confidence.LIKELY, ("27,946 a second", "recvmmsg", "UDP_GRO")),
    "poll-mode-thread-spins-by-design": (Severity.NOTE, Confidence.CERTAIN, ("41320, 27680", "by design")),
    "process-idle": (Severity.NOTE, Confidence.CERTAIN, ("0.3 % of a core", "165 ms in 60 s")),
    "process-without-huge-pages": (Severity.WARNING, Confidence.LIKELY, ("256 MiB", "4 KiB")),
    "ready-descriptor-delivered": (Severity.NOTE, Confidence.CERTAIN, ("fd 30", "did deliver", "29 calls")),
    "ready-descriptor-was-empty": (Severity.WARNING, Confidence.LIKELY, ("fd 3", "150 of 180")),
    "replaced-libraries": (Severity.WARNING, Confidence.CERTAIN, ("dpdk-testpmd", "librte_hash.so.23", "librte_ring.so.23")),
    "several-poll-threads-busy": (Severity.NOTE, Confidence.CERTAIN, ("2 poll-mode threads", "rte-worker-1", "no other thread")),
    "software-checksum-hot": (Severity.WARNING, Confidence.LIKELY, ("7.2 %", "csum_partial", "tx off on ppdhpa")),
    "spins-on-eagain": (Severity.PROBLEM, Confidence.CERTAIN, ("136,401 of 136,401 recvfrom", "45,467 a second")),
    "strace-watched-one-thread": (Severity.NOTE, Confidence.CERTAIN, ("only thread 17429", "17431")),
    "thread-in-uninterruptible-sleep": (Severity.WARNING, Confidence.LIKELY, ("ppdhp-wait", "in 2 looks")),
    "thread-left-stopped": (Severity.PROBLEM, Confidence.CERTAIN, ("6 of the threads of dpdk-testpmd",)),
    "what-the-process-moves-packets-with": (
        Severity.NOTE,
        Confidence.CERTAIN,
        ("2 RDMA devices", "1 TAP", "4 vhost-user", "2.0 GiB"),
    ),
}
"""What each rule says of its own transcript."""


def folder(rule):
    return f"cases/{rule.replace('-', '_')}"


@pytest.mark.parametrize("rule", RULES)
def test_it_speaks_on_its_transcript(rule):
    severity, confidence, words = RULES[rule]
    finding = says(evidence(folder(rule)), rule, *words)
    assert (finding.severity, finding.confidence) == (severity, confidence)
    assert len(findings(evidence(folder(rule)), rule)) == 1


@pytest.mark.parametrize("rule", RULES)
def test_it_explains_itself(rule):
    text = next(one for one in all_rules() if one.id == rule).text
    assert "Speaks when" in text
    assert "Silent" in text or "is a note" in text


NOT_WRONG = ("echo-server", "iperf3-veth")
"""Healthy hosts that were watched with these tools."""


@pytest.mark.parametrize("name", NOT_WRONG)
def test_nobody_is_accused_of_being_healthy(name):
    for finding in diagnose(evidence(f"healthy/{name}")).findings:
        assert finding.severity == Severity.NOTE, finding.summary


ONLY_IN = {
    "echo-server": {"hardware-counters-missing", "nonblocking-poll-loop-is-normal", "process-idle", "ready-descriptor-delivered"},
    "iperf3-veth": {"cycles-by-stage"},
}


@pytest.mark.parametrize("name", ONLY_IN)
@pytest.mark.parametrize("rule", RULES)
def test_silence_on_healthy_transcripts(rule, name):
    case = evidence(f"healthy/{name}")
    assert bool(findings(case, rule)) == (rule in ONLY_IN[name])


def test_an_idle_switch_with_a_pmd_thread():
    """Everything that its truth asks of processes is said, and nothing but notes."""
    case = evidence("pmd-idle-vhostuser")
    design = says(
        case, "poll-mode-thread-spins-by-design", "pmd-c01/id:8", "99.9 % CPU is by design", "other 11 threads are idle"
    )
    # What can be switched stands at pmd-idle, which has asked the switch.
    assert design.remedies == ()
    says(case, "nonblocking-poll-loop-is-normal", "15 of 15 accept", "EAGAIN", "normal poll loop")
    says(case, "idle-poll-cycles", "pmd-c01/id:8", "__vdso_clock_gettime", "81.3 %.*rdtscp")
    says(case, "what-the-process-moves-packets-with", "2 vhost-user sockets", "2 TAPs")
    says(case, "hardware-counters-missing", "no hardware counters", "cycles")
    for rule in (
        "several-poll-threads-busy",
        "spins-on-eagain",
        "replaced-libraries",
        "process-without-huge-pages",
        "process-idle",
        "strace-watched-one-thread",
        "backend-stalls-of-polling",
        "ready-descriptor-was-empty",
    ):
        assert not findings(case, rule), rule


def test_stacks_of_several_threads_that_poll():
    case = evidence("cases/poll_mode_thread_spins_by_design")
    finding = says(case, "several-poll-threads-busy", "41320, 27680", "3 looks at thread 27680", "not stuck", "futex")
    assert finding.confidence == Confidence.LIKELY
    assert finding.proof


def test_futex_is_named_where_it_is_most_of_what_strace_shows():
    text = evidence_text("several_poll_threads_busy/top.txt") + (
        "\n$ strace -f -c -p 18353\n% time     seconds  usecs/call     calls    errors syscall\n"
        "------ ----------- ----------- --------- --------- ----------------\n"
        " 99.00    0.900000         900       900        29 futex\n  1.00    0.100000          10       100           poll\n"
    )
    says(case_of(text), "several-poll-threads-busy", "futex, 900 of 1,000 system calls")


def evidence_text(name):
    return (EVIDENCE / "cases" / name).read_text()


def test_the_first_thread_is_not_charged_for_the_others():
    known = threads(evidence("pmd-idle-vhostuser"))
    assert known[25637].cpu == pytest.approx(0.0)
    assert known[25650].cpu == 99.9
    assert known[25650].name == "pmd-c01/id:8"
    assert known[25640].name == "dpdk_watchdog1"


def test_a_first_thread_that_runs_itself_keeps_its_cpu():
    text = "$ top -H -b -n 1 -p 5\n  PID USER S  %CPU COMMAND\n    5 root R  99.0 a\n    6 root R  95.0 b\n"
    assert {tid: one.cpu for tid, one in threads(case_of(text)).items()} == {5: 99.0, 6: 95.0}


def test_names_of_processes_are_whole_where_a_file_tells():
    case = evidence("cases/what_the_process_moves_packets_with")
    assert process_name(case, 41246) == "ovs-vswitchd (41246)"
    assert process_name(case, 5) == "process 5"
    assert case.all(Process)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "$ ps -L -p 5 -o pid,tid,stat,pcpu,comm\n  PID TID STAT %CPU COMMAND\n 5 6 S  3.0 pmd-c01/id:8\n",
            "a PMD thread that sleeps",
        ),
        ("$ ps -L -p 5 -o pid,tid,stat,pcpu,comm\n  PID TID STAT %CPU COMMAND\n 5 6 R 99.0 python3\n", "another busy thread"),
    ],
)
def test_threads_that_do_not_poll_by_design(text, why):
    assert not findings(case_of(text), "poll-mode-thread-spins-by-design"), why


STRACE_C = (
    "$ timeout -s INT {} strace -c -p 5\nstrace: Process 5 attached\n% time     seconds  usecs/call     calls    errors syscall\n"
)


@pytest.mark.parametrize(
    ("seconds", "rows", "why"),
    [
        (3, "100.00    0.290899           2       900       900 recvfrom\n", "few"),
        (3, "100.00    0.290899           2    136401     60000 recvfrom\n", "more than half of them delivered"),
        (
            3,
            (
                " 90.00    0.290899           2    136401    136401 recvfrom\n"
                " 10.00    0.290899           2     13640           epoll_wait\n"
            ),
            "each poll is followed by ten",
        ),
        (300, "100.00    0.290899           2    136401    136401 recvfrom\n", "slow"),
        (3, "100.00    0.290899           2    136401    136401 futex\n", "not a question of a descriptor"),
    ],
)
def test_loops_that_do_not_spin(seconds, rows, why):
    assert not findings(case_of(STRACE_C.format(seconds) + rows), "spins-on-eagain"), why


LIVE = (
    "$ cat /proc/5/task\nProcess 5 python spin.py\nThreads of process 5 over 2.00 s, per cent of a core; "
    "%WAIT: ready, but no CPU for it;\ncontext switches since each began:\n"
    "     TID S   %CPU   %SYS  %WAIT PSR CLS    VOLUNTARY  INVOLUNTARY COMMAND\n"
    "       5 R   {:.1f}   24.4   {:.1f}   0 TS             0          626 {}\n"
)
"""As a live look takes it down."""


def test_a_thread_that_spins_on_a_crowded_core():
    calls = STRACE_C.format(3) + "100.00    0.290899           2     45467     45467 recvfrom\n"
    said = says(case_of(calls, LIVE.format(33.0, 66.0, "python")), "spins-on-eagain", "33 % of a core", "would use 99 %")
    assert said.severity == Severity.PROBLEM
    # One that sleeps most of the time.
    assert not findings(case_of(calls, LIVE.format(33.0, 1.0, "python")), "spins-on-eagain")


def test_a_poll_mode_thread_that_waits_for_its_core():
    says(
        case_of(LIVE.format(44.4, 55.6, "pmd-c01/id:8")),
        "pmd-interrupted",
        "pmd-c01/id:8 waited for its core for 56 % of the time",
    )
    assert not findings(case_of(LIVE.format(99.0, 1.0, "pmd-c01/id:8")), "pmd-interrupted")
    assert not findings(case_of(LIVE.format(44.4, 55.6, "python")), "pmd-interrupted")


def test_a_poll_mode_thread_may_ask_the_kernel_in_vain():
    text = STRACE_C.format(3) + "100.00    0.290899           2    136401    136401 recvfrom\n"
    assert findings(case_of(text), "spins-on-eagain")
    table = "$ ps -L -p 5 -o pid,tid,stat,pcpu,comm\n  PID TID STAT %CPU COMMAND\n 5 5 R 99.0 pmd-c01/id:8\n"
    assert not findings(case_of(text, table), "spins-on-eagain")


def test_a_spinning_thread_is_not_called_normal():
    assert not findings(evidence("cases/spins_on_eagain"), "nonblocking-poll-loop-is-normal")
    assert not findings(evidence("cases/ready_descriptor_was_empty"), "nonblocking-poll-loop-is-normal")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("100.00    0.290899           2       900           recvfrom\n", "few"),
        (
            (
                " 40.00    0.290899           2     41918           sendto\n"
                " 60.00    0.290899           2    241918           ioctl\n"
            ),
            "not most",
        ),
        ("100.00    0.290899           2     41918           recvmmsg\n", "many packets in each"),
    ],
)
def test_calls_that_do_not_carry_one_packet_each(row, why):
    assert not findings(case_of(STRACE_C.format(3) + row), "one-packet-a-system-call"), why


def test_large_reads_are_no_packets():
    lines = "".join(
        f'12:00:0{second}.{n:06} recvfrom(3, "x"..., 131072, 0, NULL, NULL) = 65160\n' for second in (1, 2) for n in range(9000)
    )
    assert not findings(case_of(f"$ strace -tt -p 5\n{lines}"), "one-packet-a-system-call")
    small = lines.replace("65160", "1400")
    says(case_of(f"$ strace -tt -p 5\n{small}"), "one-packet-a-system-call", "1,400 bytes on average")


def test_strace_that_watched_the_busy_thread_too():
    top = evidence_text("strace_watched_one_thread/top.txt")
    followed = "$ strace -f -p 17429\nstrace: Process 17429 attached with 2 threads\n[pid 17431] getpid() = 1\n"
    assert not findings(case_of(top, followed), "strace-watched-one-thread")
    busy = "$ strace -p 17431\nstrace: Process 17431 attached\ngetpid() = 1\n"
    assert not findings(case_of(top, busy), "strace-watched-one-thread")


def test_strace_beside_the_stack_of_a_poll_mode_thread():
    case = case_of(
        evidence_text("ready_descriptor_delivered/strace.txt"), evidence_text("poll_mode_thread_spins_by_design/pstack.txt")
    )
    finding = says(case, "strace-watched-one-thread", "only thread 41246", "41320")
    assert finding.confidence == Confidence.LIKELY


PMAP = "$ pmap -x 5\n5:   /usr/bin/demo\nAddress           Kbytes     RSS   Dirty Mode  Mapping\n"


@pytest.mark.parametrize(
    "name",
    [
        "memfd:seg_2-0 (deleted)",
        "/dev/hugepages/rtemap_0 (deleted)",
        "/SYSV00000000 (deleted)",
        "/dev/shm/pulse-1 (deleted)",
        "/tmp/orcexec.8 (deleted)",
        "/memfd:jit (deleted)",
        "/usr/lib/libc.so.6",
        "/dev/zero (deleted)",
        "/usr/share/x.dat (deleted)",
    ],
)
def test_files_that_are_deleted_on_purpose(name):
    mode = "rw-s-" if name.endswith(".dat (deleted)") else "r-xs-"
    assert not findings(case_of(f"{PMAP}0000ffff99f50000      64      64       0 {mode} {name}\n"), "replaced-libraries")


def test_other_programs_with_old_libraries_are_one_note():
    rows = "".join(
        f"prog{n}   {n} root  DEL       REG              254,0            265 /usr/lib/libblkid.so.1\n" for n in range(3, 8)
    )
    finding = says(case_of(f"$ lsof\n{rows}"), "replaced-libraries", "5 other processes", "libblkid")
    assert finding.severity == Severity.NOTE


def test_huge_pages_beside_small_ones_are_enough():
    rows = (
        "0000ffff99f50000   65536      64       0 rw-s- memfd:nohuge (deleted)\n"
        "0000ffffa9f50000   65536      64       0 rw-s- {}\n"
    )
    assert findings(case_of(PMAP + rows.format("[ anon ]")), "process-without-huge-pages")
    assert not findings(case_of(PMAP + rows.format("/dev/hugepages/rtemap_0")), "process-without-huge-pages")


def perf_stat(clock, seconds, target="process id '5'", more=""):
    return f" Performance counter stats for {target}:\n\n   {clock} msec task-clock\n{more}\n   {seconds} seconds time elapsed\n"


@pytest.mark.parametrize(
    ("text", "idle"),
    [
        (perf_stat("164.86", "60.0"), True),
        (perf_stat("5164.86", "60.0"), False),
        (perf_stat("1.86", "0.5"), False),
        (perf_stat("1.86", "60.0", "'sleep 60'"), False),
        (perf_stat("1.86", "60.0", "thread id '7'"), True),
    ],
)
def test_who_is_idle(text, idle):
    assert bool(findings(case_of(text), "process-idle")) == idle


def test_stalls_without_polling_are_another_question():
    counts = perf_stat("999.0", "1.0", more="   9,670,958,313      cycles\n   6,355,584,509      stalled-cycles-backend\n")
    assert not findings(case_of(counts), "backend-stalls-of-polling")
    stack = "$ pstack 5\n#0  0x1 in rte_vhost_dequeue_burst ()\n#1  0x1 in pmd_thread_main ()\n"
    assert findings(case_of(counts, stack), "backend-stalls-of-polling")
    few = counts.replace("6,355", "1,355")
    assert not findings(case_of(few, stack), "backend-stalls-of-polling")


REPORT = "$ perf report\n# Overhead  Command       Shared Object  Symbol\n"


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (
            (
                "    50.00%  pmd-c01/id:8  ovs-vswitchd  [.] dp_netdev_process_rxq_port\n"
                "    20.00%  pmd-c01/id:8  [vdso]  [.] __vdso_clock_gettime\n"
                "    20.00%  pmd-c01/id:8  ovs-vswitchd  [.] miniflow_extract\n"
            ),
            "it has packets",
        ),
        ("    90.00%  postgres      [vdso]         [.] __vdso_clock_gettime\n", "reads the clock without polling"),
        ("    90.00%  pmd-c01/id:8  ovs-vswitchd  [.] 0x00000000000ad2ef\n", "nothing is known of it"),
    ],
)
def test_profiles_that_do_not_show_an_empty_loop(rows, why):
    assert not findings(case_of(REPORT + rows), "idle-poll-cycles"), why


def test_locks_and_their_callers():
    sample = (
        "app 5 [000] 1.000001: cycles:\n\t1 {} (k)\n\t1 _raw_spin_lock (k)\n\t1 __dev_queue_xmit (k)\n\t1 udp_sendmsg (k)\n\n"
    )
    text = "$ perf script\n" + sample.format("native_queued_spin_lock_slowpath") * 20 + sample.format("memcpy") * 80
    says(case_of(text), "lock-contention-hot", "20.0 %", "called by __dev_queue_xmit")
    rare = "$ perf script\n" + sample.format("native_queued_spin_lock_slowpath") * 5 + sample.format("memcpy") * 95
    assert not findings(case_of(rare), "lock-contention-hot")


def test_csum_ipv6_magic_and_few_checksums_are_normal():
    assert not findings(case_of(REPORT + "    30.00%  iperf3  [kernel.kallsyms]  [k] csum_ipv6_magic\n"), "software-checksum-hot")
    assert not findings(case_of(REPORT + "     4.00%  iperf3  [kernel.kallsyms]  [k] csum_partial\n"), "software-checksum-hot")


def test_the_switch_for_checksums_names_the_device():
    finding = says(evidence("cases/software_checksum_hot"), "software-checksum-hot", "tx off on ppdhpa")
    assert [remedy.command for remedy in finding.remedies] == ["ip netns exec pp-dhp-a ethtool -K ppdhpa tx on"]


@pytest.mark.parametrize(
    ("frames", "name"),
    [
        (("do_syscall_64", "tcp_recvmsg", "skb_copy_datagram_iter", "copy_user_enhanced_fast_string"), "copies"),
        (("net_rx_action", "tcp_v4_rcv", "csum_partial"), "checksums"),
        (("tcp_sendmsg", "__alloc_skb"), "buffers"),
        (("napi_poll", "dev_gro_receive"), "GRO"),
        (("ovs_vport_receive", "ovs_flow_tbl_lookup_stats", "masked_flow_lookup"), "Open vSwitch"),
        (("main", "compute"), "other"),
        (("start_thread", "native_queued_spin_lock_slowpath"), "locks"),
    ],
)
def test_stages_of_the_packet_path(frames, name):
    assert stage(frames) == name


def test_iperf_is_mostly_copies_and_protocols():
    says(evidence("perf-iperf-stacks"), "cycles-by-stage", "copies", "TCP/UDP and IP")


def test_few_or_foreign_stacks_are_no_packet_path():
    sample = "app 5 [000] 1.000001: cycles:\n\t1 {} (k)\n\n"
    assert not findings(case_of("$ perf script\n" + sample.format("copy_user_generic") * 40), "cycles-by-stage")
    assert not findings(case_of("$ perf script\n" + sample.format("PyEval_EvalFrameDefault") * 400), "cycles-by-stage")


PS = "$ ps -L -p {0} -o pid,tid,stat,pcpu,comm\n  PID TID STAT %CPU COMMAND\n {0} {1} {2}  0.0 {3}\n"


def test_stopped_threads_of_other_programs_are_nobodys_business():
    editor = PS.format(5, 5, "T", "vim") + " 9 9 S 0.0 bash\n"
    assert not findings(case_of(editor), "thread-left-stopped")
    switch = PS.format(5, 6, "T", "ovs-vswitchd") + " 9 9 S 0.0 bash\n"
    assert says(case_of(switch), "thread-left-stopped", "stopped").remedies[0].command == "kill -CONT 5"


def test_a_thread_that_a_debugger_holds_is_a_note():
    finding = says(case_of(PS.format(5, 6, "tl", "pmd-c01/id:8")), "thread-left-stopped", "debugger")
    assert (finding.severity, finding.confidence) == (Severity.NOTE, Confidence.POSSIBLE)


def test_one_look_at_a_sleeping_thread_says_nothing():
    once = PS.format(5, 6, "D", "jbd2/vda1-8")
    assert not findings(case_of(once), "thread-in-uninterruptible-sleep")
    assert not findings(case_of(once, PS.format(5, 6, "S", "jbd2/vda1-8")), "thread-in-uninterruptible-sleep")
    assert findings(case_of(once, PS.format(5, 6, "D", "jbd2/vda1-8")), "thread-in-uninterruptible-sleep")
    assert case_of(once).all(Thread)


def test_events_that_were_not_counted_are_not_missing():
    text = perf_stat("9.0", "1.0", more="   <not counted>      cycles\n")
    assert not findings(case_of(text), "hardware-counters-missing")


def test_only_processes_through_which_packets_pass_are_named():
    text = "$ lsof\nbash   5 root  255u      CHR              136,0      0t0        3 /dev/pts/0\n"
    assert not findings(case_of(text), "what-the-process-moves-packets-with")
