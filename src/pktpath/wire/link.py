"""Link layers of captures and live ports, and the length of each header.

Source: https://www.tcpdump.org/linktypes.html.
"""

from enum import IntEnum


class Link(IntEnum):
    """What the first byte of a frame belongs to."""

    UNKNOWN = 0
    """A link type that pktpath does not parse: its frames pass unchanged."""
    ETHERNET = 1
    RAW = 2
    """An IP packet without a link header (LINKTYPE_RAW, IPV4, IPV6)."""
    SLL = 3
    """Linux cooked capture v1: 16 bytes, protocol at 14."""
    SLL2 = 4
    """Linux cooked capture v2: 20 bytes, protocol at 0."""
    NULL = 5
    """BSD loopback: 4 bytes, address family in the byte order of the writer."""
    LOOP = 6
    """OpenBSD loopback: 4 bytes, address family in network order."""


LINKTYPES = {1: Link.ETHERNET, 101: Link.RAW, 12: Link.RAW, 14: Link.RAW, 228: Link.RAW, 229: Link.RAW,
             113: Link.SLL, 276: Link.SLL2, 0: Link.NULL, 108: Link.LOOP}  # fmt: skip
"""LINKTYPE_ number of a capture file to `Link`."""

ETHERNET, RAW, SLL, SLL2, NULL, LOOP = (int(link) for link in list(Link)[1:])
AF_INET = 2
AF_INET6_VALUES = (10, 24, 28, 30)
"""AF_INET6 differs by system: Linux, NetBSD/OpenBSD, FreeBSD, macOS."""
