"""The daemon around an engine that moves nothing: order of start and end, signals, restarts, interfaces that go and come."""

import json
import logging
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pktpath.control.config import load_config, port_from_words
from pktpath.control.daemon import Daemon
from pktpath.control.loop import Loop
from pktpath.control.process import Notifier, PidFile
from pktpath.control.state import Interfaces, TablesFile
from pktpath.control.switch import Switch
from pktpath.control.unixctl_client import call
from pktpath.errors import BadInput, Refused
from support.fake_switch import FakeServer, check, fake_parts
from support.switch_netns import ip, named_namespace

TWO = """
[switch]
run_dir = "run"
state_dir = "state"
{switch}
[bridge.br0]
flows = ["priority=5,tcp,actions=output:2", "priority=1,actions=drop"]
[bridge.br0.port.p1]
type = "memory"
[bridge.br0.port.p2]
type = "memory"
openflow = 7
"""


def write(tmp_path, text=TWO, switch=""):
    path = tmp_path / "s.toml"
    path.write_text(text.replace("{switch}", switch))
    return load_config(str(path), check)


@contextmanager
def running(config, **options):
    """Yield a daemon whose loop runs in a thread, and what its parts did."""
    log = []
    daemon = Daemon(config, fake_parts(log, **options))
    daemon.open()
    thread = threading.Thread(target=daemon.loop.run)
    thread.start()
    try:
        yield daemon, log
    finally:
        daemon.loop.call(daemon.stop)
        thread.join()
        daemon.end()


def ask(config, command, *words):
    return call(config.control, command, list(words), 5)


def status(config):
    return {port["name"]: port for port in json.loads(ask(config, "switch/status"))["ports"]}


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


# Start and end


def test_start_and_end_have_an_order(tmp_path):
    config = write(tmp_path)
    with running(config) as (daemon, log):
        assert [step for step in log if step[0] in ("open", "add", "start")] == [
            ("open", "p1"), ("add", "p1", 1), ("open", "p2"), ("add", "p2", 2), ("start",),
        ]  # fmt: skip
        assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
        assert {name: port["openflow"] for name, port in status(config).items()} == {"p1": 1, "p2": 7}
        assert int((tmp_path / "run" / "pktpath.pid").read_text()) == os.getpid()
        assert daemon.switch.tables.dump("br0", "flows") == ["priority=1,actions=drop", "priority=5,tcp,actions=output:2"]
    end = [step[0] for step in log]
    end = end[end.index("stop_receiving") :]
    assert end == ["stop_receiving", "upcalls", "upcalls", "upcalls", "stop", "close", "close", "engine closed"]
    assert list((tmp_path / "run").iterdir()) == []


def test_an_opening_that_fails_undoes_the_others(tmp_path):
    config, log = write(tmp_path), []
    before = open_files()
    daemon = Daemon(config, fake_parts(log, refuse=["p2"]))
    with pytest.raises(Refused, match=r"s\.toml:10: bridge\.br0\.port\.p2: p2 cannot be opened"):
        daemon.open()
    assert log[-3:] == [("stop",), ("close", "p1"), ("engine closed",)]
    assert list((tmp_path / "run").iterdir()) == []
    assert open_files() == before
    with running(config):
        pass
    assert open_files() == before


def test_standalone_without_flows_is_a_learning_switch(tmp_path):
    text = "[switch]\nrun_dir='run'\nstate_dir='state'\n[bridge.br0]\n[bridge.br1]\nfail_mode='secure'\n"
    with running(write(tmp_path, text)) as (daemon, _):
        assert daemon.switch.tables.dump("br0", "flows") == ["priority=0,actions=NORMAL"]
        assert daemon.switch.tables.dump("br1", "flows") == []


def test_two_daemons_on_one_socket(tmp_path):
    config = write(tmp_path)
    with running(config):
        other = Daemon(config, fake_parts())
        with pytest.raises(Refused, match=rf"pktpath\.pid: this switch runs already, as process {os.getpid()}"):
            other.open()
        assert status(config)


def test_a_pid_file_of_a_dead_process_is_no_lock(tmp_path):
    path = tmp_path / "x.pid"
    path.write_text("1\n")
    held = PidFile(str(path))
    assert path.read_text() == f"{os.getpid()}\n"
    held.close()
    assert not path.exists()


@pytest.mark.parametrize("state", ["tables.json", "interfaces.json"])
def test_a_bad_state_file_does_not_stop_the_start(tmp_path, state, caplog):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / state).write_text('{"format": "pktpath switch state 1", "brid')
    logging.getLogger("pktpath").propagate = True
    with caplog.at_level(logging.WARNING), running(write(tmp_path)):
        pass
    assert sum("moved to" in record.getMessage() for record in caplog.records) == 1


def test_an_address_of_metrics_that_is_taken_is_named_with_its_place(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        daemon = Daemon(write(tmp_path, switch=f'\n# for Prometheus\nmetrics = "{taken}"'), fake_parts())
        with pytest.raises(Refused) as caught:
            daemon.open()
    assert str(caught.value) == f"{tmp_path}/s.toml:7: switch.metrics: {taken}: Address already in use"
    assert list((tmp_path / "run").iterdir()) == []


# What commands change is there after a restart


def test_flows_and_ports_of_commands_come_back(tmp_path):
    config = write(tmp_path)
    with running(config):
        ask(config, "ofctl/add-flow", "br0", "priority=9,udp,actions=drop")
        ask(config, "ofctl/del-flows", "br0", "priority=1,actions=drop")
        ask(config, "switch/add-port", "br0", "p3", "type=memory", "openflow=20", "features=gro:off")
        ask(config, "switch/del-port", "br0", "p1")
    with running(config) as (daemon, _):
        assert json.loads(ask(config, "ofctl/dump-flows", "br0")) == [
            "priority=5,tcp,actions=output:2",
            "priority=9,udp,actions=drop",
        ]
        found = status(config)
        assert {name: (port["openflow"], port["runtime"]) for name, port in found.items()} == {"p2": (7, False), "p3": (20, True)}
        assert daemon.switch.ports["p3"].config.features == (("gro", False),)


def test_a_kill_after_a_tenth_of_a_second_loses_no_flow(tmp_path):
    config = write(tmp_path)
    with running(config):
        ask(config, "ofctl/add-flow", "br0", "priority=9,udp,actions=drop")
        time.sleep(0.3)
        kept = TablesFile(config.state_dir).load()["br0"]
    assert kept.added["flows"] == ["priority=9,udp,actions=drop"]


def test_what_cannot_come_back_is_a_line(tmp_path, caplog):
    config = write(tmp_path)
    with running(config):
        ask(config, "switch/add-port", "br0", "p3", "type=memory")
        ask(config, "ofctl/add-flow", "br0", "priority=9,udp,actions=drop")
    logging.getLogger("pktpath").propagate = True
    with caplog.at_level(logging.WARNING), running(config, refuse=["p3"]):
        assert "priority=9" in ask(config, "ofctl/dump-flows", "br0")
        assert "p3" not in status(config)
    assert any("port p3: was there before the restart and cannot be now" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["switch/add-port", "br9", "p3", "type=memory"], "br9: there is no bridge of this name; there are br0"),
        (["switch/add-port", "br0", "p1", "type=memory"], "p1: there is a port of this name already"),
        (["switch/add-port", "br0", "br0", "type=memory"], "br0: there is a port of this name already"),
        (["switch/add-port", "br0", "p3", "type=memory", "openflow=7"], "p3: openflow 7 is the number of another port"),
        (["switch/add-port", "br0", "p3", "type=memory", "colour=1"], "colour: there is no such key"),
        (["switch/add-port", "br0", "p4", "type=memory"], "port p4: p4 cannot be opened"),
        (["switch/del-port", "br0", "p9"], "p9: bridge br0 has no port of this name; it has p1, p2"),
        (["switch/nothing"], "is not a valid command"),
    ],
)
def test_commands_that_are_refused_change_nothing(tmp_path, words, says):
    config = write(tmp_path)
    with running(config, refuse=["p4"]) as (daemon, _):
        before = status(config)
        with pytest.raises(Refused, match=says):
            ask(config, *words)
        assert status(config) == before
        assert len(daemon.switch.tables.ports) == 2


def test_an_engine_that_refuses_a_port_leaves_nothing(tmp_path):
    config = write(tmp_path)
    with running(config) as (daemon, log):
        daemon.switch.engine.refuses.add("p3")
        with pytest.raises(Refused, match="the engine refuses"):
            ask(config, "switch/add-port", "br0", "p3", "type=memory")
        assert log[-1] == ("close", "p3") or ("close", "p3") in log
        assert len(daemon.switch.tables.ports) == 2


# Reload


CHANGED = """
[switch]
run_dir = "run"
state_dir = "state"
flow_limit = 17
schedule = "interrupt"
weight = 32
upcall_queue = 99
[bridge.br0]
flows = ["priority=5,tcp,actions=output:9", "priority=2,actions=drop"]
[bridge.br0.port.p2]
type = "memory"
openflow = 7
[bridge.br1.port.p1]
type = "memory"
"""


def test_a_reload_does_what_has_changed_and_no_more(tmp_path):
    config = write(tmp_path)
    with running(config) as (daemon, log):
        ask(config, "ofctl/add-flow", "br0", "priority=9,udp,actions=drop")
        ask(config, "switch/add-port", "br0", "p3", "type=memory")
        del log[:]
        write(tmp_path, CHANGED)
        assert ask(config, "switch/reload") == "upcall_queue: changes at the next start only\n"
        steps = [step for step in log if step[0] in ("open", "close", "add", "remove")]
        assert steps == [("remove", "p1"), ("close", "p1"), ("open", "p1"), ("add", "p1", 1)]
        assert (daemon.switch.engine.config.flow_limit, daemon.switch.engine.config.weight) == (17, 32)
        assert daemon.config.upcall_queue == config.upcall_queue
        flows = ["priority=2,actions=drop", "priority=5,tcp,actions=output:9", "priority=9,udp,actions=drop"]
        assert json.loads(ask(config, "ofctl/dump-flows", "br0")) == flows
        assert {(port["bridge"], name) for name, port in status(config).items()} == {("br0", "p2"), ("br0", "p3"), ("br1", "p1")}
    # And the next start finds the same.
    with running(load_config(config.file, check)):
        assert json.loads(ask(config, "ofctl/dump-flows", "br0")) == flows
        assert set(status(config)) == {"p1", "p2", "p3"}


def test_what_a_command_deleted_stays_deleted_over_a_reload(tmp_path):
    config = write(tmp_path)
    with running(config):
        ask(config, "ofctl/del-flows", "br0", "priority=1,actions=drop")
        ask(config, "switch/del-port", "br0", "p1")
        write(tmp_path, TWO.replace("output:2", "output:3"))
        ask(config, "switch/reload")
        assert json.loads(ask(config, "ofctl/dump-flows", "br0")) == ["priority=5,tcp,actions=output:3"]
        assert set(status(config)) == {"p2"}
    with running(load_config(config.file, check)):
        assert json.loads(ask(config, "ofctl/dump-flows", "br0")) == ["priority=5,tcp,actions=output:3"]
        assert set(status(config)) == {"p2"}


def test_a_reload_of_a_wrong_file_changes_nothing(tmp_path):
    config = write(tmp_path)
    with running(config):
        before = status(config)
        (tmp_path / "s.toml").write_text("[bridge.br0]\nflows = ['x']\n")
        with pytest.raises(Refused, match=r"s\.toml:2: bridge\.br0\.flows\[0\]"):
            ask(config, "switch/reload")
        assert status(config) == before


# Upcalls and timers


def test_upcalls_and_timers_are_served(tmp_path):
    config = write(tmp_path)
    with running(config) as (daemon, log):
        daemon.switch.engine.raise_upcall()
        until = time.monotonic() + 5
        while ("tick",) not in log or ("upcalls",) not in log:
            assert time.monotonic() < until
            time.sleep(0.01)
        del log[:]
        ask(config, "ofctl/add-flow", "br0", "priority=9,udp,actions=drop")
        time.sleep(0.2)
        # A change of the tables does not wait for the next turn.
        assert ("revalidate",) in log


def test_the_loop_survives_a_fault_and_calls_across_threads():
    loop = Loop()
    done = []
    loop.after(0, lambda: 1 / 0)
    loop.after(0.01, lambda: done.append("timer"))
    loop.every(0.005, lambda: done.append("again"))
    gone = loop.after(0.01, lambda: done.append("never"))
    gone.cancel()
    thread = threading.Thread(target=loop.run)
    thread.start()
    assert loop.call(threading.get_ident) == thread.ident
    with pytest.raises(BadInput, match="no"):
        loop.call(lambda: (_ for _ in ()).throw(BadInput("no")))
    time.sleep(0.1)
    loop.call(loop.stop)
    thread.join()
    assert "timer" in done
    assert "never" not in done
    assert done.count("again") >= 3
    with pytest.raises(TimeoutError, match=r"did not answer in 0\.01 s"):
        loop.call(lambda: None, 0.01)
    loop.close()


# A process: signals, service manager, background

MAIN = """
import sys, types
from support.fake_switch import fake_parts
module = types.ModuleType("pktpath.control.live_parts")
module.PARTS = fake_parts()
sys.modules[module.__name__] = module
from pktpath.cli import main
main(sys.argv[1:])
"""


@contextmanager
def start(*arguments, **options):
    """Yield a process that runs a switch; it ends with the block."""
    command = [sys.executable, "-c", MAIN, "switch", "run", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options) as child:
        try:
            yield child
        finally:
            child.kill()


def wait_for(path, seconds=20):
    until = time.monotonic() + seconds
    while not os.path.lexists(path):
        assert time.monotonic() < until, path
        time.sleep(0.01)


@contextmanager
def service_manager(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(20)
        yield listener, os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_in_order_with_status_0(tmp_path, number):
    config = write(tmp_path)
    with service_manager(tmp_path) as (listener, environment), start(config.file, env=environment) as child:
        assert listener.recv(4096).startswith(b"READY=1\nMAINPID=%d" % child.pid)
        assert listener.recv(4096) == b"WATCHDOG=1"
        assert listener.recv(4096) == b"WATCHDOG=1"
        child.send_signal(signal.SIGHUP)
        while (said := listener.recv(4096)) == b"WATCHDOG=1":
            pass
        assert said.startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert listener.recv(4096) == b"READY=1"
        child.send_signal(number)
        while (said := listener.recv(4096)) == b"WATCHDOG=1":
            pass
        assert said.startswith(b"STOPPING=1")
        # A second one does not stop the end.
        child.send_signal(number)
        out, err = child.communicate(timeout=20)
    assert (child.returncode, out) == (0, "")
    lines = err.splitlines()
    assert lines[-1].endswith("info stopped")
    assert all(" info " in line for line in lines), err
    assert list((tmp_path / "run").iterdir()) == []


def test_a_signal_while_it_opens_undoes_what_is_open(tmp_path):
    """A port that takes long: the signal comes meanwhile."""
    config = write(tmp_path)
    log = []
    parts = fake_parts(log)

    def slow(engine, port, number):
        if port.name == "p2":
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        return parts.open_port(engine, port, number)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit, match="143"):
        Daemon(config, replace(parts, open_port=slow)).open()
    assert log[-3:] == [("stop",), ("close", "p1"), ("engine closed",)]
    assert signal.getsignal(signal.SIGTERM) is before


def test_detach_comes_back_when_it_is_ready(tmp_path):
    config = write(tmp_path)
    with start(config.file, "--detach", cwd=tmp_path) as child:
        out, err = child.communicate(timeout=30)
    assert (child.returncode, out, err) == (0, "", "")
    pid = int((tmp_path / "run" / "pktpath.pid").read_text())
    assert os.getsid(pid) not in (pid, os.getsid(0))
    assert str(Path(f"/proc/{pid}/cwd").readlink()) == "/"
    assert str(Path(f"/proc/{pid}/fd/1").readlink()) == "/dev/null"
    assert json.loads(ask(config, "switch/status"))["pid"] == pid
    done = subprocess.run(
        [sys.executable, "-m", "pktpath", "switch", "stop", "-t", config.control], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not os.path.lexists(config.control)
    assert "stopped" in (tmp_path / "run" / "pktpath.log").read_text()


def test_detach_says_why_it_did_not_start(tmp_path):
    config = write(tmp_path)
    with held_by_another(config), start(config.file, "--detach") as child:
        out, err = child.communicate(timeout=30)
    assert (child.returncode, out) == (2, "")
    assert "this switch runs already" in err
    assert err.count("\n") == 1


@contextmanager
def held_by_another(config):
    Path(config.run_dir).mkdir()
    held = PidFile(config.pidfile)
    try:
        yield
    finally:
        held.close()


def test_the_commands_of_a_running_switch(tmp_path):
    config = write(tmp_path)

    def pktpath(*words, status=0):
        done = subprocess.run([sys.executable, "-m", "pktpath", *words], capture_output=True, text=True, check=False,
                              env=os.environ | {"PKTPATH_SOCKET": config.control})  # fmt: skip
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr

    with running(config) as (daemon, _):
        pktpath("switch", "add-port", "br0", "p3", "type=memory")
        text = pktpath("switch", "status")
        assert ", interrupt, 1 worker\n" in text
        assert "7 flows, 3 masks; hit 10, missed 2, lost 1" in text
        assert [line.split()[:5] for line in text.splitlines()[3:]] == [
            ["br0", "p1", "memory", "1", "open"], ["br0", "p2", "memory", "7", "open"], ["br0", "p3", "memory", "2", "open"],
        ]  # fmt: skip
        assert json.loads(pktpath("switch", "status", "--json"))["pid"] == os.getpid()
        assert pktpath("switch", "reload") == ""
        assert "no port of this name" in pktpath("switch", "del-port", "br0", "p9", status=2)
        # Features of a port, in ethtool's words.
        text = pktpath("ethtool", "-k", "br0/p1")
        assert text.startswith("Features for br0/p1:\nrx-checksumming: on\n")
        assert "generic-receive-offload: on\n" in text
        assert pktpath("ethtool", "-K", "br0/p1", "gro", "off") == ""
        assert "generic-receive-offload: off\n" in pktpath("ethtool", "-k", "br0/p1")
        said = pktpath("ethtool", "-K", "br0/p1", "sg", "off")
        assert "tx-tcp-segmentation: off [not requested]\n" in said
        assert daemon.switch.engine.ports[1].features.active == daemon.switch.ports["p1"].live.active
        assert "NIC statistics:\n     rx_packets: 5\n" in pktpath("ethtool", "-S", "br0/p1")
        assert "no such port; it has br0/p1, br0/p2, br0/p3" in pktpath("ethtool", "-k", "br0/p9", status=2)
        assert "nothing of a port of a switch" in pktpath("ethtool", "-l", "br0/p1", status=2)
        daemon.switch.engine.refuses.add("features")
        assert "the engine refuses features" in pktpath("ethtool", "-K", "br0/p1", "gro", "on", status=2)
        assert "generic-receive-offload: off\n" in pktpath("ethtool", "-k", "br0/p1")
        assert "highdma" in pktpath("ethtool", "-K", "br0/p1", "highdma", "on", status=2)
    assert "does the switch run?" in pktpath("switch", "status", status=2)


def test_captures_of_a_new_port_are_where_the_command_was_given(tmp_path):
    """A switch in the background is in /."""
    config = write(tmp_path)
    here = tmp_path / "here"
    here.mkdir()
    words = ["switch", "add-port", "br0", "p3", "type=pcap", "rx_file=in.pcap", "tx_file=../out=1.pcapng", "-t", config.control]
    with running(config) as (daemon, _):
        done = subprocess.run([sys.executable, "-m", "pktpath", *words], cwd=here, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        port = daemon.switch.ports["p3"].config
        assert port.rx_file == str(here / "in.pcap")
        assert Path(port.tx_file).resolve() == tmp_path / "out=1.pcapng"
        words[3:7] = ["p4", "type=pcap", f"rx_file={tmp_path}/whole.pcap", "loop=true"]
        subprocess.run([sys.executable, "-m", "pktpath", *words], cwd=here, check=True)
        assert daemon.switch.ports["p4"].config.rx_file == f"{tmp_path}/whole.pcap"


def test_check_opens_nothing(tmp_path):
    config = write(tmp_path)
    with start(config.file, "--check") as child:
        out, err = child.communicate(timeout=30)
    assert (child.returncode, out, err) == (0, "", f"{config.file}: 1 bridge, 2 ports, 2 flows: nothing is wrong with it\n")
    assert not (tmp_path / "run").exists()


def test_check_says_what_a_start_would_not_find(tmp_path):
    config = write(tmp_path, TWO + '[bridge.br0.port.p3]\ntype = "pcap"\nrx_file = "a.pcap"\ntx_file = "no/b.pcap"\n')
    with start(config.file, "--check") as child:
        out, err = child.communicate(timeout=30)
    place = f"pktpath: {config.file}:"
    assert (child.returncode, out, err.splitlines()) == (
        1,
        "",
        [
            f"{place}15: bridge.br0.port.p3.rx_file: {tmp_path}/a.pcap: No such file or directory",
            f"{place}16: bridge.br0.port.p3.tx_file: {tmp_path}/no: there is no such directory",
        ],
    )


def test_a_notifier_without_a_manager_is_silent(monkeypatch):
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC"):
        monkeypatch.delenv(name, raising=False)
    notifier = Notifier()
    notifier.tell("READY=1")
    assert notifier.interval is None
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert Notifier().interval is None


def test_the_control_socket_and_the_dump_socket_are_private(tmp_path):
    config = write(tmp_path)
    with running(config, dump=lambda switch: None):
        assert stat.S_IMODE(Path(config.control + ".dump").stat().st_mode) == 0o600


# Real interfaces

LIVE = """
[switch]
run_dir = "run"
state_dir = "state"
[bridge.ppdmn0]
local = {{address = ["10.77.0.1/24"], mac = "02:00:00:00:77:01", mtu = 1400}}
[bridge.ppdmn0.port.a0]
type = "packet"
netns = "{netns}"
mtu = 1300
device_features = {{gro = true, tso = false}}
"""


def kernel_state(netns):
    link = json.loads(ip(netns, "-j link show a0"))[0]
    features = subprocess.run(["ip", "netns", "exec", netns, "ethtool", "-k", "a0"], capture_output=True, text=True, check=True)
    return link["mtu"], "UP" in link["flags"], features.stdout


@pytest.mark.oracle
def test_interfaces_are_prepared_followed_and_restored(tmp_path):
    with named_namespace("link add a0 type veth peer name b0") as netns:
        before = kernel_state(netns)
        config = write(tmp_path, LIVE.format(netns=netns))
        with running(config) as (_, log):
            mtu, up, features = kernel_state(netns)
            assert (mtu, up) == (1300, True)
            assert "generic-receive-offload: on" in features
            assert "tx-tcp-segmentation: off" in features
            local = json.loads(subprocess.check_output(["ip", "-j", "addr", "show", "ppdmn0"]))[0]
            assert (local["address"], local["mtu"]) == ("02:00:00:00:77:01", 1400)
            assert "10.77.0.1" in [item["local"] for item in local["addr_info"]]
            assert status(config)["ppdmn0"]["openflow"] == 65534
            # Deleted while it runs.
            ip(netns, "link del a0")
            wait_until(lambda: status(config)["a0"]["state"] == "its interface is gone")
            assert ("remove", "a0") in log
            ip(netns, "link add a0 type veth peer name b0")
            wait_until(lambda: status(config)["a0"]["state"] == "open")
            assert kernel_state(netns)[:2] == (1300, True)
            # Our own TAP may be given to somebody, into another namespace.
            subprocess.run(["ip", "link", "set", "ppdmn0", "netns", netns], check=True)
            time.sleep(0.1)
            assert status(config)["ppdmn0"]["state"] == "open"
            # Replaced by another one of the same name within one look.
            number = status(config)["a0"]["number"]
            subprocess.run(
                ["ip", "-n", netns, "-batch", "-"],
                input="link del a0\nlink add a0 type veth peer name b0\n",
                text=True,
                check=True,
            )
            wait_until(lambda: log.count(("close", "a0")) == 2 and status(config)["a0"]["state"] == "open")
            assert status(config)["a0"]["number"] == number
        assert kernel_state(netns) == before
        assert subprocess.run(["ip", "link", "show", "ppdmn0"], capture_output=True, check=False).returncode == 1


def wait_until(condition, seconds=5):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.oracle
def test_kill_9_and_the_next_start_and_end_restore(tmp_path):
    with named_namespace("link add a0 type veth peer name b0") as netns:
        before = kernel_state(netns)
        config = write(tmp_path, LIVE.format(netns=netns).replace("ppdmn0", "ppdmn1"))
        with start(config.file) as child:
            wait_for(config.control)
            child.kill()
            child.communicate()
        assert kernel_state(netns)[0] == 1300
        with running(config, refuse=["never"]):
            assert kernel_state(netns)[0] == 1300
        assert kernel_state(netns) == before


@pytest.mark.oracle
def test_no_such_interface_starts_nothing(tmp_path):
    with named_namespace() as netns:
        config = write(tmp_path, LIVE.format(netns=netns).replace("ppdmn0", "ppdmn2"))
        daemon = Daemon(config, fake_parts())
        with pytest.raises(BadInput, match=r"s\.toml:7: bridge\.ppdmn2\.port\.a0: a0: no such device|a0: no"):
            daemon.open()
        assert subprocess.run(["ip", "link", "show", "ppdmn2"], capture_output=True, check=False).returncode == 1


def process_status(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


@pytest.mark.oracle
def test_another_user_keeps_what_it_needs(tmp_path):
    """A start as root, the rest as nobody: interfaces can still be restored at the end."""
    tmp_path.chmod(0o755)
    for path in tmp_path.parents:
        if path.stat().st_uid == 0 and path.name.startswith(("pytest-", "popen-")):
            path.chmod(0o755)
    with named_namespace("link add a0 type veth peer name b0") as netns:
        before = kernel_state(netns)
        text = LIVE.format(netns=netns).replace("ppdmn0", "ppdmn3").replace("[switch]", '[switch]\nuser = "nobody"')
        config = write(tmp_path, text)
        with start(config.file) as child:
            assert any("runs with" in line for line in child.stderr)
            words = process_status(child.pid)
            assert words["Uid"].split() == ["65534"] * 4
            assert int(words["CapEff"], 16) == 1 << 12 | 1 << 13 | 1 << 14 | 1 << 21 | 1 << 39
            child.send_signal(signal.SIGTERM)
            _, err = child.communicate(timeout=20)
            assert child.returncode == 0, err
        assert kernel_state(netns) == before
        assert list(Path(config.run_dir).iterdir()) == []


def test_a_switch_by_itself_restores_when_the_engine_refuses(tmp_path):
    config = write(tmp_path)

    class Nothing:
        def index(self, device, netns):
            return 1

    log = []
    Path(config.state_dir).mkdir()
    switch = Switch(config, fake_parts(log), Interfaces(config.state_dir, Nothing()), TablesFile(config.state_dir))
    switch.engine.refuses.add("p2")
    with pytest.raises(Refused):
        switch.start()
    assert [step for step in log if step[0] == "close"] == [("close", "p2"), ("close", "p1")]
    assert switch.tables.ports == {1: ("br0", 1, "p1")}


def test_words_of_ports_reach_the_opener(tmp_path):
    port = port_from_words("br0", "x", ["type=pcap", f"rx_file={tmp_path}/a", "loop=true"])
    assert (port.loop, port.rx_file) == (True, f"{tmp_path}/a")
    assert FakeServer.close
