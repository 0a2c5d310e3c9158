"""All facts of one look at a host, as rules ask for them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Any, Generic, TypeVar

from pktpath.doctor.facts.base import Fact, Place
from pktpath.doctor.facts.host import Counter

F = TypeVar("F", bound=Fact)


@dataclass(frozen=True, slots=True)
class Pair(Generic[F]):
    """The first and the last look at one thing; the same fact where there was one look only."""

    first: F
    last: F

    @property
    def twice(self) -> bool:
        """Whether there were two looks."""
        return self.first is not self.last

    @property
    def seconds(self) -> float | None:
        """Return how much later the last one is; None where that is not known."""
        before, after = self.first.at.when, self.last.at.when
        return after - before if before is not None and after is not None and after > before else None


def took(seconds: float | None) -> str:
    """Return a span of time as people say it: `0.54 s`, `2.1 s`, `13 s`, `300 s`."""
    return "a while" if seconds is None else f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


@dataclass(frozen=True, slots=True)
class Change:
    """What a counter did between the first look and the last; since it began to count where there was one look only."""

    counter: Counter
    """The last look."""
    rise: int
    """By how much it rose between the looks; its value where there was one look. A counter made anew counts from 0."""
    seconds: float | None
    """Between the looks; None where it is not known."""
    twice: bool
    """Whether there were two looks: else the rise may be old."""
    places: tuple[Place, ...]
    """The lines of both looks."""

    @property
    def rate(self) -> float | None:
        """Return the rise a second; None where the time between is not known."""
        return self.rise / self.seconds if self.twice and self.seconds else None

    def __str__(self) -> str:
        """Return the rise in words: `12 in 5 s (2.4/s)`, `12`, `12 since it began to count`."""
        if not self.twice:
            return f"{self.rise:,} since it began to count"
        if self.seconds is None:
            return f"{self.rise:,} between two looks"
        return f"{self.rise:,} in {took(self.seconds)} ({self.rise / self.seconds:,.1f}/s)"


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that could not be looked at."""

    what: str
    """`system calls of ovs-vswitchd`, a file, a section of one."""
    why: str
    """`strace is not installed`, `needs CAP_SYS_PTRACE`, `cut off in line 12`."""
    remedy: str = ""
    """What would help."""


def fault_of(error: Exception) -> str:
    """Return what to say where pktpath itself failed: the others shall go on, and somebody shall hear of it."""
    return f"a fault of pktpath's own, please report it: {type(error).__name__}: {str(error)[:200]}"


class Case:
    """All facts of a look, and what could not be looked at."""

    def __init__(self, facts: Iterable[Fact], missing: Iterable[Missing] = (), *, live: bool = False) -> None:
        """Sort the facts by their kind."""
        self.live = live
        """Whether it is the running host: then absence means something."""
        self.missing = tuple(missing)
        self._facts: dict[type[Fact], list[Fact]] = defaultdict(list)
        for fact in facts:
            self._facts[type(fact)].append(fact)
        self._latest: dict[type[Fact], list[Any]] = {}
        self._pairs: dict[type[Fact], list[Any]] = {}
        self._changes: dict[str, list[Change]] | None = None

    def __contains__(self, kind: type[Fact] | UnionType) -> bool:
        """Whether there is any fact of this kind, or of one of several: `(Thread | Stack) in case`."""
        return any(one in self for one in kind.__args__) if isinstance(kind, UnionType) else bool(self._facts.get(kind))

    def __iter__(self) -> Iterator[Fact]:
        """Give all facts, kind after kind."""
        for facts in self._facts.values():
            yield from facts

    def all(self, kind: type[F]) -> list[F]:
        """Return all facts of a kind in the order in which they were read."""
        return self._facts.get(kind, [])  # type: ignore[return-value]

    def latest(self, kind: type[F]) -> list[F]:
        """Return the last look at each thing of a kind."""
        if kind not in self._latest:
            self._latest[kind] = [pair.last for pair in self.pairs(kind)]
        return self._latest[kind]

    def pairs(self, kind: type[F]) -> list[Pair[F]]:
        """Return the first and the last look at each thing of a kind, in the order in which the things were seen first."""
        if kind not in self._pairs:
            self._pairs[kind] = self._paired(kind)
        return self._pairs[kind]

    def _paired(self, kind: type[F]) -> list[Pair[F]]:
        found: dict[Any, Pair[F]] = {}
        for fact in self.all(kind):
            name = (fact.at.scope, fact.key)
            before = found.get(name)
            if before is None:
                found[name] = Pair(fact, fact)
            elif _time(fact) >= _time(before.last):
                found[name] = Pair(before.first, fact)
            elif _time(fact) < _time(before.first):
                found[name] = Pair(fact, before.last)
        return list(found.values())

    def changes(self, group: str, *names: str, scope: str | None = None) -> list[Change]:
        """Return what the counters of a group did, of all names without any, of all scopes without one."""
        if self._changes is None:
            self._changes = defaultdict(list)
            for pair in self.pairs(Counter):
                self._changes[pair.last.group].append(_change(pair))
        return [
            change
            for change in self._changes.get(group, [])
            if (not names or change.counter.name in names) and (scope is None or change.counter.at.scope == scope)
        ]


def _time(fact: Fact) -> tuple[float, int]:
    return (fact.at.when if fact.at.when is not None else 0.0, fact.at.order)


def _change(pair: Pair[Counter]) -> Change:
    if not pair.twice:
        return Change(pair.last, pair.last.value, None, False, (pair.last.at,))
    before, after = pair.first.value, pair.last.value
    rise = after - before if after >= before else after
    return Change(pair.last, rise, pair.seconds, True, (pair.first.at, pair.last.at))
