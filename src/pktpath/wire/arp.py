"""ARP for IPv4 over Ethernet (RFC 826)."""

HARDWARE, PROTOCOL, SIZES, OPERATION, SENDER_MAC, SENDER_IP, TARGET_MAC, TARGET_IP = 0, 2, 4, 6, 8, 14, 18, 24
LENGTH = 28

ETHERNET = 1
"""Value at `HARDWARE`."""
ADDRESS_SIZES = 6 << 8 | 4
"""The 16 bits at `SIZES`: bytes in an Ethernet and in an IPv4 address."""
