"""Frames that a packet socket hands over by recvmmsg: a NORMAL chunk each, and a LARGE one for what it does not hold.

The chunks offered stay free until a frame lies in them: `offer` names those on top of the pool's stacks,
`take_message` holds what was used, `settle` takes it from the stacks.
"""

import numpy as np

from pktpath.batch import FRAGS, FRAMES
from pktpath.jit import inlined
from pktpath.pool import CHUNK_SIZE, HEADROOM, LARGE, NORMAL
from pktpath.port.fresh_frame import fresh_frame
from pktpath.port.libc import errno, recvmmsg
from pktpath.port.virtio import HEADER_LENGTH, virtio_to_frame

_HEAD_ROOM = CHUNK_SIZE[NORMAL] - HEADROOM
# struct mmsghdr in words of 8 bytes: name, its length, iovecs, their number, control, its length, flags; length received
_IOV, _IOV_COUNT, _CONTROL, _CONTROL_LENGTH, _FLAGS, _RECEIVED = 2, 3, 4, 5, 6, 7
_CONTROL_ROOM = 64
# The control message of PACKET_AUXDATA: length, level and type, then struct tpacket_auxdata
_AUX_LEAST, _AUX_STATUS, _AUX_TCI, _AUX_TPID = 36, 16, 32, 34
_VLAN, _TPID = 16, 64
_MSG_TRUNC, _MSG_DONTWAIT = 0x20, 0x40
_EINTR = 4
_USED = np.int64(-1)


@inlined
def append_frame(q, batch, i):
    """Make descriptor `i`, which the port has filled, the last frame of a batch, and count it."""
    batch.used[FRAMES] = i + 1
    q.rx_packets += 1
    q.rx_bytes += batch.frames[np.uint64(i)].frame_len


@inlined
def room_for_messages(batch):
    """How many frames the chunks and fragments of a batch can take, if all are large."""
    free = batch.pool.free_count
    return min(free[NORMAL], free[LARGE], np.int64(len(batch.frag_addr)) - batch.used[FRAGS])


@inlined
def offer(q, batch, scratch, count):
    """Fill `count` message headers with the chunks that are next on the pool's stacks."""
    pool = batch.pool
    iovecs = np.int64(scratch.iovecs.ctypes.data)
    controls = np.int64(scratch.controls.ctypes.data)
    top = pool.first[NORMAL] + pool.free_count[NORMAL] - 1
    large_top = pool.first[LARGE] + pool.free_count[LARGE] - 1
    start = q.mem_base + pool.base[NORMAL] + HEADROOM - HEADER_LENGTH
    large_start = q.mem_base + pool.base[LARGE]
    for k in range(count):
        chunk = np.int64(pool.free[np.uint64(top - k)])
        large = np.int64(pool.free[np.uint64(large_top - k)])
        scratch.chunks[0, k] = chunk
        scratch.chunks[1, k] = large
        scratch.iovecs[2 * k, 0] = start + (chunk - pool.first[NORMAL]) * CHUNK_SIZE[NORMAL]
        scratch.iovecs[2 * k, 1] = _HEAD_ROOM + HEADER_LENGTH
        scratch.iovecs[2 * k + 1, 0] = large_start + (large - pool.first[LARGE]) * CHUNK_SIZE[LARGE]
        scratch.iovecs[2 * k + 1, 1] = CHUNK_SIZE[LARGE]
        scratch.messages[k, 0] = 0
        scratch.messages[k, 1] = 0
        scratch.messages[k, _IOV] = iovecs + 32 * k
        scratch.messages[k, _IOV_COUNT] = 2
        scratch.messages[k, _CONTROL] = controls + _CONTROL_ROOM * k
        scratch.messages[k, _CONTROL_LENGTH] = _CONTROL_ROOM
        scratch.messages[k, _FLAGS] = 0


@inlined
def receive_some(q, scratch, first, end):
    """Receive into messages `first` to `end`; return how many came, or -1 with `errno` set."""
    messages = np.int64(scratch.messages.ctypes.data)
    got = np.int64(recvmmsg(q.fd, messages + 64 * first, end - first, _MSG_DONTWAIT, 0))
    if got < 0:
        q.errno = errno()
    return got


@inlined
def receive_copies(q, scratch, copies):
    """Receive the whole frames that belong to `copies` slots; return how many came; the others are counted as cut."""
    done = np.int64(0)
    # An error that waits at the socket is told once, in the place of a frame.
    for _ in range(4):
        got = receive_some(q, scratch, done, copies)
        done += max(got, 0)
        if done == copies:
            break
    q.rx_over_errors += copies - done
    return done


@inlined
def take_message(q, batch, scratch, k):
    """Append the frame of message `k`, unless it is cut or its header cannot be true."""
    pool = batch.pool
    i = batch.used[FRAMES]
    row = batch.used[FRAGS]
    frame = batch.frames[np.uint64(i)]
    length = (np.int64(scratch.messages[k, _RECEIVED]) & 0xFFFFFFFF) - HEADER_LENGTH
    if np.int64(scratch.messages[k, _FLAGS]) & _MSG_TRUNC or length < 0:
        q.rx_over_errors += 1
        return
    chunk = scratch.chunks[0, k]
    at = pool.base[NORMAL] + (chunk - pool.first[NORMAL]) * CHUNK_SIZE[NORMAL] + HEADROOM
    head = min(length, np.int64(_HEAD_ROOM))
    frame.head_addr = at
    frame.head_len = head
    frame.head_chunk = chunk
    frame.frag_first = row
    frame.frag_count = 1 if length > head else 0
    frame.frame_len = length
    frame.wire_len = length
    fresh_frame(frame, q.in_port, i)
    if np.int64(scratch.messages[k, _CONTROL_LENGTH]) >= _AUX_LEAST:
        status = np.int64(scratch.controls[k, _AUX_STATUS])
        if status & _VLAN:
            frame.vlan_tci = _half_word(scratch.controls, k, _AUX_TCI)
            frame.vlan_proto = _half_word(scratch.controls, k, _AUX_TPID) if status & _TPID else 0x8100
    if not virtio_to_frame(pool.mem, at - HEADER_LENGTH, frame):
        q.rx_frame_errors += 1
        return
    pool.refs[np.uint64(chunk)] = 1
    scratch.chunks[0, k] = _USED
    if length > head:
        large = scratch.chunks[1, k]
        batch.frag_addr[row] = pool.base[LARGE] + (large - pool.first[LARGE]) * CHUNK_SIZE[LARGE]
        batch.frag_len[row] = length - head
        batch.frag_chunk[row] = large
        batch.frag_origin[row] = i
        batch.used[FRAGS] = row + 1
        pool.refs[np.uint64(large)] = 1
        scratch.chunks[1, k] = _USED
    append_frame(q, batch, i)


@inlined
def _half_word(controls, k, at):
    return np.int64(controls[k, at]) | np.int64(controls[k, at + 1]) << 8


@inlined
def settle(batch, scratch, got):
    """Take the chunks that frames now lie in from the pool's stacks; the other ones of `got` messages stay there."""
    pool = batch.pool
    for row in range(2):
        chunk_class = NORMAL + row
        at = pool.first[chunk_class] + pool.free_count[chunk_class] - got
        for k in range(got - 1, -1, -1):
            chunk = scratch.chunks[row, k]
            if chunk != _USED:
                pool.free[np.uint64(at)] = chunk
                at += 1
        pool.free_count[chunk_class] = at - pool.first[chunk_class]
