"""The tables as the daemon changes them: text in ovs-ofctl's syntax in, text out."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from pktpath.control.config_values import BridgeConfig, Entry, MirrorConfig, PortConfig
from pktpath.control.flow_actions import actions_text
from pktpath.control.flow_text import parse_flow, rule_text
from pktpath.control.group_text import group_text, meters_text, parse_group, parse_meter
from pktpath.errors import BadInput
from pktpath.switch.mirror import Mirror
from pktpath.switch.rules import Command, Rule
from pktpath.switch.slow_path import Translation
from pktpath.switch.xlate import Slow

MeterBands = Callable[[int, Sequence[tuple[int, int]], bool], None]
"""Sets the bands of a datapath's meter: number, (rate, burst) of each, whether these are packets."""


class LiveTables:
    """See `control.engine.Tables`, which it is: the slow path, and the words in which it is changed."""

    def __init__(self) -> None:
        """Begin without bridges."""
        self.slow = Slow(time.monotonic)
        self.set_bands: MeterBands = lambda _number, _bands, _packets: None
        """The engine's; meters reach it whenever one changes."""
        self._meters: dict[int, tuple[str, Any]] = {}

    @property
    def version(self) -> int:
        """Grows with every change that may make a translation wrong."""
        return self.slow.version

    def translate(self, key: int, *, packets: int = 1, learn: bool = True) -> Translation:
        """Translate one packet."""
        return self.slow.translate(key, packets=packets, learn=learn)

    def credit(self, translation: Translation, packets: int, size: int, used: float) -> None:
        """Add what a megaflow forwarded to the rules that made it."""
        self.slow.credit(translation, packets, size, used)

    def add_bridge(self, bridge: BridgeConfig) -> None:
        """Make a bridge with empty tables; the daemon itself adds the flow of a standalone one."""
        self.slow.add_bridge(bridge.name, fail_mode="secure")
        self.change_bridge(bridge)

    def change_bridge(self, bridge: BridgeConfig) -> None:
        """Take over ageing and size of the table of addresses."""
        macs = self.slow.bridges[bridge.name].macs
        macs.ageing, macs.limit = bridge.mac_aging, bridge.mac_table_size

    def remove_bridge(self, name: str) -> None:
        """Forget a bridge and its meters."""
        self.slow.remove_bridge(name)
        self._send_meters()

    def add_port(self, bridge: str, number: int, openflow: int, port: PortConfig) -> None:
        """Make a port known to its bridge."""
        mode = "native-untagged" if port.tag is not None and port.trunks else None
        self.slow.bridges[bridge].add_port(port.name, number, openflow, tag=port.tag, trunks=port.trunks, vlan_mode=mode)

    def remove_port(self, bridge: str, number: int) -> None:
        """Forget a port and the addresses learned there."""
        there = self.slow.bridges[bridge]
        for port in list(there.ports.values()):
            if port.number == number:
                there.remove_port(port.name)

    def set_mirrors(self, bridge: str, mirrors: Sequence[MirrorConfig]) -> None:
        """Replace the mirrors of a bridge; a port that is not there selects nothing."""
        there = self.slow.bridges[bridge]
        numbers = there.numbers()
        made = []
        for mirror in mirrors:
            if mirror.output_port in numbers:
                sources = frozenset(numbers[name] for name in mirror.select_src if name in numbers)
                destinations = frozenset(numbers[name] for name in mirror.select_dst if name in numbers)
                made.append(Mirror(mirror.name, numbers[mirror.output_port], mirror.select_all, sources, destinations))
        there.mirrors[:] = made
        self.slow.changed()

    def add(self, bridge: str, kind: str, text: str) -> None:
        """Add an entry, or replace the one of the same identity."""
        there = self.slow.bridges[bridge]
        if kind == "flows":
            there.flow_mod(parse_flow(text, there.numbers()))
        elif kind == "groups":
            there.group_mod(parse_group(text, there.numbers(), "add_or_mod"))
        else:
            config = parse_meter(text)
            (there.meters.modify if there.meters.get(config.number) else there.meters.add)(config)
            self.meters_changed()

    def remove(self, bridge: str, kind: str, text: str) -> None:
        """Remove the entry of the same identity, if it is there."""
        there = self.slow.bridges[bridge]
        if kind == "flows":
            mod = parse_flow(text, there.numbers())
            # No table means the first one, as when it was added; a deletion without one would mean all tables.
            mod = mod._replace(command=Command.DELETE_STRICT, table=mod.table or 0, actions=None, cookie_mask=0)
            there.flow_mod(mod)
        elif kind == "groups":
            there.group_mod(parse_group(text, there.numbers(), "add_or_mod")._replace(command="delete"))
        else:
            there.meters.delete(parse_meter(text).number)
            self.meters_changed()

    def dump(self, bridge: str, kind: str) -> list[str]:
        """Return all entries as texts that `add` reads."""
        there = self.slow.bridges[bridge]
        if kind == "flows":
            return [_entry(rule) for rule in there.flows()]
        if kind == "groups":
            found = [there.groups.get(number) for number in there.groups]
            return [group_text(group).strip() for group in found if group is not None]
        return [" ".join(meters_text([meter]).split()).replace(" bands= ", " bands=") for meter in there.meters]

    def age(self, now: float) -> None:
        """Forget learned addresses and flows whose time is over."""
        self.slow.expire(now)

    def meters_changed(self) -> None:
        """Carry meters to the datapath, whose numbers all bridges share, and let megaflows be made anew.

        Raises:
            BadInput: another bridge has a meter of this number, or the datapath has no such number.

        """
        self._send_meters()
        self.slow.changed()

    def _send_meters(self) -> None:
        wanted: dict[int, tuple[str, Any]] = {}
        for bridge in self.slow.bridges.values():
            for meter in bridge.meters:
                other = wanted.setdefault(meter.config.number, (bridge.name, meter.config))
                if other[0] != bridge.name:
                    bridge.meters.delete(meter.config.number)
                    message = f"meter={meter.config.number}: bridge {other[0]} has one of this number; bridges share them"
                    raise BadInput(message)
        for number in self._meters.keys() - wanted.keys():
            self.set_bands(number, (), False)
        for number, entry in wanted.items():
            if self._meters.get(number) != entry:
                config = entry[1]
                self.set_bands(number, [(band.rate, band.burst) for band in config.bands], config.packets)
        self._meters = wanted


def _entry(rule: Rule) -> str:
    parts = [f"cookie={rule.cookie:#x}"] if rule.cookie else []
    parts += [f"table={rule.table.number}"] if rule.table.number else []
    parts += [f"idle_timeout={rule.idle_timeout}"] if rule.idle_timeout else []
    parts += [f"hard_timeout={rule.hard_timeout}"] if rule.hard_timeout else []
    parts += [rule_text(rule)] if rule_text(rule) else []
    return ",".join([*parts, f"actions={actions_text(rule.actions)}"])


def check(bridge: BridgeConfig, kind: str, entry: Entry) -> None:
    """Refuse an entry whose text is wrong; ports may be named as the bridge's own are."""
    ports = {port.name: port.openflow or number for number, port in enumerate(bridge.ports, 1)}
    if bridge.local is not None:
        ports[bridge.name] = 65534
    if kind == "flows":
        parse_flow(entry.text, ports)
    elif kind == "groups":
        parse_group(entry.text, ports, "add_or_mod")
    else:
        parse_meter(entry.text)
