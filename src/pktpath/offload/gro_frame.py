"""Frames through GRO (`dev_gro_receive`): find its flow, merge it or complete what it ends, hold it or pass it on."""

import numpy as np

from pktpath.batch import CHECKSUM_UNNECESSARY
from pktpath.jit import inlined
from pktpath.offload.gro_admit import CANDIDATE, GRO, NOT_HARMLESS, PASSES, admit
from pktpath.offload.gro_complete import complete, deliver
from pktpath.offload.gro_match import continues, network_difference, tcp_difference, tcp_finality
from pktpath.offload.gro_merge import append, hold, own_headers, rejoin
from pktpath.offload.gro_table import HELD, HINT_SHIFT, NOBODY, OLDEST, find
from pktpath.offload.reason import Reason
from pktpath.wire import ethernet, tcp, udp
from pktpath.wire.load import load16, store16

_NONE, _FIN, _PSH, _SHORT = int(Reason.NONE), int(Reason.FIN), int(Reason.PSH), int(Reason.SHORT)
_TOO_BIG = int(Reason.TOO_BIG)
_LONGER, _EVICTED, _TOO_MANY_SEGMENTS = int(Reason.LONGER), int(Reason.EVICTED), int(Reason.TOO_MANY_SEGMENTS)


@inlined
def _identity(batch, i, protocol, network_offset, transport):
    """Return what must be equal in a flow beside the bytes of its frames: (hash and port, header places and tag)."""
    frame = batch.frames[i]
    layout = transport | network_offset << 16 | protocol << 32
    if frame.vlan_proto:
        layout |= (np.int64(frame.vlan_tci) | (0x10000 if frame.vlan_proto == ethernet.VLAN else 0x20000)) << 40
    return np.int64(frame.hash) | np.int64(frame.in_port) << 32, layout


@inlined
def receive_frames(batch, first, last, out, table, rules, features, trust_partial):
    """Take frames `first` to `last` (excluded) of a batch; append what is delivered to `out`."""
    i = np.uint64(first)  # numba does not look whether an unsigned index is negative
    end = np.uint64(last)
    while i < end:
        if features & GRO:
            i = _continue_trains(batch, i, end, table)
        if i < end:
            _receive_frame(batch, i, out, table, rules, features, trust_partial)
            i += np.uint64(1)


@inlined
def _continue_trains(batch, i, end, table):
    """Append frames from `i` on to those held as long as each one continues one; return the first that does not, or `end`.

    A small loop of its own, so that all it needs stays in registers.
    """
    mem = batch.pool.mem
    slots = table.slots
    hinted = len(table.hints) > 0
    places = table.hints if hinted else table.buckets
    shift = HINT_SHIFT if hinted else 0
    mask = len(places) - 1
    while i < end:
        frame = batch.frames[i]
        slot = places[np.uint64(np.int64(frame.hash) >> shift & mask)]
        if slot < 0:
            break
        held = slots[np.uint64(slot)]
        payload = np.int64(frame.payload_len)
        if held.room <= payload or not continues(frame, held, mem):
            break
        append(batch, i, held, payload)
        i += np.uint64(1)
    return i


@inlined
def _receive_frame(batch, i, out, table, rules, features, trust_partial):
    mem = batch.pool.mem
    slot = np.int64(NOBODY)
    at = batch.frames[i].head_addr
    network_offset = np.int64(batch.frames[i].network_offset)
    protocol = np.int64(batch.frames[i].protocol)
    transport = np.int64(batch.frames[i].transport_offset)
    verdict = CANDIDATE
    refused = _NONE
    if (
        protocol != tcp.PROTOCOL
        or batch.frames[i].ip_summed != CHECKSUM_UNNECESSARY
        or batch.frames[i].shape_flags & NOT_HARMLESS
        or batch.frames[i].parts != 0
        or not features & GRO
    ):
        verdict, refused, protocol, transport = admit(batch, i, features, trust_partial)
    key, layout = _identity(batch, i, protocol, network_offset, transport)
    bucket = key & table.bucket_mask
    group = bucket & table.group_mask
    if verdict != PASSES:
        slot = find(table.buckets, table.hints, table.slots, mem, at, key, layout, bucket, network_offset, transport)
    held = table.slots[max(slot, 0)]
    payload = np.int64(batch.frames[i].payload_len)
    payload_offset = np.int64(batch.frames[i].payload_offset)
    final = _NONE
    if protocol == tcp.PROTOCOL and verdict == CANDIDATE:
        final = tcp_finality(load16(mem, at + transport + tcp.FLAG_WORD), payload)
    waits = verdict == CANDIDATE and final == _NONE
    victim = slot
    ended = refused
    if slot >= 0:
        if refused == _NONE:
            refused = _difference(held, mem, at, network_offset, transport, protocol, payload_offset, payload, final, rules)
        if refused == _NONE and held.count == 1:
            refused = own_headers(batch.frames[i], held, batch.pool)
        ended = refused
        if refused == _NONE:
            if held.last == NOBODY:
                rejoin(batch, i, held)
            append(batch, i, held, payload)
            if protocol == tcp.PROTOCOL and final != _NONE:
                _take_over_flags(mem, at + transport, held.at + transport)
            ended = _end(held, protocol, payload, final, rules)
            if ended == _NONE:
                return
    elif waits and table.groups[np.uint64(group), HELD] >= table.depth:
        victim = table.groups[np.uint64(group), OLDEST]
        ended = _EVICTED
    if victim >= 0:
        complete(batch, out, table, victim, ended, rules)
        if slot >= 0 and refused == _NONE:
            return
    if waits:
        hold(batch, i, table, key, layout, bucket, group, refused, rules)
    else:
        deliver(batch, i, out, table, refused if refused != _NONE else final)


@inlined
def _difference(held, mem, at, network_offset, transport, protocol, payload_offset, payload, final, rules):
    """Return 0 if a frame continues the held one of its flow, else the reason why it does not."""
    reason = np.int64(_NONE)
    if protocol == udp.PROTOCOL:
        reason = np.int64(_LONGER if payload > held.mss else _NONE)
    elif final in (_NONE, _PSH) or (final == _FIN and payload > 0):
        reason = np.int64(tcp_difference(held, mem, at, transport, payload_offset, payload, rules))
    else:
        reason = np.int64(final)
    if reason == _NONE:
        reason = np.int64(network_difference(held, mem, at, network_offset, transport, rules))
    if reason == _NONE and payload >= held.room:
        reason = np.int64(_TOO_BIG)
    return reason


@inlined
def _end(held, protocol, payload, final, rules):
    """Return why a frame that was just merged into a held one ends it, 0 if it does not."""
    if final != _NONE:
        return final
    if payload < held.mss:
        return _SHORT
    if protocol == udp.PROTOCOL and held.count >= rules.udp_segments:
        return _TOO_MANY_SEGMENTS
    return _NONE


@inlined
def _take_over_flags(mem, here, there):
    """FIN and PSH of the last segment are those of the merged frame."""
    flags = load16(mem, here + tcp.FLAG_WORD) & (tcp.FIN | tcp.PSH)
    store16(mem, there + tcp.FLAG_WORD, load16(mem, there + tcp.FLAG_WORD) | flags)
