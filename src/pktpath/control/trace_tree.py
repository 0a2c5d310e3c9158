"""What `ofproto/trace` is asked and tells: one packet in flow syntax, and the way that it took as a tree."""

from collections.abc import Iterable

from pktpath.control.dp_actions_text import actions_text
from pktpath.control.flow_actions import action_text
from pktpath.control.flow_match import MatchText, match_text
from pktpath.control.flow_values import Ports
from pktpath.control.flow_words import Word, refuse, words
from pktpath.control.trace_text import Kind, Trace, TraceNode
from pktpath.errors import BadInput
from pktpath.switch.fields import FIELDS, FRAG_LATER, VLAN_PRESENT, mask_of
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
)
from pktpath.switch.rules import Rule
from pktpath.switch.walk import Bucket, Final, Hit, Step, Tag
from pktpath.switch.xlate import Slow

_IGMP = 2
_LINK = mask_of("in_port", "dl_type", "vlan_tci", "dl_src", "dl_dst")
_IP = mask_of("nw_proto", "nw_tos", "nw_ttl", "nw_frag")
_NETWORK = {
    ETH_IP: _IP | mask_of("nw_src", "nw_dst"),
    ETH_IPV6: _IP | mask_of("ipv6_src", "ipv6_dst", "ipv6_label"),
    ETH_ARP: mask_of("nw_src", "nw_dst", "nw_proto", "arp_sha", "arp_tha"),
    ETH_RARP: mask_of("nw_src", "nw_dst", "nw_proto", "arp_sha", "arp_tha"),
}
_PORTED = {ETH_IP: (TCP, UDP, SCTP, ICMP, _IGMP), ETH_IPV6: (TCP, UDP, SCTP, ICMPV6)}
_IN_PORT, _VLAN, _TUN_ID = FIELDS["in_port"], FIELDS["vlan_tci"], FIELDS["tun_id"]
_INEXACT = frozenset({"*", "yes", "not_later"})
"""Values that stand for several; so do masks, and flags with signs."""


def parse_packet(text: str, ports: Ports) -> int:
    """Return the key of the one packet that a text like `in_port=1,tcp,tp_dst=80` means; what it does not name is 0.

    Its in_port is the bridge's number.
    """
    line = " ".join(text.split())
    try:
        return _packet(line, ports)
    except BadInput as error:
        said = f"Bad openflow flow syntax: {line}: {error}"
        raise BadInput(said) from None


def _packet(line: str, ports: Ports) -> int:
    match = MatchText(ports)
    seen: set[str] = set()
    for word in words(line):
        name = ALIASES.get(word.name, word.name)
        if name in seen:
            said = f"field {word.name} set multiple times"
            raise BadInput(said)
        seen.add(name)
        if word.value is None and name in SHORTHANDS:
            match.shorthand(name)
        elif name in FIELD_NAMES and not word.bracket:
            match.field(word.name, _exact(word))
        else:
            raise refuse(word, "field")
    key, _ = match.done()
    if "in_port" not in seen or _IN_PORT.of(key) not in ports.values():
        what = f"in_port={_IN_PORT.of(key)}: no port of this bridge" if "in_port" in seen else "in_port is missing"
        said = f"{what}; ports here: {', '.join(sorted(ports))}"
        raise BadInput(said)
    return key


def _exact(word: Word) -> str:
    if word.value is None:
        said = f"field {word.name} missing value"
        raise BadInput(said)
    if "/" in word.value or word.value in _INEXACT or word.value.startswith(("+", "-")):
        said = f"bad value for {word.name} ({word.value}: wildcards not allowed here)"
        raise BadInput(said)
    return word.value


def trace(slow: Slow, name: str, packet: int) -> Trace:
    """Send a packet (a key whose in_port is the bridge's number) through the tables of a bridge; nothing is changed by it."""
    port = slow.bridges[name].ports[_IN_PORT.of(packet)]
    steps: list[Step] = []
    key = _IN_PORT.put(packet, port.number)
    translation = slow.translate(key, packets=0, learn=False, trace=steps)
    final = next((step.what for step in steps if isinstance(step.what, Final)), Final(packet, ()))
    changed = final.key != packet or len(final.tags) > 1
    mask = translation.mask
    if not _VLAN.of(packet) & VLAN_PRESENT:
        # That there is no tag is in the Ethernet type, and Open vSwitch does not say it twice.
        mask &= ~_VLAN.mask
    return Trace(
        flow=packet_text(packet),
        bridge=name,
        nodes=nodes_of(steps),
        final=packet_text(final.key, final.tags) if changed else None,
        megaflow=f"recirc_id=0,eth,{match_text(packet, mask)}",
        actions=actions_text(translation.actions, key),
        failure=next((one for _, one in steps if isinstance(one, str) and one.startswith("Translation failed")), ""),
    )


def packet_text(key: int, tags: tuple[Tag, ...] = ()) -> str:
    """Return all fields of a packet in flow syntax, the zeros too.

    Args:
        key: with the bridge's number as in_port.
        tags: where it may have more than the one that is in the key; the outer one last.

    """
    text = match_text(key, _fields_of(key))
    if not _VLAN.of(key):
        return text
    second = f"dl_vlan1={tags[-2][1] & 0xFFF},dl_vlan_pcp1={tags[-2][1] >> 13}" if len(tags) > 1 else "vlan_tci1=0x0000"
    return text.replace(",dl_src=", f",{second},dl_src=", 1)


def _fields_of(key: int) -> int:
    """Return the bits of the fields that a packet of this key has."""
    dl_type, proto = FIELDS["dl_type"].of(key), FIELDS["nw_proto"].of(key)
    mask = _LINK | _NETWORK.get(dl_type, 0) | (_TUN_ID.mask if key & _TUN_ID.mask else 0)
    if proto in _PORTED.get(dl_type, ()) and not FIELDS["nw_frag"].of(key) & FRAG_LATER:
        mask |= mask_of("tp_src", "tp_dst")
        mask |= mask_of("tcp_flags") if proto == TCP else 0
        neighbor = proto == ICMPV6 and FIELDS["tp_src"].of(key) in (ND_SOLICIT, ND_ADVERT) and not FIELDS["tp_dst"].of(key)
        mask |= mask_of("nd_target", "arp_sha", "arp_tha") if neighbor else 0
    return mask


def nodes_of(steps: Iterable[Step]) -> list[TraceNode]:
    """Return the steps of a translation as a tree: what a table led to stands in it."""
    top: list[TraceNode] = []
    # What is open, innermost last: how deep steps are that belong there, and where they go.
    stack: list[tuple[int, list[TraceNode]]] = [(0, top)]
    buckets: list[list[TraceNode]] = []
    for depth, what in steps:
        while stack[-1][0] > depth:
            stack.pop()
        nodes = stack[-1][1]
        match what:
            case Final():
                pass
            case Hit(table, rule):
                # A mirror looks at a packet before the first table does, and Open vSwitch tells it there.
                inner = [] if len(stack) > 1 else top.copy()
                del nodes[len(nodes) - len(inner) :]
                nodes.append(TraceNode(Kind.TABLE, "No match." if rule is None else _rule(rule), table, inner))
                stack.append((depth, inner))
                if rule is None or not rule.actions:
                    inner.append(TraceNode(Kind.ACTION, "drop"))
            case Bucket(number):
                buckets.append([])
                nodes.append(TraceNode(Kind.ACTION, f"bucket {number}", nodes=buckets[-1]))
                stack.append((depth + 1, buckets[-1]))
            case str():
                if not what.startswith("Translation failed"):
                    nodes.append(_remark(what))
            case _:
                nodes.append(TraceNode(Kind.ACTION, action_text(what)))
    for bucket in buckets:
        if not bucket:
            bucket.append(TraceNode(Kind.ACTION, "drop"))
    return top


def _remark(text: str) -> TraceNode:
    mark, _, said = text.partition(" ")
    kind = {"->": Kind.DETAIL, ">>": Kind.WARNING, ">>>>": Kind.ERROR}[mark]
    return TraceNode(kind, said.removesuffix(" <<<<"))


def _rule(rule: Rule) -> str:
    match = match_text(rule.value, rule.mask)
    cookie = f", cookie {rule.cookie:#x}" if rule.cookie else ""
    return f"{match + ', ' if match else ''}priority {rule.priority}{cookie}"
