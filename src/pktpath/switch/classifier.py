"""One table of rules: the best one for a key, and the bits of the key that had to be looked at to find it.

Rules with the same mask stand in one subtable, a dictionary from masked key to rules; subtables are asked in the
order of their highest priority, and no further than the best rule found. A hit has looked at the whole mask. A miss
has looked at less: at enough bits to tell the key from every rule of the subtable. A small subtable names one bit a
rule, unless bits already looked at do. A large one keeps its masked keys sorted, and the key parts from all of
them where it parts from its two neighbours: what was looked at is the prefix up to there, of the bits in which these
keys differ at all. Open vSwitch has hash stages and prefix tries for this; here both follow from the order of the bits.
"""

from bisect import bisect_left, insort
from collections import Counter
from typing import Generic, Protocol, TypeVar

from pktpath.switch.fields import FIELDS, KEY_BITS, Stage

FEW = 8
"""Subtables of up to so many masked keys are compared one by one."""

_UP_TO_LINK = sum(field.mask for field in FIELDS.values() if field.stage <= Stage.LINK)
_DESTINATION = FIELDS["nw_dst"].mask | FIELDS["ipv6_dst"].mask
_SOURCE = FIELDS["nw_src"].mask | FIELDS["ipv6_src"].mask
_NETWORK = sum(field.mask for field in FIELDS.values() if field.stage == Stage.NETWORK)
_TRANSPORT = sum(field.mask for field in FIELDS.values() if field.stage == Stage.TRANSPORT)
_TASTE = (_UP_TO_LINK, _DESTINATION, _SOURCE, _NETWORK, _TRANSPORT)
"""Where to look for a difference first. Addresses before the rest of the network's fields: packets differ most there, so
one bit of an address keeps more of them away from a rule than one bit of the protocol."""


class Matching(Protocol):
    """What a classifier asks of a rule."""

    value: int
    """Zero where `mask` is."""
    mask: int
    priority: int


R = TypeVar("R", bound=Matching)


class Subtable(Generic[R]):
    """Rules with one mask."""

    __slots__ = ("_priorities", "_sorted", "_turned", "_varying", "mask", "rules", "top")

    def __init__(self, mask: int) -> None:
        self.mask = mask
        self.rules: dict[int, list[R]] = {}
        """By masked key; highest priority first."""
        self.top = -1
        """Highest priority of all."""
        self._priorities: Counter[int] = Counter()
        self._sorted: list[int] = []
        self._varying = 0
        """Bits in which these masked keys differ, perhaps more: who goes leaves his."""
        two_orders = mask & _DESTINATION and mask & (_SOURCE | _NETWORK) & ~_DESTINATION
        self._turned: list[int] | None = [] if two_orders else None

    def add(self, rule: R) -> None:
        """Add a rule with this mask."""
        rules = self.rules.get(rule.value)
        if rules is None:
            self.rules[rule.value] = [rule]
            if self._sorted:
                self._varying |= rule.value ^ self._sorted[0]
            insort(self._sorted, rule.value)
            if self._turned is not None:
                insort(self._turned, self._turn(rule.value))
        else:
            rules.append(rule)
            rules.sort(key=lambda one: -one.priority)
        self._priorities[rule.priority] += 1
        self.top = max(self.top, rule.priority)

    def remove(self, rule: R) -> None:
        """Remove a rule that is here."""
        rules = self.rules[rule.value]
        rules.remove(rule)
        if not rules:
            del self.rules[rule.value]
            del self._sorted[bisect_left(self._sorted, rule.value)]
            if self._turned is not None:
                del self._turned[bisect_left(self._turned, self._turn(rule.value))]
        self._priorities[rule.priority] -= 1
        if not self._priorities[rule.priority]:
            del self._priorities[rule.priority]
            self.top = max(self._priorities, default=-1)

    @staticmethod
    def _turn(value: int) -> int:
        """Put link and destination address in front of everything: the second order of the bits."""
        return (value & _UP_TO_LINK) << 2 * KEY_BITS | (value & _DESTINATION) << KEY_BITS | value

    def miss(self, masked: int, looked: int) -> int:
        """Return bits that tell a masked key from all of these rules, beside those that were looked at already."""
        if len(self._sorted) <= FEW:
            bits = 0
            for value in self._sorted:
                apart = masked ^ value
                if not apart & (looked | bits):
                    bits |= _first(apart)
            return bits
        # Bits that are the same in all of them, and in the key, tell nothing.
        point = _parting(self._sorted, masked)
        prefix = self._varying & -point | point
        if self._turned is None:
            return prefix
        point = _parting(self._turned, self._turn(masked))
        turned = 0
        for shift, part in ((2 * KEY_BITS, _UP_TO_LINK), (KEY_BITS, _DESTINATION), (0, -1)):
            here = point >> shift
            if here:
                turned |= self._varying & part & -here | here
                break
            turned |= self._varying & part
        return turned if (turned & ~looked).bit_count() < (prefix & ~looked).bit_count() else prefix


def _first(apart: int) -> int:
    """Return the one bit of a difference that is worth a look."""
    for part in _TASTE:
        found = apart & part
        if found:
            return 1 << found.bit_length() - 1
    return 1 << apart.bit_length() - 1


def _parting(ordered: list[int], one: int) -> int:
    """Return the bit at which a number parts from every number of a sorted list that does not hold it."""
    place = bisect_left(ordered, one)
    apart = one ^ ordered[place] if place < len(ordered) else -1
    if place:
        before = one ^ ordered[place - 1]
        apart = before if apart < 0 else min(apart, before)
    return 1 << apart.bit_length() - 1


class Classifier(Generic[R]):
    """The rules of one table."""

    def __init__(self) -> None:
        self._subtables: dict[int, Subtable[R]] = {}
        self._order: list[Subtable[R]] = []

    def __len__(self) -> int:
        return sum(len(rules) for subtable in self._order for rules in subtable.rules.values())

    def rules(self) -> list[R]:
        """Return all rules, in no order that matters."""
        return [rule for subtable in self._order for rules in subtable.rules.values() for rule in rules]

    def find(self, value: int, mask: int, priority: int) -> R | None:
        """Return the rule with exactly this match and priority."""
        subtable = self._subtables.get(mask)
        rules = subtable.rules.get(value, ()) if subtable else ()
        return next((rule for rule in rules if rule.priority == priority), None)

    def add(self, rule: R) -> None:
        """Add a rule; one with the same match and priority must not be there."""
        subtable = self._subtables.get(rule.mask)
        if subtable is None:
            subtable = self._subtables[rule.mask] = Subtable(rule.mask)
            self._order.append(subtable)
        before = subtable.top
        subtable.add(rule)
        if subtable.top != before:
            self._sort()

    def remove(self, rule: R) -> None:
        """Remove a rule that is here."""
        subtable = self._subtables[rule.mask]
        before = subtable.top
        subtable.remove(rule)
        if not subtable.rules:
            del self._subtables[rule.mask]
            self._order.remove(subtable)
        elif subtable.top != before:
            self._sort()

    def _sort(self) -> None:
        self._order.sort(key=lambda subtable: -subtable.top)

    def lookup(self, key: int, looked: int = 0) -> tuple[R | None, int]:
        """Return the best rule for a key and all bits looked at, `looked` included.

        Every key that agrees in these bits has the same best rule. Of two rules of one priority either may be the best.
        """
        best: R | None = None
        priority = -1
        for subtable in self._order:
            if subtable.top <= priority:
                break
            masked = key & subtable.mask
            rules = subtable.rules.get(masked)
            if rules is None:
                looked |= subtable.miss(masked, looked)
                continue
            looked |= subtable.mask
            if rules[0].priority > priority:
                best = rules[0]
                priority = best.priority
        return best, looked
