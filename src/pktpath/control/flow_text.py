"""Flows in ovs-ofctl's syntax: text to a change of the tables, and rules to the text of `dump-flows`."""

import re
from collections.abc import Iterable
from typing import Any

from pktpath.control.flow_actions import ActionText, actions_text
from pktpath.control.flow_match import MatchText, match_text
from pktpath.control.flow_values import Ports, number, port
from pktpath.control.flow_words import Word, refuse, words
from pktpath.errors import BadInput
from pktpath.switch.openflow import DEFAULT_PRIORITY, MAX_TABLE
from pktpath.switch.openflow_fields import ALIASES, FIELD_NAMES, SHORTHANDS
from pktpath.switch.rules import Command, FlowMod, Rule

FLAGS = ("send_flow_rem", "check_overlap", "reset_counts", "no_packet_counts", "no_byte_counts")
IGNORED = frozenset({"duration", "n_packets", "n_bytes", "idle_age", "hard_age"})
"""So that a dump can be read again."""
_ACTIONS = re.compile(r"(?:^|[\s,])actions?\s*=\s*")
_NUMBERS = {"priority": 0xFFFF, "idle_timeout": 0xFFFF, "hard_timeout": 0xFFFF, "importance": 0xFFFF}


def parse_flow(text: str, ports: Ports | None = None, command: Command = Command.ADD) -> FlowMod:
    """Return what one line of flow text asks for; `ports` are the bridge's, by name.

    A line may begin with the word of another command (`delete_strict …`), as in a file of `ovs-ofctl add-flows`.
    """
    line = " ".join(text.split())
    first, _, rest = line.partition(" ")
    if first in {one.value for one in Command}:
        command, line = Command(first), rest
    try:
        return _flow(line, ports, command)
    except BadInput as error:
        shown = line if len(line) <= 160 else line[:159] + "…"
        said = f"flow '{shown}': {error}"
        raise BadInput(said) from None


def parse_flows(lines: Iterable[str], ports: Ports | None = None, *, name: str = "-") -> list[FlowMod]:
    """Return the changes of a file of flows; empty lines and what follows a # are no flows. `name` is the file's."""
    found = []
    for count, line in enumerate(lines, 1):
        flow = line.partition("#")[0].strip()
        if flow:
            try:
                found.append(parse_flow(flow, ports))
            except BadInput as error:
                said = f"{name}:{count}: {error}"
                raise BadInput(said) from None
    return found


def _flow(line: str, ports: Ports | None, command: Command) -> FlowMod:
    split = _ACTIONS.search(line)
    deletes = command in {Command.DELETE, Command.DELETE_STRICT}
    if split is None and not deletes:
        said = "must specify an action (actions=drop drops)"
        raise BadInput(said)
    head, tail = (line, None) if split is None else (line[: split.start()], line[split.end() :])
    match = MatchText(ports)
    numbers: dict[str, Any] = {}
    flags: set[str] = set()
    for word in words(head):
        _word(word, match, numbers, flags, ports)
    value, mask = match.done()
    actions = None if tail is None or deletes else ActionText(ports, (value, mask), numbers.get("table", 0)).read(tail)
    if deletes:
        # A cookie in a question is one to look for.
        looked_for = numbers.pop("cookie", None)
        if looked_for is not None:
            numbers["cookie_value"], numbers["cookie_mask"] = looked_for, (1 << 64) - 1
    numbers.setdefault("priority", DEFAULT_PRIORITY)
    return FlowMod(value, mask, actions=actions, flags=frozenset(flags), command=command)._replace(**numbers)


def _word(word: Word, match: MatchText, numbers: dict[str, Any], flags: set[str], ports: Ports | None) -> None:
    name, value = word.name, word.value
    if value is None:
        if name in SHORTHANDS:
            match.shorthand(name)
        elif name in FLAGS:
            flags.add(name)
        elif name in FIELD_NAMES or name in ALIASES or name in _NUMBERS or name in {"table", "cookie", "out_port", "out_group"}:
            said = f"field {name} missing value"
            raise BadInput(said)
        elif name != "eth":
            raise refuse(word, "keyword")
    elif name == "cookie":
        cookie, slash, mask = value.partition("/")
        wanted = number(cookie, (1 << 64) - 1, name)
        if slash:
            numbers["cookie_mask"] = (1 << 64) - 1 if mask == "-1" else number(mask, (1 << 64) - 1, name)
            numbers["cookie_value"] = wanted & numbers["cookie_mask"]
        else:
            numbers["cookie"] = wanted
    elif name == "table":
        table = number(value, 255, name)
        if table <= MAX_TABLE:
            numbers[name] = table
    elif name in _NUMBERS:
        numbers[name] = number(value, _NUMBERS[name], name)
    elif name == "out_port":
        numbers[name] = port(value, ports, name)
    elif name == "out_group":
        numbers[name] = number(value, 0xFFFFFF00, name)
    elif name in FIELD_NAMES or name in ALIASES:
        match.field(name, value)
    elif name not in IGNORED:
        raise refuse(word, "keyword")


def rule_text(rule: Rule) -> str:
    """Return priority and match of a rule, as `dump-flows` prints them before the actions."""
    parts = [] if rule.priority == DEFAULT_PRIORITY else [f"priority={rule.priority}"]
    match = match_text(rule.value, rule.mask)
    return ",".join(parts + ([match] if match else []))


def dump_line(rule: Rule, now: float, *, stats: bool = True) -> str:
    """Return one line of `dump-flows`; `stats=False` is its --no-stats."""
    age = max(int(now * 1000) - int(rule.created * 1000), 0)
    duration = f"{age // 1000}" + (f".{age % 1000:03d}" if age % 1000 else "") + "s"
    parts = [f"cookie=0x{rule.cookie:x}"] if stats or rule.cookie else []
    parts += [f"duration={duration}"] if stats else []
    parts += [f"table={rule.table.number}"] if stats or rule.table.number else []
    if stats:
        parts += [f"n_packets={rule.packets}", f"n_bytes={rule.size}"]
    parts += [f"idle_timeout={rule.idle_timeout}"] if rule.idle_timeout else []
    parts += [f"hard_timeout={rule.hard_timeout}"] if rule.hard_timeout else []
    if stats:
        parts.append(f"idle_age={max(int(now - rule.used), 0)}")
        hard = max(int(now - rule.modified), 0)
        parts += [f"hard_age={hard}"] if hard != age // 1000 else []
    text = rule_text(rule)
    return " " + "".join(f"{part}, " for part in parts) + (f"{text} " if text else "") + f"actions={actions_text(rule.actions)}"


def dump_flows(rules: Iterable[Rule], now: float, *, stats: bool = True) -> str:
    """Return what `dump-flows` prints of these rules, without the line about the reply."""
    return "".join(dump_line(rule, now, stats=stats) + "\n" for rule in rules)
