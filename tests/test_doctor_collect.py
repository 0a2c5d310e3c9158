"""What a live look writes down, and what is read out of it: no root, no tools."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pktpath.doctor.collect import files, kernel_log, movers, store
from pktpath.doctor.collect.notebook import Look, Notebook
from pktpath.doctor.collect.proc import alive, command_line, field
from pktpath.doctor.collect.threads import Sample, Use, sample, table, uses
from pktpath.doctor.facts.process import Mapping, OpenFile, Process, Stack, Thread
from pktpath.doctor.parse.file_name import command_in
from pktpath.errors import BadInput
from support.doctor import facts_of


def one(when, cpu=0.0, system=0.0, delay=0.0, name="pmd-c01/id:8", switches=(3, 4)):
    return Sample(when, name, "R", cpu - system, system, 1, "TS", *switches, delay)


def test_threads_are_written_and_read():
    before = {7: one(0.0), 8: one(0.0, name="a (b) c")}
    after = {7: one(2.0, 1.5, 0.5, 0.25), 8: one(2.0, name="a (b) c", switches=(10**12, 0)), 9: one(2.0)}
    text = table(7, "/usr/sbin/ovs-vswitchd-dpdk unix:/run/db.sock -vconsole:off", before, after)
    process, *threads = facts_of(text)
    assert (process.pid, process.name) == (7, "ovs-vswitchd-dpdk")
    assert process.command.endswith("-vconsole:off")
    # Thread 9 was not there the first time: nothing is known of it yet.
    assert [(thread.tid, thread.name, thread.cpu, thread.delayed) for thread in threads] == [
        (7, "pmd-c01/id:8", 75.0, 12.5),
        (8, "a (b) c", 0.0, 0.0),
    ]
    assert all(thread.recent and thread.pid == 7 and thread.processor == 1 and thread.policy == "TS" for thread in threads)
    assert [(thread.voluntary, thread.involuntary) for thread in threads] == [(3, 4), (10**12, 0)]


@pytest.mark.parametrize(
    ("name", "cpu", "system", "delay", "busy", "polls"),
    [
        ("pmd-c01/id:8", 0.0, 0.0, 0.0, False, True),
        ("lcore-worker-3", 1.0, 0.0, 0.0, False, True),
        ("a", 99.0, 1.0, 0.0, True, True),
        # It shares its core, and would take all of it.
        ("a", 40.0, 1.0, 59.0, True, True),
        # It spends its time in system calls, which strace may watch.
        ("a", 99.0, 40.0, 0.0, True, False),
        ("a", 50.0, 0.0, 1.0, False, False),
        ("handler1", 2.0, 1.0, 0.0, False, False),
    ],
)
def test_which_threads_may_not_be_stopped(name, cpu, system, delay, busy, polls):
    use = Use(1, name, cpu, system, delay)
    assert (use.busy, use.polls) == (busy, polls)


def test_our_own_threads():
    now = sample(os.getpid())
    assert now[os.getpid()].state == "R"
    assert now[os.getpid()].user > 0
    assert uses(now, now) == []
    with pytest.raises(OSError, match="No such file"):
        sample(2**22 + 1)
    assert alive(os.getpid())
    assert not alive(2**22 + 1)
    assert field(os.getpid(), "Pid") == str(os.getpid())
    assert command_line(2**22 + 1) == ""
    assert "python" in command_line(os.getpid())


STACKS = """$ grep -H . /proc/7/task/*/stack
/proc/7/task/7/stack:[<0>] do_sys_poll+0x400/0x590
/proc/7/task/7/stack:[<0>] do_syscall_64+0x71/0x280
/proc/7/task/8/stack:[<0>] hrtimer_nanosleep+0x9c/0x150
"""


def test_stacks_inside_the_kernel():
    assert [(stack.pid, stack.tid, stack.frames) for stack in facts_of(STACKS, Stack)] == [
        (7, 7, ("do_sys_poll", "do_syscall_64")),
        (7, 8, ("hrtimer_nanosleep",)),
    ]
    alone = "$ sudo cat /proc/9/stack\n[<0>] ep_poll+0x3c7/0x420\n[<ffffffff810a2b3c>] do_epoll_wait+0x6f8/0x730\n"
    assert [(stack.pid, stack.tid, stack.frames) for stack in facts_of(alone, Stack)] == [(9, 9, ("ep_poll", "do_epoll_wait"))]


FDS = """$ ls -l /proc/933/fd
total 0
lrwx------ 1 root root 64 Nov 21 16:34 0 -> /dev/null
lrwx------ 1 root root 64 Nov 21 16:34 10 -> 'anon_inode:[eventpoll]'
lrwx------ 1 root root 64 Nov 21 16:34 11 -> 'socket:[750110]'
l-wx------ 1 root root 64 Nov 21 16:34 3 -> /var/log/openvswitch/ovs-vswitchd.log
lrwx------ 1 root root 64 Nov 21 16:34 32 -> /dev/net/tun
lr-x------ 1 root root 64 Nov 21 16:34 5 -> 'pipe:[750120]'
"""


def test_descriptors_by_ls():
    assert [(file.pid, file.fd, file.kind, file.name) for file in facts_of(FDS, OpenFile)] == [
        (933, "0", "CHR", "/dev/null"),
        (933, "10", "a_inode", "[eventpoll]"),
        (933, "11", "sock", "socket:[750110]"),
        (933, "3", "REG", "/var/log/openvswitch/ovs-vswitchd.log"),
        (933, "32", "CHR", "/dev/net/tun"),
        (933, "5", "FIFO", "pipe:[750120]"),
    ]


HEADS = ("$ ls -l /proc/1/fd\n", "$ grep -H . /proc/1/task/1/stack\n", "Process 1 a\n", "Threads of process 1 over 2 s\n")


@given(st.sampled_from(HEADS), st.text(), st.sampled_from([STACKS, FDS, "   7 R 1.0 1.0 1.0 1 TS 1 1 a\n"]), st.integers(0, 300))
def test_nothing_makes_them_fail(head, noise, text, cut):
    facts_of(head + text[cut:] + noise + "9" * 5000 + " " + text[:cut] + noise)


def test_smaps_as_pmap_shows_them():
    text = files._pmap(os.getpid(), command_line(os.getpid()), Path("/proc/self/smaps").read_text())
    found = {mapping.address: mapping for mapping in facts_of(f"$ pmap -x {os.getpid()}\n{text}", Mapping)}
    rows = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    begins = {int(row[0].split("-")[0], 16): row for row in rows}
    # The heap may have grown in between.
    assert len(found.keys() & begins.keys()) > 0.9 * len(begins)
    stack = next(begin for begin, row in begins.items() if row[-1] == "[stack]")
    assert found[stack].name == "[ stack ]"
    assert found[stack].mode == "rw---"
    assert found[stack].resident > 0


def test_the_kernel_log_keeps_what_the_kernel_said_lately():
    assert kernel_log._row("4,6,35262647983,-;near0: entered promiscuous mode\n SUBSYSTEM=net\n", 0.0) == [
        "[35262.647983] near0: entered promiscuous mode"
    ]
    assert kernel_log._row("4,6,100,-;old", 200.0) == []
    # Facility 3: a daemon's.
    assert kernel_log._row("30,6,100,-;systemd[1]: hello", 0.0) == []
    assert kernel_log._row("garbage", 0.0) == []


@pytest.mark.parametrize(
    ("command", "when", "name"),
    [
        ("/proc/net/softnet_stat", 0.0, "proc_net_softnet_stat.0s"),
        ("/proc/net/softnet_stat", 2.012, "proc_net_softnet_stat.2.01s"),
        ("/proc/cmdline", None, "proc_cmdline"),
        ("ethtool -S eth0.100", 2.5, "ethtool_-S_eth0.100.2.5s"),
        ("ovs-appctl -t /run/openvswitch/ovs-vswitchd.7.ctl dpctl/show -s", 2.0, "ovs-appctl_dpctl.show_-s.2s"),
        ("timeout -s INT 2 strace -f -c -p 7", None, "strace_-f_-c_-p_7.txt"),
        ("grep -H . /proc/7/task/*/stack", None, "grep--H-.-proc-7-task-stack.txt"),
    ],
)
def test_names_of_files(command, when, name):
    assert store.file_name(Look(command, "", when)) == name
    said = command_in(name)
    assert said.scope == ""
    assert said.when == (None if when is None else pytest.approx(when, abs=0.006))


def test_looks_that_differ_in_nothing_that_a_name_shows(tmp_path):
    looks = [Look("gdb -ex a/b", "x", None), Look("gdb -ex a?b", "y", None), Look("/proc/stat", "cpu 1", 1.0, "ns")]
    store.save(looks, tmp_path / "new" / "folder")
    found = {path.name: path.read_text() for path in (tmp_path / "new" / "folder").iterdir()}
    assert found == {
        "gdb_-ex_a_b.txt": "$ gdb -ex a/b\nx\n",
        "2,gdb_-ex_a_b.txt": "$ gdb -ex a?b\ny\n",
        "ns_proc_stat.1s": "cpu 1\n",
    }


def test_names_of_looks_are_short():
    assert Look("ovs-appctl -t /run/x.ctl dpctl/show -s", "", None).source == "live: ovs-appctl dpctl/show -s"
    assert Look("/proc/net/snmp", "", None).source == "live: /proc/net/snmp"
    assert len(Look("strace " + "-p 1234567 " * 60, "", None).source) == 70


@pytest.mark.parametrize(
    ("name", "words", "kind"),
    [
        ("ovs-vswitchd-dpdk", ["/usr/sbin/ovs-vswitchd-dpdk"], "Open vSwitch"),
        ("python", ["/usr/bin/python3", "/usr/bin/pktpath", "switch", "run", "s.toml"], "pktpath switch"),
        ("python", ["python3", "-m", "pktpath", "switch", "run", "s.toml"], "pktpath switch"),
        ("python", ["python3", "-c", "import pktpath.switch; run"], ""),
        ("qemu-system-x86", ["qemu-system-x86_64"], "virtual machine"),
        ("dpdk-testpmd", [], "DPDK program"),
        ("bash", ["bash"], ""),
    ],
)
def test_what_moves_packets_by_name(name, words, kind):
    assert movers._kind(name, words) == kind


def test_a_process_by_its_name():
    with pytest.raises(BadInput, match="no-such-program-here: no process has this name"):
        movers.process_named("no-such-program-here")


def test_what_is_missing_is_said_once():
    book = Notebook()
    book.lacks("a", "b")
    book.lacks("a", "b")
    assert book.file("/proc/no/such/file") == ""
    book.keep("ethtool -k e1", " \n")
    assert [item.what for item in book.missing] == ["a", "/proc/no/such/file"]
    assert book.missing[1].why == "this kernel has no such file"
    assert book.looks == []
    assert list(book.facts()) == []
    book.keep("ls -l /proc/9/fd", FDS)
    assert {type(fact) for fact in book.facts()} == {OpenFile}


def test_a_process_and_its_threads_are_facts_of_one_look():
    book = Notebook()
    book.keep("/proc/7/task", table(7, "a", {7: one(0.0)}, {7: one(1.0)}), changing=True)
    kinds = {type(fact): fact for fact in book.facts()}
    assert set(kinds) == {Process, Thread}
    assert kinds[Thread].at.source == "live: /proc/7/task"
    assert kinds[Thread].at.when is not None
