"""`ovs-vsctl show`, `ovs-vsctl list TABLE` and `ovs-vsctl get Open_vSwitch . …`: what was configured, and what came of it.

Source: ovs-vsctl(8), ovs-vswitchd.conf.db(5).
"""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact, Place
from pktpath.doctor.facts.host import Counter, Setting
from pktpath.doctor.facts.ovs import OvsBridge, OvsInterface
from pktpath.doctor.parse.ovs_words import mapping, unquoted, whole
from pktpath.doctor.parse.section import Section, parser

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_COLUMN = re.compile(r"([a-z_]{1,40})\s*: (.*)$")
_SHOWN = ("ovs_version", "dpdk_version", "dpdk_initialized")


@parser("ovs-vsctl show", command=r"ovs-vsctl\s+(?:-\S+\s+)*show(?:\s|$)", shape=rf"\s{{0,8}}{_UUID}\s*$")
def shown(section: Section) -> Iterator[Fact]:
    """Bridges and their interfaces."""
    bridge: _Thing | None = None
    interface: _Thing | None = None
    for line in section.lines:
        text = line.text.strip()
        word, _, value = text.partition(" ")
        value = unquoted(value)
        if word == "Bridge":
            yield from _interface(bridge, interface)
            yield from _bridge(bridge)
            bridge, interface = _Thing(value, section.place(line)), None
        elif word in {"Port", "Manager", "Controller"}:
            yield from _interface(bridge, interface)
            interface = None
        elif word == "Interface":
            yield from _interface(bridge, interface)
            interface = _Thing(value, section.place(line))
        elif word == "ovs_version:":
            yield Setting(at=section.place(line), where="ovs", name="ovs_version", value=value)
        elif word in {"type:", "options:", "error:", "datapath_type:"}:
            thing = bridge if word == "datapath_type:" else interface
            if thing is not None:
                thing.words[word[:-1]] = value
                if word == "error:":
                    thing.at = section.place(line)
    yield from _interface(bridge, interface)
    yield from _bridge(bridge)


class _Thing:
    def __init__(self, name: str, at: Place) -> None:
        self.name, self.at = name, at
        self.words: dict[str, str] = {}


def _bridge(bridge: _Thing | None) -> Iterator[Fact]:
    if bridge is not None:
        yield OvsBridge(at=bridge.at, name=bridge.name, datapath_type=bridge.words.get("datapath_type", ""))


def _interface(bridge: _Thing | None, interface: _Thing | None) -> Iterator[Fact]:
    if interface is not None:
        words = interface.words
        yield OvsInterface(
            at=interface.at, bridge=bridge.name if bridge else "", name=interface.name, kind=words.get("type", ""),
            options=mapping(words.get("options", "")), error=words.get("error", ""),
        )  # fmt: skip


@parser(
    "ovs-vsctl list",
    command=r"ovs-vsctl\s+(?:-\S+\s+)*list\s+[A-Za-z_]+",
    shape=rf"\s{{0,8}}_uuid\s*: {_UUID}\s*$",
)
def records(section: Section) -> Iterator[Fact]:
    """Records of any table; which one it is, its columns tell."""
    record: dict[str, tuple[str, Place]] = {}
    for line in section.lines:
        found = _COLUMN.match(line.text.strip())
        if not found or found[1] == "_uuid":
            yield from _record(record)
            record = {}
        if found:
            record[found[1]] = (found[2], section.place(line))
    yield from _record(record)


def _record(record: dict[str, tuple[str, Place]]) -> Iterator[Fact]:
    def value(column: str) -> str:
        return unquoted(record[column][0]) if column in record else ""

    if "next_cfg" in record or "ovs_version" in record:
        if "other_config" in record:
            text, place = record["other_config"]
            yield from _settings(text, place)
        for name in _SHOWN:
            if value(name):
                yield Setting(at=record[name][1], where="ovs", name=name, value=value(name))
    elif "datapath_type" in record and "name" in record:
        yield OvsBridge(at=record["name"][1], name=value("name"), datapath_type=value("datapath_type"))
    elif {"ofport", "name", "type"} <= record.keys():
        name, error = value("name"), value("error")
        yield OvsInterface(
            at=record["error" if error else "name"][1], bridge="", name=name, kind=value("type"),
            options=mapping(value("options")), status=mapping(value("status")), error=error,
        )  # fmt: skip
        for counted, amount in mapping(value("statistics")).items():
            if (number := whole(amount)) is not None:
                yield Counter(at=record["statistics"][1], group="interface", owner=name, name=counted, value=number)


def _settings(text: str, place: Place) -> Iterator[Fact]:
    for name, value in mapping(text).items():
        yield Setting(at=place, where="other_config", name=name, value=value)


@parser(
    "ovs-vsctl get Open_vSwitch",
    command=r"ovs-vsctl\s+(?:-\S+\s+)*get\s+[Oo]pen(?:_[vV][sS]witch)?\s+\.\s+(?P<column>[a-z_]+)(?:[: ](?P<key>[\w-]+))?\s*$",
)
def columns(section: Section) -> Iterator[Fact]:
    """One column, or one key of it."""
    column, key = section.fields.get("column", ""), section.fields.get("key", "")
    for line in section.lines:
        text = line.text.strip()
        # What ovs-vsctl says instead of a value names itself or the key.
        if not text or text.startswith(("ovs-vsctl:", "no key")):
            continue
        if column == "other_config" and key:
            yield Setting(at=section.place(line), where="other_config", name=key, value=unquoted(text))
        elif column == "other_config":
            yield from _settings(text, section.place(line))
        elif column in _SHOWN:
            yield Setting(at=section.place(line), where="ovs", name=column, value=unquoted(text))
        return


@parser(
    "fdb/stats-show",
    command=r"ovs-appctl\s+fdb/stats-show(?:\s|$)",
    shape=r'\s{0,8}Statistics for bridge "',
)
def addresses(section: Section) -> Iterator[Fact]:
    """How full the tables of learned addresses are."""
    bridge = ""
    for line in section.lines:
        if named := re.match(r'\s*Statistics for bridge "([^"]{1,64})"', line.text):
            bridge = named[1]
        elif full := re.match(r"\s*Current/maximum MAC entries in the table: (\d{1,9})/(\d{1,9})\s*$", line.text):
            for name, value in (("current", full[1]), ("maximum", full[2])):
                yield Counter(at=section.place(line), group="fdb", owner=bridge, name=name, value=int(value))
        elif total := re.match(r"\s*Total number of ([a-z ]{1,20}) MAC entries\s*: (\d{1,19})\s*$", line.text):
            yield Counter(at=section.place(line), group="fdb", owner=bridge, name=total[1], value=int(total[2]))
