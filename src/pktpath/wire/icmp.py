"""ICMP (RFC 792), ICMPv6 (RFC 4443) and IGMP (RFC 2236) as far as they are alike; neighbour discovery (RFC 4861)."""

TYPE, CODE, CHECKSUM = 0, 1, 2
LENGTH = 8
IGMP, ICMP, ICMPV6 = 2, 1, 58
"""Protocol numbers."""

SOLICITATION, ADVERTISEMENT = 135, 136
"""ICMPv6 types with a target address behind the first 8 bytes, and options behind that."""
TARGET, OPTIONS = 8, 24
OPTION_UNIT = 8
"""Bytes in a unit of an option's length; a link-layer address of Ethernet takes one."""
SOURCE_MAC, TARGET_MAC = 1, 2
"""Types of options."""
