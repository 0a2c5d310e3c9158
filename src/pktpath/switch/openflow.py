"""OpenFlow's words as values: port numbers, and what a rule tells the switch to do.

These are the actions of ovs-actions(7) as a controller writes them, about bridges' ports and fields; `xlate` turns
them into the datapath's (`switch.actions`). What is not here, a flow cannot ask for.
"""

from typing import NamedTuple

MAX_PORT = 0xFEFF
"""The highest number of a port."""
IN_PORT, NORMAL, FLOOD, ALL, CONTROLLER, LOCAL = 0xFFF8, 0xFFFA, 0xFFFB, 0xFFFC, 0xFFFD, 0xFFFE
"""Reserved ports, with OpenFlow 1.0's numbers (16 bits)."""

RESERVED = {"IN_PORT": IN_PORT, "NORMAL": NORMAL, "FLOOD": FLOOD, "ALL": ALL, "CONTROLLER": CONTROLLER, "LOCAL": LOCAL}
RESERVED_NAMES = {number: name for name, number in RESERVED.items()}

NO_MATCH, ACTION, INVALID_TTL = 0, 1, 2
"""Why a packet goes to the controller."""
REASONS = {"no_match": NO_MATCH, "action": ACTION, "invalid_ttl": INVALID_TTL}

DEFAULT_PRIORITY = 0x8000
MAX_TABLE = 254
"""The last table; 255 means all of them."""


class Output(NamedTuple):
    """Send it to a port, a reserved one perhaps; `max_len` bytes of it at most, 0 for all."""

    port: int
    max_len: int = 0


class SetField(NamedTuple):
    """Write bits of a field."""

    name: str
    """As ovs-fields(7) calls it (`openflow_fields.FIELD_NAMES`)."""
    value: int
    """Already shifted to where `mask` has its bits; both are relative to the named field."""
    mask: int
    load: bool = False
    """Whether it was written `load:`; it makes no other difference."""


class ModVlanVid(NamedTuple):
    """Write the VLAN id; `push`: put a tag in front if there is none."""

    vid: int
    push: bool = True


class ModVlanPcp(NamedTuple):
    """Write the VLAN priority; `push` as above."""

    pcp: int
    push: bool = True


class PushVlan(NamedTuple):
    """Put a tag with id 0 and priority 0 in front."""

    tpid: int


class PopVlan(NamedTuple):
    """Take the outer tag away if there is one."""


class DecTtl(NamedTuple):
    """Count the TTL down; what would reach 0 goes to these controllers, and this rule does no more with it."""

    controllers: tuple[int, ...] = (0,)


class Resubmit(NamedTuple):
    """Look the packet up in a table (None: this one) as if it came in by a port (None: its own), and come back."""

    port: int | None
    table: int | None


class GotoTable(NamedTuple):
    """Look the packet up in a later table, as the last thing."""

    table: int


class ToController(NamedTuple):
    """Hand a copy to a controller."""

    max_len: int = 65535
    reason: int = ACTION
    controller: int = 0


class Group(NamedTuple):
    """Let a group decide."""

    number: int


class Meter(NamedTuple):
    """Drop what exceeds a meter's rate."""

    number: int


OfAction = (
    Output
    | SetField
    | ModVlanVid
    | ModVlanPcp
    | PushVlan
    | PopVlan
    | DecTtl
    | Resubmit
    | GotoTable
    | ToController
    | Group
    | Meter
)
OfActions = tuple[OfAction, ...]


def action_set(actions: OfActions) -> OfActions:
    """Return the actions of a bucket as OpenFlow does them: in a fixed order, and of all that send only one.

    A group comes before an output, an output before a resubmit; of several the last counts.
    """

    def last(kind: type[OfAction]) -> list[OfAction]:
        return [action for action in actions if isinstance(action, kind)][-1:]

    sends = last(Group) or last(Output) or last(Resubmit)
    ordered = (PopVlan, PushVlan, DecTtl, Output, Group, Resubmit)
    return (*last(PopVlan), *last(PushVlan), *last(DecTtl), *(one for one in actions if not isinstance(one, ordered)), *sends)
