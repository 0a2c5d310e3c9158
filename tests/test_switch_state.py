"""What a restart finds: state files that are whole or moved aside, interfaces as they were before."""

import json
import logging
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pktpath.control.state import BridgeState, Interfaces, StateFile, TablesFile, make_directory
from pktpath.errors import Refused
from pktpath.host.interface import KernelInterfaces
from support.switch_netns import ip, named_namespace

VETH = "link add a0 type veth peer name b0"
STATE = {"br0": BridgeState({"flows": ["priority=7,tcp,actions=drop"]}, {"groups": ["1"]}, {"p9": {"type": "tap"}}, ["p1"])}


class FakeInterfaces:
    """Interfaces in a dictionary; what is refused raises."""

    def __init__(self, values, refuses=()):
        self.values, self.refuses, self.indexes, self.log = values, set(refuses), {"a0": 7}, []

    def index(self, device, netns):
        return self.indexes.get(device)

    def get(self, device, netns, what, key):
        return self.values[what, key]

    def set(self, device, netns, what, key, value):
        if what in self.refuses:
            message = f"{device}: {what}: no"
            raise Refused(message)
        self.log.append((what, key, value))
        self.values[what, key] = value


def test_tables_come_back(tmp_path):
    TablesFile(str(tmp_path)).save(STATE)
    assert TablesFile(str(tmp_path)).load() == STATE
    assert (tmp_path / "tables.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["tables.json"]


def test_no_state_is_empty(tmp_path):
    assert TablesFile(str(tmp_path)).load() == {}


@given(st.data())
def test_a_damaged_file_is_moved_aside_whole(tmp_path_factory, data):
    directory = tmp_path_factory.mktemp("state")
    TablesFile(str(directory)).save(STATE)
    path = directory / "tables.json"
    whole = path.read_bytes()
    damaged = data.draw(
        st.one_of(
            st.integers(0, len(whole) - 1).map(lambda end: whole[:end]),
            st.binary(max_size=60),
            st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda item: st.lists(item, max_size=3)).map(
                lambda item: json.dumps({"format": "pktpath switch state 1", "bridges": {"br0": item}}).encode()
            ),
        )
    )
    path.write_bytes(damaged)
    assert TablesFile(str(directory)).load() == {}
    (aside,) = directory.iterdir()
    assert aside.name.startswith("tables.json.bad-")
    assert aside.read_bytes() == damaged


def test_an_alien_file_is_one_line(tmp_path, caplog):
    (tmp_path / "tables.json").write_text('{"format": "something else"}')
    with caplog.at_level(logging.WARNING):
        TablesFile(str(tmp_path)).load()
    (record,) = caplog.records
    assert "tables.json: no state of a switch; moved to tables.json.bad-" in record.getMessage()
    assert "\n" not in record.getMessage()


def test_a_link_is_not_followed(tmp_path):
    other = tmp_path / "other"
    other.write_text("mine")
    (tmp_path / "tables.json").symlink_to(other)
    assert TablesFile(str(tmp_path)).load() == {}
    assert other.read_text() == "mine"


def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="file/state: Not a directory: choose run_dir and state_dir"):
        make_directory(str(tmp_path / "file" / "state"), 0o700)
    with pytest.raises(Refused, match="cannot keep the state"):
        StateFile(str(tmp_path / "none"), "x").save({})


def test_a_change_is_on_disk_before_it_is_made(tmp_path):
    fake = FakeInterfaces({("mtu", ""): 1500})
    seen = []
    real = fake.set
    fake.set = lambda *words: (seen.append(json.loads((tmp_path / "interfaces.json").read_text())), real(*words))
    interfaces = Interfaces(str(tmp_path), fake)
    interfaces.change("a0", None, "mtu", "", 1400)
    assert [change["old"] for change in seen[0]["changes"]] == [1500]
    interfaces.change("a0", None, "mtu", "", 1400)
    assert len(seen) == 1
    interfaces.undo()
    assert fake.values["mtu", ""] == 1500
    assert json.loads((tmp_path / "interfaces.json").read_text())["changes"] == []


def test_changes_are_undone_backwards_and_by_device(tmp_path):
    fake = FakeInterfaces({("mtu", ""): 1500, ("up", ""): False})
    interfaces = Interfaces(str(tmp_path), fake)
    interfaces.change("a0", None, "mtu", "", 1400)
    interfaces.change("a0", None, "up", "", True)
    interfaces.undo("b0")
    assert len(fake.log) == 2
    interfaces.undo("a0")
    assert fake.log[2:] == [("up", "", False), ("mtu", "", 1500)]


def test_what_was_refused_is_not_undone(tmp_path):
    fake = FakeInterfaces({("mtu", ""): 1500}, refuses=["mtu"])
    interfaces = Interfaces(str(tmp_path), fake)
    with pytest.raises(Refused, match="a0: mtu: no"):
        interfaces.change("a0", None, "mtu", "", 1400)
    with pytest.raises(Refused, match="b0: no such interface"):
        interfaces.change("b0", None, "mtu", "", 1400)
    again = Interfaces(str(tmp_path), fake)
    again.recover()
    assert fake.log == []


def test_what_cannot_be_undone_now_is_tried_at_the_next_start(tmp_path):
    fake = FakeInterfaces({("mtu", ""): 1500})
    interfaces = Interfaces(str(tmp_path), fake)
    interfaces.change("a0", None, "mtu", "", 1400)
    fake.refuses = {"mtu"}
    interfaces.undo()
    fake.refuses = set()
    Interfaces(str(tmp_path), fake).recover()
    assert fake.values["mtu", ""] == 1500


@pytest.mark.parametrize(("index", "value"), [(8, 1400), (None, 1400), (7, 1300)])
def test_what_is_somebody_elses_stays(tmp_path, index, value):
    fake = FakeInterfaces({("mtu", ""): 1500})
    Interfaces(str(tmp_path), fake).change("a0", None, "mtu", "", 1400)
    fake.indexes["a0"], fake.values["mtu", ""] = index, value
    Interfaces(str(tmp_path), fake).recover()
    assert fake.values["mtu", ""] == value
    assert json.loads((tmp_path / "interfaces.json").read_text())["changes"] == []


CHILD = """
import sys, time
from pktpath.control.state import Interfaces
from pktpath.host.interface import KernelInterfaces

directory, netns = sys.argv[1:]
interfaces = Interfaces(directory, KernelInterfaces())
interfaces.recover()
for what, key, value in (
    ("feature", "rx-gro", False), ("feature", "tx-tcp-segmentation", False), ("mtu", "", 1400),
    ("up", "", True), ("address", "10.9.8.7/24", True),
):
    interfaces.change("a0", netns, what, key, value)
sys.stdout.write("changed\\n")
sys.stdout.flush()
time.sleep(60)
"""


def all_of_it(netns):
    kernel = KernelInterfaces()
    keys = [("feature", "rx-gro"), ("feature", "tx-tcp-segmentation"), ("mtu", ""), ("up", ""), ("address", "10.9.8.7/24")]
    return [kernel.get("a0", netns, what, key) for what, key in keys]


@pytest.mark.oracle
def test_the_next_start_restores_a_real_interface_after_kill_9(tmp_path):
    with named_namespace(VETH) as netns:
        # The kernel makes a veth with GRO off.
        KernelInterfaces().set("a0", netns, "feature", "rx-gro", True)
        before, addresses = all_of_it(netns), ip(netns, "-o addr show a0")
        with subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path), netns], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout.readline() == "changed\n"
            changed = all_of_it(netns)
            child.send_signal(signal.SIGKILL)
            child.wait()
        assert changed == [False, False, 1400, True, True]
        assert all_of_it(netns) == changed
        Interfaces(str(tmp_path), KernelInterfaces()).recover()
        assert all_of_it(netns) == before == [True, True, 1500, False, False]
        assert ip(netns, "-o addr show a0") == addresses


@pytest.mark.oracle
def test_kill_9_at_any_moment_leaves_nothing(tmp_path):
    """The journal is written before the change: whenever the kill comes, the next start knows."""
    with named_namespace(VETH) as netns:
        before = all_of_it(netns)
        for delay in (0.35, 0.45, 0.5, 0.55, 0.6, 0.7):
            with subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path), netns], stdout=subprocess.DEVNULL) as child:
                time.sleep(delay)
                os.kill(child.pid, signal.SIGKILL)
                child.wait()
            Interfaces(str(tmp_path), KernelInterfaces()).recover()
            assert all_of_it(netns) == before, delay


@pytest.mark.oracle
def test_the_kernel_says_what_is_wrong(tmp_path):
    with named_namespace(VETH) as netns:
        interfaces = Interfaces(str(tmp_path), KernelInterfaces())
        with pytest.raises(Refused, match=r"a0: mtu 20: the kernel refused: Invalid argument"):
            interfaces.change("a0", netns, "mtu", "", 20)
        with pytest.raises(Refused, match="none: no such interface in the network namespace"):
            interfaces.change("none", netns, "mtu", "", 1400)
        with pytest.raises(Refused, match=r"a0: loopback cannot be on: \[fixed\] off"):
            interfaces.change("a0", netns, "feature", "loopback", True)
        interfaces.undo()
        assert KernelInterfaces().get("a0", netns, "mtu") == 1500
