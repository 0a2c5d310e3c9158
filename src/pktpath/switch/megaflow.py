"""Megaflows: a tuple-space classifier that workers read while one thread writes.

All megaflows with one mask form a subtable; a lookup asks the subtables in their order, and the first that knows
the masked key has the answer, since megaflows do not overlap. One table of slots serves all subtables, open
addressing, the subtable being part of the hash.

The writer prepares a megaflow and then publishes its slot; it takes a slot away and then waits until every
worker has begun another iteration before the place is used again (as RCU in Open vSwitch and the kernel). Stores become
visible in this order on x86.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pktpath.jit import inlined, kernel
from pktpath.switch.fields import KEY_WORDS

MAX_SUBTABLES = 1024
EMPTY, TAKEN_AWAY = -1, -2
"""In `Slot.flow`."""

_FLOW = np.dtype([("program", "i4"), ("subtable", "i4"), ("age", "u4"), ("alive", "i4")])
_SLOT = np.dtype([("hashed", "u4"), ("flow", "i4")])
_SUBTABLE = np.dtype([("words", "i8"), ("seed", "u8")])
_STATISTICS = np.dtype([("packets", "i8"), ("octets", "i8"), ("used", "i8"), ("tcp_flags", "i8")])


class Megaflows(NamedTuple):
    """The megaflows of a datapath, shared by its workers."""

    keys: NDArray[np.uint64]
    """(flows, KEY_WORDS) masked keys."""
    flows: Any
    """(flows,) records: row of the program, subtable, age (goes up when the megaflow dies), whether it is alive."""
    slots: Any
    """(2, a power of two) records of two tables of which one is read: hash, and megaflow, EMPTY or TAKEN_AWAY."""
    active: NDArray[np.int64]
    """(2,) which table of slots is read; how many subtables are."""
    masks: NDArray[np.uint64]
    """(MAX_SUBTABLES, KEY_WORDS)"""
    subtables: Any
    """(MAX_SUBTABLES,) records: words up to the last one that is not all zero; what is added to its hashes."""
    order: NDArray[np.int64]
    """(MAX_SUBTABLES,) subtables in the order in which they are asked."""
    multipliers: NDArray[np.uint64]
    """(KEY_WORDS,) odd random numbers: nobody outside can aim at a place in a table."""
    statistics: Any
    """(workers, flows) records: packets, bytes, last use in monotonic nanoseconds, all TCP flags seen."""
    subtable_hits: NDArray[np.int64]
    """(workers, MAX_SUBTABLES) hits since the order was last made."""


def make_megaflows(capacity: int, workers: int) -> Megaflows:
    """Return an empty table for `capacity` megaflows."""
    slots = np.zeros((2, 1 << (2 * capacity - 1).bit_length()), _SLOT).view(np.recarray)
    slots.flow = EMPTY
    multipliers = np.frombuffer(np.random.default_rng().bytes(8 * KEY_WORDS), np.uint64) | np.uint64(1)
    return Megaflows(
        keys=np.zeros((capacity, KEY_WORDS), np.uint64),
        flows=np.zeros(capacity, _FLOW).view(np.recarray),
        slots=slots,
        active=np.zeros(2, np.int64),
        masks=np.zeros((MAX_SUBTABLES, KEY_WORDS), np.uint64),
        subtables=np.zeros(MAX_SUBTABLES, _SUBTABLE).view(np.recarray),
        order=np.zeros(MAX_SUBTABLES, np.int64),
        multipliers=multipliers,
        statistics=np.zeros((workers, capacity), _STATISTICS).view(np.recarray),
        subtable_hits=np.zeros((workers, MAX_SUBTABLES), np.int64),
    )


@inlined
def _fold(total):
    """32 bits of hash out of 64, all of which depend on all of them."""
    total ^= total >> np.uint64(32)
    total *= np.uint64(0x9E3779B97F4A7C15)
    return total >> np.uint64(32)


@inlined
def hash_key(multipliers, keys, k, words):
    """Hash of the first `words` words of key `k`; an unsigned number of 32 bits."""
    total = np.uint64(words)
    for word in range(words):
        value = keys[k, word]
        total += (value ^ value >> np.uint64(32)) * multipliers[word]
    return _fold(total)


@inlined
def _hash_masked(table, subtable, keys, k):
    """Hash of key `k` under the mask of a subtable."""
    total = table.subtables[subtable].seed
    for word in range(table.subtables[subtable].words):
        value = keys[k, word] & table.masks[subtable, word]
        total += (value ^ value >> np.uint64(32)) * table.multipliers[word]
    return _fold(total)


@inlined
def _find(table, which, subtable, keys, k, hashed):
    """Megaflow of key `k` in one subtable, or EMPTY."""
    mask = np.uint64(table.slots.shape[1] - 1)
    at = np.uint64(hashed) & mask
    while True:
        slot = table.slots[which, at]
        flow = np.int64(slot.flow)
        if flow == EMPTY:
            return flow
        if flow >= 0 and slot.hashed == hashed and table.flows[np.uint64(flow)].subtable == subtable:
            same = True
            for word in range(table.subtables[subtable].words):
                same &= keys[k, word] & table.masks[subtable, word] == table.keys[np.uint64(flow), word]
            if same:
                return flow
        at = at + np.uint64(1) & mask


@inlined
def megaflow_lookup(table, keys, k, worker):
    """Return (megaflow or EMPTY, subtables asked) for key `k`, all of whose words are set."""
    which = table.active[0]
    count = table.active[1]
    for asked in range(count):
        subtable = np.uint64(table.order[asked])
        flow = _find(table, which, subtable, keys, k, _hash_masked(table, subtable, keys, k))
        if flow >= 0:
            table.subtable_hits[worker, subtable] += 1
            return flow, asked + 1
    return np.int64(EMPTY), count


@kernel
def find_flow(table, keys, k):
    """Return the megaflow of key `k`, or EMPTY; for the writer, who does not count."""
    which = table.active[0]
    for asked in range(table.active[1]):
        subtable = np.uint64(table.order[asked])
        flow = _find(table, which, subtable, keys, k, _hash_masked(table, subtable, keys, k))
        if flow >= 0:
            return flow
    return np.int64(EMPTY)


@inlined
def _place(table, which, flow, hashed):
    mask = np.uint64(table.slots.shape[1] - 1)
    at = np.uint64(hashed) & mask
    while table.slots[which, at].flow >= 0:
        at = at + np.uint64(1) & mask
    table.slots[which, at].hashed = hashed
    table.slots[which, at].flow = flow


@kernel
def publish(table, flow):
    """Let lookups find a megaflow whose key, program and subtable stand in its row."""
    subtable = np.uint64(table.flows[flow].subtable)
    _place(table, table.active[0], flow, _hash_masked(table, subtable, table.keys, flow))


@kernel
def withdraw(table, flow):
    """Let lookups find a megaflow no more; its row and slot are not yet free. Return whether it was there."""
    subtable = np.uint64(table.flows[flow].subtable)
    mask = np.uint64(table.slots.shape[1] - 1)
    which = table.active[0]
    at = np.uint64(_hash_masked(table, subtable, table.keys, flow)) & mask
    while table.slots[which, at].flow != EMPTY:
        if table.slots[which, at].flow == flow:
            table.slots[which, at].flow = TAKEN_AWAY
            table.flows[flow].alive = 0
            table.flows[flow].age += np.uint32(1)
            return True
        at = at + np.uint64(1) & mask
    return False


@kernel
def sweep(table):
    """Write all living megaflows into the other table of slots, without the places of those taken away, and let it be read.

    What is read now must not be written before every worker has begun another iteration.
    """
    other = 1 - table.active[0]
    for at in range(table.slots.shape[1]):
        table.slots[other, at].flow = EMPTY
    for flow in range(len(table.flows)):
        if table.flows[flow].alive:
            subtable = np.uint64(table.flows[flow].subtable)
            _place(table, other, flow, _hash_masked(table, subtable, table.keys, flow))
    table.active[0] = other
