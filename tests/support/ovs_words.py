"""Open vSwitch's words for datapath actions and megaflows, as far as the tests meet them."""

import ipaddress

from pktpath.control.flow_match import MatchText
from pktpath.control.flow_words import words
from pktpath.switch import actions as dp
from pktpath.switch.fields import FIELDS
from pktpath.switch.openflow_fields import ALIASES, FIELD_NAMES, SHORTHANDS

_SETS = {
    "eth": {"dl_src": "src", "dl_dst": "dst"},
    "ipv4": {"nw_src": "src", "nw_dst": "dst", "nw_tos": "tos", "nw_ttl": "ttl"},
    "ipv6": {"ipv6_src": "src", "ipv6_dst": "dst", "ipv6_label": "label", "nw_tos": "tclass", "nw_ttl": "hlimit"},
    "l4": {"tp_src": "src", "tp_dst": "dst"},
}


def actions_words(actions, key):
    """Return datapath actions as `Datapath actions:` of ofproto/trace names them, for a packet of this key."""
    layer3 = "ipv6" if FIELDS["dl_type"].of(key) == 0x86DD else "ipv4"
    layer4 = {6: "tcp", 17: "udp", 132: "sctp"}.get(FIELDS["nw_proto"].of(key), "")
    said = []
    last = ""
    for action in actions:
        group = ""
        match action:
            case dp.Output(port):
                said.append(str(port))
            case dp.PushVlan(tpid, tci):
                kind = "" if tpid == 0x8100 else f"tpid=0x{tpid:x},"
                said.append(f"push_vlan({kind}vid={tci & 0xFFF},pcp={tci >> 13})")
            case dp.PopVlan():
                said.append("pop_vlan")
            case dp.Set("vlan_tci", value, _):
                said += ["pop_vlan", f"push_vlan(vid={value & 0xFFF},pcp={value >> 13})"]
            case dp.Set(name, value, mask):
                group = next(one for one in ("eth", layer3, "l4") if name in _SETS[one])
                text = f"{_SETS[group][name]}={_value(name, value, mask)}"
                if group == last:
                    said[-1] = said[-1][:-2] + "," + text + "))"
                else:
                    said.append(f"set({layer4 if group == 'l4' else group}({text}))")
            case dp.Meter(number):
                said.append(f"meter({number - 1})")
            case dp.Controller(_, _, reason):
                said.append(f"controller({reason})")
        last = group
    return ",".join(said) or "drop"


def _value(name, value, mask):
    full = mask == (1 << FIELDS[name].bits) - 1 or name == "ipv6_label"
    match name:
        case "dl_src" | "dl_dst":
            return value.to_bytes(6, "big").hex(":") + ("" if full else "/" + mask.to_bytes(6, "big").hex(":"))
        case "nw_src" | "nw_dst":
            return str(ipaddress.IPv4Address(value)) + ("" if full else f"/{ipaddress.IPv4Address(mask)}")
        case "ipv6_src" | "ipv6_dst":
            return str(ipaddress.IPv6Address(value))
        case "nw_tos" | "ipv6_label":
            return f"0x{value:x}" + ("" if full else f"/0x{mask:x}")
    return str(value)


def megaflow_mask(text):
    """Return the mask that a line `Megaflow: …` means."""
    match = MatchText(None)
    icmp = 0
    for word in words(text):
        if word.name in {"recirc_id", "eth"} or word.name.startswith("vlan_tci1"):
            continue
        if word.value is None:
            assert word.name in SHORTHANDS
            match.shorthand(word.name)
        elif word.name in {"icmp_type", "icmp_code"}:
            # A mask on a field that flows match whole is the datapath's way.
            bits = int(word.value.partition("/")[2] or "0xff", 0)
            icmp |= bits << FIELDS["tp_src" if word.name == "icmp_type" else "tp_dst"].shift
        else:
            assert ALIASES.get(word.name, word.name) in FIELD_NAMES
            match.field(word.name, word.value)
    return match.mask | icmp
