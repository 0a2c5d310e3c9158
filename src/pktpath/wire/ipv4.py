"""IPv4 header (RFC 791)."""

VERSION_IHL, TOS, TOTAL_LENGTH, ID, FRAGMENT, TTL, PROTOCOL, CHECKSUM = 0, 1, 2, 4, 6, 8, 9, 10
SOURCE, DESTINATION = 12, 16
LENGTH = 20

DF, MF, RESERVED, OFFSET_MASK = 0x4000, 0x2000, 0x8000, 0x1FFF
"""Bits of the 16-bit word at `FRAGMENT`; the offset counts units of 8 bytes."""
ECN_CE = 0x03
"""Both bits of the ECN field in `TOS`: congestion experienced (RFC 3168)."""
MAX_LENGTH = 65535
