"""The match of a flow: from ovs-ofctl's words to bits of the key, and back in the order of `dump-flows`."""

from collections.abc import Iterable

from pktpath.control.flow_values import Ports, masked_text, number, value_and_mask
from pktpath.errors import BadInput
from pktpath.switch.fields import FIELDS, VLAN_PRESENT
from pktpath.switch.openflow_fields import (
    ALIASES,
    ETH_ARP,
    ETH_IP,
    ETH_IPV6,
    ETH_RARP,
    FIELD_NAMES,
    ICMP,
    ICMPV6,
    ND_ADVERT,
    ND_SOLICIT,
    SCTP,
    SHORTHANDS,
    TCP,
    UDP,
    Needs,
)

_DL_TYPE, _PROTO, _VLAN = FIELDS["dl_type"], FIELDS["nw_proto"], FIELDS["vlan_tci"]
_TP_SRC, _TP_DST = FIELDS["tp_src"], FIELDS["tp_dst"]
_NAMES = {words: name for name, words in SHORTHANDS.items()}
_ICMP_TYPES = 0xFF << _TP_SRC.shift | 0xFF << _TP_DST.shift
_PORTS = _TP_SRC.mask | _TP_DST.mask


class MatchText:
    """A match as it grows word by word."""

    def __init__(self, ports: Ports | None) -> None:
        self.value = self.mask = 0
        self._ports = ports
        self._asked: list[tuple[str, Needs]] = []

    def shorthand(self, word: str) -> None:
        """Take `tcp` and its like."""
        dl_type, proto = SHORTHANDS[word]
        self._put(dl_type << _DL_TYPE.shift, _DL_TYPE.mask, word)
        if proto is not None:
            self._put(proto << _PROTO.shift, _PROTO.mask, word)

    def field(self, written: str, text: str) -> None:
        """Take `name=value`."""
        name = FIELD_NAMES[ALIASES.get(written, written)]
        if name.key == "vlan_tci":
            value, mask = self._vlan(name.name, written, text)
        else:
            value, mask = value_and_mask(text, name, written, self._ports)
            value, mask = value << name.low, mask << name.low
            if name.name == "nw_tos":
                # By this name it is the DSCP, in its place in the byte.
                value, mask = value & 0xFC, mask & 0xFC
        needs = Needs.ADDRESS if written in {"nw_src", "nw_dst"} else name.needs
        if mask and needs not in {Needs.NOTHING, Needs.VLAN}:
            self._asked.append((f"{written}={text}", needs))
        shift = name.field.shift
        whole = name.field.mask if name.name == "in_port" else mask << shift
        self._put(value << shift, whole, f"{written}={text}")

    def done(self) -> tuple[int, int]:
        """Return value and mask; refuse fields whose packets the match does not choose."""
        for words, needs in self._asked:
            if not needs.met(self.value, self.mask):
                said = f"{words}: prerequisites not met: it needs {needs.value[3]} before it"
                raise BadInput(said)
        if Needs.IN_ICMP.met(self.value, self.mask):
            # Type and code have 8 bits, the fields of the key 16.
            if self.value & _PORTS & ~_ICMP_TYPES:
                said = "tp_src or tp_dst: type and code of ICMP are at most 255"
                raise BadInput(said)
            self.mask &= ~_PORTS | _ICMP_TYPES
        return self.value, self.mask

    def _put(self, value: int, mask: int, words: str) -> None:
        if (self.value ^ value) & self.mask & mask:
            said = f"{words}: contradicts what the flow says before it"
            raise BadInput(said)
        self.value |= value
        self.mask |= mask

    def _vlan(self, name: str, written: str, text: str) -> tuple[int, int]:
        if text == "*":
            return 0, 0
        if name == "dl_vlan":
            vid = number(text, 0xFFFF, written)
            if vid == 0xFFFF:
                return 0, 0xFFFF
            if vid > 0xFFF:
                said = f"{written}={text}: a VLAN is 0 to 4095, 0xffff means no tag"
                raise BadInput(said)
            return VLAN_PRESENT | vid, VLAN_PRESENT | 0xFFF
        if name in {"dl_vlan_pcp", "vlan_pcp"}:
            return VLAN_PRESENT | number(text, 7, written) << 13, VLAN_PRESENT | 0xE000
        value, mask = value_and_mask(text, FIELD_NAMES[name], written, None)
        if name == "vlan_vid" and mask & VLAN_PRESENT and not value & VLAN_PRESENT:
            if value:
                said = f"{written}={text}: without 0x1000, which says that there is a tag, no packet has this"
                raise BadInput(said)
            return 0, 0xFFFF
        return value, mask


def match_text(value: int, mask: int) -> str:
    """Return a match as `dump-flows` and `ofproto/trace` write it, without priority; nothing for one that matches all."""
    return ",".join(_parts(value & mask, mask))


def _parts(value: int, mask: int) -> Iterable[str]:
    dl_type = _DL_TYPE.of(value) if _DL_TYPE.of(mask) == 0xFFFF else None
    proto = _PROTO.of(value) if _PROTO.of(mask) == 0xFF and dl_type is not None else None
    said_type, said_proto = False, False
    if dl_type is not None and (dl_type, None) in _NAMES:
        said_type = True
        ip_proto = proto if dl_type in {ETH_IP, ETH_IPV6} else None
        said_proto = ip_proto is not None and (dl_type, ip_proto) in _NAMES
        yield _NAMES[dl_type, ip_proto if said_proto else None]
    yield from _plain("tun_id", value, mask)
    yield from _plain("in_port", value, mask)
    yield from _vlan_parts(_VLAN.of(value), _VLAN.of(mask))
    yield from _plain("eth_src", value, mask, "dl_src")
    yield from _plain("eth_dst", value, mask, "dl_dst")
    if not said_type and _DL_TYPE.of(mask):
        yield f"dl_type=0x{_DL_TYPE.of(value):04x}" + ("" if dl_type is not None else f"/0x{_DL_TYPE.of(mask):x}")
    arp = dl_type in {ETH_ARP, ETH_RARP}
    if dl_type == ETH_IPV6:
        yield from _plain("ipv6_src", value, mask)
        yield from _plain("ipv6_dst", value, mask)
        label = FIELDS["ipv6_label"]
        if label.of(mask):
            tail = "" if label.of(mask) & 0xFFFFF == 0xFFFFF else f"/0x{label.of(mask):05x}"
            yield f"ipv6_label=0x{label.of(value):05x}{tail}"
    else:
        yield from _plain("arp_spa" if arp else "ip_src", value, mask, "arp_spa" if arp else "nw_src")
        yield from _plain("arp_tpa" if arp else "ip_dst", value, mask, "arp_tpa" if arp else "nw_dst")
    if not said_proto:
        yield from _plain("nw_proto", value, mask, "arp_op" if arp else "nw_proto")
    if arp:
        yield from _plain("arp_sha", value, mask)
        yield from _plain("arp_tha", value, mask)
    yield from _tos(value, mask)
    yield from _plain("nw_ttl", value, mask)
    if FIELDS["nw_frag"].of(mask):
        yield "nw_frag=" + masked_text(FIELDS["nw_frag"].of(value), FIELDS["nw_frag"].of(mask), FIELD_NAMES["ip_frag"])
    yield from _transport(value, mask, dl_type, proto)


def _plain(name: str, value: int, mask: int, word: str = "") -> Iterable[str]:
    field = FIELD_NAMES[name]
    bits = field.field.of(mask)
    if bits:
        yield f"{word or name}={masked_text(field.field.of(value), bits & field.full, field)}"


def _vlan_parts(tci: int, mask: int) -> Iterable[str]:
    if not mask:
        return
    vid, pcp, present = mask & 0xFFF == 0xFFF, mask & 0xE000 == 0xE000, mask & VLAN_PRESENT and tci & VLAN_PRESENT
    if present and (vid or not mask & 0xFFF) and (pcp or not mask & 0xE000) and (vid or pcp):
        if vid:
            yield f"dl_vlan={tci & 0xFFF}"
        if pcp:
            yield f"dl_vlan_pcp={tci >> 13}"
    else:
        yield f"vlan_tci=0x{tci:04x}" + ("" if mask == 0xFFFF else f"/0x{mask:04x}")


def _tos(value: int, mask: int) -> Iterable[str]:
    tos, bits = FIELDS["nw_tos"].of(value), FIELDS["nw_tos"].of(mask)
    if bits & 0xFC:
        yield f"nw_tos={tos & 0xFC}" + ("" if bits & 0xFC == 0xFC else f"/0x{bits & 0xFC:x}")
    if bits & 3:
        yield f"nw_ecn={tos & 3}" + ("" if bits & 3 == 3 else f"/0x{bits & 3:x}")


def _transport(value: int, mask: int, dl_type: int | None, proto: int | None) -> Iterable[str]:
    if (dl_type, proto) in {(ETH_IP, ICMP), (ETH_IPV6, ICMPV6)}:
        yield from _plain("icmp_type", value, mask)
        yield from _plain("icmp_code", value, mask)
        kind = _TP_SRC.of(value)
        if (dl_type == ETH_IPV6 and kind in {ND_SOLICIT, ND_ADVERT}) or (dl_type == ETH_IPV6 and FIELDS["nd_target"].of(mask)):
            yield from _plain("nd_target", value, mask)
            yield from _plain("nd_sll", value, mask)
            yield from _plain("nd_tll", value, mask)
    else:
        name = {TCP: "tcp", UDP: "udp", SCTP: "sctp"}.get(proto if proto is not None else TCP, "tcp")
        yield from _plain(f"{name}_src", value, mask, "tp_src")
        yield from _plain(f"{name}_dst", value, mask, "tp_dst")
    yield from _plain("tcp_flags", value, mask)
