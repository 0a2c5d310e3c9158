"""The doctor looks at running processes and hosts: real ones, and tools that misbehave."""

import contextlib
import dataclasses
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pktpath.doctor.case import Case
from pktpath.doctor.collect import look, plan
from pktpath.doctor.collect.entry import _one_switch
from pktpath.doctor.collect.host import look_at_host
from pktpath.doctor.collect.movers import find_packet_movers
from pktpath.doctor.collect.notebook import Notebook
from pktpath.doctor.collect.proc import alive
from pktpath.doctor.collect.process import ProcessLook, look_at_process
from pktpath.doctor.collect.spaces import MOST, Space, SpaceLook, others, spaces_to_look_at
from pktpath.doctor.collect.store import save
from pktpath.doctor.collect.threads import stopped
from pktpath.doctor.collect.tool import run
from pktpath.doctor.diagnose import diagnose
from pktpath.doctor.facts.device import DeviceFeature
from pktpath.doctor.facts.host import Setting
from pktpath.doctor.facts.ovs import Datapath
from pktpath.doctor.facts.process import OpenFile, Process, Stack, Syscall, Thread
from pktpath.doctor.finding import Severity
from pktpath.doctor.parse.source import read
from pktpath.errors import BadInput, Refused
from support.live_switch import Net, Running, capture, entered, socket_in, until
from support.open_vswitch import OpenVSwitch, why_unavailable
from support.own_network import own_network

DPDK = Path("/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk")
EVERYWHERE = ("/proc/interrupts", "/proc/softirqs", "/proc/net/softnet_stat", "/proc/stat", "dmesg", "/proc/irq")
"""What tells of the whole machine, on which other tests run."""
SPIN = """
import socket
a, b = socket.socketpair()
a.setblocking(False)
while True:
    try:
        a.recv(9)
    except OSError:
        pass
"""
SWITCH = '{head}\n[bridge.br0]\n[bridge.br0.port.p1]\ntype = "packet"\n[bridge.br0.port.p2]\ntype = "packet"\n'
COUNT = "while True:\n    pass\n"


def ip(*words):
    subprocess.run(["ip", *words], check=True, timeout=30)


def veths():
    ip("link", "set", "lo", "up")
    ip("link", "add", "v1", "type", "veth", "peer", "name", "v2")
    for name in ("v1", "v2"):
        ip("link", "set", name, "up")


def needs(*tools):
    for tool in tools:
        if shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin") is None:
            pytest.skip(f"{tool} is missing (run .ci/run as root, or: apt-get install {tool})")


@contextlib.contextmanager
def python(code):
    """Yield a process that runs something."""
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


def tool(folder, name, text):
    """Put a tool of this name before all others."""
    path = folder / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


def alarms(case):
    """Return what is said above a note of the look's own network or process."""
    others = machine_wide(case)
    return [one.summary for one in diagnose(case).findings if one.severity > Severity.NOTE and one.rule not in others]


def machine_wide(case):
    """Return the rules whose findings tell of the whole machine."""
    return {
        finding.rule
        for finding in diagnose(case).findings
        if all(any(words in place.source for words in EVERYWHERE) for place in finding.evidence)
    }


def missing(case, words):
    return [item for item in case.missing if words in f"{item.what}: {item.why}"]


# The host


@pytest.mark.oracle
def test_a_healthy_host_is_left_in_peace():
    steps = []
    with own_network():
        veths()
        case = look_at_host(interval=0.5, progress=steps.append)
    assert case.live
    assert {feature.dev for feature in case.all(DeviceFeature)} >= {"lo", "v1", "v2"}
    assert "irq" in {setting.where for setting in case.all(Setting)}
    assert steps
    # That virtual devices have no rings and count nothing is no lack.
    assert not missing(case, "ethtool")
    assert alarms(case) == []


@pytest.mark.oracle
def test_devices_are_chosen():
    with own_network():
        veths()
        case = look_at_host(interval=0.0, devices=["v1"])
        assert {feature.dev for feature in case.all(DeviceFeature)} == {"v1"}
        with pytest.raises(BadInput, match=r"nowhere: no such device in this network namespace; there are: lo, v2, v1"):
            look(devices=["nowhere"])
        with pytest.raises(BadInput, match="nowhere"):
            plan(devices=["nowhere"])


@pytest.mark.oracle
def test_a_device_that_cannot_segment():
    with own_network():
        veths()
        subprocess.run(["ethtool", "-K", "v1", "tx", "off"], check=True, capture_output=True)
        case = look_at_host(interval=0.0)
    features = {feature.name: feature for feature in case.all(DeviceFeature) if feature.dev == "v1"}
    assert not features["tx-checksum-ip-generic"].active
    assert (features["tx-tcp-segmentation"].active, features["tx-tcp-segmentation"].requested) == (False, True)
    said = [finding for finding in diagnose(case).findings if finding.rule == "tso-off-for-want-of-checksum"]
    assert [finding.about for finding in said] == ["v1"]
    assert said[0].evidence[0].source == "live: ethtool -k v1"


@pytest.mark.oracle
def test_a_look_at_a_hundred_devices_is_cheap():
    with own_network():
        for number in range(50):
            ip("link", "add", f"a{number}", "type", "veth", "peer", "name", f"b{number}")
        code = "from pktpath.doctor.collect.host import look_at_host as look; look(interval=0.0)"
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # CPU, not time: a third of it on the machine on which this was written.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2.0


@pytest.mark.oracle
def test_without_privileges_it_says_what_it_could_not_see():
    drop = Path(__file__).parent / "support" / "without_capabilities.py"
    code = (
        "from pktpath.doctor.collect import look\n"
        "import os\n"
        "case = look(seconds=0.1, pid=os.getppid())\n"
        "print(len(case.missing), *(f'{m.what}: {m.why}' for m in case.missing), sep='\\n')\n"
    )
    done = subprocess.run([sys.executable, str(drop), "all", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stderr == ""
    assert "the kernel's log" in done.stdout or "CAP_" in done.stdout
    with Net(1) as net:
        code = (
            "from pktpath.doctor.collect import look\nprint([one for one in look(seconds=0).missing if 'namespace' in one.what])"
        )
        done = subprocess.run([sys.executable, str(drop), "all", code], capture_output=True, text=True, check=True, timeout=120)
        assert "other network namespace" in done.stdout, net.space
        assert done.stdout.count("needs CAP_SYS_ADMIN") == 1


@pytest.mark.oracle
def test_what_is_saved_reads_the_same(tmp_path):
    with own_network(), python("import time; time.sleep(60)") as child:
        veths()
        case = look(pid=child.pid, seconds=0.2, save=tmp_path / "looks")
    again = read([tmp_path / "looks"])
    kinds = {type(fact) for fact in [*_facts(case), *_facts(again)]}
    assert {DeviceFeature, Process, Thread} <= kinds
    for kind in kinds:
        assert sorted(map(_plain, again.all(kind))) == sorted(map(_plain, case.all(kind))), kind
    times = sorted({round(fact.at.when, 2) for fact in case.all(Thread)})
    assert sorted({fact.at.when for fact in again.all(Thread)}) == times
    assert {fact.at.scope for fact in _facts(again)} == {""}
    # A folder that cannot be made.
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="file"), own_network():
        look(seconds=0.0, save=tmp_path / "file" / "looks")


def _facts(case):
    return [fact for some in case._facts.values() for fact in some]


def _plain(fact):
    """Return a fact as text, without its place; what a file's name says may stand for it."""
    values = {field.name: getattr(fact, field.name) for field in dataclasses.fields(fact) if field.name != "at"}
    return repr({name: sorted(value) if isinstance(value, frozenset) else value for name, value in values.items()})


@pytest.mark.peer
def test_a_userspace_datapath_that_loses_checksums(tmp_path):
    if why := why_unavailable():
        pytest.skip(why)
    with Net(2) as net, entered(net.space), OpenVSwitch(dummy=False) as switch:
        switch.bridge("br0")
        for port in ("p1", "p2"):
            switch.vsctl("add-port", "br0", port)
        book = Notebook()
        spaces = [SpaceLook(book, Space(name, f"/run/netns/{name}")) for name in (*net.ends, "nowhere")]
        process = ProcessLook.at(book, switch.pid)
        for one in spaces:
            one.first()
        until = time.monotonic() + 60
        while _wrong_checksums(net.ends[1]) == 0:
            assert time.monotonic() < until
            with socket_in(net.ends[0], socket.AF_INET, socket.SOCK_STREAM) as client:
                client.settimeout(0.5)
                assert client.connect_ex(("10.9.0.2", 5000))
        for one in spaces:
            one.last()
        process.light()
    case = Case(list(book.facts()), book.missing, live=True)
    assert [item.why for item in missing(case, "nowhere")] == ["it went away, or cannot be entered"]
    (said,) = [finding for finding in diagnose(case).findings if finding.rule == "partial-checksums-reach-a-receiver"]
    assert (said.severity, said.about) == (Severity.PROBLEM, "eth0")
    assert said.remedies[0].command.startswith(f"ip netns exec {net.ends[0]} ethtool -K eth0 tx off")
    assert said.evidence[0].scope == net.ends[1]
    # The machine's own counters stay those of where we are, and what is saved reads the same.
    save(book.looks, tmp_path / "looks")
    (again,) = [one for one in diagnose(read([tmp_path / "looks"])).findings if one.rule == "partial-checksums-reach-a-receiver"]
    assert again.summary == said.summary


def _wrong_checksums(space):
    with entered(space):
        values = [line.split()[-1] for line in Path("/proc/thread-self/net/snmp").read_text().splitlines() if line[:4] == "Tcp:"]
    return int(values[1])


@pytest.mark.oracle
def test_other_namespaces_are_found_from_the_host_only():
    with Net(1) as net:
        names = {space.name for space in others()}
        assert {net.space, *net.ends} <= names
        with entered(net.ends[0]):
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        with own_network():
            nameless = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        try:
            assert [space.name for space in others([child.pid, nameless.pid])[:2]] == [net.ends[0], f"pid-{nameless.pid}"]
            case = look(pid=nameless.pid, seconds=0.1)
            assert {fact.dev for fact in case.all(DeviceFeature) if fact.at.scope == f"pid-{nameless.pid}"} == {"lo"}
            case = look(pid=child.pid, seconds=0.1, devices=["lo"])
            assert missing(case, "it has a network namespace of its own")
        finally:
            for one in (child, nameless):
                one.kill()
                one.wait()
        with entered(net.ends[0]):
            assert spaces_to_look_at(Notebook(), []) == []
        assert len(spaces_to_look_at(Notebook(), [])) == min(len(others()), MOST)


# A process


@pytest.mark.peer
def test_a_process_that_spins_on_eagain():
    needs("strace")
    with python(SPIN) as child:
        time.sleep(0.3)
        said = plan(pid=child.pid, seconds=1.0)
        case = look_at_process(child.pid, seconds=1.0)
        assert child.poll() is None
        assert stopped(child.pid) == []
    assert any("strace on all threads" in line for line in said)
    (thread,) = case.latest(Thread)
    assert (thread.tid, thread.recent, thread.state) == (child.pid, True, "R")
    assert thread.cpu + thread.delayed > 50
    assert (thread.voluntary, thread.involuntary) >= (0, 0)
    # The stacks of something busy are not asked for.
    assert missing(case, "call stacks")
    calls = next(call for call in case.all(Syscall) if call.name == "recvfrom" and call.calls > 100)
    assert calls.errors == calls.calls
    if thread.cpu > 50 and calls.calls > 10_000:
        # On a machine that lets it.
        assert "spins-on-eagain" in {finding.rule for finding in diagnose(case).findings}


@pytest.mark.peer
def test_a_thread_that_polls_is_not_traced_unless_asked_for():
    needs("strace", "gdb")
    with python(COUNT) as child:
        time.sleep(0.5)
        kind = look_at_process(child.pid, seconds=0.5)
        assert missing(kind, "system calls of python")[0].why == "it polls, and would lose packets while strace stops them"
        assert missing(kind, "call stacks")
        assert any("gdb" in line or "eu-stack" in line for line in plan(pid=child.pid, intrusive=True))
        rude = look_at_process(child.pid, seconds=0.5, intrusive=True)
        assert not missing(rude, "polls")
        assert not missing(rude, "call stacks")
        assert child.poll() is None
        assert stopped(child.pid) == []


@pytest.mark.peer
def test_where_threads_wait_without_a_debugger(tmp_path, monkeypatch):
    for name in ("gdb", "eu-stack", "strace", "perf", "lsof", "pmap"):
        tool(tmp_path, name, "echo no >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with python("import time; time.sleep(60)") as child:
        case = look_at_process(child.pid, seconds=0.1)
    assert {item.why for item in case.missing} >= {f"{name}: no" for name in ("strace", "perf", "lsof", "pmap")}
    (stack,) = case.all(Stack)
    assert stack.tid == child.pid
    assert any("nanosleep" in frame or "syscall" in frame for frame in stack.frames)


@pytest.mark.peer
def test_tools_that_are_missing(monkeypatch):
    monkeypatch.setattr("pktpath.doctor.collect.tool._path", lambda: "/nonexistent")
    with python("import time; time.sleep(60)") as child:
        case = look(pid=child.pid, seconds=0.1)
    said = {item.why: item.remedy for item in case.missing}
    assert said["strace is not installed"] == "apt install strace"
    assert said["perf is not installed"] == "apt install linux-perf"
    assert said["ip is not installed"] == "apt install iproute2"
    assert said["neither gdb nor eu-stack is installed"] == "apt install gdb"
    assert Thread in case


@pytest.mark.peer
def test_a_process_that_ends_meanwhile():
    with python("import time; time.sleep(0.9)") as child:
        case = look_at_process(child.pid, seconds=1.5)
    assert missing(case, "it ended during the look")
    with pytest.raises(BadInput, match=rf"{child.pid}: no process has this number"):
        look(pid=child.pid)
    with pytest.raises(BadInput, match="no process has this name"):
        look(process="no-such-program")
    with pytest.raises(BadInput, match="no process has this name"):
        plan(process="no-such-program")


@pytest.mark.peer
def test_processes_that_nobody_can_look_into():
    with pytest.raises(BadInput, match="the doctor itself"):
        look(pid=os.getpid())
    with python("pass") as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(BadInput, match=rf"{child.pid}: this process has ended; its parent {os.getpid()} has not"):
            plan(pid=child.pid)
    if "kthreadd" not in Path("/proc/2/comm").read_text():
        pytest.skip("process 2 is not kthreadd: this runs in a container")
    assert any("no strace and no debugger can attach" in line for line in plan(pid=2))
    case = look_at_process(2, seconds=0.1)
    assert missing(case, "a thread of the kernel has none of its own")
    assert not any("CAP_SYS_PTRACE" in item.why for item in case.missing)


@pytest.mark.peer
def test_what_a_process_reads_and_writes_is_not_taken_down(tmp_path):
    needs("strace")
    with python("import os, time\nwhile True:\n  os.write(os.open('/dev/null', 1), b'sec' + b'ret'); time.sleep(0.01)") as child:
        case = look(pid=child.pid, seconds=0.5, save=tmp_path)
    assert "write" in {call.name for call in case.all(Syscall)}
    assert not [path.name for path in tmp_path.iterdir() if "secret" in path.read_text()]


@pytest.mark.peer
def test_a_doctor_that_is_killed_leaves_no_tracer():
    needs("strace", "setpriv")
    code = "import sys; from pktpath.doctor.collect.process import look_at_process as look; look(int(sys.argv[1]), seconds=60.0)"
    with python("import time\nwhile True: time.sleep(0.05)") as child:
        status = Path(f"/proc/{child.pid}/status")
        # Without perf the tracing begins at once.
        code = f"import pktpath.doctor.collect.perf as perf\nperf.find = lambda name: None\n{code}"
        doctor = subprocess.Popen([sys.executable, "-c", code, str(child.pid)], stderr=subprocess.DEVNULL)
        try:
            until = time.monotonic() + 60
            while "TracerPid:\t0\n" in status.read_text():
                assert time.monotonic() < until
                time.sleep(0.02)
        finally:
            doctor.kill()
            doctor.wait()
        while "TracerPid:\t0\n" not in status.read_text():
            assert time.monotonic() < until
            time.sleep(0.02)
        assert child.poll() is None


@pytest.mark.peer
def test_a_tool_that_hangs_is_killed_with_its_children(tmp_path, monkeypatch):
    for name in ("strace", "perf"):
        tool(tmp_path, name, f"trap '' INT TERM\nsleep 1000 & echo $! >> {tmp_path}/children\nwait\nsleep 1000\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("pktpath.doctor.collect.perf._SLACK", 0.5)
    with python("import time; time.sleep(60)") as child:
        case = look_at_process(child.pid, seconds=0.2)
        assert child.poll() is None
    for name in ("strace", "perf"):
        assert missing(case, f"{name} did not end within"), name
    children = [int(pid) for pid in (tmp_path / "children").read_text().split()]
    assert len(children) >= 3
    assert not any(alive(pid) for pid in children)


@pytest.mark.peer
def test_a_process_that_a_tool_leaves_stopped_is_continued(tmp_path, monkeypatch):
    for name in ("eu-stack", "gdb"):
        tool(tmp_path, name, "kill -STOP $2; echo '#0  stopped'\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with python("import time; time.sleep(60)") as child:
        case = look_at_process(child.pid, seconds=0.1)
        time.sleep(0.1)
        assert stopped(child.pid) == []
        assert missing(case, "left it stopped")
        # One that somebody else had stopped stays so.
        child.send_signal(signal.SIGSTOP)
        case = look_at_process(child.pid, seconds=0.1)
        assert stopped(child.pid) == [child.pid]
        assert not missing(case, "left it stopped")


@pytest.mark.peer
def test_a_process_that_is_traced_already_is_left_to_its_tracer():
    needs("strace")
    with python("import time\nwhile True: time.sleep(0.05)") as child:
        tracer = subprocess.Popen(["strace", "-qq", "-o", "/dev/null", "-p", str(child.pid)], stderr=subprocess.DEVNULL)
        try:
            until = time.monotonic() + 10
            while f"TracerPid:\t{tracer.pid}" not in Path(f"/proc/{child.pid}/status").read_text():
                assert time.monotonic() < until
                time.sleep(0.02)
            case = look_at_process(child.pid, seconds=0.1)
        finally:
            tracer.terminate()
            tracer.wait()
    assert missing(case, f"process {tracer.pid} is tracing it already")


def test_output_is_bounded_and_languages_are_not_heard(tmp_path, monkeypatch):
    much = run(["yes"], limit=20.0, enough=1 << 16)
    assert 1 << 16 <= len(much.text) <= 1 << 18
    assert much.why == ""
    monkeypatch.setattr("pktpath.doctor.collect.tool.MAX_OUTPUT", 1 << 16)
    assert run(["yes"], limit=20.0, enough=1 << 16).why.startswith("yes printed more than")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("LD_PRELOAD", "")
    assert set(run(["env"]).text.splitlines()) > {"LC_ALL=C", "TERM=dumb"}
    assert "LD_PRELOAD" not in run(["env"]).text
    assert run(["false"]).failed
    assert run(["no-such-tool"]).absent


# Switches


@pytest.fixture(scope="module")
def dpdk_switch():
    """An idle Open vSwitch with DPDK and one poll-mode thread, in a network of its own."""
    if lacking := why_unavailable():
        pytest.skip(lacking)
    if not DPDK.exists():
        pytest.skip("ovs-vswitchd-dpdk is missing (run .ci/run as root, or: apt-get install openvswitch-switch-dpdk)")
    prefix = f"pktpath-live-{os.getpid()}"
    config = {
        "dpdk-init": "true",
        "dpdk-extra": f"--no-pci --no-huge --legacy-mem --no-shconf -m 128 --file-prefix={prefix}",
        "pmd-cpu-mask": hex(1 << max(os.sched_getaffinity(0))),
    }
    try:
        with own_network(), OpenVSwitch(dummy=False, other_config=config, daemon=str(DPDK)) as switch:
            switch.bridge("br0")
            switch.vsctl("add-port", "br0", "n0", "--", "set", "interface", "n0", "type=dpdk",
                         "options:dpdk-devargs=net_null0,no-rx=1")  # fmt: skip
            yield switch
    finally:
        shutil.rmtree(f"/var/run/dpdk/{prefix}", ignore_errors=True)


@pytest.mark.peer
def test_an_idle_open_vswitch_with_dpdk(dpdk_switch):
    needs("strace", "perf")
    said = "\n".join(plan(pid=dpdk_switch.pid))
    assert "all threads but those that poll (pmd-c" in said
    assert str(dpdk_switch.socket) in said
    steps = []
    case = look(pid=dpdk_switch.pid, seconds=1.0, progress=steps.append)
    assert stopped(dpdk_switch.pid) == []
    names = {thread.tid: thread.name for thread in case.latest(Thread)}
    (pmd,) = [tid for tid, name in names.items() if name.startswith("pmd-c")]
    assert len(names) > 5
    twice = [pair for pair in case.pairs(Thread) if pair.last.tid == pmd]
    assert twice[0].twice
    assert twice[0].last.cpu + twice[0].last.delayed > 80
    (process,) = case.latest(Process)
    assert (process.pid, process.name) == (dpdk_switch.pid, "ovs-vswitchd-dpdk")
    assert missing(case, f"system calls of pmd-c{max(os.sched_getaffinity(0)):02}")
    assert missing(case, "call stacks")
    # It is asked what it does, and nothing is changed: its counters go on.
    sources = {place.source for kind in case._facts.values() for place in (fact.at for fact in kind)}
    assert not any("clear" in source or "reset" in source for source in sources)
    assert any("asking" in step for step in steps)
    assert not any(pmd in (call.tid, call.pid) for call in case.all(Syscall))
    said = {finding.rule: finding for finding in diagnose(case).findings}
    assert {"pmd-idle", "poll-mode-thread-spins-by-design"} <= said.keys()
    # It does run without huge pages here, and may share its core with other tests.
    grave = {rule for rule, finding in said.items() if finding.severity > Severity.NOTE}
    assert grave <= {"process-without-huge-pages", "pmd-interrupted", *machine_wide(case)}


@pytest.mark.peer
def test_a_loaded_open_vswitch_with_dpdk(dpdk_switch):
    """A null device that receives without end: the thread has no cycle to spare, and nobody calls it idle."""
    dpdk_switch.vsctl("add-port", "br0", "n1", "--", "set", "interface", "n1", "type=dpdk",
                      "options:dpdk-devargs=net_null1")  # fmt: skip
    try:
        case = look(pid=dpdk_switch.pid, seconds=1.0)
    finally:
        dpdk_switch.vsctl("del-port", "br0", "n1")
    assert stopped(dpdk_switch.pid) == []
    said = {finding.rule: finding for finding in diagnose(case).findings}
    assert {"pmd-overloaded", "poll-mode-thread-spins-by-design"} <= said.keys()
    assert "pmd-idle" not in said
    grave = {rule for rule, finding in said.items() if finding.severity > Severity.NOTE}
    assert grave <= {"pmd-overloaded", "process-without-huge-pages", "pmd-interrupted", "pmd-upcalls-many", *machine_wide(case)}


@pytest.mark.peer
def test_it_is_found(dpdk_switch):
    (mover,) = [mover for mover in find_packet_movers() if mover.pid == dpdk_switch.pid]
    assert mover.kind == "Open vSwitch"
    assert "DPDK threads" in mover.signs
    with own_network():
        case = look(seconds=0.3)
    assert dpdk_switch.pid in {process.pid for process in case.all(Process)} or missing(case, str(dpdk_switch.pid))
    assert OpenFile in case


@pytest.mark.peer
def test_two_switches_are_not_taken_for_one():
    if why := why_unavailable():
        pytest.skip(why)
    with OpenVSwitch() as one, OpenVSwitch() as other:
        book = Notebook()
        looks: list[ProcessLook] = []

        def answered() -> bool:
            # On a busy machine a daemon that has just begun may not answer in time.
            looks[:] = [ProcessLook.at(book, switch.pid) for switch in (one, other)]
            return all(each.switch for each in looks)

        until(answered, 60)
        _one_switch(book, looks)
        assert [each.switch is None for each in looks] == [False, True]
        assert [item.remedy for item in book.missing] == [f"pktpath doctor --pid {other.pid}"]


@pytest.mark.peer
def test_an_idle_switch_of_our_own(tmp_path):
    with Net(2) as net, Running(tmp_path / "s", SWITCH, space=net.space) as switch, entered(net.space):
        case = look(pid=switch.pid, seconds=0.5, save=tmp_path / "looks")
        assert switch.process.poll() is None
        assert stopped(switch.pid) == []
        (mover,) = [mover for mover in find_packet_movers() if mover.pid == switch.pid]
        assert mover.kind == "pktpath switch"
    assert [process.pid for process in case.latest(Process)] == [switch.pid]
    assert list((tmp_path / "looks").glob("ovs-appctl_dpctl.show_-s*"))
    assert alarms(case) == []


@pytest.mark.peer
def test_a_loaded_switch_of_our_own(tmp_path):
    """A capture that never ends: its thread works, and that is no fault."""
    capture(tmp_path / "in.pcap")
    text = (
        SWITCH
        + f"""[bridge.br0.port.flood]
type = "pcap"
loop = true
rx_file = "{tmp_path}/in.pcap"
"""
    )
    with Net(2) as net, Running(tmp_path / "s", text, space=net.space) as switch, entered(net.space):
        until(lambda: switch.counters()["flood"]["rx_packets"] > 1_000_000, 60)
        case = look(pid=switch.pid, seconds=0.5)
        assert switch.process.poll() is None
        assert stopped(switch.pid) == []
    said = {finding.rule: finding for finding in diagnose(case).findings}
    assert "pmd-idle" not in said
    assert "spins-on-eagain" not in said
    (work,) = [fact for fact in case.latest(Datapath) if fact.userspace]
    assert work.hit > 1_000_000
    grave = {rule for rule, finding in said.items() if finding.severity > Severity.NOTE}
    assert grave <= {"pmd-overloaded", *machine_wide(case)}
