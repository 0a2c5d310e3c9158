"""Megaflows as `dpctl/dump-flows` of Open vSwitch 3.1 writes them, short and with `-m`.

Short text leaves out what no packet was looked at for; with `-m` every field of the first packet is there, with the
mask behind what was not compared whole. Spelling: ovs-actions(7), ovs-dpctl(8), and Open vSwitch itself, which the
tests ask.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b

from pktpath.control.dp_actions_text import actions_text
from pktpath.control.dp_groups import group_text, port_name, tcp_flags_text
from pktpath.switch.fields import FIELDS, FRAG_ANY, FRAG_LATER, VLAN_PRESENT, mask_of
from pktpath.switch.views import FlowView

_ARP, _RARP, _IPV4, _IPV6 = 0x0806, 0x8035, 0x0800, 0x86DD
_NO_TYPE = (0, 0x05FF)
"""What stands for the type of a frame that has a length there."""
_TCP, _UDP, _SCTP, _ICMP, _ICMPV6 = 6, 17, 132, 1, 58
_NEIGHBOR = (135, 136)
_FLAG_LETTERS = {2: "S", 1: "F", 8: "P", 4: "R", 0x20: "U", 0x10: ".", 0x40: "E", 0x80: "C", 0x100: "N"}
"""Flags in the order in which they are told; the reserved ones follow as numbers."""
_TUNNEL = mask_of("tun_id")


def _reader(name: str) -> Callable[[int], int]:
    """Return the function that takes a field out of a key; a table of flows has many thousand lines."""
    shift, low = FIELDS[name].shift, (1 << FIELDS[name].bits) - 1
    return lambda key: key >> shift & low


_IN_PORT, _DL_TYPE, _VLAN_TCI = map(_reader, ("in_port", "dl_type", "vlan_tci"))
_NW_FRAG, _NW_PROTO, _TCP_FLAGS = map(_reader, ("nw_frag", "nw_proto", "tcp_flags"))
_METADATA = "skb_priority(0/0),skb_mark(0/0),ct_state(0/0),ct_zone(0/0),ct_mark(0/0),ct_label(0/0),"


# The match


def match_text(key: int, mask: int, names: Mapping[int, str] | None = None, *, more: bool = False) -> str:
    """Return what a megaflow matches: `recirc_id(0),in_port(1),…`.

    Args:
        key: key of the packet that asked for it.
        mask: bits that were looked at.
        names: of ports by number, None for numbers.
        more: the text of `-m`, with every field of the packet.

    """
    port = _IN_PORT(key)
    words = []
    if mask & _TUNNEL:
        words.append(group_text("tunnel", key, mask))
    words += ["recirc_id(0)", *(["dp_hash(0/0)"] if more else [])]
    words.append(f"in_port({port_name(port, names)})")
    words.append("packet_type(ns=0,id=0)")
    words.append(group_text("eth", key, mask, more=more))
    inner = [*_type_words(key, mask, more=more), *_network_words(key, mask, more=more)]
    tci, tci_mask = _VLAN_TCI(key), _VLAN_TCI(mask)
    if tci & VLAN_PRESENT and (more or tci_mask):
        words += ["eth_type(0x8100)", f"vlan({_vlan(tci, tci_mask, more=more)})", f"encap({_joined(inner)})"]
    else:
        words += inner
    return (_METADATA if more else "") + _joined(words)


def _joined(words: Sequence[str]) -> str:
    return ",".join(filter(None, words))


def _vlan(tci: int, mask: int, *, more: bool) -> str:
    words = []
    vid, vid_mask, pcp, pcp_mask = tci & 0xFFF, mask & 0xFFF, tci >> 13, mask >> 13
    if more or vid or vid_mask:
        words.append(f"vid={vid}" + ("" if vid_mask == 0xFFF else f"/0x{vid_mask:x}"))
    if more or pcp or pcp_mask:
        words.append(f"pcp={pcp}" + ("" if pcp_mask == 7 else f"/0x{pcp_mask:x}"))
    return ",".join(words)


def _type_words(key: int, mask: int, *, more: bool) -> Iterator[str]:
    kind, bits = _DL_TYPE(key), _DL_TYPE(mask)
    if kind in _NO_TYPE:
        yield "eth_type(0/0xffff)" if bits else ""
    elif bits or more:
        yield f"eth_type(0x{kind:04x}" + (")" if bits == 0xFFFF else f"/0x{bits:04x})")


def _network_words(key: int, mask: int, *, more: bool) -> Iterator[str]:
    kind = _DL_TYPE(key)
    if kind in {_ARP, _RARP}:
        yield group_text("arp", key, mask, more=more)
        return
    if kind not in {_IPV4, _IPV6}:
        return
    fragment = _NW_FRAG(key)
    words = {0: "no", FRAG_ANY: "first"}
    seen = more or _NW_FRAG(mask)
    group = "ipv4" if kind == _IPV4 else "ipv6"
    yield group_text(group, key, mask, more=more, last=f"frag={words.get(fragment, 'later')}" if seen else "")
    if fragment & FRAG_LATER:
        return
    protocol = _NW_PROTO(key)
    if protocol in {_TCP, _UDP, _SCTP}:
        yield group_text({_TCP: "tcp", _UDP: "udp", _SCTP: "sctp"}[protocol], key, mask, more=more)
    if protocol == _TCP:
        flags, bits = _TCP_FLAGS(key), _TCP_FLAGS(mask)
        if bits or (more and flags):
            yield f"tcp_flags({tcp_flags_text(flags, bits)})"
    elif protocol == _ICMP and kind == _IPV4:
        yield group_text("icmp", key, mask, more=more)
    elif protocol == _ICMPV6 and kind == _IPV6:
        yield group_text("icmpv6", key, mask, more=more)
        if FIELDS["tp_src"].of(key) in _NEIGHBOR and FIELDS["tp_dst"].of(key) == 0:
            yield group_text("nd", key, mask, more=more)


# The line


def ufid_text(number: int) -> str:
    """Return the identity of a megaflow in the form of a ufid; the same number always gives the same."""
    digits = blake2b(number.to_bytes(16, "big"), digest_size=16).hexdigest()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def counters_text(flow: FlowView) -> str:
    """Return what a megaflow has forwarded: `packets:2, bytes:196, used:3.055s, flags:S.`."""
    used = "never" if flow.idle is None else f"{flow.idle:.3f}s"
    text = f"packets:{flow.packets}, bytes:{flow.size}, used:{used}"
    if flags := flow.tcp_flags:
        letters = "".join(letter for bit, letter in _FLAG_LETTERS.items() if flags & bit)
        text += f", flags:{letters}" + "".join(f"[{bit:x}]" for bit in (0x200, 0x400, 0x800) if flags & bit)
    return text


@lru_cache(1024)
def miniflow_bits(mask: int) -> str:
    """Return `miniflow_bits(A,B)`: how many words a comparison takes in the layout of Open vSwitch, before and after its word 64.

    The first four of A are always there: port, recirculation, Ethernet type and VLAN tag.
    """
    of = {name: field.of(mask) for name, field in FIELDS.items()}
    low64 = (1 << 64) - 1
    first = 4 + bool(of["dl_dst"] or of["dl_src"] >> 32) + bool(of["tun_id"])
    rest = [of["nw_src"] or of["nw_dst"], of["ipv6_label"] or of["nw_frag"] or of["nw_tos"] or of["nw_ttl"] or of["nw_proto"]]
    rest += [half for name in ("ipv6_src", "ipv6_dst", "nd_target") for half in (of[name] >> 64, of[name] & low64)]
    rest += [of["arp_sha"] or of["arp_tha"] >> 32, of["arp_tha"] & 0xFFFFFFFF or of["tcp_flags"], of["tp_src"] or of["tp_dst"]]
    return f"miniflow_bits({first},{sum(map(bool, rest))})"


def flow_text(flow: FlowView, names: Mapping[int, str] | None = None, *, more: bool = False) -> str:
    """Return the line of a megaflow in `dpctl/dump-flows`, without its end.

    Args:
        flow: its values.
        names: of ports by number, None for numbers.
        more: the text of `-m`.

    """
    match = match_text(flow.key, flow.mask, names, more=more)
    actions = actions_text(flow.actions, flow.key, names)
    text = f"{match}, {counters_text(flow)}, "
    if not more:
        return f"{text}actions:{actions}"
    return f"ufid:{ufid_text(flow.number)}, {text}dp:ovs, actions:{actions}, dp-extra-info:{miniflow_bits(flow.mask)}"


def flow_dump(flows: Sequence[FlowView], names: Mapping[int, str] | None = None, *, more: bool = False) -> str:
    """Return the text of `dpctl/dump-flows`: by thread, in the order in which they are given."""
    cores: list[int | None] = sorted({flow.core for flow in flows}, key=lambda core: (core is None, core))
    rows = []
    for core in cores:
        rows.append("flow-dump from the main thread:" if core is None else f"flow-dump from pmd on cpu core: {core}")
        rows += [flow_text(flow, names, more=more) for flow in flows if flow.core == core]
    return "".join(f"{row}\n" for row in rows)


def bridge_flow_dump(flows: Sequence[FlowView], names: Mapping[int, str] | None = None, *, more: bool = False) -> str:
    """Return the text of `dpif/dump-flows`, which says less of a flow."""
    rows = []
    for flow in flows:
        start = f"ufid:{ufid_text(flow.number)} " if more else ""
        match = match_text(flow.key, flow.mask, names, more=more)
        rows.append(f"{start}{match}, {counters_text(flow)}, actions:{actions_text(flow.actions, flow.key, names)}\n")
    return "".join(rows)


def in_port(flow: FlowView) -> int:
    """Return the number of the port on whose packets a megaflow waits."""
    return _IN_PORT(flow.key)
