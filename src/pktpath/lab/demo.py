"""The whole path on built-in traffic, one switch at a time.

Enters: nothing but a size. Leaves: a `Result` a run. In each run the frames of a wire go through
receive offload, the stack, segmentation and the device, and what comes out is compared with what
went in, byte for byte. The time is that of the host: GRO and what happens just before the driver,
best of three; what a device would do is done, and not counted.
"""

from collections.abc import Iterator
from time import perf_counter_ns
from typing import NamedTuple

import numpy as np

from pktpath.batch import CHECKSUM_UNNECESSARY, FRAMES, Batch, release
from pktpath.features import Feature, fix_features
from pktpath.lab import traffic
from pktpath.lab.machine import clock_rate
from pktpath.lab.same import first_difference
from pktpath.path.forward import Way, make_way, receive, send, transmit

STEP = 4096
"""Wire frames on the way at a time."""
REPEATS = 5
_TSO = Feature.TSO | Feature.TSO6 | Feature.TSO_ECN | Feature.TSO_ACCECN | Feature.TSO_MANGLEID
ALL_ON = (
    Feature.RXCSUM | Feature.RXHASH | Feature.GRO | Feature.GRO_UDP_FWD
    | Feature.SG | Feature.HW_CSUM | Feature.GSO | _TSO | Feature.GSO_UDP_L4
)  # fmt: skip
SWITCHES = {
    "all on": Feature.NONE,
    "tso off": _TSO,
    "uso off": Feature.GSO_UDP_L4,
    "rx-checksum off": Feature.RXCSUM,
    "tx-checksum off": Feature.HW_CSUM,
    "sg off": Feature.SG,
    "rx-udp-gro-forwarding off": Feature.GRO_UDP_FWD,
    "gro off": Feature.GRO,
    "gso, tso off": Feature.GSO | _TSO,
}
"""What a row of the demo switches off; the rest is on, as far as it works without (`fix_features`)."""


class Case(NamedTuple):
    """One run: traffic and what is switched off."""

    traffic: str
    arriving: traffic.Plan
    """The frames that arrive; for a sender, those that its wire must carry."""
    switches: str
    off: Feature
    gso_max_size: int = 0
    """For a sender, bytes of the largest super-frame that its transport builds."""
    sending: traffic.Plan | None = None
    """For a sender, what its transport hands down."""


class Result(NamedTuple):
    """What one run showed."""

    traffic: str
    switches: str
    gso_max_size: int
    frames_in: int
    """Frames that came from the wire, or that a sender's wire carried."""
    stack_frames: int
    """Frames that the stack above handled."""
    driver_frames: int
    """Frames that the driver was handed."""
    wire_frames: int
    """Frames that left."""
    cut: str
    """Where super-frames were cut: `transport`, `driver` (just before it), `nic`, or `nowhere`."""
    ns_per_frame: float
    """Time of the host for one wire frame, nanoseconds."""
    cycles_per_frame: float
    """The same in clock cycles, 0 where the clock is unknown."""
    gbits: float
    """Gbit of frames that one core moves in a second."""
    bytes_compared: int
    wire_identical: bool


def cases(frames: int) -> Iterator[Case]:
    """Yield the runs of the demo, each over about `frames` wire frames."""
    bulk = ("all on", "tso off", "gro off")
    every = ("all on", "tso off", "tx-checksum off", "sg off", "rx-checksum off", "gro off")
    datagrams = ("all on", "uso off", "rx-udp-gro-forwarding off")
    small = ("all on", "gro off")
    received = (
        ("bulk TCP IPv4, 1 flow", traffic.bulk(1, frames), bulk),
        ("bulk TCP IPv4, 12 flows", traffic.bulk(12, frames), every),
        ("bulk TCP IPv4, 1,000 flows", traffic.bulk(1000, frames, train=8), bulk),
        ("bulk TCP IPv6, 12 flows", traffic.bulk(12, frames, network=6), bulk),
        ("UDP bursts IPv4, 12 flows", traffic.bursts(12, frames), datagrams),
        ("UDP bursts IPv6, 1,000 flows", traffic.bursts(1000, frames, network=6), datagrams),
        ("small requests, 1 flow", traffic.requests(1, frames), small),
        ("small requests, 1,000 flows", traffic.requests(1000, frames), small),
    )
    for name, plan, switches in received:
        for switch in switches:
            yield Case(name, plan, switch, SWITCHES[switch])
    yield from _sender(frames)


def _sender(frames: int) -> Iterator[Case]:
    """Yield the three places of the cut, and what gso_max_size does to each."""
    writes = max(frames // 180, 1)
    wire = traffic.sent(12, writes, network=6)
    name = "sending TCP IPv6, 12 flows"
    yield Case(name, wire, "gso, tso off", SWITCHES["gso, tso off"], 0, wire)
    for switch in ("tso off", "all on"):
        for size in (16384, 65536, 262144):
            yield Case(name, wire, switch, SWITCHES[switch], size, traffic.sent(12, writes, network=6, gso_max_size=size))


def run(case: Case) -> Result:
    """Run one case."""
    features = fix_features(ALL_ON & ~case.off)
    source = traffic.frames(case.arriving if case.sending is None else case.sending, header=3 * STEP + 64, normal=STEP + 64)
    if features & Feature.RXCSUM and case.sending is None:
        source.ip_summed[:] = CHECKSUM_UNNECESSARY
    # What must come out lies in memory of its own: an offload that wrote on its input would be seen.
    expected = traffic.frames(case.arriving)
    way = make_way(source.pool, STEP, features)
    runs = [_once(case, way, source, expected) for _ in range(REPEATS)]
    best = sum(map(min, zip(*(spent for _, spent, _ in runs), strict=True)))
    counts, same = runs[0][0], all(same for _, _, same in runs)
    stack, driver, wire = counts
    size = int(expected.frame_len[: int(expected.used[FRAMES])].sum())
    each = best / max(wire, 1)
    return Result(
        case.traffic, case.switches, case.gso_max_size, len(case.arriving.flow), stack, driver, wire,
        _where(case, counts), each, each * clock_rate(), size * 8 / max(best, 1), size, same,
    )  # fmt: skip


def _where(case: Case, counts: tuple[int, int, int]) -> str:
    stack, driver, wire = counts
    if driver > stack:
        return "driver"
    if wire > driver:
        return "nic"
    return "transport" if case.sending is not None else "nowhere"


def _once(case: Case, way: Way, source: Batch, expected: Batch) -> tuple[tuple[int, int, int], list[int], bool]:
    """Send everything along the way once; return (stack, driver, wire) frames, nanoseconds a step, sameness."""
    total = int(source.used[FRAMES])
    step = max(STEP // int(source.gso_segs[:total].max(initial=1)), 1)
    stack = driver = wire = 0
    spent = []
    same = True
    for first in range(0, total, step):
        batch = _part(source, first, min(first + step, total))
        start = perf_counter_ns()
        if case.sending is None:
            receive(way, batch)
            batch = way.above
        between = perf_counter_ns()
        stack += int(batch.used[FRAMES])
        again = perf_counter_ns()
        send(way, batch)
        spent.append(perf_counter_ns() - again + between - start)
        driver += int(way.below.used[FRAMES])
        transmit(way)
        same = same and first_difference(way.wire, expected, wire) is None
        wire += int(way.wire.used[FRAMES])
        release(way.wire)
    return (stack, driver, wire), spent, same and wire == int(expected.used[FRAMES])


def _part(batch: Batch, first: int, last: int) -> Batch:
    """Return frames `first` to `last` as a batch that a stage may empty; they lie in the window and have no fragments."""
    columns = {"frames": batch.frames[first:last].copy()}
    return batch._replace(used=np.array([last - first, 0], np.int64), **columns)
