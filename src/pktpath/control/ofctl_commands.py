"""The server's side of `pktpath ofctl`: `ofctl/<verb>`, each with a bridge and at most two words more.

Replies are what ovs-ofctl 3.1 prints, numbers of requests included. A change is made whole or not at all.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from pktpath.control import ofctl_text
from pktpath.control.bridge_commands import find_bridge
from pktpath.control.commands import Commands
from pktpath.control.flow_text import dump_flows, parse_flow, parse_flows
from pktpath.control.flow_values import port
from pktpath.control.ofctl_groups import Verb, group_verbs
from pktpath.errors import BadInput
from pktpath.switch.bridge import Bridge, BridgePort
from pktpath.switch.rules import Command, FlowMod, Rule
from pktpath.switch.tables import Tables
from pktpath.switch.views import DatapathView
from pktpath.switch.xlate import Slow

_PORT_ACTIONS = ("flood", "no-flood")
_XID, _XID_ASKED = 4, 8
"""Of a request for flows: ovs-ofctl asks for the names of ports first where there are words to understand."""


def ofctl_commands(
    commands: Commands,
    slow: Slow,
    view: Callable[[], DatapathView],
    save: Callable[[], None] | None = None,
    *,
    fresh: Callable[[], None] | None = None,
    address: ofctl_text.Address | None = None,
) -> None:
    """Register `ofctl/<verb>` for all verbs of `pktpath ofctl`.

    Args:
        commands: where.
        slow: the bridges.
        view: the datapath now, for what ports count.
        save: called after each change.
        fresh: called before something is told that counts: credits the rules with what megaflows forwarded.
        address: of the interface of a port, by its number in the datapath; without it no port has one.

    """
    own = _Ofctl(view, fresh or _nothing, address or (lambda _number: ""))
    saved = save or _nothing
    verbs = [
        Verb("show", "bridge", 0, 0, own.show, False),
        Verb("dump-tables", "bridge", 0, 0, own.dump_tables, False),
        Verb("dump-aggregate", "bridge [flow]", 0, 1, own.dump_aggregate, False),
        Verb("dump-flows", "bridge [flow]", 0, 1, own.dump_flows, False),
        Verb("add-flow", "bridge flow", 1, 1, own.add_flow, True),
        Verb("add-flows", "bridge flows [name]", 1, 2, own.add_flows, True),
        Verb("mod-flows", "[--strict] bridge flow", 1, 2, own.mod_flows, True),
        Verb("del-flows", "[--strict] bridge [flow]", 0, 2, own.del_flows, True),
        Verb("replace-flows", "bridge flows [name]", 1, 2, own.replace_flows, True),
        Verb("dump-ports", "bridge [port]", 0, 1, own.dump_ports, False),
        Verb("dump-ports-desc", "bridge [port]", 0, 1, own.dump_ports_desc, False),
        Verb("mod-port", "bridge port action", 2, 2, own.mod_port, True),
        *group_verbs(own.fresh),
    ]
    for verb in verbs:
        run = _run(slow, verb, saved if verb.changes else _nothing)
        commands.register(f"ofctl/{verb.name}", verb.usage, verb.least + 1, verb.most + 1, run)


def _nothing() -> None:
    """Do nothing."""


def _run(slow: Slow, verb: Verb, after: Callable[[], None]) -> Callable[[list[str]], str]:
    """Return what finds the bridge first, which may stand behind `--strict`, and calls `after` in the end."""

    def run(words: list[str]) -> str:
        options = [word for word in words if word == "--strict"]
        if options and verb.name not in {"mod-flows", "del-flows"}:
            message = f"--strict is for mod-flows and del-flows, not for {verb.name}"
            raise BadInput(message)
        plain = [word for word in words if word != "--strict"]
        if not plain:
            message = f"{verb.name} takes a bridge"
            raise BadInput(message)
        bridge = find_bridge(slow, plain[0])
        text = verb.handler(bridge, [*options, *plain[1:]])
        after()
        return text or ""

    return run


def _question(bridge: Bridge, words: list[str]) -> FlowMod:
    return parse_flow(words[0] if words else "", bridge.numbers(), Command.DELETE)


def _apply(bridge: Bridge, mods: Sequence[FlowMod]) -> None:
    """Make all changes or none."""
    for mod in mods:
        bridge.check(mod.actions or ())
    if len(mods) > 1 and any("check_overlap" in mod.flags for mod in mods):
        # Whether this holds depends on those before it.
        rehearsal = Tables(bridge.clock)
        for rule in bridge.flows():
            rehearsal.table(rule.table.number).classifier.add(replace(rule))
        for mod in mods:
            rehearsal.apply(mod)
    bridge.flow_mods(mods)


def _same(rule: Rule, mod: FlowMod) -> bool:
    """Whether a flow asks for what is there."""
    wanted = (mod.actions, mod.cookie or 0, mod.idle_timeout, mod.hard_timeout, mod.importance, mod.flags)
    return wanted == (rule.actions, rule.cookie, rule.idle_timeout, rule.hard_timeout, rule.importance, rule.flags)


def _ports(bridge: Bridge, words: list[str]) -> list[BridgePort]:
    if not words:
        return list(bridge.ports.values())
    wanted = port(words[0], bridge.numbers(), "port")
    return [bridge.ports[wanted]] if wanted in bridge.ports else []


class _Ofctl(NamedTuple):
    """The verbs; each takes the bridge and the words behind it."""

    view: Callable[[], DatapathView]
    fresh: Callable[[], None]
    address: ofctl_text.Address

    def _views(self, bridge: Bridge) -> ofctl_text.Views:
        return {view.openflow: view for view in self.view().ports if view.bridge == bridge.name}

    # Flows

    def dump_flows(self, bridge: Bridge, words: list[str]) -> str:
        question = _question(bridge, words)
        self.fresh()
        head = f"NXST_FLOW reply (xid={_XID_ASKED if words else _XID:#x}):\n"
        return head + dump_flows(bridge.flows(question), bridge.clock())

    def dump_aggregate(self, bridge: Bridge, words: list[str]) -> str:
        question = _question(bridge, words)
        self.fresh()
        return ofctl_text.aggregate(bridge.tables.aggregate(question), xid=_XID_ASKED if words else _XID)

    def add_flow(self, bridge: Bridge, words: list[str]) -> None:
        _apply(bridge, [parse_flow(words[0], bridge.numbers())])

    def add_flows(self, bridge: Bridge, words: list[str]) -> None:
        text, name = words[0], words[-1] if len(words) > 1 else "-"
        _apply(bridge, parse_flows(text.splitlines(), bridge.numbers(), name=name))

    def replace_flows(self, bridge: Bridge, words: list[str]) -> None:
        text, name = words[0], words[-1] if len(words) > 1 else "-"
        mods = parse_flows(text.splitlines(), bridge.numbers(), name=name)
        wanted = {(mod.table or 0, mod.priority, mod.value, mod.mask): mod for mod in mods}
        for mod in mods:
            if mod.command is not Command.ADD:
                message = f"{name}: {mod.command.value}: a file for replace-flows says what is there, not what to do"
                raise BadInput(message)
        there = {(rule.table.number, rule.priority, rule.value, rule.mask): rule for rule in bridge.flows()}
        gone = [
            FlowMod(value, mask, priority, table, command=Command.DELETE_STRICT)
            for table, priority, value, mask in there
            if (table, priority, value, mask) not in wanted
        ]
        new = [mod for identity, mod in wanted.items() if identity not in there or not _same(there[identity], mod)]
        _apply(bridge, [*gone, *new])

    def mod_flows(self, bridge: Bridge, words: list[str]) -> None:
        *options, flow = words
        if options not in ([], ["--strict"]):
            message = "mod-flows takes a bridge and a flow"
            raise BadInput(message)
        _apply(bridge, [parse_flow(flow, bridge.numbers(), Command.MODIFY_STRICT if options else Command.MODIFY)])

    def del_flows(self, bridge: Bridge, words: list[str]) -> None:
        strict, flows = words[:1] == ["--strict"], [word for word in words if word != "--strict"]
        if len(flows) > 1:
            message = "del-flows takes a bridge and at most one flow"
            raise BadInput(message)
        command = Command.DELETE_STRICT if strict else Command.DELETE
        _apply(bridge, [parse_flow(flows[0] if flows else "", bridge.numbers(), command)])

    # The bridge and its ports

    def show(self, bridge: Bridge, _words: list[str]) -> str:
        return ofctl_text.show(bridge, self.address)

    def dump_tables(self, bridge: Bridge, _words: list[str]) -> str:
        self.fresh()
        return ofctl_text.tables(bridge)

    def dump_ports(self, bridge: Bridge, words: list[str]) -> str:
        named = bool(words) and not words[0].isdigit() and words[0].upper() != "LOCAL"
        return ofctl_text.ports_stats(_ports(bridge, words), self._views(bridge), xid=4 if named else 2)

    def dump_ports_desc(self, bridge: Bridge, words: list[str]) -> str:
        return ofctl_text.ports_desc(_ports(bridge, words), self.address)

    def mod_port(self, bridge: Bridge, words: list[str]) -> None:
        chosen, action = _ports(bridge, words), words[1]
        if not chosen:
            message = f"port {words[0]}: is not on bridge {bridge.name}"
            raise BadInput(message)
        if action not in _PORT_ACTIONS:
            message = f"mod-port {words[0]} {action}: is not there; {' and '.join(_PORT_ACTIONS)} are"
            raise BadInput(message)
        bridge.ports[chosen[0].openflow] = replace(chosen[0], flood=action == "flood")
        bridge.changed()
