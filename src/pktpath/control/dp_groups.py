"""Fields of a flow in the words of datapath flows: the groups in which they stand, values and masks.

A match and a set action are written in the same words (ovs-actions(7)): `tcp(src=1,dst=2/0xfffe)`.
"""

import socket
from collections.abc import Callable, Mapping

from pktpath.switch.fields import FIELDS, mask_of

_FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns", "[200]", "[400]", "[800]")


def _mac(value: int) -> str:
    return ":".join(f"{byte:02x}" for byte in value.to_bytes(6, "big"))


def _ipv4(value: int) -> str:
    return socket.inet_ntop(socket.AF_INET, value.to_bytes(4, "big"))


def _ipv6(value: int) -> str:
    return socket.inet_ntop(socket.AF_INET6, value.to_bytes(16, "big"))


def _hex(value: int) -> str:
    """Return C's `%#x`."""
    return f"{value:#x}" if value else "0"


# What is compared of a field, as text: value, mask.
_WRITERS: dict[str, tuple[Callable[[int], str], Callable[[int], str]]] = {
    "mac": (_mac, _mac),
    "ipv4": (_ipv4, _ipv4),
    "ipv6": (_ipv6, _ipv6),
    "hex": (_hex, _hex),
    "number": (str, _hex),
}
_Part = tuple[str, str, str]
"""Name in the text, field, writer."""
_ETH: tuple[_Part, ...] = (("src", "dl_src", "mac"), ("dst", "dl_dst", "mac"))
_ARP_PARTS: tuple[_Part, ...] = (
    ("sip", "nw_src", "ipv4"),
    ("tip", "nw_dst", "ipv4"),
    ("op", "nw_proto", "number"),
    ("sha", "arp_sha", "mac"),
    ("tha", "arp_tha", "mac"),
)
_IPV4_PARTS: tuple[_Part, ...] = (
    ("src", "nw_src", "ipv4"),
    ("dst", "nw_dst", "ipv4"),
    ("proto", "nw_proto", "number"),
    ("tos", "nw_tos", "hex"),
    ("ttl", "nw_ttl", "number"),
)
_IPV6_PARTS: tuple[_Part, ...] = (
    ("src", "ipv6_src", "ipv6"),
    ("dst", "ipv6_dst", "ipv6"),
    ("label", "ipv6_label", "hex"),
    ("proto", "nw_proto", "number"),
    ("tclass", "nw_tos", "hex"),
    ("hlimit", "nw_ttl", "number"),
)
_PORTS: tuple[_Part, ...] = (("src", "tp_src", "number"), ("dst", "tp_dst", "number"))
_ICMP_PARTS: tuple[_Part, ...] = (("type", "tp_src", "number"), ("code", "tp_dst", "number"))
_ND_PARTS: tuple[_Part, ...] = (("target", "nd_target", "ipv6"), ("sll", "arp_sha", "mac"), ("tll", "arp_tha", "mac"))
_WIDTHS = {"nw_tos": 8, "ipv6_label": 20}
"""Bits that make a mask whole where the field's room in the key is wider."""
GROUPS: dict[str, tuple[_Part, ...]] = {
    "tunnel": (("tun_id", "tun_id", "hex"),),
    "eth": _ETH,
    "arp": _ARP_PARTS,
    "ipv4": _IPV4_PARTS,
    "ipv6": _IPV6_PARTS,
    "tcp": _PORTS,
    "udp": _PORTS,
    "sctp": _PORTS,
    "icmp": _ICMP_PARTS,
    "icmpv6": _ICMP_PARTS,
    "nd": _ND_PARTS,
}
"""The words in which fields stand together, in a match and in a set action."""


def _place(part: _Part) -> tuple[str, int, int, int, Callable[[int], str], Callable[[int], str]]:
    name, field, writer = part
    place = FIELDS[field]
    return f"{name}=", place.shift, (1 << place.bits) - 1, (1 << _WIDTHS.get(field, place.bits)) - 1, *_WRITERS[writer]


# Computed once: a table of flows has many thousand lines.
_PLACES = {group: [_place(part) for part in parts] for group, parts in GROUPS.items()}
_MASKS = {group: mask_of(*(field for _, field, _ in parts)) for group, parts in GROUPS.items()}


def group_text(group: str, key: int, mask: int, *, more: bool = False, last: str = "") -> str:
    """Return a group of fields, `tcp(src=1,dst=2/0xfffe)`; the empty text if nothing of it is in the mask.

    Args:
        group: one of `GROUPS`.
        key: the values.
        mask: what is compared, or written, of them.
        more: also say what is not.
        last: one more field, written already.

    """
    words = []
    if more or mask & _MASKS[group]:
        for start, shift, low, whole, write, write_mask in _PLACES[group]:
            bits = mask >> shift & low
            if bits & whole == whole:
                words.append(start + write(key >> shift & low))
            elif bits or more:
                words.append(f"{start}{write(key >> shift & low)}/{write_mask(bits)}")
    if last:
        words.append(last)
    return f"{group}({','.join(words)})" if words else ""


def tcp_flags_text(flags: int, mask: int) -> str:
    """Return TCP flags as `+syn-ack`, or `syn|ack` where all of them are compared."""
    if mask & 0xFFF == 0xFFF:
        return "|".join(name for bit, name in enumerate(_FLAGS) if flags >> bit & 1) or "0"
    if not mask:
        return "0/0"
    return "".join(("+" if flags >> bit & 1 else "-") + name for bit, name in enumerate(_FLAGS) if mask >> bit & 1)


def port_name(number: int, names: Mapping[int, str] | None) -> str:
    """Return the name of a port where names are wanted and it has one, else its number."""
    return str(number) if names is None else names.get(number, str(number))
