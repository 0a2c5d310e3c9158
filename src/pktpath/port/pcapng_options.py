"""pcapng options: type, length, value, padded to 4 bytes (draft-ietf-opsawg-pcapng, section 3.5).

In memory options are little-endian whatever the file is: the reader turns those of a big-endian
section around and the writer turns them back, so that nobody else needs to know.
"""

from collections.abc import Iterator
from typing import Literal

from pktpath.jit import inlined, kernel
from pktpath.port.capture_bytes import get16, swap16, swap32
from pktpath.wire.load import load16, load32, store16, store32

END, COMMENT = 0, 1
IF_NAME, IF_TSRESOL, IF_FCSLEN, IF_TSOFFSET = 2, 9, 13, 14
CUSTOM_TEXT, CUSTOM_BINARY, CUSTOM_TEXT_NOCOPY, CUSTOM_BINARY_NOCOPY = 2988, 2989, 19372, 19373
CUSTOM = (CUSTOM_TEXT, CUSTOM_BINARY, CUSTOM_TEXT_NOCOPY, CUSTOM_BINARY_NOCOPY)
"""Their value starts with a private enterprise number."""
# Options of packet blocks whose value is a number: flags, drop count, packet id, queue.
_FLAGS, _DROPS, _PACKET_ID, _QUEUE = 2, 4, 5, 6


@inlined
def options_length(mem, at, end, big):
    """Bytes of whole options from `at` up to opt_endofopt or `end`; -1 where one does not fit."""
    start = at
    while at < end:
        if at + 4 > end:
            return -1
        code = get16(mem, at, big)
        if code == END:
            break
        at += 4 + (get16(mem, at + 2, big) + 3 & ~3)
        if at > end:
            return -1
    return at - start


@inlined
def turn_options(mem, at, length, big):
    """Turn `length` bytes of whole packet options, now big-endian or not, into the other byte order, in place."""
    end = at + length
    while at + 4 <= end:
        code = get16(mem, at, big)
        size = get16(mem, at + 2, big)
        store16(mem, at, swap16(load16(mem, at)))
        store16(mem, at + 2, swap16(load16(mem, at + 2)))
        at += 4
        custom = code in CUSTOM
        if (custom and size >= 4) or (size == 4 and code in (_FLAGS, _QUEUE)):
            store32(mem, at, swap32(load32(mem, at)))
        elif size == 8 and code in (_DROPS, _PACKET_ID):
            upper = load32(mem, at)
            store32(mem, at, swap32(load32(mem, at + 4)))
            store32(mem, at + 4, swap32(upper))
        at += size + 3 & ~3


@kernel
def find_option(mem, addr, length, code, start):
    """Find an option in the little-endian options at `addr`.

    Args:
        mem: bytes that hold the options (`Batch.pool.mem`).
        addr: where the options start (`Batch.option_addr`).
        length: their bytes (`Batch.option_len`).
        code: option code to look for.
        start: 0, or what the last call returned as its third value, to find the next one.

    Returns:
        (address of the value, its length, where to go on), or (-1, 0, length) when there is none.

    """
    at = start
    while at + 4 <= length:
        size = get16(mem, addr + at + 2, False)
        following = at + 4 + (size + 3 & ~3)
        if following > length:
            break
        if get16(mem, addr + at, False) == code:
            return addr + at + 4, size, following
        at = following
    return -1, 0, length


def each_option(data: bytes, *, big_endian: bool = False) -> Iterator[tuple[int, bytes]]:
    """Yield (code, value) of each whole option in `data`, up to opt_endofopt."""
    order: Literal["big", "little"] = "big" if big_endian else "little"
    at = 0
    while at + 4 <= len(data):
        code = int.from_bytes(data[at : at + 2], order)
        size = int.from_bytes(data[at + 2 : at + 4], order)
        if code == END or at + 4 + size > len(data):
            return
        yield code, data[at + 4 : at + 4 + size]
        at += 4 + (size + 3 & ~3)


def encode_option(code: int, value: bytes, *, big_endian: bool = False) -> bytes:
    """Encode one option, padded to 4 bytes.

    Raises:
        OverflowError: the value is longer than 65535 bytes.

    """
    order: Literal["big", "little"] = "big" if big_endian else "little"
    return code.to_bytes(2, order) + len(value).to_bytes(2, order) + value + bytes(-len(value) % 4)
