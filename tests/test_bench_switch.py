"""The bench of the switch: what it reads and writes, turns that nothing outlives, and one row of real peers."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
import tomllib
from contextlib import contextmanager
from pathlib import Path

import pytest

from pktpath.batch import FRAMES
from pktpath.errors import Refused
from pktpath.lab.bench import switch, switch_memory
from pktpath.lab.bench.common import Row, as_markdown
from pktpath.lab.bench.switch_memory import RULE, huge_pages, sent, write_flows
from pktpath.lab.bench.switch_peers import counted
from pktpath.lab.bench.switch_pktpath import Switch, switch_toml
from pktpath.lab.bench.switch_process import PeerMissingError, last_line, program, run, started
from pktpath.lab.bench.switch_topology import namespace, topology
from pktpath.lab.bench.switch_traffic import echo_request, gbits, new_flows, rate, round_trip, udp_frame
from pktpath.port.capture import read

# What is read


def test_throughput_is_what_arrived():
    answer = {"end": {"sum_sent": {"bits_per_second": 9e9}, "sum_received": {"bits_per_second": 8.5e9}}}
    assert gbits(json.dumps(answer)) == 8.5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"end": {}, "error": "unable to connect to server"}', "iperf3: unable to connect to server"),
        ("", "without end.sum_received: ''"),
        ('{"end": {}}', "without end.sum_received"),
        ("[]", "without end.sum_received"),
        ('{"end": {"sum_received": {"bits_per_second": null}}}', "without end.sum_received"),
    ],
)
def test_no_throughput_is_refused(text, said):
    with pytest.raises(Refused, match=said):
        gbits(text)


SHOWN = """netdev@ovs-netdev:
  lookups: hit:17 missed:1 lost:143
  flows: 1
  port 0: ovs-netdev (tap)
    RX packets:0 errors:0 dropped:0 overruns:0 frame:0
    TX packets:0 errors:0 dropped:0 aborted:0 carrier:0
  port 2: out (dpdk: configured_rx_queues=1, mtu=1500)
    RX packets:0 errors:0 dropped:0 overruns:? frame:?
    TX packets:1773 errors:0 dropped:0 aborted:? carrier:?
  port 3: in (dpdk: configured_rx_queues=1)
    RX packets:1775 errors:0 dropped:0 overruns:? frame:?
    TX packets:2 errors:0 dropped:0 aborted:? carrier:?
"""


def test_frames_of_a_port():
    assert sent(SHOWN, "out") == 1773
    assert sent(SHOWN, "in") == 2
    with pytest.raises(PeerMissingError, match="no port br0"):
        sent(SHOWN, "br0")


def test_counters_of_all_threads():
    shown = "pmd thread numa_id 0 core_id 1:\n  miss with success upcall: 7\n  miss with failed upcall: 9\n"
    assert counted(shown + "main thread:\n  miss with success upcall: 5\n", "miss with success upcall") == 12
    assert counted(shown, "nothing of this name") == 0


def test_counters_of_our_own(monkeypatch):
    ports = [{"name": "in", "counters": {"tx_packets": 1}}, {"name": "out", "counters": {"tx_packets": 41}}]
    workers = [{"core": None, "counters": {"upcalls": 3}}, {"core": 1, "counters": {"upcalls": 4, "ns": 9}}]
    view = {"version": 1, "datapath": {"name": "netdev", "ports": ports, "workers": workers}}
    monkeypatch.setattr(Switch, "ask", lambda _self, command: json.dumps(view) if command == "pktpath/view" else "")
    ours = Switch(None, Path("none.ctl"))
    assert ours.port("out", "tx_packets") == 41
    assert ours.workers("upcalls") == 7


def test_a_switch_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(Refused, match="no control socket is there"):
        Switch(None, tmp_path / "none.ctl").ask("version")


def test_a_rate_is_a_difference_in_time():
    counts = iter([100, 150])
    assert rate(lambda: next(counts), 0.05) == pytest.approx(1000, rel=0.5)


def test_the_last_line_that_says_something():
    assert last_line("one\n two \n\n") == "two"
    assert last_line("\n") == ""


# What is written


def test_the_configuration_of_a_switch(tmp_path):
    ports = {"f0": {"type": "packet", "mode": "mmsg", "features": {"gro": False}}, "f1": {"type": "pcap", "loop": True}}
    text = switch_toml(
        tmp_path, ports, ["in_port=1,actions=output:2", 'note="x"'], {"schedule": "poll", "cores": [1]}, ["group_id=1"]
    )
    config = tomllib.loads(text)
    assert config["switch"] == {
        "name": "bench", "run_dir": str(tmp_path), "state_dir": str(tmp_path / "state"), "schedule": "poll", "cores": [1],
    }  # fmt: skip
    assert config["bridge"]["br0"]["flows"] == ["in_port=1,actions=output:2", 'note="x"']
    assert config["bridge"]["br0"]["groups"] == ["group_id=1"]
    assert config["bridge"]["br0"]["port"] == {
        "f0": {"openflow": 1, "type": "packet", "mode": "mmsg", "features": {"gro": False}},
        "f1": {"openflow": 2, "type": "pcap", "loop": True},
    }


def ones_sum(content):
    total = sum(struct.unpack(f"!{len(content) // 2}H", content))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize("flow", [0, 1, 65_535, 65_536, 99_999])
def test_frames_of_a_flow(flow):
    frame = udp_frame(flow)
    assert len(frame) == 64
    assert ones_sum(frame[14:34]) == 0xFFFF
    assert struct.unpack_from("!HHH", frame, 34) == (flow & 0xFFFF, 9, 30)
    assert ones_sum(echo_request(7, flow & 0xFFFF)) == 0xFFFF


@pytest.mark.parametrize("flows", [1, 1000, 3000])
def test_the_capture_has_so_many_flows(tmp_path, flows):
    path = tmp_path / "flows.pcap"
    count = write_flows(path, flows)
    assert count == max(flows, switch_memory.FEWEST)
    batches = list(read(path))
    assert sum(int(batch.used[FRAMES]) for batch in batches) == count
    assert all(set(batch.head_len[: batch.used[FRAMES]]) == {64} for batch in batches)
    assert len({udp_frame(k % flows) for k in range(count)}) == flows


def test_a_table_that_looks_at_addresses():
    assert "fields(ip_src,ip_dst)" in switch._EVERY_ADDRESS
    assert RULE.startswith("udp,tp_dst=9,")


# Turns


class Still:
    def __init__(self, log, name):
        self.log, self.name = log, name

    def pause(self):
        self.log.append(f"pause {self.name}")

    def resume(self):
        self.log.append(f"resume {self.name}")


def side(log, name, *, fails="", later=""):
    @contextmanager
    def open_one():
        log.append(f"open {name}")
        try:
            yield
        finally:
            log.append(f"close {name}")

    def measure():
        log.append(f"measure {name}")
        if later:
            raise Refused(later)
        return float(len(log))

    def start(stack, _directory):
        stack.enter_context(open_one())
        if fails:
            raise PeerMissingError(fails)
        return measure, [Still(log, name)]

    return start


def test_contenders_take_turns_and_stand_still_meanwhile():
    log, told = [], []
    sides = {"a": side(log, "a"), "gone": side(log, "gone", fails="not installed"), "b": side(log, "b")}
    results = switch.compete(sides, switch.Effort(turns=2, seconds=0), told.append, "case")
    turn = ["resume a", "measure a", "pause a", "resume b", "measure b", "pause b"]
    opened = ["open a", "pause a", "open gone", "close gone", "open b", "pause b"]
    assert log == [*opened, *turn, *turn, "close b", "close a"]
    assert [len(result.values) for result in results.values()] == [2, 0, 2]
    assert results["gone"].missing == "gone: not installed"
    assert results["gone"].median is None
    assert told[-1] == "case: turn 2 of 2"


def test_a_contender_that_fails_later_has_a_reason_and_no_figure():
    log = []
    results = switch.compete({"a": side(log, "a", later="no answer")}, switch.Effort(turns=3), lambda _what: None, "case")
    assert log.count("measure a") == 1
    assert results["a"].missing == "a: no answer"
    assert results["a"].values == []


def test_all_is_ended_when_a_turn_is_interrupted():
    log = []

    def stop(what):
        if "turn 1" in what:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        switch.compete({"a": side(log, "a"), "b": side(log, "b")}, switch.Effort(), stop, "case")
    assert log[-2:] == ["close b", "close a"]


def test_rows_have_ratios_goals_and_reasons():
    results = {
        "pktpath": switch.Result([2.0, 8.0, 4.0]),
        "fast": switch.Result([8.0]),
        "slow": switch.Result([1.0, 2.0]),
        "gone": switch.Result(missing="gone: not installed"),
    }
    goals = {"fast": 0.95, "slow": 1.2, "gone": None}
    fast, slow, gone = switch.rows_of("case", results, goals, ours="pktpath", unit="Gbit/s", conditions="here")
    assert (fast.case, fast.pktpath, fast.peer, fast.ratio, fast.goal) == ("case, beside fast", 4.0, 8.0, 0.5, 0.95)
    assert slow.ratio == pytest.approx(4 / 1.5)
    assert (gone.peer, gone.ratio, gone.note) == (None, None, "gone: not installed")
    assert fast.as_json()["conditions"] == "here"
    assert fast.as_json()["pktpath range"] == "2-8"


def test_less_time_is_better_and_nothing_of_ours_is_no_error():
    results = {"pktpath": switch.Result([20.0]), "peer": switch.Result([40.0])}
    assert switch.rows_of("ping", results, {"peer": None}, ours="pktpath", unit="us", conditions="")[0].ratio == 2
    results["pktpath"] = switch.Result(missing="pktpath: not there")
    (row,) = switch.rows_of("ping", results, {"peer": None}, ours="pktpath", unit="us", conditions="")
    assert (row.pktpath, row.peer, row.ratio, row.note) == (None, 40.0, None, "pktpath: not there")


def test_the_page_says_how_and_no_goal_is_missed_unmeasured():
    how = {"conditions": "on two cores"}
    rows = [Row("ping, beside a", None, 4.0, "us", 1.5, how, "not there"), Row("ping, beside b", 2.0, 4.0, "us", 1.5, how)]
    page = as_markdown(rows, date="2026-11-21", peer="OVS")
    assert "| ping, beside a | - | 4 | us | - | 1.5 | not there |" in page
    assert "| ping, beside b | 2 | 4 | us | 2 | 1.5 reached |  |" in page
    assert page.endswith("\n\n- ping: on two cores\n")


@pytest.mark.parametrize(
    ("uid", "cpus", "path", "said"),
    [
        (1000, {0, 1}, None, "run it as root"),
        (0, {1}, None, "needs the CPUs 0 and 1"),
        (0, {0, 1}, "", "ip is not installed: apt-get install iproute2"),
    ],
)
def test_where_nothing_can_be_measured(monkeypatch, uid, cpus, path, said):
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: cpus)
    if path is not None:
        monkeypatch.setenv("PATH", path)
    with pytest.raises(Refused, match=said):
        switch.rows(switch.QUICK, lambda _what: None)


# Programs and namespaces


def test_a_program_that_is_not_installed_names_its_package():
    with pytest.raises(PeerMissingError, match="no-such-program is not installed: apt-get install nothing"):
        program("no-such-program", "nothing")


def test_a_program_that_fails_is_one_line():
    with pytest.raises(Refused, match="sh -c echo one >&2; echo two >&2; exit 3: two"):
        run(["sh", "-c", "echo one >&2; echo two >&2; exit 3"])
    with pytest.raises(Refused, match="no answer within 0 seconds"):
        run(["sleep", "5"], seconds=0.1)


def test_a_program_that_ends_too_early_says_why(tmp_path):
    with (
        started(["sh", "-c", "echo no such device; exit 1"], tmp_path / "log") as daemon,
        pytest.raises(PeerMissingError, match="thing ended: no such device"),
    ):
        daemon.wait_until(lambda: False, "thing")


def test_a_paused_program_is_ended(tmp_path):
    with started(["sleep", "60"], tmp_path / "log") as daemon:
        daemon.pause()
        begin = time.monotonic()
    assert time.monotonic() - begin < 5
    assert not Path(f"/proc/{daemon.pid}").exists()


@pytest.mark.oracle
def test_a_namespace_ends_with_its_context(tmp_path):
    with namespace(tmp_path, "one") as space:
        pid = space.pid
        assert "lo" in space.run("ip", "-brief", "link")
        assert space.received("lo") == 0
        with pytest.raises(Refused, match="gone: no such device"):
            space.received("gone")
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.oracle
def test_frames_of_new_flows_arrive_and_differ(tmp_path):
    """Through the box's own forwarding: what leaves one end is seen on the other side of its veth."""
    with topology(tmp_path / "place") as place:
        grown, out = new_flows(place, 0.3, lambda: place.box.received("f0"))
        assert grown > 1000
        assert out > 1000
        with pytest.raises(Refused, match="0 of 20 echoes came back"):
            round_trip(place, 20, gap=0)


@pytest.mark.oracle
def test_huge_pages_are_given_back():
    path = Path("/proc/sys/vm/nr_hugepages")
    before = path.read_text()
    try:
        with huge_pages(16 << 20):
            assert int(path.read_text()) >= 8
    except PeerMissingError as error:
        pytest.skip(str(error))
    assert path.read_text() == before


# Real peers


def left_behind(directory):
    """Processes that have the directory in their command line, and what is in it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if str(directory).encode() in words and int(path.parent.name) != os.getpid():
            found.append(words)
    return found + list(directory.iterdir())


@pytest.mark.oracle
@pytest.mark.peer
def test_one_row_of_real_peers(tmp_path, monkeypatch):
    try:
        for name, package in (("iperf3", "iperf3"), ("ovs-vsctl", "openvswitch-switch")):
            program(name, package)
    except PeerMissingError as error:
        pytest.skip(str(error))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(switch, "pktpath", lambda **_keys: missing_forwarder)
    rows = switch.bulk(switch.Effort(turns=1, seconds=0.5), lambda _what: None)
    assert [row.case for row in rows] == [
        "bulk TCP with offloads, beside kernel bridge",
        "bulk TCP with offloads, beside OVS userspace TSO",
    ]
    for row in rows:
        assert row.peer > 0.01
        assert row.note == "pktpath: not in this test"
    assert left_behind(tmp_path) == []


@contextmanager
def missing_forwarder(_place, _cpus):
    why = "not in this test"
    raise PeerMissingError(why)
    yield ()


@pytest.mark.oracle
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_bench_leaves_nothing(tmp_path, how):
    words = [sys.executable, "-m", "pktpath", "bench", "switch", "--only", "upcall"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}) as bench:
        end = time.monotonic() + 60
        while not list(tmp_path.glob("pp-bench-*/*/receiver.log")) and time.monotonic() < end:
            time.sleep(0.02)
        assert left_behind(tmp_path)
        bench.send_signal(how)
        bench.communicate(timeout=60)
    assert bench.returncode == (130 if how == signal.SIGINT else 143)
    assert left_behind(tmp_path) == []
