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
from pktpath.offload.gro_table import (
    ADDRESS,
    AT,
    CHAIN,
    CHUNK,
    COUNT,
    FIRST_NODE,
    FIXED_ID,
    FREE_NODE,
    FREE_SLOT,
    KEY,
    LAST_NODE,
    LAYOUT,
    LENGTH,
    NEXT,
    NOBODY,
    ORIGIN,
    PAYLOAD,
    ROOM,
    SIZE,
    SUM,
    link_slot,
    unlink_slot,
)
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
def hold(batch, i, table, key, layout, bucket, reason, rules):
    """Hold frame `i`, with its chunks; a slot must be free. `reason` is why it did not merge, 0 if it had no chance to."""
    slot = table.free[FREE_SLOT]
    slots = table.slots
    table.free[FREE_SLOT] = slots[slot, CHAIN]
    copy_descriptor(batch, i, table.held, slot)
    table.held.reason[slot] = reason
    payload = np.int64(batch.payload_len[i])
    # The kernel measures from the end of the 14 bytes of Ethernet: tags in the frame count.
    network_start = ethernet.LENGTH if batch.link[i] == link.ETHERNET else np.int64(batch.network_offset[i])
    slots[slot, KEY] = key
    slots[slot, LAYOUT] = layout
    slots[slot, AT] = batch.head_addr[i]
    slots[slot, SIZE] = payload
    slots[slot, PAYLOAD] = payload
    slots[slot, ROOM] = min(rules.gro_max_size, MOST) - (np.int64(batch.frame_len[i]) - network_start)
    slots[slot, COUNT] = 1
    slots[slot, FIXED_ID] = 0
    slots[slot, SUM] = batch.payload_sum[i]
    slots[slot, FIRST_NODE] = NOBODY
    slots[slot, LAST_NODE] = NOBODY
    link_slot(table, slot, bucket)


@inlined
def _append(table, slot, address, length, chunk, origin):
    """Add a payload range to a held frame; a node must be free."""
    node = table.free[FREE_NODE]
    nodes = table.nodes
    table.free[FREE_NODE] = nodes[node, NEXT]
    nodes[node, ADDRESS] = address
    nodes[node, LENGTH] = length
    nodes[node, CHUNK] = chunk
    nodes[node, ORIGIN] = origin
    nodes[node, NEXT] = NOBODY
    last = table.slots[slot, LAST_NODE]
    if last >= 0:
        nodes[last, NEXT] = node
    else:
        table.slots[slot, FIRST_NODE] = node
    table.slots[slot, LAST_NODE] = node


@inlined
def _own_headers(table, slot, pool, mem, headers):
    """Copy the headers of a held frame to a fresh chunk; its payload becomes the first range. False without memory."""
    held = table.held
    chunk_class = chunk_class_for(headers)
    chunk = np.int64(NO_CHUNK)
    if chunk_class >= 0:
        chunk = chunk_alloc(pool, chunk_class)
    if chunk == NO_CHUNK:
        return False
    source = table.slots[slot, AT]
    target = chunk_address(pool, chunk) + HEADROOM
    copy_bytes(mem, target, source, headers)
    _append(table, slot, source + headers, table.slots[slot, PAYLOAD], held.head_chunk[slot], held.origin[slot])
    held.head_addr[slot] = target
    held.head_len[slot] = headers
    held.head_chunk[slot] = chunk
    held.reason[slot] = _NONE
    table.slots[slot, AT] = target
    return True


@inlined
def merge(batch, i, table, slot, payload_offset, payload):
    """Append the payload of frame `i` to a held frame and return 0, or the reason why it cannot be."""
    slots = table.slots
    nodes = table.nodes
    if payload >= slots[slot, ROOM]:
        return _TOO_BIG
    node = table.free[FREE_NODE]
    if node < 0:
        return _NO_MEMORY
    if slots[slot, COUNT] == 1 and (
        nodes[node, NEXT] < 0 or not _own_headers(table, slot, batch.pool, batch.pool.mem, payload_offset)
    ):
        return _NO_MEMORY
    # The count of the frame's one chunk now belongs to its payload.
    _append(table, slot, batch.head_addr[i] + payload_offset, payload, batch.head_chunk[i], batch.origin[i])
    known = slots[slot, SUM]
    if known >= 0:
        part = np.int64(batch.payload_sum[i])
        if part < 0:
            known = np.int64(-1)
        else:
            known = fold(known + (swap(part) if slots[slot, PAYLOAD] & 1 else part))
        slots[slot, SUM] = known
    slots[slot, PAYLOAD] += payload
    slots[slot, ROOM] -= payload
    slots[slot, COUNT] += 1
    table.merged[0] += 1
    return _NONE


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
    held = table.held
    count = table.slots[slot, COUNT]
    j = out.used[FRAMES]
    out.used[FRAMES] = j + 1
    copy_descriptor(held, slot, out, j)
    row = out.used[FRAGS]
    out.frag_first[j] = row
    out.frag_count[j] = 0
    if count == 1:
        if held.reason[slot] == _NONE:
            out.reason[j] = _EVICTED if why == _EVICTED else _ALONE
    else:
        out.reason[j] = why
        out.used[FRAGS] = _move_ranges(out, table, slot, row)
        out.frag_count[j] = out.used[FRAGS] - row
        _complete_headers(out, j, table, slot, count, rules)
    table.counts[out.reason[j]] += 1
    unlink_slot(table, slot)


@inlined
def _move_ranges(out, table, slot, row):
    """Write the payload ranges of a slot from `row` on, free their nodes, and return the row after."""
    nodes = table.nodes
    node = table.slots[slot, FIRST_NODE]
    while node >= 0:
        out.frag_addr[row] = nodes[node, ADDRESS]
        out.frag_len[row] = nodes[node, LENGTH]
        out.frag_chunk[row] = nodes[node, CHUNK]
        out.frag_origin[row] = nodes[node, ORIGIN]
        row += 1
        node = nodes[node, NEXT]
    last = table.slots[slot, LAST_NODE]
    nodes[last, NEXT] = table.free[FREE_NODE]
    table.free[FREE_NODE] = table.slots[slot, FIRST_NODE]
    return row


@inlined
def _complete_headers(out, j, table, slot, count, rules):
    """Write lengths and the pseudo-header sum into the private headers, and what they mean into the columns."""
    mem = out.pool.mem
    payload = table.slots[slot, PAYLOAD]
    headers = np.int64(out.payload_offset[j])
    network_offset = np.int64(out.network_offset[j])
    transport = np.int64(out.transport_offset[j])
    out.frame_len[j] = headers + payload
    out.wire_len[j] = headers + payload
    out.payload_len[j] = payload
    out.payload_sum[j] = table.slots[slot, SUM]
    at = out.head_addr[j] + network_offset
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
    at = out.head_addr[j] + transport
    if protocol == tcp.PROTOCOL:
        out.csum_offset[j] = tcp.CHECKSUM
        store16(mem, at + tcp.CHECKSUM, pseudo)
        kind = GSO_TCPV4 if network == 4 else GSO_TCPV6
        if table.slots[slot, FIXED_ID]:
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
    out.gso_size[j] = table.slots[slot, SIZE]
    out.gso_segs[j] = count
