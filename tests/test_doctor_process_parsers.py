"""What tools tell of processes and of profiles becomes facts: real transcripts, every layout, hostile input."""

import random
from collections import Counter

import pytest

from pktpath.doctor.facts.perf import HotInstruction, HotSymbol, PerfCount, SampledStack
from pktpath.doctor.facts.process import Mapping, OpenFile, Process, ReadyDescriptor, Stack, Syscall, Thread, Trace
from pktpath.doctor.parse import lsof, perf_script, stacks
from pktpath.doctor.parse.perf_stat import number
from pktpath.doctor.parse.target import named, watched
from pktpath.doctor.parse.transcript import Transcript
from support.doctor import EVIDENCE, facts_of

PMD = EVIDENCE / "pmd-idle-vhostuser"


def read(name, kind=None):
    return facts_of((PMD / name).read_text(), kind)


def one(facts, **wanted):
    """Return the only fact with these values."""
    found = [fact for fact in facts if all(getattr(fact, name) == value for name, value in wanted.items())]
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize(
    ("command", "pid"),
    [
        ("pmap -x 25637", 25637),
        ("pmap -p 41246 -x", 41246),
        ("pstack 41320", 41320),
        ("strace -fp12", 12),
        ("gdb -p 25637 -batch -ex 'thread apply all bt 12'", 25637),
        ("perf stat -t 25650 sleep 5", 25650),
        ("pmap -x", 0),
        ("lsof -n -P -p 5", 5),
        ("gdb -batch -ex bt --pid=77", 77),
        ("pmap -x 5 | head -20", 5),
    ],
)
def test_whom_a_tool_watched(command, pid):
    assert named(command) == pid


def test_a_number_without_an_option_is_nobody_to_strace():
    assert watched("strace -e trace=read -s 1500 ls") == 0


def test_pmap():
    facts = read("pmap.txt")
    process = one([fact for fact in facts if isinstance(fact, Process)])
    assert (process.pid, process.name) == (25637, "ovs-vswitchd-dpdk")
    assert process.command.endswith("--log-file=/var/run/openvswitch/vs.log")
    mapping = one([fact for fact in facts if isinstance(fact, Mapping)], address=0x1180200000)
    assert (mapping.pid, mapping.size, mapping.resident, mapping.dirty) == (25637, 2048, 0, 0)
    assert (mapping.mode, mapping.name) == ("rw-s-", "memfd:seg_2-0 (deleted)")
    total = (PMD / "pmap.txt").read_text().split("total kB")[1].split()[0]
    assert sum(mapping.size for mapping in facts if isinstance(mapping, Mapping)) == int(total)


def test_pmap_of_other_columns_and_without_a_command():
    text = (
        "Address           Kbytes     PSS   Dirty    Swap  Mode  Mapping\n"
        "0000ffff99f50000      64      60       4       0  r-x-- /usr/lib64/librte vhost.so (deleted)\n"
        "ffffffffff600000       4       -       -       -  r-xp-   [ anon ]\n"
    )
    first, second = facts_of(text, Mapping)
    assert (first.resident, first.dirty, first.name) == (60, 4, "/usr/lib64/librte vhost.so (deleted)")
    assert (second.pid, second.resident, second.name) == (0, 0, "[ anon ]")


def test_lsof():
    files = read("lsof.txt", OpenFile)
    assert len(files) == 1077
    assert one(files, fd="166u").name == "/dev/net/tun"
    assert one(files, fd="txt").name == "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
    assert {file.pid for file in files} == {25637}
    assert Counter(file.kind for file in files)["unix"] == sum(
        " unix " in line for line in (PMD / "lsof.txt").read_text().split("\n")
    )


@pytest.mark.parametrize(
    ("row", "fd", "kind", "name"),
    [
        (
            "ovs-vswit 41246 root  mem-R     REG               0,40 536870912     968169 /dev/hugepages/rtemap_0",
            "mem-R",
            "REG",
            "/dev/hugepages/rtemap_0",
        ),
        ("ovs-vswit 41246 root   12u  netlink                          0t0     968157 ROUTE", "12u", "netlink", "ROUTE"),
        (
            "ovs-vswit 41246 root   21u  a_inode               0,13         0       9112 [eventpoll]",
            "21u",
            "a_inode",
            "[eventpoll]",
        ),
        (
            "ovs-vswit 41246 root   53u     unix 0xffff8017d6540d80       0t0     953887 /run/vhost-user0",
            "53u",
            "unix",
            "/run/vhost-user0",
        ),
        (
            "ovs-vswit 25637 root  DEL       REG               0,17            749738 /memfd:seg_2-0",
            "DEL",
            "REG",
            "/memfd:seg_2-0",
        ),
        (
            "dhclient  812   root   5u      pack              24071       0t0      35020 type=SOCK_RAW",
            "5u",
            "pack",
            "type=SOCK_RAW",
        ),
        (
            "dhclient  812   root   6u      pack              24071       0t0      ALL type=SOCK_RAW",
            "6u",
            "pack",
            "type=SOCK_RAW",
        ),
        (
            "iperf3    913   root   4u     IPv6              90521       0t0       TCP *:5201 (LISTEN)",
            "4u",
            "IPv6",
            "*:5201 (LISTEN)",
        ),
        (
            "python3   29469 29529 python3   root  251w     FIFO               0,15        0t0  9636976 pipe",
            "251w",
            "FIFO",
            "pipe",
        ),
    ],
)
def test_rows_of_lsof_without_their_heading(row, fd, kind, name):
    file = one(facts_of(f"$ lsof\n{row}\n", OpenFile))
    assert (file.fd, file.kind, file.name) == (fd, kind, name)


def test_a_very_long_lsof_keeps_what_packets_pass_through():
    text = ["COMMAND     PID USER   FD      TYPE             DEVICE SIZE/OFF     NODE NAME"]
    text += [
        f"bash      {pid:5} root  cwd       DIR              254,0     4096        2 /" for pid in range(1, lsof.MAX_FILES + 500)
    ]
    text += ["qemu      99999 root   35u      CHR             10,200      0t0      137 /dev/net/tun"]
    document = Transcript(text, "lsof")
    files = [fact for fact in document.facts() if isinstance(fact, OpenFile)]
    assert len(files) == lsof.MAX_FILES + 1
    assert files[-1].name == "/dev/net/tun"
    assert "beyond the first" in document.missing[0].why


def test_ps():
    threads = read("ps-threads.txt", Thread)
    assert len(threads) == 12
    pmd = one(threads, tid=25650)
    assert (pmd.pid, pmd.name, pmd.state, pmd.cpu, pmd.processor, pmd.recent) == (25637, "pmd-c01/id:8", "R", 99.3, 1, False)


def test_ps_with_the_columns_of_elf():
    text = (
        "UID        PID  PPID   LWP  C NLWP STIME TTY          TIME CMD\n"
        "root     29469 29467 29469  6    2 16:47 ?        00:00:00 /usr/sbin/ovs-vswitchd unix:/run/db.sock\n"
        "root     29469 29467 29529 97    2 16:47 ?        00:00:00 /usr/sbin/ovs-vswitchd unix:/run/db.sock\n"
    )
    facts = facts_of(text)
    assert one([fact for fact in facts if isinstance(fact, Process)]).name == "ovs-vswitchd"
    assert [(fact.tid, fact.cpu) for fact in facts if isinstance(fact, Thread)] == [(29469, 6.0), (29529, 97.0)]


def test_ps_without_pids_takes_the_one_that_was_asked_for():
    text = "$ ps -L -p 77 -o tid,cls,wchan:20,comm\n  TID CLS WCHAN                COMMAND\n   78 FF  -                    pmd8\n"
    thread = one(facts_of(text, Thread))
    assert (thread.pid, thread.policy, thread.name) == (77, "FF", "pmd8")


def test_ps_of_processes_tells_nothing_of_threads():
    assert not facts_of("$ ps aux\nUSER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND\nroot 1 0.0 0.1 1 1 ? Ss 1 0:0 init\n")


def test_top_takes_the_last_table():
    threads = read("top-threads.txt", Thread)
    assert len(threads) == 12
    pmd = one(threads, tid=25650)
    assert (pmd.pid, pmd.name, pmd.state, pmd.cpu, pmd.recent) == (25637, "pmd-c01/i+", "R", 99.9, True)
    assert pmd.at.line == 30


def test_top_of_processes_tells_of_kernel_threads_only():
    text = (
        "top - 14:31:10 up 1 day, 56 min,  2 users,  load average: 1.01, 1.73, 2.16\nTasks: 69 total,   2 running\n\n"
        "  PID USER      PR  NI    VIRT    RES    SHR S  %CPU  %MEM     TIME+ COMMAND\n"
        "   12 root      20   0       0      0      0 R  93,2   0.0  43:47.43 ksoftirqd/0\n"
        "30615 pi        20   0   94628   8348   7172 S 232.4   0.1   0:06.17 ovs-vswitchd\n"
    )
    thread = one(facts_of(text, Thread))
    assert (thread.name, thread.cpu, thread.recent) == ("ksoftirqd/0", 93.2, False)


def test_strace_lines():
    facts = read("strace-main.txt")
    trace = one([fact for fact in facts if isinstance(fact, Trace)])
    assert (trace.pid, trace.followed, trace.summary, trace.seconds) == (25637, False, False, 2.0)
    lines = (PMD / "strace-main.txt").read_text()
    calls = {call.name: call for call in facts if isinstance(call, Syscall)}
    assert trace.calls == sum(call.calls for call in calls.values()) == lines.count(" = ") + 1, (
        "the last call was cut off by the end of the trace"
    )
    assert (calls["accept"].calls, calls["accept"].errors, calls["accept"].errnos) == (15, 15, (("EAGAIN", 15),))
    assert calls["recvmsg"].bytes == 1524
    ready = one([fact for fact in facts if isinstance(fact, ReadyDescriptor)])
    assert (ready.fd, ready.reported, ready.delivered, ready.empty) == (159, 3, 3, 0)


def test_strace_table():
    facts = read("strace-c-process.txt")
    trace = one([fact for fact in facts if isinstance(fact, Trace)])
    assert (trace.pid, trace.followed, trace.summary, trace.seconds, trace.calls) == (25637, True, True, 10.0, 719)
    futex = one([fact for fact in facts if isinstance(fact, Syscall)], name="futex")
    assert (futex.calls, futex.errors, futex.seconds, futex.errnos) == (10, 1, 0.004, ())


def test_an_empty_trace_is_one_too():
    trace = one(read("strace-c-pmd.txt"))
    assert (trace.pid, trace.calls, trace.summary) == (25650, 0, True)


def test_a_table_with_the_time_that_it_took():
    facts = facts_of((EVIDENCE / "cases/nonblocking_poll_loop_is_normal/strace.txt").read_text())
    trace = one([fact for fact in facts if isinstance(fact, Trace)])
    assert (trace.pid, trace.calls, trace.seconds, trace.followed) == (2291, 4006, 67.718, False)


@pytest.mark.parametrize("prefix", ["", "12:00:01 ", "12:00:01.123456 ", "     0.000120 ", "1690000000.123456 "])
@pytest.mark.parametrize("who", ["", "[pid 25650] ", "25650 "])
@pytest.mark.parametrize("end", ["", " <0.000012>"])
def test_lines_of_strace_with_every_prefix(who, prefix, end):
    text = (
        f"{who}{prefix}poll([{{fd=7, events=POLLIN}}], 1, 10) = 1 ([{{fd=7, revents=POLLIN}}]){end}\n"
        f"{who}{prefix}recvfrom(7, 0x1, 2048, 0, NULL, NULL) = -1 EAGAIN (Die Ressource ist nicht verf\u00fcgbar){end}\n"
        f'{who}{prefix}read(8, "a = b", 3) = 3{end}\n'
    )
    facts = facts_of(text)
    calls = {call.name: call for call in facts if isinstance(call, Syscall)}
    assert {name: (call.calls, call.errors) for name, call in calls.items()} == {
        "poll": (1, 0),
        "recvfrom": (1, 1),
        "read": (1, 0),
    }
    assert {call.tid for call in calls.values()} == {25650 if who else 0}
    assert calls["read"].seconds == (pytest.approx(0.000012) if end else None)
    ready = one([fact for fact in facts if isinstance(fact, ReadyDescriptor)])
    assert (ready.fd, ready.delivered, ready.empty) == (7, 0, 1)


def test_times_of_a_trace():
    text = '12:00:01.5 read(3, "", 1) = 0\n12:00:04.5 read(3, "", 1) = 0\n'
    assert one(facts_of(f"$ strace -tt -p 5\n{text}", Trace)).seconds == pytest.approx(3.0)
    relative = '     0.000000 read(3, "", 1) = 0\n     1.250000 read(3, "", 1) = 0\n     0.750000 read(3, "", 1) = 0\n'
    assert one(facts_of(f"$ strace -r -p 5\n{relative}", Trace)).seconds == pytest.approx(2.0)
    midnight = '23:59:59.5 read(3, "", 1) = 0\n00:00:04.5 read(3, "", 1) = 0\n'
    assert one(facts_of(f"$ strace -tt -p 5\n{midnight}", Trace)).seconds is None


def test_calls_that_others_interrupt():
    text = (
        "$ strace -f -p 7\nstrace: Process 7 attached with 2 threads\n"
        "[pid     8] epoll_wait(4,  <unfinished ...>\n"
        "[pid     7] accept4(3, NULL, NULL, SOCK_CLOEXEC <unfinished ...>\n"
        "[pid     8] <... epoll_wait resumed>[{events=EPOLLIN, data={u32=3, u64=3}}], 1023, 1000) = 1\n"
        "[pid     7] <... accept4 resumed>)      = -1 EAGAIN (Resource temporarily unavailable)\n"
        '[pid     8] recvfrom(3, "x", 9, 0, NULL, NULL) = 200\n'
        "[pid     8] read(9, \n"
    )
    facts = facts_of(text)
    calls = {(call.tid, call.name): (call.calls, call.errors) for call in facts if isinstance(call, Syscall)}
    assert calls == {(8, "epoll_wait"): (1, 0), (7, "accept4"): (1, 1), (8, "recvfrom"): (1, 0), (8, "read"): (1, 0)}
    ready = one([fact for fact in facts if isinstance(fact, ReadyDescriptor)])
    assert (ready.tid, ready.fd, ready.reported, ready.delivered) == (8, 3, 1, 1)
    assert one([fact for fact in facts if isinstance(fact, Trace)]).followed


def test_lines_that_the_terminal_wrapped():
    facts = facts_of((EVIDENCE / "cases/ready_descriptor_delivered/strace.txt").read_text())
    calls = {call.name: call.calls for call in facts if isinstance(call, Syscall)}
    assert calls == {"ppoll": 3, "getrusage": 3, "read": 9, "recvfrom": 3, "recvmsg": 11, "accept": 9}
    ready = one([fact for fact in facts if isinstance(fact, ReadyDescriptor)])
    assert (ready.fd, ready.reported, ready.delivered, ready.empty) == (30, 3, 3, 0)


@pytest.mark.parametrize(
    ("poll", "ready"),
    [
        ("select(5, [3 4], NULL, NULL, {tv_sec=1, tv_usec=0}) = 1 (in [4], left {tv_sec=0, tv_usec=9})", {4}),
        ("ppoll([{fd=7, events=POLLIN}], 1, NULL, NULL, 8) = 1 ([{fd=7<socket:[812]>, revents=POLLIN|POLLHUP}])", {7}),
        ("poll([{fd=7, events=POLLOUT}], 1, -1) = 1 ([{fd=7, revents=POLLOUT}])", set()),
        ("epoll_wait(4, [{EPOLLIN, {u32=5, u64=5}}], 8, -1) = 1", {5}),
        ("epoll_pwait(4, [{events=EPOLLIN, data={u32=2863311530, u64=94123456789}}], 8, -1, NULL, 8) = 1", set()),
        ("poll([{fd=7, events=POLLIN}], 1, 10) = 0 (Timeout)", set()),
    ],
)
def test_what_polls_report(poll, ready):
    assert {fact.fd for fact in facts_of(f"$ strace -p 5\n{poll}\n", ReadyDescriptor)} == ready


def test_gdb():
    found = read("stacks.txt", Stack)
    assert len(found) == 12
    pmd = one(found, tid=25650)
    assert (pmd.pid, pmd.name, pmd.frames) == (25637, "pmd-c01/id:8", ("??", "??", "start_thread", "clone3"))
    assert one(found, name="vhost-events").frames[0] == "__GI___poll"


def test_pstack_and_eu_stack():
    looks = facts_of((EVIDENCE / "cases/poll_mode_thread_spins_by_design/pstack.txt").read_text(), Stack)
    assert [look.tid for look in looks] == [41320, 27680, 27680, 27680]
    assert looks[1].frames[:3] == ("monotonic", "clock_gettime", "xclock_gettime")
    assert looks[3].frames[0] == "get_device"
    text = (
        "PID 29469 - process\nTID 29469:\n#0  0x00007ffa6ad1c9ec __select - /usr/lib/libc.so.6\n"
        "#1  0x00007ffa6a6db523 - 1 select_select_impl+0x12\nTID 29470:\n#0  0x00007ffa6af5aab0 std::a<b>::c(int)\n"
        "#1  0x0 <signal handler called>\n"
    )
    first, second = facts_of(text, Stack)
    assert (first.pid, first.tid, first.frames[0]) == (29469, 29469, "__select")
    assert (second.tid, second.frames) == (29470, ("std::a<b>::c", "<signal handler called>"))


def test_perf_stat_of_new_kernels():
    counts = read("perf-stat.txt", PerfCount)
    clock = one(counts, event="task-clock")
    assert (clock.target, clock.value, clock.unit, clock.elapsed) == ("process id '25637'", 5005.99, "msec", 5.001809806)
    cycles = one(counts, event="cycles")
    assert (cycles.value, cycles.state) == (None, "not supported")


def test_perf_stat_of_old_kernels():
    counts = facts_of((EVIDENCE / "cases/process_idle/perf-stat.txt").read_text(), PerfCount)
    clock = one(counts, event="task-clock")
    assert (clock.value, clock.unit, clock.elapsed) == (164.864807, "msec", 60.000586317)
    assert one(counts, event="cycles").value == 157433064
    assert one(counts, event="stalled-cycles-backend").state == "not supported"
    assert one(counts, event="branch-misses").value == 888282


def test_perf_stat_in_intervals_by_thread_and_separated():
    text = (
        "$ perf stat -I 500 -p 5\n#           time             counts unit events\n"
        "     0.500554401             149.24 msec task-clock                       #    0.298 CPUs utilized\n"
        "     0.500554401                 88      context-switches                 #  589.660 /sec\n"
        "     1.007235648             155.42 msec task-clock                       #    0.311 CPUs utilized\n"
    )
    clocks = [count for count in facts_of(text, PerfCount) if count.event == "task-clock"]
    assert [(clock.value, clock.elapsed) for clock in clocks] == [(149.24, 0.500554401), (155.42, pytest.approx(0.506681247))]
    text = (
        " Performance counter stats for process id '29469':\n\n"
        "         python3-29529                237.55 msec task-clock                       #    0.238 CPUs utilized\n"
        "         python3-29469       <not counted>      cycles:u\n\n       1.5 seconds time elapsed\n"
    )
    first, second = facts_of(text, PerfCount)
    assert (first.target, first.value, first.elapsed) == ("python3-29529", 237.55, 1.5)
    assert (second.event, second.state) == ("cycles", "not counted")
    text = (
        "$ perf stat -x, -p 5\n305.56,msec,task-clock,305562894,100.00,0.305,CPUs utilized\n<not supported>,,cycles,0,100.00,,\n"
    )
    first, second = facts_of(text, PerfCount)
    assert (first.target, first.value, first.unit, second.state) == ("process id '5'", 305.56, "msec", "not supported")


@pytest.mark.parametrize(
    ("text", "clock", "value"),
    [
        ("1,396", False, 1396),
        ("1.396", False, 1396),
        ("5000.89", True, 5000.89),
        ("5.000,89", True, 5000.89),
        ("75", False, 75),
        ("157\u202f433\u202f064", False, 157433064),
        ("164.864807", True, 164.864807),
        ("3,867", True, 3.867),
        ("1'396", False, 1396),
        ("9,670,958,313", False, 9670958313),
    ],
)
def test_numbers_of_every_language(text, clock, value):
    assert number(text, clock=clock) == value


def test_perf_report():
    symbols = read("perf-report.txt", HotSymbol)
    clock = symbols[0]
    assert (clock.percent, clock.command, clock.object, clock.symbol) == (41.85, "pmd-c01/id:8", "[vdso]", "__vdso_clock_gettime")
    assert not clock.kernel
    assert sum(symbol.percent for symbol in symbols) == pytest.approx(95, abs=6)


def test_profiles_are_told_apart():
    symbols = facts_of((EVIDENCE / "cases/idle_poll_cycles/perf.txt").read_text(), HotSymbol)
    first, second = dict.fromkeys(symbol.profile for symbol in symbols)
    assert one(symbols, profile=first, symbol="monotonic").percent == 25.65
    assert one(symbols, profile=second, symbol="monotonic").percent == 2.82
    assert one(symbols, symbol="sys_futex").kernel


def test_perf_report_with_children_and_graphs():
    text = (
        "# Children      Self  Command  Shared Object      Symbol\n# ........  ........  .......  .................  ......\n#\n"
        "    16.44%     0.00%  iperf3   [kernel.kallsyms]  [k] entry_SYSCALL_64_after_hwframe\n            |\n"
        "            ---entry_SYSCALL_64_after_hwframe\n               |--8.65%--ksys_write\n"
        "     8.00%     7.50%  Chrome IO Thread  [kernel.kallsyms]  [k] csum_partial            -      -\n"
    )
    first, second = facts_of(text, HotSymbol)
    assert (first.percent, first.symbol) == (0.0, "entry_SYSCALL_64_after_hwframe")
    assert (second.percent, second.command, second.symbol, second.kernel) == (7.5, "Chrome IO Thread", "csum_partial", True)


def test_perf_top_of_old_kernels():
    symbols = facts_of((EVIDENCE / "cases/lock_contention_hot/perf-report.txt").read_text(), HotSymbol)
    assert (symbols[0].percent, symbols[0].symbol, symbols[0].kernel) == (74.6, "do_raw_spin_lock", True)
    assert not symbols[1].kernel


def test_perf_annotate_of_stdio():
    found = read("perf-annotate.txt", HotInstruction)
    slow = max(found, key=lambda instruction: instruction.percent)
    assert (slow.percent, slow.function, slow.instruction, slow.before) == (
        81.27,
        "__vdso_clock_gettime",
        "xchg   %ax,%ax",
        "rdtscp",
    )


def test_perf_annotate_of_a_terminal():
    found = facts_of((EVIDENCE / "cases/idle_poll_cycles/perf.txt").read_text(), HotInstruction)
    assert one(found, percent=39.26).instruction == "mrs    x2, cntvct_el0"
    branch = one(found, percent=36.43)
    assert (branch.instruction, branch.before) == ("b.eq   e8", "ccmp   w21, #0xb, #0x4, ne")


def test_perf_script():
    text = (EVIDENCE / "perf-iperf-stacks/perf-script.txt").read_text()
    found = facts_of(text, SampledStack)
    assert sum(stack.samples for stack in found) == text.count("cpu-clock:")
    assert {stack.command for stack in found} == {"iperf", "multilog", "run"}
    best = found[0]
    assert best.samples == max(stack.samples for stack in found)
    assert best.frames[0] in ("[unknown]", "start_thread", "xen_start_kernel", "start_secondary", "cpu_bringup_and_idle")
    received = [
        stack for stack in found if stack.frames[-1] == "copy_user_enhanced_fast_string" and "tcp_recvmsg" in stack.frames
    ]
    assert received
    assert all(stack.frames.index("tcp_recvmsg") < len(stack.frames) - 1 for stack in received)


def test_perf_script_of_other_layouts():
    text = (
        "$ perf script\n"
        "    rte-worker-1 18381 36407.423791:     250000 cpu-clock:ppp:      7f47ab6b1f4e run_pkt+0x1e (/usr/lib/librte.so)\n"
        "    rte-worker-1 18381 36407.424038:     250000 cpu-clock:ppp:      7f47ab6b2108 run_pkt+0x2e (/usr/lib/librte.so)\n"
        "Chrome IO Thread 5/7 [001] 12.345678: cycles:\n"
        "            ffffffff81 operator new(unsigned long)+0x12 (/usr/lib/libstdc++.so)\n\t  7f00 main (/bin/x)\n\n"
        "swapper     0 [002] 12.345679: sched:sched_switch: prev_comm=swapper\n"
    )
    first, second = facts_of(text, SampledStack)
    assert (first.command, first.tid, first.frames, first.samples) == ("rte-worker-1", 18381, ("run_pkt",), 2)
    assert (second.command, second.tid, second.frames) == ("Chrome IO Thread", 7, ("main", "operator new(unsigned long)"))


def test_distinct_stacks_are_bounded_and_no_sample_is_lost(monkeypatch):
    monkeypatch.setattr(perf_script, "MAX_STACKS", 50)

    def lines():
        yield "$ perf script\n"
        for count in range(9000):
            yield f"iperf {count} [000] 1.000001: cycles:\n"
            yield f"\t  59fef5 f{count} (/vmlinux)\n"
            yield f"\t  59fef5 g{count} (/vmlinux)\n"
            yield "\n"

    found = [fact for fact in Transcript(lines(), "script").facts() if isinstance(fact, SampledStack)]
    assert len(found) <= 50 + 2001
    assert sum(stack.samples for stack in found) == 9000


def test_many_stacks_are_bounded(monkeypatch):
    monkeypatch.setattr(stacks, "MAX_STACKS", 10)
    text = "".join(f"Thread {n} (LWP {n}):\n#0  0x1 in poll ()\n" for n in range(1, 40))
    document = Transcript(text.splitlines(), "gdb")
    assert sum(isinstance(fact, Stack) for fact in document.facts()) == 10
    assert document.missing


TRANSCRIPTS = sorted(
    path
    for path in (*PMD.glob("*.txt"), *(EVIDENCE / "cases").glob("*/*.txt"), EVIDENCE / "perf-iperf-stacks/perf-script.txt")
    if path.name.split(".")[0].split("-")[0] in ("lsof", "perf", "pmap", "ps", "stacks", "strace", "top", "gdb", "pstack")
)


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_nothing_that_is_broken_stops_a_parser(path):
    """Cut, mixed, binary, localised, with absurd numbers: parsers pass by what they do not know."""
    chance = random.Random(path.name)
    lines = path.read_text().splitlines()[:400]
    for _ in range(6):
        broken = list(lines)
        for _ in range(max(4, len(broken) // 8)):
            at = chance.randrange(len(broken))
            line = broken[at]
            cut = chance.randrange(len(line) + 1)
            broken[at] = chance.choice(
                (
                    line[:cut],
                    line[cut:],
                    line[:cut] + "\0\x1b[31m\ufffd" + line[cut:],
                    line.replace(" ", "\t"),
                    "".join("9" * 400 if letter.isdigit() else letter for letter in line[:60]),
                    line.replace(".", ","),
                    line * 3,
                    broken[chance.randrange(len(broken))],
                    "(" * 300,
                    " = -1 E",
                    "\u0661\u0662 " + line,
                    "[pid " + line,
                    "<... " + line,
                )
            )
        for fact in Transcript(broken, "broken").facts():
            assert fact.at.line >= 1
            assert isinstance(fact.key, tuple)


def test_perf_top_without_its_heading():
    """As people paste it (LTD-Beget/syncookied#57, eunomia-bpf/bpftime#186)."""
    text = "  26.26%  sc14         [.] sha1_transform_ssse3     \n   7.12%  [kernel]     [k] native_queued_spin_lock_slowpath\n"
    rows = facts_of(text, HotSymbol)
    assert [(row.percent, row.object, row.symbol) for row in rows] == [
        (26.26, "sc14", "sha1_transform_ssse3"), (7.12, "[kernel]", "native_queued_spin_lock_slowpath"),
    ]  # fmt: skip
    rows = facts_of("+   68.52%     0.52%  libbpftime-syscall-server.so  [.] ring_buffer__poll\n", HotSymbol)
    assert [(row.percent, row.object, row.symbol) for row in rows] == [
        (0.52, "libbpftime-syscall-server.so", "ring_buffer__poll")
    ]
