"""Frames that wait for the slow path: a place, a key and two rings without locks.

The worker puts frames in and takes answers out, the slow path does the reverse; places and chunks are touched by the
worker alone. The frame is linear and its bytes are the worker's own, so that rings of ports can be given back.
"""

import numpy as np

from pktpath.batch import FRAGS, FRAMES, copy_descriptor
from pktpath.jit import inlined, kernel
from pktpath.path.live_types import Control, Ring, Setting, Tally
from pktpath.pool import HEADROOM, NO_CHUNK, chunk_address, chunk_alloc, chunk_class_for, chunk_get
from pktpath.port import libc
from pktpath.port.barrier import fence
from pktpath.switch.datapath import Count
from pktpath.switch.fields import KEY_WORDS
from pktpath.wire.load import copy_bytes

_ASKED, _ANSWERED, _TAKEN = int(Ring.ASKED), int(Ring.ANSWERED), int(Ring.TAKEN)
_UPCALLS, _DROP_LOST = int(Count.UPCALLS), int(Count.DROP_LOST)
_TALLY_UPCALLS, _LOST = int(Tally.UPCALLS), int(Tally.LOST)
_WAKE, _UPCALL_EVENT = int(Control.UPCALL_WAKE), int(Setting.UPCALL_EVENT)


@inlined
def ask(worker, waiting, batch, i, k):
    """Let frame `i`, whose whole key is row `k`, wait for the slow path; one that finds no place is lost and counted."""
    frame = batch.frames[i]
    port = np.uint64(frame.in_port)
    left = waiting.free[len(waiting.asked)]
    if left == 0 or not _hold(waiting.held, batch, i, waiting.free[left - 1]):
        worker.counts[port, _DROP_LOST] += 1
        worker.tally[_LOST] += 1
        return
    waiting.free[len(waiting.asked)] = left - 1
    place = waiting.free[left - 1]
    for word in range(KEY_WORDS):
        waiting.keys[place, word] = worker.keys[k, word]
    asked = waiting.rings[_ASKED]
    waiting.asked[asked & (len(waiting.asked) - 1)] = place
    waiting.rings[_ASKED] = asked + 1
    worker.counts[port, _UPCALLS] += 1
    worker.tally[_TALLY_UPCALLS] += 1


@inlined
def _hold(held, batch, i, place):
    """Put a linear copy, or the frame itself where it is one already, into a place; False without memory."""
    pool = batch.pool
    frame = batch.frames[i]
    if frame.frag_count == 0 and frame.head_chunk >= 0:
        chunk_get(pool, frame.head_chunk)
        copy_descriptor(batch, i, held, place)
        return True
    length = np.int64(frame.frame_len)
    chunk_class = chunk_class_for(length)
    chunk = chunk_alloc(pool, chunk_class) if chunk_class >= 0 else np.int64(NO_CHUNK)
    if chunk < 0:
        return False
    copy_descriptor(batch, i, held, place)
    target = chunk_address(pool, chunk) + HEADROOM
    at = target
    copy_bytes(pool.mem, at, frame.head_addr, np.int64(frame.head_len))
    at += np.int64(frame.head_len)
    for row in range(frame.frag_first, frame.frag_first + frame.frag_count):
        copy_bytes(pool.mem, at, batch.frag_addr[row], np.int64(batch.frag_len[row]))
        at += np.int64(batch.frag_len[row])
    mine = held.frames[place]
    mine.head_addr = target
    mine.head_len = length
    mine.head_chunk = chunk
    mine.frag_first = 0
    mine.frag_count = 0
    return True


@inlined
def wake_slow_path(worker):
    """Tell the slow path that something waits, if it sleeps."""
    # It says that it sleeps and then looks for frames; we put frames in and then look whether it sleeps.
    fence()
    if worker.control[_WAKE]:
        worker.control[_WAKE] = 0
        worker.timespec[2] = 1
        libc.write(np.int32(worker.settings[_UPCALL_EVENT]), worker.timespec.ctypes.data + 16, 8)


@inlined
def take_answers(worker, waiting, batch, budget):
    """Move up to `budget` answered frames into an empty batch and their programs into `worker.todo`; return how many."""
    taken = waiting.rings[_TAKEN]
    count = min(waiting.rings[_ANSWERED] - taken, budget)
    for i in range(count):
        place = waiting.answers[(taken + i) & (len(waiting.asked) - 1), 0]
        worker.todo[i] = waiting.answers[(taken + i) & (len(waiting.asked) - 1), 1]
        copy_descriptor(waiting.held, place, batch, i)
        batch.frames[i].frag_first = 0
        free = waiting.free[len(waiting.asked)]
        waiting.free[free] = place
        waiting.free[len(waiting.asked)] = free + 1
    waiting.rings[_TAKEN] = taken + count
    batch.used[FRAMES] = count
    batch.used[FRAGS] = 0
    return count


@kernel
def settle():
    """Let everybody see what was written before anything more is read: for Python, which asks who sleeps."""
    fence()
