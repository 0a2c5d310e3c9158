"""Super-frames for the tests of segmentation, built from a seeded random source, and batches of them."""

import struct
from dataclasses import dataclass

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
    GSO_UDP,
    GSO_UDP_L4,
    make_batch,
)
from pktpath.pool import CHUNK_SIZE, NO_CHUNK, NORMAL, chunk_address, chunk_alloc, make_pool
from pktpath.wire.link import Link
from pktpath.wire.parse import parse
from support.naive_gso import pseudo, put16, with_length

ETHERNET = bytes.fromhex("020000000009020000000008")
LINKS = {
    Link.ETHERNET: lambda kind: ETHERNET + kind,
    Link.RAW: lambda kind: b"",
    Link.SLL: lambda kind: bytes(14) + kind,
    Link.SLL2: lambda kind: kind + bytes(18),
    Link.NULL: lambda kind: struct.pack("=I", 2 if kind == b"\x08\x00" else 24),
    Link.LOOP: lambda kind: struct.pack("!I", 2 if kind == b"\x08\x00" else 30),
}


@dataclass(frozen=True)
class Super:
    """A frame and what its descriptor says; offsets are of the frame's first byte."""

    data: bytes
    gso_type: int
    gso_size: int
    network_at: int
    transport_at: int
    payload_at: int
    field: int
    link: Link = Link.ETHERNET

    @property
    def payload_len(self):
        return len(self.data) - self.payload_at


def super_frame(
    *, version=4, udp=0, payload=b"", size=1000, link=Link.ETHERNET, tags=b"", ident=1, df=True, tos=0, ip_options=b"",
    extensions=b"", first_extension=0, jumbo=False, flags=0x10, urgent=0, tcp_options=b"", ports=(1000, 2000), gso_type=0,
    sequence=0, zero_length=False,
):  # fmt: skip
    """Build a super-frame; its checksum is partial. `udp` is 0 for TCP, else GSO_UDP or GSO_UDP_L4."""
    kind = b"\x08\x00" if version == 4 else b"\x86\xdd"
    start = ETHERNET + tags + kind if link is Link.ETHERNET else LINKS[link](kind)
    protocol = 17 if udp else 6
    if udp:
        transport = struct.pack("!HHHH", *ports, (8 + len(payload)) & 0xFFFF, 0)
    else:
        words = (*ports, sequence, 77, (5 + len(tcp_options) // 4) << 12 | flags, 0x1234, 0, urgent)
        transport = struct.pack("!HHIIHHHH", *words) + tcp_options
    length = len(transport) + len(payload)
    if version == 4:
        addresses = bytes([10, 9, 0, 2, 10, 9, 0, 1])
        headers = struct.pack("!BBHHHBBH", 0x45 + len(ip_options) // 4, tos, 0, ident, 0x4000 * df, 64, protocol, 0)
        headers = headers + addresses + ip_options
        headers = with_length(headers, 0 if zero_length or len(headers) + length > 65535 else length)
        if zero_length or len(headers) + length > 65535:
            headers = with_zero_length(headers)
    else:
        addresses = bytes.fromhex("fd00000000000000000000000000000afd00000000000000000000000000000b")
        hop = bytes([first_extension if extensions else protocol, 0, 0xC2, 4]) + struct.pack("!I", length + 8 + len(extensions))
        following = 0 if jumbo else first_extension if extensions else protocol
        counted = 0 if jumbo else length + len(extensions)
        headers = struct.pack("!IHBB", 6 << 28 | tos << 20 | 0x54321, counted, following, 63)
        headers += addresses + (hop if jumbo else b"") + extensions
    field = 6 if udp else 16
    transport = put16(transport, field, pseudo(headers, protocol, length))
    network_at, transport_at = len(start), len(start) + len(headers)
    gso_type |= udp or (GSO_TCPV4 if version == 4 else GSO_TCPV6)
    data = start + headers + transport + payload
    return Super(data, gso_type, size, network_at, transport_at, transport_at + len(transport), field, link)


def with_zero_length(headers):
    """Return IPv4 headers that say 0, as BIG TCP and segmentation offload write them."""
    from support.naive_gso import ones_sum

    headers = put16(put16(headers, 2, 0), 10, 0)
    return put16(headers, 10, 0xFFFF - ones_sum(headers))


def edges(size):
    """Payload lengths around the edges of a segment size."""
    return [1, size - 1, size, size + 1, 2 * size - 1, 2 * size, 2 * size + 1, 3 * size]


def random_super(rng, *, links=False, kernel=False, small=False):
    """Draw a super-frame; with `kernel` only what a virtio_net_hdr can say and a veth carries."""
    version = rng.choice((4, 6))
    udp = rng.choice((0, 0, GSO_UDP, GSO_UDP_L4))
    size = rng.choice(
        (1, 2, 3, 7, 8, 9, 100, 101, 536, 999, 1000, 1448, 1460, rng.randrange(1, 3000), rng.randrange(3000, 20000))
    )
    if udp == GSO_UDP:
        size = max(size & ~7, 8)
    if kernel and size < 100:
        size = max(size, 64)
    limit = 128 * size if udp == GSO_UDP_L4 and kernel else 60 * size
    top = min(limit, 4000 if small else 65535 - 200)
    length = rng.choice((*edges(size), rng.randrange(1, top + 1), rng.randrange(1, top + 1), top))
    length = max(1, min(length, top))
    link = rng.choice(list(LINKS)) if links else Link.ETHERNET
    tags = b""
    if links and rng.random() < 0.3:
        tags = rng.choice((b"\x81\x00\x20\x05", b"\x88\xa8\x00\x07\x81\x00\x00\x08"))
    extensions = b""
    first_extension = 60
    if version == 6 and rng.random() < 0.25 and not (kernel and udp == GSO_UDP):
        extensions = bytes([17 if udp else 6, 0, 1, 4, 0, 0, 0, 0])
        if rng.random() < 0.5:
            extensions = bytes([60, 1, 1, 12]) + bytes(12) + extensions
            first_extension = 0
    # The kernel takes a jumbo header out only above 64 KiB and right before TCP; RFC 2675 allows none below.
    jumbo = version == 6 and not udp and rng.random() < 0.1 and not kernel
    gso_type = 0
    flags = rng.choice((0x10, 0x18, 0x11, 0x19, rng.randrange(0x200), rng.randrange(0x200)))
    if not udp:
        if flags & 0x80:
            gso_type |= GSO_TCP_ECN if kernel else rng.choice((GSO_TCP_ECN, GSO_TCP_ACCECN))
        if not kernel and rng.random() < 0.3:
            gso_type |= GSO_TCP_FIXEDID
    zero = version == 4 and rng.random() < 0.1 and not kernel
    return super_frame(
        version=version, udp=udp, payload=random_payload(rng, length), size=size, link=link, tags=tags, gso_type=gso_type,
        ident=rng.choice((0, 1, 0xFFFE, 0xFFFF, rng.randrange(65536))), df=rng.random() < 0.5, tos=rng.randrange(256),
        ip_options=b"\x01" * rng.choice((0, 0, 0, 4, 40)) if version == 4 else b"", extensions=extensions,
        first_extension=first_extension, jumbo=jumbo, flags=flags,
        urgent=rng.choice((0, 0, rng.randrange(65536))), tcp_options=rng.randbytes(rng.choice((0, 0, 12, 40))),
        ports=(rng.randrange(1, 65536), rng.randrange(1, 65536)), sequence=rng.choice((0, 0xFFFFFF00, rng.randrange(2**32))),
        zero_length=zero,
    )  # fmt: skip


def random_payload(rng, length):
    """Draw payload bytes; sometimes all zero or all ones, where checksums meet their corners."""
    kind = rng.random()
    if kind < 0.1:
        return bytes(length)
    if kind < 0.2:
        return b"\xff" * length
    return rng.randbytes(length)


def roomy_pool(frames, **chunks):
    """Make a pool with a window for these frames and many chunks of each class."""
    sizes = {"header": 8192, "normal": 8192, "large": 600, **chunks}
    return make_pool(window=sum(len(frame.data) for frame in frames), **sizes)


def batch_of(frames, *, pool=None, partial=True, rng=None):
    """Load super-frames into a batch; with `rng` their payload continues in fragments, shared or counted."""
    pool = pool or roomy_pool(frames)
    batch = make_batch(pool, len(frames), 4096)
    at = 0
    for i, frame in enumerate(frames):
        size = len(frame.data)
        pool.mem[at : at + size] = np.frombuffer(frame.data, np.uint8)
        batch.head_addr[i] = at
        batch.head_len[i] = batch.frame_len[i] = batch.wire_len[i] = size
        batch.head_chunk[i] = NO_CHUNK
        batch.link[i] = frame.link
        batch.payload_sum[i] = -1
        batch.gso_type[i], batch.gso_size[i] = frame.gso_type, frame.gso_size
        batch.gso_segs[i] = -(-frame.payload_len // frame.gso_size) if frame.gso_size else 1
        batch.origin[i] = i
        batch.timestamp[i] = 10**18 + i
        batch.ticks[i] = 77 + i
        batch.hash[i] = i * 7
        batch.in_port[i] = i % 3
        batch.option_addr[i], batch.option_len[i] = 0, 4
        batch.frag_first[i] = batch.used[FRAGS]
        if partial:
            batch.ip_summed[i] = CHECKSUM_PARTIAL
            batch.csum_start[i], batch.csum_offset[i] = frame.transport_at, frame.field
        if rng:
            _scatter(batch, i, at + frame.payload_at, at + size, rng)
        at += size
    batch.used[FRAMES] = len(frames)
    parse(batch, 0, len(frames))
    return batch


def _scatter(batch, i, at, end, rng):
    """Cut the payload of frame `i` at odd places; empty pieces, pieces of the window and of chunks."""
    at = rng.randrange(at, end + 1) if rng.random() < 0.5 else at
    batch.head_len[i] = at - batch.head_addr[i]
    while at < end:
        longest = rng.choice((1, 2, 3, 700, 2048, 70000)) if batch.used[FRAGS] < 3000 else 70000
        size = min(rng.randrange(longest + 1), end - at)
        row = int(batch.used[FRAGS])
        batch.frag_addr[row], batch.frag_len[row], batch.frag_chunk[row] = at, size, NO_CHUNK
        batch.frag_origin[row] = i
        if 0 < size <= CHUNK_SIZE[NORMAL] and rng.random() < 0.5:
            chunk = int(chunk_alloc(batch.pool, NORMAL))
            if chunk != NO_CHUNK:
                own = int(chunk_address(batch.pool, chunk)) + CHUNK_SIZE[NORMAL] - size
                batch.pool.mem[own : own + size] = batch.pool.mem[at : at + size]
                batch.pool.mem[at : at + size] = 0xEE
                batch.frag_addr[row], batch.frag_chunk[row] = own, chunk
        batch.used[FRAGS] = row + 1
        batch.frag_count[i] += 1
        at += size


def assert_all_free(pool):
    """Assert that nobody holds a chunk."""
    assert not pool.refs.any()
    assert list(pool.free_count) == list(np.diff(pool.first))
