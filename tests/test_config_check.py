"""`switch run --check`: what a configuration names is looked for, and each thing that is not there is one line."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from pktpath.control.config import load_config
from pktpath.control.config_check import missing
from pktpath.errors import BadInput, Refused
from support.switch_netns import named_namespace

HOME = Path(__file__).parent
WITHOUT = HOME / "support" / "without_capabilities.py"


def said(tmp_path, text):
    """What is missing, without the directory of the test."""
    path = tmp_path / "s.toml"
    path.write_text(text)
    faults = missing(load_config(str(path)))
    assert all(isinstance(fault, BadInput) for fault in faults)
    assert not any("\n" in str(fault) for fault in faults)
    return [str(fault).replace(f"{tmp_path}/", "") for fault in faults]


def pcap_port(**words):
    lines = "".join(f'{key} = "{value}"\n' for key, value in words.items())
    return f'[bridge.br0.port.p1]\ntype = "pcap"\n{lines}'


def write_pcap(path, count, *, linktype=1, more=b""):
    record = struct.pack("<4I", 1, 0, 60, 60) + bytes(60)
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, linktype) + record * count + more)


def test_a_configuration_whose_things_are_there(tmp_path):
    write_pcap(tmp_path / "in.pcap", 3)
    (tmp_path / "old.pcap").write_text("what is there is replaced")
    text = """
[bridge.br0]
local = true
[bridge.br0.port.p1]
type = "pcap"
rx_file = "in.pcap"
tx_file = "out.pcapng"
[bridge.br0.port.p2]
type = "packet"
interface = "lo"
[bridge.br0.port.new]
type = "tap"
[bridge.br0.port.m1]
type = "memory"
[bridge.br0.port.p3]
type = "pcap"
tx_file = "old.pcap"
[bridge.br0.port.p4]
type = "pcap"
tx_file = "/dev/null"
"""
    assert said(tmp_path, text) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.pcap", "old.pcap", "s.toml"]


def test_captures_that_cannot_be_read(tmp_path):
    write_pcap(tmp_path / "none.pcap", 0)
    write_pcap(tmp_path / "raw.pcap", 1, linktype=101)
    (tmp_path / "text").write_text("no capture at all, but a text that is long enough\n")
    place = "s.toml:3: bridge.br0.port.p1.rx_file: "
    for name, says in (
        ("gone.pcap", "gone.pcap: No such file or directory"),
        ("text", "text: "),
        ("none.pcap", "none.pcap: holds no frames"),
        ("raw.pcap", "raw.pcap: link type 101 is not Ethernet (1)"),
        (".", ": Is a directory"),
    ):
        (line,) = said(tmp_path, pcap_port(rx_file=name))
        assert line.startswith(place), line
        assert says in line


def test_a_pipe_is_not_emptied(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert said(tmp_path, pcap_port(rx_file="pipe")) == []
    assert said(tmp_path, pcap_port(tx_file="pipe")) == []


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    place = "s.toml:3: bridge.br0.port.p1.tx_file: "
    assert said(tmp_path, pcap_port(tx_file="no/o.pcap")) == [f"{place}no: there is no such directory"]
    assert said(tmp_path, pcap_port(tx_file="file/o.pcap")) == [f"{place}file: there is no such directory"]
    assert said(tmp_path, pcap_port(tx_file=".")) == [f"{place}{tmp_path}: is a directory"]


def test_a_directory_of_another_user(tmp_path):
    (tmp_path / "shut").mkdir(mode=0o555)
    (tmp_path / "s.toml").write_text(pcap_port(tx_file="shut/o.pcap"))
    code = f"""
from pktpath.control.config import load_config
from pktpath.control.config_check import missing
print(*missing(load_config("{tmp_path}/s.toml")), sep="\\n")
"""
    prefix = [sys.executable, WITHOUT, "all", code] if os.geteuid() == 0 else [sys.executable, "-c", code]
    done = subprocess.run(prefix, capture_output=True, text=True, check=False)
    place = f"{tmp_path}/s.toml:3: bridge.br0.port.p1.tx_file: "
    assert done.stdout == f"{place}{tmp_path}/shut: no permission to write there\n", done.stderr


def test_interfaces_and_namespaces_that_are_not_there(tmp_path):
    text = """
[bridge.br0]
local = {netns = "pp-no-such"}
[bridge.br0.port.pp-gone]
type = "packet"
[bridge.br0.port.p2]
type = "xdp"
interface = "pp-gone2"
[bridge.br0.port.p3]
type = "tap"
netns = "pp-no-such"
"""
    no_space = "pp-no-such: no such network namespace: 'ip netns' lists them (No such file or directory)"
    assert said(tmp_path, text) == [
        f"s.toml:3: bridge.br0.local.netns: {no_space}",
        "s.toml:4: bridge.br0.port.pp-gone: pp-gone: no such interface: 'ip link' lists them",
        "s.toml:8: bridge.br0.port.p2.interface: pp-gone2: no such interface: 'ip link' lists them",
        f"s.toml:11: bridge.br0.port.p3.netns: {no_space}",
    ]


@pytest.mark.oracle
def test_an_interface_is_looked_for_in_its_namespace(tmp_path):
    text = '[bridge.br0.port.p1]\ntype = "packet"\ninterface = "{}"\nnetns = "{}"\n'
    place = "s.toml:3: bridge.br0.port.p1.interface: pp-out"
    with named_namespace("link add pp-in type veth peer name pp-on") as space:
        assert said(tmp_path, text.format("pp-in", space)) == []
        assert said(tmp_path, text.format("pp-out", space)) == [
            f"{place}: no such interface in network namespace {space}: 'ip link' lists them"
        ]
        (tmp_path / "s.toml").write_text(text.format("pp-in", space))
        code = f"""
from pktpath.control.config import load_config
from pktpath.control.config_check import missing
print(*(type(fault).__name__ + " " + str(fault) for fault in missing(load_config("{tmp_path}/s.toml"))))
"""
        done = subprocess.run([sys.executable, WITHOUT, "all", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith(f"{Refused.__name__} {tmp_path}/s.toml:4: bridge.br0.port.p1.netns: "), done.stderr
    assert "needs CAP_SYS_ADMIN" in done.stdout
