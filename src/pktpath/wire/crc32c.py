"""CRC32c (RFC 9260, appendix A) of a change: what SCTP's checksum becomes when a few bytes do.

A CRC is linear: two packets of the same length differ in it by the CRC, begun with 0, of the bits in which they differ.
Zeros behind these only multiply by powers of x, so no payload is read.
"""

from pktpath.jit import inlined

_POLYNOMIAL = 0x82F63B78
"""Reflected: bit 31 is x^0."""
_ONE = 1 << 31


def _times(a: int, b: int) -> int:
    """Return the product of two polynomials modulo the CRC's."""
    product = 0
    for bit in range(31, -1, -1):
        if a >> bit & 1:
            product ^= b
        b = b >> 1 ^ (_POLYNOMIAL if b & 1 else 0)
    return product


def _powers() -> tuple[int, ...]:
    power = _ONE >> 8  # x^8: one byte
    powers = []
    for _ in range(31):
        powers.append(power)
        power = _times(power, power)
    return tuple(powers)


_POWERS = _powers()
"""x to the power of 8 * 2^k."""


@inlined
def crc_of_change(change, length):
    """Return what to add (exclusive or) to the CRC32c field, read as a big-endian number, of `length` bytes.

    `change` is the exclusive or of the first four bytes before and after, as a big-endian number.
    """
    value = _turned(change)
    k = 0
    while length > 0:
        if length & 1:
            value = _product(_POWERS[k], value)
        length >>= 1
        k += 1
    return _turned(value)


@inlined
def _turned(word):
    """Return 32 bits in the other order of bytes."""
    return (word & 0xFF) << 24 | (word & 0xFF00) << 8 | word >> 8 & 0xFF00 | word >> 24


@inlined
def _product(a, b):
    product = 0
    for bit in range(31, -1, -1):
        if a >> bit & 1:
            product ^= b
        b = b >> 1 ^ (_POLYNOMIAL if b & 1 else 0)
    return product
