"""The one array of bytes of a process that moves live frames: a window for rings, then the chunks of each worker.

All of it is one mapping, so a frame's address means the same to every queue and worker, and rings that the kernel maps
(AF_PACKET) and captures lie inside it. Each worker takes chunks of its own, so that nothing needs a lock.
"""

import ctypes
import mmap
import os

import numpy as np

from pktpath.errors import Refused
from pktpath.pool import Pool, make_pool, pool_bytes

_PROT, _MAP_SHARED, _MAP_PRIVATE, _MAP_FIXED, _MAP_ANONYMOUS, _MAP_NORESERVE = 3, 1, 2, 0x10, 0x20, 0x4000
_FAILED = (1 << 64) - 1
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_uint64
_libc.mmap.argtypes = (
    ctypes.c_uint64, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64,
)  # fmt: skip
_libc.munmap.argtypes = (ctypes.c_uint64, ctypes.c_size_t)


class LiveMemory:
    """Memory for rings and pools; untouched pages cost nothing."""

    def __init__(self, *, window: int = 1 << 30, chunks: int = 1 << 31) -> None:
        """Reserve `window` bytes for rings and `chunks` bytes for the pools of all workers.

        Raises:
            Refused: the kernel reserves no such range.

        """
        self._length = mmap.PAGESIZE + _page_up(window) + _page_up(chunks)
        flags = _MAP_PRIVATE | _MAP_ANONYMOUS | _MAP_NORESERVE
        self._base = int(_libc.mmap(0, self._length, _PROT, flags, -1, 0))
        if self._base == _FAILED:
            message = f"no {self._length >> 20} MiB of addresses for rings and frames: {_why()}"
            raise Refused(message)
        place = (ctypes.c_uint8 * self._length).from_address(self._base)
        self.mem = np.ctypeslib.as_array(place)
        # Nobody gets address 0: in a row it says that there is no ring.
        self._free = [(mmap.PAGESIZE, _page_up(window))]
        self._next_pool = mmap.PAGESIZE + _page_up(window)

    def map_ring(self, fd: int, length: int) -> int:
        """Map `length` bytes (whole pages) of a socket's ring into the window and return its address in `mem`.

        Raises:
            Refused: the window is used up, or the kernel maps nothing.

        """
        address = self.reserve(length)
        if _libc.mmap(self._base + address, length, _PROT, _MAP_SHARED | _MAP_FIXED, fd, 0) == _FAILED:
            why = _why()
            self.unmap(address, length)
            message = f"the kernel maps no ring of {length} bytes: {why}"
            raise Refused(message)
        return address

    def reserve(self, length: int) -> int:
        """Take `length` bytes of the window; return their address in `mem`, never 0. They are zero.

        Raises:
            Refused: the window is used up.

        """
        length = _page_up(length)
        for at, (start, room) in enumerate(self._free):
            if room >= length:
                self._free[at : at + 1] = [(start + length, room - length)] if room > length else []
                return start
        message = f"no {length >> 10} KiB left for rings: use fewer or smaller ones"
        raise Refused(message)

    def unmap(self, address: int, length: int) -> None:
        """Give a range back; what was mapped there is gone, and its bytes are zero."""
        length = _page_up(length)
        flags = _MAP_PRIVATE | _MAP_ANONYMOUS | _MAP_NORESERVE | _MAP_FIXED
        if _libc.mmap(self._base + address, length, _PROT, flags, -1, 0) == _FAILED:
            message = f"cannot give back {length} bytes of rings: {_why()}"
            raise Refused(message)
        ranges = sorted([*self._free, (address, length)])
        joined = [ranges[0]]
        for start, room in ranges[1:]:
            before, size = joined[-1]
            if before + size == start:
                joined[-1] = (before, size + room)
            else:
                joined.append((start, room))
        self._free = joined

    def pool(self, *, header: int, normal: int, large: int) -> Pool:
        """Return a pool for one worker whose chunks lie behind those of the workers before it.

        Raises:
            Refused: the memory is used up.

        """
        start = self._next_pool
        end = pool_bytes(window=start, header=header, normal=normal, large=large)
        if end > self._length:
            message = "no memory left for the frames of another worker"
            raise Refused(message)
        self._next_pool = _page_up(end)
        return make_pool(window=start, header=header, normal=normal, large=large, mem=self.mem)

    def close(self) -> None:
        """Give everything back; no frame may be looked at any more."""
        if self._base:
            self.mem = np.zeros(0, np.uint8)
            _libc.munmap(self._base, self._length)
            self._base = 0


def _page_up(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE


def _why() -> str:
    return os.strerror(ctypes.get_errno())
