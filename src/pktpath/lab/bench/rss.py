"""The Toeplitz hash beside DPDK's: its plain `rte_softrss_be`, and the one that needs GFNI and AVX-512.

DPDK hashes an array of inputs that somebody has made ready. pktpath is measured twice: over descriptors, with the loads from
each frame's headers and the choice of the fields in the time; and over the very array that DPDK gets.
`rte_softrss_be` takes a step for each bit that is set, so addresses count: spread ones, as the Internet's,
and those of the built-in traffic, which have few bits set.
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from pktpath.batch import Batch
from pktpath.jit import kernel
from pktpath.lab.bench.common import Effort, Row, clock_cost, make_timespec, take_turns
from pktpath.lab.bench.peer import Peer
from pktpath.lab.traffic import bulk, frames
from pktpath.nic.clock import monotonic
from pktpath.offload.rss import make_rss, rss_frame
from pktpath.offload.rss_fold import finish, fold_pair, fold_value
from pktpath.offload.rss_key import DEFAULT_KEY
from pktpath.wire.load import load32

FLOWS = BURST = 64
_GOAL = 6.0
_PEERS = {"softrss": "rte_softrss_be", "gfni": "rte_thash_gfni", "bulk": "rte_thash_gfni_bulk"}


@kernel
def _time_frames(batch, count, rss, timespec, times):
    """Fill `times` with the nanoseconds of hashing the first `count` frames."""
    for run in range(len(times)):
        start = monotonic(timespec)
        for i in range(count):
            batch.frames[np.uint64(i)].hash = rss_frame(batch, np.uint64(i), rss)
        times[run] = monotonic(timespec) - start


@kernel
def hash_tuples(mem, count, length, rss, hashes):
    """Fill `hashes` from `count` inputs of 12 or 36 bytes that lie end to end."""
    pairs = (length - 4) // 8
    for i in range(count):
        at = i * length
        total = fold_value(rss, 2 * pairs, load32(mem, at + 8 * pairs)) ^ fold_pair(rss, 0, mem, at)
        if pairs == 4:
            total ^= fold_pair(rss, 2, mem, at + 8) ^ fold_pair(rss, 4, mem, at + 16) ^ fold_pair(rss, 6, mem, at + 24)
        hashes[np.uint64(i)] = finish(total)


@kernel
def _time_tuples(mem, length, rss, hashes, timespec, times):
    """Fill `times` with the nanoseconds of hashing inputs that lie end to end."""
    for run in range(len(times)):
        start = monotonic(timespec)
        hash_tuples(mem, len(hashes), length, rss, hashes)
        times[run] = monotonic(timespec) - start


def rows(peer: Peer | None, missing: str, effort: Effort) -> list[Row]:
    """Measure every case; without a peer, `missing` says why."""
    result = []
    for network, spread in ((4, True), (4, False), (6, True)):
        batch = full_frames(network, spread=spread)
        result += _compare(batch, network, "" if spread else ", addresses of few bits", peer, missing, effort)
    return result


def full_frames(network: int, *, spread: bool) -> Batch:
    """Return a burst of full TCP segments of `FLOWS` flows, with addresses and ports that are drawn or the built-in ones."""
    batch = frames(bulk(FLOWS, BURST, network=network))
    if spread:
        size = tuple_length(network)
        drawn = np.random.default_rng(network).integers(0, 256, (FLOWS, size), dtype=np.uint8)
        tuples = tuple_view(batch, network)
        for i in range(BURST):
            tuples[i][:] = drawn[i % FLOWS]
    return batch


def tuple_length(network: int) -> int:
    """Bytes of two addresses and two ports."""
    return 12 if network == 4 else 36


def tuple_view(batch: Batch, network: int) -> list[NDArray[np.uint8]]:
    """Return addresses and ports of each frame, which lie end to end where there are no options, as views."""
    before = 12 if network == 4 else 8
    starts = (batch.head_addr + batch.network_offset + before).tolist()
    return [batch.pool.mem[start : start + tuple_length(network)] for start in starts]


def _compare(batch: Batch, network: int, name: str, peer: Peer | None, missing: str, effort: Effort) -> list[Row]:
    runs = max(effort.frames // BURST, 3)
    rss, clock, length = make_rss(), clock_cost(), tuple_length(network)
    tuples = np.array(tuple_view(batch, network))

    def over_frames() -> float:
        times = np.zeros(runs, np.int64)
        _time_frames(batch, BURST, rss, make_timespec(), times)
        return (float(np.median(times)) - clock) / BURST

    def over_tuples() -> float:
        times = np.zeros(runs, np.int64)
        _time_tuples(tuples.reshape(-1), length, rss, np.zeros(BURST, np.uint32), make_timespec(), times)
        return (float(np.median(times)) - clock) / BURST

    def theirs(how: str) -> float:
        assert peer is not None
        return float(peer.ask("rss", how, runs)["ns"]) / BURST

    gfni = peer.load_tuples(tuples, DEFAULT_KEY) if peer else False
    hows = [how for how in _PEERS if peer and (gfni or how == "softrss")]
    timings = take_turns(effort.turns, over_frames, over_tuples, *(partial(theirs, how) for how in hows))
    medians = dict(zip(hows, (timing.median for timing in timings[2:]), strict=True))
    bits = float(np.unpackbits(tuples, axis=1).sum(axis=1).mean())
    result = []
    for what, timing in (("frames", timings[0]), ("inputs made ready", timings[1])):
        for how, theirs_name in _PEERS.items():
            note = missing or ("" if how in medians else "this processor has no GFNI with AVX-512")
            result.append(
                Row(
                    case=f"rss IPv{network} {what}{name}, beside {theirs_name}",
                    pktpath=timing.median,
                    peer=medians.get(how),
                    unit="ns/frame",
                    goal=_GOAL if what == "frames" and how == "softrss" and not name else None,
                    more={"bits_set": bits},
                    note=note,
                )
            )
    return result
