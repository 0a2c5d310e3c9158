"""A switch as its users start it, a process of its own, between network namespaces of a test.

ends[0] eth0 ── p1   ends[1] eth0 ── p2 …   all pN in the namespace `space` of the switch
"""

import contextlib
import ctypes
import hashlib
import itertools
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count()
_TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE = 300.0
"""Seconds that a start may take: the first one compiles."""


def run(*words: str, check: bool = True) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def inside(space: str, *words: str, check: bool = True) -> str:
    """Run a command in a namespace and return what it printed."""
    return run("ip", "netns", "exec", space, *words, check=check)


@contextlib.contextmanager
def entered(space: str) -> Iterator[None]:
    """Be in a namespace: sockets that this thread makes here belong to it, whoever uses them later."""
    home, there = os.open("/proc/thread-self/ns/net", os.O_RDONLY), os.open(f"/run/netns/{space}", os.O_RDONLY)
    try:
        assert _libc.setns(there, _NEWNET) == 0
        yield
    finally:
        assert _libc.setns(home, _NEWNET) == 0
        os.close(home)
        os.close(there)


def socket_in(space: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
    with entered(space):
        return socket.socket(family, kind, protocol)


class Net:
    """The namespaces: one of the switch, and the ends that talk through it."""

    def __init__(self, ends: int, *, mtu: int = 1500, queues: int = 1) -> None:
        serial = f"pp-nst-{os.getpid()}-{next(_numbers)}"
        self.space = serial
        self.ends = [f"{serial}-{number}" for number in range(1, ends + 1)]
        self.mtu, self.queues = mtu, queues

    def __enter__(self) -> Self:
        for space in (self.space, *self.ends):
            run("ip", "netns", "add", space)
            inside(space, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.default.accept_ra=0")
            run("ip", "-n", space, "link", "set", "lo", "up")
        inside(self.space, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
        for number in range(1, len(self.ends) + 1):
            self.plug(number)
        return self

    def __exit__(self, *_: object) -> None:
        for space in (*self.ends, self.space):
            run("ip", "netns", "del", space, check=False)

    def plug(self, number: int) -> None:
        """Make the link pN ── eth0 of an end, with its addresses."""
        end, mtu = self.ends[number - 1], str(self.mtu)
        run("ip", "-n", self.space, "link", "add", f"p{number}", "mtu", mtu, "type", "veth",
            "peer", "name", "eth0", "mtu", mtu, "netns", end)  # fmt: skip
        run("ip", "-n", self.space, "link", "set", f"p{number}", "up")
        self.address(number)

    def address(self, number: int, device: str = "eth0") -> None:
        """Give an end its addresses and neighbours that never change."""
        end = self.ends[number - 1]
        run("ip", "-n", end, "link", "set", device, "address", f"02:00:00:00:00:0{number}")
        run("ip", "-n", end, "link", "set", device, "up")
        run("ip", "-n", end, "address", "replace", f"10.9.0.{number}/24", "dev", device)
        run("ip", "-n", end, "address", "replace", f"fd09::{number}/64", "dev", device)

    def unplug(self, number: int) -> None:
        run("ip", "-n", self.space, "link", "del", f"p{number}")

    def offload(self, number: int, *words: str) -> None:
        """Switch features of an end's interface: `ethtool -K`."""
        inside(self.ends[number - 1], "ethtool", "-K", "eth0", *words)

    def offload_near(self, number: int, *words: str) -> None:
        """The same for the interface that the switch has."""
        inside(self.space, "ethtool", "-K", f"p{number}", *words)

    def ping(self, source: int, target: str, *words: str) -> bool:
        text = inside(self.ends[source - 1], "ping", "-c", "3", "-i", "0.05", "-W", "2", *words, target, check=False)
        return " 0% packet loss" in text

    def transfer(self, source: int, target: int, *, family: int = 4, size: int = 2 << 20) -> float:
        """Send bytes by TCP and compare what comes out; return seconds. One end asks, the other answers: both ways carry data."""
        kind = socket.AF_INET if family == 4 else socket.AF_INET6
        address = f"10.9.0.{target}" if family == 4 else f"fd09::{target}"
        data = hashlib.shake_256(f"{source}{target}{family}".encode()).digest(size // 8) * 8
        listener = socket_in(self.ends[target - 1], kind, socket.SOCK_STREAM)
        listener.settimeout(10)
        client = socket_in(self.ends[source - 1], kind, socket.SOCK_STREAM)
        client.settimeout(10)
        accepted: list[socket.socket] = []
        with listener, client, contextlib.ExitStack() as stack:
            listener.bind(("", 0) if family == 4 else ("::", 0))
            listener.listen(1)
            client.connect((address, listener.getsockname()[1]))
            accepted.append(stack.enter_context(listener.accept()[0]))
            accepted[0].settimeout(10)
            begin = time.monotonic()
            faults: list[BaseException] = []

            def send() -> None:
                try:
                    client.sendall(data)
                    client.shutdown(socket.SHUT_WR)
                except OSError as error:
                    faults.append(error)

            thread = threading.Thread(target=send)
            thread.start()
            digest, got = hashlib.sha256(), 0
            while piece := accepted[0].recv(1 << 18):
                digest.update(piece)
                got += len(piece)
            thread.join()
            assert not faults, faults
            assert (got, digest.digest()) == (size, hashlib.sha256(data).digest())
            accepted[0].sendall(data[: 1 << 16])
            back = b""
            while len(back) < 1 << 16:
                back += client.recv(1 << 16)
            assert back == data[: 1 << 16]
            return time.monotonic() - begin


class Running:
    """A switch that runs."""

    def __init__(self, directory: Path, text: str, *, space: str | None = None, name: str = "s") -> None:
        """Start it from a configuration; `{head}` in it becomes [switch] with directories of its own."""
        directory.mkdir(exist_ok=True)
        self.directory, self.name, self.space = directory, name, space
        self.file = directory / "s.toml"
        self.write(text)
        self.log_file = directory / "log"
        self.control = str(directory / "run" / f"{name}.ctl")
        self.process: subprocess.Popen[bytes]

    def write(self, text: str) -> None:
        head = f'[switch]\nname = "{self.name}"\nrun_dir = "{self.directory}/run"\nstate_dir = "{self.directory}/state"\n'
        self.file.write_text(text.replace("{head}", head))

    def start(self) -> Self:
        before = self.log.count(" runs with ")
        prefix = ["ip", "netns", "exec", self.space] if self.space else []
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "pktpath", "switch", "run", str(self.file)], stdout=log, stderr=log
            )
        until(lambda: self.process.poll() is not None or self.log.count(" runs with ") > before, PATIENCE)
        assert self.process.poll() is None, self.log
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    @property
    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self, number: int = signal.SIGTERM) -> str:
        """End it in order and return its log."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> str:
        """Wait for an orderly end and return the log."""
        assert self.process.wait(20) == 0, self.log
        assert "fault of pktpath's own" not in self.log, self.log
        return self.log

    @property
    def environment(self) -> dict[str, str]:
        """For commands that shall find this switch."""
        return {**os.environ, "PKTPATH_SOCKET": self.control}

    def appctl(self, *words: str) -> str:
        """Ask as Open vSwitch's own tool does."""
        return run("ovs-appctl", "-t", self.control, *words)

    def pktpath(self, *words: str, check: bool = True) -> str:
        """Ask as pktpath does."""
        done = subprocess.run(
            [sys.executable, "-m", "pktpath", *words],
            capture_output=True, text=True, check=False, env=self.environment, timeout=30,
        )  # fmt: skip
        assert done.returncode == 0 or not check, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def status(self) -> dict[str, Any]:
        return json.loads(self.appctl("switch/status"))

    def states(self) -> dict[str, str]:
        return {port["name"]: port["state"] for port in self.status()["ports"]}

    def counters(self) -> dict[str, dict[str, int]]:
        """Counters of all ports, from dpctl/show -s."""
        found: dict[str, dict[str, int]] = {}
        name = ""
        for line in self.appctl("dpctl/show", "-s").splitlines():
            if port := re.match(r"\s+port \d+: (\S+)", line):
                name = port[1]
                found[name] = {}
            elif name:
                for side, words in re.findall(r"(RX|TX) ([^RT]*)", line):
                    for word, value in re.findall(r"(\w+):(\d+)", words):
                        found[name][f"{side.lower()}_{word}"] = int(value)
        return found

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        words = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / _TICKS

    def share(self, seconds: float) -> float:
        """Share of a CPU that it takes now."""
        before = self.cpu()
        time.sleep(seconds)
        return (self.cpu() - before) / seconds

    def memory(self) -> int:
        """Resident bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * 4096

    def files(self) -> int:
        """Return how many descriptors are open, but for connections that are about to close."""
        counts = []
        for _ in range(20):
            counts.append(len(list(Path(f"/proc/{self.pid}/fd").iterdir())))
            time.sleep(0.03)
        return min(counts)


def until(condition: Any, seconds: float = 10.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def capture(path: Path, count: int = 512) -> None:
    """Write a capture of datagrams of some flows."""
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)]
    for number in range(count):
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 46, number, 0, 64, 17, 0, bytes([10, 0, 0, number & 63]), bytes([10, 0, 1, 1]))
        ip = ip[:10] + struct.pack("!H", ~(sum(struct.unpack("!10H", ip)) % 0xFFFF) & 0xFFFF) + ip[12:]
        frame = bytes.fromhex("020000000002 020000000001 0800") + ip + struct.pack("!HHHH", 1000 + number, 9, 26, 0) + bytes(18)
        out.append(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)
    path.write_bytes(b"".join(out))
