"""What a daemon can be asked of its datapath, and the command lines that ask it."""

import ast
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pktpath.control.commands import Commands
from pktpath.control.datapath_commands import datapath_commands
from pktpath.control.places import find_socket, run_dir
from pktpath.control.top_values import busiest, changes
from pktpath.control.view_json import read_view, view_document, view_json
from pktpath.errors import BadInput, Refused
from pktpath.switch import actions as act
from pktpath.switch.fields import FIELDS, KEY_BITS, key_of, mask_of
from pktpath.switch.views import FlowView
from support.control_server import Served
from support.control_views import flows, view

HEAVY = {"numba", "numpy", "llvmlite", "rich", "zstandard"}


def match(text):
    """A match of one word."""
    name, _, value = text.partition("=")
    if name not in FIELDS:
        message = f"{text}: unknown field {name}"
        raise BadInput(message)
    return key_of(**{name: int(value, 0)}), mask_of(name)


class Daemon:
    """What a daemon plugs in; it is a second older at each look."""

    def __init__(self):
        self.time = 0
        self.done = []
        self.commands = Commands()
        datapath_commands(
            self.commands,
            self.view,
            lambda: flows(self.time),
            workers=lambda seconds: self.done.append(seconds) or view(),
            clear=lambda core: self.done.append(("clear", core)),
            delete_flows=lambda: self.done.append("delete"),
            parse_match=match,
            clock=lambda: 0.0,
        )

    def view(self):
        self.time += 1
        return view(self.time)

    def __call__(self, name, *words):
        return self.commands.run(name, words)


@pytest.fixture
def daemon():
    return Daemon()


def test_the_masks_are_hidden_as_there_and_told_when_asked(daemon):
    assert daemon("dpctl/show").splitlines()[2:4] == ["  flows: 3", "  port 0: br0 (internal: mtu=1500)"]
    assert "masks: hit:3100 total:2" in daemon("dpctl/show", "--masks", "-s")
    assert daemon("dpctl/show", "netdev@pktpath", "pktpath").count("netdev@pktpath:") == 2
    assert daemon("dpctl/dump-dps") == "netdev@pktpath\n"
    assert daemon("dpif/dump-dps") == "netdev@br0\nnetdev@br1\n"
    assert "\n    br0 65534/0: (internal: mtu=1500)\n" in daemon("dpif/show")


def test_flows_are_chosen(daemon):
    def lines(*words):
        return daemon("dpctl/dump-flows", *words).splitlines()

    assert len(lines()) == 5
    assert len(lines("pktpath")) == len(lines("type=all")) == 5
    assert [line.count("tcp(dst=80)") for line in lines("pmd=1")] == [0, 1]
    assert lines("pmd=-1")[0] == "flow-dump from the main thread:"
    assert lines("pmd=7") == []
    assert len(lines("type=ovs")) == 5
    assert lines("type=offloaded") == []
    # A filter keeps what may carry such a packet: one that does not look at the field may.
    assert len(lines("filter=in_port=2")) == 3
    assert len(lines("filter=in_port=2", "filter=dl_type=0x88cc")) == 2
    assert len(lines("filter=nw_src=7")) == 5
    assert "in_port(eth0)" in lines("-m")[1]
    assert "in_port(1)" in lines("-m", "--no-names")[1]
    assert "actions:set(ipv4(ttl=63)),veth1" in lines("--names")[1]
    assert len(daemon("dpif/dump-flows", "br0").splitlines()) == 3
    assert daemon("dpif/dump-flows", "br1") == ""
    assert daemon("dpif/dump-flows", "-m", "br0").startswith("ufid:")


def test_threads_are_chosen(daemon):
    heads = [line for line in daemon("dpif-netdev/pmd-stats-show").splitlines() if not line.startswith(" ")]
    assert heads == ["pmd thread numa_id 0 core_id 1:", "pmd thread numa_id 0 core_id 3:", "main thread:"]
    assert daemon("dpif-netdev/pmd-stats-show", "-pmd", "3", "pktpath").startswith("pmd thread numa_id 0 core_id 3:")
    assert daemon("dpif-netdev/pmd-perf-show", "-nh", "-pmd", "1").count("core_id") == 1
    for word, seconds in (("3", 5), ("12", 15), ("59", 60), ("100", 60)):
        assert daemon("dpif-netdev/pmd-rxq-show", "-secs", word).startswith(f"Displaying last {seconds} seconds")
        assert daemon.done[-1] == seconds
    assert daemon("dpif-netdev/pmd-stats-clear", "-pmd", "1") == daemon("dpif-netdev/pmd-stats-clear") == ""
    assert daemon("dpctl/del-flows") == ""
    assert daemon.done[-3:] == [("clear", 1), ("clear", None), "delete"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["dpctl/show", "-x"], "Unrecognized option -x"),
        (["dpctl/show", "other"], "other: there is no such datapath, there is netdev@pktpath"),
        (["dpctl/dump-flows", "-q"], "Unrecognized option -q"),
        (["dpctl/dump-flows", "filter=abc"], "Failed to parse filter (abc: unknown field abc)"),
        (["dpctl/dump-flows", "type=x"], "Failed to parse type (x): all, ovs"),
        (["dpctl/dump-flows", "pmd=x"], "pmd=x: a core is a number"),
        (["dpctl/dump-flows", "other"], "other: there is no such datapath"),
        (["dpctl/dump-flows", "limit=3"], "limit=3: there is no such datapath"),
        (["dpif/dump-flows", "nobr"], "no such bridge"),
        (["dpif/dump-flows", "-x", "br0"], "Unrecognized option -x"),
        (["dpif-netdev/pmd-stats-show", "-pmd", "x"], "-pmd x: a core is a number"),
        (["dpif-netdev/pmd-stats-show", "-pmd"], "-pmd needs a number"),
        (["dpif-netdev/pmd-stats-show", "-secs", "5"], "Unrecognized option -secs"),
        (["dpif-netdev/pmd-rxq-show", "-secs", "x"], "-secs x: a number of seconds"),
        (["dpif-netdev/pmd-perf-show", "-it", "3"], "Unrecognized option -it"),
        (["dpctl/add-flow", "a", "b"], '"dpctl/add-flow" is not a valid command'),
        (["pktpath/view", "all"], "pktpath/view takes flows, not all"),
        (["dpctl/show", 5], "has non-string argument"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(daemon, words, text):
    with pytest.raises(BadInput) as caught:
        daemon(*words)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_the_daemon_does_not_give_is_not_there():
    commands = Commands()
    datapath_commands(commands, view, flows)
    assert "dpif-netdev/pmd-stats-clear" not in commands
    assert "dpctl/del-flows" not in commands
    for words in (["dpctl/dump-flows", "filter=in_port=1"], ["dpif-netdev/pmd-rxq-show", "-secs", "5"]):
        with pytest.raises(BadInput):
            commands.run(words[0], words[1:])
    assert "  dpctl/show              [-s] [--masks] [dp...]\n" in commands.run("list-commands", [])
    assert commands.run("help", []) == commands.run("list-commands", [])


# The view as JSON


def test_a_view_comes_back():
    assert read_view(view_json(view(), flows())) == (view(), flows())
    assert read_view(view_json(view())) == (view(), ())
    document = json.loads(view_json(view(), flows()))
    assert list(document) == ["version", "datapath", "flow_list"]
    assert document == view_document(view(), flows())


ACTIONS = st.one_of(
    st.builds(act.Output, st.integers(0, 1 << 31)),
    st.builds(act.PushVlan, st.sampled_from([0x8100, 0x88A8]), st.integers(0, 0xEFFF)),
    st.just(act.PopVlan()),
    st.builds(act.Set, st.sampled_from(act.SETTABLE), st.integers(0, (1 << 128) - 1), st.integers(0, (1 << 128) - 1)),
    st.builds(act.Meter, st.integers(0, 1 << 31)),
    st.builds(act.Controller, st.integers(0, 65535), st.integers(0, 65535), st.integers(0, 3)),
)
WHOLE = st.integers(0, (1 << KEY_BITS) - 1)
FLOWS = st.builds(
    FlowView,
    WHOLE,
    WHOLE,
    st.lists(ACTIONS, max_size=5).map(tuple),
    st.integers(0, 1 << 63),
    st.integers(0, 1 << 63),
    st.none() | st.floats(0, 1e6),
    st.integers(0, 0xFFF),
    st.none() | st.integers(0, 255),
    st.integers(0, 1 << 63),
)


@given(st.lists(FLOWS, max_size=4))
def test_any_flow_comes_back_and_has_a_text(some):
    assert read_view(view_json(view(), some))[1] == tuple(some)
    commands = Commands()
    datapath_commands(commands, view, lambda: some)
    for words in ([], ["-m"]):
        lines = commands.run("dpctl/dump-flows", words).splitlines()
        assert len([line for line in lines if line.count(", packets:") == 1 and ",," not in line]) == len(some)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"version":2}', '{"version":1}', '{"version":1,"datapath":{"ports":[1]}}', "nul"]
)
def test_what_is_no_view_is_said(text):
    with pytest.raises(BadInput):
        read_view(text)


# What changed


def test_rates_and_loads():
    got = changes(view(1), view(3), 2.0)
    assert (got["lookups_per_second"], got["hit_rate"], got["masks_per_packet"]) == (500, 1.0, 1.6)
    eth, veth = got["ports"][1], got["ports"][2]
    assert (eth["rx_packets_per_second"], eth["rx_bits_per_second"]) == (500, 6_000_000)
    # Two counters, no frame in both: 5 found no room, a meter stopped 9.
    assert (veth["dropped_per_second"], veth["dropped"], veth["most_dropped_for"]) == (3, 14, "meter")
    assert veth["drop_reasons"] == {"tx_dropped": 5, "meter": 9}
    main, busy, idle = got["workers"]
    # The interrupt schedule slept: its load is of the time; a poll-mode thread never does: its load is of its cycles.
    assert main["load"] == pytest.approx(2e9 / 6e9)
    assert busy["load"] == pytest.approx(1 / 3)
    assert idle["load"] == 0
    assert idle["cycles_per_packet"] is None
    assert (busy["packets_per_second"], busy["exact_match_hit_rate"]) == (500, 0.6)
    assert [(flow.number, packets) for flow, packets, _ in busiest(flows(1), flows(3), 2.0, 1)] == [(1, 500)]


def test_counters_that_were_cleared_have_no_negative_rate():
    got = changes(view(3), view(1), 2.0)
    assert got["lookups_per_second"] == got["ports"][1]["rx_packets_per_second"] == 0
    assert got["hit_rate"] is None
    new = changes(view(0)._replace(ports=(), workers=()), view(1), 1.0)
    assert new["ports"][1]["rx_packets_per_second"] == 1500


# Which daemon


def test_the_only_daemon_is_found(tmp_path, monkeypatch):
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.delenv("PKTPATH_SOCKET", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert run_dir() == str(tmp_path / "pktpath")
    with pytest.raises(BadInput, match="no switch runs"):
        find_socket()
    (tmp_path / "pktpath").mkdir()
    (tmp_path / "pktpath" / "no.ctl").touch()
    with Served(tmp_path / "pktpath" / "one.ctl") as one:
        assert str(find_socket()) == one.path
        with (
            Served(tmp_path / "pktpath" / "two.ctl"),
            pytest.raises(BadInput, match="several switches run; name one with -t: one, two"),
        ):
            find_socket()
    assert find_socket("two") == find_socket("two.ctl") == tmp_path / "pktpath" / "two.ctl"
    assert str(find_socket("./x")) == "x"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert run_dir() == "/run/pktpath"


# The command lines


@pytest.fixture
def cli(tmp_path, daemon):
    def refuse(words):
        message = "br9: no such bridge"
        raise Refused(message)

    (tmp_path / "pktpath").mkdir()
    daemon.commands.register("ofctl/show", "", 1, 1, refuse)
    for verb in ("dump-flows", "add-flow", "add-flows", "del-flows"):
        daemon.commands.register(f"ofctl/{verb}", "", 1, None, lambda words: "".join(f" {word!r}\n" for word in words))

    def run(*words, target=None, text=None):
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
        command = [sys.executable, "-m", "pktpath", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, input=text)

    with Served(tmp_path / "pktpath" / "lab.ctl", daemon.commands) as served:
        run.path = served.path
        yield run


def test_appctl(cli):
    done = cli("appctl", "dpctl/dump-flows", "-m", "--names", "filter=in_port=2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("in_port(veth1)") == 2
    assert cli("appctl", "-t", cli.path, "version").stdout.startswith("pktpath ")
    assert cli("appctl", "-t", "lab", "dpctl/dump-dps").stdout == "netdev@pktpath\n"
    done = cli("appctl", "nope")
    line = 'pktpath: "nope" is not a valid command (use "list-commands" to see a list of valid commands)\n'
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)
    assert json.loads(cli("appctl", "--json", "dpctl/dump-dps").stdout) == {
        "command": "dpctl/dump-dps", "words": [], "text": "netdev@pktpath\n",
    }  # fmt: skip
    done = cli("appctl", "-t", "/nowhere/d.ctl", "version")
    assert (done.returncode, done.stderr) == (2, "pktpath: /nowhere/d.ctl: no control socket is there: does the switch run?\n")


def test_dpctl(cli):
    assert "  masks: hit:" in cli("dpctl", "show", "-s").stdout
    assert "  masks: hit:" not in cli("appctl", "dpctl/show").stdout
    assert cli("dpctl", "dump-flows", "pmd=1").stdout.startswith("flow-dump from pmd on cpu core: 1\n")
    for words in (["--json", "dump-flows"], ["dump-flows", "-m", "--json"]):
        document = json.loads(cli("dpctl", *words).stdout)
        assert len(document["flow_list"]) == 3
    assert "flow_list" not in json.loads(cli("dpctl", "show", "--json").stdout)
    assert json.loads(cli("dpctl", "--json", "dump-dps").stdout)["text"] == "netdev@pktpath\n"
    assert cli("dpctl", "add-flow", "a", "b").returncode == 2
    assert cli("dpctl", "--json", "dump-flows", "filter=x").returncode == 1


def test_ofctl(cli, tmp_path):
    done = cli("ofctl", "show", "br9")
    assert (done.returncode, done.stderr) == (2, "pktpath: br9: no such bridge\n")
    assert cli("ofctl", "add-flow", "br0", "priority=1,actions=drop").stdout == " 'br0'\n 'priority=1,actions=drop'\n"
    for words in (["--strict", "del-flows", "br0", "ip"], ["del-flows", "br0", "ip", "--strict"]):
        assert cli("ofctl", *words).stdout == " '--strict'\n 'br0'\n 'ip'\n"
    assert json.loads(cli("ofctl", "dump-flows", "br0", "--json").stdout)["lines"] == ["'br0'"]
    file = tmp_path / "flows.txt"
    file.write_text("a\nb\n")
    assert cli("ofctl", "add-flows", "br0", str(file)).stdout == f" 'br0'\n 'a\\nb\\n'\n '{file}'\n"
    assert "'standard input'" in cli("ofctl", "add-flows", "br0", "-", text="x").stdout
    file.write_bytes(b"abc\xff")
    assert cli("ofctl", "add-flows", "br0", str(file)).stderr == f"pktpath: {file}: offset 3: no UTF-8\n"
    for words, text in (
        (["fly", "br0"], "there is no 'fly'"),
        (["add-flow", "br0"], "add-flow takes a bridge and 1 words more"),
        (["dump-flows"], "dump-flows takes a bridge and 0 to 1 words more"),
        (["--strict", "add-flow", "br0", "x"], "--strict is for mod-flows and del-flows"),
    ):
        done = cli("ofctl", *words)
        assert done.returncode == 1
        assert text in done.stderr
        assert done.stderr.count("\n") == 1


def test_top(cli):
    done = cli("top", "-i", "0.2")
    assert done.returncode == 0, done.stderr
    head, *rows = done.stdout.splitlines()
    assert head.startswith("netdev@pktpath: ")
    assert "masks/packet" in head
    assert [row.split()[1] for row in rows[1:5]] == ["br0", "eth0", "veth1", "tap-a"]
    assert any(row.startswith("core 1") and "33.3 %" in row for row in rows)
    assert rows[-1].endswith(" in_port(eth0),eth_type(0x0800),ipv4(proto=6,frag=no),tcp(dst=80)")
    document = json.loads(cli("top", "--json", "-i", "0.1", "-n", "2").stdout)
    assert len(document["busiest"]) == 2
    assert {port["name"] for port in document["ports"]} == {"br0", "eth0", "veth1", "tap-a"}


def test_top_lives_on_a_terminal_until_it_is_ended(cli, tmp_path):
    import signal
    import time

    leader, follower = os.openpty()
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "TERM": "xterm-256color", "COLUMNS": "140", "LINES": "40"}
    child = subprocess.Popen(
        [sys.executable, "-m", "pktpath", "top", "-i", "0.1"], stdout=follower, stderr=subprocess.PIPE, env=environment
    )
    os.close(follower)
    seen, until = b"", time.monotonic() + 20
    while seen.count(b"netdev@pktpath") < 3 and time.monotonic() < until:
        seen += os.read(leader, 65536)
    child.send_signal(signal.SIGINT)
    errors = child.stderr.read()
    child.stderr.close()
    assert (child.wait(), errors) == (130, b"")
    os.close(leader)
    assert b"eth0" in seen
    assert b"core 1" in seen


def test_clients_start_without_numbers():
    """What asks a daemon starts in a moment: only the daemon itself needs numpy and numba."""
    names = ("cli.appctl", "cli.dpctl", "cli.ofctl", "cli.top", "cli.dump", "control.unixctl", "control.dpctl_text")
    code = "import sys, " + ", ".join(f"pktpath.{name}" for name in names) + "; print(' '.join(sys.modules))"
    assert not set(subprocess.check_output([sys.executable, "-c", code], text=True).split()) & HEAVY


def test_no_two_types_of_the_room_have_one_name():
    """Who reads `Command(...)` should know which one it is."""
    names = [
        (node.name, path.name)
        for path in (Path(__file__).parent.parent / "src" / "pktpath" / "control").glob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    found = Counter(name for name, _ in names)
    assert [entry for entry in names if found[entry[0]] > 1] == []
