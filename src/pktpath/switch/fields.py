"""The flow key: every field that a flow can match, and where its bits lie.

A key is `KEY_WORDS` 64-bit words. To the slow path it is one Python integer whose most significant word is word 0:
`key & mask` masks all fields at once, and the fields stand in the order in which a classifier should look at them:
port, Ethernet, IP, transport. Keys of what is neither IPv6, ARP with its addresses nor tunnelled are zero from
`SHORT_WORDS` on. Names are those of ovs-fields(7); the layout is ours.
"""

from enum import IntEnum
from typing import NamedTuple

KEY_WORDS = 16
SHORT_WORDS = 5
KEY_BITS = 64 * KEY_WORDS


class Stage(IntEnum):
    """What must be known of a packet before a field is worth a look."""

    METADATA = 0
    LINK = 1
    NETWORK = 2
    TRANSPORT = 3


class Field(NamedTuple):
    """One field of the key."""

    name: str
    first: int
    """Bits before it, counted from the most significant bit of word 0."""
    bits: int
    stage: Stage

    @property
    def shift(self) -> int:
        """Bits behind it: what a value is shifted by to stand in the key."""
        return KEY_BITS - self.first - self.bits

    @property
    def mask(self) -> int:
        """The bits of this field in a key."""
        return (1 << self.bits) - 1 << self.shift

    def of(self, key: int) -> int:
        """Value of this field in a key (or in a mask)."""
        return key >> self.shift & (1 << self.bits) - 1

    def put(self, key: int, value: int) -> int:
        """Return a key (or a mask) with another value in this field."""
        return key & ~self.mask | value << self.shift


_LAYOUT = (
    # word, bit from its top, name, bits, stage
    (0, 0, "in_port", 32, Stage.METADATA),
    (0, 32, "dl_type", 16, Stage.LINK),
    (0, 48, "vlan_tci", 16, Stage.LINK),  # with 0x1000 set where there is a tag, 0 where there is none
    (1, 0, "dl_dst", 48, Stage.LINK),
    (1, 48, "dl_src", 48, Stage.LINK),
    (2, 32, "nw_frag", 8, Stage.NETWORK),  # 1: a fragment, 2: not the first one, as in OVS
    (2, 40, "nw_proto", 8, Stage.NETWORK),  # ARP: the low byte of the opcode
    (2, 48, "nw_tos", 8, Stage.NETWORK),
    (2, 56, "nw_ttl", 8, Stage.NETWORK),
    (3, 0, "nw_src", 32, Stage.NETWORK),  # ARP: arp_spa
    (3, 32, "nw_dst", 32, Stage.NETWORK),  # ARP: arp_tpa
    (4, 0, "tp_src", 16, Stage.TRANSPORT),  # ICMP: type
    (4, 16, "tp_dst", 16, Stage.TRANSPORT),  # ICMP: code
    (4, 32, "tcp_flags", 16, Stage.TRANSPORT),
    (5, 0, "ipv6_src", 128, Stage.NETWORK),
    (7, 0, "ipv6_dst", 128, Stage.NETWORK),
    (9, 0, "ipv6_label", 32, Stage.NETWORK),
    (10, 0, "arp_sha", 48, Stage.NETWORK),  # ND: nd_sll
    (11, 0, "arp_tha", 48, Stage.NETWORK),  # ND: nd_tll
    (12, 0, "nd_target", 128, Stage.NETWORK),
    (14, 0, "tun_id", 64, Stage.METADATA),
)

FIELDS: dict[str, Field] = {name: Field(name, 64 * word + bit, bits, stage) for word, bit, name, bits, stage in _LAYOUT}
"""Every field by its name. Aliases (icmp_type, arp_spa, eth_dst, dl_vlan …) are the flow syntax's."""

FRAG_ANY, FRAG_LATER = 1, 2
"""Bits of nw_frag."""
VLAN_PRESENT = 0x1000
"""Bit of vlan_tci that says that there is a tag (OVS's CFI bit)."""


def key_of(**values: int) -> int:
    """Return a key with these fields set and all others zero."""
    key = 0
    for name, value in values.items():
        key = FIELDS[name].put(key, value)
    return key


def mask_of(*names: str) -> int:
    """Return the mask of all bits of these fields."""
    mask = 0
    for name in names:
        mask |= FIELDS[name].mask
    return mask


def words_of(key: int) -> list[int]:
    """Return a key as `KEY_WORDS` unsigned words, word 0 first."""
    return [key >> KEY_BITS - 64 * (word + 1) & (1 << 64) - 1 for word in range(KEY_WORDS)]
