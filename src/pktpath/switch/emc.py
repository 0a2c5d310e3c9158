"""The exact-match cache: whole keys of recent packets, and the megaflow that each belongs to.

As in Open vSwitch (lib/dpif-netdev-private-dfc.h): 8,192 entries, two places for each hash, a new key enters
with a probability. An entry is one cache line; what a key has beyond `SHORT_WORDS` lies in an array of its own.
An entry names its megaflow and that one's age: a megaflow that went away takes its entries with it.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pktpath.jit import inlined
from pktpath.switch.fields import KEY_WORDS, SHORT_WORDS

ENTRIES = 8192
_MASK = ENTRIES - 1
_BITS = 13
DEFAULT_INSERT_INV_PROB = 100
"""One new key in so many enters (other_config:emc-insert-inv-prob of Open vSwitch)."""
NO_FLOW = -1
_ALWAYS = (1 << 32) - 1

_ENTRY = np.dtype(
    {
        "names": ["w0", "w1", "w2", "w3", "w4", "flow", "age", "hashed", "words"],
        "formats": ["u8"] * 5 + ["i4", "u4", "u4", "i4"],
        "itemsize": 64,
    }
)


class Emc(NamedTuple):
    """The cache of one worker."""

    entries: Any
    """(ENTRIES,) records: the first words of a key, its megaflow, that one's age, the key's hash, its words (0: empty)."""
    rest: NDArray[np.uint64]
    """(ENTRIES, KEY_WORDS - SHORT_WORDS) the other words of long keys."""
    chance: NDArray[np.uint64]
    """(2,) state of the generator; a number of 32 bits below which a new key enters, 0 for a cache that is off."""


def make_emc(insert_inv_prob: int = DEFAULT_INSERT_INV_PROB) -> Emc:
    """Return an empty cache that one new key in `insert_inv_prob` enters, all with 1, none with 0."""
    room = np.zeros(ENTRIES * _ENTRY.itemsize + 64, np.uint8)
    start = -room.ctypes.data % 64
    entries = room[start : start + ENTRIES * _ENTRY.itemsize].view(_ENTRY).view(np.recarray)
    entries.flow = NO_FLOW
    below = 0 if insert_inv_prob == 0 else _ALWAYS // insert_inv_prob + 1 if insert_inv_prob > 1 else _ALWAYS + 1
    return Emc(entries, np.zeros((ENTRIES, KEY_WORDS - SHORT_WORDS), np.uint64), np.array([88172645463325252, below], np.uint64))


@inlined
def _same_key(emc, at, keys, k, words, hashed):
    entry = emc.entries[at]
    if (
        entry.hashed != hashed
        or entry.words != words
        or entry.w0 != keys[k, 0]
        or entry.w1 != keys[k, 1]
        or entry.w2 != keys[k, 2]
        or entry.w3 != keys[k, 3]
        or entry.w4 != keys[k, 4]
    ):
        return False
    same = True
    for word in range(SHORT_WORDS, words):
        same &= emc.rest[at, word - SHORT_WORDS] == keys[k, word]
    return same


@inlined
def _places(hashed):
    """Return the two places where a key of this hash may stand."""
    value = np.int64(hashed)
    return np.uint64(value & _MASK), np.uint64(value >> _BITS & _MASK)


@inlined
def emc_lookup(emc, flows, keys, k, words, hashed):
    """Return the megaflow of key `k`, `words` long, or `NO_FLOW`."""
    first, second = _places(hashed)
    at = first
    if not _same_key(emc, at, keys, k, words, hashed):
        at = second
        if not _same_key(emc, at, keys, k, words, hashed):
            return np.int64(NO_FLOW)
    flow = np.int64(emc.entries[at].flow)
    return flow if flows[np.uint64(flow)].age == emc.entries[at].age else np.int64(NO_FLOW)


@inlined
def emc_insert(emc, flows, keys, k, words, hashed, flow):
    """Let key `k` enter, if chance will have it, in place of a dead entry or of the one with the lower hash."""
    state = emc.chance[0]
    state ^= state << np.uint64(13)
    state ^= state >> np.uint64(7)
    state ^= state << np.uint64(17)
    emc.chance[0] = state
    if state >> np.uint64(32) >= emc.chance[1]:
        return
    first, second = _places(hashed)
    at = first
    if not _same_key(emc, first, keys, k, words, hashed) and (
        _same_key(emc, second, keys, k, words, hashed)
        or (
            _alive(emc, flows, first)
            and (not _alive(emc, flows, second) or emc.entries[second].hashed < emc.entries[first].hashed)
        )
    ):
        at = second
    entry = emc.entries[at]
    entry.w0 = keys[k, 0]
    entry.w1 = keys[k, 1]
    entry.w2 = keys[k, 2]
    entry.w3 = keys[k, 3]
    entry.w4 = keys[k, 4]
    for word in range(SHORT_WORDS, words):
        emc.rest[at, word - SHORT_WORDS] = keys[k, word]
    entry.flow = flow
    entry.age = flows[np.uint64(flow)].age
    entry.hashed = hashed
    entry.words = words


@inlined
def _alive(emc, flows, at):
    flow = np.int64(emc.entries[at].flow)
    return flow >= 0 and flows[np.uint64(flow)].age == emc.entries[at].age
