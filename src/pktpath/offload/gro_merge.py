"""The memory of GRO: hold a frame, append payload to it, give it away with its lengths made right.

No payload byte moves. The first merge copies the headers into a chunk of their own, because those of
the frame may be read-only; the payload behind them becomes the first range, each later payload one
more. Sources: `skb_gro_receive`, `tcp4_gro_complete`, `udp4_gro_complete`, `inet_gro_complete`.
"""

import numpy as np

from pktpath.batch import (
    CHECKSUM_PARTIAL,
    FRAGS,
    FRAMES,
    GSO_TCP_ACCECN,
    GSO_TCP_ECN,
    GSO_TCP_FIXEDID,
    GSO_TCPV4,
    GSO_TCPV6,
    GSO_UDP_L4,
    copy_descriptor,
)
from pktpath.jit import inlined
from pktpath.offload.gro_match import short_way
from pktpath.offload.gro_table import NO_EXTENT, NODES, SLOTS, link_slot, unlink_slot
from pktpath.offload.reason import Reason
from pktpath.pool import HEADROOM, NO_CHUNK, chunk_address, chunk_alloc, chunk_class_for
from pktpath.wire import ethernet, ipv4, ipv6, link, tcp, udp
from pktpath.wire.checksum import fold, pseudo_sum, swap
from pktpath.wire.load import copy_bytes, load16, load32, store16

_NONE, _ALONE, _EVICTED = int(Reason.NONE), int(Reason.ALONE), int(Reason.EVICTED)
_NO_MEMORY = int(Reason.NO_MEMORY)
MOST = 65536
"""A merged frame stays below this: its length must fit into an IPv4 header (GRO_LEGACY_MAX_SIZE)."""


@inlined
def hold(batch, i, table, key, layout, bucket, group, reason, rules):
    """Hold frame `i`, with its chunks; a slot must be free. `reason` is why it did not merge, 0 if it had no chance to."""
    mem = batch.pool.mem
    left = table.free[SLOTS] - 1
    table.free[SLOTS] = left
    slot = np.uint64(table.free_slots[left])
    copy_descriptor(batch, i, table.held, slot)
    table.held.frames[slot].reason = reason
    held = table.slots[slot]
    at = batch.frames[i].head_addr
    payload = np.int64(batch.frames[i].payload_len)
    # The kernel measures from the end of the 14 bytes of Ethernet: tags in the frame count.
    network_start = ethernet.LENGTH if batch.frames[i].link == link.ETHERNET else np.int64(batch.frames[i].network_offset)
    held.key = key
    held.layout = layout
    held.extent = NO_EXTENT
    held.at = at
    # Means nothing for UDP, whose header and at least one byte of payload stand there.
    held.next_seq = (load32(mem, at + batch.frames[i].transport_offset + tcp.SEQUENCE) + payload) & 0xFFFFFFFF
    held.next_id = load32(mem, at + batch.frames[i].network_offset + ipv4.ID)
    held.id_step = 0
    held.mss = payload
    held.payload = payload
    held.room = min(rules.gro_max_size, MOST) - payload - (np.int64(batch.frames[i].payload_offset) - network_start)
    held.count = 1
    held.payload_sum = batch.frames[i].payload_sum
    link_slot(table.buckets, table.groups, table.slots, np.int64(slot), bucket, group)


@inlined
def own_headers(table, slot, held, pool, headers):
    """Before the first merge: copy the headers to a fresh chunk, the payload becomes the first range. 0 or NO_MEMORY."""
    left = table.free[NODES] - 1
    chunk_class = chunk_class_for(headers)
    # A second node is for the payload that comes.
    if left < 1 or chunk_class < 0:
        return _NO_MEMORY
    chunk = chunk_alloc(pool, chunk_class)
    if chunk == NO_CHUNK:
        return _NO_MEMORY
    target = chunk_address(pool, chunk) + HEADROOM
    copy_bytes(pool.mem, target, held.at, headers)
    table.free[NODES] = left
    number = table.free_nodes[left]
    node = table.nodes[number]
    node.address = held.at + headers
    node.length = held.payload
    node.chunk = table.held.frames[slot].head_chunk
    node.origin = table.held.frames[slot].origin
    held.first_node = number
    held.last_node = number
    held.at = target
    held.extent, held.kind, held.mask = short_way(table.held.frames[slot], target, pool.mem)
    table.held.frames[slot].head_addr = target
    table.held.frames[slot].head_len = headers
    table.held.frames[slot].head_chunk = chunk
    return _NONE


@inlined
def append(batch, i, nodes, free, free_nodes, held, payload_offset, payload):
    """Append the payload of frame `i` to a held frame with headers of its own; a node must be free."""
    left = free[NODES] - 1
    free[NODES] = left
    number = free_nodes[left]
    node = nodes[number]
    node.address = batch.frames[i].head_addr + payload_offset
    node.length = payload
    # The count of the frame's one chunk now belongs to its payload.
    node.chunk = batch.frames[i].head_chunk
    node.origin = batch.frames[i].origin
    nodes[held.last_node].next = number
    held.last_node = number
    if held.payload_sum >= 0:
        held.payload_sum = _joined_sum(held.payload_sum, held.payload, np.int64(batch.frames[i].payload_sum))
    held.payload += payload
    held.room -= payload
    held.next_seq = (held.next_seq + payload) & 0xFFFFFFFF
    held.next_id = (held.next_id + held.id_step) & 0xFFFFFFFF
    held.count += 1


@inlined
def _joined_sum(known, length, part):
    """Sum of `length` bytes followed by others; -1 where a part is unknown."""
    if part < 0:
        return np.int64(-1)
    return fold(known + (swap(part) if length & 1 else part))


@inlined
def deliver(batch, i, out, table, reason):
    """Move frame `i` to the end of `out`, unchanged and with its chunks."""
    frame = batch.frames[i]
    j = np.uint64(out.used[FRAMES])
    out.used[FRAMES] += 1
    copy_descriptor(batch, i, out, j)
    out.frames[j].reason = reason
    table.counts[reason] += 1
    row = out.used[FRAGS]
    out.frames[j].frag_first = row
    out.frames[j].frag_count = frame.frag_count
    for source in range(frame.frag_first, frame.frag_first + frame.frag_count):
        out.frag_addr[row] = batch.frag_addr[source]
        out.frag_len[row] = batch.frag_len[source]
        out.frag_chunk[row] = batch.frag_chunk[source]
        out.frag_origin[row] = batch.frag_origin[source]
        row += 1
    out.used[FRAGS] = row


@inlined
def complete(out, table, slot, why, rules):
    """Move a held frame to the end of `out`; `why` is what ended it."""
    held = table.slots[slot]
    # Unsigned, so that numba does not look whether an index is negative.
    j = np.uint64(out.used[FRAMES])
    out.used[FRAMES] += 1
    copy_descriptor(table.held, np.uint64(slot), out, j)
    row = out.used[FRAGS]
    out.frames[j].frag_first = row
    out.frames[j].frag_count = 0
    reason = np.int64(why)
    if held.count > 1:
        out.used[FRAGS] = _move_ranges(out, table.nodes, table.free, table.free_nodes, held, row)
        out.frames[j].frag_count = held.count
        table.merged[0] += held.count - 1
        _complete_headers(out, j, held, rules)
    elif out.frames[j].reason != _NONE:
        reason = np.int64(out.frames[j].reason)
    elif why != _EVICTED:
        reason = np.int64(_ALONE)
    out.frames[j].reason = reason
    table.counts[reason] += 1
    unlink_slot(table.buckets, table.groups, table.slots, slot, held.bucket & table.group_mask)
    table.free_slots[table.free[SLOTS]] = slot
    table.free[SLOTS] += 1


@inlined
def _move_ranges(out, nodes, free, free_nodes, held, row):
    """Write the payload ranges of a held frame from `row` on, free their nodes, and return the row after."""
    number = held.first_node
    left = free[NODES]
    for k in range(held.count):
        node = nodes[number]
        r = np.uint64(row + k)
        out.frag_addr[r] = node.address
        out.frag_len[r] = node.length
        out.frag_chunk[r] = node.chunk
        out.frag_origin[r] = node.origin
        free_nodes[np.uint64(left + k)] = number
        number = node.next
    free[NODES] = left + held.count
    return row + held.count


@inlined
def _complete_headers(out, j, held, rules):
    """Write lengths and the pseudo-header sum into the private headers, and what they mean into the columns."""
    to = out.frames[j]
    mem = out.pool.mem
    payload = np.int64(held.payload)
    headers = np.int64(to.payload_offset)
    network_offset = np.int64(to.network_offset)
    transport = np.int64(to.transport_offset)
    to.frame_len = headers + payload
    to.wire_len = headers + payload
    to.payload_len = payload
    to.payload_sum = held.payload_sum
    at = held.at + network_offset
    length = headers + payload - network_offset
    network = np.int64(to.network)
    if network == 4:
        old = load16(mem, at + ipv4.TOTAL_LENGTH)
        check = load16(mem, at + ipv4.CHECKSUM)
        store16(mem, at + ipv4.TOTAL_LENGTH, length)
        store16(mem, at + ipv4.CHECKSUM, fold((check ^ 0xFFFF) + (old ^ 0xFFFF) + length) ^ 0xFFFF)
    else:
        store16(mem, at + ipv6.PAYLOAD_LENGTH, length - ipv6.LENGTH)
    protocol = np.int64(to.protocol)
    length = headers + payload - transport
    pseudo = pseudo_sum(mem, at, network, protocol, length)
    at = held.at + transport
    if protocol == tcp.PROTOCOL:
        to.csum_offset = tcp.CHECKSUM
        store16(mem, at + tcp.CHECKSUM, pseudo)
        kind = GSO_TCPV4 if network == 4 else GSO_TCPV6
        if network == 4 and held.id_step == 0:
            kind |= GSO_TCP_FIXEDID
        if load16(mem, at + tcp.FLAG_WORD) & tcp.CWR:
            kind |= GSO_TCP_ACCECN if rules.accurate_ecn else GSO_TCP_ECN
    else:
        to.csum_offset = udp.CHECKSUM
        store16(mem, at + udp.UDP_LENGTH, length)
        store16(mem, at + udp.CHECKSUM, pseudo)
        kind = GSO_UDP_L4
    to.csum_start = transport
    to.ip_summed = CHECKSUM_PARTIAL
    to.gso_type = kind
    to.gso_size = held.mss
    to.gso_segs = held.count
