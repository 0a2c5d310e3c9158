"""pktpath ethtool beside the real one, on the kernel's own devices in a namespace of the test's."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.oracle
SPACE = f"pp-ethtool-{os.getpid()}"
INSIDE = ("ip", "netns", "exec", SPACE)
OURS = (sys.executable, "-m", "pktpath", "ethtool")
DEVICES = {
    "lo": "",
    "va": "numtxqueues 4 numrxqueues 4 type veth peer name vb numtxqueues 4 numrxqueues 4",
    "vc": "numtxqueues 4 numrxqueues 4 type veth peer name vd numtxqueues 4 numrxqueues 4",
    "br": "type bridge",
    "ifb7": "type ifb",
    "mac": "link va type macvlan",
    "vx": "type vxlan id 4 remote 192.0.2.1 dstport 4789",
    "ta": "tuntap",
    "tb": "tuntap",
}
"""Devices, and what makes each; an alternative name of va is longer than an interface name may be."""
ALTERNATIVE = "a-device-name-of-more-than-fifteen-bytes"


def run(*command: str, check: bool = False) -> subprocess.CompletedProcess:
    return subprocess.run([*INSIDE, *command], capture_output=True, text=True, check=check)


@pytest.fixture(scope="module")
def space():
    subprocess.run(["ip", "netns", "add", SPACE], check=True)
    try:
        there = {"lo"}
        for name, kind in DEVICES.items():
            make = ("tuntap", "add", name, "mode", "tap", "multi_queue")
            if kind != "tuntap":
                make = ("link", "add", "name", name, *kind.split())
            if kind and run("ip", *make).returncode == 0:
                there.add(name)
        run("ip", "link", "property", "add", "dev", "va", "altname", ALTERNATIVE, check=True)
        yield there
    finally:
        subprocess.run(["ip", "netns", "del", SPACE], check=True)


@pytest.mark.parametrize("option", ["-l", "-x", "-c", "-g", "-S", "-i"])
@pytest.mark.parametrize("device", ["lo", "va", "br", "ifb7", "mac", "vx", "ta", "absent", ALTERNATIVE, "-", "x" * 130, "ö"])
def test_a_text_is_ethtools(space, option, device):
    if device in DEVICES and device not in space:
        pytest.skip(f"the kernel makes no device of this kind: {DEVICES[device]}")
    theirs, ours = run("ethtool", option, device), run(*OURS, option, device)
    assert ours.stdout == theirs.stdout
    assert (ours.returncode == 0) == (theirs.returncode == 0)
    assert ours.stderr.count("\n") == (ours.returncode != 0), ours.stderr
    there = device in DEVICES or (device == ALTERNATIVE and option in ("-l", "-c", "-g"))
    if ours.returncode:
        assert ours.returncode == (2 if there else 1)


def shown(option: str, device: str) -> str:
    return run("ethtool", option, device).stdout.replace(f"for {device}:", "for DEV:")


@pytest.mark.parametrize(
    ("option", "words", "says"),
    [
        ("-L", "rx 4", ""),
        ("-L", "rx 2", ""),
        ("-L", "rx 0x3 tx 1", ""),
        ("-L", "", ""),
        ("-L", "rx 9", "rx 9 is above the maximum of 4"),
        ("-L", "rx 9 combined 2 tx 1", "rx 9 is above the maximum of 4; combined cannot be set on this device"),
        ("-L", "rx 0", "the kernel refused: requested channel counts would result in no RX or TX channel"),
        ("-G", "rx 10", "changing ring sizes is not supported by this device"),
        ("-C", "rx-usecs 3", "changing coalescing is not supported by this device"),
        ("-X", "equal 2", "receive flow hashing (RSS) is not supported by this device"),
        ("-N", "rx-flow-hash tcp4 sd", "is not supported by this device"),
        ("-L", "tx 4 rx 4", ""),
    ],
)
def test_a_change_of_a_veth_is_ethtools(space, option, words, says):
    theirs, ours = run("ethtool", option, "va", *words.split()), run(*OURS, option, "vc", *words.split())
    assert ours.stdout == theirs.stdout == ""
    assert shown("-l", "va") == shown("-l", "vc")
    # ethtool 6.1 exits with 0 when -N is refused.
    assert (theirs.returncode == 0) == (not says or option == "-N")
    assert ours.returncode == (2 if says else 0)
    assert says in ours.stderr
    assert ours.stderr.count("\n") == bool(says)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("rx-frames 32", ""),
        ("rx-frames 0x20", ""),
        ("rx-usecs 3", "rx-usecs cannot be set on this device, which has rx-frames"),
        ("adaptive-rx on rx-frames 5", "adaptive-rx cannot be set on this device, which has rx-frames"),
        ("rx-frames 99999", "the device did not take every value: rx-frames is 64, not 99999"),
        ("rx-frames 0", ""),
    ],
)
def test_a_change_of_a_tap_is_ethtools(space, words, says):
    run("ethtool", "-C", "ta", *words.split())
    ours = run(*OURS, "-C", "tb", *words.split())
    assert ours.stdout == ""
    assert shown("-c", "ta") == shown("-c", "tb")
    assert ours.returncode == (2 if says else 0)
    assert says in ours.stderr


def test_without_privilege_the_capability_is_named(space):
    code = (
        "import os\n"
        "from pktpath.cli.common import run\n"
        "from pktpath.cli import pktpath\n"
        "assert run(pktpath, ['ethtool', '-l', 'va']) == 0\n"
        "assert run(pktpath, ['ethtool', '-L', 'va', 'rx', '4']) == 0\n"
        "os.setgroups([])\n"
        "os.setuid(65534)\n"
        "assert run(pktpath, ['ethtool', '-l', 'va']) == 0\n"
        "raise SystemExit(run(pktpath, ['ethtool', '-L', 'va', 'rx', '1']))\n"
    )
    run("ethtool", "-L", "va", "rx", "4")
    before = shown("-l", "va")
    done = run(sys.executable, "-c", code)
    assert (done.returncode, done.stderr) == (
        2,
        "pktpath: va: changing channels needs CAP_NET_ADMIN: run as root, for example with sudo\n",
    )
    assert shown("-l", "va") == before
