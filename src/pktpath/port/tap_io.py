"""TAP queues, compiled: a readv a frame, a writev a frame, each with its virtio_net_hdr.

A frame takes a chunk of 2 KiB and, only if it is longer, one of 68 KiB; both are offered to each readv, and what the last one
did not use goes back to the pool. Source: drivers/net/tun.c, tun(4).
"""

import errno as codes

import numpy as np

from pktpath.batch import FRAGS, FRAMES
from pktpath.jit import kernel
from pktpath.pool import CHUNK_SIZE, HEADROOM, LARGE, NO_CHUNK, NORMAL, chunk_address, chunk_alloc, chunk_put
from pktpath.port import libc
from pktpath.port.fresh_frame import fresh_frame
from pktpath.port.rows import row_type
from pktpath.port.virtio import HEADER_LENGTH, frame_to_virtio, super_frame_holds, virtio_to_frame
from pktpath.wire.parse import parse

TAP_ROW = row_type("fd")
HEAD_ROOM = CHUNK_SIZE[NORMAL] - HEADROOM
"""Bytes of a frame in its first chunk: longer ones continue in a fragment."""
LONGEST = HEAD_ROOM + CHUNK_SIZE[LARGE]
"""A frame that fills all that was offered, or tells of more, was cut."""
MAX_PIECES = 1024 - 2
"""IOV_MAX, without the header and the head."""
_ETHERNET_HEADER = 14


@kernel
def tap_receive(queues, row, batch, budget, scratch):
    """Append up to `budget` frames to `batch`; return how many, or -errno where not even one could be asked for.

    A frame whose header lies is dropped (rx_frame_errors). Where no chunk is free, the rest stays in the
    kernel (rx_no_memory). EBADFD and EIO mean that the interface is gone or down.
    """
    own = queues.tap[row]
    pool = batch.pool
    n = batch.used[FRAMES]
    end = min(n + budget, len(batch.frames))
    first = n
    size = np.int64(0)
    code = 0
    small = NO_CHUNK
    large = NO_CHUNK
    place = np.int64(pool.mem.ctypes.data)
    vector = scratch.iovecs
    # The header comes to lie before its frame.
    vector[0, 1] = HEADER_LENGTH + HEAD_ROOM
    vector[1, 1] = CHUNK_SIZE[LARGE]
    at = np.int64(0)
    tail = np.int64(0)
    asked = 0
    # A peer that sends nothing but lies must not keep us here.
    while n < end and asked < 2 * budget and batch.used[FRAGS] < len(batch.frag_addr):
        if small == NO_CHUNK:
            small = chunk_alloc(pool, NORMAL)
            if small != NO_CHUNK:
                at = chunk_address(pool, small) + HEADROOM
                vector[0, 0] = place + at - HEADER_LENGTH
        if large == NO_CHUNK:
            large = chunk_alloc(pool, LARGE)
            if large != NO_CHUNK:
                tail = chunk_address(pool, large)
                vector[1, 0] = place + tail
        if small == NO_CHUNK or large == NO_CHUNK:
            own.rx_no_memory += 1
            code = codes.ENOBUFS
            break
        asked += 1
        got = libc.readv(np.int32(own.fd), vector.ctypes.data, np.int32(2))
        if got < 0:
            code = libc.errno()
            if code == codes.EINTR:
                continue
            break
        length = got - HEADER_LENGTH
        if length < _ETHERNET_HEADER or length >= LONGEST:
            own.rx_frame_errors += 1
            continue
        frame = batch.frames[n]
        linear = min(length, HEAD_ROOM)
        frame.head_addr = at
        frame.head_len = linear
        frame.head_chunk = small
        frame.frame_len = length
        frame.wire_len = length
        frame.frag_first = batch.used[FRAGS]
        frame.frag_count = 0
        if not virtio_to_frame(pool.mem, at - HEADER_LENGTH, frame):
            own.rx_frame_errors += 1
            continue
        fresh_frame(frame, own.in_port, n)
        if frame.gso_type:
            parse(batch, n, n + 1)
            if not super_frame_holds(frame):
                own.rx_frame_errors += 1
                continue
        if length > linear:
            piece = batch.used[FRAGS]
            batch.frag_addr[piece] = tail
            batch.frag_len[piece] = length - linear
            batch.frag_chunk[piece] = large
            batch.frag_origin[piece] = n
            batch.used[FRAGS] = piece + 1
            frame.frag_count = 1
            large = NO_CHUNK
        small = NO_CHUNK
        size += length
        n += 1
    chunk_put(pool, small)
    chunk_put(pool, large)
    batch.used[FRAMES] = n
    own.rx_packets += n - first
    own.rx_bytes += size
    own.errno = 0 if code == codes.EAGAIN else code
    if n == first and code != codes.EAGAIN and code != codes.ENOBUFS:
        return -code
    return n - first


@kernel
def tap_give_back(queues, row):
    """Nothing to return: received frames lie in chunks of the batch."""


@kernel
def tap_transmit(queues, row, batch, order, first, last, scratch):
    """Write frames `order[first:last]`, uncopied; return how many were taken, with those that the kernel refused (tx_errors).

    EAGAIN (its queue is full), EIO (the interface is down) and EBADFD (it is gone) end the burst: the rest is not taken.
    """
    own = queues.tap[row]
    place = np.int64(batch.pool.mem.ctypes.data)
    vector = scratch.iovecs
    vector[0, 0] = scratch.headers.ctypes.data
    vector[0, 1] = HEADER_LENGTH
    size = np.int64(0)
    sent = 0
    code = 0
    at = first
    while at < last:
        frame = batch.frames[order[at]]
        pieces = np.int64(frame.frag_count)
        if pieces > MAX_PIECES or not frame_to_virtio(frame, scratch.headers, 0):
            own.tx_errors += 1
            at += 1
            continue
        vector[1, 0] = place + frame.head_addr
        vector[1, 1] = frame.head_len
        start = np.int64(frame.frag_first)
        for k in range(pieces):
            vector[2 + k, 0] = place + batch.frag_addr[start + k]
            vector[2 + k, 1] = batch.frag_len[start + k]
        if libc.writev(np.int32(own.fd), vector.ctypes.data, np.int32(2 + pieces)) < 0:
            code = libc.errno()
            if code == codes.EINTR:
                continue
            if code == codes.EAGAIN or code == codes.ENOBUFS or code == codes.EIO or code == codes.EBADFD or code == codes.EBADF:
                break
            own.tx_errors += 1
        else:
            sent += 1
            size += frame.frame_len
        at += 1
    own.errno = code
    own.tx_packets += sent
    own.tx_bytes += size
    own.tx_refused += last - at
    return at - first
