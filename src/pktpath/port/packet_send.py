"""Frames to a packet socket by sendmmsg: a header, the head and the fragments of each, gathered by the kernel."""

import numpy as np

from pktpath.jit import inlined
from pktpath.port.libc import errno, sendmmsg
from pktpath.port.live import MAX_BURST
from pktpath.port.virtio import HEADER_LENGTH, frame_to_virtio

_MOST_PIECES = 1024
"""UIO_MAXIOV: what one message may be made of."""
_IOV, _IOV_COUNT = 2, 3
_MSG_DONTWAIT = 0x40
_EINTR, _ENXIO, _EAGAIN, _ENOMEM, _ENODEV, _EINVAL, _ENETDOWN, _ENOBUFS = 4, 6, 11, 12, 19, 22, 100, 105


@inlined
def send_frames(q, batch, order, first, last, scratch):
    """Send frames `order[first:last]`; return how many were taken, sent or counted in `tx_errors`."""
    at = first
    while at < last:
        count = _gather(q, batch, order, at, last, scratch)
        if count == 0:
            q.errno = _EINVAL
            q.tx_errors += 1
            at += 1
            continue
        sent = np.int64(0)
        while sent < count:
            messages = np.int64(scratch.messages.ctypes.data) + 64 * sent
            done = np.int64(sendmmsg(q.fd, messages, count - sent, _MSG_DONTWAIT))
            if done > 0:
                for k in range(at + sent, at + sent + done):
                    q.tx_bytes += batch.frames[np.uint64(order[k])].frame_len
                q.tx_packets += done
                sent += done
                continue
            why = np.int64(errno())
            q.errno = why
            if why == _EINTR:
                continue
            if why == _EAGAIN or why == _ENOBUFS or why == _ENOMEM:
                return at + sent - first
            if why == _ENETDOWN or why == _ENXIO or why == _ENODEV:
                q.tx_errors += last - at - sent
                return last - first
            q.tx_errors += 1
            sent += 1
        at += count
    return last - first


@inlined
def _gather(q, batch, order, at, last, scratch):
    """Fill messages from frames `order[at:last]`; return how many, 0 if the first can never be sent."""
    iovecs = np.int64(scratch.iovecs.ctypes.data)
    headers = np.int64(scratch.headers.ctypes.data)
    rows = np.int64(len(scratch.iovecs))
    row = np.int64(0)
    count = np.int64(0)
    while count < MAX_BURST and at + count < last:
        frame = batch.frames[np.uint64(order[at + count])]
        pieces = np.int64(frame.frag_count) + 2
        if row + pieces > rows or pieces > _MOST_PIECES or not frame_to_virtio(frame, scratch.headers, count):
            break
        scratch.messages[count, 0] = 0
        scratch.messages[count, 1] = 0
        scratch.messages[count, _IOV] = iovecs + 16 * row
        scratch.messages[count, _IOV_COUNT] = pieces
        scratch.messages[count, 4] = 0
        scratch.messages[count, 5] = 0
        scratch.messages[count, 6] = 0
        scratch.iovecs[row, 0] = headers + 16 * count
        scratch.iovecs[row, 1] = HEADER_LENGTH
        scratch.iovecs[row + 1, 0] = q.mem_base + frame.head_addr
        scratch.iovecs[row + 1, 1] = frame.head_len
        row += 2
        for piece in range(frame.frag_first, frame.frag_first + frame.frag_count):
            scratch.iovecs[row, 0] = q.mem_base + batch.frag_addr[np.uint64(piece)]
            scratch.iovecs[row, 1] = batch.frag_len[np.uint64(piece)]
            row += 1
        count += 1
    return count
