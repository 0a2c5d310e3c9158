"""The peers between two namespaces: Open vSwitch's userspace datapath, the kernel's bridge, DPDK's testpmd.

Each is a context manager that is forwarding between the two devices of the box when it yields, and yields the programs
that are to stand still while it is not its turn.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pktpath.errors import Refused
from pktpath.lab.bench.switch_process import Daemon, PeerMissingError, program, run, started
from pktpath.lab.bench.switch_topology import IN_DEVICE, OUT_DEVICE, Namespace, Topology

FORWARDER_CPU = 1
GENERATOR_CPU = 0

Forwarder = Callable[[Topology, str], AbstractContextManager[Sequence[Daemon]]]
"""Takes where to forward and the cores that it may use (empty: all)."""


@contextmanager
def bridge(place: Topology, cpus: str) -> Iterator[Sequence[Daemon]]:
    """Join the devices by the kernel's bridge."""
    box = place.box
    box.run("ip", "link", "add", "br0", "type", "bridge")
    for device in (IN_DEVICE, OUT_DEVICE):
        box.run("ip", "link", "set", device, "master", "br0")
    box.run("ip", "link", "set", "br0", "up")
    yield ()


@dataclass(frozen=True)
class OpenVSwitch:
    """A running Open vSwitch of one's own."""

    daemons: tuple[Daemon, Daemon]
    """ovsdb-server, ovs-vswitchd."""
    directory: Path
    space: Namespace

    @property
    def env(self) -> dict[str, str]:
        """What makes Open vSwitch's programs talk to this one, and to no other."""
        return environment(self.directory)

    def vsctl(self, *words: str) -> str:
        """Run ovs-vsctl."""
        return run(["ovs-vsctl", f"--db=unix:{self.directory}/db.sock", "--timeout=20", *words], seconds=25, env=self.env)

    def ofctl(self, *words: str, given: str | None = None) -> str:
        """Run ovs-ofctl."""
        return run(["ovs-ofctl", *words], env=self.env, given=given)

    def appctl(self, *words: str) -> str:
        """Run ovs-appctl on the switch."""
        return run(["ovs-appctl", "--target", str(self.directory / "vswitchd.ctl"), *words], env=self.env)


def environment(directory: Path) -> dict[str, str]:
    """Return the variables that keep Open vSwitch inside a directory."""
    return {f"OVS_{name}": str(directory) for name in ("RUNDIR", "DBDIR", "LOGDIR", "SYSCONFDIR")}


@contextmanager
def open_vswitch(
    space: Namespace, directory: Path, *, cpus: str = "", settings: Sequence[str] = (), dpdk: bool = False
) -> Iterator[OpenVSwitch]:
    """Run an Open vSwitch with its own database and sockets, without a bridge.

    Args:
        space: where its devices are.
        directory: for its database, sockets and logs.
        cpus: the cores that ovs-vswitchd may use.
        settings: columns of its Open_vSwitch row, such as `other_config:userspace-tso-enable=true`.
        dpdk: run the one that has DPDK inside.

    Raises:
        PeerMissingError: it is not installed or does not start.

    """
    server = program("ovsdb-server", "openvswitch-switch")
    tool = program("ovsdb-tool", "openvswitch-common")
    if dpdk:
        binary = program("ovs-vswitchd-dpdk", "openvswitch-switch-dpdk", path=DPDK_SWITCH)
    else:
        plain = "/usr/lib/openvswitch-switch/ovs-vswitchd"
        binary = program("ovs-vswitchd", "openvswitch-switch", path=plain if os.access(plain, os.X_OK) else None)
    directory.mkdir(mode=0o700, exist_ok=True)
    # DPDK's own files: RUNTIME_DIRECTORY.
    env, database = environment(directory) | {"RUNTIME_DIRECTORY": str(directory)}, directory / "conf.db"
    run([tool, "create", database, "/usr/share/openvswitch/vswitch.ovsschema"])
    with ExitStack() as stack:
        words: list[str | Path] = [server, database, f"--remote=punix:{directory}/db.sock", f"--unixctl={directory}/ovsdb.ctl"]
        base = stack.enter_context(started(words, directory / "ovsdb.log", env=env))
        base.wait_until((directory / "db.sock").exists, "ovsdb-server")
        vsctl = ["ovs-vsctl", "--no-wait", f"--db=unix:{directory}/db.sock"]
        run([*vsctl, "init"], env=env)
        if settings:
            run([*vsctl, "set", "Open_vSwitch", ".", *settings], env=env)
        words = [binary, f"unix:{directory}/db.sock", f"--unixctl={directory}/vswitchd.ctl", "-vconsole:warn"]
        switch = stack.enter_context(started(space.words(*words), directory / "vswitchd.log", cpus=cpus, env=env))
        switch.wait_until((directory / "vswitchd.ctl").exists, "ovs-vswitchd", seconds=30)
        made = OpenVSwitch((base, switch), directory, space)
        # The first bridge is there when the switch has read its database, and DPDK has begun.
        add = ["add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev", "fail_mode=secure"]
        try:
            made.vsctl(*add)
        except Refused as error:
            message = f"ovs-vswitchd: {error}"
            raise PeerMissingError(message) from error
        yield made


DPDK_SWITCH = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"


def ovs(
    flows: Sequence[str] = ("actions=NORMAL",),
    *,
    groups: Sequence[str] = (),
    tso: bool = False,
    seen: Callable[[OpenVSwitch], None] | None = None,
) -> Forwarder:
    """Return a forwarder: Open vSwitch's userspace datapath on AF_PACKET.

    Args:
        flows: the flow table; ports are 1 and 2.
        groups: the group table.
        tso: with userspace-tso-enable.
        seen: called with the running switch.

    """

    @contextmanager
    def forward(place: Topology, cpus: str) -> Iterator[Sequence[Daemon]]:
        settings = ["other_config:userspace-tso-enable=true"] if tso else []
        with open_vswitch(place.box, place.directory / "ovs", cpus=cpus, settings=settings) as switch:
            for number, device in enumerate((IN_DEVICE, OUT_DEVICE), start=1):
                switch.vsctl("add-port", "br0", device, "--", "set", "interface", device, f"ofport_request={number}")
            for group in groups:
                switch.ofctl("--protocols=OpenFlow15", "add-group", "br0", group)
            switch.ofctl("add-flows", "br0", "-", given="\n".join(flows) + "\n")
            if seen is not None:
                seen(switch)
            yield switch.daemons

    return forward


def testpmd(driver: str) -> Forwarder:
    """Return a forwarder: DPDK's testpmd that hands frames from one device to the other, with `af_packet` or `af_xdp`.

    It polls, so it needs a core of its own and one for its main thread, which sleeps.
    """

    @contextmanager
    def forward(place: Topology, cpus: str) -> Iterator[Sequence[Daemon]]:
        binary = program("dpdk-testpmd", "dpdk")
        devices = [f"--vdev=net_{driver}{k},iface={device}" for k, device in enumerate((IN_DEVICE, OUT_DEVICE))]
        eal = ["--no-huge", "-m", "512", "--no-pci", "--no-shconf", "--no-telemetry", "--file-prefix=pp-bench"]
        cores = [f"--lcores=0@{GENERATOR_CPU},1@{FORWARDER_CPU}", "--main-lcore=0"]
        words = [
            "stdbuf",
            "--output=L",
            binary,
            *eal,
            *cores,
            *devices,
            "--",
            "--forward-mode=io",
            "--auto-start",
            "--total-num-mbufs=32768",
        ]
        env = {"RUNTIME_DIRECTORY": str(place.directory)}
        with started(place.box.words(*words), place.directory / f"testpmd-{driver}.log", env=env) as daemon:
            daemon.wait_until(lambda: "nb forwarding cores" in daemon.log(), f"testpmd {driver}", seconds=20)
            yield (daemon,)

    return forward


def upcalls(switch: OpenVSwitch) -> int:
    """Return how many frames the tables were asked about."""
    return counted(switch.appctl("dpif-netdev/pmd-stats-show"), "miss with success upcall")


def counted(shown: str, name: str) -> int:
    """Return a counter out of the text of `dpif-netdev/pmd-stats-show`, summed over its threads."""
    lines = (line.partition(":") for line in shown.splitlines())
    return sum(int(value) for key, _, value in lines if key.strip() == name)


def versions() -> str:
    """Return the peers' versions in one line, without those that are not there."""
    found = []
    for words, pattern in (
        (["ovs-vswitchd", "--version"], r"Open vSwitch\)? (\S+)"),
        ([DPDK_SWITCH, "--version"], r"(DPDK \S+)"),
        (["iperf3", "--version"], r"(iperf \S+)"),
    ):
        try:
            answer = re.search(pattern, run(words))
        except (OSError, Refused):
            continue
        if answer:
            found.append(answer[1] if " " in answer[1] else f"Open vSwitch {answer[1]}")
    return ", ".join(found) or "no peers"
