"""A port of the switch whose other end is Python: for tests and for trying things out.

    port.send(frame, ip_summed=CHECKSUM_PARTIAL, csum_start=34, csum_offset=16)
    port.receive()

Enters: bytes, and what a descriptor should say of them. Leaves: a `LivePort`. One thread sends and receives here.
"""

import os
from typing import Any, NamedTuple

import numpy as np

from pktpath.batch import DESCRIPTOR, FIELDS, FRAMES, frame_bytes, make_batch
from pktpath.errors import BadInput
from pktpath.features import Feature
from pktpath.pool import NO_CHUNK, make_pool
from pktpath.port.live import Kind, LivePort, Memory, RxQueue
from pktpath.port.live_features import RECEIVES, SUPER_FRAMES
from pktpath.port.memory_io import memory_take
from pktpath.port.rows import PortRows
from pktpath.port.shared_ring import HEAD, RECORDS, TAIL, ring_keep
from pktpath.wire.link import Link

LEAST_ROOM = 1 << 12
_OWN = {"head_addr", "head_len", "head_chunk", "frame_len", "frag_first", "frag_count", "option_addr", "option_len", "in_port"}
"""What a receive sets itself."""
SETTABLE = tuple(name for name, _, _ in FIELDS if name not in _OWN)
"""Fields of a descriptor that `send` takes."""
_TAKE = 256
_ORDER = np.zeros(1, np.int64)


class Taken(NamedTuple):
    """A frame that the switch sent."""

    data: bytes
    fields: dict[str, int]
    """Its descriptor: gso_size, ip_summed, vlan_tci… by name."""


class MemoryPort(LivePort):
    """Frames from `send` to the switch, frames from the switch to `receive`."""

    kind = "memory"

    def __init__(
        self,
        name: str,
        memory: Memory,
        rows: Any,
        *,
        number: int = 0,
        able: Feature = SUPER_FRAMES | RECEIVES | Feature.RXCSUM,
        default: Feature | None = None,
        room: int = 4 << 20,
        mtu: int = 1500,
    ) -> None:
        """Make a ring for received frames; those for sent ones come with the workers.

        Args:
            name: what the configuration calls it.
            memory: where the rings lie.
            rows: the table of all queues of this kind, of rows `MEMORY_ROW`.
            number: the port's number in the datapath: `in_port` of its frames.
            able: what can be switched.
            default: what is on at the start, all but GRO_UDP_FWD without.
            room: bytes in each ring, for frames and 136 bytes each.
            mtu: what the port says of itself; no length is refused but for the room.

        Raises:
            BadInput: the room is too small.
            Refused: no memory or no row is left.

        """
        if room < LEAST_ROOM:
            message = f"{name}: room={room}: at least {LEAST_ROOM} bytes"
            raise BadInput(message)
        self.name, self.mtu, self.number = name, mtu, number
        self.able = able
        self.default = able & ~Feature.GRO_UDP_FWD if default is None else default
        self.active = self.default
        """What `set_features` was told last."""
        self.options: dict[str, str] = {}
        self.rx: tuple[RxQueue, ...] = ()
        self._memory, self._table, self._room = memory, rows, -(-room // 8) * 8
        self._rows = PortRows(rows, name, number)
        self._ranges: list[tuple[int, int]] = []
        self._tx: dict[int, int] = {}
        self._open = True
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        # A frame waits here until the ring has it; frames taken from a ring are looked at here.
        pool = make_pool(window=0, header=0, mem=memory.mem)
        self._out, self._in = make_batch(pool, 1, 1), make_batch(pool, _TAKE, 1)
        try:
            row = self._claim()
            self._table.event[row] = self._event
            self.rx = (RxQueue(Kind.MEMORY, row, 0, self._event),)
            self._stage = self._take(self._room)
        except BaseException:
            self.close()
            raise

    def statistics(self) -> dict[str, int]:
        """Return what all queues of the port counted."""
        return self._rows.counters()

    def send(self, frame: bytes, **fields: int) -> bool:
        """Let a frame arrive at the port; False when the ring has no room for it.

        Args:
            frame: its bytes, from the link header on.
            fields: what its descriptor says (`SETTABLE`): an Ethernet frame of one segment, nothing known of it, without.

        Raises:
            BadInput: no frame, one that can never fit, an unknown field or a value that is too large for it.

        """
        if not frame or len(frame) + 256 > self._room // 2:
            message = f"{self.name}: a frame of {len(frame)} bytes: 1 to {self._room // 2 - 256}"
            raise BadInput(message)
        descriptor = np.zeros(1, DESCRIPTOR)
        length = len(frame)
        known = {"link": int(Link.ETHERNET), "wire_len": length, "gso_segs": 1, "payload_sum": -1, **fields}
        for field, value in known.items():
            if field not in SETTABLE:
                message = f"{self.name}: {field} is no field of a frame to send; there are {', '.join(SETTABLE)}"
                raise BadInput(message)
            try:
                descriptor[field] = value
            except (OverflowError, ValueError, TypeError):
                message = f"{self.name}: {field}={value!r} is no value for a field of type {DESCRIPTOR[field]}"
                raise BadInput(message) from None
        descriptor["head_addr"], descriptor["head_chunk"] = self._stage, NO_CHUNK
        descriptor["head_len"] = descriptor["frame_len"] = length
        np.asarray(self._out.frames)[0] = descriptor[0]
        mem = self._memory.mem
        mem[self._stage : self._stage + length] = np.frombuffer(frame, np.uint8)
        row = self.rx[0].row
        ring = int(self._table.ring[row])
        self._word(ring + HEAD)[0] = self._table.returned[row]
        taken, _ = ring_keep(ring, self._room, self._out, _ORDER, 0, 1, 0)
        if taken:
            os.eventfd_write(self._event, 1)
        return bool(taken)

    def pending(self) -> int:
        """Bytes of the ring that the switch has not given back yet: 0 when it is done with every frame."""
        row = self.rx[0].row
        return int(self._word(int(self._table.ring[row]) + TAIL)[0] - self._table.returned[row])

    def receive(self) -> list[bytes]:
        """Return the frames that the switch has sent since the last call."""
        return [taken.data for taken in self.take()]

    def take(self) -> list[Taken]:
        """Return the frames that the switch has sent since the last call, with their descriptors."""
        return [frame for row in self._tx.values() for frame in self._take_row(row)]

    def tx(self, worker: int) -> tuple[Kind, int]:
        """Kind and row of the transmit queue that this worker uses."""
        if worker not in self._tx:
            self._tx[worker] = self._claim()
        return Kind.MEMORY, self._tx[worker]

    def set_features(self, active: Feature) -> None:
        """Remember what is on; nobody has to know."""
        self.active = active

    def alive(self) -> bool:
        """Whether it is open."""
        return self._open

    def close(self) -> None:
        """Forget every frame; no thread may use its queues any more."""
        if not self._open:
            return
        self._open = False
        os.close(self._event)
        self._rows.give_all()
        for address, length in self._ranges:
            self._memory.unmap(address, length)

    def _claim(self) -> int:
        ring = self._take(RECORDS + self._room)
        row = self._rows.take()
        self._table.ring[row], self._table.room[row] = ring, self._room
        return row

    def _take(self, length: int) -> int:
        address = self._memory.reserve(length)
        self._ranges.append((address, length))
        return address

    def _word(self, address: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        return self._memory.mem[address : address + 8].view(np.int64)

    def _take_row(self, row: int) -> list[Taken]:
        head = self._word(int(self._table.ring[row]) + HEAD)
        batch = self._in
        found: list[Taken] = []
        while True:
            batch.used[FRAMES] = 0
            after = int(memory_take(self._table, row, batch, int(head[0])))
            count = int(batch.used[FRAMES])
            for i in range(count):
                fields = {name: int(getattr(batch, name)[i]) for name in SETTABLE}
                found.append(Taken(frame_bytes(batch, i), fields))
            head[0] = after
            if count < _TAKE:
                return found
