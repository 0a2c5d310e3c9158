"""The lines of `dpctl/dump-flows -m` of Open vSwitch, read back into values: what a test feeds to our own texts."""

import ipaddress
import re

from pktpath.switch import actions as act
from pktpath.switch.fields import FIELDS
from pktpath.switch.views import FlowView

FRAG = {"no": 0, "first": 1, "later": 3}
TCP_FLAGS = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns"]
LETTERS = {"F": 1, "S": 2, "R": 4, "P": 8, ".": 16, "U": 32, "E": 64, "C": 128, "N": 256}
PORTS = {"src": "tp_src", "dst": "tp_dst"}
IP = {"proto": "nw_proto", "ttl": "nw_ttl", "hlimit": "nw_ttl", "tos": "nw_tos", "tclass": "nw_tos", "frag": "nw_frag"}
WORDS = {
    "eth": {"src": "dl_src", "dst": "dl_dst"},
    "arp": {"sip": "nw_src", "tip": "nw_dst", "op": "nw_proto", "sha": "arp_sha", "tha": "arp_tha"},
    "ipv4": {"src": "nw_src", "dst": "nw_dst", **IP},
    "ipv6": {"src": "ipv6_src", "dst": "ipv6_dst", "label": "ipv6_label", **IP},
    "tcp": PORTS,
    "udp": PORTS,
    "sctp": PORTS,
    "icmp": {"type": "tp_src", "code": "tp_dst"},
    "icmpv6": {"type": "tp_src", "code": "tp_dst"},
    "nd": {"target": "nd_target", "sll": "arp_sha", "tll": "arp_tha"},
}


def split(text):
    """Words at commas that stand in no parentheses."""
    words, depth, start = [], 0, 0
    for at, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if sign == "," and depth == 0:
            words.append(text[start:at])
            start = at + 1
    return [*words, text[start:]]


def number(text):
    if re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", text):
        return int(text.replace(":", ""), 16)
    if "." in text or ":" in text:
        return int(ipaddress.ip_address(text))
    return FRAG[text] if text in FRAG else int(text, 0)


def put(pair, field, text, whole=None):
    value, _, mask = text.partition("/")
    pair[0] = FIELDS[field].put(pair[0], number(value))
    pair[1] = FIELDS[field].put(pair[1], number(mask) if mask else whole or (1 << FIELDS[field].bits) - 1)


def parse_flags(text):
    if text == "0/0":
        return 0, 0
    if text[0] in "+-":
        signs = re.findall(r"([+-])([a-z]+)", text)
        bits = {name: 1 << TCP_FLAGS.index(name) for _, name in signs}
        return sum(bits[name] for sign, name in signs if sign == "+"), sum(bits.values())
    return (0 if text == "0" else sum(1 << TCP_FLAGS.index(name) for name in text.split("|"))), 0xFFF


def parse_match(text, numbers):
    """Key and mask."""
    pair = [0, 0]
    todo = split(text)
    for word in todo:
        name, _, inside = word.partition("(")
        inside = inside.removesuffix(")")
        if name == "in_port":
            put(pair, "in_port", str(numbers[inside]))
        elif name == "eth_type":
            value, _, mask = inside.partition("/")
            pair[0] = FIELDS["dl_type"].put(pair[0], int(value, 0))
            pair[1] = FIELDS["dl_type"].put(pair[1], int(mask or "0xffff", 0))
        elif name == "vlan":
            pairs = dict(part.split("=") for part in inside.split(","))
            (vid, vid_mask), (pcp, pcp_mask) = ((*pairs[key].split("/"), None)[:2] for key in ("vid", "pcp"))
            tci_mask = (0xFFF if vid_mask is None else int(vid_mask, 0)) | (7 if pcp_mask is None else int(pcp_mask, 0)) << 13
            pair[0] = FIELDS["vlan_tci"].put(pair[0], int(vid) | int(pcp) << 13 | 0x1000)
            pair[1] = FIELDS["vlan_tci"].put(pair[1], tci_mask | 0x1000)
        elif name == "encap":
            todo.extend(split(inside))
        elif name == "tcp_flags":
            flags, mask = parse_flags(inside)
            pair[0], pair[1] = FIELDS["tcp_flags"].put(pair[0], flags), FIELDS["tcp_flags"].put(pair[1], mask)
        elif name in WORDS:
            for part in split(inside):
                key, _, value = part.partition("=")
                put(pair, WORDS[name][key], value)
    return pair


def parse_actions(text, numbers):
    found = []
    for word in [] if text == "drop" else split(text):
        name, _, inside = word.partition("(")
        inside = inside.removesuffix(")")
        if not inside and name != "pop_vlan":
            found.append(act.Output(numbers[name]))
        elif name == "pop_vlan":
            found.append(act.PopVlan())
        elif name == "push_vlan":
            pairs = {key: int(value, 0) for key, value in (part.split("=") for part in inside.split(","))}
            found.append(act.PushVlan(pairs.get("tpid", 0x8100), pairs["vid"] | pairs["pcp"] << 13))
        elif name == "meter":
            found.append(act.Meter(int(inside)))
        elif name == "userspace":
            pairs = dict(re.findall(r"(\w+)=(\w+)", inside))
            found.append(act.Controller(int(pairs["max_len"]), int(pairs["controller_id"]), int(pairs["reason"])))
        elif name == "set":
            group, _, fields = inside.partition("(")
            for part in split(fields.removesuffix(")")):
                key, _, value = part.partition("=")
                value, _, mask = value.partition("/")
                field = WORDS[group][key]
                whole = {"nw_tos": 0xFF, "ipv6_label": 0xFFFFF}.get(field, (1 << FIELDS[field].bits) - 1)
                found.append(act.Set(field, number(value), number(mask) if mask else whole))
    return tuple(found)


def parse_flow(line, core, numbers):
    """The flow, and its ufid; None where it does what our datapath has no action for."""
    ufid, rest = re.fullmatch(r"ufid:([0-9a-f-]+), (.*)", line).groups()
    match, rest = re.fullmatch(r"(.*\)), (packets:.*)", rest).groups()
    stats = re.match(r"packets:(\d+), bytes:(\d+), used:(never|[\d.]+s),(?: flags:([A-Z.]+),)?", rest)
    actions = re.search(r"actions:(.*), dp-extra-info", rest).group(1)
    if "slow_path" in actions or "recirc(" in actions:
        return None
    key, mask = parse_match(match, numbers)
    packets, size, used, letters = stats.groups()
    flags = sum(LETTERS[letter] for letter in letters or "")
    idle = None if used == "never" else float(used[:-1])
    flow = FlowView(key, mask, parse_actions(actions, numbers), int(packets), int(size), idle, flags, core, int(ufid[:8], 16))
    return flow, ufid


def parse_dump(text, numbers):
    """Flows of a whole dump with their lines."""
    core, found = None, []
    for line in text.splitlines():
        if line.startswith("flow-dump"):
            core = None if "main" in line else int(line.rpartition(" ")[2])
        elif (got := parse_flow(line, core, numbers)) is not None:
            found.append((*got, line))
    return found
