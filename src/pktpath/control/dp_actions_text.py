"""Actions of a megaflow as `dpctl/dump-flows` of Open vSwitch 3.1 writes them."""

from collections.abc import Iterator, Mapping

from pktpath.control.dp_groups import GROUPS, group_text, port_name
from pktpath.switch.actions import Actions, Controller, Meter, Output, PopVlan, PushVlan, Set
from pktpath.switch.fields import FIELDS, VLAN_PRESENT

_ARP, _IPV6 = (0x0806, 0x8035), 0x86DD
_TRANSPORTS = {6: "tcp", 17: "udp", 132: "sctp", 1: "icmp", 58: "icmpv6"}


def actions_text(actions: Actions, key: int = 0, names: Mapping[int, str] | None = None) -> str:
    """Return the actions: `set(ipv4(ttl=63)),2`, or `drop`.

    Args:
        actions: what is done, in order; writes of one group that follow each other stand together.
        key: key of a packet, which says of which protocol a port or an address is.
        names: of ports by number, None for numbers.

    """
    return ",".join(_words(actions, key, names)) or "drop"


def _words(actions: Actions, key: int, names: Mapping[int, str] | None) -> Iterator[str]:
    tci = FIELDS["vlan_tci"].of(key)
    group, value, mask = "", 0, 0
    for action in actions:
        if isinstance(action, Set) and action.field != "vlan_tci":
            field, wanted = FIELDS[action.field], _group(action.field, key)
            if group != wanted:
                yield from _set(group, value, mask)
                group, value, mask = wanted, 0, 0
            bits = field.of(mask) | action.mask
            value = field.put(value, field.of(value) & ~action.mask | action.value & action.mask)
            mask = field.put(mask, bits)
            continue
        yield from _set(group, value, mask)
        group, value, mask = "", 0, 0
        match action:
            case Output(port):
                yield port_name(port, names)
            case PushVlan(tpid, pushed):
                tci = pushed | VLAN_PRESENT
                yield _push(tpid, tci)
            case PopVlan():
                tci = 0
                yield "pop_vlan"
            case Set(_, new, bits):
                # The datapath of Open vSwitch writes a tag by another one.
                tci = tci & ~bits | new & bits | VLAN_PRESENT
                yield f"pop_vlan,{_push(0x8100, tci)}"
            case Meter(number):
                yield f"meter({number})"
            case Controller(max_len, controller, reason):
                yield (
                    f"userspace(pid=0,controller(reason={reason},dont_send=0,continuation=0,recirc_id=0,rule_cookie=0,"
                    f"controller_id={controller},max_len={max_len}))"
                )
    yield from _set(group, value, mask)


def _set(group: str, value: int, mask: int) -> Iterator[str]:
    if group and (text := group_text(group, value, mask)):
        yield f"set({text})"


def _push(tpid: int, tci: int) -> str:
    first = "" if tpid == 0x8100 else f"tpid=0x{tpid:04x},"
    return f"push_vlan({first}vid={tci & 0xFFF},pcp={tci >> 13})"


def _group(field: str, key: int) -> str:
    """Return in which group a field is written in packets of this key."""
    kind, protocol = FIELDS["dl_type"].of(key), FIELDS["nw_proto"].of(key)
    if field in {"tp_src", "tp_dst"}:
        return _TRANSPORTS.get(protocol, "tcp")
    network = "arp" if kind in _ARP else "ipv6" if kind == _IPV6 else "ipv4"
    neighbor = "nd" if kind == _IPV6 else "arp"
    for group in ("eth", network, neighbor, "ipv4", "ipv6", "arp", "nd"):
        if any(part[1] == field for part in GROUPS[group]):
            return group
    message = f"{field} cannot be written"
    raise ValueError(message)
