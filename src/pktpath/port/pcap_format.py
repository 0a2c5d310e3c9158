"""The pcap file format (draft-ietf-opsawg-pcap): its header, and the compiled scan of its records."""

import struct

import numpy as np

from pktpath.batch import FRAMES
from pktpath.jit import kernel
from pktpath.port.capture_bytes import get32, ticks_to_ns
from pktpath.port.capture_scan import (
    BAD,
    BAD_CAPTURED,
    BAD_ORIGINAL,
    CLAIM,
    CODE,
    FULL,
    MORE,
    NEED,
    ODD,
    POSITION,
    PROBLEM,
    new_frame,
)  # fmt: skip
from pktpath.port.capture_types import DEFAULT_SNAPLEN, MAX_RECORD, MICROSECONDS, NANOSECONDS, Interface

HEADER = 24
RECORD_HEADER = 16
MAGIC_MICROSECONDS, MAGIC_NANOSECONDS, MAGIC_MODIFIED = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34
_MODIFIED_RECORD_HEADER = 24
"""Kuznetzov's patched libpcap: interface index, protocol and packet type follow the lengths."""
_RATES = {MAGIC_MICROSECONDS: MICROSECONDS, MAGIC_NANOSECONDS: NANOSECONDS, MAGIC_MODIFIED: MICROSECONDS}


def is_pcap(magic: bytes) -> bool:
    """Whether a file that starts with these four bytes is a pcap."""
    return any(magic == value.to_bytes(4, order) for value in _RATES for order in ("big", "little"))


def parse_header(header: bytes) -> tuple[Interface, int]:
    """Return the interface that a pcap header of 24 bytes describes, and the length of its record headers."""
    big = int.from_bytes(header[:4], "big") in _RATES
    magic, _, _, _, _, snaplen, linktype = struct.unpack(">IHHiIII" if big else "<IHHiIII", header)
    interface = Interface(linktype, snaplen, _RATES[magic], big_endian=big)
    return interface, _MODIFIED_RECORD_HEADER if magic == MAGIC_MODIFIED else RECORD_HEADER


def with_snaplen(header: bytes, least: int) -> bytes:
    """Return a pcap header that states a snaplen of `least` bytes or more; 0 is none and stays."""
    order = ">I" if parse_header(header)[0].big_endian else "<I"
    (snaplen,) = struct.unpack_from(order, header, 16)
    return header[:16] + struct.pack(order, max(snaplen, least) if snaplen else 0) + header[20:]


def build_header(interface: Interface) -> bytes:
    """Return the pcap header that describes an interface, in microseconds where those are its ticks."""
    magic = MAGIC_MICROSECONDS if interface.ticks_per_second == MICROSECONDS else MAGIC_NANOSECONDS
    form = ">IHHiIII" if interface.big_endian else "<IHHiIII"
    return struct.pack(form, magic, 2, 4, 0, 0, interface.snaplen or DEFAULT_SNAPLEN, interface.linktype)


@kernel
def scan_pcap(batch, state, end, record_header, interface):
    """Append the records between `state[POSITION]` and `end` to a batch.

    `interface` is an `InterfaceTable` with one row. Says in `state` where and why it stopped.
    """
    mem = batch.pool.mem
    at = state[POSITION]
    n = batch.used[FRAMES]
    capacity = len(batch.frames)
    big = interface.big[0]
    rate = interface.rate[0]
    link = interface.link[0]
    state[CODE] = FULL
    while n < capacity:
        state[CODE] = MORE
        state[NEED] = record_header
        if end - at < record_header:
            break
        captured = get32(mem, at + 8, big)
        original = get32(mem, at + 12, big)
        if captured > MAX_RECORD or original > 0x7FFFFFFF:
            state[CODE] = BAD
            state[PROBLEM] = BAD_CAPTURED if captured > MAX_RECORD else BAD_ORIGINAL
            state[CLAIM] = captured if captured > MAX_RECORD else original
            break
        state[NEED] = record_header + captured
        state[CLAIM] = captured
        if end - at < record_header + captured:
            break
        fraction = np.uint64(get32(mem, at + 4, big))
        if fraction >= rate:
            state[ODD] += 1
        ticks = np.uint64(get32(mem, at, big)) * rate + fraction
        new_frame(batch, n, at + record_header, captured, original)
        batch.frames[n].ticks = ticks
        batch.frames[n].timestamp = ticks_to_ns(ticks, rate, np.int64(0))
        batch.frames[n].in_port = 0
        batch.frames[n].link = link
        batch.frames[n].option_len = 0
        n += 1
        at += record_header + captured
        state[CODE] = FULL
    state[POSITION] = at
    batch.used[FRAMES] = n
