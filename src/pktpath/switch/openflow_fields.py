"""The fields of ovs-fields(7) that this switch has: their names, where they lie in the key, what they presuppose."""

from enum import Enum
from typing import NamedTuple

from pktpath.switch.fields import FIELDS, VLAN_PRESENT, Field

ETH_IP, ETH_IPV6, ETH_ARP, ETH_RARP = 0x0800, 0x86DD, 0x0806, 0x8035
TCP, UDP, SCTP, ICMP, ICMPV6 = 6, 17, 132, 1, 58
ND_SOLICIT, ND_ADVERT = 135, 136

DL_TYPE, NW_PROTO, VLAN_TCI, TP_SRC = FIELDS["dl_type"], FIELDS["nw_proto"], FIELDS["vlan_tci"], FIELDS["tp_src"]


class Needs(Enum):
    """What must be so before a field is there: Ethernet types, IP protocols, ICMPv6 types (empty: any), and words for people."""

    NOTHING = ((), (), (), "")
    VLAN = ((), (), (), "a VLAN tag (dl_vlan=N or vlan_tci=0x1000/0x1000)")
    IPV4 = ((ETH_IP,), (), (), "ip")
    IPV6 = ((ETH_IPV6,), (), (), "ipv6")
    IP = ((ETH_IP, ETH_IPV6), (), (), "ip or ipv6")
    NETWORK = ((ETH_IP, ETH_IPV6, ETH_ARP, ETH_RARP), (), (), "ip, ipv6 or arp")
    ADDRESS = ((ETH_IP, ETH_ARP, ETH_RARP), (), (), "ip or arp")
    ARP = ((ETH_ARP, ETH_RARP), (), (), "arp")
    PORTS = ((ETH_IP, ETH_IPV6), (TCP, UDP, SCTP, ICMP, ICMPV6), (), "tcp, udp, sctp, icmp or their IPv6 forms")
    SEGMENT = ((ETH_IP, ETH_IPV6), (TCP, UDP, SCTP), (), "tcp, udp, sctp or their IPv6 forms")
    IN_TCP = ((ETH_IP, ETH_IPV6), (TCP,), (), "tcp or tcp6")
    IN_UDP = ((ETH_IP, ETH_IPV6), (UDP,), (), "udp or udp6")
    IN_SCTP = ((ETH_IP, ETH_IPV6), (SCTP,), (), "sctp or sctp6")
    IN_ICMP = ((ETH_IP, ETH_IPV6), (ICMP, ICMPV6), (), "icmp or icmp6")
    IN_ICMPV6 = ((ETH_IPV6,), (ICMPV6,), (), "icmp6")
    ND = ((ETH_IPV6,), (ICMPV6,), (ND_SOLICIT, ND_ADVERT), "icmp6,icmp_type=135 or icmp6,icmp_type=136")
    SOLICIT = ((ETH_IPV6,), (ICMPV6,), (ND_SOLICIT,), "icmp6,icmp_type=135")
    ADVERT = ((ETH_IPV6,), (ICMPV6,), (ND_ADVERT,), "icmp6,icmp_type=136")

    def met(self, key: int, mask: int = -1) -> bool:
        """Whether a key has it; with `mask`, whether every key with these bits has it."""
        types, protocols, icmp, _ = self.value
        if self is Needs.VLAN:
            return bool(VLAN_TCI.of(key & mask) & VLAN_PRESENT)
        for field, allowed in ((DL_TYPE, types), (NW_PROTO, protocols), (TP_SRC, icmp)):
            if allowed and (field.of(key) not in allowed or field.of(mask) & 0xFF != 0xFF):
                return False
        if ICMP in protocols and DL_TYPE.of(key) in (ETH_IP, ETH_IPV6):
            # Number 1 is ICMP in IPv4 only, 58 is ICMPv6 in IPv6 only.
            return NW_PROTO.of(key) != (ICMPV6 if DL_TYPE.of(key) == ETH_IP else ICMP)
        return True

    @property
    def looks_at(self) -> int:
        """Bits of the key that say whether it is so."""
        types, protocols, icmp, _ = self.value
        bits = VLAN_PRESENT << VLAN_TCI.shift if self is Needs.VLAN else 0
        for field, allowed in ((DL_TYPE, types), (NW_PROTO, protocols), (TP_SRC, icmp)):
            bits |= field.mask if allowed else 0
        return bits


class Kind(Enum):
    """How a value is written."""

    DECIMAL = 0
    HEX = 1
    MAC = 2
    IPV4 = 3
    IPV6 = 4
    PORT = 5
    FLAGS = 6
    FRAGMENT = 7


class FieldName(NamedTuple):
    """A field under one name; `low` and `bits` say which bits of the key's field it means."""

    name: str
    key: str
    needs: Needs
    kind: Kind
    low: int
    bits: int
    nxm: str = ""
    """What `load:` and `dump-flows` call it; nothing where it cannot be written."""
    oxm: tuple[str, ...] = ()
    """Other names of the same in `load:`."""
    maskable: bool = True

    @property
    def field(self) -> Field:
        """The field of the key."""
        return FIELDS[self.key]

    @property
    def full(self) -> int:
        """All bits of the named field."""
        return (1 << self.bits) - 1


_N = Needs
_D, _H = Kind.DECIMAL, Kind.HEX
_FIELDS = (
    FieldName("in_port", "in_port", _N.NOTHING, Kind.PORT, 0, 16, "NXM_OF_IN_PORT", ("OXM_OF_IN_PORT",), maskable=False),
    FieldName("eth_src", "dl_src", _N.NOTHING, Kind.MAC, 0, 48, "NXM_OF_ETH_SRC", ("OXM_OF_ETH_SRC",)),
    FieldName("eth_dst", "dl_dst", _N.NOTHING, Kind.MAC, 0, 48, "NXM_OF_ETH_DST", ("OXM_OF_ETH_DST",)),
    FieldName("eth_type", "dl_type", _N.NOTHING, _H, 0, 16, maskable=False),
    FieldName("vlan_tci", "vlan_tci", _N.NOTHING, _H, 0, 16, "NXM_OF_VLAN_TCI"),
    FieldName("dl_vlan", "vlan_tci", _N.NOTHING, _D, 0, 12, maskable=False),
    FieldName("dl_vlan_pcp", "vlan_tci", _N.NOTHING, _D, 13, 3, maskable=False),
    FieldName("vlan_vid", "vlan_tci", _N.NOTHING, _D, 0, 13, "OXM_OF_VLAN_VID"),
    FieldName("vlan_pcp", "vlan_tci", _N.VLAN, _D, 13, 3, "OXM_OF_VLAN_PCP", maskable=False),
    FieldName("ip_src", "nw_src", _N.IPV4, Kind.IPV4, 0, 32, "NXM_OF_IP_SRC", ("OXM_OF_IPV4_SRC",)),
    FieldName("ip_dst", "nw_dst", _N.IPV4, Kind.IPV4, 0, 32, "NXM_OF_IP_DST", ("OXM_OF_IPV4_DST",)),
    FieldName("ipv6_src", "ipv6_src", _N.IPV6, Kind.IPV6, 0, 128, "NXM_NX_IPV6_SRC", ("OXM_OF_IPV6_SRC",)),
    FieldName("ipv6_dst", "ipv6_dst", _N.IPV6, Kind.IPV6, 0, 128, "NXM_NX_IPV6_DST", ("OXM_OF_IPV6_DST",)),
    FieldName("ipv6_label", "ipv6_label", _N.IPV6, _H, 0, 20, "NXM_NX_IPV6_LABEL", ("OXM_OF_IPV6_FLABEL",)),
    FieldName("nw_proto", "nw_proto", _N.NETWORK, _D, 0, 8, maskable=False),
    FieldName("nw_tos", "nw_tos", _N.IP, _D, 0, 8, "NXM_OF_IP_TOS", maskable=False),
    FieldName("ip_dscp", "nw_tos", _N.IP, _D, 2, 6, "OXM_OF_IP_DSCP", maskable=False),
    FieldName("nw_ecn", "nw_tos", _N.IP, _D, 0, 2, "NXM_NX_IP_ECN", ("OXM_OF_IP_ECN",), maskable=False),
    FieldName("nw_ttl", "nw_ttl", _N.IP, _D, 0, 8, "NXM_NX_IP_TTL", maskable=False),
    FieldName("ip_frag", "nw_frag", _N.IP, Kind.FRAGMENT, 0, 8),
    FieldName("arp_op", "nw_proto", _N.ARP, _D, 0, 8, "NXM_OF_ARP_OP", ("OXM_OF_ARP_OP",), maskable=False),
    FieldName("arp_spa", "nw_src", _N.ARP, Kind.IPV4, 0, 32, "NXM_OF_ARP_SPA", ("OXM_OF_ARP_SPA",)),
    FieldName("arp_tpa", "nw_dst", _N.ARP, Kind.IPV4, 0, 32, "NXM_OF_ARP_TPA", ("OXM_OF_ARP_TPA",)),
    FieldName("arp_sha", "arp_sha", _N.ARP, Kind.MAC, 0, 48, "NXM_NX_ARP_SHA", ("OXM_OF_ARP_SHA",)),
    FieldName("arp_tha", "arp_tha", _N.ARP, Kind.MAC, 0, 48, "NXM_NX_ARP_THA", ("OXM_OF_ARP_THA",)),
    FieldName("tcp_src", "tp_src", _N.IN_TCP, _D, 0, 16, "NXM_OF_TCP_SRC", ("OXM_OF_TCP_SRC",)),
    FieldName("tcp_dst", "tp_dst", _N.IN_TCP, _D, 0, 16, "NXM_OF_TCP_DST", ("OXM_OF_TCP_DST",)),
    FieldName("udp_src", "tp_src", _N.IN_UDP, _D, 0, 16, "NXM_OF_UDP_SRC", ("OXM_OF_UDP_SRC",)),
    FieldName("udp_dst", "tp_dst", _N.IN_UDP, _D, 0, 16, "NXM_OF_UDP_DST", ("OXM_OF_UDP_DST",)),
    FieldName("sctp_src", "tp_src", _N.IN_SCTP, _D, 0, 16, "OXM_OF_SCTP_SRC"),
    FieldName("sctp_dst", "tp_dst", _N.IN_SCTP, _D, 0, 16, "OXM_OF_SCTP_DST"),
    FieldName("tp_src", "tp_src", _N.PORTS, _D, 0, 16),
    FieldName("tp_dst", "tp_dst", _N.PORTS, _D, 0, 16),
    FieldName("tcp_flags", "tcp_flags", _N.IN_TCP, Kind.FLAGS, 0, 12),
    FieldName("icmp_type", "tp_src", _N.IN_ICMP, _D, 0, 8, maskable=False),
    FieldName("icmp_code", "tp_dst", _N.IN_ICMP, _D, 0, 8, maskable=False),
    FieldName("icmpv6_type", "tp_src", _N.IN_ICMPV6, _D, 0, 8, maskable=False),
    FieldName("icmpv6_code", "tp_dst", _N.IN_ICMPV6, _D, 0, 8, maskable=False),
    FieldName("nd_target", "nd_target", _N.ND, Kind.IPV6, 0, 128, "NXM_NX_ND_TARGET", ("OXM_OF_IPV6_ND_TARGET",)),
    FieldName("nd_sll", "arp_sha", _N.SOLICIT, Kind.MAC, 0, 48, "NXM_NX_ND_SLL", ("OXM_OF_IPV6_ND_SLL",)),
    FieldName("nd_tll", "arp_tha", _N.ADVERT, Kind.MAC, 0, 48, "NXM_NX_ND_TLL", ("OXM_OF_IPV6_ND_TLL",)),
    FieldName("tun_id", "tun_id", _N.NOTHING, _H, 0, 64, "NXM_NX_TUN_ID", ("OXM_OF_TUNNEL_ID",)),
)

FIELD_NAMES = {one.name: one for one in _FIELDS}
"""Every field by its own name."""

ALIASES = {
    "dl_src": "eth_src", "dl_dst": "eth_dst", "dl_type": "eth_type", "nw_src": "ip_src", "nw_dst": "ip_dst",
    "ip_proto": "nw_proto", "ip_ecn": "nw_ecn", "ip_ttl": "nw_ttl", "nw_frag": "ip_frag", "tunnel_id": "tun_id",
    "ipv6_dst": "ipv6_dst", "ipv6_src": "ipv6_src", "ipv6_flabel": "ipv6_label",
}  # fmt: skip
"""Other names of the same fields."""

LOADABLE = {word: one for one in _FIELDS if one.nxm for word in (one.nxm, *one.oxm)}
"""Fields by the names that `load:` uses."""

SHORTHANDS = {
    "ip": (ETH_IP, None), "ipv6": (ETH_IPV6, None), "arp": (ETH_ARP, None), "rarp": (ETH_RARP, None),
    "icmp": (ETH_IP, ICMP), "tcp": (ETH_IP, TCP), "udp": (ETH_IP, UDP), "sctp": (ETH_IP, SCTP),
    "icmp6": (ETH_IPV6, ICMPV6), "tcp6": (ETH_IPV6, TCP), "udp6": (ETH_IPV6, UDP), "sctp6": (ETH_IPV6, SCTP),
}  # fmt: skip
"""Words for an Ethernet type and an IP protocol."""
