"""The held frames of one NAPI instance: who is held, where to find it, in which order it leaves.

Two lists run through the slots. A *chain* is a bucket of the hash table, youngest first, for
finding. A *group* is what has a depth limit and one order of leaving: in the kernel's table every
bucket is a group of its own, in an unlimited table all held frames are one group. Payload of a
merged frame stays where it came until the frame leaves, at most to the end of the call; then its
descriptors are parked. Nothing is allocated after the table is made.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pktpath.batch import Batch, batch_of, make_batch, make_batches
from pktpath.jit import inlined
from pktpath.offload.reason import REASONS
from pktpath.offload.rules import KERNEL_BUCKET_DEPTH, KERNEL_BUCKETS
from pktpath.pool import make_pool
from pktpath.wire import ethernet, ipv4, ipv6
from pktpath.wire.load import load16, load32, word32, word64

_FIELDS = (
    # The first cache line: what most frames need.
    *((name, "i8") for name in ("key", "extent", "kind", "at")),
    *((name, "u4") for name in ("next_seq", "next_id", "id_step")),
    ("room", "i4"),
    ("payload_sum", "i8"),
    ("last", "i4"),
    ("count", "i4"),
    ("layout", "i8"),
    *((name, "i4") for name in ("chain", "mss", "limit", "mask", "first", "chunk", "reason", "bucket", "older", "younger")),
    *((name, "i4") for name in ("parked", "parked_last", "parked_count", "age")),
)
SLOT = np.dtype(
    {
        "names": [name for name, _ in _FIELDS],
        "formats": [kind for _, kind in _FIELDS],
        "itemsize": 128,
    }
)
"""What lookup and merging need of a held frame.

key, layout: what must be equal beside bytes of the frame; extent, kind: those of the descriptors that may
continue it the short way, extent is NO_EXTENT where none may; mask: what `continues` compares; at: address
of its headers, from the first merge on in `chunk`; next_seq,
next_id: sequence number, and IPv4 ID with the fragment word behind it, of the segment that
continues it; id_step: what next_id goes up by, decided by the second segment; chain: the next older slot
of its bucket; mss: payload of each segment but the last; limit: all payload must be less; room: what is
left of that; count: segments so far, 0 of a free slot; parked, parked_last, parked_count: those of earlier calls;
first, last: those of this one, last is NOBODY where there are none; payload_sum: not folded,
negative where unknown; reason: why it did not merge itself; older, younger: in its group; age: the
jiffy in which it was first held.
"""
OLDEST, YOUNGEST, HELD = 0, 1, 2
"""One row of `GroTable.groups`."""
SLOTS, PARKED = 0, 1
"""Index into `GroTable.free`."""
NOBODY = -1
_HINTS, HINT_SHIFT = 256, 8
NO_EXTENT = -1

UNLIMITED = 0
"""A depth: no limit but the table's own size, and held frames leave in the order in which they came."""


class GroTable(NamedTuple):
    """State of GRO between two frames; it may outlive a batch, its addresses are those of one pool."""

    parked: Batch
    """Descriptors (frames,) of held frames and their segments that came in an earlier call; of no fragment."""
    slots: Any
    """(frames,) records of type SLOT."""
    buckets: NDArray[np.int64]
    """(buckets,) youngest slot of each chain, or NOBODY."""
    hints: NDArray[np.int64]
    """(a power of two,) slot that a flow was last found in, by other bits of its hash: a guess, so that a long chain is
    not walked for each frame. A card's queue is chosen by the bits that choose the bucket: of eight queues each has one chain.
    Of no length in an unlimited table, whose chains are short."""
    groups: NDArray[np.int64]
    """(groups, 3) oldest slot, youngest slot, number of slots."""
    free_slots: NDArray[np.uint32]
    """(frames,) a stack of free slots; a group's limit makes sure that it is never empty."""
    free_parked: NDArray[np.uint32]
    """(frames,) a stack of free descriptors in `parked`."""
    free: NDArray[np.int64]
    """(2,) how many slots and parked descriptors are free: `free[SLOTS]`, `free[PARKED]`."""
    counts: NDArray[np.int64]
    """(REASONS,) frames delivered so far by their `Reason`."""
    merged: NDArray[np.int64]
    """(1,) frames delivered so far as a later segment of a merged one."""
    jiffy: NDArray[np.int64]
    """(1,) the jiffy that runs, for whoever flushes old frames only; the low 31 bits of it."""
    depth: int
    """Slots in a group before the oldest must go."""
    bucket_mask: int
    """Bucket of a frame: its hash under this mask."""
    group_mask: int
    """Group of a frame: its bucket under this mask."""


def make_gro_table(*, buckets: int = KERNEL_BUCKETS, depth: int = KERNEL_BUCKET_DEPTH, frames: int = 4096) -> GroTable:
    """Return an empty table.

    Args:
        buckets: chains, a power of two; the kernel has 8. At `depth=UNLIMITED` there are at least `frames` of them.
        depth: held frames in a bucket; the kernel has 8. UNLIMITED holds up to `frames`.
        frames: segments that may stay held from one call to the next; at `depth=UNLIMITED` no more frames are held at all.

    Raises:
        ValueError: `buckets` is not a power of two, or another value is below its least.

    """
    if buckets < 1 or buckets & (buckets - 1) or depth < 0 or frames < 1:
        message = f"no table has {buckets} buckets of depth {depth} for {frames} frames: buckets must be a power of two"
        raise ValueError(message)
    if depth == UNLIMITED:
        buckets = max(buckets, 1 << (frames - 1).bit_length())
        slots, groups, depth = frames, 1, frames
    else:
        slots, groups = buckets * depth, buckets
    table = GroTable(
        parked=make_batch(make_pool(header=0), frames, 1),
        slots=np.zeros(slots, SLOT).view(np.recarray),
        buckets=np.full(buckets, NOBODY, np.int64),
        hints=np.zeros(_HINTS if groups > 1 else 0, np.int64),
        groups=np.full((groups, 3), NOBODY, np.int64),
        free_slots=np.arange(slots, dtype=np.uint32)[::-1].copy(),
        free_parked=np.arange(frames, dtype=np.uint32)[::-1].copy(),
        free=np.array([slots, frames], np.int64),
        counts=np.zeros(REASONS, np.int64),
        merged=np.zeros(1, np.int64),
        jiffy=np.zeros(1, np.int64),
        depth=depth,
        bucket_mask=buckets - 1,
        group_mask=groups - 1,
    )
    table.groups[:, HELD] = 0
    return table


def make_gro_tables(count: int, *, frames: int = 4096) -> GroTable:
    """Return `count` empty tables of the kernel's size as one: each array has a first axis more, and `gro_of` takes one out."""
    one = make_gro_table(frames=frames)
    arrays: dict[str, Any] = {
        name: np.stack([getattr(one, name)] * count)
        for name in GroTable._fields
        if isinstance(getattr(one, name), np.ndarray) and name != "slots"
    }
    slots = np.zeros((count, len(one.slots)), SLOT).view(np.recarray)
    return one._replace(parked=make_batches(one.parked.pool, count, frames, 1), slots=slots, **arrays)


@inlined
def gro_of(tables, number):
    """Return one of the tables of `make_gro_tables`: views, nothing is copied."""
    return GroTable(
        batch_of(tables.parked, number),
        tables.slots[number],
        tables.buckets[number],
        tables.hints[number],
        tables.groups[number],
        tables.free_slots[number],
        tables.free_parked[number],
        tables.free[number],
        tables.counts[number],
        tables.merged[number],
        tables.jiffy[number],
        tables.depth,
        tables.bucket_mask,
        tables.group_mask,
    )


@inlined
def hint_of(hints, flow_hash):
    """Return the index of a flow's hint; unsigned."""
    return np.uint64(np.int64(flow_hash) >> HINT_SHIFT & (len(hints) - 1))


@inlined
def find(buckets, hints, slots, mem, at, key, layout, bucket, network_offset, transport_offset):
    """Return the held frame of the same flow as the one at `at`, or NOBODY.

    The same flow is the same hash, port, VLAN tag, link header, addresses, protocol and ports; for
    IPv6 also the same flow label and extension headers. `key` and `layout` hold what is no byte of
    the frame and where its headers lie (`gro_list_prepare` and the receive functions below it).
    """
    slot = buckets[np.uint64(bucket)]
    if slot < 0:
        return slot
    hint = hint_of(hints, key & 0xFFFFFFFF)
    if len(hints) > 0:
        guess = hints[hint]
        held = slots[np.uint64(guess)]
        if (
            held.count > 0
            and held.key == key
            and held.layout == layout
            and _same_flow(mem, at, held.at, network_offset, transport_offset)
        ):
            return guess
    while slot >= 0:
        held = slots[np.uint64(slot)]
        if held.key == key and held.layout == layout and _same_flow(mem, at, held.at, network_offset, transport_offset):
            if len(hints) > 0:
                hints[hint] = slot
            return slot
        slot = np.int64(held.chain)
    return slot


@inlined
def _same_flow(mem, a, b, network_offset, transport_offset):
    if word32(mem, a + transport_offset) != word32(mem, b + transport_offset):  # ports
        return False
    if network_offset == ethernet.LENGTH:
        if word64(mem, a) != word64(mem, b) or word64(mem, a + 6) != word64(mem, b + 6):
            return False
    elif not _same_words(mem, a, b, network_offset):
        return False
    a += network_offset
    b += network_offset
    length = transport_offset - network_offset
    if length == ipv4.LENGTH:
        return word64(mem, a + ipv4.SOURCE) == word64(mem, b + ipv4.SOURCE)
    # Version and flow label, not traffic class; next header; addresses; extension headers.
    return (
        (load32(mem, a) ^ load32(mem, b)) & 0xF00FFFFF == 0
        and load16(mem, a + ipv6.NEXT_HEADER) >> 8 == load16(mem, b + ipv6.NEXT_HEADER) >> 8
        and _same_words(mem, a + ipv6.SOURCE, b + ipv6.SOURCE, length - ipv6.SOURCE)
    )


@inlined
def _same_words(mem, a, b, length):
    """Whether two ranges of an even length are equal; every header before a transport has one."""
    k = 0
    while k + 8 <= length:
        if word64(mem, a + k) != word64(mem, b + k):
            return False
        k += 8
    while k < length:
        if load16(mem, a + k) != load16(mem, b + k):
            return False
        k += 2
    return True


@inlined
def link_slot(buckets, groups, slots, slot, bucket, group):
    """Make a slot the youngest of its chain and of its group; the three numbers are unsigned."""
    held = slots[slot]
    held.bucket = bucket
    held.chain = buckets[bucket]
    buckets[bucket] = slot
    order = groups[group]
    older = order[YOUNGEST]
    held.older = older
    held.younger = NOBODY
    if older >= 0:
        slots[np.uint64(older)].younger = slot
    else:
        order[OLDEST] = slot
    order[YOUNGEST] = slot
    order[HELD] += 1


@inlined
def unlink_slot(buckets, groups, slots, slot, group):
    """Take a slot out of its chain and its group."""
    held = slots[slot]
    before = buckets[held.bucket]
    if before == slot:
        buckets[held.bucket] = held.chain
    else:
        while slots[before].chain != slot:
            before = np.int64(slots[before].chain)
        slots[before].chain = held.chain
    older = np.int64(held.older)
    younger = np.int64(held.younger)
    if older >= 0:
        slots[older].younger = younger
    else:
        groups[group, OLDEST] = younger
    if younger >= 0:
        slots[younger].older = older
    else:
        groups[group, YOUNGEST] = older
    groups[group, HELD] -= 1
