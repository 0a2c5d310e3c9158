"""Frames through LRO (`__lro_proc_skb`): find the session of its flow, add to it or end it, start one, or pass the frame up."""

import numpy as np

from pktpath.jit import inlined
from pktpath.offload.gro_complete import deliver
from pktpath.offload.gro_merge import copy_headers
from pktpath.offload.gro_table import NOBODY
from pktpath.offload.lro_admit import driver_refusal, segment_refusal
from pktpath.offload.lro_session import add, fits, flush_session, is_full, start
from pktpath.offload.lro_table import AGGREGATED, NO_DESC, find_session
from pktpath.offload.reason import Reason
from pktpath.wire import tcp
from pktpath.wire.load import load32

_NONE, _NO_DESCRIPTOR, _OUT_OF_SEQUENCE = int(Reason.NONE), int(Reason.NO_DESCRIPTOR), int(Reason.OUT_OF_SEQUENCE)
_NO_ROOM_FOR_MTU, _NO_MEMORY, _MAX_AGGREGATED = (
    int(Reason.NO_ROOM_FOR_MTU),
    int(Reason.NO_MEMORY),
    int(Reason.MAX_AGGREGATED),
)


@inlined
def receive_segments(batch, first, last, out, table):
    """Take frames `first` to `last` (excluded) of a batch; append what is delivered to `out`.

    What is held stays in the batch: before that goes, `flush_all` or `park_sessions` follows.
    """
    for i in range(np.uint64(first), np.uint64(last)):  # numba does not look whether an unsigned index is negative
        _receive_frame(batch, i, out, table)


@inlined
def _receive_frame(batch, i, out, table):
    refused = np.int64(driver_refusal(batch, i, table.trust_partial))
    ended = np.int64(_NONE)
    session_number = free = np.int64(NOBODY)
    if refused == _NONE:
        session_number, free = find_session(batch, i, table)
        if session_number >= 0:
            session = table.sessions[np.uint64(session_number)]
            refused = np.int64(_refusal(batch, i, session))
            ended = refused
            if refused == _NONE:
                add(batch, i, session)
                table.statistics[AGGREGATED] += 1
                ended = np.int64(_end(session, table))
        elif free < 0:
            table.statistics[NO_DESC] += 1
            refused = np.int64(_NO_DESCRIPTOR)
        else:
            refused = np.int64(segment_refusal(batch, i, np.int64(-1)))
            if refused == _NONE:
                start(batch, i, table, free)
                table.statistics[AGGREGATED] += 1
    if ended != _NONE:
        flush_session(batch, out, table, session_number, ended)
    if refused != _NONE:
        deliver(batch, i, out, table, refused)


@inlined
def _refusal(batch, i, session):
    """Return 0 where frame `i` continues the session of its flow, else the reason why not."""
    frame = batch.frames[i]
    sequence = load32(batch.pool.mem, frame.head_addr + frame.transport_offset + tcp.SEQUENCE)
    if sequence != np.int64(session.next_seq):
        return _OUT_OF_SEQUENCE
    refused = np.int64(segment_refusal(batch, i, np.int64(session.tsval)))
    if refused == _NONE and not fits(session, np.int64(frame.payload_len)):
        return _NO_ROOM_FOR_MTU
    if refused == _NONE and session.count == 1 and not copy_headers(session, np.int64(session.headers), batch.pool):
        return _NO_MEMORY
    return refused


@inlined
def _end(session, table):
    """Return why a session is flushed right after it took a segment, 0 if it is not."""
    if session.count >= table.max_aggr:
        return _MAX_AGGREGATED
    return _NO_ROOM_FOR_MTU if is_full(session, table.mtu) else _NONE
