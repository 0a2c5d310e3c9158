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
from pktpath.offload.gro_table import NOBODY, NODES, SLOTS, link_slot, unlink_slot
from pktpath.offload.reason import Reason
from pktpath.pool import HEADROOM, NO_CHUNK, chunk_address, chunk_alloc, chunk_class_for
from pktpath.wire import ethernet, ipv4, ipv6, link, tcp, udp
from pktpath.wire.checksum import fold, pseudo_sum, swap
from pktpath.wire.load import copy_bytes, load16, store16

_NONE, _ALONE, _EVICTED = int(Reason.NONE), int(Reason.ALONE), int(Reason.EVICTED)
_TOO_BIG, _NO_MEMORY = int(Reason.TOO_BIG), int(Reason.NO_MEMORY)
MOST = 65536
"""A merged frame stays below this: its length must fit into an IPv4 header (GRO_LEGACY_MAX_SIZE)."""


@inlined
def hold(batch, i, table, key, layout, bucket, group, reason, rules):
    """Hold frame `i`, with its chunks; a slot must be free. `reason` is why it did not merge, 0 if it had no chance to."""
    left = table.free[SLOTS] - 1
    table.free[SLOTS] = left
    slot = np.int64(table.free_slots[left])
    copy_descriptor(batch, i, table.held, slot)
    table.held.reason[slot] = reason
    held = table.slots[slot]
    payload = batch.payload_len[i]
    # The kernel measures from the end of the 14 bytes of Ethernet: tags in the frame count.
    network_start = ethernet.LENGTH if batch.link[i] == link.ETHERNET else np.int64(batch.network_offset[i])
    held.key = key
    held.layout = layout
    held.at = batch.head_addr[i]
    held.mss = payload
    held.payload = payload
    held.limit = min(rules.gro_max_size, MOST) - (np.int64(batch.payload_offset[i]) - network_start)
    held.count = 1
    held.fixed_id = 0
    held.payload_sum = batch.payload_sum[i]
    held.first_node = NOBODY
    link_slot(table.buckets, table.groups, table.slots, slot, bucket, group)


@inlined
def _own_headers(pool, mem, source, headers):
    """Copy headers to a fresh chunk; return it and the address of the copy, NO_CHUNK without memory."""
    chunk_class = chunk_class_for(headers)
    chunk = np.int64(NO_CHUNK)
    if chunk_class >= 0:
        chunk = chunk_alloc(pool, chunk_class)
    if chunk == NO_CHUNK:
        return chunk, source
    target = chunk_address(pool, chunk) + HEADROOM
    copy_bytes(mem, target, source, headers)
    return chunk, target


@inlined
def merge(batch, i, table, slot, payload_offset, payload):
    """Append the payload of frame `i` to a held frame and return 0, or the reason why it cannot be."""
    held = table.slots[slot]
    nodes = table.nodes
    so_far = np.int64(held.payload)
    if so_far + payload >= held.limit:
        return _TOO_BIG
    left = table.free[NODES] - 1
    if left < (1 if held.count == 1 else 0):
        return _NO_MEMORY
    if held.count == 1:
        chunk, target = _own_headers(batch.pool, batch.pool.mem, held.at, payload_offset)
        if chunk == NO_CHUNK:
            return _NO_MEMORY
        first = np.int64(table.free_nodes[left])
        left -= 1
        node = nodes[first]
        node.address = held.at + payload_offset
        node.length = so_far
        node.chunk = table.held.head_chunk[slot]
        node.origin = table.held.origin[slot]
        held.first_node = first
        held.last_node = first
        held.at = target
        table.held.head_addr[slot] = target
        table.held.head_len[slot] = payload_offset
        table.held.head_chunk[slot] = chunk
    table.free[NODES] = left
    number = np.int64(table.free_nodes[left])
    node = nodes[number]
    node.address = batch.head_addr[i] + payload_offset
    node.length = payload
    # The count of the frame's one chunk now belongs to its payload.
    node.chunk = batch.head_chunk[i]
    node.origin = batch.origin[i]
    nodes[np.int64(held.last_node)].next = number
    held.last_node = number
    if held.payload_sum >= 0:
        held.payload_sum = _joined_sum(held.payload_sum, so_far, np.int64(batch.payload_sum[i]))
    held.payload = so_far + payload
    held.count += 1
    return _NONE


@inlined
def _joined_sum(known, length, part):
    """Sum of `length` bytes followed by others; -1 where a part is unknown."""
    if part < 0:
        return np.int64(-1)
    return fold(known + (swap(part) if length & 1 else part))


@inlined
def deliver(batch, i, out, table, reason):
    """Move frame `i` to the end of `out`, unchanged and with its chunks."""
    j = out.used[FRAMES]
    out.used[FRAMES] = j + 1
    copy_descriptor(batch, i, out, j)
    out.reason[j] = reason
    table.counts[reason] += 1
    row = out.used[FRAGS]
    out.frag_first[j] = row
    out.frag_count[j] = batch.frag_count[i]
    for source in range(batch.frag_first[i], batch.frag_first[i] + batch.frag_count[i]):
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
    j = out.used[FRAMES]
    out.used[FRAMES] = j + 1
    copy_descriptor(table.held, slot, out, j)
    row = out.used[FRAGS]
    out.frag_first[j] = row
    out.frag_count[j] = 0
    reason = np.int64(why)
    if held.count > 1:
        out.used[FRAGS] = _move_ranges(out, table.nodes, table.free, table.free_nodes, held, row)
        out.frag_count[j] = held.count
        table.merged[0] += held.count - 1
        _complete_headers(out, j, held, rules)
    elif out.reason[j] != _NONE:
        reason = np.int64(out.reason[j])
    elif why != _EVICTED:
        reason = np.int64(_ALONE)
    out.reason[j] = reason
    table.counts[reason] += 1
    unlink_slot(table.buckets, table.groups, table.slots, slot, held.bucket & table.group_mask)
    table.free_slots[table.free[SLOTS]] = slot
    table.free[SLOTS] += 1


@inlined
def _move_ranges(out, nodes, free, free_nodes, held, row):
    """Write the payload ranges of a held frame from `row` on, free their nodes, and return the row after."""
    number = np.int64(held.first_node)
    left = free[NODES]
    for _ in range(held.count):
        node = nodes[number]
        out.frag_addr[row] = node.address
        out.frag_len[row] = node.length
        out.frag_chunk[row] = node.chunk
        out.frag_origin[row] = node.origin
        row += 1
        free_nodes[left] = number
        left += 1
        number = np.int64(node.next)
    free[NODES] = left
    return row


@inlined
def _complete_headers(out, j, held, rules):
    """Write lengths and the pseudo-header sum into the private headers, and what they mean into the columns."""
    mem = out.pool.mem
    payload = np.int64(held.payload)
    headers = np.int64(out.payload_offset[j])
    network_offset = np.int64(out.network_offset[j])
    transport = np.int64(out.transport_offset[j])
    out.frame_len[j] = headers + payload
    out.wire_len[j] = headers + payload
    out.payload_len[j] = payload
    out.payload_sum[j] = held.payload_sum
    at = held.at + network_offset
    length = headers + payload - network_offset
    network = np.int64(out.network[j])
    if network == 4:
        old = load16(mem, at + ipv4.TOTAL_LENGTH)
        check = load16(mem, at + ipv4.CHECKSUM)
        store16(mem, at + ipv4.TOTAL_LENGTH, length)
        store16(mem, at + ipv4.CHECKSUM, fold((check ^ 0xFFFF) + (old ^ 0xFFFF) + length) ^ 0xFFFF)
    else:
        store16(mem, at + ipv6.PAYLOAD_LENGTH, length - ipv6.LENGTH)
    protocol = np.int64(out.protocol[j])
    length = headers + payload - transport
    pseudo = pseudo_sum(mem, at, network, protocol, length)
    at = held.at + transport
    if protocol == tcp.PROTOCOL:
        out.csum_offset[j] = tcp.CHECKSUM
        store16(mem, at + tcp.CHECKSUM, pseudo)
        kind = GSO_TCPV4 if network == 4 else GSO_TCPV6
        if held.fixed_id:
            kind |= GSO_TCP_FIXEDID
        if load16(mem, at + tcp.FLAG_WORD) & tcp.CWR:
            kind |= GSO_TCP_ACCECN if rules.accurate_ecn else GSO_TCP_ECN
    else:
        out.csum_offset[j] = udp.CHECKSUM
        store16(mem, at + udp.UDP_LENGTH, length)
        store16(mem, at + udp.CHECKSUM, pseudo)
        kind = GSO_UDP_L4
    out.csum_start[j] = transport
    out.ip_summed[j] = CHECKSUM_PARTIAL
    out.gso_type[j] = kind
    out.gso_size[j] = held.mss
    out.gso_segs[j] = held.count
