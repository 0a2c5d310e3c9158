"""Values of fields as ovs-ofctl writes and reads them."""

import ipaddress
import re
from collections.abc import Mapping

from pktpath.errors import BadInput
from pktpath.switch.openflow import ALL, CONTROLLER, FLOOD, IN_PORT, LOCAL, MAX_PORT, NORMAL, RESERVED_NAMES
from pktpath.switch.openflow_fields import FieldName, Kind

Ports = Mapping[str, int]
"""OpenFlow numbers by port name."""

TCP_FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns")
FRAGMENTS = {"no": (0, 3), "yes": (1, 1), "first": (1, 3), "later": (3, 3), "not_later": (0, 2)}
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|0|[1-9][0-9]*")
_MAC = re.compile(r"[0-9a-fA-F]{1,2}(:[0-9a-fA-F]{1,2}){5}")


def number(text: str, most: int, what: str) -> int:
    """Return a number, decimal or 0x…, of at most `most`."""
    if not _NUMBER.fullmatch(text):
        said = f"{what}={text}: not a number (decimal or 0x…)"
        raise BadInput(said)
    value = int(text, 0)
    if value > most:
        said = f"{what}={text}: more than {most}"
        raise BadInput(said)
    return value


def port(text: str, ports: Ports | None, what: str) -> int:
    """Return the OpenFlow number of a port: a number, a name of the bridge's, or LOCAL and its like."""
    name = text.strip('"')
    reserved = {"in_port": IN_PORT, "normal": NORMAL, "flood": FLOOD, "all": ALL, "controller": CONTROLLER, "local": LOCAL}
    if ports and name in ports:
        return ports[name]
    if name.lower() in reserved:
        return reserved[name.lower()]
    if _NUMBER.fullmatch(name) and (int(name, 0) <= MAX_PORT or int(name, 0) in RESERVED_NAMES):
        return int(name, 0)
    known = f"; ports here: {', '.join(sorted(ports))}" if ports else ""
    said = f"{what}={text}: no port of this bridge, no number from 0 to {MAX_PORT} and not LOCAL{known}"
    raise BadInput(said)


def mac(text: str, what: str) -> int:
    """Return an Ethernet address."""
    if not _MAC.fullmatch(text):
        said = f"{what}={text}: not an Ethernet address (xx:xx:xx:xx:xx:xx)"
        raise BadInput(said)
    return int("".join(part.zfill(2) for part in text.split(":")), 16)


def address(text: str, what: str, bits: int) -> int:
    """Return an IPv4 (32 bits) or IPv6 address."""
    kind = ipaddress.IPv4Address if bits == 32 else ipaddress.IPv6Address
    try:
        return int(kind(text))
    except ValueError:
        said = f"{what}={text}: not an {'IPv4' if bits == 32 else 'IPv6'} address"
        raise BadInput(said) from None


def _address_mask(text: str, what: str, bits: int) -> int:
    if re.fullmatch(r"[0-9]+", text):
        if int(text) > bits:
            said = f"{what}=…/{text}: a prefix has 0 to {bits} bits"
            raise BadInput(said)
        return (1 << bits) - (1 << bits - int(text))
    return address(text, what, bits)


def flags(text: str, what: str) -> tuple[int, int]:
    """Return value and mask of tcp_flags: `+syn-ack`, `syn|ack`, a number, or two of them."""
    if text[:1] in "+-" and text:
        value = mask = 0
        for sign, name in re.findall(r"([+-])([^+-]*)", text):
            bit = _flag(name, what)
            mask |= bit
            value |= bit if sign == "+" else 0
        return value, mask
    if text[:1].isdigit():
        plain, slash, wanted = text.partition("/")
        return number(plain, 0xFFF, what), number(wanted, 0xFFF, what) if slash else 0xFFF
    return sum({_flag(name, what) for name in text.split("|")}), 0xFFF


def _flag(name: str, what: str) -> int:
    if name not in TCP_FLAGS:
        said = f"{what}: {name or 'nothing'} is no TCP flag ({' '.join(TCP_FLAGS)})"
        raise BadInput(said)
    return 1 << TCP_FLAGS.index(name)


def value_and_mask(text: str, field: FieldName, written: str, ports: Ports | None) -> tuple[int, int]:
    """Return what `V`, `V/M` or `*` means for a field; the value is 0 where the mask is. `written` is its name in the text."""
    if text == "*":
        return 0, 0
    if field.kind is Kind.FLAGS:
        value, mask = flags(text, written)
        return value & mask, mask
    if field.kind is Kind.FRAGMENT:
        if text not in FRAGMENTS:
            said = f"{written}={text}: no, yes, first, later or not_later"
            raise BadInput(said)
        return FRAGMENTS[text]
    if field.kind is Kind.PORT:
        return port(text, ports, written), field.full
    plain, slash, wanted = text.partition("/")
    if field.kind is Kind.MAC:
        value, mask = mac(plain, written), mac(wanted, written) if slash else field.full
    elif field.kind in {Kind.IPV4, Kind.IPV6}:
        value = address(plain, written, field.bits)
        mask = _address_mask(wanted, written, field.bits) if slash else field.full
    else:
        value = number(plain, field.full, written)
        mask = (field.full if wanted == "-1" else number(wanted, field.full, written)) if slash else field.full
    if mask not in {0, field.full} and not field.maskable:
        said = f"{written}={text}: this field has no mask"
        raise BadInput(said)
    return value & mask, mask


def port_text(number_of: int) -> str:
    """Return a port as ovs-ofctl prints it without names."""
    return RESERVED_NAMES.get(number_of, str(number_of))


def mac_text(value: int) -> str:
    """Return an Ethernet address."""
    return value.to_bytes(6, "big").hex(":")


def address_text(value: int, bits: int) -> str:
    """Return an address."""
    return str(ipaddress.IPv4Address(value) if bits == 32 else ipaddress.IPv6Address(value))


def masked_text(value: int, mask: int, field: FieldName) -> str:
    """Return `V` or `V/M` in the form of a field, as ovs-ofctl prints it."""
    full = mask == field.full
    match field.kind:
        case Kind.MAC:
            return mac_text(value) + ("" if full else f"/{mac_text(mask)}")
        case Kind.IPV4 | Kind.IPV6:
            prefix = field.bits - ((~mask & field.full).bit_length())
            cidr = mask == field.full - (1 << field.bits - prefix) + 1
            tail = "" if full else f"/{prefix}" if cidr else f"/{address_text(mask, field.bits)}"
            return address_text(value, field.bits) + tail
        case Kind.FLAGS:
            return flags_text(value, mask)
        case Kind.FRAGMENT:
            return next((name for name, pair in FRAGMENTS.items() if pair == (value, mask & 3)), f"0x{value:x}/0x{mask:x}")
        case Kind.PORT:
            return port_text(value)
        case _:
            return (f"{value}" if field.kind is Kind.DECIMAL else f"0x{value:x}") if full else f"0x{value:x}/0x{mask:x}"


def flags_text(value: int, mask: int) -> str:
    """Return tcp_flags: all of them as `syn|ack`, some as `+syn-ack`."""
    names = [(name, 1 << bit) for bit, name in enumerate(TCP_FLAGS)]
    if mask & 0xFFF == 0xFFF:
        return "|".join(name for name, bit in names if value & bit) or "0"
    return "".join(("+" if value & bit else "-") + name for name, bit in names if mask & bit)
