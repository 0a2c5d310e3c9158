"""Device features by their kernel names, ethtool's aliases for them, and what depends on what.

A port declares a `Feature` value; an offload obeys the one it is given. There is no global switch.
Source: include/linux/netdev_features.h, net/ethtool/common.c, ethtool(8), `netdev_fix_features`.
"""

from enum import IntFlag, auto
from typing import NamedTuple


class Feature(IntFlag):
    """One bit a feature; the member's name is the kernel's NETIF_F_ name."""

    NONE = 0
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


KERNEL_NAMES = {
    "tx-scatter-gather": Feature.SG,
    "tx-checksum-ipv4": Feature.IP_CSUM,
    "tx-checksum-ipv6": Feature.IPV6_CSUM,
    "tx-checksum-ip-generic": Feature.HW_CSUM,
    "tx-scatter-gather-fraglist": Feature.FRAGLIST,
    "tx-tcp-segmentation": Feature.TSO,
    "tx-tcp-ecn-segmentation": Feature.TSO_ECN,
    "tx-tcp-accecn-segmentation": Feature.TSO_ACCECN,
    "tx-tcp-mangleid-segmentation": Feature.TSO_MANGLEID,
    "tx-tcp6-segmentation": Feature.TSO6,
    "tx-udp-segmentation": Feature.GSO_UDP_L4,
    "tx-udp-fragmentation": Feature.GSO_UDP,
    "tx-gso-partial": Feature.GSO_PARTIAL,
    "tx-generic-segmentation": Feature.GSO,
    "rx-checksum": Feature.RXCSUM,
    "rx-hashing": Feature.RXHASH,
    "rx-gro": Feature.GRO,
    "rx-gro-hw": Feature.GRO_HW,
    "rx-udp-gro-forwarding": Feature.GRO_UDP_FWD,
    "rx-lro": Feature.LRO,
    "rx-fcs": Feature.RXFCS,
}
"""The kernel's own feature strings (`ethtool --show-features`)."""

_CSUM = Feature.IP_CSUM | Feature.IPV6_CSUM | Feature.HW_CSUM
_TSO = Feature.TSO | Feature.TSO_ECN | Feature.TSO_ACCECN | Feature.TSO_MANGLEID | Feature.TSO6
ALIASES = {
    ("rx", "rx-checksumming"): Feature.RXCSUM,
    ("tx", "tx-checksumming"): _CSUM,
    ("sg", "scatter-gather"): Feature.SG | Feature.FRAGLIST,
    ("tso", "tcp-segmentation-offload"): _TSO,
    ("ufo", "udp-fragmentation-offload"): Feature.GSO_UDP,
    ("gso", "generic-segmentation-offload"): Feature.GSO,
    ("gro", "generic-receive-offload"): Feature.GRO,
    ("lro", "large-receive-offload"): Feature.LRO,
    ("rxhash", "receive-hashing"): Feature.RXHASH,
    ("uso", "tx-udp-segmentation"): Feature.GSO_UDP_L4,
}
"""ethtool's short and long legacy names, each for one feature or a group of them."""


def feature_named(name: str) -> Feature:
    """Return the feature or group that a kernel, short or legacy name stands for.

    Raises:
        KeyError: no feature has this name.

    """
    for names, group in ALIASES.items():
        if name in names:
            return group
    return KERNEL_NAMES[name]


def fix_features(wanted: Feature) -> Feature:
    """Drop what cannot work without something else (`netdev_fix_features`, net/core/dev.c)."""
    if wanted & Feature.HW_CSUM:
        wanted &= ~(Feature.IP_CSUM | Feature.IPV6_CSUM)
    if not wanted & Feature.SG:
        wanted &= ~(_TSO | Feature.GSO | Feature.GSO_UDP_L4 | Feature.GSO_UDP)
    if not wanted & (Feature.HW_CSUM | Feature.IP_CSUM):
        wanted &= ~(Feature.TSO | Feature.TSO_ECN)
    if not wanted & (Feature.HW_CSUM | Feature.IPV6_CSUM):
        wanted &= ~Feature.TSO6
    if not wanted & Feature.TSO:
        wanted &= ~Feature.TSO_MANGLEID
    if not wanted & _CSUM:
        wanted &= ~Feature.GSO_UDP_L4
    if not wanted & Feature.RXCSUM:
        wanted &= ~Feature.GRO_HW
    if wanted & Feature.RXFCS:
        wanted &= ~(Feature.LRO | Feature.GRO_HW)
    if wanted & Feature.GRO_HW:
        wanted &= ~Feature.LRO
    return wanted


class FeatureState(NamedTuple):
    """The features of one port, as the four bit sets of ETHTOOL_MSG_FEATURES_GET."""

    hw: Feature
    """What can be switched at all."""
    wanted: Feature
    """What was asked for; what a dependency took away comes back when it can."""
    active: Feature
    nochange: Feature = Feature.NONE
    """What stays as it is, although the port has it."""


_PORT = (
    _TSO | Feature.SG | Feature.FRAGLIST | Feature.HW_CSUM | Feature.GSO | Feature.GSO_UDP_L4 | Feature.RXCSUM
    | Feature.RXHASH | Feature.GRO | Feature.GRO_UDP_FWD | Feature.LRO
)  # fmt: skip
PORT_FEATURES = FeatureState(
    hw=_PORT, wanted=_PORT & ~(Feature.LRO | Feature.GRO_UDP_FWD), active=_PORT & ~(Feature.LRO | Feature.GRO_UDP_FWD)
)
"""Those of pktpath's own card: all that its engine does."""
