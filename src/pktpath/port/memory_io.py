"""The memory port, compiled: frames from and to rings that Python fills and empties.

Frames of a burst are read-only and stay in the ring until `memory_give_back`.
"""

from pktpath.jit import kernel
from pktpath.port import libc
from pktpath.port.rows import row_type
from pktpath.port.shared_ring import note_kept, ring_keep, ring_take

MEMORY_ROW = row_type(
    "ring",  # address of the ring
    "room",  # bytes of its records
    "position",  # rx: the head once what was received is given back
    "returned",  # rx: the head as far as frames were given back; Python copies it into the ring
    "event",  # rx: eventfd that says that frames are there
)


@kernel
def memory_receive(queues, row, batch, budget, scratch):
    """Append up to `budget` frames that were sent from Python, with the fields that they were sent with; return how many."""
    own = queues.memory[row]
    head, got, size = ring_take(own.ring, own.room, batch, own.position, budget, own.in_port)
    if got == 0:
        # What was signalled has been taken. Look again behind the read: a frame may have come before it.
        libc.read(own.event, scratch.controls.ctypes.data, 8)
        head, got, size = ring_take(own.ring, own.room, batch, own.position, budget, own.in_port)
    own.position = head
    own.rx_packets += got
    own.rx_bytes += size
    return got


@kernel
def memory_give_back(queues, row):
    """Let Python use again what held the frames received so far."""
    own = queues.memory[row]
    own.returned = own.position


@kernel
def memory_transmit(queues, row, batch, order, first, last, scratch):
    """Copy frames `order[first:last]` and their descriptors into the ring; return how many found room. A full one: ENOBUFS."""
    own = queues.memory[row]
    taken, size = ring_keep(own.ring, own.room, batch, order, first, last, 0)
    return note_kept(own, last - first, taken, size)


@kernel
def memory_take(rows, row, batch, head):
    """Put what was sent through a row, from `head` on, into an empty batch over the same memory; return the new head."""
    own = rows[row]
    head, _, _ = ring_take(own.ring, own.room, batch, head, len(batch.frames), 0)
    return head
