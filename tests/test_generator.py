"""The generator of small frames: what it makes, how long, and that it ends."""

import os
import socket
import struct
import subprocess
import time

import pytest

from pktpath.errors import BadInput, Refused
from pktpath.lab.bench.generator import blast, frame
from support.naive_checksum import judge

SPACE = f"pp-generator-{os.getpid()}"
oracle = pytest.mark.oracle


def test_the_checksums_of_its_frame_are_right():
    for size in (50, 51, 64, 1514):
        made = frame(size, "02:00:00:00:00:66", 9)
        assert len(made) == size
        assert judge(made) == ("right", "right")


@pytest.mark.parametrize(("size", "flows", "target"), [(49, 1, "02:00:00:00:00:66"), (64, 0, "02:00:00:00:00:66"), (64, 1, "x")])
def test_nonsense_is_refused(size, flows, target):
    with pytest.raises(BadInput), blast("lo", size=size, flows=flows, target=target):
        pass


@pytest.fixture(scope="module")
def pair():
    subprocess.run(["ip", "netns", "add", SPACE], check=True)
    try:
        run("ip", "link", "add", "g0", "type", "veth", "peer", "name", "f0")
        for device in ("g0", "f0"):
            run("sysctl", "-qw", f"net.ipv6.conf.{device}.disable_ipv6=1")
            run("ip", "link", "set", device, "up")
        run("ethtool", "-K", "f0", "gro", "on")
        yield SPACE
    finally:
        subprocess.run(["ip", "netns", "del", SPACE], check=True)


def run(*command):
    return subprocess.run(["ip", "netns", "exec", SPACE, *command], check=True, capture_output=True, text=True).stdout


def received():
    return int(run("cat", "/sys/class/net/f0/statistics/rx_packets"))


def reader():
    """A packet socket at the receiving end."""
    space, here = os.open(f"/run/netns/{SPACE}", os.O_RDONLY), os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        libc().setns(space, 0x40000000)
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        packets.bind(("f0", 0x0800))
        packets.settimeout(5)
        return packets
    finally:
        libc().setns(here, 0x40000000)
        os.close(space)
        os.close(here)


def libc():
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


@oracle
def test_every_flow_comes_in_turn_with_right_checksums(pair):
    with reader() as packets:
        with blast("g0", netns=pair, flows=70_000) as generator:
            frames = [packets.recv(2048) for _ in range(200)]
        assert generator.made >= 200
    assert {judge(content) for content in frames} == {("right", "right")}
    numbers = [struct.unpack_from("!H", content, 34)[0] for content in frames]
    # A receiver may lose some, but not of the first ones.
    assert numbers[:10] == list(range(10))
    assert numbers == sorted(set(numbers))


@oracle
def test_flows_beyond_the_ports_take_the_next_address(pair):
    with reader() as packets:
        packets.setsockopt(socket.SOL_SOCKET, 33, 1 << 30)
        with blast("g0", netns=pair, flows=65_538, seconds=5):
            deadline = time.monotonic() + 20
            found = set()
            while not {(1, 0), (1, 1)} <= found and time.monotonic() < deadline:
                content = packets.recv(2048)
                found.add(struct.unpack_from("!H4xH", content, 28))
        assert {(0, 0), (1, 0), (1, 1)} <= found
        assert (1, 2) not in found
        assert judge(content) == ("right", "right")


@oracle
def test_it_ends_after_its_seconds_and_at_the_end_of_a_block(pair):
    start, before = time.monotonic(), received()
    with blast("g0", netns=pair, seconds=0.2) as generator:
        made = generator.wait()
    assert 0.2 <= time.monotonic() - start < 10
    assert 64 <= received() - before <= made
    with blast("g0", netns=pair) as generator:
        assert generator.made is None
    assert generator.made >= 0


@oracle
def test_what_is_missing_is_said_in_one_line(pair):
    for arguments in ({"device": "absent", "netns": pair}, {"device": "g0", "netns": "pp-absent"}):
        with pytest.raises(Refused, match=r"^(absent|pp-absent): no such [a-z ]+$"), blast(**arguments):
            pass
