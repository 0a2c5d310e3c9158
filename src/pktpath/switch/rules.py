"""Rules of the flow tables, and what a controller may ask to happen to them."""

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from pktpath.switch.openflow import DEFAULT_PRIORITY, OfActions


@dataclass(eq=False, slots=True)
class Rule:
    """One rule of a table. Times are in monotonic seconds."""

    value: int
    """Key bits that a packet must have; zero where `mask` is. in_port is the bridge's own number."""
    mask: int
    priority: int
    table: "Lookups"
    """Counters of the table where it is: what the rule matched was looked up there."""
    actions: OfActions
    cookie: int = 0
    idle_timeout: int = 0
    """Seconds without a packet after which it goes; 0: never."""
    hard_timeout: int = 0
    flags: frozenset[str] = frozenset()
    importance: int = 0
    created: float = 0.0
    modified: float = 0.0
    used: float = 0.0
    """When a packet last matched, or it was made."""
    packets: int = 0
    size: int = 0
    """Bytes of these packets."""

    def credit(self, packets: int, size: int, used: float) -> None:
        """Count packets that a megaflow forwarded for this rule."""
        self.packets += packets
        self.size += size
        self.used = max(self.used, used)
        self.table.lookups += packets
        self.table.matched += packets


@dataclass(eq=False, slots=True)
class Lookups:
    """Counters of one table."""

    number: int
    lookups: int = 0
    matched: int = 0

    def credit(self, packets: int, size: int, used: float) -> None:
        """Count packets that found no rule here."""
        self.lookups += packets


class Command(Enum):
    """What happens to rules; the values are ovs-ofctl's words in a file of flows."""

    ADD = "add"
    MODIFY = "modify"
    MODIFY_STRICT = "modify_strict"
    DELETE = "delete"
    DELETE_STRICT = "delete_strict"


class FlowMod(NamedTuple):
    """One change of the tables, as one line of flow text says it."""

    value: int = 0
    mask: int = 0
    priority: int = DEFAULT_PRIORITY
    table: int | None = None
    """None: table 0 for an added flow, every table for one looked for."""
    actions: OfActions | None = None
    """None where the text has none: right for deletion only. Empty: drop."""
    cookie: int | None = None
    """The new cookie; None: 0 for a new rule, unchanged for an old one."""
    cookie_value: int = 0
    """Only rules whose cookie agrees with this in the bits of `cookie_mask` are meant."""
    cookie_mask: int = 0
    idle_timeout: int = 0
    hard_timeout: int = 0
    importance: int = 0
    flags: frozenset[str] = frozenset()
    """send_flow_rem, check_overlap, reset_counts, no_packet_counts, no_byte_counts."""
    out_port: int | None = None
    """Only rules with an output to this port are meant."""
    out_group: int | None = None
    command: Command = Command.ADD


class Aggregate(NamedTuple):
    """Sums over rules (`dump-aggregate`)."""

    packets: int
    size: int
    flows: int


@dataclass(slots=True)
class Expired:
    """Rules that went by themselves."""

    idle: list[Rule] = field(default_factory=list)
    hard: list[Rule] = field(default_factory=list)
