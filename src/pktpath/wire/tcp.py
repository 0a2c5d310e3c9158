"""TCP header (RFC 9293; AE flag: draft-ietf-tcpm-accurate-ecn)."""

SOURCE_PORT, DESTINATION_PORT, SEQUENCE, ACKNOWLEDGMENT, FLAG_WORD, WINDOW, CHECKSUM, URGENT = 0, 2, 4, 8, 12, 14, 16, 18
LENGTH = 20
PROTOCOL = 6

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR, AE = 0x001, 0x002, 0x004, 0x008, 0x010, 0x020, 0x040, 0x080, 0x100
"""Bits of the 16-bit word at `FLAG_WORD`, whose upper four bits are the data offset."""

OPTION_END, OPTION_NOP, OPTION_MSS, OPTION_TIMESTAMP = 0, 1, 2, 8

STAMP, TSVAL, TSECR, STAMPED_LENGTH = 20, 24, 28, 32
"""Offsets in a header whose only options are two NOPs and a timestamp (RFC 7323, appendix A), and its length."""
STAMP_WORD = OPTION_NOP << 24 | OPTION_NOP << 16 | OPTION_TIMESTAMP << 8 | 10
"""The 32 bits at `STAMP` of such a header."""
