"""GSO beside DPDK's: a super-frame of 64 KiB to full-sized frames with all checksums."""

from functools import partial

import numpy as np

from pktpath.batch import FRAGS, FRAMES, make_batch
from pktpath.features import Feature
from pktpath.jit import kernel
from pktpath.lab.bench.common import Effort, Row, Side, clock_cost, make_timespec, take_turns
from pktpath.lab.bench.peer import Peer
from pktpath.lab.bench.traffic import PAYLOAD, as_rows, super_frame
from pktpath.lab.machine import clock_rate
from pktpath.nic.clock import monotonic
from pktpath.offload.gso import gso_segment
from pktpath.offload.rules import DEFAULT_RULES, RULES
from pktpath.pool import chunk_put

SEGMENTS = 45
"""What fits into 64 KiB."""
_GOAL = 1.5

_SHARED = int(Feature.SG)
"""A port that gathers, and leaves checksums to us, as DPDK's indirect mbufs."""
_LINEAR = int(Feature.NONE)
"""A port that takes linear frames only: every byte is copied."""
_NO_CHECKSUMS = int(Feature.SG | Feature.HW_CSUM)


@kernel
def _time_cuts(batch, out, features, rules, timespec, times):
    """Fill `times` with the nanoseconds of cutting the one frame of `batch`; return the segments of the last cut."""
    segments = 0
    for run in range(len(times)):
        start = monotonic(timespec)
        gso_segment(batch, 0, out, features, rules)
        times[run] = monotonic(timespec) - start
        segments = out.used[FRAMES]
        for j in range(segments):
            chunk_put(out.pool, out.frames[j].head_chunk)
        for row in range(out.used[FRAGS]):
            chunk_put(out.pool, out.frag_chunk[row])
        out.used[FRAMES] = 0
        out.used[FRAGS] = 0
        batch.used[FRAMES] = 1
    return segments


def rows(peer: Peer | None, missing: str, effort: Effort) -> list[Row]:
    """Measure every case; without a peer, `missing` says why."""
    batch = super_frame(SEGMENTS, header=4 * SEGMENTS, normal=4 * SEGMENTS)
    runs = max(effort.frames // SEGMENTS, 3)
    clock = clock_cost()
    out = make_batch(batch.pool, 2 * SEGMENTS, 4 * SEGMENTS)

    def ours(features: int) -> float:
        times = np.zeros(runs, np.int64)
        segments = _time_cuts(batch, out, features, RULES[DEFAULT_RULES], make_timespec(), times)
        if segments != SEGMENTS:
            message = f"{segments} segments where {SEGMENTS} were expected"
            raise RuntimeError(message)
        return (float(np.median(times)) - clock) / segments

    def theirs(command: str) -> float:
        assert peer is not None
        answer = peer.ask(command, PAYLOAD, runs)
        return float(answer["ns"]) / float(answer["segments"])

    def copying() -> float:
        assert peer is not None
        return float(peer.ask("memcpy", SEGMENTS * PAYLOAD, max(runs // 100, 3))["ns"]) / SEGMENTS

    if peer:
        peer.load(as_rows(batch))
    result = []
    for features, name, command, goal in (
        (_SHARED, "full checksums", "gso", _GOAL),
        (_LINEAR, "full checksums, copied to linear frames", "gso", None),
        (_NO_CHECKSUMS, "checksums left to the port", "gso-headers", None),
    ):
        others: list[Side] = [partial(theirs, command), copying] if peer else []
        timings = take_turns(effort.turns, partial(ours, features), *others)
        mine = timings[0].median
        rate = clock_rate()
        more = {"cycles": mine * rate, "GB/s": PAYLOAD / mine}
        if peer:
            more |= {"peer_cycles": timings[1].median * rate, "memcpy GB/s": PAYLOAD / timings[2].median}
            more["share of memcpy"] = timings[2].median / mine
        other = timings[1].median if peer else None
        case = f"gso 64 KiB to {PAYLOAD}, {name}"
        result.append(Row(case=case, pktpath=mine, peer=other, unit="ns/segment", goal=goal, more=more, note=missing))
    return result
