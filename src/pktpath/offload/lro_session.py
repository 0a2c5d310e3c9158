"""Start a session, append to it, let it leave: `lro_init_desc`, `lro_add_common`, `lro_flush`.

No payload byte moves. The second segment gives the session headers of its own, as in GRO, because those of
the first may be read-only; the third and later ones only leave their traces in the session.
"""

import numpy as np

from pktpath.batch import FRAGS, GSO_TCPV4
from pktpath.jit import inlined
from pktpath.offload.gro_complete import free_parked, lift, park, write_merged
from pktpath.offload.gro_table import NOBODY, PARKED, SLOTS
from pktpath.offload.lro_admit import stamped
from pktpath.offload.lro_table import FLUSHED, identity
from pktpath.offload.reason import Reason
from pktpath.wire import ethernet, ipv4, link, tcp
from pktpath.wire.checksum import swap
from pktpath.wire.load import load16, load32, store16, store32

_NONE, _ALONE, _NO_MEMORY = int(Reason.NONE), int(Reason.ALONE), int(Reason.NO_MEMORY)


@inlined
def start(batch, i, table, k):
    """Make frame `i`, with its chunks, the first segment of the free session `k`."""
    frame = batch.frames[i]
    mem = batch.pool.mem
    session = table.sessions[np.uint64(k)]
    table.free[SLOTS] -= 1
    session.addresses, session.ports, session.key, session.layout = identity(batch, i)
    at = frame.head_addr
    headers = np.int64(frame.payload_offset)
    session.at = at
    session.headers = headers
    # What `skb->len` counts: tags that stand in the frame too.
    session.behind_link = headers - (ethernet.LENGTH if frame.link == link.ETHERNET else np.int64(frame.network_offset))
    session.behind_network = headers - frame.network_offset
    session.transport = frame.transport_offset
    session.next_seq = load32(mem, at + frame.transport_offset + tcp.SEQUENCE)
    session.count = 0
    session.payload = 0
    session.payload_sum = 0
    session.mss = 0
    session.parked_count = 0
    session.last = NOBODY
    session.stamped = stamped(frame)
    session.tsval = load32(mem, at + frame.transport_offset + tcp.TSVAL) if session.stamped else 0
    add(batch, i, session)


@inlined
def add(batch, i, session):
    """Take frame `i` as the next segment of a session: its payload, window, acknowledgment and echoed timestamp."""
    frame = batch.frames[i]
    mem = batch.pool.mem
    if session.last == NOBODY:
        session.first = i
    else:
        batch.follower[np.uint64(session.last)] = i
    session.last = i
    at = frame.head_addr + np.int64(frame.transport_offset)
    session.acknowledgment = load32(mem, at + tcp.ACKNOWLEDGMENT)
    session.window = load16(mem, at + tcp.WINDOW)
    # inet_lro reads on where the last one has no timestamps, and takes payload for one: not here.
    if session.stamped and stamped(frame):
        session.tsecr = load32(mem, at + tcp.TSECR)
    payload = np.int64(frame.payload_len)
    known = np.int64(frame.payload_sum)
    if known < 0 or session.payload_sum < 0:
        session.payload_sum = -1
    else:
        session.payload_sum += swap(known) if session.payload & 1 else known
    session.next_seq = (np.int64(session.next_seq) + payload) & 0xFFFFFFFF
    session.payload += payload
    session.mss = max(np.int64(session.mss), payload)
    session.count += 1


@inlined
def fits(session, payload):
    """Whether a merged frame of the session and `payload` more bytes has a length that IPv4 can say."""
    return np.int64(session.behind_network) + session.payload + payload <= ipv4.MAX_LENGTH


@inlined
def is_full(session, mtu):
    """Whether a further frame of the MTU may not fit."""
    return np.int64(session.behind_link) + session.payload > ipv4.MAX_LENGTH - mtu


@inlined
def flush_session(batch, out, table, k, why):
    """Move session `k` to the end of `out` and free it; `why` is what ended it."""
    session = table.sessions[np.uint64(k)]
    parked = np.int64(session.parked_count)
    j = lift(batch, out, table, session, parked)
    row = out.used[FRAGS]
    to = out.frames[j]
    to.frag_first = row
    reason = np.int64(why)
    count = np.int64(session.count)
    if count > 1:
        row = _write_payload(table.parked, session.parked, parked, out, row)
        out.used[FRAGS] = _write_payload(batch, session.first, count - parked, out, row)
        table.merged[0] += count - 1
        pseudo = write_merged(out, j, session, np.int64(session.payload))
        _complete_tcp(out.pool.mem, session, pseudo)
        to.csum_offset = tcp.CHECKSUM
        to.gso_type = GSO_TCPV4
    else:
        reason = np.int64(_ALONE)
    to.reason = reason
    table.counts[np.uint64(reason)] += 1
    table.statistics[FLUSHED] += 1
    if parked > 0:
        free_parked(table, session.parked, parked)
    session.count = 0
    table.free[SLOTS] += 1


@inlined
def _write_payload(source, first, count, out, row):
    """Write the payload of `count` segments that follow each other as fragments from `row` on; return the row after."""
    i = np.uint64(first)
    for k in range(count):
        frame = source.frames[i]
        r = np.uint64(row + k)
        out.frag_addr[r] = frame.head_addr + frame.payload_offset
        out.frag_len[r] = frame.payload_len
        # The count of the frame's one chunk now belongs to its payload.
        out.frag_chunk[r] = frame.head_chunk
        out.frag_origin[r] = frame.origin
        i = np.uint64(source.follower[i])
    return row + count


@inlined
def _complete_tcp(mem, session, pseudo):
    """Write into the private headers what LRO takes from the last segment, and the sum of the pseudo-header."""
    at = session.at + session.transport
    store32(mem, at + tcp.ACKNOWLEDGMENT, np.int64(session.acknowledgment))
    store16(mem, at + tcp.WINDOW, np.int64(session.window))
    if session.stamped:
        store32(mem, at + tcp.TSECR, np.int64(session.tsecr))
    store16(mem, at + tcp.CHECKSUM, pseudo)


@inlined
def flush_all(batch, out, table):
    """Flush every session, in the order of the table."""
    for k in range(table.max_desc):
        if table.sessions[np.uint64(k)].count > 0:
            flush_session(batch, out, table, k, np.int64(_NONE))


@inlined
def park_sessions(batch, out, table):
    """At the end of a call: keep the descriptors of what is held, since the batch goes. What finds no room is flushed."""
    for k in range(table.max_desc):
        session = table.sessions[np.uint64(k)]
        if session.count > 0 and session.last != NOBODY:
            if table.free[PARKED] < np.int64(session.count) - session.parked_count:
                flush_session(batch, out, table, k, np.int64(_NO_MEMORY))
            else:
                park(batch, table, session)
