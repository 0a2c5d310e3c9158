"""One packet on its way through the tables of a bridge: what it looks like now, what was looked at, what came of it.

Actions of rules change the key at once, but reach the datapath only before an output, and only where the frame
differs from what the datapath has by then: set X, set it back, output is an output.
"""

from functools import lru_cache
from typing import Any, NamedTuple

from pktpath.switch import openflow as of
from pktpath.switch.actions import Action, Output, PopVlan, PushVlan, Set
from pktpath.switch.bridge import Bridge, BridgePort
from pktpath.switch.fields import FIELDS, FRAG_LATER, VLAN_PRESENT, mask_of
from pktpath.switch.normal import output as tagged_output
from pktpath.switch.openflow_fields import FIELD_NAMES, Needs
from pktpath.switch.rules import Rule

IN_PORT, VLAN, FRAG, PORTS = FIELDS["in_port"], FIELDS["vlan_tci"], FIELDS["nw_frag"], mask_of("tp_src", "tp_dst")
MAX_ACTIONS = 8192
"""Outputs in 64 kB of netlink attributes, the most that Open vSwitch lets a translation yield."""

_COMMITTED = tuple(
    FIELDS[name]
    for name in (
        "dl_src", "dl_dst", "ipv6_src", "ipv6_dst", "ipv6_label", "nw_src", "nw_dst", "nw_proto", "nw_tos", "nw_ttl",
        "tp_src", "tp_dst", "nd_target", "arp_sha", "arp_tha",
    )
)  # fmt: skip
"""In the order in which Open vSwitch writes them: Ethernet, network, transport; the VLAN comes last."""
_COMMITTED_BITS = sum(field.mask for field in _COMMITTED)

Tag = tuple[int | None, int]
"""Protocol (None: whatever the frame came with) and tci with the present bit."""


class TooMuch(Exception):  # noqa: N818  it names the thing that is bad
    """The packet is dropped: the tables send it in circles. The message is Open vSwitch's word for it."""


class Step(NamedTuple):
    """One line of a trace."""

    depth: int
    """How many tables and buckets it is inside of."""
    what: "Hit | Bucket | Final | of.OfAction | str"
    """A string is a remark on the line before."""


class Hit(NamedTuple):
    """A lookup in a table."""

    table: int
    rule: Rule | None


class Bucket(NamedTuple):
    """A bucket of a group."""

    number: int


class Final(NamedTuple):
    """The packet as the tables left it; in a trace once, behind all that was done to it."""

    key: int
    """in_port is the bridge's number."""
    tags: "tuple[Tag, ...]"
    """The outer one last."""


class _Write(NamedTuple):
    """A SetField in terms of the key."""

    bits: int
    value: int
    needs: Needs
    looks_at: int


@lru_cache(4096)
def _write(action: of.SetField) -> _Write:
    name = FIELD_NAMES[action.name]
    shift = name.field.shift + name.low
    # "The port" is one of TCP, UDP or SCTP: an ICMP type is not written by that name.
    needs = Needs.SEGMENT if name.needs is Needs.PORTS else name.needs
    return _Write(action.mask << shift, action.value << shift, needs, needs.looks_at)


class Walk:
    """The state of one translation."""

    __slots__ = (
        "actions",
        "base",
        "base_tags",
        "bridge",
        "credits",
        "depth",
        "indent",
        "key",
        "learn",
        "looked",
        "lookups",
        "mirrored",
        "tags",
        "trace",
        "written",
    )  # fmt: skip

    def __init__(self, bridge: Bridge, key: int, *, learn: bool, trace: list[Step] | None) -> None:
        self.bridge = bridge
        self.key = self.base = key
        """As the packet is now, and as the datapath has it; in_port is the bridge's number."""
        tci = VLAN.of(key)
        self.tags: list[Tag] = [(None, tci)] if tci & VLAN_PRESENT else []
        self.base_tags = self.tags
        self.looked = 0
        self.written = 0
        """Bits that actions wrote: all others are unknown to who reads the megaflow."""
        self.actions: list[Action] = []
        self.credits: list[Any] = []
        self.mirrored: set[int] = set()
        self.learn = learn
        self.trace = trace
        self.depth = self.indent = self.lookups = 0

    @property
    def in_port(self) -> int:
        """OpenFlow number of the port that it came in by, or was said to."""
        return IN_PORT.of(self.key)

    def note(self, text: str) -> None:
        """Remark something in the trace."""
        if self.trace is not None:
            self.trace.append(Step(self.indent, text))

    def put(self, action: of.SetField) -> None:
        """Write bits of a field, if the packet has it."""
        bits, value, needs, looks_at = _write(action)
        self.looked |= looks_at
        if needs is not Needs.NOTHING and not needs.met(self.key):
            return
        if bits & PORTS and FRAG.of(self.key) & FRAG_LATER:
            return
        self.looked |= bits
        self.written |= bits
        self.key = self.key & ~bits | value
        if bits & VLAN.mask:
            self._tag_written()

    def put_vlan(self, tci: int, mask: int, *, push: bool) -> None:
        """Write bits of the outer tag; without one, put one in front first, if that is wanted."""
        self.looked |= (VLAN_PRESENT | mask) << VLAN.shift
        if self.tags or push:
            now = VLAN.of(self.key) & ~mask | tci | VLAN_PRESENT
            self.set_tags([*self.tags[:-1], (self.tags[-1][0] if self.tags else 0x8100, now)])

    def set_tags(self, tags: list[Tag]) -> None:
        """Replace all tags."""
        self.tags = tags
        self.key = VLAN.put(self.key, tags[-1][1] if tags else 0)

    def _tag_written(self) -> None:
        """Follow a write of the raw tci: without its present bit there is no tag."""
        tci = VLAN.of(self.key)
        if tci & VLAN_PRESENT:
            self.tags = [*self.tags[:-1], (self.tags[-1][0] if self.tags else 0x8100, tci)]
        elif self.tags:
            self.tags = self.tags[:-1]

    def commit(self) -> None:
        """Tell the datapath what changed since it was last told."""
        if (self.key ^ self.base) & _COMMITTED_BITS:
            for field in _COMMITTED:
                if (self.key ^ self.base) & field.mask:
                    bits = self.written & field.mask
                    self.actions.append(Set(field.name, field.of(self.key & bits), field.of(bits)))
            self.base = self.key
        if self.tags != self.base_tags:
            self._commit_tags()

    def _commit_tags(self) -> None:
        self.looked |= VLAN.mask
        old, new = self.base_tags, self.tags
        common = 0
        while common < min(len(old), len(new)) and old[common] == new[common]:
            common += 1
        old, new = old[common:], new[common:]
        own = bool(old and new) and old[0][0] is new[0][0] is None
        self.actions += [PopVlan() for _ in old[own:]]
        if own:
            # Writing keeps the tag's own protocol, which the key does not know.
            self.actions.append(Set("vlan_tci", new[0][1] & ~VLAN_PRESENT, 0xFFFF))
        self.actions += [PushVlan(tpid or 0x8100, tci & ~VLAN_PRESENT) for tpid, tci in new[own:]]
        self.base_tags = self.tags

    def send(self, port: BridgePort) -> None:
        """Send it out by a port, and by the mirrors that watch the port."""
        if self.bridge.mirrors:
            self._mirror(port.openflow, coming=False)
        self.emit(port)

    def emit(self, port: BridgePort) -> None:
        """Send it out by a port."""
        self.commit()
        self.append(Output(port.number))

    def append(self, action: Action) -> None:
        """Add an action of the datapath."""
        if len(self.actions) >= MAX_ACTIONS:
            self.note(">>>> resubmits yielded over 64 kB of actions <<<<")
            said = "Too many actions"
            raise TooMuch(said)
        self.actions.append(action)

    def arrive(self) -> bool:
        """Copy what comes in to the mirrors that watch its port; return whether it may go on."""
        taken = next((mirror for mirror in self.bridge.mirrors if mirror.output == self.in_port), None)
        if taken is not None:
            name = self.bridge.ports[self.in_port].name
            self.note(f">>>> dropping packet received on port {name}, which is reserved exclusively for mirroring <<<<")
            return False
        if self.bridge.mirrors:
            self._mirror(self.in_port, coming=True)
        return True

    def _mirror(self, number: int, *, coming: bool) -> None:
        for index, mirror in enumerate(self.bridge.mirrors):
            out = self.bridge.ports.get(mirror.output)
            wanted = mirror.takes_in(number) if coming else mirror.takes_out(number)
            if not wanted or index in self.mirrored or out is None or mirror.output == number:
                continue
            self.looked |= (VLAN_PRESENT | 0xFFF) << VLAN.shift
            vlan = self.bridge.ports[number].vlan_of(VLAN.of(self.key))
            if vlan is not None:
                self.mirrored.add(index)
                self.credits.append(mirror)
                tagged_output(self, out, vlan, copy=True)
