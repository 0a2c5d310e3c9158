"""A better indirection table or key for the flows of a capture, as `ethtool -X` can set it.

ethtool gives each queue a run of entries, in the order of the queues (`weight W0 W1 …`): so a table divides the
entries into runs, and the best one can be found exactly. Keys are tried: the candidates are the same in every run.
"""

import hashlib
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pktpath.jit import inlined, kernel
from pktpath.offload.rss import make_rss
from pktpath.offload.rss_key import SYMMETRIC_KEY, weight_table
from pktpath.path.rss_flows import Flows, bucket_loads, flow_hashes

MOST_KEYS = 1024
"""Keys that are tried where flows are few."""
_HASHES = 1 << 26
"""Hashes that a search computes at most, but for `_LEAST_KEYS`."""
_LEAST_KEYS = 16


class Setting(NamedTuple):
    """What a device can be told."""

    key: bytes
    table: tuple[int, ...]
    weights: tuple[int, ...] | None = None
    """What makes the table; None where it stays as it was."""


@kernel
def least_maximum(loads, fixed, queues):
    """Return the least possible load of the most loaded queue when each gets a run of the entries; queue 0 has `fixed` more."""
    low = fixed
    high = fixed
    for k in range(len(loads)):
        low = max(low, loads[k])
        high += loads[k]
    while low < high:
        middle = low + (high - low) // 2
        if _fits(loads, fixed, queues, middle):
            high = middle
        else:
            low = middle + 1
    return low


@inlined
def _fits(loads, fixed, queues, most):
    """Whether each queue can do with `most`, filled one after the other."""
    queue = 0
    load = fixed
    for k in range(len(loads)):
        if load + loads[k] > most:
            queue += 1
            load = np.int64(0)
            if queue == queues:
                return False
        load += loads[k]
    return True


@kernel
def even_runs(loads, fixed, queues, most, cost, cut, weights):
    """Fill `weights` with the runs of entries of `queues` queues, none above `most`, that differ least.

    Least is the sum of the squares of the loads; `cost` (queues + 1, entries + 1) and `cut`, its shape, are for the work.
    """
    count = len(loads)
    cost[:] = np.inf
    cost[0, 0] = 0.0
    for queue in range(queues):
        base = fixed if queue == 0 else np.int64(0)
        for end in range(count + 1):
            load = base
            start = end
            while load <= most:
                value = cost[queue, start] + np.float64(load) * np.float64(load)
                if value < cost[queue + 1, end]:
                    cost[queue + 1, end] = value
                    cut[queue + 1, end] = start
                if start == 0:
                    break
                start -= 1
                load += loads[start]
    end = count
    for queue in range(queues, 0, -1):
        start = cut[queue, end]
        weights[queue - 1] = end - start
        end = start


def best_weights(loads: NDArray[np.int64], fixed: int, queues: int) -> tuple[int, ...]:
    """Return how many entries of the table each queue should get, in order, so that the most loaded has least.

    Args:
        loads: what each entry brings, frames or bytes.
        fixed: what queue 0 has besides, whatever the table says.
        queues: how many there are.

    """
    most = least_maximum(loads, fixed, queues)
    cost = np.zeros((queues + 1, len(loads) + 1))
    weights = np.zeros(queues, np.int64)
    even_runs(loads, fixed, queues, most, cost, np.zeros(cost.shape, np.int64), weights)
    return tuple(weights.tolist())


def queue_loads(loads: NDArray[np.int64], fixed: int, table: tuple[int, ...], queues: int) -> NDArray[np.int64]:
    """Sum what the entries of a table bring by queue."""
    sums = np.zeros(queues, np.int64)
    np.add.at(sums, np.array(table), loads)
    sums[0] += fixed
    return sums


def imbalance(sums: NDArray[np.int64]) -> float | None:
    """Return the largest over the mean, None where there is nothing."""
    total = int(sums.sum())
    return int(sums.max()) * len(sums) / total if total else None


class Search(NamedTuple):
    """What a search for keys needs to know."""

    flows: Flows
    unit: int
    """Column of `Flows.counts`: frames or bytes."""
    queues: int
    table: tuple[int, ...]
    fields: Mapping[str, str]
    key: bytes
    """What is used now, and stays where nothing is better."""


def keys_tried(flows: int, most: int = MOST_KEYS) -> int:
    """How many keys are tried with so many flows."""
    return min(most, max(_LEAST_KEYS, _HASHES // max(flows, 1)))


def best_keys(search: Search, tries: int, *, symmetric: bool) -> tuple[Setting, Setting]:
    """Return the best key found with the table as it is, and the best together with weights of its own.

    Args:
        search: flows and what is used now.
        tries: how many keys.
        symmetric: keys that hash both directions of a connection alike; then what is used now does not stay.

    """
    queues, table = search.queues, search.table
    hashes = np.zeros(max(int(search.flows.used[0]), 1), np.uint32)
    loads = np.zeros(len(table), np.int64)
    kept, kept_load, weighed, weighed_load = search.key, -1, search.key, -1
    weights: tuple[int, ...] = ()
    for key in islice(candidates(search.key, symmetric=symmetric), tries):
        rss = make_rss(key, table, search.fields)
        flow_hashes(search.flows, rss, hashes)
        fixed = int(bucket_loads(search.flows, search.unit, hashes, rss.mask, loads))
        load = int(queue_loads(loads, fixed, table, queues).max())
        if kept_load < 0 or load < kept_load:
            kept, kept_load = key, load
        load = int(least_maximum(loads, fixed, queues))
        if weighed_load < 0 or load < weighed_load:
            weighed, weighed_load = key, load
            weights = best_weights(loads, fixed, queues)
    return Setting(kept, table), Setting(weighed, weight_table(weights, len(table)), weights)


def candidates(key: bytes, *, symmetric: bool) -> Iterator[bytes]:
    """Yield keys as long as this one, without end: this one first, then some that look like chance and are always the same.

    Symmetric ones repeat two bytes with an odd number of set bits (`SYMMETRIC_KEY` first): with an even one, at
    most half of the hashes would ever come.
    """
    length = len(key)
    yield (SYMMETRIC_KEY * 2)[:length] if symmetric else key
    number = 0
    while True:
        drawn = hashlib.shake_256(b"pktpath rss key %d" % number).digest(length)
        number += 1
        if not symmetric:
            yield drawn
        elif int.from_bytes(drawn[:2], "big").bit_count() & 1:
            yield (drawn[:2] * length)[:length]
