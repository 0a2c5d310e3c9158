"""The Internet checksum (RFC 1071): sums of 16-bit words, folded to 16 bits.

A *sum* here is a folded ones' complement sum of big-endian words, 0 to 0xFFFF; a *checksum* is its
complement. A sum that starts at an odd offset of its packet must go through `swap` first.
"""

import numpy as np

from pktpath.jit import inlined
from pktpath.wire import ipv4, ipv6
from pktpath.wire.load import load8, load16, load32, word64

_HALF = np.uint64(32)


@inlined
def fold(total):
    """Fold a sum of 16- or 32-bit words to 16 bits."""
    total = (total >> 32) + (total & 0xFFFFFFFF)
    total = (total >> 16) + (total & 0xFFFF)
    total = (total >> 16) + (total & 0xFFFF)
    return (total >> 16) + (total & 0xFFFF)


@inlined
def swap(total):
    """Return a folded sum as it counts one byte further on."""
    return (total & 0xFF) << 8 | total >> 8


@inlined
def sum_bytes(mem, at, length):
    """Folded sum of `length` bytes, the first one the upper half of a word.

    Whole words go in the machine's order into one sum that may wrap, their high halves into another
    that does not: what the low halves come to follows from both.
    """
    whole = np.uint64(0)
    high = np.uint64(0)
    words = length >> 3
    for k in range(words):
        word = word64(mem, at + k * 8)
        whole += word
        high += word >> _HALF
    low = whole - (high << _HALF)
    total = swap(fold(np.int64(low) + np.int64(high)))
    at += words << 3
    if length & 4:
        total += load32(mem, at)
        at += 4
    if length & 2:
        total += load16(mem, at)
        at += 2
    if length & 1:
        total += load8(mem, at) << 8
    return fold(total)


@inlined
def addresses_sum(mem, at, network):
    """Folded sum of the two addresses of the IP header at `at`; `network` is 4 or 6."""
    total = np.int64(0)
    start, end = (ipv4.SOURCE, ipv4.LENGTH) if network == 4 else (ipv6.SOURCE, ipv6.LENGTH)
    for k in range(start, end, 4):
        total += load32(mem, at + k)
    return fold(total)


@inlined
def pseudo_sum(mem, at, network, protocol, length):
    """Folded sum of the pseudo-header of a transport packet of `length` bytes (RFC 9293, RFC 8200)."""
    return fold(addresses_sum(mem, at, network) + protocol + (length >> 16) + (length & 0xFFFF))
