"""A private Open vSwitch whose ports are made up: frames go in and come out as text and captures, nothing touches the system."""

import contextlib
import os
import shutil
import struct
import subprocess
import time
from pathlib import Path

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
PROGRAMS = ("ovsdb-server", "ovsdb-tool", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl", "ovs-appctl")
PATIENCE = 20


def missing():
    """Say what is missing to start one, or None."""
    path = os.environ["PATH"] + ":/usr/sbin"
    absent = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    return f"{absent[0]} is missing: apt-get install openvswitch-switch" if absent or not SCHEMA.exists() else None


class DummySwitch:
    """Bridge br0 with ports p1 and p2; what leaves by p2 is written to a capture."""

    def __init__(self, directory):
        self.directory = directory
        self.environment = (
            os.environ
            | {
                "PATH": os.environ["PATH"] + ":/usr/sbin",
            }
            | {f"OVS_{name}DIR": str(directory) for name in ("RUN", "LOG", "DB", "SYSCONF")}
        )
        self.capture = directory / "p2.pcap"
        self.seen = 0

    def run(self, *words, stdin=None):
        return subprocess.run(
            words, env=self.environment, input=stdin, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    def start(self, stack):
        directory, database = self.directory, self.directory / "conf.db"
        self.run("ovsdb-tool", "create", str(database), str(SCHEMA))
        socket = f"unix:{directory}/db.sock"
        server = ["ovsdb-server", str(database), f"--remote=punix:{directory}/db.sock"]
        daemon = ["ovs-vswitchd", "--enable-dummy", "--disable-system", socket]
        for words in (server, daemon):
            process = subprocess.Popen(
                [*words, f"--unixctl={directory}/{words[0]}.ctl", "-vconsole:off"], env=self.environment,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            stack.callback(end, process)
            wait_for(directory / f"{words[0]}.ctl")
            if words is server:
                self.vsctl("--no-wait", "init")
        ports = [
            word
            for port in ("p1", "p2")
            for word in ("--", "add-port", "br0", port, "--", "set", "interface", port, "type=dummy")
        ]
        self.vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath-type=dummy", "fail-mode=secure", *ports)
        self.vsctl("set", "interface", "p1", "ofport_request=1", "--", "set", "interface", "p2", "ofport_request=2",
                   f"options:tx_pcap={self.capture}")  # fmt: skip
        wait_for(self.capture)

    def vsctl(self, *words):
        self.run("ovs-vsctl", f"--db=unix:{self.directory}/db.sock", *words)

    def appctl(self, *words):
        return self.run("ovs-appctl", f"--target={self.directory}/ovs-vswitchd.ctl", *words)

    def flows(self, *lines):
        """Replace the flow table."""
        self.run(
            "ovs-ofctl",
            "-O",
            "OpenFlow13",
            "replace-flows",
            f"unix:{self.directory}/br0.mgmt",
            "-",
            stdin="\n".join(lines) + "\n",
        )
        # Else frames that come at once may still meet megaflows of the table before.
        self.appctl("revalidator/purge")

    def send(self, frames):
        """Send frames into p1 and return those that have left by p2."""
        # A made-up port holds a hundred frames at most.
        out = []
        for first in range(0, len(frames), 50):
            some = frames[first : first + 50]
            self.appctl("netdev-dummy/receive", "p1", *(frame.hex() for frame in some))
            limit = time.monotonic() + PATIENCE
            while len(new := captured(self.capture)[self.seen :]) < len(some) and time.monotonic() < limit:
                time.sleep(0.005)
            self.seen += len(new)
            out += new
        return out

    def flow_of(self, frame):
        """Return the flow, as text, that the daemon extracts from a frame."""
        for line in self.appctl("ofproto/trace", "br0", "in_port=1", frame.hex()).splitlines():
            if line.startswith("Flow: "):
                return line.removeprefix("Flow: ")
        raise AssertionError(frame.hex())


def captured(path):
    """Return the whole frames of a capture that is being written."""
    data, at, frames = path.read_bytes(), 24, []
    while at + 16 <= len(data):
        length = struct.unpack_from("<I", data, at + 8)[0]
        if at + 16 + length > len(data):
            break
        frames.append(data[at + 16 : at + 16 + length])
        at += 16 + length
    return frames


def wait_for(path):
    limit = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < limit, f"{path} does not appear"
        time.sleep(0.02)


def end(process):
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE)
    process.kill()
    process.wait()


@contextlib.contextmanager
def dummy_switch(directory):
    """Run one in a directory whose path is short enough for sockets."""
    with contextlib.ExitStack() as stack:
        switch = DummySwitch(directory)
        switch.start(stack)
        yield switch
