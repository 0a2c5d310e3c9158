"""Through which descriptors a process moves packets, and so which rules concern it.

A TAP device and a packet socket cost a system call a packet, or a batch; AF_XDP and packet rings share memory with the kernel;
vhost-user shares memory with a guest; uverbs, VFIO and UIO are devices that the process drives itself, past the kernel.

Speaks when open files (lsof) or mappings (pmap) of a process show any of these. It is a note; of many processes those with most
such files come first. Silent for processes that have only files, pipes and ordinary sockets.
Sources: lsof(8) TYPE, packet(7), Documentation/networking/tuntap.rst and af_xdp.rst of the kernel, DPDK's Linux guide.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.base import Place
from pktpath.doctor.facts.process import Mapping, OpenFile
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._threads import begin, process_name

_KINDS = (
    ("TAP", re.compile(r"/dev/net/tun")), ("vhost-net", re.compile(r"/dev/vhost-net")),
    ("vhost-user socket", re.compile(r".*/(?:vhost[\w.-]*|[\w.-]*vhost-?user[\w.-]*)(?: type=\w+.*)?$")),
    ("RDMA device", re.compile(r"/dev/infiniband/uverbs")), ("VFIO", re.compile(r"/dev/vfio/")),
    ("UIO", re.compile(r"/dev/uio\d")), ("AF_XDP socket", re.compile(r".*protocol: XDP|.*anon_inode:\[?xsk|socket:.*XDP")),
)  # fmt: skip
_HUGE = re.compile(r"/dev/hugepages|.*rtemap_\d|/mnt/huge|/?memfd:seg_\d")
MOST = 8
"""Processes that are told of."""


@rule(
    OpenFile | Mapping,
    ask="lsof -n -P -p PID",
    well="No process was seen that moves packets past the kernel's sockets.",
    topic="processes",
)
def what_the_process_moves_packets_with(case: Case) -> Iterator[Finding]:
    """One finding a process."""
    found: dict[int, dict[str, dict[str, Place]]] = {}
    huge: dict[int, int] = {}
    for file in case.latest(OpenFile):
        kind = "packet socket" if file.kind == "pack" else _kind(file.name)
        if kind and not file.fd.startswith(("mem", "DEL")):
            found.setdefault(file.pid, {}).setdefault(kind, {})[f"{file.fd}"] = file.at
        elif kind:
            found.setdefault(file.pid, {}).setdefault(kind, {}).setdefault(file.name, file.at)
    for mapping in case.latest(Mapping):
        if kind := _kind(mapping.name):
            found.setdefault(mapping.pid, {}).setdefault(kind, {}).setdefault(mapping.name, mapping.at)
        if _HUGE.match(mapping.name):
            huge[mapping.pid] = huge.get(mapping.pid, 0) + mapping.size
    for pid, kinds in sorted(found.items(), key=lambda item: -sum(map(len, item[1].values())))[:MOST]:
        words = ", ".join(_count(kind, len(places)) for kind, places in kinds.items())
        memory = f", with {huge[pid] / 1048576:.1f} GiB in huge pages" if pid in huge else ""
        who = process_name(case, pid)
        yield Finding(
            severity=Severity.NOTE,
            confidence=Confidence.CERTAIN,
            summary=f"{begin(who)} moves packets through {words}{memory}.",
            evidence=tuple(next(iter(places.values())) for places in kinds.values())[:6],
            why="TAP and packet sockets cost system calls and copies in the kernel; AF_XDP, vhost-user, RDMA, VFIO and UIO "
            "share memory and are polled by the process itself, past the kernel's stack, its offloads and its counters.",
            about=who,
        )


def _count(kind: str, number: int) -> str:
    return f"{number} {kind}" + ("s" if number > 1 and kind not in ("VFIO", "UIO", "vhost-net") else "")


def _kind(name: str) -> str:
    return next((kind for kind, pattern in _KINDS if pattern.match(name)), "")
