"""Without a wire: a capture in, over and over, and out into nothing, on one core; beside Open vSwitch with DPDK inside."""

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pktpath.lab.bench.switch_peers import FORWARDER_CPU, GENERATOR_CPU, OpenVSwitch, open_vswitch
from pktpath.lab.bench.switch_process import PeerMissingError
from pktpath.lab.bench.switch_topology import Namespace
from pktpath.lab.bench.switch_traffic import udp_frame

FLOWS = (1, 1_000, 100_000)
RULE = "udp,tp_dst=9,actions=output:2"
"""Looks behind the port: with a rule on in_port alone Open vSwitch takes a way around its caches."""
FEWEST = 1024
"""Frames of the shortest capture: more than a burst, and small enough for a cache."""
CACHED = 8192
"""Most flows that the exact-match cache of Open vSwitch has places for."""
_HUGE_BYTES = 1 << 30
_NR_HUGEPAGES = Path("/proc/sys/vm/nr_hugepages")
_PORT = re.compile(r"^\s*port \d+: (?P<name>\S+).*?TX packets:(?P<packets>\d+)", re.MULTILINE | re.DOTALL)


def write_flows(path: Path, flows: int) -> int:
    """Write a capture of 64-byte UDP frames whose flows take turns; return how many frames it has."""
    count = max(flows, FEWEST)
    with path.open("wb") as file:
        file.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 0xFFFF, 1))
        file.write(b"".join(struct.pack("=IIII", 0, k, 64, 64) + udp_frame(k % flows) for k in range(count)))
    return count


@contextmanager
def huge_pages(need: int = _HUGE_BYTES) -> Iterator[None]:
    """Have so many bytes in huge pages free, and leave the kernel's number of them as it was.

    Raises:
        PeerMissingError: there is not so much memory in one piece, or no permission.

    """
    size, free = (_meminfo(name) for name in ("Hugepagesize", "HugePages_Free"))
    if not size:
        message = "this kernel has no huge pages, which Open vSwitch with DPDK needs"
        raise PeerMissingError(message)
    missing = -(-need // (size << 10)) - free
    if missing <= 0:
        yield
        return
    before = _NR_HUGEPAGES.read_text()
    try:
        try:
            _NR_HUGEPAGES.write_text(str(int(before) + missing))
        except OSError as error:
            message = f"{_NR_HUGEPAGES}: {error.strerror} (run as root, outside of a container)"
            raise PeerMissingError(message) from error
        if _meminfo("HugePages_Free") < free + missing:
            message = f"{need >> 20} MB of huge pages are not to be had: free memory, or reserve them at boot"
            raise PeerMissingError(message)
        yield
    finally:
        with suppress(OSError):
            _NR_HUGEPAGES.write_text(before)


def _meminfo(name: str) -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0


@contextmanager
def ovs_dpdk(space: Namespace, directory: Path, capture: Path, *, emc: bool = True) -> Iterator[OpenVSwitch]:
    """Run Open vSwitch with DPDK: one poll-mode thread takes `capture` in and throws away what goes out.

    Args:
        space: where it runs.
        directory: for its database, sockets and logs.
        capture: what it takes in.
        emc: with its exact-match cache.

    Raises:
        PeerMissingError: it is not installed, or does not start.

    """
    settings = [
        "other_config:dpdk-init=true",
        f"other_config:dpdk-lcore-mask={1 << GENERATOR_CPU:#x}",
        f"other_config:pmd-cpu-mask={1 << FORWARDER_CPU:#x}",
        'other_config:dpdk-extra="--no-pci --in-memory --no-telemetry"',
        *(() if emc else ("other_config:emc-insert-inv-prob=0",)),
    ]
    with open_vswitch(space, directory, settings=settings, dpdk=True) as switch:
        devices = {"out": "net_null1,no-rx=1", "in": f"net_pcap0,rx_pcap={capture},infinite_rx=1"}
        # Frames come when their port is there: by then the table must be.
        switch.ofctl("add-flow", "br0", RULE)
        for name, number in (("out", 2), ("in", 1)):
            options = [f"options:dpdk-devargs={devices[name]}", f"ofport_request={number}"]
            switch.vsctl("add-port", "br0", name, "--", "set", "interface", name, "type=dpdk", *options)
        for name in devices:
            if complaint := switch.vsctl("get", "interface", name, "error").strip().strip('[]"'):
                message = f"ovs-vswitchd-dpdk: {complaint}"
                raise PeerMissingError(message)
        yield switch


def sent(shown: str, port: str) -> int:
    """Return the frames that `port` has sent, out of the text of `dpctl/show -s`.

    Raises:
        PeerMissingError: there is no such port.

    """
    for found in _PORT.finditer(shown):
        if found["name"] == port:
            return int(found["packets"])
    message = f"dpctl/show has no port {port}"
    raise PeerMissingError(message)
