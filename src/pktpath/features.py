"""Device features by their kernel names, ethtool's names for them, and what depends on what.

A port declares a `Feature` value; an offload obeys the one it is given. There is no global switch.
Source: include/linux/netdev_features.h, net/ethtool/common.c, ethtool(8), `netdev_fix_features` and
`ethnl_set_features` of Linux 6.18.
"""

from collections.abc import Mapping
from enum import IntFlag, auto
from fnmatch import fnmatchcase
from typing import NamedTuple

from pktpath.errors import BadInput, Refused


class Feature(IntFlag):
    """One bit a feature; the member's name is the kernel's NETIF_F_ name, its place is ours."""

    NONE = 0
    # What our engine knows comes first: compiled code takes these as numbers.
    SG = auto()
    IP_CSUM = auto()
    IPV6_CSUM = auto()
    HW_CSUM = auto()
    FRAGLIST = auto()
    TSO = auto()
    TSO_ECN = auto()
    TSO_ACCECN = auto()
    TSO_MANGLEID = auto()
    TSO6 = auto()
    GSO_UDP_L4 = auto()
    GSO_UDP = auto()
    GSO_PARTIAL = auto()
    GSO = auto()
    RXCSUM = auto()
    RXHASH = auto()
    GRO = auto()
    GRO_HW = auto()
    GRO_UDP_FWD = auto()
    LRO = auto()
    RXFCS = auto()
    # The others, in the kernel's order.
    HIGHDMA = auto()
    HW_VLAN_CTAG_TX = auto()
    HW_VLAN_CTAG_RX = auto()
    HW_VLAN_CTAG_FILTER = auto()
    VLAN_CHALLENGED = auto()
    GSO_ROBUST = auto()
    FSO = auto()
    GSO_GRE = auto()
    GSO_GRE_CSUM = auto()
    GSO_IPXIP4 = auto()
    GSO_IPXIP6 = auto()
    GSO_UDP_TUNNEL = auto()
    GSO_UDP_TUNNEL_CSUM = auto()
    GSO_TUNNEL_REMCSUM = auto()
    GSO_SCTP = auto()
    GSO_ESP = auto()
    GSO_FRAGLIST = auto()
    FCOE_CRC = auto()
    SCTP_CRC = auto()
    NTUPLE = auto()
    NOCACHE_COPY = auto()
    LOOPBACK = auto()
    RXALL = auto()
    HW_VLAN_STAG_TX = auto()
    HW_VLAN_STAG_RX = auto()
    HW_VLAN_STAG_FILTER = auto()
    HW_L2FW_DOFFLOAD = auto()
    HW_TC = auto()
    HW_ESP = auto()
    HW_ESP_TX_CSUM = auto()
    RX_UDP_TUNNEL_PORT = auto()
    HW_TLS_TX = auto()
    HW_TLS_RX = auto()
    HW_TLS_RECORD = auto()
    GRO_FRAGLIST = auto()
    HW_MACSEC = auto()
    HW_HSR_TAG_INS = auto()
    HW_HSR_TAG_RM = auto()
    HW_HSR_FWD = auto()
    HW_HSR_DUP = auto()


# Names

KERNEL_NAMES = {
    "tx-scatter-gather": Feature.SG,
    "tx-checksum-ipv4": Feature.IP_CSUM,
    "tx-checksum-ip-generic": Feature.HW_CSUM,
    "tx-checksum-ipv6": Feature.IPV6_CSUM,
    "highdma": Feature.HIGHDMA,
    "tx-scatter-gather-fraglist": Feature.FRAGLIST,
    "tx-vlan-hw-insert": Feature.HW_VLAN_CTAG_TX,
    "rx-vlan-hw-parse": Feature.HW_VLAN_CTAG_RX,
    "rx-vlan-filter": Feature.HW_VLAN_CTAG_FILTER,
    "vlan-challenged": Feature.VLAN_CHALLENGED,
    "tx-generic-segmentation": Feature.GSO,
    "rx-gro": Feature.GRO,
    "rx-lro": Feature.LRO,
    "tx-tcp-segmentation": Feature.TSO,
    "tx-gso-robust": Feature.GSO_ROBUST,
    "tx-tcp-ecn-segmentation": Feature.TSO_ECN,
    "tx-tcp-mangleid-segmentation": Feature.TSO_MANGLEID,
    "tx-tcp6-segmentation": Feature.TSO6,
    "tx-fcoe-segmentation": Feature.FSO,
    "tx-gre-segmentation": Feature.GSO_GRE,
    "tx-gre-csum-segmentation": Feature.GSO_GRE_CSUM,
    "tx-ipxip4-segmentation": Feature.GSO_IPXIP4,
    "tx-ipxip6-segmentation": Feature.GSO_IPXIP6,
    "tx-udp_tnl-segmentation": Feature.GSO_UDP_TUNNEL,
    "tx-udp_tnl-csum-segmentation": Feature.GSO_UDP_TUNNEL_CSUM,
    "tx-gso-partial": Feature.GSO_PARTIAL,
    "tx-tunnel-remcsum-segmentation": Feature.GSO_TUNNEL_REMCSUM,
    "tx-sctp-segmentation": Feature.GSO_SCTP,
    "tx-esp-segmentation": Feature.GSO_ESP,
    "tx-udp-segmentation": Feature.GSO_UDP_L4,
    "tx-gso-list": Feature.GSO_FRAGLIST,
    "tx-tcp-accecn-segmentation": Feature.TSO_ACCECN,
    "tx-checksum-fcoe-crc": Feature.FCOE_CRC,
    "tx-checksum-sctp": Feature.SCTP_CRC,
    "rx-ntuple-filter": Feature.NTUPLE,
    "rx-hashing": Feature.RXHASH,
    "rx-checksum": Feature.RXCSUM,
    "tx-nocache-copy": Feature.NOCACHE_COPY,
    "loopback": Feature.LOOPBACK,
    "rx-fcs": Feature.RXFCS,
    "rx-all": Feature.RXALL,
    "tx-vlan-stag-hw-insert": Feature.HW_VLAN_STAG_TX,
    "rx-vlan-stag-hw-parse": Feature.HW_VLAN_STAG_RX,
    "rx-vlan-stag-filter": Feature.HW_VLAN_STAG_FILTER,
    "l2-fwd-offload": Feature.HW_L2FW_DOFFLOAD,
    "hw-tc-offload": Feature.HW_TC,
    "esp-hw-offload": Feature.HW_ESP,
    "esp-tx-csum-hw-offload": Feature.HW_ESP_TX_CSUM,
    "rx-udp_tunnel-port-offload": Feature.RX_UDP_TUNNEL_PORT,
    "tls-hw-tx-offload": Feature.HW_TLS_TX,
    "tls-hw-rx-offload": Feature.HW_TLS_RX,
    "rx-gro-hw": Feature.GRO_HW,
    "tls-hw-record": Feature.HW_TLS_RECORD,
    "rx-gro-list": Feature.GRO_FRAGLIST,
    "macsec-hw-offload": Feature.HW_MACSEC,
    "rx-udp-gro-forwarding": Feature.GRO_UDP_FWD,
    "hsr-tag-ins-offload": Feature.HW_HSR_TAG_INS,
    "hsr-tag-rm-offload": Feature.HW_HSR_TAG_RM,
    "hsr-fwd-offload": Feature.HW_HSR_FWD,
    "hsr-dup-offload": Feature.HW_HSR_DUP,
}
"""The kernel's own feature strings, in the order of its bits, which is the order of `ethtool -k`."""
OLD_NAMES = {"tx-udp-fragmentation": Feature.GSO_UDP}
"""What had a name up to Linux 4.13: our engine still cuts such frames."""
NAME_OF = {feature: name for name, feature in (KERNEL_NAMES | OLD_NAMES).items()}


class Group(NamedTuple):
    """A name from before features had names; it stands for every feature of a pattern."""

    short: str
    long: str
    pattern: str


GROUPS = (
    Group("rx", "rx-checksumming", "rx-checksum"),
    Group("tx", "tx-checksumming", "tx-checksum-*"),
    Group("sg", "scatter-gather", "tx-scatter-gather*"),
    Group("tso", "tcp-segmentation-offload", "tx-tcp*-segmentation"),
    Group("ufo", "udp-fragmentation-offload", "tx-udp-fragmentation"),
    Group("gso", "generic-segmentation-offload", "tx-generic-segmentation"),
    Group("gro", "generic-receive-offload", "rx-gro"),
    Group("lro", "large-receive-offload", "rx-lro"),
    Group("rxvlan", "rx-vlan-offload", "rx-vlan-hw-parse"),
    Group("txvlan", "tx-vlan-offload", "tx-vlan-hw-insert"),
    Group("ntuple", "ntuple-filters", "rx-ntuple-filter"),
    Group("rxhash", "receive-hashing", "rx-hashing"),
)
"""ethtool's short and long legacy names, in the order in which it prints them."""
PATTERNS = {name: group.pattern for group in GROUPS for name in (group.short, group.long)} | {"uso": "tx-udp-segmentation"}
"""The pattern that each legacy name stands for. `uso` is ours: everybody says so, and ethtool has no word."""


def feature_named(name: str) -> Feature:
    """Return the feature or group that a kernel, short or legacy name stands for.

    Raises:
        KeyError: no feature has this name.

    """
    known = KERNEL_NAMES | OLD_NAMES
    if name not in PATTERNS:
        return known[name]
    group = Feature.NONE
    for kernel_name, feature in known.items():
        if fnmatchcase(kernel_name, PATTERNS[name]):
            group |= feature
    return group


def nearest_names(name: str, known: list[str] | None = None) -> list[str]:
    """Return up to three feature names that look like this one, of all or of those that a device knows."""
    from difflib import get_close_matches

    return get_close_matches(name.lower(), [*PATTERNS, *(KERNEL_NAMES if known is None else known)], n=3)


def unknown_feature(name: str, known: list[str] | None = None) -> BadInput:
    """Return the error about a name that no feature has."""
    near = ", ".join(nearest_names(name, known))
    return BadInput(f"{name}: no such feature; {f'nearest: {near}' if near else 'ethtool -k lists them'}")


def names_of(features: Feature) -> list[str]:
    """Return the kernel names of a set, in the kernel's order."""
    return [name for feature, name in NAME_OF.items() if feature & features]


# Dependencies

_IP_CSUMS = Feature.IP_CSUM | Feature.IPV6_CSUM
_TSO = Feature.TSO | Feature.TSO_ECN | Feature.TSO_MANGLEID | Feature.TSO6
"""NETIF_F_ALL_TSO, which leaves out accurate ECN."""


class Rule(NamedTuple):
    """What falls without something else, or beside it."""

    drops: Feature
    why: str
    needs: tuple[Feature, ...] = ()
    """Sets of which one must be there whole."""
    beside: Feature = Feature.NONE
    """In a rule without needs: one of these is enough to drop."""
    when: Feature = Feature.NONE
    """The rule is asked while one of these is on; when empty, while one of `drops` is."""

    def holds(self, features: Feature) -> bool:
        """Whether the rule drops nothing of this set."""
        if not features & (self.when or self.drops):
            return True
        if self.needs:
            return any(features & need == need for need in self.needs)
        return not features & self.beside

    def explain(self) -> str:
        """Return what is missing or in the way, and why that matters, without a full stop."""
        if self.needs:
            words = " or ".join(" with ".join(names_of(need)) for need in self.needs)
            return f"needs {words}, as {self.why}"
        return f"cannot be on with {' or '.join(names_of(self.beside))}, as {self.why}"


_PIECES = "a segment is a header of its own beside a piece of payload"
_SUMS = "who cuts must also write the checksum of each segment"
_FIRST = (
    Rule(_IP_CSUMS, "it sums every protocol already", beside=Feature.HW_CSUM),
    Rule(_TSO, _PIECES, needs=(Feature.SG,)),
    Rule(Feature.TSO | Feature.TSO_ECN, _SUMS, needs=(Feature.HW_CSUM, Feature.IP_CSUM), when=Feature.TSO),
    Rule(Feature.TSO6, _SUMS, needs=(Feature.HW_CSUM, Feature.IPV6_CSUM)),
    Rule(Feature.TSO_MANGLEID, "it says how TSO may number IPv4 segments", needs=(Feature.TSO,)),
    Rule(Feature.TSO_ECN, "it says what TSO may do with CWR", needs=(Feature.TSO, Feature.TSO6, Feature.TSO_MANGLEID)),
    Rule(Feature.GSO, _PIECES, needs=(Feature.SG,)),
    # Up to Linux 4.13.
    Rule(Feature.GSO_UDP, _SUMS, needs=(Feature.HW_CSUM, _IP_CSUMS)),
    Rule(Feature.GSO_UDP, _PIECES, needs=(Feature.SG,)),
)
_LAST = (
    Rule(Feature.GRO_HW, "frames are merged only where the card has found their checksums right", needs=(Feature.RXCSUM,)),
    Rule(Feature.LRO | Feature.GRO_HW, "a merged frame has no frame check sequence", beside=Feature.RXFCS),
    Rule(Feature.LRO, "the card merges in one of two ways, and GRO's can be undone", beside=Feature.GRO_HW),
    Rule(Feature.HW_TLS_TX, "the card encrypts what it also sums", needs=(Feature.HW_CSUM, _IP_CSUMS)),
    Rule(Feature.HW_TLS_RX, "the card decrypts what it has found right", needs=(Feature.RXCSUM,)),
    Rule(Feature.GSO_UDP_L4, _SUMS, needs=(Feature.HW_CSUM, _IP_CSUMS)),
)
RULES = (*_FIRST, *_LAST)
"""The rules of `netdev_fix_features`, in its order: a later rule sees what the earlier ones left."""


def rules_with(partial: Feature) -> tuple[Rule, ...]:
    """Return the rules of a device that segments some things by GSO_PARTIAL only (`gso_partial_features`)."""
    why = "the device cuts these only where all segments are of one length"
    return (*_FIRST, Rule(partial, why, needs=(Feature.GSO_PARTIAL,)), *_LAST)


def fix_features(wanted: Feature, partial: Feature = Feature.NONE) -> Feature:
    """Drop what cannot work without something else.

    Args:
        wanted: what should be on.
        partial: what the device segments by GSO_PARTIAL only.

    """
    for rule in rules_with(partial) if partial else RULES:
        if not rule.holds(wanted):
            wanted &= ~rule.drops
    return wanted


def broken_rule(feature: Feature, active: Feature) -> Rule | None:
    """Return the first rule by which a feature cannot be on with these, None when none is in its way."""
    return next((rule for rule in RULES if rule.drops & feature and not rule.holds(active | feature)), None)


# The state of a card


class FeatureState(NamedTuple):
    """The features of one port, as the four bit sets of ETHTOOL_MSG_FEATURES_GET."""

    hw: Feature
    """What can be switched at all."""
    wanted: Feature
    """What was asked for; what a dependency took away comes back when it can."""
    active: Feature
    nochange: Feature = Feature.NONE
    """What stays as it is, although the port has it."""
    partial: Feature = Feature.NONE
    """What the port segments by GSO_PARTIAL only."""

    @property
    def fixed(self) -> Feature:
        """What nobody can change."""
        return ~self.hw | self.nochange


def request(state: FeatureState, wanted: Mapping[str, bool]) -> FeatureState:
    """Return what a `-K` leaves of a state; what is fixed stays as it is, without an error.

    Args:
        state: the card before.
        wanted: on or off, by kernel, short or long name. Where two names mean one feature, on wins.

    Raises:
        BadInput: a name is of no feature.
        Refused: one of them is in `nochange`; then nothing changes, as `ethnl_set_features` has it.

    """
    asked = on = Feature.NONE
    for name, value in wanted.items():
        try:
            feature = feature_named(name)
        except KeyError:
            raise unknown_feature(name) from None
        if feature & state.nochange:
            message = f"{name}: no program may change it; nothing was changed"
            raise Refused(message)
        asked |= feature
        on |= feature if value else Feature.NONE
    return _update(state, (on & state.hw) | (state.wanted & ~(asked & state.hw)))


def disable_lro(state: FeatureState) -> FeatureState:
    """Return a state with LRO off by force, as for a port that joins a switch or forwards (`dev_disable_lro`).

    What is merged without a way back must not be forwarded.
    """
    return _update(state, state.wanted & ~Feature.LRO)


def _update(state: FeatureState, wanted: Feature) -> FeatureState:
    return state._replace(wanted=wanted, active=fix_features((state.active & ~state.hw) | wanted, state.partial))


_PORT = (
    _TSO | Feature.TSO_ACCECN | Feature.SG | Feature.FRAGLIST | Feature.HW_CSUM | Feature.GSO | Feature.GSO_UDP_L4
    | Feature.RXCSUM | Feature.RXHASH | Feature.GRO | Feature.GRO_UDP_FWD | Feature.LRO
)  # fmt: skip
PORT_FEATURES = FeatureState(
    hw=_PORT, wanted=_PORT & ~(Feature.LRO | Feature.GRO_UDP_FWD), active=_PORT & ~(Feature.LRO | Feature.GRO_UDP_FWD)
)
"""Those of pktpath's own card: all that its engine does."""
