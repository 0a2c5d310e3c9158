"""The windows that a capture's bytes come through, and the batch that is being filled from them.

Bytes go into a window once and stay there: descriptors point at them. Two windows take turns; what a
window ends within, an unfinished record or poll, goes to the front of the other.
"""

import mmap

import numpy as np

from pktpath.batch import FRAMES, Batch, make_batch
from pktpath.pool import Pool, make_pool
from pktpath.port.capture_scan import NEED, NEXT, POSITION, STATE_LENGTH, carry
from pktpath.port.capture_source import CaptureSource

READ_SIZE = 4 << 20
"""Bytes asked for at once: what was read is scanned while the third-level cache still holds it."""


class Window:
    """Bytes of a file and the batch being filled from them."""

    def __init__(self, source: CaptureSource, *, size: int, batch_size: int, header_chunks: int, recycle: bool) -> None:
        """Make an empty window of at least `size` bytes over `source`."""
        self.state = np.zeros(STATE_LENGTH, np.int64)
        """State of the scan (`capture_scan`)."""
        self.end = 0
        """Address after the last byte read."""
        self._offset = 0
        self._source = source
        self._size = -(-max(size, mmap.PAGESIZE) // mmap.PAGESIZE) * mmap.PAGESIZE
        self._batch_size, self._header_chunks, self._recycle = batch_size, header_chunks, recycle
        self._ended = False
        self._delivered = True  # something that lies in the present window
        self._pools: list[Pool] = []
        self._columns: list[Batch] = []
        self._pool = self._next_pool()
        self.batch = self._next_batch()
        """The batch being filled."""

    @property
    def position(self) -> int:
        """Address of the first byte that no scan has taken."""
        return int(self.state[POSITION])

    @property
    def rest(self) -> int:
        """Bytes read that no scan has taken."""
        return self.end - self.position

    @property
    def offset(self) -> int:
        """Where in the (decompressed) file the first byte stands that no scan has taken."""
        return self._offset + self.position

    @property
    def frames(self) -> int:
        """Frames in the batch being filled."""
        return int(self.batch.used[FRAMES])

    def look(self, length: int) -> bytes:
        """Return a copy of the next `length` bytes, fewer where fewer have been read."""
        return self._pool.mem[self.position : min(self.position + length, self.end)].tobytes()

    def take(self, length: int) -> bytes:
        """Return a copy of the next `length` bytes and count them as scanned."""
        data = self.look(length)
        self.state[POSITION] += length
        return data

    def deliver(self, count: int) -> Batch:
        """Return the first `count` frames; the rest starts the next batch."""
        batch = self.batch
        self.batch = self._next_batch()
        carry(batch, count, int(batch.used[FRAMES]), self.batch, self.state, False)
        self._delivered = True
        return batch

    def fill(self) -> bool:
        """Read more behind what is there, after making room for `state[NEED]` bytes; False at the end of the file."""
        if self._ended:
            return False
        size = int(self._pool.base[0])
        if self.end == size or self.state[NEED] > size - self.position:
            self._turn()
        room = memoryview(self._pool.mem.data)[self.end : min(int(self._pool.base[0]), self.end + READ_SIZE)]
        count = self._source.readinto(room)
        self.end += count
        self._ended = count == 0
        return count > 0

    def _turn(self) -> None:
        """Go on in a window with room: its front gets the frames of the batch and the bytes not scanned yet."""
        position, rest, frames = self.position, self.rest, self.frames
        old, batch = self._pool, self.batch
        held = int(batch.head_len[:frames].sum(dtype=np.int64) + batch.option_len[:frames].sum(dtype=np.int64))
        while held + max(int(self.state[NEED]), rest + 1) > self._size:
            self._size *= 2
        # A window of which nothing was delivered is used again at once: nobody else looks at it.
        if frames or self._delivered or self._size > old.base[0]:
            self._pool = self._next_pool()
            self.batch = batch._replace(pool=self._pool)
            self.state[NEXT] = 0
            carry(batch, 0, frames, self.batch, self.state, True)
        self._pool.mem[held : held + rest] = old.mem[position : self.end]
        self.state[POSITION], self.end = held, held + rest
        self._offset += position - held

    def _next_pool(self) -> Pool:
        """Return a window that no batch still in use lies in; the last two delivered are in use."""
        if self._recycle and not self._delivered:
            self._pools.pop()
        elif self._recycle and len(self._pools) == 2:
            pool = self._pools.pop(0)
            if pool.base[0] >= self._size:
                self._pools.append(pool)
                self._delivered = False
                return pool
        pool = make_pool(window=self._size, header=self._header_chunks, normal=self._header_chunks // 8)
        if self._recycle:
            self._pools.append(pool)
        self._delivered = False
        return pool

    def _next_batch(self) -> Batch:
        """Return columns that no batch still in use has, over the present window."""
        if self._recycle and len(self._columns) == 3:
            batch = self._columns.pop(0)._replace(pool=self._pool)
        else:
            batch = make_batch(self._pool, self._batch_size, fragments=1)
        if self._recycle:
            self._columns.append(batch)
        batch.used[:] = 0
        return batch
