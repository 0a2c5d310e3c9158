"""Actions of a flow: from ovs-ofctl's words, and back as `dump-flows` prints them.

Printed is what Open vSwitch prints without -O: `mod_nw_src`, `load:`; three actions have no word there (push_vlan, meter,
goto_table) and stand as OpenFlow 1.3 has them, where `dump-flows` of Open vSwitch would leave them out.
"""

import re
from typing import TYPE_CHECKING

from pktpath.control.flow_values import Ports, address, address_text, mac, mac_text, number, port, port_text, value_and_mask
from pktpath.control.flow_words import Word, refuse, words
from pktpath.errors import BadInput
from pktpath.switch import openflow as of
from pktpath.switch.fields import FIELDS, VLAN_PRESENT
from pktpath.switch.openflow_fields import ALIASES, FIELD_NAMES, LOADABLE, FieldName, Needs

if TYPE_CHECKING:
    from collections.abc import Callable

_RESERVED = {"normal", "flood", "all", "local", "in_port", "controller"}
_VLAN = FIELDS["vlan_tci"]
_ADDRESS = {"mod_dl_src": "eth_src", "mod_dl_dst": "eth_dst", "mod_nw_src": "ip_src", "mod_nw_dst": "ip_dst"}
_NUMBERS = {
    "mod_nw_tos": ("nw_tos", 255), "mod_nw_ecn": ("nw_ecn", 3), "mod_nw_ttl": ("nw_ttl", 255),
    "mod_tp_src": ("tp_src", 0xFFFF), "mod_tp_dst": ("tp_dst", 0xFFFF),
}  # fmt: skip
_MOD = {
    "eth_src": "mod_dl_src", "eth_dst": "mod_dl_dst", "ip_src": "mod_nw_src", "ip_dst": "mod_nw_dst", "nw_tos": "mod_nw_tos",
    "ip_dscp": "mod_nw_tos", "tp_src": "mod_tp_src", "tp_dst": "mod_tp_dst", "tcp_src": "mod_tp_src", "tcp_dst": "mod_tp_dst",
    "udp_src": "mod_tp_src", "udp_dst": "mod_tp_dst", "sctp_src": "mod_tp_src", "sctp_dst": "mod_tp_dst",
}  # fmt: skip
_SUBFIELD = re.compile(r"(\w+)(?:\[(?:(\d+)(?:\.\.(\d+))?)?\])?")


class ActionText:
    """Reads a list of actions; `match` (value and mask) says what the packets have that will come to them, None in a bucket."""

    def __init__(self, ports: Ports | None, match: tuple[int, int] | None, table: int | None) -> None:
        self._ports = ports
        self._match = match
        self._table = table
        self._tagged = match is None or bool(match[0] & match[1] & VLAN_PRESENT << _VLAN.shift)

    def read(self, text: str) -> of.OfActions:
        """Return the actions of a text; an empty one drops."""
        found: list[of.OfAction] = []
        listed = words(text)
        for word in listed:
            if word.name.lower() == "drop" and word.value is None:
                if len(listed) > 1:
                    said = "'drop' must not be accompanied by any other action"
                    raise BadInput(said)
                return ()
            if found and isinstance(found[-1], of.GotoTable):
                said = f"'{word.text}': goto_table must be the last action"
                raise BadInput(said)
            found += self._one(word)
        return tuple(found)

    def _one(self, word: Word) -> list[of.OfAction]:
        name, value = word.name.lower(), word.value
        if value is None or (word.bracket and not value and name in {"controller", "dec_ttl"}):
            return [self._bare(word, name)]
        reader: Callable[[str, Word], list[of.OfAction]] | None = getattr(self, f"_read_{name}", None)
        if reader:
            return reader(value, word)
        if name in _ADDRESS:
            field = FIELD_NAMES[_ADDRESS[name]]
            wanted = mac(value, name) if field.bits == 48 else address(value, name, 32)
            return [of.SetField(field.name, wanted, field.full)]
        if name in _NUMBERS:
            return [self._mod(name, value)]
        if name in {"mod_vlan_vid", "set_vlan_vid", "mod_vlan_pcp", "set_vlan_pcp"}:
            return [self._vlan(name, value)]
        raise refuse(word, "action")

    def _bare(self, word: Word, name: str) -> of.OfAction:
        if name in {"pop_vlan", "strip_vlan"}:
            self._tagged = False
            return of.PopVlan()
        if name == "dec_ttl":
            return of.DecTtl()
        if name == "controller":
            return of.ToController()
        if name in _RESERVED or name.isdigit() or (self._ports and word.name.strip('"') in self._ports):
            return of.Output(port(word.name, self._ports, "output"))
        raise refuse(word, "action")

    def _read_output(self, value: str, word: Word) -> list[of.OfAction]:
        if word.bracket:
            parts = {part.name: part.value or "" for part in words(value)}
            if set(parts) != {"port", "max_len"}:
                said = f"'{word.text}': output(port=…,max_len=…) is what may stand here"
                raise BadInput(said)
            said = f"'{word.text}': cutting packets (max_len) is not there; this switch refuses what it cannot do"
            raise BadInput(said)
        if "[" in value:
            what = "a register is" if "REG" in value.upper() else "output to the number in a field is"
            said = f"'{word.text}': {what} not there; this switch refuses what it cannot do"
            raise BadInput(said)
        number_of = port(value, self._ports, "output")
        return [of.ToController()] if number_of == of.CONTROLLER else [of.Output(number_of)]

    def _read_controller(self, value: str, word: Word) -> list[of.OfAction]:
        if not word.bracket:
            return [of.ToController(number(value, 65535, "controller"))]
        most, reason, controller = 65535, of.ACTION, 0
        for part in words(value):
            if part.name == "max_len" and part.value is not None:
                most = number(part.value, 65535, "max_len")
            elif part.name == "reason" and part.value in of.REASONS:
                reason = of.REASONS[part.value]
            elif part.name == "id" and part.value is not None:
                controller = number(part.value, 0xFFFF, "id")
            else:
                said = f"'{word.text}': {part.text}: max_len, id and reason ({', '.join(of.REASONS)}) may stand here"
                raise BadInput(said)
        return [of.ToController(most, reason, controller)]

    def _read_resubmit(self, value: str, word: Word) -> list[of.OfAction]:
        port_word, comma, table = value.partition(",")
        if not word.bracket and comma:
            raise refuse(word, "action")
        if table.strip().endswith("ct"):
            raise refuse(Word("ct", table), "action")
        where = None if port_word in {"", "in_port"} else port(port_word, self._ports, "resubmit")
        return [of.Resubmit(where, number(table.strip(), of.MAX_TABLE, "resubmit table") if table.strip() else None)]

    def _read_goto_table(self, value: str, word: Word) -> list[of.OfAction]:
        table = number(value, of.MAX_TABLE, "goto_table")
        if self._table is not None and table <= self._table:
            said = f"'{word.text}': only forward, to a table after {self._table} (resubmit goes anywhere)"
            raise BadInput(said)
        return [of.GotoTable(table)]

    def _read_group(self, value: str, _word: Word) -> list[of.OfAction]:
        return [of.Group(number(value, 0xFFFFFF00, "group"))]

    def _read_meter(self, value: str, _word: Word) -> list[of.OfAction]:
        return [of.Meter(number(value, 0xFFFF0000, "meter"))]

    def _read_set_tunnel(self, value: str, _word: Word) -> list[of.OfAction]:
        return [of.SetField("tun_id", number(value, (1 << 64) - 1, "set_tunnel"), (1 << 64) - 1)]

    _read_set_tunnel64 = _read_set_tunnel

    def _read_dec_ttl(self, value: str, _word: Word) -> list[of.OfAction]:
        return [of.DecTtl(tuple(number(one.strip(), 0xFFFF, "dec_ttl") for one in value.split(",")))]

    def _read_push_vlan(self, value: str, word: Word) -> list[of.OfAction]:
        tpid = number(value, 0xFFFF, "push_vlan")
        if tpid not in {0x8100, 0x88A8}:
            said = f"'{word.text}': not a valid VLAN ethertype (0x8100 or 0x88a8)"
            raise BadInput(said)
        self._tagged = True
        return [of.PushVlan(tpid)]

    def _read_set_field(self, value: str, word: Word) -> list[of.OfAction]:
        text, arrow, target = value.partition("->")
        alias = {"tp_src": "tcp_src", "tp_dst": "tcp_dst"}.get(target, target)
        field = FIELD_NAMES.get(ALIASES.get(alias, alias))
        if not arrow or field is None:
            raise refuse(Word(f"set_field:{text}->{target}" if arrow else "set_field", value), "field of")
        self._writable(field, word)
        if field.name in {"dl_vlan", "vlan_vid"}:
            wanted, mask = value_and_mask(text, FIELD_NAMES["vlan_vid"], target, None)
            if mask | VLAN_PRESENT == 0x1FFF:
                self._needs(field, word, Needs.VLAN)
                return [of.ModVlanVid(wanted & 0xFFF, push=False)]
            return [of.SetField("vlan_tci", wanted & 0xFFF, mask & 0xFFF)]
        if field.name in {"dl_vlan_pcp", "vlan_pcp"}:
            self._needs(field, word, Needs.VLAN)
            return [of.ModVlanPcp(number(text, 7, target), push=False)]
        wanted, mask = value_and_mask(text, field, target, self._ports)
        if field.name == "nw_tos":
            wanted, mask = wanted & 0xFC, 0xFC
        self._needs(field, word, field.needs)
        return [of.SetField(field.name, wanted, mask, load=field.name == "tun_id")]

    def _read_load(self, value: str, word: Word) -> list[of.OfAction]:
        text, arrow, target = value.partition("->")
        found = _SUBFIELD.fullmatch(target)
        name = found.group(1) if found else ""
        field = LOADABLE.get(name) or FIELD_NAMES.get(ALIASES.get(name, name))
        if not arrow or found is None or field is None:
            raise refuse(Word("load", value), "field of")
        self._writable(field, word)
        first = int(found.group(2)) if found.group(2) else 0
        last = int(found.group(3) or first) if found.group(2) else field.bits - 1
        wanted = number(text, (1 << 128) - 1, "load")
        if not first <= last < field.bits or wanted >> last - first + 1:
            said = f"'{word.text}': does not fit into bits {first} to {last} of a field of {field.bits} bits"
            raise BadInput(said)
        self._needs(field, word, field.needs)
        mask = (1 << last - first + 1) - 1 << first
        if field.name == "nw_tos":
            mask &= 0xFC
        if field.key == "vlan_tci":
            mask, wanted, field = mask << field.low, wanted << field.low, FIELD_NAMES["vlan_tci"]
        return [of.SetField(field.name, wanted << first & mask, mask, load=True)]

    def _mod(self, name: str, value: str) -> of.OfAction:
        field, most = _NUMBERS[name]
        wanted = number(value, most, name)
        if name == "mod_nw_tos" and wanted & 3:
            said = f"{name}:{value}: not a valid TOS: the two lower bits are ECN (mod_nw_ecn)"
            raise BadInput(said)
        return of.SetField(field, wanted, 0xFC if name == "mod_nw_tos" else FIELD_NAMES[field].full)

    def _vlan(self, name: str, value: str) -> of.OfAction:
        if name.startswith("set_"):
            self._needs(FIELD_NAMES["dl_vlan"], Word(name, value), Needs.VLAN)
        self._tagged = True
        if name.endswith("vid"):
            return of.ModVlanVid(number(value, 0xFFF, name), push=name.startswith("mod_"))
        return of.ModVlanPcp(number(value, 7, name), push=name.startswith("mod_"))

    @staticmethod
    def _writable(field: FieldName, word: Word) -> None:
        if field.name.startswith("icmp"):
            said = f"'{word.text}': writing {field.name} is not there; this switch refuses what it cannot do"
            raise BadInput(said)
        if not field.nxm and field.name not in {"dl_vlan", "dl_vlan_pcp"}:
            said = f"'{word.text}': {field.name} is read-only"
            raise BadInput(said)

    def _needs(self, field: FieldName, word: Word, needs: Needs) -> None:
        if self._match is None or needs is Needs.NOTHING:
            return
        if not (self._tagged if needs is Needs.VLAN else needs.met(*self._match)):
            said = f"'{word.text}': prerequisites not met for setting {field.name}: the flow must match {needs.value[3]}"
            raise BadInput(said)


def actions_text(actions: of.OfActions) -> str:
    """Return actions as `dump-flows` prints them."""
    return ",".join(action_text(action) for action in actions) or "drop"


def action_text(action: of.OfAction) -> str:
    """Return one action as `dump-flows` and `ofproto/trace` print it."""
    match action:
        case of.Output(number_of, _):
            return port_text(number_of) if number_of in of.RESERVED_NAMES else f"output:{number_of}"
        case of.SetField():
            return _set_text(action)
        case of.ModVlanVid(vid, _):
            return f"mod_vlan_vid:{vid}"
        case of.ModVlanPcp(pcp, _):
            return f"mod_vlan_pcp:{pcp}"
        case of.PushVlan(tpid):
            return f"push_vlan:0x{tpid:04x}"
        case of.PopVlan():
            return "strip_vlan"
        case of.DecTtl(controllers):
            return "dec_ttl" if controllers == (0,) else f"dec_ttl({','.join(map(str, controllers))})"
        case of.Resubmit(where, None):
            return f"resubmit:{port_text(of.IN_PORT if where is None else where)}"
        case of.Resubmit(where, table):
            return f"resubmit({'' if where is None else port_text(where)},{table})"
        case of.GotoTable(table):
            return f"goto_table:{table}"
        case of.ToController(most, reason, controller):
            return _controller_text(most, reason, controller)
        case of.Group(group):
            return f"group:{group}"
        case of.Meter(meter):
            return f"meter:{meter}"


def _controller_text(most: int, reason: int, controller: int) -> str:
    if reason == of.ACTION and not controller:
        return f"CONTROLLER:{most}"
    parts = [f"reason={word}" for word, number_of in of.REASONS.items() if number_of == reason != of.ACTION]
    parts += [f"max_len={most}"] if most != 65535 else []
    parts += [f"id={controller}"] if controller else []
    return f"controller({','.join(parts)})"


def _set_text(action: of.SetField) -> str:
    name, value, mask, load = action
    field = FIELD_NAMES[name]
    whole = mask == (0xFC if name == "nw_tos" else field.full)
    if not load and whole and name in _MOD:
        shown = mac_text(value) if field.bits == 48 else address_text(value, 32) if field.bits == 32 else str(value << field.low)
        return f"{_MOD[name]}:{shown}"
    if not load and name == "tun_id":
        return f"set_tunnel{'64' if value >> 32 else ''}:0x{value:x}"
    if not load and name == "vlan_tci" and whole:
        vlan = f"mod_vlan_vid:{value & 0xFFF},mod_vlan_pcp:{value >> 13}"
        return vlan if value & VLAN_PRESENT else "strip_vlan"
    return ",".join(f"load:0x{part:x}->{field.nxm}{bits}" for part, bits in _runs(value, mask, field.bits))


def _runs(value: int, mask: int, bits: int) -> list[tuple[int, str]]:
    """Return the runs of set bits of a mask, each at most 64 long, with the value's bits in it, lowest first."""
    found = []
    first = 0
    while mask >> first:
        if not mask >> first & 1:
            first += 1
            continue
        last = first
        while last + 1 < bits and mask >> last + 1 & 1 and last + 1 - first < 64:
            last += 1
        part = value >> first & (1 << last - first + 1) - 1
        name = "[]" if last - first + 1 == bits else f"[{first}]" if first == last else f"[{first}..{last}]"
        found.append((part, name))
        first = last + 1
    return found
