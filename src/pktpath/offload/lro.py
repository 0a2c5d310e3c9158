"""Large receive offload: the old manager of Linux 2.6.24 to 4.x (net/ipv4/inet_lro.c), which GRO replaced.

Enters: parsed frames of one NAPI poll. Leaves: the frames that the stack above sees, in the order in
which the manager would deliver them. TCP over IPv4 only. A merged frame has the headers of its first segment with the
acknowledgment, window and echoed timestamp of its last: what the others said is lost, and no
segmentation gives the originals back (`path.loss` counts what). As in GRO it has private headers, its
payload as fragments, a partial checksum and `gso_size`, here the longest segment. Each delivered frame
carries the `Reason` why it was not merged, or why it ended.

Differences from the kernel's: a session has one port and one VLAN tag, where inet_lro, made for one device,
compares addresses and ports only; a segment that no IPv4 length could count any more ends its session; a
segment without timestamps does not change those of its session.
"""

import numpy as np

from pktpath.batch import FRAGS, FRAMES, Batch, make_batch
from pktpath.jit import kernel
from pktpath.offload.lro_frame import receive_segments
from pktpath.offload.lro_session import flush_all, flush_session, park_sessions
from pktpath.offload.lro_table import AGGREGATED, FLUSHED, NO_DESC, STATISTICS, LroTable, find_session, make_lro_table
from pktpath.offload.poll import NO_GAP, end_of_poll, poll_numbers
from pktpath.offload.reason import Reason
from pktpath.wire import tcp

__all__ = [
    "AGGREGATED",
    "FLUSHED",
    "NO_DESC",
    "STATISTICS",
    "LroTable",
    "lro",
    "lro_flush_all",
    "lro_flush_pkt",
    "lro_polls",
    "lro_receive",
    "make_lro_table",
]

_NONE = int(Reason.NONE)


@kernel
def lro_receive(batch, first, last, out, table):
    """Take frames `first` to `last` (excluded) of one poll; append what is delivered to `out`.

    The chunks of these frames move to `out` and to the table, so the caller empties `batch` after
    its last frame. `out` shares the pool of `batch` and needs room for one frame for each frame taken or
    held before, and as many fragment rows as frames and fragments together.
    """
    receive_segments(batch, first, last, out, table)
    park_sessions(batch, out, table)


@kernel
def lro_flush_all(out, table):
    """End a poll: deliver what every session holds, in the order of the table."""
    # Between two calls all is parked, and no frame is looked for in a batch.
    flush_all(table.parked, out, table)


@kernel
def lro_flush_pkt(out, table, batch, i):
    """Deliver what the session of the flow of frame `i`, which is parsed, holds; the frame itself is left alone."""
    frame = batch.frames[i]
    if frame.network == 4 and frame.protocol == tcp.PROTOCOL and frame.transport_offset > 0:
        k, _ = find_session(batch, i, table)
        if k >= 0:
            flush_session(table.parked, out, table, k, np.int64(_NONE))


@kernel
def lro_polls(batch, out, table, poll, flush_timeout_ns, out_poll):
    """Take a whole batch as polls, each ended by a complete flush, and leave it empty.

    Polls end as those of `gro_polls` do. `out_poll` (at least as long as `out` has descriptors) gets the
    number of the poll that delivered each frame.
    """
    count = batch.used[FRAMES]
    first = 0
    number = 0
    while first < count:
        last = end_of_poll(batch, first, poll, flush_timeout_ns)
        before = out.used[FRAMES]
        receive_segments(batch, first, last, out, table)
        flush_all(batch, out, table)
        out_poll[before : out.used[FRAMES]] = number
        first = last
        number += 1
    batch.used[FRAMES] = 0
    batch.used[FRAGS] = 0


def lro(batch: Batch, table: LroTable | None = None) -> Batch:
    """Return what one poll over `batch`, and the flush at its end, deliver; `batch` is empty afterwards.

    Args:
        batch: parsed frames; its pool needs a header chunk for each merged frame.
        table: one of your own, to choose its limits and to read its counters; held frames from before are delivered too.

    """
    count, rows = int(batch.used[FRAMES]), int(batch.used[FRAGS])
    table = make_lro_table(frames=max(count, 1)) if table is None else table
    held = int(table.sessions.count[: table.max_desc].sum())
    out = make_batch(batch.pool, max(count + held, 1), count + held + rows)
    lro_polls(batch, out, table, max(count, 1), NO_GAP, poll_numbers(out))
    return out
