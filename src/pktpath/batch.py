"""A batch: descriptors of frames and their fragments, as parallel columns.

A frame is a linear head (headers, perhaps payload) followed by fragments, as in the kernel's
sk_buff. A descriptor names the head and a range of the fragment table. Several frames may share
the bytes of a fragment; nobody writes into a fragment, and nobody writes into a head whose chunk
is `NO_CHUNK` or counted more than once. Field names are the kernel's (include/linux/skbuff.h)
and virtio's (VirtIO 1.2, section 5.1.6).
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pktpath.jit import inlined, kernel
from pktpath.pool import Pool, chunk_get, chunk_put

BATCH_SIZE = 256
"""Descriptors in a batch on the live path; capture readers use larger batches."""

FRAMES, FRAGS = 0, 1
"""Index into `Batch.used`."""

# ip_summed (include/linux/skbuff.h), and one state more: verified here and found wrong.
CHECKSUM_NONE, CHECKSUM_UNNECESSARY, CHECKSUM_BAD, CHECKSUM_PARTIAL = 0, 1, 2, 3

# gso_type (include/linux/skbuff.h SKB_GSO_*)
GSO_TCPV4 = 1 << 0
GSO_TCP_ECN = 1 << 2
GSO_TCP_FIXEDID = 1 << 3
GSO_TCPV6 = 1 << 4
GSO_PARTIAL = 1 << 13
GSO_UDP = 1 << 16
GSO_UDP_L4 = 1 << 17
GSO_TCP_ACCECN = 1 << 19


class Batch(NamedTuple):
    """Up to `capacity` frames; each column is an array of that length unless it says otherwise."""

    pool: Pool
    used: NDArray[np.int64]
    """(2,) descriptors and fragments in use: `used[FRAMES]`, `used[FRAGS]`."""

    head_addr: NDArray[np.int64]
    """Address of the linear part in `pool.mem`."""
    head_len: NDArray[np.int32]
    """Bytes in the linear part."""
    head_chunk: NDArray[np.int32]
    """Chunk that holds the linear part, or `NO_CHUNK`: then it is read-only."""
    frag_first: NDArray[np.int32]
    """First row of this frame in the fragment table."""
    frag_count: NDArray[np.int32]
    """Rows of this frame in the fragment table."""
    frame_len: NDArray[np.int32]
    """Bytes present: the linear part and all fragments."""
    wire_len: NDArray[np.int32]
    """Bytes that were on the wire; more than `frame_len` where a snaplen cut the frame."""

    timestamp: NDArray[np.int64]
    """Nanoseconds since 1970, 0 where unknown."""
    ticks: NDArray[np.uint64]
    """The timestamp as the capture holds it, in units of its interface's resolution."""
    option_addr: NDArray[np.int64]
    """Address of the raw pcapng options of this packet (comment, flags)."""
    option_len: NDArray[np.int32]
    """Bytes of raw pcapng options, 0 for none."""
    in_port: NDArray[np.int32]
    """Port or capture interface that the frame came from."""
    link: NDArray[np.uint8]
    """Link type of the frame's first byte: a `wire.link.Link`."""

    hash: NDArray[np.uint32]
    """Receive hash of the flow (skb->hash), 0 where the port gives none."""
    vlan_tci: NDArray[np.uint16]
    """VLAN tag that the port took out of the frame, valid where `vlan_proto` is not 0."""
    vlan_proto: NDArray[np.uint16]
    """0x8100 or 0x88A8 where the port took a tag out, else 0."""
    ip_summed: NDArray[np.uint8]
    """State of the transport checksum: `CHECKSUM_*`."""
    payload_sum: NDArray[np.int32]
    """Folded ones' complement sum of the transport payload (big-endian words), -1 where unknown."""

    gso_type: NDArray[np.uint32]
    """`GSO_*` bits, 0 for a frame that is one segment."""
    gso_size: NDArray[np.int32]
    """Payload bytes in each segment but the last."""
    gso_segs: NDArray[np.int32]
    """Segments in the frame."""
    csum_start: NDArray[np.int32]
    """Offset at which a partial checksum starts."""
    csum_offset: NDArray[np.int32]
    """Offset of the checksum field from `csum_start`."""

    network: NDArray[np.uint8]
    """4, 6, or 0 for a frame that is neither IPv4 nor IPv6."""
    protocol: NDArray[np.uint8]
    """Transport protocol number (after IPv6 extension headers); 0 unless `network` is set."""
    shape: NDArray[np.uint16]
    """`wire.parse.Shape` bits: what is special about this frame."""
    network_offset: NDArray[np.int32]
    """Offset of the IP header; of the first unknown byte where `network` is 0."""
    transport_offset: NDArray[np.int32]
    """Offset of the transport header, 0 where there is none to see."""
    payload_offset: NDArray[np.int32]
    """Offset of the transport payload, 0 where there is no transport header to see."""
    payload_len: NDArray[np.int32]
    """Bytes of transport payload by the IP length: link padding is not payload."""

    reason: NDArray[np.uint8]
    """Why this frame was refused or flushed: an `offload.reason.Reason`, 0 for none."""

    origin: NDArray[np.int32]
    """Index of this frame, or of its first segment, in the batch that it came from."""

    frag_addr: NDArray[np.int64]
    """(fragments,) address of each fragment in `pool.mem`."""
    frag_len: NDArray[np.int32]
    """(fragments,) bytes in each fragment."""
    frag_chunk: NDArray[np.int32]
    """(fragments,) chunk that holds each fragment, or `NO_CHUNK`."""
    frag_origin: NDArray[np.int32]
    """(fragments,) index, in the batch that it came from, of the frame whose payload this was."""


_DTYPES: dict[str, type] = {
    "head_addr": np.int64, "timestamp": np.int64, "ticks": np.uint64, "option_addr": np.int64,
    "link": np.uint8, "hash": np.uint32, "vlan_tci": np.uint16, "vlan_proto": np.uint16,
    "ip_summed": np.uint8, "gso_type": np.uint32, "network": np.uint8, "protocol": np.uint8,
    "shape": np.uint16, "reason": np.uint8,
}  # fmt: skip
FRAME_COLUMNS = Batch._fields[2:-4]
"""Names of the columns that have a row for each frame."""


def make_batch(pool: Pool, capacity: int = BATCH_SIZE, fragments: int | None = None) -> Batch:
    """Make an empty batch over `pool` with room for `capacity` frames and `fragments` fragments."""
    rows = capacity * 4 if fragments is None else fragments
    columns: dict[str, NDArray[Any]] = {name: np.zeros(capacity, _DTYPES.get(name, np.int32)) for name in FRAME_COLUMNS}
    return Batch(
        pool=pool,
        used=np.zeros(2, np.int64),
        **columns,
        frag_addr=np.zeros(rows, np.int64),
        frag_len=np.zeros(rows, np.int32),
        frag_chunk=np.zeros(rows, np.int32),
        frag_origin=np.zeros(rows, np.int32),
    )


def frame_bytes(batch: Batch, i: int) -> bytes:
    """Return a copy of the bytes of frame `i`: its head and its fragments."""
    mem = batch.pool.mem
    at, length = int(batch.head_addr[i]), int(batch.head_len[i])
    parts = [mem[at : at + length].tobytes()]
    first = int(batch.frag_first[i])
    for row in range(first, first + int(batch.frag_count[i])):
        at, length = int(batch.frag_addr[row]), int(batch.frag_len[row])
        parts.append(mem[at : at + length].tobytes())
    return b"".join(parts)


@inlined
def copy_descriptor(source, i, target, j):
    """Copy every column of frame `i` but the fragment range, which the caller sets."""
    target.head_addr[j] = source.head_addr[i]
    target.head_len[j] = source.head_len[i]
    target.head_chunk[j] = source.head_chunk[i]
    target.frame_len[j] = source.frame_len[i]
    target.wire_len[j] = source.wire_len[i]
    target.timestamp[j] = source.timestamp[i]
    target.ticks[j] = source.ticks[i]
    target.option_addr[j] = source.option_addr[i]
    target.option_len[j] = source.option_len[i]
    target.in_port[j] = source.in_port[i]
    target.link[j] = source.link[i]
    target.hash[j] = source.hash[i]
    target.vlan_tci[j] = source.vlan_tci[i]
    target.vlan_proto[j] = source.vlan_proto[i]
    target.ip_summed[j] = source.ip_summed[i]
    target.payload_sum[j] = source.payload_sum[i]
    target.gso_type[j] = source.gso_type[i]
    target.gso_size[j] = source.gso_size[i]
    target.gso_segs[j] = source.gso_segs[i]
    target.csum_start[j] = source.csum_start[i]
    target.csum_offset[j] = source.csum_offset[i]
    target.network[j] = source.network[i]
    target.protocol[j] = source.protocol[i]
    target.shape[j] = source.shape[i]
    target.network_offset[j] = source.network_offset[i]
    target.transport_offset[j] = source.transport_offset[i]
    target.payload_offset[j] = source.payload_offset[i]
    target.payload_len[j] = source.payload_len[i]
    target.reason[j] = source.reason[i]
    target.origin[j] = source.origin[i]


@inlined
def _repeat(column, first, end):
    value = column[first]
    for j in range(first + 1, end):
        column[np.uint64(j)] = value


@inlined
def repeat_descriptor(batch, first, end):
    """Copy frame `first` to all up to `end`, but for its chunk, the fragment range and `payload_sum`, which differ.

    Column by column, so that the compiler writes many rows at once.
    """
    _repeat(batch.head_len, first, end)
    _repeat(batch.frame_len, first, end)
    _repeat(batch.wire_len, first, end)
    _repeat(batch.timestamp, first, end)
    _repeat(batch.ticks, first, end)
    _repeat(batch.option_addr, first, end)
    _repeat(batch.option_len, first, end)
    _repeat(batch.in_port, first, end)
    _repeat(batch.link, first, end)
    _repeat(batch.hash, first, end)
    _repeat(batch.vlan_tci, first, end)
    _repeat(batch.vlan_proto, first, end)
    _repeat(batch.ip_summed, first, end)
    _repeat(batch.gso_type, first, end)
    _repeat(batch.gso_size, first, end)
    _repeat(batch.gso_segs, first, end)
    _repeat(batch.csum_start, first, end)
    _repeat(batch.csum_offset, first, end)
    _repeat(batch.network, first, end)
    _repeat(batch.protocol, first, end)
    _repeat(batch.shape, first, end)
    _repeat(batch.network_offset, first, end)
    _repeat(batch.transport_offset, first, end)
    _repeat(batch.payload_offset, first, end)
    _repeat(batch.payload_len, first, end)
    _repeat(batch.reason, first, end)
    _repeat(batch.origin, first, end)


@kernel
def release(batch):
    """Give back every chunk that the frames of a batch hold and empty it."""
    for i in range(batch.used[FRAMES]):
        chunk_put(batch.pool, batch.head_chunk[i])
    for row in range(batch.used[FRAGS]):
        chunk_put(batch.pool, batch.frag_chunk[row])
    batch.used[FRAMES] = 0
    batch.used[FRAGS] = 0


@inlined
def hold_frame(batch, i):
    """Hold every chunk of frame `i` once more: its bytes may now outlive the batch."""
    chunk_get(batch.pool, batch.head_chunk[i])
    for row in range(batch.frag_first[i], batch.frag_first[i] + batch.frag_count[i]):
        chunk_get(batch.pool, batch.frag_chunk[row])
