"""The file of `pktpath switch run`: TOML to values, or one line that names file, line and field.

Everything is read and checked before anything is opened: keys and values here, table entries by a function that the
caller hands in, since their syntax is the slow path's.
"""

import os
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from pktpath.control import config_keys as keys
from pktpath.control.config_keys import Key, Wrong, shown
from pktpath.control.config_lines import Path as Place
from pktpath.control.config_lines import line_at, lines_of
from pktpath.control.config_values import (
    TABLES,
    BridgeConfig,
    Entry,
    LocalConfig,
    MirrorConfig,
    PortConfig,
    SwitchConfig,
)  # fmt: skip
from pktpath.control.places import run_dir, state_dir
from pktpath.errors import BadInput

Check = Callable[[BridgeConfig, str, Entry], None]
"""Takes a bridge, one of `TABLES` and an entry; raises BadInput without a place when its text is wrong."""
_MOST_BYTES = 64 << 20


def load_config(path: str, check: Check | None = None) -> SwitchConfig:
    """Read a file and all that it names.

    Args:
        path: the file.
        check: called for each flow, group and meter.

    Raises:
        BadInput: the first thing that is wrong, with file, line and field.

    """
    text = _read(path, "")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(_syntax(path, str(error))) from None
    config = _Reader(path, document, lines_of(text)).switch()
    if check is not None:
        check_entries(config.bridges, check)
    return config


def check_entries(bridges: Iterable[BridgeConfig], check: Check) -> None:
    """Hand every table entry to `check` and put the place before what it raises."""
    for bridge in bridges:
        for kind in TABLES:
            for entry in bridge.entries(kind):
                try:
                    check(bridge, kind, entry)
                except BadInput as error:
                    message = f"{entry.where}: {error}"
                    raise BadInput(message) from None


def port_from_words(bridge: str, name: str, words: Sequence[str]) -> PortConfig:
    """Return a port of a command line: `type=packet interface=eth0 features=gro:off,tso:on trunks=1,2`.

    Raises:
        BadInput: a word that is none, or a value that cannot be.

    """
    table: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            message = f"{word}: a port is described by KEY=VALUE; keys are {', '.join(keys.PORT)}"
            raise BadInput(message)
        if key in table:
            message = f"{key}: is there twice"
            raise BadInput(message)
        table[key] = _from_word(key, value)
    return port_from_table(bridge, name, table)


def port_from_table(bridge: str, name: str, table: Mapping[str, Any]) -> PortConfig:
    """Return a port of a table as a file has it; errors name no file."""
    return _Reader("", {}, {}).port(("bridge", bridge, "port", name), dict(table))


def port_to_table(port: PortConfig) -> dict[str, Any]:
    """Return the table that `port_from_table` reads as this port."""
    table: dict[str, Any] = {"type": port.type}
    for key in keys.PORT:
        value = getattr(port, key)
        if key != "type" and value != getattr(PortConfig(name=port.name, type=port.type, interface=port.name), key):
            table[key] = dict(value) if key.endswith("features") else list(value) if isinstance(value, tuple) else value
    return table


def _from_word(key: str, value: str) -> object:
    """Turn a value of a command line into what TOML would have for it."""
    if key.endswith("features"):
        pairs = [item.partition(":")[::2] for item in value.split(",")]
        return {name: {"on": True, "off": False, "true": True, "false": False}.get(on, on) for name, on in pairs}
    if key == "trunks":
        return [int(item) if item.isdecimal() else item for item in value.split(",")]
    if value in ("true", "false"):
        return value == "true"
    return int(value) if value.isdecimal() and key not in ("interface", "netns", "rx_file", "tx_file") else value


def _read(path: str, where: str) -> str:
    before = f"{where}: " if where else ""
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            message = f"{before}{path}: more than {_MOST_BYTES >> 20} MiB"
            raise BadInput(message)
        return data.decode()
    except OSError as error:
        message = f"{before}{path}: {error.strerror}"
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        message = f"{before}{path}:{line}: not UTF-8"
    except ValueError:
        message = f"{before}{shown(path)}: no file name"
    raise BadInput(message)


def _syntax(path: str, said: str) -> str:
    """Put the line that tomllib names behind the file."""
    what, at, place = said.rpartition(" (at ")
    if not at:
        return f"{path}: not TOML: {said}"
    if place.startswith("line "):
        line, _, column = place.removeprefix("line ").rstrip(")").partition(", ")
        return f"{path}:{line}: not TOML: {what} ({column})"
    return f"{path}: not TOML: {what}, at the end of the file"


class _Reader:
    """Reads one document; `place` is the path of a table from its root."""

    def __init__(self, file: str, document: dict[str, Any], lines: dict[Place, int]) -> None:
        self.file, self.document, self.lines = file, document, lines
        self.base = Path(file).resolve().parent if file else Path.cwd()

    # Places and errors

    def where(self, place: Place) -> str:
        # Of a command line only the key is said: the rest of the place is what the user has just written.
        shown_place = place if self.file or len(place) <= 4 else place[4:]
        field = ""
        for step in shown_place:
            field += f"[{step}]" if isinstance(step, int) else f".{step}" if field else step
        if not self.file:
            return field
        line = line_at(self.lines, place)
        return f"{self.file}:{line}: {field}" if line else f"{self.file}: {field}"

    def places(self, place: Place, found: Iterable[str]) -> dict[str, str]:
        """Return where each of these keys stands; of a command line nothing is worth to be kept."""
        return {key: self.where((*place, key)) for key in found} if self.file else {}

    def bad(self, place: Place, what: str) -> NoReturn:
        message = f"{self.where(place)}: {what}"
        raise BadInput(message)

    def table(self, place: Place, value: object, known: Mapping[str, Key]) -> dict[str, Any]:
        """Read the values of a table, and refuse keys that it does not have."""
        if not isinstance(value, dict):
            self.bad(place, f"a table, not {shown(value)}")
        found = {}
        for key, item in value.items():
            if key not in known:
                near = get_close_matches(key, known, n=3)
                more = f"nearest: {', '.join(near)}" if near else f"there are {', '.join(known)}"
                self.bad((*place, key), f"there is no such key; {more}")
            try:
                found[key] = known[key].read(item)
            except Wrong as wrong:
                self.bad(self._inside((*place, key), item, known[key]), str(wrong))
        return found

    def _inside(self, place: Place, item: object, key: Key) -> Place:
        """Return the place of the element of a list that is wrong, where it is one."""
        if isinstance(item, list):
            for number, element in enumerate(item):
                try:
                    key.read([element])
                except Wrong:
                    return (*place, number)
        return place

    def tables(self, place: Place, value: object) -> dict[str, Any]:
        """Read a table of tables, whose keys are names."""
        if not isinstance(value, dict):
            self.bad(place, f"a table with one table for each name, not {shown(value)}")
        for key in value:
            try:
                keys.name(key)
            except Wrong as wrong:
                self.bad((*place, key), str(wrong))
        return value

    # The tables

    def switch(self) -> SwitchConfig:
        for key in self.document:
            if key not in ("switch", "bridge"):
                near = get_close_matches(key, ("switch", "bridge"), n=1)
                more = f"nearest: {near[0]}" if near else "there are switch and bridge"
                self.bad((key,), f"there is no such table; {more}")
        values = self.table(("switch",), self.document.get("switch", {}), keys.SWITCH)
        places = self.places(("switch",), values)
        for key, default in (("run_dir", run_dir), ("state_dir", state_dir)):
            values[key] = str(self.base / values[key]) if key in values else default()
            if key == "state_dir" and key not in self.document.get("switch", {}):
                # What one switch keeps must not be what another one finds.
                values[key] += f"/{values.get('name', 'pktpath')}"
        if values.get("schedule") == "poll" and not values.get("cores"):
            self.bad(("switch", "schedule"), "poll needs cores to poll on, as cores = [1]")
        self._known_cores(values.get("cores", ()))
        self._known_user(values.get("user"))
        tables = self.tables(("bridge",), self.document.get("bridge", {}))
        if not tables:
            message = f"{self.file}: there is no bridge; one starts with [bridge.br0]"
            raise BadInput(message)
        bridges = tuple(self.bridge(("bridge", name), name, table) for name, table in tables.items())
        self._once(bridges)
        return SwitchConfig(file=self.file, bridges=bridges, places=places, **values)

    def bridge(self, place: Place, name: str, table: object) -> BridgeConfig:
        values = self.table(place, table, keys.BRIDGE)
        ports = tuple(
            self.port((*place, "port", port), item)
            for port, item in self.tables((*place, "port"), values.pop("port", {})).items()
        )
        local = self._local((*place, "local"), values.pop("local", False))
        names = {port.name for port in ports} | ({name} if local else set())
        mirrors = tuple(
            self._mirror((*place, "mirror", mirror), item, names)
            for mirror, item in self.tables((*place, "mirror"), values.pop("mirror", {})).items()
        )
        for kind in TABLES:
            texts = enumerate(values.get(kind, ()))
            values[kind] = tuple(Entry(text, self.where((*place, kind, at))) for at, text in texts)
        if file := values.pop("flows_file", None):
            values["flows"] += self._flows_file((*place, "flows_file"), file)
        return BridgeConfig(name=name, where=self.where(place), local=local, ports=ports, mirrors=mirrors, **values)

    def _flows_file(self, place: Place, name: str) -> tuple[Entry, ...]:
        path = str(self.base / name)
        lines = _read(path, self.where(place)).split("\n")
        texts = [(number, line.partition("#")[0].strip()) for number, line in enumerate(lines, 1)]
        return tuple(Entry(text, f"{path}:{number}") for number, text in texts if text)

    def _local(self, place: Place, value: object) -> LocalConfig | None:
        if isinstance(value, bool):
            return LocalConfig(where=self.where(place)) if value else None
        values = self.table(place, value, keys.LOCAL)
        return LocalConfig(where=self.where(place), places=self.places(place, values), **values)

    def _mirror(self, place: Place, value: object, ports: set[str]) -> MirrorConfig:
        values = self.table(place, value, keys.MIRROR)
        for key in ("select_src", "select_dst"):
            for at, port in enumerate(values.get(key, ())):
                if port not in ports:
                    self.bad((*place, key, at), self._no_port(port, ports))
        output = values.get("output_port")
        if output is not None and output not in ports:
            self.bad((*place, "output_port"), self._no_port(output, ports))
        if output is None:
            self.bad(place, "needs an output_port")
        if not any(values.get(key) for key in ("select_all", "select_src", "select_dst")):
            self.bad(place, "selects nothing: select_all, select_src or select_dst")
        return MirrorConfig(name=str(place[-1]), where=self.where(place), **values)

    def _no_port(self, name: str, ports: set[str]) -> str:
        near = get_close_matches(name, sorted(ports), n=3) or sorted(ports)[:8]
        return f"the bridge has no port {shown(name)}; " + (f"nearest: {', '.join(near)}" if near else "it has none")

    def port(self, place: Place, value: object) -> PortConfig:
        """Read one port."""
        values = self.table(place, value, keys.PORT)
        name, kind = str(place[-1]), values.get("type")
        if kind is None:
            self.bad(place, f"needs a type: {', '.join(keys.PORT_TYPES)}")
        for key in values:
            if (types := keys.PORT[key].types) and kind not in types:
                self.bad((*place, key), f"is nothing for a port of type {kind}, only for {', '.join(types)}")
        mode = values.get("mode", "auto")
        if kind in keys.MODES and mode not in keys.MODES[kind]:
            self.bad((*place, "mode"), f"must be {' or '.join(keys.MODES[kind])}, not {shown(mode)}")
        if values.get("loop") and "rx_file" not in values:
            self.bad((*place, "loop"), "needs rx_file")
        for key in ("rx_file", "tx_file"):
            if key in values:
                values[key] = str(self.base / values[key])
        if "rx_file" in values and values["rx_file"] == values.get("tx_file"):
            self.bad((*place, "tx_file"), "is rx_file: write to another file")
        places = self.places(place, values)
        values.setdefault("interface", name)
        return PortConfig(name=name, where=self.where(place) if self.file else "", places=places, **values)

    # What must fit together

    def _known_cores(self, cores: Sequence[int]) -> None:
        there = os.sched_getaffinity(0)
        for at, core in enumerate(cores):
            if core not in there:
                has = ", ".join(map(str, sorted(there)))
                self.bad(("switch", "cores", at), f"there is no core {core} for this process; it may use {has}")

    def _known_user(self, user: str | None) -> None:
        import pwd

        if user is not None:
            try:
                pwd.getpwnam(user)
            except KeyError:
                self.bad(("switch", "user"), f"no user has the name {shown(user)}")

    def _once(self, bridges: Sequence[BridgeConfig]) -> None:
        """Refuse names, numbers and interfaces that stand twice."""
        names: dict[str, str] = {bridge.name: bridge.where for bridge in bridges}
        interfaces: dict[tuple[str | None, str], str] = {}
        for bridge in bridges:
            numbers: dict[int, str] = {}
            for port in bridge.ports:
                place: Place = ("bridge", bridge.name, "port", port.name)
                if port.name in names:
                    what = "a bridge" if any(port.name == other.name for other in bridges) else "a port"
                    self.bad(place, f"there is {what} of this name already ({names[port.name]})")
                names[port.name] = port.where
                if port.openflow is not None and numbers.setdefault(port.openflow, port.name) != port.name:
                    self.bad((*place, "openflow"), f"{port.openflow} is the number of port {numbers[port.openflow]} already")
                if port.type in ("packet", "tap", "xdp"):
                    key = (port.netns, port.interface)
                    if interfaces.setdefault(key, port.name) != port.name:
                        self.bad((*place, "interface"), f"port {interfaces[key]} has {port.interface} already")
