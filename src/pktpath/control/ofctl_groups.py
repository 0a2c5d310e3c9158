"""Groups and meters of `ofctl/<verb>`; `ofctl_commands` registers them."""

import copy
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from pktpath.control.flow_values import number
from pktpath.control.group_text import (
    group_stats_text,
    group_text,
    meter_stats_text,
    meters_text,
    parse_group,
    parse_meter,
    parse_meter_number,
)
from pktpath.errors import BadInput
from pktpath.switch.bridge import Bridge
from pktpath.switch.groups import Group, GroupMod
from pktpath.switch.meters import Meter
from pktpath.switch.openflow import Group as ToGroup
from pktpath.switch.openflow import Meter as ToMeter
from pktpath.switch.rules import Command, FlowMod

Handler = Callable[[Bridge, list[str]], str | None]
"""Takes the bridge and the words behind it; returns the reply, None where there is nothing to say."""

_GROUP_COMMANDS = ("add", "modify", "add_or_mod", "delete")


class Verb(NamedTuple):
    """One verb of `pktpath ofctl`."""

    name: str
    usage: str
    least: int
    most: int
    """Numbers of words behind the bridge."""
    handler: Handler
    changes: bool


def group_verbs(fresh: Callable[[], None]) -> list[Verb]:
    """Return the verbs of groups and meters; `fresh` is called before something is told that counts."""
    return [
        Verb("add-group", "bridge group", 1, 1, _add_group, True),
        Verb("add-groups", "bridge groups [name]", 1, 2, _add_groups, True),
        Verb("mod-group", "bridge group", 1, 1, _mod_group, True),
        Verb("del-groups", "bridge [group]", 0, 1, _del_groups, True),
        Verb("dump-groups", "bridge [group]", 0, 1, _dump_groups, False),
        Verb("dump-group-stats", "bridge [group]", 0, 1, partial(_dump_group_stats, fresh), False),
        Verb("add-meter", "bridge meter", 1, 1, _add_meter, True),
        Verb("mod-meter", "bridge meter", 1, 1, _mod_meter, True),
        Verb("del-meters", "bridge [meter]", 0, 1, _del_meters, True),
        Verb("dump-meters", "bridge [meter]", 0, 1, _dump_meters, False),
        Verb("meter-stats", "bridge [meter]", 0, 1, partial(_meter_stats, fresh), False),
    ]


def _references(bridge: Bridge, kind: type[ToGroup | ToMeter]) -> Counter[int]:
    """Return how many flows send to each group or meter."""
    found: Counter[int] = Counter()
    for rule in bridge.flows():
        found.update({action.number for action in rule.actions if isinstance(action, kind)})
    return found


def _group_line(line: str, bridge: Bridge) -> GroupMod:
    first, _, rest = line.partition(" ")
    return parse_group(rest, bridge.numbers(), first) if first in _GROUP_COMMANDS else parse_group(line, bridge.numbers())


def _groups(bridge: Bridge, words: list[str]) -> list[Group]:
    chosen: Iterable[int] = bridge.groups
    if words and words[0].removeprefix("group_id=") not in {"all", "ALL"}:
        chosen = [number(words[0].removeprefix("group_id="), 0xFFFFFF00, "group_id")]
    return [group for one in chosen if (group := bridge.groups.get(one))]


def _meters(bridge: Bridge, words: list[str]) -> list[Meter]:
    wanted = parse_meter_number(words[0]) if words else None
    if wanted is None:
        return list(bridge.meters)
    meter = bridge.meters.get(wanted)
    if meter is None:
        message = f"meter={wanted}: is not on bridge {bridge.name} (add-meter adds it)"
        raise BadInput(message)
    return [meter]


def _add_group(bridge: Bridge, words: list[str]) -> None:
    bridge.group_mod(parse_group(words[0], bridge.numbers()))


def _add_groups(bridge: Bridge, words: list[str]) -> None:
    text, name = words[0], words[-1] if len(words) > 1 else "-"
    # A bridge with the same groups, for a try.
    rehearsal = Bridge(bridge.name, "secure", bridge.clock)
    rehearsal.groups, rehearsal.meters = copy.deepcopy(bridge.groups), bridge.meters
    mods = []
    for count, line in enumerate(text.splitlines(), 1):
        if plain := line.partition("#")[0].strip():
            try:
                mods.append(_group_line(plain, bridge))
                rehearsal.group_mod(mods[-1])
            except BadInput as error:
                message = f"{name}:{count}: {error}"
                raise BadInput(message) from None
    for mod in mods:
        bridge.group_mod(mod)


def _mod_group(bridge: Bridge, words: list[str]) -> None:
    bridge.group_mod(parse_group(words[0], bridge.numbers(), "modify"))


def _del_groups(bridge: Bridge, words: list[str]) -> None:
    bridge.group_mod(parse_group(words[0], bridge.numbers(), "delete") if words else GroupMod("delete", None))


def _dump_groups(bridge: Bridge, words: list[str]) -> str:
    rows = [f"{group_text(group)}\n" for group in _groups(bridge, words)]
    return "NXST_GROUP_DESC reply (xid=0x2):\n" + "".join(rows)


def _dump_group_stats(fresh: Callable[[], None], bridge: Bridge, words: list[str]) -> str:
    chosen = _groups(bridge, words)
    fresh()
    now, references = bridge.clock(), _references(bridge, ToGroup)
    rows = [f"{group_stats_text(group, now, references[group.number])}\n" for group in chosen]
    return "NXST_GROUP reply (xid=0x6):\n" + "".join(rows)


def _add_meter(bridge: Bridge, words: list[str]) -> None:
    bridge.meters.add(parse_meter(words[0]))
    bridge.changed()


def _mod_meter(bridge: Bridge, words: list[str]) -> None:
    bridge.meters.modify(parse_meter(words[0]))
    bridge.changed()


def _del_meters(bridge: Bridge, words: list[str]) -> None:
    wanted = parse_meter_number(words[0]) if words else None
    gone = {ToMeter(meter.config.number) for meter in bridge.meters if wanted in {None, meter.config.number}}
    # The flows that send to it go along.
    for rule in [rule for rule in bridge.flows() if not gone.isdisjoint(rule.actions)]:
        bridge.tables.apply(FlowMod(rule.value, rule.mask, rule.priority, rule.table.number, command=Command.DELETE_STRICT))
    bridge.meters.delete(wanted)
    bridge.changed()


def _dump_meters(bridge: Bridge, words: list[str]) -> str:
    return "OFPST_METER_CONFIG reply (OF1.3) (xid=0x2):\n" + meters_text(_meters(bridge, words))


def _meter_stats(fresh: Callable[[], None], bridge: Bridge, words: list[str]) -> str:
    chosen = _meters(bridge, words)
    fresh()
    now, references = bridge.clock(), _references(bridge, ToMeter)
    blocks = [meter_stats_text([meter], now, references[meter.config.number]) for meter in chosen]
    return "OFPST_METER reply (OF1.3) (xid=0x2):\n" + "\n".join(blocks)
