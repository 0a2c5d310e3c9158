"""Hold a frame, and append the payload of others to it.

No payload byte moves. The first merge copies the headers into a chunk of their own, because those of
the frame may be read-only. A frame of the call that runs stays in its batch: a held one knows the first
and the last of its segments there, and each of them names the next. Sources: `skb_gro_receive`.
"""

import numpy as np

from pktpath.jit import inlined
from pktpath.offload.gro_match import short_way
from pktpath.offload.gro_table import NO_EXTENT, SLOTS, hint_of, link_slot
from pktpath.offload.reason import Reason
from pktpath.pool import HEADROOM, NO_CHUNK, chunk_address, chunk_alloc, chunk_class_for
from pktpath.wire import ethernet, ipv4, link, tcp
from pktpath.wire.load import LEAST_AT_ONCE, MOST_AT_ONCE, copy_at_once, copy_bytes, load32

_NONE, _NO_MEMORY = int(Reason.NONE), int(Reason.NO_MEMORY)
_UNKNOWN = -(1 << 36)
"""As a part of `payload_sum`: neither do all other segments make up for it, nor do all together overflow."""
_MOST = 65536
"""A merged frame stays below this: its length must fit into an IPv4 header (GRO_LEGACY_MAX_SIZE)."""


@inlined
def hold(batch, i, table, key, layout, bucket, group, reason, rules):
    """Hold frame `i`, with its chunks; a slot must be free. `reason` is why it did not merge, 0 if it had no chance to."""
    frame = batch.frames[i]
    mem = batch.pool.mem
    left = table.free[SLOTS] - 1
    table.free[SLOTS] = left
    slot = np.uint64(table.free_slots[np.uint64(left)])
    held = table.slots[slot]
    at = frame.head_addr
    payload = np.int64(frame.payload_len)
    # The kernel measures from the end of the 14 bytes of Ethernet: tags in the frame count.
    network_start = ethernet.LENGTH if frame.link == link.ETHERNET else np.int64(frame.network_offset)
    limit = min(rules.gro_max_size, _MOST) - (np.int64(frame.payload_offset) - network_start)
    held.key = key
    held.layout = layout
    held.extent = NO_EXTENT
    held.at = at
    # Means nothing for UDP, whose header and at least one byte of payload stand there.
    held.next_seq = (load32(mem, at + frame.transport_offset + tcp.SEQUENCE) + payload) & 0xFFFFFFFF
    held.next_id = load32(mem, at + frame.network_offset + ipv4.ID)
    held.id_step = 0
    held.mss = payload
    held.limit = limit
    held.room = limit - payload
    held.count = 1
    held.payload_sum = _part(np.int64(frame.payload_sum))
    held.first = i
    held.last = i
    held.parked_count = 0
    held.reason = reason
    held.age = table.jiffy[0]
    if len(table.hints) > 0:
        table.hints[hint_of(table.hints, frame.hash)] = slot
    link_slot(table.buckets, table.groups, table.slots, slot, np.uint64(bucket), np.uint64(group))


@inlined
def own_headers(frame, held, pool):
    """Before the first merge, with `frame`: copy the headers of the held one to a fresh chunk. 0 or NO_MEMORY."""
    if not copy_headers(held, np.int64(frame.payload_offset), pool):
        return _NO_MEMORY
    held.extent, held.kind, held.mask = short_way(frame, held.at, pool.mem)
    return _NONE


@inlined
def copy_headers(held, headers, pool):
    """Give a held frame its `headers` bytes of headers in a chunk of their own; False where the pool has none."""
    chunk_class = chunk_class_for(headers)
    if chunk_class < 0:
        return False
    chunk = chunk_alloc(pool, chunk_class)
    if chunk == NO_CHUNK:
        return False
    target = chunk_address(pool, chunk) + HEADROOM
    if LEAST_AT_ONCE <= headers <= MOST_AT_ONCE:
        copy_at_once(pool.mem, target, held.at, headers)
    else:
        copy_bytes(pool.mem, target, held.at, headers)
    held.at = target
    held.chunk = chunk
    return True


@inlined
def rejoin(batch, i, held):
    """Before the first merge in a call, with frame `i`, into a held one of which all is parked."""
    held.first = i
    held.last = i
    held.extent, held.kind, held.mask = short_way(batch.frames[i], held.at, batch.pool.mem)


@inlined
def append(batch, i, held, payload):
    """Append the payload of frame `i` to a held frame with headers of its own and a last segment in this batch."""
    batch.follower[np.uint64(held.last)] = i
    held.last = i
    # Each segment so far is of one length; a sum that starts at an odd offset counts 256 times.
    odd = np.int64(held.mss & held.count & 1)
    held.payload_sum += _part(np.int64(batch.frames[i].payload_sum)) << odd * 8
    held.room -= payload
    held.next_seq = (np.int64(held.next_seq) + payload) & 0xFFFFFFFF
    held.next_id = (np.int64(held.next_id) + np.int64(held.id_step)) & 0xFFFFFFFF
    held.count += 1


@inlined
def _part(known):
    return known if known >= 0 else np.int64(_UNKNOWN)
