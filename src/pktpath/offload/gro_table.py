"""The held frames of one NAPI instance: who is held, where to find it, in which order it leaves.

Two lists run through the slots. A *chain* is a bucket of the hash table, youngest first, for
finding. A *group* is what has a depth limit and one order of leaving: in the kernel's table every
bucket is a group of its own, in an unlimited table all held frames are one group. Payload of a
merged frame is a list of nodes until the frame leaves. Nothing is allocated after the table is made.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pktpath.batch import Batch, make_batch
from pktpath.jit import inlined
from pktpath.offload.reason import REASONS
from pktpath.offload.rules import KERNEL_BUCKET_DEPTH, KERNEL_BUCKETS
from pktpath.pool import make_pool
from pktpath.wire.load import load32, same_bytes, word32, word64

# One row of `GroTable.slots`, two cache lines; the first is what finding and merging read.
KEY, LAYOUT, AT, SIZE, PAYLOAD, ROOM, COUNT, LAST_NODE, CHAIN, FIXED_ID, SUM, FIRST_NODE, BUCKET, OLDER, YOUNGER = range(15)
SLOT_FIELDS = 16
OLDEST, YOUNGEST, HELD = 0, 1, 2
"""One row of `GroTable.groups`."""
ADDRESS, LENGTH, CHUNK, ORIGIN, NEXT = range(5)
"""One row of `GroTable.nodes`."""
FREE_SLOT, FREE_NODE = 0, 1
"""Index into `GroTable.free`."""
NOBODY = -1

UNLIMITED = 0
"""A depth: no limit but the table's own size, and held frames leave in the order in which they came."""


class GroTable(NamedTuple):
    """State of GRO between two frames; it may outlive a batch, its addresses are those of one pool."""

    held: Batch
    """A descriptor for each slot, its head; the fragment table of this batch is not used."""
    slots: NDArray[np.int64]
    """(frames, SLOT_FIELDS) what lookup and merging need of each held frame."""
    buckets: NDArray[np.int64]
    """(buckets,) youngest slot of each chain, or NOBODY."""
    groups: NDArray[np.int64]
    """(groups, 3) oldest slot, youngest slot, number of slots."""
    nodes: NDArray[np.int64]
    """(frames, 5) payload ranges."""
    free: NDArray[np.int64]
    """(2,) first free slot (linked by CHAIN) and first free node (linked by NEXT)."""
    counts: NDArray[np.int64]
    """(REASONS,) frames delivered so far by their `Reason`."""
    merged: NDArray[np.int64]
    """(1,) frames that were merged into a held one so far."""
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
        frames: payload ranges that merged frames may hold together: as many as frames come between two flushes.

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
        held=make_batch(make_pool(header=0), slots, 1),
        slots=np.zeros((slots, SLOT_FIELDS), np.int64),
        buckets=np.full(buckets, NOBODY, np.int64),
        groups=np.zeros((groups, 3), np.int64),
        nodes=np.zeros((frames, 5), np.int64),
        free=np.zeros(2, np.int64),
        counts=np.zeros(REASONS, np.int64),
        merged=np.zeros(1, np.int64),
        depth=depth,
        bucket_mask=buckets - 1,
        group_mask=groups - 1,
    )
    table.slots[:, CHAIN] = [*range(1, slots), NOBODY]
    table.nodes[:, NEXT] = [*range(1, frames), NOBODY]
    table.groups[:, :HELD] = NOBODY
    return table


@inlined
def find(table, mem, at, key, layout, bucket, network_offset, transport_offset):
    """Return the held frame of the same flow as the one at `at`, or NOBODY.

    The same flow is the same hash, port, VLAN tag, link header, addresses, protocol and ports; for
    IPv6 also the same flow label and extension headers. `key` and `layout` hold what is no byte of
    the frame and where its headers lie (`gro_list_prepare` and the receive functions below it).
    """
    slot = table.buckets[bucket]
    while slot >= 0:
        if (
            table.slots[slot, KEY] == key
            and table.slots[slot, LAYOUT] == layout
            and _same_flow(mem, at, table.slots[slot, AT], network_offset, transport_offset)
        ):
            return slot
        slot = table.slots[slot, CHAIN]
    return slot


@inlined
def _same_flow(mem, a, b, network_offset, transport_offset):
    if word32(mem, a + transport_offset) != word32(mem, b + transport_offset):  # ports
        return False
    if network_offset == 14:
        if word64(mem, a) != word64(mem, b) or word64(mem, a + 6) != word64(mem, b + 6):
            return False
    elif not same_bytes(mem, a, b, network_offset):
        return False
    a += network_offset
    b += network_offset
    length = transport_offset - network_offset
    if length == 20:
        return word64(mem, a + 12) == word64(mem, b + 12)
    # Version and flow label, not traffic class; next header; addresses; extension headers.
    return (
        (load32(mem, a) ^ load32(mem, b)) & 0xF00FFFFF == 0
        and mem[a + 6] == mem[b + 6]
        and same_bytes(mem, a + 8, b + 8, length - 8)
    )


@inlined
def link_slot(table, slot, bucket):
    """Make a slot the youngest of its chain and of its group."""
    slots = table.slots
    group = bucket & table.group_mask
    slots[slot, BUCKET] = bucket
    slots[slot, CHAIN] = table.buckets[bucket]
    table.buckets[bucket] = slot
    older = table.groups[group, YOUNGEST]
    slots[slot, OLDER] = older
    slots[slot, YOUNGER] = NOBODY
    if older >= 0:
        slots[older, YOUNGER] = slot
    else:
        table.groups[group, OLDEST] = slot
    table.groups[group, YOUNGEST] = slot
    table.groups[group, HELD] += 1


@inlined
def unlink_slot(table, slot):
    """Take a slot out of its chain and its group, and free it."""
    slots = table.slots
    bucket = slots[slot, BUCKET]
    group = bucket & table.group_mask
    following = slots[slot, CHAIN]
    before = table.buckets[bucket]
    if before == slot:
        table.buckets[bucket] = following
    else:
        while slots[before, CHAIN] != slot:
            before = slots[before, CHAIN]
        slots[before, CHAIN] = following
    older = slots[slot, OLDER]
    younger = slots[slot, YOUNGER]
    if older >= 0:
        slots[older, YOUNGER] = younger
    else:
        table.groups[group, OLDEST] = younger
    if younger >= 0:
        slots[younger, OLDER] = older
    else:
        table.groups[group, YOUNGEST] = older
    table.groups[group, HELD] -= 1
    slots[slot, CHAIN] = table.free[FREE_SLOT]
    table.free[FREE_SLOT] = slot
