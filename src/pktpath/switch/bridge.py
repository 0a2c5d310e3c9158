"""A bridge: its ports, tables, learned addresses, groups, meters and mirrors."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pktpath.errors import BadInput
from pktpath.switch.groups import GroupMod, GroupTable
from pktpath.switch.mac_table import MacTable
from pktpath.switch.meters import MeterTable
from pktpath.switch.mirror import Mirror
from pktpath.switch.openflow import LOCAL, MAX_PORT, NORMAL, Group, Meter, OfActions, Output
from pktpath.switch.rules import Command, Expired, FlowMod, Rule
from pktpath.switch.tables import Tables

VLAN_MODES = ("access", "trunk", "native-tagged", "native-untagged")
FAIL_MODES = ("standalone", "secure")


@dataclass(frozen=True, slots=True)
class BridgePort:
    """One port of a bridge, as the tables see it."""

    name: str
    number: int
    """In the datapath."""
    openflow: int
    """In the bridge; LOCAL is 65534."""
    tag: int | None = None
    """VLAN of an access port, or the native one."""
    trunks: frozenset[int] = frozenset()
    """VLANs that a trunk carries; empty: all."""
    vlan_mode: str = "trunk"
    flood: bool = True
    """Whether FLOOD and what NORMAL does not know go here."""

    def vlan_of(self, tci: int) -> int | None:
        """Return the VLAN that a frame with this tag (0: none) belongs to when it comes in here, or None if it must not."""
        vid = tci & 0xFFF
        if self.vlan_mode == "access":
            return self.tag if not vid else None
        if self.vlan_mode.startswith("native") and not vid:
            return self.tag
        return vid if self.carries(vid) else None

    def carries(self, vlan: int) -> bool:
        """Whether frames of a VLAN may leave here."""
        if self.vlan_mode == "access":
            return vlan == self.tag
        return not self.trunks or vlan in self.trunks or (self.vlan_mode.startswith("native") and vlan == self.tag)

    def tci_for(self, vlan: int, pcp: int) -> int:
        """Return the tag that a frame of a VLAN leaves with, present bit included; 0 for none."""
        untagged = self.vlan_mode == "access" or (self.vlan_mode == "native-untagged" and vlan == self.tag)
        return 0 if untagged or not vlan else 0x1000 | pcp << 13 | vlan


@dataclass(slots=True)
class Bridge:
    """One bridge of a datapath. `changed` is called after every change that can make a translation wrong."""

    name: str
    fail_mode: str = "standalone"
    clock: Callable[[], float] = time.monotonic
    changed: Callable[[], None] = lambda: None
    ports: dict[int, BridgePort] = field(default_factory=dict)
    """By OpenFlow number, in the order in which they came."""
    mirrors: list[Mirror] = field(default_factory=list)
    tables: Tables = field(init=False)
    macs: MacTable = field(init=False)
    groups: GroupTable = field(init=False)
    meters: MeterTable = field(init=False)

    def __post_init__(self) -> None:
        if self.fail_mode not in FAIL_MODES:
            said = f"fail_mode={self.fail_mode}: {' or '.join(FAIL_MODES)}"
            raise BadInput(said)
        self.tables, self.macs = Tables(self.clock), MacTable(self.clock)
        self.groups, self.meters = GroupTable(self.clock), MeterTable(self.clock)
        if self.fail_mode == "standalone":
            # As Open vSwitch does: an ordinary rule, that del-flows takes away.
            self.tables.apply(FlowMod(priority=0, actions=(Output(NORMAL),)))

    def port(self, name: str) -> BridgePort | None:
        """Return a port by name."""
        return next((port for port in self.ports.values() if port.name == name), None)

    def numbers(self) -> dict[str, int]:
        """Return the OpenFlow numbers of all ports by name: what flow text may name."""
        return {port.name: port.openflow for port in self.ports.values()}

    def add_port(
        self, name: str, number: int, openflow: int | None = None, *, tag: int | None = None, trunks: Iterable[int] = (),
        vlan_mode: str | None = None, flood: bool = True,
    ) -> BridgePort:  # fmt: skip
        """Add a port by its datapath number; without an OpenFlow number it gets the lowest free one."""
        trunks = frozenset(trunks)
        if self.port(name):
            said = f"port {name}: is on bridge {self.name} already"
            raise BadInput(said)
        if openflow is None:
            openflow = next(free for free in range(1, MAX_PORT + 1) if free not in self.ports)
        if openflow in self.ports or not (1 <= openflow <= MAX_PORT or openflow == LOCAL):
            said = f"port {name}: OpenFlow number {openflow} is " + (
                "taken" if openflow in self.ports else f"not 1 to {MAX_PORT}"
            )
            raise BadInput(said)
        mode = vlan_mode or ("access" if tag is not None else "trunk")
        wrong = next((vlan for vlan in (*trunks, *([] if tag is None else [tag])) if not 0 <= vlan <= 4095), None)
        if mode not in VLAN_MODES or wrong is not None or (tag is None) != (mode == "trunk"):
            what = f"vlan_mode={mode}" if wrong is None else f"VLAN {wrong}"
            said = f"port {name}: {what}: a tag is 0 to 4095 and makes an access or native port, none makes a trunk"
            raise BadInput(said)
        port = BridgePort(name, number, openflow, tag, trunks, mode, flood)
        self.ports[openflow] = port
        self.changed()
        return port

    def remove_port(self, name: str) -> BridgePort:
        """Take a port away, and what was learned on it."""
        port = self.port(name)
        if port is None:
            said = f"port {name}: is not on bridge {self.name}"
            raise BadInput(said)
        del self.ports[port.openflow]
        self.macs.forget(port.openflow)
        self.changed()
        return port

    def flow_mod(self, mod: FlowMod) -> int:
        """Change the tables; return how many rules were added, changed or removed."""
        self.check(mod.actions or ())
        count = self.tables.apply(mod)
        self.changed()
        return count

    def flow_mods(self, mods: Iterable[FlowMod]) -> None:
        """Make several changes; each as `flow_mod` does, and one that cannot be ends it."""
        try:
            for mod in mods:
                self.check(mod.actions or ())
                self.tables.apply(mod)
        finally:
            self.changed()

    def check(self, actions: OfActions) -> None:
        """Refuse actions that name a group or a meter that is not there."""
        for action in actions:
            if isinstance(action, Group) and self.groups.get(action.number) is None:
                said = f"group:{action.number}: is not on bridge {self.name} (add-group adds it)"
                raise BadInput(said)
            if isinstance(action, Meter) and self.meters.get(action.number) is None:
                said = f"meter:{action.number}: is not on bridge {self.name} (add-meter adds it)"
                raise BadInput(said)

    def group_mod(self, mod: GroupMod) -> None:
        """Change the groups; a group that goes takes the rules that send to it along."""
        if mod.command != "delete":
            for bucket in mod.buckets:
                self.check(bucket[2])
            self.groups.put(mod)
        for one in (list(self.groups) if mod.number is None else [mod.number]) if mod.command == "delete" else []:
            if self.groups.delete(one):
                self.tables.without_group(one)
        self.changed()

    def expire(self, now: float) -> Expired:
        """Remove rules and addresses whose time is over."""
        gone = self.tables.expire(now)
        if self.macs.expire(now) or gone.idle or gone.hard:
            self.changed()
        return gone

    def flows(self, question: FlowMod | None = None) -> list[Rule]:
        """Return the rules that a question is about, in the order of a dump."""
        return self.tables.select(question or FlowMod(command=Command.DELETE))
