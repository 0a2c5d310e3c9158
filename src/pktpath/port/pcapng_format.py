"""The pcapng file format (draft-ietf-opsawg-pcapng): blocks, and the compiled scan of its packets."""

import struct

import numpy as np

from pktpath.batch import FRAMES
from pktpath.jit import inlined, kernel
from pktpath.port.capture_bytes import get16, get32, ticks_to_ns
from pktpath.port.capture_scan import (
    BAD,
    BAD_CAPTURED,
    BAD_INTERFACE,
    BAD_MAGIC,
    BAD_ORIGINAL,
    BAD_TOTAL,
    BAD_TRAILER,
    BLOCK,
    CLAIM,
    CODE,
    FULL,
    MORE,
    NEED,
    ODD,
    POSITION,
    PROBLEM,
    SECTION,
    new_frame,
)  # fmt: skip
from pktpath.port.capture_types import MAX_RECORD, MICROSECONDS, Interface
from pktpath.port.pcapng_options import (
    CUSTOM,
    END,
    IF_FCSLEN,
    IF_NAME,
    IF_TSOFFSET,
    IF_TSRESOL,
    each_option,
    encode_option,
    options_length,
    turn_options,
)  # fmt: skip

SECTION_HEADER, INTERFACE_DESCRIPTION, OBSOLETE_PACKET, SIMPLE_PACKET, ENHANCED_PACKET = 0x0A0D0D0A, 1, 2, 3, 6
BYTE_ORDER_MAGIC = 0x1A2B3C4D
MAGIC = SECTION_HEADER.to_bytes(4, "big")
MIN_BLOCK = 12
PACKET_HEADER = 28
"""Bytes before the frame in an enhanced (or obsolete) packet block."""
_SIMPLE_HEADER = 12
_NUMBERS = (8, 10, IF_TSOFFSET, 16, 17)
"""Interface options whose value is a number: speeds, time zone, offset."""
_FCS_KNOWN, _FCS_SHIFT = 1 << 26, 28
"""Upper bits of a pcap link type: the length of the frame check sequence, in units of 16 bits."""


@kernel
def scan_pcapng(batch, state, end, big, base, count, interfaces):
    """Append the packet blocks between `state[POSITION]` and `end` to a batch.

    Stops before each block that is not a packet. `base` is the row of the section's first interface
    in the table `interfaces`, `count` the number of rows. Says in `state` where and why it stopped.
    """
    mem = batch.pool.mem
    at = state[POSITION]
    n = batch.used[FRAMES]
    capacity = len(batch.frames)
    while True:
        state[CODE] = MORE
        state[CLAIM] = state[NEED] = MIN_BLOCK
        if end - at < MIN_BLOCK:
            break
        kind = get32(mem, at, big)
        section = kind == SECTION_HEADER
        order = big
        if section:
            order = get32(mem, at + 8, True) == BYTE_ORDER_MAGIC
            if not order and get32(mem, at + 8, False) != BYTE_ORDER_MAGIC:
                _bad(state, BAD_MAGIC, get32(mem, at + 8, big))
                break
        total = get32(mem, at + 4, order)
        if total < MIN_BLOCK + 16 * section or total & 3 or total > MAX_RECORD + 4096:
            _bad(state, BAD_TOTAL, total)
            break
        state[CLAIM] = state[NEED] = total
        if end - at < total:
            break
        if get32(mem, at + total - 4, order) != total:
            _bad(state, BAD_TRAILER, get32(mem, at + total - 4, order))
            break
        if kind != ENHANCED_PACKET and kind != SIMPLE_PACKET and kind != OBSOLETE_PACKET:
            state[CODE] = SECTION if section else BLOCK
            break
        if n == capacity:
            state[CODE] = FULL
            break
        if kind == SIMPLE_PACKET:
            problem = _simple_packet(batch, n, mem, at, total, big, base, count, interfaces, state)
        else:
            problem = _packet(batch, n, mem, at, total, big, base, count, interfaces, state, kind == OBSOLETE_PACKET)
        if problem:
            break
        n += 1
        at += total
    state[POSITION] = at
    batch.used[FRAMES] = n


@inlined
def _bad(state, problem, claim):
    state[CODE] = BAD
    state[PROBLEM] = problem
    state[CLAIM] = claim
    return True


@inlined
def _packet(batch, n, mem, at, total, big, base, count, interfaces, state, obsolete):
    if total < PACKET_HEADER + 4:
        return _bad(state, BAD_TOTAL, total)
    number = get16(mem, at + 8, big) if obsolete else get32(mem, at + 8, big)
    port = base + number
    if port >= count:
        return _bad(state, BAD_INTERFACE, number)
    captured = get32(mem, at + 20, big)
    original = get32(mem, at + 24, big)
    options = at + PACKET_HEADER + (captured + 3 & ~3)
    if options > at + total - 4:
        return _bad(state, BAD_CAPTURED, captured)
    if original > 0x7FFFFFFF:
        return _bad(state, BAD_ORIGINAL, original)
    new_frame(batch, n, at + PACKET_HEADER, captured, original)
    ticks = np.uint64(get32(mem, at + 12, big)) << np.uint64(32) | np.uint64(get32(mem, at + 16, big))
    batch.frames[n].ticks = ticks
    batch.frames[n].timestamp = ticks_to_ns(ticks, interfaces.rate[port], interfaces.offset[port])
    batch.frames[n].in_port = port
    batch.frames[n].link = interfaces.link[port]
    length = options_length(mem, options, at + total - 4, big)
    if length < 0:
        state[ODD] += 1
        length = 0
    elif big:
        turn_options(mem, options, length, big)
    batch.frames[n].option_addr = options
    batch.frames[n].option_len = length
    return False


@inlined
def _simple_packet(batch, n, mem, at, total, big, base, count, interfaces, state):
    if total < _SIMPLE_HEADER + 4:
        return _bad(state, BAD_TOTAL, total)
    if base >= count:
        return _bad(state, BAD_INTERFACE, 0)
    original = get32(mem, at + 8, big)
    captured = original
    if interfaces.snaplen[base] > 0:
        captured = min(captured, interfaces.snaplen[base])
    if _SIMPLE_HEADER + (captured + 3 & ~3) > total - 4 or original > 0x7FFFFFFF:
        return _bad(state, BAD_ORIGINAL, original)
    new_frame(batch, n, at + _SIMPLE_HEADER, captured, original)
    batch.frames[n].ticks = 0
    batch.frames[n].timestamp = 0
    batch.frames[n].in_port = base
    batch.frames[n].link = interfaces.link[base]
    batch.frames[n].option_len = 0
    return False


def parse_interface(block: bytes, *, big_endian: bool) -> Interface:
    """Return what an interface description block says.

    Raises:
        ValueError: the block is too short.

    """
    if len(block) < 20:
        message = f"an interface block has at least 20 bytes, not {len(block)}"
        raise ValueError(message)
    order = ">" if big_endian else "<"
    linktype, _, snaplen = struct.unpack_from(order + "HHI", block, 8)
    rate, offset, name = MICROSECONDS, 0, ""
    encoded = b""
    for code, value in each_option(block[16:-4], big_endian=big_endian):
        encoded += encode_option(code, _turned(code, value) if big_endian else value)
        if code == IF_TSRESOL and len(value) == 1:
            rate = 2 ** (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
            rate = rate if rate < 1 << 64 else 0
        elif code == IF_TSOFFSET and len(value) == 8:
            offset = struct.unpack(order + "q", value)[0]
        elif code == IF_NAME:
            name = value.decode(errors="replace")
        elif code == IF_FCSLEN and len(value) == 1:
            linktype |= _FCS_KNOWN | (value[0] >> 4 & 15) << _FCS_SHIFT
    return Interface(linktype, snaplen, rate, offset, name, encoded, big_endian)


def build_interface(interface: Interface, *, big_endian: bool) -> bytes:
    """Return an interface description block; `interface.options` are used where there are any, else made.

    Raises:
        ValueError: no option can state its resolution.

    """
    options = interface.options
    if not options:
        if interface.name:
            options += encode_option(IF_NAME, interface.name.encode())
        options += encode_option(IF_TSRESOL, bytes([_resolution(interface.ticks_per_second)]))
        if interface.linktype & _FCS_KNOWN:
            options += encode_option(IF_FCSLEN, bytes([interface.linktype >> _FCS_SHIFT << 4]))
        if interface.offset:
            options += encode_option(IF_TSOFFSET, struct.pack("<q", interface.offset))
    if big_endian:
        options = b"".join(encode_option(code, _turned(code, value), big_endian=True) for code, value in each_option(options))
    body = struct.pack(">HHI" if big_endian else "<HHI", interface.linktype & 0xFFFF, 0, interface.snaplen)
    return build_block(INTERFACE_DESCRIPTION, body + options + encode_option(END, b""), big_endian=big_endian)


def _turned(code: int, value: bytes) -> bytes:
    """Turn the number in an interface option into the other byte order."""
    if code in _NUMBERS:
        return value[::-1]
    return value[3::-1] + value[4:] if code in CUSTOM and len(value) >= 4 else value


def _resolution(rate: int) -> int:
    """Encode ticks per second as if_tsresol: a power of ten, or of two with the top bit set."""
    for exponent in range(20):
        if rate == 10**exponent:
            return exponent
    if rate > 0 and rate & (rate - 1) == 0:
        return 0x80 | rate.bit_length() - 1
    message = f"{rate} ticks per second is neither a power of ten nor of two"
    raise ValueError(message)


def build_section(*, big_endian: bool, options: bytes = b"") -> bytes:
    """Return a section header block of unknown length."""
    body = struct.pack(">IHHq" if big_endian else "<IHHq", BYTE_ORDER_MAGIC, 1, 0, -1)
    tail = options + encode_option(END, b"") if options else b""
    return build_block(SECTION_HEADER, body + tail, big_endian=big_endian)


def build_block(kind: int, body: bytes, *, big_endian: bool) -> bytes:
    """Return a block of type `kind` around `body`, which is padded to 4 bytes."""
    order = ">I" if big_endian else "<I"
    body += bytes(-len(body) % 4)
    total = struct.pack(order, len(body) + 12)
    return struct.pack(order, kind) + total + body + total
