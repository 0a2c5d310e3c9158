"""Filters: the machine against its naive twin, the whole against tcpdump."""

import io
import random
import shutil
import subprocess

import numpy as np
import pytest

from pktpath.port import bpf
from pktpath.port import filter as filter_module
from pktpath.port.capture import CaptureError, open_capture
from pktpath.port.memory import load, unload
from support import naive_bpf
from support import naive_capture as naive
from support.captures import contents_of

CONSTANTS = (0, 1, 2, 5, 14, 23, 31, 32, 33, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def random_program(rng):
    length = rng.randrange(1, 24)
    program = []
    for at in range(length - 1):
        left = length - 2 - at
        kind = rng.randrange(8)
        k = rng.choice(CONSTANTS) if rng.random() < 0.6 else rng.randrange(64)
        yes, no = rng.randrange(min(left, 255) + 1), rng.randrange(min(left, 255) + 1)
        if kind == 0:
            code = rng.choice((0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x00, 0x60, 0x80))
            k = rng.randrange(16) if code == 0x60 else k
        elif kind == 1:
            code = rng.choice((0x01, 0x61, 0x81, 0xB1))
            k = rng.randrange(16) if code == 0x61 else k
        elif kind in (2, 3):
            code, k = kind, rng.randrange(16)
        elif kind == 4:
            code = 4 | rng.randrange(11) << 4 | rng.choice((0, 8))
        elif kind == 5:
            code = 5 | rng.randrange(5) << 4
            code, k = (code, rng.randrange(left + 1)) if code == 5 else (code | rng.choice((0, 8)), k)
        elif kind == 6:
            code = rng.choice((6, 0x16))
            if rng.random() < 0.8:
                code = 0x07
        else:
            code = rng.choice((0x07, 0x87))
        program.append((code, yes, no, k))
    program.append((rng.choice((6, 0x16)), 0, 0, rng.choice((0, 1))))
    return np.array(program, np.int64)


def kept(program, frames):
    batch = load(frames)
    starts = np.zeros(1, np.int64)
    bpf.keep_matching(batch, 0, program, starts, np.zeros(bpf.MEMORY, np.int64))
    return unload(batch), batch


def test_machine_agrees_with_its_naive_twin():
    rng = random.Random(5)
    taken = 0
    for _ in range(1500):
        program = random_program(rng)
        bpf.check(program)
        frames = [rng.randbytes(rng.choice((0, 1, 3, 4, 20, 60))) for _ in range(12)]
        expected = [f for f in frames if naive_bpf.run(program.tolist(), f, len(f))]
        found, batch = kept(program, frames)
        assert found == expected, program.tolist()
        assert batch.origin[: len(found)].tolist() == list(range(len(found)))
        taken += len(found)
    assert 1000 < taken < 17000


@pytest.mark.parametrize(
    "program",
    [
        [],
        [(0x00, 0, 0, 0)],  # does not return
        [(0x05, 0, 0, 1), (6, 0, 0, 1)],  # jumps behind the end
        [(0x05, 0, 0, 0xFFFFFFFF), (6, 0, 0, 1)],  # jumps back
        [(0x15, 1, 0, 0), (6, 0, 0, 1)],
        [(0x15, 0, 1, 0), (6, 0, 0, 1)],
        [(0x60, 0, 0, 16), (6, 0, 0, 1)],  # scratch word 16
        [(0x02, 0, 0, 16), (6, 0, 0, 1)],
        [(0x03, 0, 0, 99), (6, 0, 0, 1)],
        [(0xB4, 0, 0, 1), (6, 0, 0, 1)],  # no such arithmetic
        [(0x55, 0, 0, 1), (0xFF, 0, 0, 0), (6, 0, 0, 1)],
        [(0xA0, 0, 0, 1), (6, 0, 0, 1)],  # ld msh
        [(0x18, 0, 0, 1), (6, 0, 0, 1)],
        [(0x100, 0, 0, 1), (6, 0, 0, 1)],
        [(0x0E, 0, 0, 1)],
    ],
)
def test_impossible_programs_are_refused(program):
    with pytest.raises(ValueError, match="BPF"):
        bpf.check(np.array(program, np.int64).reshape(-1, 4))


def test_a_wrong_expression_is_one_line(tmp_path):
    path = tmp_path / "x.pcap"
    path.write_bytes(naive.pcap_file([naive.Frame(bytes(60), 60, 1)]))
    with pytest.raises(CaptureError) as caught:
        open_capture(path, filter="tcp prot 80")
    assert str(caught.value).startswith("filter 'tcp prot 80': ")
    assert "\n" not in str(caught.value)


def test_without_libpcap_the_package_is_named(monkeypatch):
    monkeypatch.setattr(filter_module, "_LIBRARIES", ("libpcap.so.none",))
    filter_module._libpcap.cache_clear()
    try:
        with pytest.raises(CaptureError, match=r"libpcap0\.8"):
            filter_module.compile_filter("tcp", 1)
    finally:
        filter_module._libpcap.cache_clear()


def test_each_interface_has_the_program_of_its_link_type():
    ip = bytes.fromhex("4500001c00010000401100000a0000010a000002") + bytes(8)
    ethernet = bytes(12) + b"\x08\x00" + ip
    data = naive.section() + naive.interface() + naive.interface(linktype=101)
    for k, raw in enumerate([ethernet, ip, ethernet[:13] + b"\x06" + ip, b"\x60" + ip[1:]]):
        data += naive.packet(naive.Frame(raw, len(raw), k, port=k % 2))
    found, _ = contents_of(io.BytesIO(data), filter="ip and udp")
    assert [frame.ticks for frame in found.frames] == [0, 1]


def internet_frame(rng):
    scapy = pytest.importorskip("scapy.all")
    addresses = ["10.0.0.1", "10.0.0.2", "192.168.1.7"]
    layer = rng.choice([scapy.IP, scapy.IPv6])
    if layer is scapy.IP:
        network = scapy.IP(src=rng.choice(addresses), dst=rng.choice(addresses), frag=rng.choice([0, 0, 0, 20]))
        if rng.random() < 0.2:
            network.options = [scapy.IPOption(b"\x01" * 4)]
    else:
        network = scapy.IPv6(src="2001:db8::1", dst=rng.choice(["2001:db8::2", "::1"]))
    transport = rng.choice([scapy.TCP, scapy.UDP])(sport=rng.choice([53, 80, 5000]), dport=rng.choice([80, 443, 53]))
    link = scapy.Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    if rng.random() < 0.3:
        link /= scapy.Dot1Q(vlan=rng.choice([5, 6]))
    raw = bytes(link / network / transport / rng.randbytes(rng.randrange(80)))
    return raw[: rng.randrange(len(raw))] if rng.random() < 0.2 else raw


def cooked(raw, linktype):
    """An Ethernet frame with the header of another link type."""
    header = {113: bytes(14) + raw[12:14], 276: raw[12:14] + bytes(18), 101: b""}[linktype]
    return header + raw[14:]


EXPRESSIONS = [
    "tcp port 80", "udp", "host 10.0.0.1 and not port 53", "ip6", "vlan 5 and tcp", "greater 90", "less 70", "ip[0] & 0xf != 5",
    "tcp[tcpflags] & tcp-syn != 0", "net 192.168.0.0/16 or ip6 host 2001:db8::2",
    "ether src 02:00:00:00:00:01 and portrange 50-90",
    "ip[6:2] & 0x1fff != 0", "len % 3 == 1", "ether[len / 2] > 10", "arp", "icmp or not ip",
]  # fmt: skip


@pytest.mark.peer
@pytest.mark.parametrize("linktype", [1, 113, 276, 101])
def test_tcpdump_takes_the_same_frames(tmp_path, linktype):
    if not shutil.which("tcpdump"):
        pytest.skip("tcpdump is not installed")
    rng = random.Random(linktype)
    frames = []
    for k in range(150):
        raw = internet_frame(rng)
        if linktype != 1:
            raw = cooked(raw, linktype)
        frames.append(naive.Frame(raw, len(raw) + rng.choice([0, 0, 30]), k))
    path = tmp_path / "in.pcap"
    path.write_bytes(naive.pcap_file(frames, linktype=linktype))
    compared = 0
    for expression in EXPRESSIONS:
        peer = subprocess.run(
            ["tcpdump", "-r", path, "-w", "-", "--time-stamp-precision=micro", expression], capture_output=True, check=False
        )
        if peer.returncode:
            with pytest.raises(CaptureError):
                open_capture(path, filter=expression)
            continue
        found, _ = contents_of(path, filter=expression)
        assert [f.data for f in found.frames] == [f.data for f in naive.read(peer.stdout).frames], expression
        compared += bool(found.frames) and len(found.frames) < len(frames)
    assert compared > 5
