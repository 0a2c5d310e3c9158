"""The sessions of one LRO manager (`struct net_lro_mgr`): few, looked through one by one, each of one flow.

What is taken of a session's later segments is here until it leaves; their payload stays where it came,
at most to the end of the call, as in `gro_table`. Nothing is allocated after the table is made.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pktpath.batch import Batch, make_batch
from pktpath.jit import inlined
from pktpath.offload.gro_table import NOBODY, SLOTS
from pktpath.offload.reason import REASONS
from pktpath.pool import make_pool
from pktpath.wire import ethernet, ipv4, link
from pktpath.wire.load import same_bytes, word32, word64
from pktpath.wire.parse import TAGGED

_FIELDS = (
    # The first cache line: what the lookup and most segments need.
    ("addresses", "u8"),
    *((name, "i8") for name in ("ports", "key", "layout", "at")),
    ("next_seq", "u4"),
    *((name, "i4") for name in ("count", "payload", "last")),
    # The second one.
    ("payload_sum", "i8"),
    *((name, "u4") for name in ("acknowledgment", "window", "tsval", "tsecr")),
    *((name, "i4") for name in ("mss", "headers", "behind_link", "behind_network", "transport", "stamped")),
    *((name, "i4") for name in ("first", "chunk", "parked", "parked_last", "parked_count")),
)
SESSION = np.dtype(
    {
        "names": [name for name, _ in _FIELDS],
        "formats": [kind for _, kind in _FIELDS],
        "itemsize": 128,
    }
)
"""One flow that is being merged (`struct net_lro_desc`); `count` is 0 where there is none.

addresses, ports, key, layout: what is equal in all its segments; at: address of its headers, from the
second segment on in `chunk`; next_seq: sequence number of the segment that continues it; count: segments
so far; payload: their bytes; payload_sum: not folded, negative where unknown; acknowledgment, window,
tsecr: those of the last segment; tsval: that of the first, 0 unless `stamped`, which says that it has
timestamps; mss: the longest payload; headers: bytes of headers of the first; behind_link, behind_network:
how many of them follow the Ethernet header, and stand from the IP header on; transport: offset of its TCP
header; first, last: segments of the call that runs, last is NOBODY where there are none; parked,
parked_last, parked_count: those of earlier calls.
"""
AGGREGATED, FLUSHED, NO_DESC = 0, 1, 2
"""Index into `LroTable.statistics`."""
STATISTICS = ("aggregated", "flushed", "no_desc")
SMALLEST_MTU, LARGEST_MTU = 68, 65535
_SLL_TYPE, _SLL2_LENGTH = 14, 20
"""In cooked captures the first tag's type stands right before the tags, or far in front of them."""


class LroTable(NamedTuple):
    """State of LRO between two frames; it may outlive a batch, its addresses are those of one pool."""

    parked: Batch
    """Descriptors (frames,) of segments that came in an earlier call; of no fragment."""
    sessions: Any
    """(max_desc,) records of type SESSION."""
    free_parked: NDArray[np.uint32]
    """(frames,) a stack of free descriptors in `parked`."""
    free: NDArray[np.int64]
    """(2,) how many sessions and parked descriptors are free: `free[SLOTS]`, `free[PARKED]`."""
    counts: NDArray[np.int64]
    """(REASONS,) frames delivered so far by their `Reason`."""
    merged: NDArray[np.int64]
    """(1,) frames delivered so far as a later segment of a merged one."""
    statistics: NDArray[np.int64]
    """(3,) the manager's own: segments put into sessions, sessions delivered, frames that found no free session."""
    max_desc: int
    """Flows at a time."""
    max_aggr: int
    """Segments at which a session is flushed."""
    mtu: int
    """A session is flushed when another frame of so many bytes of IP might not fit any more."""
    trust_partial: bool
    """A checksum left to the device counts as right."""


def make_lro_table(
    max_desc: int = 8, max_aggr: int = 64, mtu: int = 1500, frames: int = 4096, *, trust_partial: bool = False
) -> LroTable:
    """Return an empty table.

    Args:
        max_desc: flows held at once; drivers used 8 to 64.
        max_aggr: segments in a merged frame; drivers used 16 to 64.
        mtu: bytes of IP that the device receives, 68 to 65,535.
        frames: segments that may stay held from one call to the next.
        trust_partial: frames captured at their sender, before the device completed the checksum, may merge.

    Raises:
        ValueError: a value is outside what is allowed.

    """
    if min(max_desc, max_aggr, frames) < 1 or not SMALLEST_MTU <= mtu <= LARGEST_MTU:
        message = (
            f"no LRO with max_desc {max_desc}, max_aggr {max_aggr}, mtu {mtu} for {frames} frames: "
            f"all are at least 1, the MTU is {SMALLEST_MTU} to {LARGEST_MTU}"
        )
        raise ValueError(message)
    return LroTable(
        parked=make_batch(make_pool(header=0), frames, 1),
        sessions=np.zeros(max_desc, SESSION).view(np.recarray),
        free_parked=np.arange(frames, dtype=np.uint32)[::-1].copy(),
        free=np.array([max_desc, frames], np.int64),
        counts=np.zeros(REASONS, np.int64),
        merged=np.zeros(1, np.int64),
        statistics=np.zeros(len(STATISTICS), np.int64),
        max_desc=max_desc,
        max_aggr=max_aggr,
        mtu=mtu,
        trust_partial=trust_partial,
    )


@inlined
def identity(batch, i):
    """Return what tells the flow of frame `i`, TCP over IPv4: (addresses, ports, port and tag, link and header places).

    inet_lro looks at the first two only: a manager has one device, and takes the tag from the first
    segment. Here a table may serve several ports, and two VLANs are two networks.
    """
    frame = batch.frames[i]
    mem = batch.pool.mem
    at = frame.head_addr
    addresses = word64(mem, at + frame.network_offset + ipv4.SOURCE)
    ports = word32(mem, at + frame.transport_offset)
    key = np.int64(frame.in_port) << 32
    if frame.vlan_proto:
        key |= np.int64(frame.vlan_proto) << 16 | np.int64(frame.vlan_tci)
    layout = np.int64(frame.network_offset) << 16 | np.int64(frame.link) << 8 | np.int64(frame.shape_flags) & TAGGED
    return addresses, ports, key, layout


@inlined
def find_session(batch, i, table):
    """Return (session of the flow of frame `i` or NOBODY, first free session or NOBODY)."""
    addresses, ports, key, layout = identity(batch, i)
    mem = batch.pool.mem
    at = batch.frames[i].head_addr
    left = table.max_desc - table.free[SLOTS]
    free = np.int64(NOBODY)
    k = np.int64(0)
    while k < table.max_desc and (left > 0 or free < 0):
        session = table.sessions[np.uint64(k)]
        if session.count == 0:
            if free < 0:
                free = k
        else:
            left -= 1
            if (
                session.addresses == addresses
                and session.ports == ports
                and session.key == key
                and session.layout == layout
                and (not layout & TAGGED or _same_tags(mem, at, session.at, layout >> 16, batch.frames[i].link))
            ):
                return k, free
        k += 1
    return np.int64(NOBODY), free


@inlined
def _same_tags(mem, a, b, network_offset, kind):
    """Whether the tags between link header and IP header are equal, with the type before the first where it stands there."""
    start = np.int64(_SLL2_LENGTH)
    if kind == link.ETHERNET:
        start = np.int64(ethernet.ETHERTYPE)
    elif kind == link.SLL:
        start = np.int64(_SLL_TYPE)
    return same_bytes(mem, a + start, b + start, network_offset - start)
