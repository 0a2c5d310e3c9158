"""TCP header (RFC 9293; AE flag: draft-ietf-tcpm-accurate-ecn)."""

SOURCE_PORT, DESTINATION_PORT, SEQUENCE, ACKNOWLEDGMENT, FLAG_WORD, WINDOW, CHECKSUM, URGENT = 0, 2, 4, 8, 12, 14, 16, 18
LENGTH = 20
PROTOCOL = 6

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR, AE = 0x001, 0x002, 0x004, 0x008, 0x010, 0x020, 0x040, 0x080, 0x100
"""Bits of the 16-bit word at `FLAG_WORD`, whose upper four bits are the data offset."""

OPTION_END, OPTION_NOP, OPTION_MSS, OPTION_TIMESTAMP = 0, 1, 2, 8
