"""A switch that runs: bridges, ports and tables joined to the engine, as the configuration and the commands want them.

Whatever changes it changes all of it or nothing. What commands changed is kept in `tables.json` beside what the
configuration says: after a restart, and after a reload, both hold.
"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from functools import partial
from typing import Any

from pktpath.control.config import port_from_table, port_to_table
from pktpath.control.config_values import LOCAL_NUMBER, TABLES, BridgeConfig, PortConfig, SwitchConfig
from pktpath.control.engine import EnginePort, Parts
from pktpath.control.state import BridgeState, Interfaces, TablesFile
from pktpath.control.switch_port import SwitchPort
from pktpath.errors import BadInput, Refused
from pktpath.features import FeatureState

LIVE = {"flow_limit", "max_idle_ms", "emc", "emc_insert_inv_prob", "weight", "sleep_max_us", "rx_delay_us", "controller_rate"}
"""Keys of [switch] that a reload changes; the others wait for a restart."""
MOST_PORTS = 250
_NORMAL = "priority=0,actions=NORMAL"
_log = logging.getLogger("pktpath.switch")


class _Bridge:
    """What is known of one bridge."""

    def __init__(self, config: BridgeConfig) -> None:
        self.config = config
        self.baseline: dict[str, list[str]] = {kind: [] for kind in TABLES}
        """What the configuration's entries are when the tables write them."""
        self.gone: set[str] = set()
        """Ports of the configuration that a command deleted."""


class Switch:
    """See the module; every method is called from the loop's thread."""

    def __init__(self, config: SwitchConfig, parts: Parts, interfaces: Interfaces, tables_file: TablesFile) -> None:
        self.config = config
        self._parts, self._interfaces, self._file = parts, interfaces, tables_file
        self.tables = parts.tables(config)
        self.engine = parts.engine(config, self.tables)
        self.ports: dict[str, SwitchPort] = {}
        self._bridges: dict[str, _Bridge] = {}
        self.dirty = False
        """Whether something may have changed that a restart needs."""
        self._closed = False

    # Start and end

    def start(self) -> None:
        """Open everything and start the workers.

        Raises:
            BadInput, Refused: something cannot be opened or added; what was opened is closed then, and as it was found.

        """
        kept = self._file.load()
        try:
            for bridge in self.config.bridges:
                state = kept.get(bridge.name)
                self._add_bridge(bridge, gone=state.gone if state else ())
                if state:
                    self._take_over(bridge.name, state)
            for name in kept.keys() - self._bridges.keys():
                _log.warning("bridge %s is no more in the configuration: what was changed of it at runtime is forgotten", name)
            self.engine.start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the workers, close the ports and restore their interfaces; what is open is closed whatever fails."""
        if self._closed:
            return
        self._closed = True
        self.engine.stop()
        for port in reversed(list(self.ports.values())):
            port.close(self._interfaces)
        self.ports.clear()
        self._interfaces.undo()
        self.engine.close()

    def _add_bridge(self, config: BridgeConfig, gone: Iterable[str] = ()) -> None:
        self.tables.add_bridge(config)
        bridge = self._bridges[config.name] = _Bridge(config)
        for port in _with_local(config):
            if port.name in gone:
                # A command deleted it: opened once more, its capture would begin anew over the old one.
                bridge.gone.add(port.name)
            else:
                self._open(config.name, port, at_runtime=False)
        self._load(bridge)
        self.tables.set_mirrors(config.name, config.mirrors)

    def _load(self, bridge: _Bridge) -> None:
        config = bridge.config
        for kind in TABLES:
            for entry in config.entries(kind):
                try:
                    self.tables.add(config.name, kind, entry.text)
                except BadInput as error:
                    message = f"{entry.where}: {error}"
                    raise BadInput(message) from None
        if config.fail_mode == "standalone" and not config.flows:
            self.tables.add(config.name, "flows", _NORMAL)
        bridge.baseline = {kind: self.tables.dump(config.name, kind) for kind in TABLES}

    def _take_over(self, name: str, state: BridgeState) -> None:
        """Do again what commands did before the restart; what cannot be any more is one line, and the rest goes on."""
        for port, table in state.ports.items():
            self._tolerate(f"port {port}", partial(self._add_again, name, port, table))
        for kind in reversed(TABLES):
            for text in state.removed.get(kind, ()):
                self._tolerate(text, partial(self.tables.remove, name, kind, text))
        for kind in TABLES:
            for text in state.added.get(kind, ()):
                self._tolerate(text, partial(self.tables.add, name, kind, text))

    def _add_again(self, bridge: str, name: str, table: dict[str, Any]) -> None:
        self.add_port(bridge, port_from_table(bridge, name, table))

    def _tolerate(self, what: str, action: Callable[[], object]) -> None:
        try:
            action()
        except (BadInput, Refused) as error:
            _log.warning("%s: was there before the restart and cannot be now: %s", what, error)

    # Ports

    def add_port(self, bridge: str, config: PortConfig) -> SwitchPort:
        """Add a port at runtime.

        Raises:
            BadInput: there is no such bridge, or a name, number or interface is taken.
            Refused: it cannot be opened.

        """
        self._bridge(bridge)
        if config.name in self.ports or config.name in self._bridges:
            message = f"{config.name}: there is a port of this name already"
            raise BadInput(message)
        for other in self.ports.values():
            if (other.config.interface, other.config.netns) == (config.interface, config.netns) and config.type not in (
                "pcap",
                "memory",
            ):
                message = f"{config.interface}: port {other.config.name} has this interface already"
                raise BadInput(message)
        port = self._open(bridge, config, at_runtime=True)
        self._bridges[bridge].gone.discard(config.name)
        self.dirty = True
        return port

    def remove_port(self, bridge: str, name: str) -> None:
        """Remove a port at runtime; raises BadInput where there is none."""
        known = self._bridge(bridge)
        port = self.ports.get(name)
        if port is None or port.bridge != bridge:
            there = ", ".join(item for item, other in self.ports.items() if other.bridge == bridge)
            message = f"{name}: bridge {bridge} has no port of this name; it has {there or 'none'}"
            raise BadInput(message)
        if port.openflow == LOCAL_NUMBER:
            message = f"{name}: is the bridge's own port: the configuration has it or not (local)"
            raise BadInput(message)
        self._close(port)
        if not port.at_runtime:
            known.gone.add(name)
        self.dirty = True

    def _bridge(self, name: str) -> _Bridge:
        if name not in self._bridges:
            message = f"{name}: there is no bridge of this name; there are {', '.join(self._bridges)}"
            raise BadInput(message)
        return self._bridges[name]

    def _open(self, bridge: str, config: PortConfig, *, at_runtime: bool) -> SwitchPort:
        taken = {port.openflow for port in self.ports.values() if port.bridge == bridge}
        # A number that the configuration gives to a port that is yet to come is not free either.
        named = {port.openflow for port in self._bridges[bridge].config.ports if port.name != config.name}
        openflow = config.openflow or _first_free(taken | named)
        if openflow in taken:
            message = f"{config.name}: openflow {openflow} is the number of another port of {bridge}"
            raise BadInput(message)
        number = _first_free(port.number for port in self.ports.values())
        if number > MOST_PORTS:
            message = f"{config.name}: a switch has at most {MOST_PORTS} ports"
            raise BadInput(message)
        local = self._bridges[bridge].config.local if openflow == LOCAL_NUMBER else None
        mtu = config.mtu or self._bridges[bridge].config.mtu
        if mtu and config.type in ("packet", "tap", "xdp"):
            config = replace(config, mtu=mtu)
        port = SwitchPort(bridge, config, number=number, openflow=openflow, at_runtime=at_runtime, local=local)
        self._attach(port)
        self.ports[config.name] = port
        return port

    def _attach(self, port: SwitchPort) -> None:
        """Open a port and hand it to tables and engine; nothing of it is left where one of them fails."""
        live = port.open(partial(self._parts.open_port, self.engine), self._interfaces)
        assert port.features is not None
        try:
            self.tables.add_port(port.bridge, port.number, port.openflow, port.config)
            try:
                self.engine.add_port(EnginePort(port.number, port.bridge, port.openflow, live, port.features))
            except BaseException:
                self.tables.remove_port(port.bridge, port.number)
                raise
        except BaseException:
            port.close(self._interfaces)
            raise

    def _close(self, port: SwitchPort) -> None:
        del self.ports[port.config.name]
        if port.live is not None:
            self.engine.remove_port(port.number)
            self.tables.remove_port(port.bridge, port.number)
        port.close(self._interfaces)

    def check_ports(self) -> None:
        """Close ports whose interface has gone, and open again those whose interface is back."""
        for port in list(self.ports.values()):
            if port.gone():
                _log.warning("port %s: its interface %s is gone; waiting for it", port.config.name, port.config.interface)
                self.engine.remove_port(port.number)
                self.tables.remove_port(port.bridge, port.number)
                port.close(self._interfaces)
                port.fault = "its interface is gone"
            if port.live is None and port.may_open():
                try:
                    self._attach(port)
                except (BadInput, Refused) as error:
                    if str(error) != port.fault:
                        _log.warning("%s; trying again", error)
                    port.fault = str(error)
                else:
                    _log.info("port %s: open again", port.config.name)

    def set_features(self, port: SwitchPort, state: FeatureState) -> None:
        """Switch features of a port; raises Refused, and then all is as before."""
        before = port.features
        port.switch(state)
        if port.live is not None:
            try:
                self.engine.set_features(port.number, state)
            except BaseException:
                if before is not None:
                    port.switch(before)
                raise

    # Reload

    def reload(self, new: SwitchConfig) -> list[str]:
        """Do what has changed between two configurations; what commands changed stays.

        Ports and entries that did not change are not touched. What cannot be done is left out, and the rest is done.

        Returns:
            What was not taken over, a line each.

        """
        faults: list[str] = []

        def attempt(action: Callable[[], object]) -> None:
            try:
                action()
            except (BadInput, Refused) as error:
                faults.append(str(error))

        names = {field.name for field in fields(SwitchConfig) if field.compare} - LIVE - {"bridges", "file"}
        later = sorted(name for name in names if getattr(new, name) != getattr(self.config, name))
        faults += [f"{name}: changes at the next start only" for name in later]
        old_bridges = {bridge.name: bridge for bridge in self.config.bridges}
        for name in old_bridges.keys() - {bridge.name for bridge in new.bridges}:
            attempt(partial(self._remove_bridge, name))
        # What goes goes first: a port may move from one bridge to another.
        for bridge in new.bridges:
            if bridge.name in self._bridges:
                self._remove_changed_ports(bridge)
        for bridge in new.bridges:
            if bridge.name not in self._bridges:
                attempt(partial(self._add_bridge, bridge))
            else:
                self._change_bridge(bridge, attempt)
        keep = {name: getattr(self.config, name) for name in later}
        self.config = replace(new, **keep)
        self.engine.configure(self.config)
        self.dirty = True
        return faults

    def _remove_bridge(self, name: str) -> None:
        for port in [port for port in self.ports.values() if port.bridge == name]:
            self._close(port)
        self.tables.remove_bridge(name)
        del self._bridges[name]

    def _remove_changed_ports(self, new: BridgeConfig) -> None:
        bridge = self._bridges[new.name]
        wanted = {port.name: port for port in _with_local(new)}
        old = {port.name: port for port in _with_local(bridge.config)}
        for name, port in old.items():
            changed = (
                wanted.get(name) != port
                or bridge.config.mtu != new.mtu
                or (name == new.name and new.local != bridge.config.local)
            )
            if changed and name in self.ports and not self.ports[name].at_runtime:
                self._close(self.ports[name])
            if changed:
                bridge.gone.discard(name)

    def _change_bridge(self, new: BridgeConfig, attempt: Callable[[Callable[[], object]], None]) -> None:
        bridge = self._bridges[new.name]
        old, bridge.config = bridge.config, new
        self.tables.change_bridge(new)
        for port in _with_local(new):
            if port.name not in self.ports and port.name not in bridge.gone:
                attempt(partial(self._open, new.name, port, at_runtime=False))
        dumps = {kind: [set(self.tables.dump(new.name, kind))] for kind in TABLES}
        for kind in reversed(TABLES):
            for text in _only(_texts(old, kind), _texts(new, kind)):
                attempt(partial(self.tables.remove, new.name, kind, text))
            dumps[kind].append(set(self.tables.dump(new.name, kind)))
        for kind in TABLES:
            for text in _only(_texts(new, kind), _texts(old, kind)):
                attempt(partial(self.tables.add, new.name, kind, text))
            before, less = dumps[kind]
            now = self.tables.dump(new.name, kind)
            # Only what went and came just now: what a command did before is still what a command did.
            kept = [text for text in bridge.baseline[kind] if text not in before - less]
            bridge.baseline[kind] = kept + [text for text in now if text not in less and text not in kept]
        attempt(lambda: self.tables.set_mirrors(new.name, new.mirrors))

    # What a restart needs

    def save(self) -> None:
        """Write what commands changed, if anything did since the last time; raises Refused."""
        if self.dirty:
            self.dirty = False
            self._file.save({name: self._state(bridge) for name, bridge in self._bridges.items()})

    def _state(self, bridge: _Bridge) -> BridgeState:
        name = bridge.config.name
        added, removed = {}, {}
        for kind in TABLES:
            now, baseline = self.tables.dump(name, kind), bridge.baseline[kind]
            there, was = set(now), set(baseline)
            added[kind] = [text for text in now if text not in was]
            removed[kind] = [text for text in baseline if text not in there]
        ports = {
            port.config.name: port_to_table(port.config) | {"openflow": port.openflow}
            for port in self.ports.values()
            if port.bridge == name and port.at_runtime
        }
        return BridgeState(added, removed, ports, sorted(bridge.gone))

    def age(self) -> None:
        """Let learned addresses and flows end."""
        before = self.tables.version
        self.tables.age(time.monotonic())
        self.dirty |= self.tables.version != before


def _with_local(config: BridgeConfig) -> list[PortConfig]:
    local = config.local_port()
    return [*([local] if local else ()), *config.ports]


def _texts(config: BridgeConfig, kind: str) -> list[str]:
    texts = [entry.text for entry in config.entries(kind)]
    return [_NORMAL] if kind == "flows" and not texts and config.fail_mode == "standalone" else texts


def _only(texts: list[str], others: list[str]) -> list[str]:
    """Return those that are not among the others, in their order."""
    known = set(others)
    return [text for text in texts if text not in known]


def _first_free(taken: Iterable[int | None]) -> int:
    there = set(taken)
    return next(number for number in range(1, 0xFF00) if number not in there)
