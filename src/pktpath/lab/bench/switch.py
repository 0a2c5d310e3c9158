"""Forwarding between two namespaces, and in memory: pktpath's switch beside Open vSwitch, the bridge and testpmd.

Each contender has namespaces and veths of its own, is started once for a case, and stands still (SIGSTOP) while it is
another's turn. Turns are short and follow each other, so that a busy machine disturbs all alike; the median counts.
"""

import os
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pktpath.errors import Refused
from pktpath.lab.bench import switch_memory as memory
from pktpath.lab.bench.common import CONDITIONS, Row
from pktpath.lab.bench.switch_peers import FORWARDER_CPU, GENERATOR_CPU, OpenVSwitch, bridge, ovs, testpmd, upcalls
from pktpath.lab.bench.switch_pktpath import START, Setting, Switch, pktpath, switch
from pktpath.lab.bench.switch_process import Daemon, PeerMissingError, program
from pktpath.lab.bench.switch_topology import Topology, namespace, topology
from pktpath.lab.bench.switch_traffic import new_flows, rate, round_trip, small_frames, tcp, tcp_server

PKTPATH = "pktpath"
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Effort:
    """How long it takes."""

    turns: int = 5
    """Measurements of each contender; the median counts."""
    seconds: float = 1.0
    """Length of each."""


FULL, QUICK = Effort(), Effort(turns=2, seconds=0.5)


@dataclass
class Result:
    """What one contender did."""

    values: list[float] = field(default_factory=list)
    missing: str = ""
    """Why there are no values."""

    @property
    def median(self) -> float | None:
        """The figure, None where the contender is missing."""
        return statistics.median(self.values) if self.values else None


Sides = Mapping[str, Callable[[ExitStack, Path], tuple[Callable[[], float], Sequence[Daemon]]]]
"""By name, what starts a contender: returns how to measure it once, and what is to stand still meanwhile."""


def compete(sides: Sides, effort: Effort, tell: Tell, case: str) -> dict[str, Result]:
    """Start all, let them take turns, end all; a contender that fails has a reason instead of values."""
    results = {name: Result() for name in sides}
    with tempfile.TemporaryDirectory(prefix="pp-bench-") as directory, ExitStack() as stack:
        running: dict[str, tuple[Callable[[], float], Sequence[Daemon]]] = {}
        for number, (name, start) in enumerate(sides.items()):
            tell(f"{case}: starting {name}")
            # What a failed start has begun is ended at once.
            with ExitStack() as own:
                try:
                    running[name] = start(own, Path(directory) / str(number))
                except (PeerMissingError, Refused) as error:
                    results[name].missing = f"{name}: {error}"
                    continue
                stack.push(own.pop_all())
            for daemon in running[name][1]:
                daemon.pause()
        for turn in range(effort.turns):
            tell(f"{case}: turn {turn + 1} of {effort.turns}")
            for name, (measure, daemons) in running.items():
                if results[name].missing:
                    continue
                for daemon in daemons:
                    daemon.resume()
                try:
                    results[name].values.append(measure())
                except (PeerMissingError, Refused) as error:
                    results[name] = Result(missing=f"{name}: {error}")
                for daemon in daemons:
                    daemon.pause()
    return results


def rows_of(
    case: str, results: Mapping[str, Result], goals: Mapping[str, float | None], *, ours: str, unit: str, conditions: str
) -> list[Row]:
    """Return a row for each peer in `goals`, whose values are what the ratio shall reach, if anything."""
    found = []
    for name, goal in goals.items():
        mine, peer = results[ours], results[name]
        spread = {
            f"{side} range": f"{min(of.values):.3g}-{max(of.values):.3g}"
            for side, of in (("pktpath", mine), ("peer", peer))
            if of.values
        }
        note = "; ".join(why for why in (mine.missing, peer.missing) if why)
        found.append(
            Row(f"{case}, beside {name}", mine.median, peer.median, unit, goal, {**spread, CONDITIONS: conditions}, note)
        )
    return found


def _through(
    forward: Any,
    measure: Callable[[Topology], float],
    *,
    cpus: str = "",
    prepare: Callable[[Topology], None] | None = None,
    server: bool = False,
) -> Callable[[ExitStack, Path], tuple[Callable[[], float], Sequence[Daemon]]]:
    """Return what starts a forwarder in namespaces of its own."""

    def start(stack: ExitStack, directory: Path) -> tuple[Callable[[], float], Sequence[Daemon]]:
        place = stack.enter_context(topology(directory))
        if prepare is not None:
            prepare(place)
        daemons = stack.enter_context(forward(place, cpus))
        if server:
            stack.enter_context(tcp_server(place))
        return lambda: measure(place), daemons

    return start


# The rows

_NO_GRO = {"gro": False}
"""Where frames cannot be merged; the peers do not try."""
_BURSTS: Mapping[str, Setting] = {"weight": 256}
"""Where a poll costs the same whatever it brings: more frames to a system call, and a table's lines stay in the cache."""
_TCP = "iperf3, 1 stream; every process on both cores"


def bulk(effort: Effort, tell: Tell) -> list[Row]:
    """TCP with super-frames from end to end."""
    # Nothing but super-frames and acknowledgements: a ring would hold the second and only announce the first.
    forwarders = {PKTPATH: pktpath(mode="mmsg"), "kernel bridge": bridge, "OVS userspace TSO": ovs(tso=True)}
    # Both switches are steadier on a core of their choice than moved about between the ends of the connection.
    sides = {
        name: _through(way, lambda place: tcp(place, effort.seconds), cpus=str(FORWARDER_CPU), server=True)
        for name, way in forwarders.items()
    }
    results = compete(sides, effort, tell, "bulk")
    goals = {"kernel bridge": 0.95, "OVS userspace TSO": 1.2}
    conditions = "iperf3, 1 stream, on both cores, switches on cpu 1; pktpath: mmsg; offloads as the kernel makes them, MTU 1500"
    return rows_of("bulk TCP with offloads", results, goals, ours=PKTPATH, unit="Gbit/s", conditions=conditions)


def _wire_ends(place: Topology) -> None:
    # Without userspace TSO, Open vSwitch forwards frames that lack their checksum: so senders complete it.
    place.features("ends", tx=False, tso=False, gso=False)


def _wire_everywhere(place: Topology) -> None:
    _wire_ends(place)
    place.features("ends", gro=False)
    place.features("box", tso=False, gso=False, gro=False)


def wire(effort: Effort, tell: Tell) -> list[Row]:
    """TCP in frames of the wire's size, which the receiver may get merged, and which it may not."""
    off = "pktpath, GRO off"
    merged = {PKTPATH: pktpath(), off: pktpath(features={"gro": False}), "OVS userspace": ovs(), "kernel bridge": bridge}
    both = {name: way for name, way in merged.items() if name != off}
    found = []
    for case, forwarders, prepare, goals, how in (
        ("wire-size TCP", merged, _wire_ends, {"OVS userspace": 3.0, "kernel bridge": None, off: None}, "of both ends"),
        (
            "wire-size TCP, segmentation off on both sides", both, _wire_everywhere,
            {"OVS userspace": 1.5, "kernel bridge": None}, "of all devices, and GRO,",
        ),
    ):  # fmt: skip
        sides = {
            name: _through(way, lambda place: tcp(place, effort.seconds), prepare=prepare, server=True)
            for name, way in forwarders.items()
        }
        results = compete(sides, effort, tell, case)
        conditions = f"{_TCP}; TSO and GSO {how} off, tx checksums of both ends off, MTU 1500"
        found += rows_of(case, results, goals, ours=PKTPATH, unit="Gbit/s", conditions=conditions)
    return found


def small(effort: Effort, tell: Tell) -> list[Row]:
    """64-byte UDP from a generator that is faster than any of them."""
    ring, native, generic = "pktpath packet rings", "pktpath AF_XDP native", "pktpath AF_XDP generic"
    forwarders = {
        ring: pktpath("packet", "ring", features=_NO_GRO, poll=True, bypass=True),
        native: pktpath("xdp", "native", features=_NO_GRO, settings=_BURSTS, poll=True),
        generic: pktpath("xdp", "generic", features=_NO_GRO, settings=_BURSTS, poll=True),
        "OVS AF_PACKET": ovs(),
        "testpmd af_packet": testpmd("af_packet"),
        "testpmd af_xdp": testpmd("af_xdp"),
        "kernel bridge": bridge,
    }

    def napi(place: Topology) -> None:
        # A redirected frame reaches a veth only where that one has NAPI.
        place.box.run("ethtool", "-K", "f0", "gro", "on")

    offered: list[float] = []

    def measure(place: Topology) -> float:
        arrived, made = small_frames(place, effort.seconds)
        offered.append(made)
        return arrived

    sides = {name: _through(way, measure, cpus=str(FORWARDER_CPU), prepare=napi) for name, way in forwarders.items()}
    results = compete(sides, effort, tell, "small")
    made = f"{min(offered):.0f}-{max(offered):.0f} kframes/s made" if offered else "nothing made"
    how = "pktpath polls, GRO off, rings with qdisc_bypass as DPDK's, AF_XDP weight 256"
    conditions = f"64-byte UDP, 1 flow, XDP live frames on cpu 0, forwarder on cpu 1; {how}; {made}"
    found = []
    for case, ours, goals in (
        ("small frames, packet rings", ring, {"OVS AF_PACKET": 1.5, "testpmd af_packet": 1.2, "kernel bridge": None}),
        ("small frames, AF_XDP native", native, {"testpmd af_xdp": 1.0, "OVS AF_PACKET": None}),
        ("small frames, AF_XDP generic", generic, {"testpmd af_xdp": None, "OVS AF_PACKET": None}),
    ):
        found += rows_of(case, results, goals, ours=ours, unit="kframes/s", conditions=conditions)
    return found


def ping(effort: Effort, tell: Tell) -> list[Row]:
    """How long an echo takes."""
    poll = "pktpath, polling AF_XDP"
    forwarders = {
        PKTPATH: pktpath(),
        poll: pktpath("xdp", "native", poll=True),
        "OVS userspace": ovs(),
        "kernel bridge": bridge,
        "testpmd af_packet": testpmd("af_packet"),
        "testpmd af_xdp": testpmd("af_xdp"),
    }
    count = max(int(100 * effort.seconds), 10)

    def ends(place: Topology) -> None:
        place.features("ends", tx=False)

    sides = {
        name: _through(way, lambda place: round_trip(place, count), cpus=str(FORWARDER_CPU), prepare=ends)
        for name, way in forwarders.items()
    }
    results = compete(sides, effort, tell, "ping")
    conditions = f"ICMP echo of 64 bytes, {count} a turn, 2 ms apart, from cpu 0; forwarder on cpu 1; median of medians"
    names = [name for name in forwarders if name not in (PKTPATH, poll)]
    found = rows_of("ping", results, dict.fromkeys(names), ours=PKTPATH, unit="us", conditions=conditions)
    goals = {name: None for name in names if name.startswith("testpmd")}
    return found + rows_of("ping, polling AF_XDP", results, goals, ours=poll, unit="us", conditions=conditions)


def in_memory(effort: Effort, tell: Tell) -> list[Row]:
    """A capture over and over into nothing, on one core."""
    found = []
    peer = "OVS-DPDK"
    for flows in memory.FLOWS:
        case = f"in memory, {flows:,} flow{'s' * (flows > 1)}"
        # More flows than exact-match caches hold only sweep them: both sides are faster without one.
        emc = flows <= memory.CACHED

        def ours(
            stack: ExitStack, directory: Path, flows: int = flows, emc: bool = emc
        ) -> tuple[Callable[[], float], Sequence[Daemon]]:
            space = _alone(stack, directory)
            capture = directory / "flows.pcap"
            memory.write_flows(capture, flows)
            ports: dict[str, dict[str, Setting]] = {
                "in": {"type": "pcap", "rx_file": str(capture), "loop": True, "features": _NO_GRO},
                "out": {"type": "pcap"},
            }
            settings: dict[str, Setting] = {"schedule": "poll", "cores": [FORWARDER_CPU], **_BURSTS, "emc": emc}
            made = stack.enter_context(switch(space, directory / "pktpath", ports, [memory.RULE], settings))
            # The first start on a machine compiles until here.
            made.daemon.wait_until(lambda: made.port("out", "tx_packets") > 0, "pktpath's first frame", seconds=START)
            return lambda: rate(lambda: made.port("out", "tx_packets"), effort.seconds) / 1e6, (made.daemon,)

        def theirs(
            stack: ExitStack, directory: Path, flows: int = flows, emc: bool = emc
        ) -> tuple[Callable[[], float], Sequence[Daemon]]:
            stack.enter_context(memory.huge_pages())
            space = _alone(stack, directory)
            capture = directory / "flows.pcap"
            memory.write_flows(capture, flows)
            made = stack.enter_context(memory.ovs_dpdk(space, directory / "ovs", capture, emc=emc))
            return lambda: rate(lambda: memory.sent(made.appctl("dpctl/show", "-s"), "out"), effort.seconds) / 1e6, made.daemons

        results = compete({PKTPATH: ours, peer: theirs}, effort, tell, case)
        frames = f"{max(flows, memory.FEWEST):,} frames of 64-byte UDP, looped, rule {memory.RULE}"
        caches = f"exact-match caches {'on' if emc else 'off'}"
        conditions = f"{frames}; one thread on cpu 1; {caches}; pktpath: GRO off, weight 256"
        found += rows_of(case, results, {peer: 1.2}, ours=PKTPATH, unit="Mframes/s", conditions=conditions)
    return found


def _alone(stack: ExitStack, directory: Path) -> Any:
    directory.mkdir(mode=0o700, exist_ok=True)
    return stack.enter_context(namespace(directory, "box"))


_EVERY_ADDRESS = "group_id=1,type=select,selection_method=hash,fields(ip_src,ip_dst),bucket=output:2,bucket=output:2"
"""Each pair of addresses may go another way, so each needs a megaflow; a table of flows may be told apart by a few bits."""


def upcall(effort: Effort, tell: Tell) -> list[Row]:
    """Frames each of which needs a megaflow of its own."""
    flows = ("ip,in_port=1,actions=group:1",)
    switches: list[Switch] = []
    peers: list[OpenVSwitch] = []
    sent: list[float] = []

    def of_pktpath(place: Topology) -> float:
        return _noted(new_flows(place, effort.seconds, lambda: switches[-1].workers("upcalls")))

    def of_ovs(place: Topology) -> float:
        return _noted(new_flows(place, effort.seconds, lambda: upcalls(peers[-1])))

    def _noted(figures: tuple[float, float]) -> float:
        sent.append(figures[1])
        return figures[0] / 1e3

    sides = {
        PKTPATH: _through(pktpath(flows=flows, groups=[_EVERY_ADDRESS], seen=switches.append), of_pktpath),
        "OVS userspace": _through(ovs(flows, groups=[_EVERY_ADDRESS], seen=peers.append), of_ovs),
    }
    results = compete(sides, effort, tell, "upcall")
    made = f"{min(sent) / 1e3:.0f}-{max(sent) / 1e3:.0f} kframes/s sent" if sent else "nothing sent"
    conditions = f"64-byte UDP, random addresses, a group that hashes them; sender on cpu 0; {made}"
    goals = {"OVS userspace": None}
    return rows_of("new flows", results, goals, ours=PKTPATH, unit="thousand upcalls/s", conditions=conditions)


ROWS = {"bulk": bulk, "wire": wire, "small": small, "ping": ping, "memory": in_memory, "upcall": upcall}


_TOOLS = {"ip": "iproute2", "ethtool": "ethtool", "nsenter": "util-linux", "setpriv": "util-linux", "taskset": "util-linux"}


def refusal() -> str:
    """Say why nothing at all can be measured here, or nothing."""
    if os.geteuid():
        return "the switch's bench makes network namespaces: run it as root"
    if not {GENERATOR_CPU, FORWARDER_CPU} <= os.sched_getaffinity(0):
        return f"the switch's bench needs the CPUs {GENERATOR_CPU} and {FORWARDER_CPU}"
    for name, package in _TOOLS.items():
        try:
            program(name, package)
        except PeerMissingError as error:
            return f"the switch's bench: {error}"
    return ""


def rows(effort: Effort, tell: Tell, only: Sequence[str] = ()) -> list[Row]:
    """Run these cases, all without any; the machine is as it was afterwards.

    Raises:
        Refused: nothing can be measured here (`refusal`).

    """
    if why := refusal():
        raise Refused(why)
    load = os.getloadavg()[0]
    found = [row for name, bench in ROWS.items() if name in (only or ROWS) for row in bench(effort, tell)]
    how = f"{effort.turns} turns of {effort.seconds:g} s, load average {load:.1f} before"
    return [replace(row, more={**row.more, CONDITIONS: f"{row.more[CONDITIONS]}; {how}"}) for row in found]
