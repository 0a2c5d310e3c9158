"""AF_XDP queues in compiled code: rings shared with the kernel, whose frames are chunks of the worker's pool.

The NORMAL chunks of a pool are the UMEM, so an address in a ring is an address of `pool.mem` less the start of that
class. A chunk in the kernel's hands holds one count: in the fill ring until a frame arrives in it (the count is then the
batch's), in the transmit ring until its completion. Which ones they are is noted, so that closing gives them all back.
Frames longer than a chunk are several descriptors. A worker that has no queue at a device sends through a packet socket.
Source: Documentation/networking/af_xdp.rst, linux/if_xdp.h.
"""

import errno as errors

import numpy as np

from pktpath.batch import FRAGS, FRAMES
from pktpath.jit import inlined, kernel
from pktpath.pool import NO_CHUNK, NORMAL, chunk_alloc, chunk_get, chunk_put
from pktpath.port.barrier import acquire32, release32
from pktpath.port.fresh_frame import fresh_frame, no_offload
from pktpath.port.libc import errno, recvfrom, sendmmsg, sendto
from pktpath.port.live import MAX_BURST, MAX_PIECES
from pktpath.port.xdp_rows import CHUNK, CHUNK_BITS
from pktpath.port.xdp_words import get8, get32, get64, put8, put64
from pktpath.wire.load import copy_bytes, load8, load16

_MSG_DONTWAIT = 0x40
_NEED_WAKEUP = 1
_MORE = 1
"""XDP_PKT_CONTD in the options of a descriptor."""
_WORD = 0xFFFFFFFF
_EAGAIN, _EBUSY, _ENOBUFS, _EMSGSIZE = errors.EAGAIN, errors.EBUSY, errors.ENOBUFS, errors.EMSGSIZE
_TCP, _UDP = 6, 17


# Chunks in the kernel's hands


@inlined
def _reap(q, pool):
    """Give back the chunks whose frames have been sent."""
    done = acquire32(q.done_producer)
    at = np.int64(q.done_next)
    if at == done:
        return
    count = np.int64(q.sending_count)
    while at != done:
        number = get64(q.done_entries + (at & q.mask) * 8) >> CHUNK_BITS
        at = (at + 1) & _WORD
        if number >= 0 and number < q.chunks:
            held = get8(q.sending + number)
            if held > 0:
                put8(q.sending + number, held - 1)
                chunk_put(pool, q.first_chunk + number)
                count -= 1
    q.sending_count = count
    q.done_next = at
    release32(q.done_consumer, at)


@inlined
def _refill(q, pool):
    """Lend the kernel free chunks for frames to come."""
    wanted = np.int64(q.fill_target) - np.int64(q.lent_count)
    at = np.int64(q.fill_next)
    room = q.mask + 1 - ((at - acquire32(q.fill_consumer)) & _WORD)
    wanted = min(wanted, room)
    lent = np.int64(0)
    while lent < wanted:
        chunk = chunk_alloc(pool, NORMAL)
        if chunk == NO_CHUNK:
            break
        number = chunk - q.first_chunk
        put8(q.lent + number, 1)
        put64(q.fill_entries + (at & q.mask) * 8, number << CHUNK_BITS)
        at = (at + 1) & _WORD
        lent += 1
    if lent:
        q.lent_count += lent
        q.fill_next = at
        release32(q.fill_producer, at)


@inlined
def _taken_back(q, address):
    """Number of the lent chunk at an address of the UMEM, now the batch's; -1 if it is none."""
    number = address >> CHUNK_BITS
    if number < 0 or number >= q.chunks or get8(q.lent + number) == 0:
        return np.int64(-1)
    put8(q.lent + number, 0)
    q.lent_count -= 1
    return number + q.first_chunk


# Receive


@kernel
def xdp_receive(queues, row, batch, budget, scratch):
    """Append up to `budget` frames to `batch`; a frame's chunks are the batch's then. Return how many."""
    q = queues.xdp[row]
    pool = batch.pool
    if q.sending_count:
        _reap(q, pool)
    at = np.int64(q.rx_next)
    there = (acquire32(q.rx_producer) - at) & _WORD
    if there == 0:
        if q.lent_count < q.fill_target:
            _refill(q, pool)
        _wake(q)
        return 0
    j = np.int64(batch.used[FRAMES])
    first = j
    end = min(j + budget, len(batch.frames))
    size = np.int64(0)
    while there and j < end:
        pieces = _pieces(q, at, there)
        if pieces == 0:
            break
        if _take(q, batch, j, at, pieces):
            size += batch.frames[np.uint64(j)].frame_len
            j += 1
        at = (at + pieces) & _WORD
        there -= pieces
    batch.used[FRAMES] = j
    q.rx_next = at
    release32(q.rx_consumer, at)
    _refill(q, pool)
    _wake(q)
    if j > first:
        q.rx_packets += j - first
        q.rx_bytes += size
        frame = batch.frames[np.uint64(j - 1)]
        _sample(q, pool.mem, np.int64(frame.head_addr), np.int64(frame.head_len))
    return j - first


@inlined
def _pieces(q, at, there):
    """Descriptors of the frame that starts at ring index `at`; 0 if not all of them are there yet."""
    pieces = np.int64(1)
    while get32(q.rx_entries + (at & q.mask) * 16 + 12) & _MORE:
        if pieces == there:
            return np.int64(0)
        pieces += 1
        at = (at + 1) & _WORD
    return pieces


@inlined
def _take(q, batch, j, at, pieces):
    """Make the descriptors from ring index `at` on frame `j`: the first is its head. Return False if there is no room."""
    pool = batch.pool
    place = q.rx_entries + (at & q.mask) * 16
    address = get64(place)
    length = get32(place + 8)
    chunk = _taken_back(q, address)
    row = np.int64(batch.used[FRAGS])
    if chunk < 0 or row + pieces - 1 > len(batch.frag_addr):
        chunk_put(pool, chunk)
        for piece in range(1, pieces):
            chunk_put(pool, _taken_back(q, get64(q.rx_entries + ((at + piece) & q.mask) * 16)))
        q.rx_dropped += 1
        return False
    frame = batch.frames[np.uint64(j)]
    frame.head_addr = q.start + address
    frame.head_len = length
    frame.head_chunk = chunk
    frame.frag_first = row
    frame.frag_count = pieces - 1
    for piece in range(1, pieces):
        place = q.rx_entries + ((at + piece) & q.mask) * 16
        address = get64(place)
        batch.frag_addr[row] = q.start + address
        batch.frag_len[row] = get32(place + 8)
        batch.frag_chunk[row] = _taken_back(q, address)
        batch.frag_origin[row] = j
        length += get32(place + 8)
        row += 1
    batch.used[FRAGS] = row
    frame.frame_len = length
    frame.wire_len = length
    fresh_frame(frame, q.in_port, j)
    no_offload(frame)
    return True


@inlined
def _wake(q):
    """Tell a driver that has gone to sleep for want of chunks; only those without a copy do."""
    if q.zero_copy and get32(q.fill_flags) & _NEED_WAKEUP:
        q.kicks += 1
        recvfrom(q.fd, 0, 0, _MSG_DONTWAIT, 0, 0)


@inlined
def _sample(q, mem, at, length):
    """Look whether a TCP or UDP frame left its sender with an unfinished checksum: the sum of the pseudo-header alone."""
    if length < 62:
        return
    kind = load16(mem, at + 12)
    if kind == 0x0800 and mem[at + 14] == 0x45 and load16(mem, at + 20) & 0x3FFF == 0:
        protocol = load8(mem, at + 23)
        transport = 34
        total = load16(mem, at + 16) - 20
        source = 26
        words = 4
    elif kind == 0x86DD:
        protocol = load8(mem, at + 20)
        transport = 54
        total = load16(mem, at + 18)
        source = 22
        words = 16
    else:
        return
    if protocol == _TCP:
        field = transport + 16
    elif protocol == _UDP:
        field = transport + 6
    else:
        return
    if field + 2 > length:
        return
    total += protocol
    for k in range(words):
        total += load16(mem, at + source + 2 * k)
    total = (total >> 16) + (total & 0xFFFF)
    total = (total >> 16) + (total & 0xFFFF)
    q.rx_sampled += 1
    q.rx_unfinished += 1 if load16(mem, at + field) == total else 0


@kernel
def xdp_give_back(queues, row):
    """Send what an earlier transmit left in the ring; received frames lie in chunks and need nothing."""
    q = queues.xdp[row]
    if not q.packet and acquire32(q.tx_consumer) != q.tx_next:
        _kick(q)


# Transmit


@kernel
def xdp_transmit(queues, row, batch, order, first, last, scratch):
    """Send frames `order[first:last]` and return how many were taken; `errno` of the row says why not all."""
    q = queues.xdp[row]
    q.errno = 0
    if q.packet:
        return _send_packets(q, batch, order, first, last, scratch)
    pool = batch.pool
    if q.sending_count:
        _reap(q, pool)
    at = np.int64(q.tx_next)
    room = q.mask + 1 - ((at - acquire32(q.tx_consumer)) & _WORD)
    if room < min(last - first, q.mask + 1):
        _kick(q)
        _reap(q, pool)
        room = q.mask + 1 - ((at - acquire32(q.tx_consumer)) & _WORD)
    # A completion needs room in its ring, and the kernel does not wait for it.
    room = min(room, q.mask + 1 - np.int64(q.sending_count))
    taken = np.int64(0)
    packets = np.int64(0)
    size = np.int64(0)
    copied = np.int64(0)
    for k in range(first, last):
        i = np.uint64(order[k])
        frame = batch.frames[i]
        length = np.int64(frame.frame_len)
        pieces = np.int64(1)
        offset = frame.head_addr - q.start
        number = offset >> CHUNK_BITS
        whole = (
            frame.frag_count == 0
            and number >= 0
            and number < q.chunks
            and frame.head_chunk == q.first_chunk + number
            and (offset & (CHUNK - 1)) + length <= CHUNK
        )
        if length > q.most or length < 14:
            q.tx_errors += 1
            q.errno = _EMSGSIZE
            taken += 1
            continue
        if not whole or get8(q.sending + number) == 255:
            pieces = (length + CHUNK - 1) >> CHUNK_BITS
            if pieces > room or pool.free_count[NORMAL] < pieces:
                q.errno = _ENOBUFS
                break
            _copy(q, batch, i, at, length)
            copied += 1
        elif room == 0:
            q.errno = _ENOBUFS
            break
        else:
            chunk_get(pool, q.first_chunk + number)
            _describe(q, at, number, offset, length, 0)
        at = (at + pieces) & _WORD
        room -= pieces
        taken += 1
        packets += 1
        size += length
    if packets:
        q.tx_next = at
        release32(q.tx_producer, at)
        q.tx_packets += packets
        q.tx_bytes += size
        q.tx_copied += copied
        q.tx_zero_copy += packets - copied
        _kick(q)
        _reap(q, pool)
    return taken


@inlined
def _describe(q, at, number, offset, length, more):
    """Write the transmit descriptor at ring index `at` and note that its chunk is being sent."""
    place = q.tx_entries + (at & q.mask) * 16
    put64(place, offset)
    put64(place + 8, length | more << 32)
    put8(q.sending + number, get8(q.sending + number) + 1)
    q.sending_count += 1


@inlined
def _copy(q, batch, i, at, length):
    """Copy the bytes of frame `i` into chunks of their own, as descriptors from ring index `at` on; there are enough."""
    mem = batch.pool.mem
    frame = batch.frames[i]
    source = np.int64(frame.head_addr)
    left = np.int64(frame.head_len)
    fragment = np.int64(frame.frag_first)
    while length > 0:
        number = chunk_alloc(batch.pool, NORMAL) - q.first_chunk
        piece = min(length, CHUNK)
        offset = number << CHUNK_BITS
        done = np.int64(0)
        while done < piece:
            while left == 0:
                source = np.int64(batch.frag_addr[fragment])
                left = np.int64(batch.frag_len[fragment])
                fragment += 1
            part = min(piece - done, left)
            copy_bytes(mem, q.start + offset + done, source, part)
            done += part
            source += part
            left -= part
        length -= piece
        _describe(q, at, number, offset, piece, _MORE if length > 0 else 0)
        at = (at + 1) & _WORD


@inlined
def _kick(q):
    """Let the kernel send what is in the ring, as far as it can."""
    # In copy mode a call sends a limited number, at least 32.
    left = (q.tx_next - acquire32(q.tx_consumer)) & _WORD
    tries = np.int64(2 + (left >> 4))
    while left and tries and get32(q.tx_flags) & _NEED_WAKEUP:
        q.kicks += 1
        if sendto(q.fd, 0, 0, _MSG_DONTWAIT, 0, 0) < 0:
            why = errno()
            before = left
            left = (q.tx_next - acquire32(q.tx_consumer)) & _WORD
            if why == _EBUSY:
                # One frame was dropped behind the ring: the far end takes no more at the moment.
                q.tx_errors += 1
                tries += 1 if left < before else 0
            elif why != _EAGAIN or left == before:
                q.errno = why
                return
        else:
            left = (q.tx_next - acquire32(q.tx_consumer)) & _WORD
            if q.zero_copy:
                return
        tries -= 1


@inlined
def _send_packets(q, batch, order, first, last, scratch):
    """Send frames through the packet socket of the row, heads and fragments where they lie; return how many were taken."""
    k = np.int64(first)
    base = np.int64(batch.pool.mem.ctypes.data)
    vectors = np.int64(scratch.iovecs.ctypes.data)
    while k < last:
        start = k
        used = np.int64(0)
        size = np.int64(0)
        while k < last and k - start < MAX_BURST:
            frame = batch.frames[np.uint64(order[k])]
            pieces = 1 + np.int64(frame.frag_count)
            if used + pieces > MAX_BURST * MAX_PIECES:
                break
            message = scratch.messages[k - start]
            message[:] = 0
            message[2] = vectors + used * 16
            message[3] = pieces
            scratch.iovecs[used, 0] = base + frame.head_addr
            scratch.iovecs[used, 1] = frame.head_len
            for fragment in range(frame.frag_first, frame.frag_first + frame.frag_count):
                used += 1
                scratch.iovecs[used, 0] = base + batch.frag_addr[fragment]
                scratch.iovecs[used, 1] = batch.frag_len[fragment]
            used += 1
            k += 1
        q.kicks += 1
        sent = np.int64(sendmmsg(q.fd, np.int64(scratch.messages.ctypes.data), k - start, _MSG_DONTWAIT))
        if sent < 0:
            why = errno()
            q.errno = why
            if why == _EAGAIN or why == _ENOBUFS:
                return start - first
            # The first one is at fault, or the device is gone.
            q.tx_errors += 1
            sent = np.int64(0)
            k = start + 1
        else:
            k = start + sent
        for done in range(start, start + sent):
            size += batch.frames[np.uint64(order[done])].frame_len
        q.tx_packets += sent
        q.tx_bytes += size
    return last - first
