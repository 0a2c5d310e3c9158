"""Generic receive offload: frames of one flow that follow each other become one frame.

Enters: parsed frames of one NAPI poll. Leaves: the frames that the stack above sees, in the order in
which the kernel would deliver them: a merged frame has private headers, its payload as fragments, a
partial checksum and `gso_size`, `gso_segs`, `gso_type`; every other frame is as it came. Each
delivered frame carries the `Reason` why it was not merged, or why it ended.

TCP and UDP over IPv4 and IPv6, behind any link header and VLAN tags. The kernel also merges inside
IP tunnels; here those frames pass. The kernel does not look at the version nibble of an IPv6
header before it merges; here such a frame is malformed and passes.
"""

import numpy as np

from pktpath.batch import FRAGS, FRAMES, Batch, make_batch
from pktpath.features import Feature
from pktpath.jit import inlined, kernel
from pktpath.offload.flow_hash import flow_hash
from pktpath.offload.gro_complete import complete_all, complete_old, park_all
from pktpath.offload.gro_frame import receive_frames
from pktpath.offload.gro_table import HELD, UNLIMITED, GroTable, make_gro_table
from pktpath.offload.poll import FLUSH_TIMEOUT_NS, NO_GAP, POLL, end_of_poll, poll_numbers
from pktpath.offload.rules import DEFAULT_RULES, RULES, KernelRules

__all__ = [
    "DEFAULT_FEATURES",
    "FLUSH_ALL",
    "FLUSH_OLD",
    "FLUSH_TIMEOUT_NS",
    "NO_FLUSH",
    "POLL",
    "UNLIMITED",
    "GroTable",
    "gro",
    "gro_flush",
    "gro_held",
    "gro_poll",
    "gro_polls",
    "gro_receive",
    "make_gro_table",
    "poll_numbers",
]

NO_FLUSH, FLUSH_OLD, FLUSH_ALL = 0, 1, 2
"""What `gro_poll` completes at its end."""
DEFAULT_FEATURES = Feature.GRO | Feature.RXCSUM | Feature.GRO_UDP_FWD


@kernel
def gro_receive(batch, first, last, out, table, rules, features, trust_partial):
    """Take frames `first` to `last` (excluded) of one poll; append what is delivered to `out`.

    The chunks of these frames move to `out` and to the table, so the caller empties `batch` after
    its last frame. `out` shares the pool of `batch` and needs room for one frame for each frame taken or
    held before, and as many fragment rows as frames and fragments together. `features` is the
    number of a `Feature` value; with `trust_partial` a checksum left to the device counts as right.
    """
    receive_frames(batch, first, last, out, table, rules, features, trust_partial)
    park_all(batch, out, table, rules)


@kernel
def gro_flush(out, table, rules):
    """End a poll: complete all that is held, bucket after bucket, in each the oldest first."""
    # Between two calls all is parked, and no frame is looked for in a batch.
    complete_all(table.parked, out, table, rules)


@kernel
def gro_poll(batch, first, last, out, table, rules, features, trust_partial, flush):
    """Take frames as `gro_receive` does and then flush: NO_FLUSH, FLUSH_OLD or FLUSH_ALL.

    FLUSH_OLD keeps what was first held in the jiffy `table.jiffy[0]`, as a poll does that used all of its
    weight on a kernel of 1000 jiffies a second, or one with a gro_flush_timeout.
    """
    receive_frames(batch, first, last, out, table, rules, features, trust_partial)
    if flush == FLUSH_ALL:
        complete_all(batch, out, table, rules)
        return
    if flush == FLUSH_OLD:
        complete_old(batch, out, table, rules)
    park_all(batch, out, table, rules)


@inlined
def gro_held(table):
    """Whether any frame is held."""
    held = np.int64(0)
    for group in range(table.group_mask + 1):
        held |= table.groups[group, HELD]
    return held > 0


@kernel
def gro_polls(batch, out, table, rules, features, trust_partial, poll, flush_timeout_ns, out_poll):
    """Take a whole batch as polls, each ended by a complete flush, and leave it empty.

    A poll ends after `poll` frames, before a frame that comes more than `flush_timeout_ns` after
    the one before it, and with the batch: the reader lets a batch end where a poll does.
    `out_poll` (at least as long as `out` has descriptors) gets the number of the poll that delivered each frame.
    """
    count = batch.used[FRAMES]
    first = 0
    number = 0
    while first < count:
        last = end_of_poll(batch, first, poll, flush_timeout_ns)
        before = out.used[FRAMES]
        receive_frames(batch, first, last, out, table, rules, features, trust_partial)
        complete_all(batch, out, table, rules)
        out_poll[before : out.used[FRAMES]] = number
        first = last
        number += 1
    batch.used[FRAMES] = 0
    batch.used[FRAGS] = 0


def gro(
    batch: Batch,
    rules: KernelRules = RULES[DEFAULT_RULES],
    *,
    features: Feature = DEFAULT_FEATURES,
    unlimited: bool = False,
    trust_partial: bool = False,
    table: GroTable | None = None,
) -> Batch:
    """Return what one poll over `batch` delivers; `batch` is empty afterwards.

    Args:
        batch: parsed frames; its pool needs a header chunk for each merged frame.
        rules: those of one kernel version, see `RULES`.
        features: GRO and GRO_UDP_FWD are obeyed.
        unlimited: hold any number of flows, instead of the kernel's 8 buckets of 8.
        trust_partial: frames captured at their sender, before the device completed the checksum, may merge.
        table: one of your own, to read its counters; held frames from before are delivered too.

    """
    count, rows = int(batch.used[FRAMES]), int(batch.used[FRAGS])
    if table is None:
        table = make_gro_table(depth=UNLIMITED, frames=max(count, 1)) if unlimited else make_gro_table(frames=max(count, 1))
    held = int(table.groups[:, HELD].sum())
    out = make_batch(batch.pool, max(count + held, 1), count + rows + len(table.parked.frames))
    if unlimited and not batch.hash[:count].any():
        flow_hash(batch, 0, count)
    gro_polls(batch, out, table, rules, int(features), trust_partial, count, NO_GAP, poll_numbers(out))
    return out
