"""The flow tables of one bridge: rules come, change, go, and are found."""

import time
from collections.abc import Callable, Iterator

from pktpath.errors import BadInput
from pktpath.switch.classifier import Classifier
from pktpath.switch.openflow import MAX_TABLE, Group, OfActions, Output
from pktpath.switch.rules import Aggregate, Command, Expired, FlowMod, Lookups, Rule


class Table:
    """One flow table."""

    def __init__(self, number: int) -> None:
        self.counters = Lookups(number)
        self.classifier: Classifier[Rule] = Classifier()


class Tables:
    """All flow tables of a bridge; a table exists once it was written to or looked into."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tables: dict[int, Table] = {}
        self._mortal: set[Rule] = set()
        """Rules with a timeout: the only ones that `expire` looks at."""

    def table(self, number: int) -> Table:
        """Return a table; an empty one where there is none yet."""
        table = self._tables.get(number)
        if table is None:
            table = self._tables[number] = Table(number)
        return table

    def __iter__(self) -> Iterator[Table]:
        return iter(sorted(self._tables.values(), key=lambda table: table.counters.number))

    def __len__(self) -> int:
        return sum(len(table.classifier) for table in self._tables.values())

    def apply(self, mod: FlowMod) -> int:
        """Make one change; return how many rules it added, changed or removed. A change that cannot be leaves all as it is."""
        if mod.command is Command.ADD:
            self._add(mod)
            return 1
        found = self.select(mod, strict=mod.command in {Command.MODIFY_STRICT, Command.DELETE_STRICT})
        if mod.command in {Command.DELETE, Command.DELETE_STRICT}:
            for rule in found:
                self._remove(rule)
            return len(found)
        if not found and not mod.cookie_mask:
            # As in OpenFlow 1.0: nothing to modify means to add.
            self._add(mod)
            return 1
        for rule in found:
            rule.actions = _actions_of(mod)
            rule.modified = self._clock()
            rule.cookie = rule.cookie if mod.cookie is None else mod.cookie
            if "reset_counts" in mod.flags:
                rule.packets = rule.size = 0
        return len(found)

    def select(self, mod: FlowMod, *, strict: bool = False) -> list[Rule]:
        """Return the rules that a change, or a question, is about: by table, then highest priority, then oldest first."""
        tables = self if mod.table is None else ([self._tables[mod.table]] if mod.table in self._tables else [])
        found: list[Rule] = []
        for table in tables:
            if strict:
                rule = table.classifier.find(mod.value, mod.mask, mod.priority)
                rules = [rule] if rule else []
            elif mod.mask:
                rules = [
                    one for one in table.classifier.rules() if not mod.mask & ~one.mask and one.value & mod.mask == mod.value
                ]
            else:
                rules = table.classifier.rules()
            found += sorted((rule for rule in rules if _chosen(rule, mod)), key=lambda rule: (-rule.priority, rule.created))
        if strict and len({rule.table.number for rule in found}) > 1:
            # As Open vSwitch: a strict change without a table must mean one rule.
            return []
        return found

    def aggregate(self, mod: FlowMod) -> Aggregate:
        """Return the sums over the selected rules."""
        rules = self.select(mod)
        return Aggregate(sum(rule.packets for rule in rules), sum(rule.size for rule in rules), len(rules))

    def expire(self, now: float) -> Expired:
        """Remove the rules whose time is over at this monotonic second."""
        gone = Expired()
        for rule in list(self._mortal):
            if rule.hard_timeout and now >= rule.modified + rule.hard_timeout:
                gone.hard.append(rule)
            elif rule.idle_timeout and now >= max(rule.used, rule.modified) + rule.idle_timeout:
                gone.idle.append(rule)
        for rule in gone.hard + gone.idle:
            self._remove(rule)
        return gone

    def without_group(self, number: int) -> int:
        """Remove the rules that send to a group that goes; return how many."""
        rules = [rule for table in self for rule in table.classifier.rules() if _sends_to_group(rule.actions, number)]
        for rule in rules:
            self._remove(rule)
        return len(rules)

    def _add(self, mod: FlowMod) -> None:
        actions = _actions_of(mod)
        number = mod.table or 0
        if not 0 <= number <= MAX_TABLE:
            said = f"table={number}: a flow stands in a table from 0 to {MAX_TABLE}"
            raise BadInput(said)
        table = self.table(number)
        if "check_overlap" in mod.flags and (other := _overlap(table.classifier, mod)):
            said = f"check_overlap: a flow of priority {other.priority} in table {number} may match the same packets"
            raise BadInput(said)
        old = table.classifier.find(mod.value, mod.mask, mod.priority)
        if old:
            self._remove(old)
        now = self._clock()
        rule = Rule(
            mod.value, mod.mask, mod.priority, table.counters, actions, mod.cookie or 0, mod.idle_timeout, mod.hard_timeout,
            mod.flags, mod.importance, now, now, now,
        )  # fmt: skip
        table.classifier.add(rule)
        if rule.idle_timeout or rule.hard_timeout:
            self._mortal.add(rule)

    def _remove(self, rule: Rule) -> None:
        self._tables[rule.table.number].classifier.remove(rule)
        self._mortal.discard(rule)


def _actions_of(mod: FlowMod) -> OfActions:
    if mod.actions is None:
        said = f"{mod.command.value}: must specify an action (actions=drop drops)"
        raise BadInput(said)
    return mod.actions


def _overlap(classifier: Classifier[Rule], mod: FlowMod) -> Rule | None:
    for rule in classifier.rules():
        same = rule.value == mod.value and rule.mask == mod.mask
        if rule.priority == mod.priority and not same and not (rule.value ^ mod.value) & rule.mask & mod.mask:
            return rule
    return None


def _chosen(rule: Rule, mod: FlowMod) -> bool:
    if (rule.cookie ^ mod.cookie_value) & mod.cookie_mask:
        return False
    if mod.out_port is not None and not any(isinstance(one, Output) and one.port == mod.out_port for one in rule.actions):
        return False
    return mod.out_group is None or _sends_to_group(rule.actions, mod.out_group)


def _sends_to_group(actions: OfActions, number: int) -> bool:
    return any(isinstance(action, Group) and action.number == number for action in actions)
