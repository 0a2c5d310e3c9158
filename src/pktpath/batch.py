"""A batch: descriptors of frames, as records, and the table of their fragments.

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
from pktpath.pool import HEADROOM, Pool, chunk_get, chunk_put

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


FIELDS = (
    # The first cache line: what every stage reads.
    ("head_addr", "i8", "Address of the linear part in `pool.mem`."),
    ("head_len", "i4", "Bytes in the linear part."),
    ("head_chunk", "i4", "Chunk that holds the linear part, or `NO_CHUNK`: then it is read-only."),
    ("frame_len", "i4", "Bytes present: the linear part and all fragments."),
    ("frag_first", "i4", "First row of this frame in the fragment table."),
    ("frag_count", "i4", "Rows of this frame in the fragment table."),
    ("gso_size", "i4", "Payload bytes in each segment but the last."),
    ("network_offset", "i4", "Offset of the IP header; of the first unknown byte where `network` is 0."),
    ("transport_offset", "i4", "Offset of the transport header, 0 where there is none to see."),
    ("payload_offset", "i4", "Offset of the transport payload, 0 where there is no transport header to see."),
    ("payload_len", "i4", "Bytes of transport payload by the IP length: link padding is not payload."),
    ("hash", "u4", "Receive hash of the flow (skb->hash), 0 where the port gives none."),
    ("in_port", "i4", "Port or capture interface that the frame came from."),
    ("shape_flags", "u2", "`wire.parse.Shape` bits: what is special about this frame."),
    ("link", "u1", "Link type of the frame's first byte: a `wire.link.Link`."),
    ("network", "u1", "4, 6, or 0 for a frame that is neither IPv4 nor IPv6."),
    ("protocol", "u1", "Transport protocol number (after IPv6 extension headers); 0 unless `network` is set."),
    ("ip_summed", "u1", "State of the transport checksum: `CHECKSUM_*`."),
    ("reason", "u1", "Why this frame was refused or flushed: an `offload.reason.Reason`, 0 for none."),
    # The second one: what captures and the way out need.
    ("timestamp", "i8", "Nanoseconds since 1970, 0 where unknown."),
    ("ticks", "u8", "The timestamp as the capture holds it, in units of its interface's resolution."),
    ("option_addr", "i8", "Address of the raw pcapng options of this packet (comment, flags)."),
    ("option_len", "i4", "Bytes of raw pcapng options, 0 for none."),
    ("payload_sum", "i4", "Folded ones' complement sum of the transport payload (big-endian words), -1 where unknown."),
    ("gso_type", "u4", "`GSO_*` bits, 0 for a frame that is one segment."),
    ("gso_segs", "i4", "Segments in the frame."),
    ("csum_start", "i4", "Offset at which a partial checksum starts."),
    ("csum_offset", "i4", "Offset of the checksum field from `csum_start`."),
    ("wire_len", "i4", "Bytes that were on the wire; more than `frame_len` where a snaplen cut the frame."),
    ("origin", "i4", "Index of this frame, or of its first segment, in the batch that it came from."),
    ("vlan_tci", "u2", "VLAN tag that the port took out of the frame, valid where `vlan_proto` is not 0."),
    ("vlan_proto", "u2", "0x8100 or 0x88A8 where the port took a tag out, else 0."),
)
"""Name, type and meaning of each field of a descriptor; two cache lines, as rte_mbuf and the hot part of sk_buff are."""

_OVERLAYS = {"parts": "frag_count", "extent": "payload_offset", "flow": "hash", "kind": "shape_flags", "tag": "vlan_tci"}
"""Neighbours read as one number, named by the first of them, to compare them at once.

parts: fragments and gso_size; extent: offset and length of the payload; flow: hash and port; kind: all
from shape_flags to reason; tag: the VLAN tag taken out. Each takes 8 bytes, `tag` 4.
"""
_NAMES = tuple(name for name, _, _ in FIELDS)


def _descriptor() -> np.dtype[Any]:
    plain = np.dtype([(name, kind) for name, kind, _ in FIELDS], align=True)
    offsets = [plain.fields[name][1] for name in _NAMES] if plain.fields else []
    over = [offsets[_NAMES.index(first)] for first in _OVERLAYS.values()]
    return np.dtype(
        {
            "names": [*_NAMES, *_OVERLAYS],
            "formats": [kind for _, kind, _ in FIELDS] + ["i8"] * (len(_OVERLAYS) - 1) + ["u4"],
            "offsets": offsets + over,
            "itemsize": 128,
        }
    )


DESCRIPTOR = _descriptor()


class Batch(NamedTuple):
    """Up to `len(frames)` frames.

    In compiled code a field is `batch.frames[i].head_addr`; from Python `batch.head_addr` is the column of
    that field, a view.
    """

    pool: Pool
    used: NDArray[np.int64]
    """(2,) descriptors and fragments in use: `used[FRAMES]`, `used[FRAGS]`."""
    frames: Any
    """(capacity,) descriptors: records of type `DESCRIPTOR`."""
    follower: NDArray[np.int32]
    """(capacity,) for the stage that works on the batch: another frame of it, so that frames form lists."""
    frag_addr: NDArray[np.int64]
    """(fragments,) address of each fragment in `pool.mem`."""
    frag_len: NDArray[np.int32]
    """(fragments,) bytes in each fragment."""
    frag_chunk: NDArray[np.int32]
    """(fragments,) chunk that holds each fragment, or `NO_CHUNK`."""
    frag_origin: NDArray[np.int32]
    """(fragments,) index, in the batch that it came from, of the frame whose payload this was."""

    def __getattr__(self, name: str) -> NDArray[Any]:
        """Return the column of a field of the descriptors."""
        if name not in _NAMES:
            raise AttributeError(name)
        column: NDArray[Any] = np.asarray(self.frames)[name]
        return column


def make_batch(pool: Pool, capacity: int = BATCH_SIZE, fragments: int | None = None) -> Batch:
    """Make an empty batch over `pool` with room for `capacity` frames and `fragments` fragments."""
    rows = capacity * 4 if fragments is None else fragments
    return Batch(
        pool=pool,
        used=np.zeros(2, np.int64),
        frames=make_descriptors(capacity).view(np.recarray),
        follower=np.zeros(capacity, np.int32),
        frag_addr=np.zeros(rows, np.int64),
        frag_len=np.zeros(rows, np.int32),
        frag_chunk=np.zeros(rows, np.int32),
        frag_origin=np.zeros(rows, np.int32),
    )


def make_batches(pool: Pool, count: int, capacity: int, fragments: int) -> Batch:
    """Make `count` empty batches as one: each array has a first axis more, and `batch_of` takes one out."""
    many = make_batch(pool, count * capacity, count * fragments)
    rows = {name: getattr(many, name).reshape(count, -1) for name in Batch._fields if name not in ("pool", "used", "frames")}
    return many._replace(used=np.zeros((count, 2), np.int64), frames=many.frames.reshape(count, capacity), **rows)


@inlined
def batch_of(batches, number):
    """Return one of the batches of `make_batches`: views, nothing is copied."""
    return Batch(
        batches.pool,
        batches.used[number],
        batches.frames[number],
        batches.follower[number],
        batches.frag_addr[number],
        batches.frag_len[number],
        batches.frag_chunk[number],
        batches.frag_origin[number],
    )


def make_descriptors(capacity: int) -> NDArray[Any]:
    """Return zeroed descriptors that start at a cache line, so that each one is two and not three."""
    room = np.zeros(capacity * DESCRIPTOR.itemsize + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + capacity * DESCRIPTOR.itemsize].view(DESCRIPTOR)


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
    """Copy a whole descriptor; the caller gives it its fragments."""
    target.frames[j] = source.frames[i]


@inlined
def repeat_descriptor(batch, first, end):
    """Copy descriptor `first` to all up to `end`."""
    for j in range(first + 1, end):
        batch.frames[np.uint64(j)] = batch.frames[np.uint64(first)]


@inlined
def alloc_heads(batch, chunk_class, first, end):
    """Give frames `first` to `end` (excluded) a head each, behind the headroom of a chunk of a class that has so many."""
    pool = batch.pool
    left = pool.free_count[chunk_class]
    pool.free_count[chunk_class] = left - (end - first)
    number = pool.first[chunk_class]
    base = pool.base[chunk_class] + HEADROOM
    size = pool.size[chunk_class]
    top = number + left - 1 + first
    for j in range(first, end):
        chunk = np.int64(pool.free[np.uint64(top - j)])
        pool.refs[np.uint64(chunk)] = 1
        frame = batch.frames[np.uint64(j)]
        frame.head_chunk = chunk
        frame.head_addr = base + (chunk - number) * size


@kernel
def release(batch):
    """Give back every chunk that the frames of a batch hold and empty it."""
    for i in range(batch.used[FRAMES]):
        chunk_put(batch.pool, batch.frames[i].head_chunk)
    for row in range(batch.used[FRAGS]):
        chunk_put(batch.pool, batch.frag_chunk[row])
    batch.used[FRAMES] = 0
    batch.used[FRAGS] = 0


@inlined
def hold_frame(batch, i):
    """Hold every chunk of frame `i` once more: its bytes may now outlive the batch."""
    frame = batch.frames[i]
    chunk_get(batch.pool, frame.head_chunk)
    for row in range(frame.frag_first, frame.frag_first + frame.frag_count):
        chunk_get(batch.pool, batch.frag_chunk[row])
