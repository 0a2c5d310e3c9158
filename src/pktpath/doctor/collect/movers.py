"""Processes that move packets past or beside the kernel: switches, DPDK programs, capture, virtual machines.

Sources: psutil; unix names of the programs' own threads; proc(5).
"""

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pktpath.doctor.collect.notebook import Notebook
from pktpath.doctor.collect.proc import descriptors, numbers
from pktpath.errors import BadInput

_NAMES = (
    (r"ovs-vswitchd", "Open vSwitch"),
    (r"vpp(_main)?$", "VPP"),
    (r"(dpdk-)?testpmd$|dpdk-l[23]fwd|l[23]fwd|pktgen$|trex|_t-rex", "DPDK program"),
    (r"suricata|[Ss]uricata-Main|snort|zeek$|n2disk|ntopng", "packet inspection"),
    (r"tcpdump$|dumpcap$|tshark$", "capture"),
    (r"qemu|kvm$|cloud-hyper|firecracker", "virtual machine"),
    (r"bess|snabb|fd\.io|openvpn|wireguard-go|tailscaled|slirp4netns|passt|pasta|vhost-user", "userspace networking"),
)
_FDS = (
    ("/dev/vfio/", "VFIO"), ("/dev/uio", "UIO"), ("/dev/net/tun", "tun"), ("/dev/vhost-net", "vhost-net"),
    ("/dev/hugepages", "huge pages"), ("/anon_hugepage", "huge pages"),
)  # fmt: skip
_SOCKETS = {b"PACKET": "packet socket", b"XDP": "XDP socket"}
"""What sockets say of themselves (the extended attribute system.sockprotoname, net/socket.c)."""
_THREADS = re.compile(r"lcore-worker|lcore-slave|rte-worker|eal-intr|pmd-c\d|vpp_wk|dpdk-worker|vhost-\d+$")
_BUDGET = 0.4
"""Seconds of CPU for the search."""


@dataclass(frozen=True, slots=True)
class Mover:
    """A process that moves packets."""

    pid: int
    name: str
    kind: str
    """`Open vSwitch`, `pktpath switch`, `DPDK program`, `packet socket`, …"""
    signs: tuple[str, ...] = ()
    """How it was known, beside its name: `DPDK threads`, `VFIO`, `tun`."""


def find_packet_movers(book: Notebook | None = None) -> list[Mover]:
    """Return what moves packets on this host, those that are meant to first.

    By the names of programs and of their threads, and by what they hold open: /dev/vfio, tun, packet and XDP sockets. On a host
    with very many processes the search stops after some time, and `book` is told.
    """
    import psutil

    began = time.process_time()
    found: list[Mover] = []
    processes = list(psutil.process_iter(["pid", "name", "cmdline"]))
    own = os.getpid()
    for number, process in enumerate(processes):
        if process.pid == own:
            continue
        name, words = process.info["name"] or "", process.info["cmdline"] or []
        kind = _kind(name, words)
        late = time.process_time() - began > _BUDGET
        if late and book is not None:
            book.lacks(f"open files of {len(processes) - number} processes", "too many of them; only their names were read")
            book = None
        # Threads of the kernel have no command.
        signs = () if late or not words else _signs(process.pid)
        if kind == "Open vSwitch" and _is_monitor(words):
            continue
        if not kind and "DPDK threads" in signs:
            kind = "DPDK program"
        if not kind and "packet socket" in signs:
            kind = "packet socket"
        if not kind and ("XDP socket" in signs or "VFIO" in signs or "tun" in signs):
            kind = "userspace networking"
        if kind:
            found.append(Mover(process.pid, name, kind, signs))
    order = ["Open vSwitch", "pktpath switch", "VPP", "DPDK program"]
    return sorted(found, key=lambda mover: (order.index(mover.kind) if mover.kind in order else len(order), mover.pid))


def _kind(name: str, words: list[str]) -> str:
    for pattern, kind in _NAMES:
        if re.match(pattern, name):
            return kind
    line = " ".join(words[:8])
    return "pktpath switch" if re.search(r"\bpktpath(\s|/__main__\.py\s).*\bswitch run\b", line) else ""


def _is_monitor(words: list[str]) -> bool:
    return "monitoring pid" in " ".join(words)


def _signs(pid: int) -> tuple[str, ...]:
    signs = set()
    try:
        for tid in numbers(f"/proc/{pid}/task")[:256]:
            if _THREADS.match(Path(f"/proc/{pid}/task/{tid}/comm").read_text(errors="replace")):
                signs.add("DPDK threads")
                break
        for fd, target in descriptors(pid, 4096):
            if target.startswith("socket:["):
                family = os.getxattr(f"/proc/{pid}/fd/{fd}", "system.sockprotoname").rstrip(b"\0")
                signs |= {_SOCKETS[family]} if family in _SOCKETS else set()
            else:
                signs |= {sign for begin, sign in _FDS if target.startswith(begin)}
    except OSError:
        # It ended, or its files are not ours to see: its name still counts.
        pass
    return tuple(sorted(signs))


def process_named(name: str) -> int:
    """Return the process of a name.

    Raises:
        BadInput: there is none, or there are several.

    """
    import psutil

    found: list[Any] = []
    for process in psutil.process_iter(["pid", "name", "cmdline"]):
        words = process.info["cmdline"] or []
        names = {process.info["name"] or "", Path(words[0]).name if words else ""}
        # The kernel keeps fifteen letters of a name.
        if (name in names or (len(name) > 15 and name[:15] in names)) and process.pid != os.getpid() and not _is_monitor(words):
            found.append(process)
    if not found:
        message = f"{name}: no process has this name"
        raise BadInput(message)
    if len(found) > 1:
        pids = ", ".join(str(process.pid) for process in found[:8]) + (" …" if len(found) > 8 else "")
        message = f"{name}: {len(found)} processes have this name ({pids}); choose one with --pid"
        raise BadInput(message)
    return int(found[0].pid)
