"""The systemd unit: what it must say, and what systemd says about it."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from pktpath.control.privileges import CAPABILITIES

UNIT = Path(__file__).parent.parent / "systemd" / "pktpath.service"


def test_the_unit_says_what_the_daemon_does():
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str
    unit.read_string(UNIT.read_text())
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert service["ExecStart"].endswith("pktpath switch run /etc/pktpath/switch.toml")
    assert "-HUP" in service["ExecReload"]
    assert set(service["AmbientCapabilities"].split()) == set(service["CapabilityBoundingSet"].split()) == set(CAPABILITIES)
    assert service["RuntimeDirectory"] == service["StateDirectory"] == "pktpath"
    # numba writes code and runs it; the daemon needs its sockets and the tun device.
    assert service["MemoryDenyWriteExecute"] == "no"
    assert {"AF_UNIX", "AF_NETLINK", "AF_PACKET", "AF_XDP", "AF_INET"} <= set(service["RestrictAddressFamilies"].split())
    assert service["DeviceAllow"] == "/dev/net/tun rw"
    assert service["NoNewPrivileges"] == "yes"


@pytest.mark.peer
def test_systemd_finds_no_fault():
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (apt-get install systemd)")
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(UNIT)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
