"""What a megaflow does with its frames: datapath actions as values, and as the program that compiled code runs.

The slow path translates a packet's way through the tables into a tuple of these. A program is rows of four
numbers `(operation, a, b, c)`; equal tuples share one program.
"""

from dataclasses import dataclass
from enum import IntEnum

from pktpath.switch.fields import FIELDS


class Operation(IntEnum):
    """First number of a row of a program."""

    OUTPUT = 0
    """a: port number."""
    PUSH_VLAN = 1
    """a: tag protocol (0x8100 or 0x88a8), b: tci without the present bit."""
    POP_VLAN = 2
    SET = 3
    """a: `SETTABLE` index of the field, b: value, c: mask; each the low 64 bits. A field of 128 bits takes two rows."""
    SET_HIGH = 4
    """The high 64 bits of a field of 128 bits: as SET."""
    METER = 5
    """a: number of the meter; what it drops goes no further."""
    CONTROLLER = 6
    """a: bytes of the frame wanted at most, b: controller id, c: reason. Counted and rate-limited; the frame goes on."""


SETTABLE = (
    "dl_dst", "dl_src", "vlan_tci", "nw_src", "nw_dst", "nw_tos", "nw_ttl", "ipv6_src", "ipv6_dst", "ipv6_label",
    "tp_src", "tp_dst", "nw_proto", "arp_sha", "arp_tha", "nd_target",
)  # fmt: skip
"""Fields that a datapath action can write; tun_id is only a note between tables here. nw_proto: the opcode of ARP."""


# No tuples: as such an output to port 1 would equal meter 1, and equal actions share a program.


@dataclass(frozen=True, slots=True, order=True)
class Output:
    """Send the frame as it is now to a port."""

    port: int


@dataclass(frozen=True, slots=True, order=True)
class PushVlan:
    """Put an outer tag in front; `tci` is without the present bit."""

    tpid: int
    tci: int


@dataclass(frozen=True, slots=True, order=True)
class PopVlan:
    """Take the outer tag away."""


@dataclass(frozen=True, slots=True, order=True)
class Set:
    """Write the bits `mask` of a field of the key's names (`SETTABLE`)."""

    field: str
    value: int
    mask: int


@dataclass(frozen=True, slots=True, order=True)
class Meter:
    """Let the frame pass as the meter of this number says, or drop it."""

    number: int


@dataclass(frozen=True, slots=True, order=True)
class Controller:
    """Hand a copy of up to `max_len` bytes to the controller."""

    max_len: int = 65535
    controller: int = 0
    reason: int = 1


Action = Output | PushVlan | PopVlan | Set | Meter | Controller
Actions = tuple[Action, ...]
"""No actions: the frame is dropped."""


def program(actions: Actions) -> list[tuple[int, int, int, int]]:
    """Return the rows of the program that does these actions; numbers are signed 64-bit."""
    rows: list[tuple[int, int, int, int]] = []
    for action in actions:
        match action:
            case Output(port):
                rows.append((Operation.OUTPUT, port, 0, 0))
            case PushVlan(tpid, tci):
                rows.append((Operation.PUSH_VLAN, tpid, tci, 0))
            case PopVlan():
                rows.append((Operation.POP_VLAN, 0, 0, 0))
            case Set(field, value, mask):
                index = SETTABLE.index(field)
                if FIELDS[field].bits > 64:
                    rows.append((Operation.SET_HIGH, index, _signed(value >> 64), _signed(mask >> 64)))
                rows.append((Operation.SET, index, _signed(value), _signed(mask)))
            case Meter(number):
                rows.append((Operation.METER, number, 0, 0))
            case Controller(max_len, controller, reason):
                rows.append((Operation.CONTROLLER, max_len, controller, reason))
    return rows


def _signed(value: int) -> int:
    """Return the low 64 bits as a signed number."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value
