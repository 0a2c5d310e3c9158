"""The host: what it counts, twice some seconds apart, and what is switched.

Sources: proc(5), Documentation/networking/scaling.rst (/sys/class/net/…/queues), ip-link(8), tc(8), ethtool(8).
"""

import os
import platform
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pktpath.doctor.case import Case
from pktpath.doctor.collect.device import choose, device_counters, device_settings
from pktpath.doctor.collect.kernel_log import kernel_log
from pktpath.doctor.collect.notebook import Notebook
from pktpath.errors import BadInput

_COUNTERS = ("/proc/net/softnet_stat", "/proc/interrupts", "/proc/softirqs", "/proc/stat")
"""Of the machine."""
_OF_NETWORK = ("/proc/net/snmp", "/proc/net/netstat", "/proc/net/snmp6")
"""Of each network namespace."""
_OPTIONAL = frozenset({"/proc/net/snmp6"})
"""A kernel may have been built or started without them."""
_SYSCTLS = (
    "net.core.*", "net.ipv4.ip_forward", "net.ipv4.ip_local_port_range", "net.ipv4.ip_no_pmtu_disc", "net.ipv4.ip_early_demux",
    "net.ipv4.tcp_*mem", "net.ipv4.udp_*mem*", "net.ipv4.tcp_congestion_control", "net.ipv4.tcp_ecn", "net.ipv4.tcp_mtu_probing",
    "net.ipv4.tcp_window_scaling", "net.ipv4.tcp_timestamps", "net.ipv4.tcp_sack", "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_max_syn_backlog", "net.ipv4.tcp_tw_reuse", "net.ipv4.tcp_slow_start_after_idle", "net.ipv4.tcp_early_demux",
    "net.ipv4.tcp_limit_output_bytes", "net.ipv4.tcp_notsent_lowat", "net.ipv4.conf.all.rp_filter",
    "net.ipv4.conf.all.forwarding",
    "net.ipv6.conf.all.forwarding", "net.netfilter.nf_conntrack_max", "net.netfilter.nf_conntrack_count",
    "net.netfilter.nf_conntrack_buckets", "net.bridge.bridge-nf-call-*", "vm.nr_hugepages", "kernel.numa_balancing",
    "kernel.sched_rt_runtime_us",
)  # fmt: skip
_MOST_FILES = 4096
"""Files of /sys that are read: some 50 ms."""


class HostLook:
    """A look at the host in two halves: counters at the beginning, counters and settings at the end."""

    def __init__(self, book: Notebook, devices: Sequence[str] = ()) -> None:
        """Choose the devices to ask.

        Raises:
            BadInput: there is no such device in this network namespace.

        """
        self._book = book
        here = [name for _, name in socket.if_nameindex()]
        for name in devices:
            if name not in here:
                message = f"{name}: no such device in this network namespace; there are: {', '.join(here[:8])}"
                raise BadInput(message + (f" and {len(here) - 8} more" if len(here) > 8 else ""))
        self.devices = choose(book, here, devices)

    def first(self) -> None:
        """Read the counters."""
        self._book.progress("reading counters of the host")
        self._count()

    def last(self) -> None:
        """Read the counters again, then what does not change by itself."""
        self._book.progress("reading counters of the host again")
        self._count()
        self._book.progress(f"reading settings of {len(self.devices)} devices")
        self._settle()

    def _count(self) -> None:
        for path in _COUNTERS:
            self._book.file(path, changing=True)
        count_network(self._book, self.devices)

    def _settle(self) -> None:
        book = self._book
        system = platform.uname()
        book.keep("uname -a", f"{system.system} {system.node} {system.release} {system.version} {system.machine} GNU/Linux\n")
        settle_network(book, self.devices)
        book.file("/proc/cmdline")
        values(book, _steering(self.devices), "/sys/class/net/*/queues/*/*ps_*", "receive and transmit steering (/sys/class/net)")
        values(book, _match("/proc/irq", "*/*affinity_list"), "/proc/irq/*/*affinity_list", "CPUs of interrupts (/proc/irq)")
        book.tool(["lscpu"], "NUMA nodes")
        kernel_log(book)


def count_network(book: Notebook, devices: Sequence[str]) -> None:
    """Take down what a network namespace counts."""
    for path in _OF_NETWORK:
        if path not in _OPTIONAL or Path(path).exists():
            book.file(path, changing=True)
    book.tool(["ip", "-s", "-d", "link"], "links and their counters", changing=True)
    book.tool(["tc", "-s", "qdisc"], "queueing disciplines", changing=True)
    device_counters(book, devices)


def settle_network(book: Notebook, devices: Sequence[str]) -> None:
    """Take down the settings of a network namespace."""
    device_settings(book, devices)
    book.keep("sysctl -a", _sysctls())


def values(book: Notebook, paths: Sequence[str], pattern: str, what: str) -> None:
    """Take down small files, a line each, as `grep -H .` prints them."""
    rows = []
    for path in paths[:_MOST_FILES]:
        try:
            rows += [f"{path}:{line}" for line in Path(path).read_text(errors="replace").splitlines() if line]
        except OSError:
            # One that came and went, or a queue that has no such thing (ENOENT): nothing is said of it.
            continue
    if len(paths) > _MOST_FILES:
        book.lacks(f"{len(paths) - _MOST_FILES} of {len(paths)} files: {what}", f"more than {_MOST_FILES}", "name a few devices")
    if rows:
        book.keep(f"grep -H . {pattern}", "\n".join(rows) + "\n")
    else:
        book.lacks(what, "not shown here (another network namespace's /sys, or a kernel without it)")


def _steering(devices: Sequence[str]) -> list[str]:
    found = []
    for name in devices:
        # /sys may be that of another network namespace, whose devices may have the same names.
        try:
            same = Path(f"/sys/class/net/{name}/ifindex").read_text().strip() == str(socket.if_nametoindex(name))
        except OSError:
            continue
        if same:
            found += _match(f"/sys/class/net/{name}/queues", "*/[rx]ps_[cf]*")
            found += [path for path in (f"/sys/class/net/{name}/device/numa_node",) if os.path.exists(path)]  # noqa: PTH110
    return found


def _match(folder: str, pattern: str) -> list[str]:
    try:
        return sorted(str(path) for path in Path(folder).glob(pattern))
    except OSError:
        return []


def _sysctls() -> str:
    rows = []
    for pattern in _SYSCTLS:
        for path in _match("/proc/sys", pattern.replace(".", "/")):
            if path.endswith("_key"):
                # Hash keys are nobody's business.
                continue
            try:
                value = " ".join(Path(path).read_text(errors="replace").split())
            except OSError:
                continue
            rows.append(f"{path.removeprefix('/proc/sys/').replace('/', '.')} = {value}")
    return "\n".join(rows) + "\n"


def look_at_host(*, interval: float = 2.0, devices: Sequence[str] = (), progress: Callable[[str], None] = lambda _: None) -> Case:
    """Look at the counters of this host twice, and once at its settings.

    Args:
        interval: seconds between.
        devices: whose features, rings, … to read; without, of all, the important ones first.
        progress: gets a line about each step.

    Raises:
        BadInput: no such device.

    """
    book = Notebook(progress)
    host = HostLook(book, devices)
    host.first()
    time.sleep(interval)
    host.last()
    facts = list(book.facts())
    return Case(facts, book.missing, live=True)
