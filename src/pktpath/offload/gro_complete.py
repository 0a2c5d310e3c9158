"""How a held frame leaves: delivered with its lengths made right, or kept beyond the batch that it came in.

Sources: `napi_gro_complete`, `tcp4_gro_complete`, `udp4_gro_complete`, `inet_gro_complete`.
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
from pktpath.offload.gro_table import HELD, NO_EXTENT, NOBODY, OLDEST, PARKED, SLOTS, YOUNGEST, unlink_slot
from pktpath.offload.reason import Reason
from pktpath.wire import ipv4, ipv6, tcp, udp
from pktpath.wire.checksum import fold, pseudo_sum
from pktpath.wire.load import load16, store16

_NONE, _ALONE, _EVICTED = int(Reason.NONE), int(Reason.ALONE), int(Reason.EVICTED)
_NO_MEMORY = int(Reason.NO_MEMORY)


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
def complete(batch, out, table, slot, why, rules):
    """Move a held frame to the end of `out` and free its slot; `why` is what ended it."""
    unlink_slot(table.buckets, table.groups, table.slots, slot, np.int64(table.slots[slot].bucket) & table.group_mask)
    _leave(batch, out, table, slot, why, rules)


@inlined
def complete_all(batch, out, table, rules):
    """Complete all that is held, bucket after bucket, in each the oldest first."""
    for group in range(table.group_mask + 1):
        slot = table.groups[group, OLDEST]
        while slot >= 0:
            held = table.slots[np.uint64(slot)]
            younger = np.int64(held.younger)
            table.buckets[np.uint64(held.bucket)] = NOBODY
            _leave(batch, out, table, slot, np.int64(_NONE), rules)
            slot = younger
        table.groups[group, OLDEST] = NOBODY
        table.groups[group, YOUNGEST] = NOBODY
        table.groups[group, HELD] = 0


@inlined
def complete_old(batch, out, table, rules):
    """Complete what was not first held in the jiffy that runs (`__napi_gro_flush_chain` with flush_old)."""
    for group in range(table.group_mask + 1):
        slot = table.groups[group, OLDEST]
        while slot >= 0 and table.slots[np.uint64(slot)].age != table.jiffy[0]:
            younger = np.int64(table.slots[np.uint64(slot)].younger)
            complete(batch, out, table, slot, np.int64(_NONE), rules)
            slot = younger


@inlined
def _leave(batch, out, table, slot, why, rules):
    held = table.slots[np.uint64(slot)]
    parked = np.int64(held.parked_count)
    j = lift(batch, out, table, held, parked)
    row = out.used[FRAGS]
    to = out.frames[j]
    to.frag_first = row
    reason = np.int64(why)
    count = np.int64(held.count)
    if count > 1:
        headers = np.int64(to.payload_offset)
        rows = _write_ranges(table.parked, held.parked, parked, headers, held.mss, out, row)
        rows = _write_ranges(batch, held.first, count - parked, headers, held.mss, out, rows)
        # All are of one length but the last.
        payload = np.int64(held.limit) - held.room
        out.frag_len[np.uint64(rows - 1)] = payload - (count - 1) * held.mss
        out.used[FRAGS] = rows
        table.merged[0] += count - 1
        pseudo = write_merged(out, j, held, payload)
        _complete_transport(out, j, held, pseudo, rules)
    elif held.reason != _NONE:
        reason = np.int64(held.reason)
    elif why != _EVICTED:
        reason = np.int64(_ALONE)
    to.reason = reason
    table.counts[np.uint64(reason)] += 1
    if parked > 0:
        free_parked(table, held.parked, parked)
    held.count = 0
    held.extent = NO_EXTENT
    left = table.free[SLOTS]
    table.free_slots[np.uint64(left)] = slot
    table.free[SLOTS] = left + 1


@inlined
def lift(batch, out, table, held, parked):
    """Append the first descriptor of a held frame, of which so many are parked, to `out`; return its row."""
    # Unsigned, so that numba does not look whether an index is negative.
    j = np.uint64(out.used[FRAMES])
    out.used[FRAMES] += 1
    if parked > 0:
        copy_descriptor(table.parked, np.uint64(held.parked), out, j)
    else:
        copy_descriptor(batch, np.uint64(held.first), out, j)
    return j


@inlined
def _write_ranges(source, first, count, headers, length, out, row):
    """Write the payload of `count` frames that follow each other as fragments from `row` on; return the row after."""
    i = np.uint64(first)
    for k in range(count):
        frame = source.frames[i]
        r = np.uint64(row + k)
        out.frag_addr[r] = frame.head_addr + headers
        out.frag_len[r] = length
        # The count of the frame's one chunk now belongs to its payload.
        out.frag_chunk[r] = frame.head_chunk
        out.frag_origin[r] = frame.origin
        i = np.uint64(source.follower[i])
    return row + count


@inlined
def park_all(batch, out, table, rules):
    """At the end of a call: keep the descriptors of what is held, since the batch goes. What finds no room is completed."""
    for group in range(table.group_mask + 1):
        slot = table.groups[group, OLDEST]
        while slot >= 0:
            held = table.slots[slot]
            younger = np.int64(held.younger)
            if table.free[PARKED] < np.int64(held.count) - held.parked_count:
                complete(batch, out, table, slot, np.int64(_NO_MEMORY), rules)
            else:
                park(batch, table, held)
                held.extent = NO_EXTENT
            slot = younger


@inlined
def park(batch, table, held):
    """Keep the descriptors of a held frame's segments in this batch; there must be room for them."""
    i = np.uint64(held.first)
    for _ in range(np.int64(held.count) - held.parked_count):
        left = table.free[PARKED] - 1
        table.free[PARKED] = left
        number = np.uint64(table.free_parked[left])
        copy_descriptor(batch, i, table.parked, number)
        if held.parked_count == 0:
            held.parked = number
        else:
            table.parked.follower[np.uint64(held.parked_last)] = number
        held.parked_last = number
        held.parked_count += 1
        i = np.uint64(batch.follower[i])
    held.last = NOBODY


@inlined
def free_parked(table, first, count):
    """Give back the parked descriptors of a frame that has left."""
    number = np.int64(first)
    left = table.free[PARKED]
    for k in range(count):
        table.free_parked[left + k] = number
        number = np.int64(table.parked.follower[number])
    table.free[PARKED] = left + count


@inlined
def write_merged(out, j, held, payload):
    """Give frame `j` its private headers and the lengths of `payload` bytes; return its pseudo-header's sum.

    What the transport header says of itself is left to the caller.
    """
    to = out.frames[j]
    mem = out.pool.mem
    headers = np.int64(to.payload_offset)
    network_offset = np.int64(to.network_offset)
    transport = np.int64(to.transport_offset)
    to.frag_count = held.count
    to.head_addr = held.at
    to.head_len = headers
    to.head_chunk = held.chunk
    to.frame_len = headers + payload
    to.wire_len = headers + payload
    to.payload_len = payload
    to.payload_sum = fold(np.int64(held.payload_sum)) if held.payload_sum >= 0 else -1
    to.csum_start = transport
    to.ip_summed = CHECKSUM_PARTIAL
    to.gso_size = held.mss
    to.gso_segs = held.count
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
    return pseudo_sum(mem, at, network, np.int64(to.protocol), headers + payload - transport)


@inlined
def _complete_transport(out, j, held, pseudo, rules):
    """Write length and checksum into the transport header, and what it means into the columns."""
    to = out.frames[j]
    mem = out.pool.mem
    transport = np.int64(to.transport_offset)
    at = held.at + transport
    if to.protocol == tcp.PROTOCOL:
        to.csum_offset = tcp.CHECKSUM
        store16(mem, at + tcp.CHECKSUM, pseudo)
        kind = GSO_TCPV4 if to.network == 4 else GSO_TCPV6
        if to.network == 4 and held.id_step == 0:
            kind |= GSO_TCP_FIXEDID
        if load16(mem, at + tcp.FLAG_WORD) & tcp.CWR:
            kind |= GSO_TCP_ACCECN if rules.accurate_ecn else GSO_TCP_ECN
    else:
        to.csum_offset = udp.CHECKSUM
        store16(mem, at + udp.UDP_LENGTH, np.int64(to.frame_len) - transport)
        store16(mem, at + udp.CHECKSUM, pseudo)
        kind = GSO_UDP_L4
    to.gso_type = kind
