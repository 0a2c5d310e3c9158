"""Packet sockets, compiled: what receives, gives back and transmits on one row of `Queues.packet`.

A receiving socket has a ring (`ring`: TPACKET_V2) or none (`mmsg`). In a ring, small slots lend their frames to the
path; a frame larger than its slot comes a second time through the socket, whole. Source: packet(7),
Documentation/networking/packet_mmap.rst, net/packet/af_packet.c of Linux 6.18.
"""

import numpy as np

from pktpath.batch import FRAGS, FRAMES
from pktpath.jit import inlined, kernel
from pktpath.pool import NO_CHUNK
from pktpath.port.barrier import acquire32, release32
from pktpath.port.fresh_frame import fresh_frame
from pktpath.port.libc import errno, recvfrom
from pktpath.port.live import MAX_BURST
from pktpath.port.packet_message import append_frame, offer, receive_copies, receive_some, room_for_messages, settle, take_message
from pktpath.port.packet_send import send_frames
from pktpath.port.rows import row_type
from pktpath.port.virtio import HEADER_LENGTH, virtio_to_frame
from pktpath.wire.load import word32

NO_RING = -1

COUNTERS = ("rx_packets", "rx_bytes", "rx_over_errors", "rx_frame_errors", "tx_packets", "tx_bytes", "tx_errors")
"""rx_over_errors: frames that came cut, and were dropped; rx_frame_errors: those with a virtio_net_hdr that cannot be true;
tx_errors: those that the kernel did not take, and never would."""
PACKET_ROW = row_type(
    "mem_base",  # address of `Pool.mem` in the process
    "ring",  # address of the ring in `Pool.mem`, or NO_RING
    "slots",  # a power of two
    "slot_bytes",
    "head",  # slots read since the start
    "lent",  # slots given back since the start
    "idle",  # receives since the start that found the ring empty
    "fd",
    counters=COUNTERS,
)
"""One queue, receiving or transmitting; a record of `Queues.packet`."""

_USER, _COPY, _VLAN, _TPID = 1, 2, 16, 64
# struct tpacket2_hdr (include/uapi/linux/if_packet.h)
_LENGTH, _CAPTURED, _MAC, _TAG = 4, 8, 12, 24
_PEEK_NOW = 0x42  # MSG_PEEK | MSG_DONTWAIT
_EINTR, _EAGAIN, _EINVAL, _ENOBUFS = 4, 11, 22, 105
_LOOK_FOR_ERRORS = 32


@kernel
def packet_receive(queues, row, batch, budget, scratch):
    """Append up to `budget` frames to a batch; return how many, or -errno.

    Ring: their bytes are the kernel's until `packet_give_back`. Larger frames, and all of a socket without a ring, lie
    in a NORMAL chunk behind its headroom and, where that is too small, one LARGE chunk of the batch's pool. With neither
    chunks nor room for fragments left nothing is received: -ENOBUFS.
    """
    q = queues.packet[row]
    room = min(np.int64(budget), MAX_BURST, np.int64(len(batch.frames)) - batch.used[FRAMES])
    if q.ring == NO_RING:
        return _receive_messages(q, batch, room, scratch)
    return _receive_ring(q, batch, room, scratch)


@kernel
def packet_give_back(queues, row):
    """Hand all slots received so far back to the kernel."""
    q = queues.packet[row]
    ring = q.mem_base + q.ring
    for slot in range(q.lent, q.head):
        release32(ring + (slot & q.slots - 1) * q.slot_bytes, 0)
    q.lent = q.head


@kernel
def packet_transmit(queues, row, batch, order, first, last, scratch):
    """Send frames `order[first:last]` of a batch; return how many were taken, sent or counted in `tx_errors`.

    Fewer than asked: the socket's buffer or the device's queue is full (`errno`), and the rest may be tried again.
    """
    q = queues.packet[row]
    return send_frames(q, batch, order, np.int64(first), np.int64(last), scratch)


@inlined
def _receive_messages(q, batch, room, scratch):
    wanted = min(room, room_for_messages(batch))
    if wanted <= 0:
        q.errno = _ENOBUFS
        return np.int64(-_ENOBUFS) if room > 0 else np.int64(0)
    offer(q, batch, scratch, wanted)
    got = receive_some(q, scratch, np.int64(0), wanted)
    if got <= 0:
        return np.int64(0) if q.errno == _EAGAIN or q.errno == _EINTR else -q.errno
    before = batch.used[FRAMES]
    for k in range(got):
        take_message(q, batch, scratch, k)
    settle(batch, scratch, got)
    return batch.used[FRAMES] - before


@inlined
def _receive_ring(q, batch, room, scratch):
    mem = batch.pool.mem
    room = min(room, q.slots - (q.head - q.lent))
    ring = q.mem_base + q.ring
    ready, copies, most = np.int64(0), np.int64(0), np.int64(-1)
    while ready < room:
        status = acquire32(ring + (q.head + ready & q.slots - 1) * q.slot_bytes)
        if not status & _USER:
            break
        if status & _COPY:
            if most < 0:
                most = room_for_messages(batch)
            if copies >= most:
                q.errno = _ENOBUFS
                if ready == 0:
                    return np.int64(-_ENOBUFS)
                break
            copies += 1
        ready += 1
    if ready == 0:
        return _socket_error(q, scratch) if room > 0 else np.int64(0)
    got = np.int64(0)
    if copies:
        offer(q, batch, scratch, copies)
        got = receive_copies(q, scratch, copies)
    before = batch.used[FRAMES]
    k = np.int64(0)
    for slot in range(q.head, q.head + ready):
        at = q.ring + (slot & q.slots - 1) * q.slot_bytes
        status = word32(mem, at)
        if not status & _COPY:
            _take_slot(q, batch, at, status)
        elif k < got:
            take_message(q, batch, scratch, k)
            k += 1
    if copies:
        settle(batch, scratch, got)
    q.head += ready
    return batch.used[FRAMES] - before


@inlined
def _take_slot(q, batch, at, status):
    """Append the frame in one slot, unless it is cut or its header cannot be true."""
    mem = batch.pool.mem
    i = batch.used[FRAMES]
    frame = batch.frames[np.uint64(i)]
    length = word32(mem, at + _CAPTURED)
    mac = word32(mem, at + _MAC) & 0xFFFF
    if word32(mem, at + _LENGTH) != length or mac < HEADER_LENGTH or mac + length > q.slot_bytes:
        q.rx_over_errors += 1
        return
    frame.head_addr = at + mac
    frame.head_len = length
    frame.head_chunk = NO_CHUNK
    frame.frag_first = batch.used[FRAGS]
    frame.frag_count = 0
    frame.frame_len = length
    frame.wire_len = length
    fresh_frame(frame, q.in_port, i)
    if status & _VLAN:
        tag = word32(mem, at + _TAG)
        frame.vlan_tci = tag & 0xFFFF
        frame.vlan_proto = tag >> 16 if status & _TPID else 0x8100
    if not virtio_to_frame(mem, at + mac - HEADER_LENGTH, frame):
        q.rx_frame_errors += 1
        return
    append_frame(q, batch, i)


@inlined
def _socket_error(q, scratch):
    """Look now and then whether an empty ring hides an error: as long as nobody reads it, epoll reports it."""
    q.idle += 1
    if q.idle % _LOOK_FOR_ERRORS:
        return np.int64(0)
    # Looking takes nothing away: a large frame may have come in between.
    if recvfrom(q.fd, np.int64(scratch.headers.ctypes.data), HEADER_LENGTH, _PEEK_NOW, 0, 0) >= 0:
        return np.int64(0)
    why = np.int64(errno())
    if why == _EAGAIN or why == _EINTR or why == _EINVAL:
        return np.int64(0)
    q.errno = why
    return -why
