"""IP reassembly: the fragments of a batch become the datagrams that they were cut from.

Enters: a parsed batch. Leaves: a batch in the same order, each whole datagram at the place and time of
the fragment that completed it, with the head of its first fragment (a copy) and one row of the fragment
table for the payload of each fragment: no payload byte moves. It is the inverse of UFO and of any
router. Rules: RFC 791, RFC 815, RFC 8200 section 4.5, RFC 5722 (for IPv4 too, as Linux does since
4.19), RFC 3168 section 5.3. A fragment whose datagram does not become whole passes unchanged in its
place, with a `Reason`; nothing is held from one batch to the next, so batches should be large.
"""

import numpy as np

from pktpath.batch import CHECKSUM_NONE, FRAGS, FRAMES, GSO_UDP, Batch, copy_descriptor
from pktpath.jit import inlined, kernel
from pktpath.offload.datagram import (
    NOBODY,
    WHOLE,
    ReassemblyTable,
    collect,
    fragment_header,
    head_end,
    make_reassembly_table,
    marked,
    verdict,
)
from pktpath.offload.gso_pass import pass_frame
from pktpath.pool import HEADROOM, chunk_address
from pktpath.wire import ipv4, ipv6
from pktpath.wire.load import copy_bytes, load8, load16, store16
from pktpath.wire.parse import ip_header_sum, parse_frame

__all__ = ["ReassemblyTable", "make_reassembly_table", "reassemble"]


def reassemble(batch: Batch, out: Batch, table: ReassemblyTable) -> int:
    """Move a batch to the end of `out`, with the datagrams whose fragments it holds put together.

    A datagram gets `GSO_UDP` (whatever its protocol), `gso_size` the payload of its first fragment and
    `gso_segs` their number; row k of its fragments is the payload of the k-th. `table.counts` goes up.

    Args:
        batch: parsed frames; empty afterwards.
        out: room for every frame, and a row of the fragment table for each frame and each row of `batch`.
        table: of `make_reassembly_table`, for at least as many frames.

    Returns:
        The number of datagrams put together.

    Raises:
        ValueError: `out` or `table` is too small; nothing has moved.

    """
    frames, rows = int(batch.used[FRAMES]), int(batch.used[FRAGS])
    if frames > len(table.datagram):
        message = f"a batch of {frames} frames needs a larger table than one for {len(table.datagram)}"
        raise ValueError(message)
    if int(out.used[FRAMES]) + frames > len(out.head_addr) or int(out.used[FRAGS]) + frames + rows > len(out.frag_addr):
        message = f"no room for {frames} frames and {frames + rows} fragments in the batch that they go to"
        raise ValueError(message)
    return int(reassemble_batch(batch, out, table))


@kernel
def reassemble_batch(batch, out, table):
    """`reassemble`, once it is known that there is room."""
    for k in range(len(table.slots) if table.used[0] > 0 else 0):
        table.slots[k] = NOBODY
    table.used[0] = 0
    for i in range(batch.used[FRAMES]):
        collect(batch, table, i)
    whole = 0
    for i in range(batch.used[FRAMES]):
        d = table.datagram[i]
        if d != NOBODY and table.state[d] == WHOLE:
            table.counts[0] += 1
            if i == table.latest[d]:
                _put_together(batch, out, table, d, i)
                whole += 1
        else:
            reason = verdict(table, i)
            if reason > 0:
                table.counts[reason] += 1
                batch.frames[i].reason = reason
            pass_frame(batch, i, out, 0, True)
    batch.used[FRAMES] = 0
    batch.used[FRAGS] = 0
    return whole


@inlined
def _put_together(batch, out, table, d, completed_by):
    """Append the whole datagram `d` to `out`."""
    first = np.int64(table.first[d])
    j = out.used[FRAMES]
    row = out.used[FRAGS]
    copy_descriptor(batch, first, out, j)
    out.frames[j].frag_first = row
    out.frames[j].frag_count = table.members[d]
    skip = head_end(batch, table, first) - table.payload[first]
    i = first
    while i != NOBODY:
        out.frag_addr[row] = batch.frames[i].head_addr + table.payload[i] + skip
        out.frag_len[row] = table.size[i] - skip
        out.frag_chunk[row] = batch.frames[i].head_chunk
        out.frag_origin[row] = batch.frames[i].origin
        skip = np.int64(0)
        row += 1
        i = np.int64(table.next[i])
    out.used[FRAMES] = j + 1
    out.used[FRAGS] = row
    _write_head(batch, out, table, d, first, j)
    out.frames[j].frame_len = out.frames[j].head_len + table.total[d] - (head_end(batch, table, first) - table.payload[first])
    out.frames[j].wire_len = out.frames[j].frame_len
    out.frames[j].timestamp = batch.frames[completed_by].timestamp
    out.frames[j].ticks = batch.frames[completed_by].ticks
    out.frames[j].ip_summed = CHECKSUM_NONE
    out.frames[j].payload_sum = -1
    out.frames[j].gso_type = GSO_UDP
    out.frames[j].gso_size = table.size[first]
    out.frames[j].gso_segs = table.members[d]
    out.frames[j].reason = 0
    parse_frame(out, j)


@inlined
def _write_head(batch, out, table, d, first, j):
    """Copy the head of the first fragment and make it that of a packet that is not one."""
    mem = out.pool.mem
    source = batch.frames[first].head_addr
    network = np.int64(batch.frames[first].network_offset)
    payload = np.int64(table.payload[first])
    end = head_end(batch, table, first)
    to = chunk_address(out.pool, table.chunk[d]) + HEADROOM
    at = to + network
    left_out = np.int64(0 if batch.frames[first].network == 4 else ipv6.FRAGMENT_LENGTH)
    copy_bytes(mem, to, source, payload - left_out)
    copy_bytes(mem, to + payload - left_out, source + payload, end - payload)
    out.frames[j].head_addr = to
    out.frames[j].head_len = end - left_out
    out.frames[j].head_chunk = table.chunk[d]
    total = np.int64(table.total[d])
    if batch.frames[first].network == 4:
        if marked(table, d):
            mem[at + ipv4.TOS] |= 3
        header = payload - network
        store16(mem, at + ipv4.TOTAL_LENGTH, header + total)
        store16(mem, at + ipv4.FRAGMENT, load16(mem, at + ipv4.FRAGMENT) & ipv4.DF)
        store16(mem, at + ipv4.CHECKSUM, np.int64(0))
        store16(mem, at + ipv4.CHECKSUM, 0xFFFF - ip_header_sum(mem, at, header))
    else:
        if marked(table, d):
            mem[at + 1] |= 0x30
        announced, _ = fragment_header(mem, source + network)
        mem[at + announced] = load8(mem, source + payload - ipv6.FRAGMENT_LENGTH)
        store16(mem, at + ipv6.PAYLOAD_LENGTH, payload - left_out - network - ipv6.LENGTH + total)
