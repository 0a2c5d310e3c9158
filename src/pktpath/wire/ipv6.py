"""IPv6 header and the extension headers that may stand before a transport (RFC 8200, RFC 2675)."""

VERSION_CLASS_LABEL, PAYLOAD_LENGTH, NEXT_HEADER, HOP_LIMIT, SOURCE, DESTINATION = 0, 4, 6, 7, 8, 24
LENGTH = 40

HOP_BY_HOP, ROUTING, FRAGMENT_HEADER, DESTINATION_OPTIONS = 0, 43, 44, 60
AUTHENTICATION = 51
"""A header whose length counts units of 4 bytes, less two (RFC 4302)."""
FRAGMENT_LENGTH = 8
FRAGMENT_OFFSET, FRAGMENT_ID = 2, 4
"""Inside the fragment header: offset (upper 13 bits, units of 8 bytes) with MF in bit 0; identification."""
FRAGMENT_PLACE = 0xFFF9
"""Offset and MF: 0 in a fragment that is the whole packet (RFC 6946)."""
SEGMENTS_LEFT = 3
"""Inside the routing header."""
JUMBO_OPTION = 0xC2
