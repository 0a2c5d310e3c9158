"""Ethernet II and its VLAN tags (IEEE 802.3, 802.1Q, 802.1ad)."""

DESTINATION, SOURCE, ETHERTYPE = 0, 6, 12
LENGTH = 14
TAG_LENGTH = 4

IPV4, IPV6, VLAN, QINQ = 0x0800, 0x86DD, 0x8100, 0x88A8
ARP, RARP = 0x0806, 0x8035
LEAST_ETHERTYPE = 0x0600
"""A smaller number is the length of an 802.3 frame."""

SNAP_TYPE, SNAP_LENGTH = 6, 8
"""Behind an 802.3 length: offset of the Ethertype in an 802.2 header with SNAP, and bytes in it."""
SNAP_WORD = 0xAAAA0300_0000
"""The 48 bits before `SNAP_TYPE` where an Ethertype follows (RFC 1042)."""
