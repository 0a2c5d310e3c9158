"""Built-in traffic: the same frames on every machine, written as fast as they can be read.

A `Plan` says what each frame of a link is, one row a frame in the order of the wire; `frames` turns
it into bytes and a parsed batch. Everything follows from the arguments: there is no clock and no
random number. Addresses are RFC 1918's and RFC 3849's.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pktpath.batch import CHECKSUM_NONE, CHECKSUM_PARTIAL, FRAMES, GSO_TCPV4, GSO_TCPV6, Batch, make_batch
from pktpath.jit import inlined, kernel
from pktpath.pool import NO_CHUNK, Pool, make_pool
from pktpath.wire import ethernet, ipv4, ipv6, tcp, udp
from pktpath.wire.checksum import fold, pseudo_sum, sum_bytes
from pktpath.wire.link import Link
from pktpath.wire.load import copy_bytes, store16, store32
from pktpath.wire.parse import ip_header_sum, parse

_TCP, _UDP = tcp.PROTOCOL, udp.PROTOCOL
_ACK, _PSH = tcp.ACK, tcp.PSH
_TIMESTAMPS = 12
"""Bytes of the timestamp option with the two NOPs before it, as Linux sends it."""
_PATTERN = 65536
"""Bytes of payload pattern, repeated; a frame's payload starts where its sequence number says."""
_GIGABITS = 10
"""Rate of the link that the arrival times are spaced for."""
_WRITE_SEGMENTS = 45
"""Segments of one application write of 64 KB; the last one has PSH."""
_LARGE_WRITE = 180
"""Segments of one application write of 256 KB."""
_MAX_TCP_HEADER = 320
"""What the transport leaves for headers below gso_max_size (include/net/tcp.h)."""
_STAMP_FRAMES = 800
"""Full frames that a link of this rate carries in a tick of the timestamp, 1 ms."""

Columns = NDArray[np.int64]


class Plan(NamedTuple):
    """What each frame is; all columns have one entry a frame."""

    flow: Columns
    """Number of the connection; both directions of one have the same number."""
    reverse: Columns
    """1 from the server to the client, else 0."""
    network: Columns
    """4 or 6."""
    protocol: Columns
    """6 or 17."""
    length: Columns
    """Bytes of transport payload."""
    sequence: Columns
    """Bytes that this direction of the flow sent before."""
    acknowledgment: Columns
    """Bytes that the other direction sent before (TCP)."""
    flags: Columns
    """TCP flags."""
    ident: Columns
    """IPv4 ID, counting up by one for each segment in each direction of a flow."""
    gso_size: Columns
    """Payload of each segment of a super-frame, 0 for a frame that is one segment."""
    stamp: Columns
    """Value of the TCP timestamp."""


def bulk(flows: int, count: int, *, network: int = 4, train: int = 1, payload: int = 1448) -> Plan:
    """Plan `count` full TCP segments with timestamps, flows taking turns after `train` segments."""
    flow = np.arange(count) // train % flows
    length = np.full(count, payload)
    nth = _running(flow, np.ones(count, np.int64))
    flags = np.where(nth % _WRITE_SEGMENTS == _WRITE_SEGMENTS - 1, _ACK | _PSH, _ACK)
    return _plan(flow, 0, network, _TCP, length, _running(flow, length), 0, flags)


def sent(flows: int, writes: int, *, network: int = 4, gso_max_size: int = 0, payload: int = 1448) -> Plan:
    """Plan what a TCP transport hands down for `writes` writes of 256 KB, flows taking turns.

    With `gso_max_size` (bytes) it builds super-frames of whole segments below that size, as
    `tcp_xmit_size_goal` does; with 0 it cuts every segment itself.
    """
    most = max((gso_max_size - 1 - _MAX_TCP_HEADER) // payload, 1)
    pieces = -(-_LARGE_WRITE // most)
    write, piece = np.divmod(np.arange(writes * pieces), pieces)
    segments = np.minimum(most, _LARGE_WRITE - piece * most)
    flow = write % flows
    flags = np.where(piece == pieces - 1, _ACK | _PSH, _ACK)
    length = segments * payload
    return _plan(flow, 0, network, _TCP, length, _running(flow, length), 0, flags, segments=segments, stamp=write)


def bursts(flows: int, count: int, *, network: int = 4, burst: int = 16, payload: int = 1200) -> Plan:
    """Plan `count` datagrams as QUIC sends them: bursts of one size, the last one shorter."""
    flow = np.arange(count) // burst % flows
    length = np.where(np.arange(count) % burst == burst - 1, payload // 3, payload)
    return _plan(flow, 0, network, _UDP, length, _running(flow, length), 0, 0)


def requests(flows: int, count: int, *, network: int = 4, request: int = 180, response: int = 900) -> Plan:
    """Plan `count` frames of exchanges: a small request, a small response, an acknowledgment."""
    step = np.arange(count) // flows % 3
    flow = np.arange(count) % flows
    exchange = np.arange(count) // flows // 3
    length = np.choose(step, (request, response, 0))
    sequence = np.choose(step, (exchange * request, exchange * response, (exchange + 1) * request))
    acknowledgment = np.choose(step, (exchange * response, (exchange + 1) * request, (exchange + 1) * response))
    flags = np.where(step == 2, _ACK, _ACK | _PSH)
    return _plan(flow, (step == 1).astype(np.int64), network, _TCP, length, sequence, acknowledgment, flags)


def _plan(flow, reverse, network, protocol, length, sequence, acknowledgment, flags, *, segments=1, stamp=None) -> Plan:
    count = len(flow)
    segments = np.broadcast_to(segments, count)
    ident = flow * 977 + _running(flow * 2 + np.broadcast_to(reverse, count), segments)
    gso_size = np.where(segments > 1, length // segments, 0)
    stamp = np.arange(count) // _STAMP_FRAMES if stamp is None else stamp
    columns = (flow, reverse, network, protocol, length, sequence, acknowledgment, flags, ident, gso_size, stamp)
    return Plan(*(np.ascontiguousarray(np.broadcast_to(column, count), np.int64) for column in columns))


def _running(key: Columns, amount: Columns) -> Columns:
    """Sum of the amounts before each row among the rows of the same key."""
    order = np.argsort(key, kind="stable")
    before = np.cumsum(amount[order]) - amount[order]
    starts = np.flatnonzero(np.diff(key[order], prepend=-1))
    before -= np.repeat(before[starts], np.diff(starts, append=len(key)))
    result = np.empty_like(before)
    result[order] = before
    return result


def frame_lengths(plan: Plan) -> Columns:
    """Bytes of each frame on the wire, without preamble and frame check sequence."""
    network = np.where(plan.network == 4, ipv4.LENGTH, ipv6.LENGTH)
    transport = np.where(plan.protocol == _TCP, tcp.LENGTH + _TIMESTAMPS, udp.LENGTH)
    return ethernet.LENGTH + network + transport + plan.length


def frames(plan: Plan, *, header: int = 0, normal: int = 0, start: int = 0) -> Batch:
    """Write the frames of a plan and return them parsed, as one batch.

    The frames lie in the window of a new pool, in order and end to end: nothing may write there.
    `hash` is set as a device would, differently for each direction of each flow; checksums are
    right and not yet verified. `header` and `normal` chunks are for the stages to come. Time begins
    after `start` nanoseconds.
    """
    count = len(plan.flow)
    lengths = frame_lengths(plan)
    repeats = 2 + int(plan.length.max(initial=0)) // _PATTERN
    address = np.cumsum(lengths) - lengths + repeats * _PATTERN
    pool = make_pool(window=repeats * _PATTERN + int(lengths.sum()), header=header, normal=normal)
    batch = make_batch(pool, max(count, 1))
    _write_pattern(pool, repeats)
    time = start + np.cumsum((lengths + 24) * 8) // _GIGABITS  # preamble, frame check sequence, gap
    write_frames(pool.mem, address, plan)

    batch.head_addr[:count] = address
    for column in (batch.head_len, batch.frame_len, batch.wire_len):
        column[:count] = lengths
    batch.head_chunk[:] = NO_CHUNK
    batch.link[:] = Link.ETHERNET
    batch.timestamp[:count] = time
    batch.ticks[:count] = time
    batch.hash[:count] = ((plan.flow * 2 + plan.reverse + 1) * 2654435761) & 0xFFFFFFFF
    batch.payload_sum[:] = -1
    _describe_super_frames(batch, plan)
    batch.origin[:] = np.arange(len(batch.origin))
    batch.used[FRAMES] = count
    parse(batch, 0, count)
    return batch


def _describe_super_frames(batch: Batch, plan: Plan) -> None:
    """Fill what a transport says about its super-frames; the other frames are one segment."""
    count = len(plan.flow)
    large = plan.gso_size > 0
    network = np.where(plan.network == 4, ipv4.LENGTH, ipv6.LENGTH)
    batch.gso_segs[:] = 1
    batch.gso_segs[:count][large] = (plan.length // np.maximum(plan.gso_size, 1))[large]
    batch.gso_size[:count] = plan.gso_size
    batch.gso_type[:count] = np.where(large, np.where(plan.network == 4, GSO_TCPV4, GSO_TCPV6), 0)
    batch.ip_summed[:count] = np.where(large, CHECKSUM_PARTIAL, CHECKSUM_NONE)
    batch.csum_start[:count] = np.where(large, ethernet.LENGTH + network, 0)
    batch.csum_offset[:count] = np.where(large, tcp.CHECKSUM, 0)


def _write_pattern(pool: Pool, repeats: int) -> None:
    words = np.arange(1, _PATTERN // 8 + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    pool.mem[: repeats * _PATTERN] = np.tile(words.view(np.uint8), repeats)


@kernel
def write_frames(mem, address, plan):
    """Write each frame of a plan at its address: super-frames with a partial checksum, length 0 where 16 bits do not hold it."""
    for k in range(len(address)):
        at = address[k]
        flow, reverse = plan.flow[k], plan.reverse[k]
        network, protocol, length = plan.network[k], plan.protocol[k], plan.length[k]
        header = tcp.LENGTH + _TIMESTAMPS if protocol == _TCP else udp.LENGTH
        for end in range(2):
            store16(mem, at + end * 6, 0x0200)
            store32(mem, at + end * 6 + 2, 1 if end == reverse else 2)
        store16(mem, at + ethernet.ETHERTYPE, ethernet.IPV4 if network == 4 else ethernet.IPV6)

        ip = at + ethernet.LENGTH
        if network == 4:
            transport = ip + ipv4.LENGTH
            store16(mem, ip + ipv4.VERSION_IHL, 0x4500)
            store16(mem, ip + ipv4.TOTAL_LENGTH, _length16(ipv4.LENGTH + header + length))
            store16(mem, ip + ipv4.ID, plan.ident[k])
            store16(mem, ip + ipv4.FRAGMENT, ipv4.DF)
            store16(mem, ip + ipv4.TTL, 64 << 8 | protocol)
            store16(mem, ip + ipv4.CHECKSUM, 0)
            store32(mem, ip + (ipv4.DESTINATION if reverse else ipv4.SOURCE), 0x0A010000 + flow)
            store32(mem, ip + (ipv4.SOURCE if reverse else ipv4.DESTINATION), 0x0A020001)
            store16(mem, ip + ipv4.CHECKSUM, 0xFFFF - ip_header_sum(mem, ip, ipv4.LENGTH))
        else:
            transport = ip + ipv6.LENGTH
            store32(mem, ip + ipv6.VERSION_CLASS_LABEL, 6 << 28)
            store16(mem, ip + ipv6.PAYLOAD_LENGTH, _length16(header + length))
            store16(mem, ip + ipv6.NEXT_HEADER, protocol << 8 | 64)
            for end in range(2):
                address6 = ip + (ipv6.SOURCE if end == 0 else ipv6.DESTINATION)
                client = end == reverse
                store32(mem, address6, 0x20010DB8)
                store32(mem, address6 + 4, 1 if client else 2)
                store32(mem, address6 + 8, 0)
                store32(mem, address6 + 12, flow + 1 if client else 1)

        port = 10000 + flow % 50000
        store16(mem, transport + tcp.SOURCE_PORT, 443 if reverse else port)
        store16(mem, transport + tcp.DESTINATION_PORT, port if reverse else 443)
        copy_bytes(mem, transport + header, plan.sequence[k] % _PATTERN, length)
        if protocol == _TCP:
            store32(mem, transport + tcp.SEQUENCE, 1 + plan.sequence[k])
            store32(mem, transport + tcp.ACKNOWLEDGMENT, 1 + plan.acknowledgment[k])
            store16(mem, transport + tcp.FLAG_WORD, (header >> 2) << 12 | plan.flags[k])
            store32(mem, transport + tcp.WINDOW, 0x01F60000)
            store32(mem, transport + tcp.CHECKSUM, 0)
            store32(mem, transport + tcp.LENGTH, 0x0101080A)
            store32(mem, transport + tcp.LENGTH + 4, 1 + plan.stamp[k])
            store32(mem, transport + tcp.LENGTH + 8, 1)
            field = transport + tcp.CHECKSUM
        else:
            store16(mem, transport + udp.UDP_LENGTH, header + length)
            store16(mem, transport + udp.CHECKSUM, 0)
            field = transport + udp.CHECKSUM
        total = pseudo_sum(mem, ip, network, protocol, header + length)
        if plan.gso_size[k] > 0:
            store16(mem, field, total)
            continue
        checksum = 0xFFFF - fold(total + sum_bytes(mem, transport, header + length))
        store16(mem, field, 0xFFFF if checksum == 0 and protocol == _UDP else checksum)


@inlined
def _length16(length):
    """Return an IP length as BIG TCP writes it: 0 where 16 bits do not hold it."""
    return length if length <= ipv4.MAX_LENGTH else 0
