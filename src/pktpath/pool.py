"""The memory of frames: one array of bytes, cut into counted chunks.

Enters: a size. Leaves: addresses, which are offsets into `Pool.mem`. Whoever holds a chunk holds
one count of it; the last `chunk_put` makes it free. `mem` starts with a *window*, bytes that no
chunk covers, where a capture reader or a guest's memory lies; its addresses carry `NO_CHUNK`.
"""

import mmap
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pktpath.jit import inlined

NO_CHUNK = -1

# Headers get a class of their own: 2 KiB strides fall into two sets of a first-level cache.
HEADER, NORMAL, LARGE = 0, 1, 2
CHUNK_SIZE = (256, 2048, 68 * 1024)
HEADROOM = 96
"""Bytes kept free before a header, for encapsulation (VXLAN over IPv6 takes 70)."""


class Pool(NamedTuple):
    """Counted chunks over one array of bytes; compiled code takes it as one argument."""

    mem: NDArray[np.uint8]
    """Every byte that a frame of this pool can point at."""
    refs: NDArray[np.int32]
    """Holders of each chunk, by chunk number."""
    free: NDArray[np.int32]
    """Free chunk numbers: one stack a class, the stack of class c starting at `first[c]`."""
    free_count: NDArray[np.int64]
    """(3,) chunks free in each class."""
    first: NDArray[np.int64]
    """(4,) number of the first chunk of each class, and of the chunk after the last."""
    base: NDArray[np.int64]
    """(3,) address of the first chunk of each class."""
    size: NDArray[np.int64]
    """(3,) bytes in a chunk of each class."""


def make_pool(
    *, window: int = 0, header: int = 1024, normal: int = 0, large: int = 0, mem: NDArray[np.uint8] | None = None
) -> Pool:
    """Make a pool of `window` uncounted bytes and so many chunks of each class.

    `mem` may be given (a guard-paged or shared area, at least `pool_bytes` long); otherwise
    anonymous, page-aligned memory is taken, which costs nothing until it is touched.
    """
    counts = (header, normal, large)
    base = np.zeros(3, np.int64)
    first = np.zeros(4, np.int64)
    address = _page_up(window)
    for chunk_class in range(3):
        base[chunk_class] = address
        first[chunk_class + 1] = first[chunk_class] + counts[chunk_class]
        address += counts[chunk_class] * CHUNK_SIZE[chunk_class]
    if mem is None:
        mem = np.frombuffer(mmap.mmap(-1, max(_page_up(address), mmap.PAGESIZE)), np.uint8)
    elif len(mem) < address:
        message = f"a pool of this shape needs {address} bytes, the memory given has {len(mem)}"
        raise ValueError(message)
    total = int(first[3])
    free = np.empty(max(total, 1), np.int32)
    for chunk_class in range(3):
        lo, hi = int(first[chunk_class]), int(first[chunk_class + 1])
        free[lo:hi] = np.arange(hi - 1, lo - 1, -1)
    return Pool(
        mem, np.zeros(max(total, 1), np.int32), free, np.array(counts, np.int64), first, base, np.array(CHUNK_SIZE, np.int64)
    )


def pool_bytes(*, window: int = 0, header: int = 1024, normal: int = 0, large: int = 0) -> int:
    """Bytes of memory that `make_pool` with these arguments needs."""
    return _page_up(window) + header * CHUNK_SIZE[HEADER] + normal * CHUNK_SIZE[NORMAL] + large * CHUNK_SIZE[LARGE]


def _page_up(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE


@inlined
def chunk_class_for(length):
    """Class of the smallest chunk that holds `length` bytes after the headroom, or -1."""
    for chunk_class in range(3):
        if length + HEADROOM <= CHUNK_SIZE[chunk_class]:
            return chunk_class
    return -1


@inlined
def chunk_alloc(pool, chunk_class):
    """Take a chunk with one count, or `NO_CHUNK` when the class is used up."""
    left = pool.free_count[chunk_class] - 1
    if left < 0:
        return NO_CHUNK
    pool.free_count[chunk_class] = left
    chunk = np.int64(pool.free[pool.first[chunk_class] + left])
    pool.refs[chunk] = 1
    return chunk


@inlined
def chunk_alloc_run(pool, chunk_class, count, chunks, addresses, first):
    """Take `count` chunks of a class that has them; `chunks` and `addresses` are written from index `first` on."""
    left = pool.free_count[chunk_class]
    pool.free_count[chunk_class] = left - count
    number = pool.first[chunk_class]
    base = pool.base[chunk_class]
    size = pool.size[chunk_class]
    top = number + left - 1
    for k in range(count):
        chunk = np.int64(pool.free[np.uint64(top - k)])
        pool.refs[np.uint64(chunk)] = 1
        chunks[np.uint64(first + k)] = chunk
        addresses[np.uint64(first + k)] = base + (chunk - number) * size


@inlined
def chunk_class_of(pool, chunk):
    """Class that a chunk number belongs to."""
    if chunk < pool.first[1]:
        return 0
    return 1 if chunk < pool.first[2] else 2


@inlined
def chunk_address(pool, chunk):
    """Address of the first byte of a chunk."""
    chunk_class = chunk_class_of(pool, chunk)
    return pool.base[chunk_class] + (chunk - pool.first[chunk_class]) * pool.size[chunk_class]


@inlined
def chunk_get(pool, chunk):
    """Hold a chunk once more; `NO_CHUNK` is nobody's and is not counted."""
    if chunk >= 0:
        pool.refs[chunk] += 1


@inlined
def chunk_put(pool, chunk):
    """Give one count back; the last one frees the chunk."""
    if chunk >= 0:
        pool.refs[chunk] -= 1
        if pool.refs[chunk] == 0:
            chunk_class = chunk_class_of(pool, chunk)
            pool.free[pool.first[chunk_class] + pool.free_count[chunk_class]] = chunk
            pool.free_count[chunk_class] += 1
