"""Protocol counters of a network namespace, as rules ask for them."""

from collections.abc import Iterator
from dataclasses import dataclass

from pktpath.doctor.case import Case, Change
from pktpath.doctor.facts.base import Place
from pktpath.doctor.facts.host import Counter
from pktpath.doctor.finding import Confidence, Severity

_WITNESSES = frozenset(("IpInReceives", "IpOutRequests", "TcpInSegs", "TcpOutSegs"))
"""Counters that only ever grow while a namespace lives: if one is smaller, the looks are of two hosts."""


@dataclass(frozen=True, slots=True)
class Protocols:
    """What the counters of one namespace did."""

    scope: str
    changes: dict[str, Change]
    twice: bool
    """Whether there were two looks."""

    def rise(self, *names: str) -> int:
        """Return by how much these rose together; a counter that nobody read did not rise."""
        return sum(self.changes[name].rise for name in names if name in self.changes)

    def rose(self, *names: str) -> list[Change]:
        """Return those that rose."""
        return [self.changes[name] for name in names if name in self.changes and self.changes[name].rise > 0]

    def fast(self, name: str, *, rate: float, rise: int) -> bool:
        """Return whether a counter rose that often a second, or by that much where the time is not known."""
        change = self.changes.get(name)
        if change is None or not change.twice:
            return False
        return change.rate >= rate if change.rate is not None else change.rise >= rise

    @property
    def where(self) -> str:
        """Return ` in h2`; ` on this host` outside of namespaces."""
        return f" in {self.scope}" if self.scope else " on this host"

    @property
    def severity(self) -> Severity:
        """Old totals tell of no problem that is there now."""
        return Severity.PROBLEM if self.twice else Severity.NOTE

    @property
    def confidence(self) -> Confidence:
        """Return how sure it is that it happens now."""
        return Confidence.CERTAIN if self.twice else Confidence.POSSIBLE


def protocols(case: Case) -> Iterator[Protocols]:
    """Give each namespace whose looks are of one and the same."""
    strange = {
        pair.last.at.scope
        for pair in case.pairs(Counter)
        if pair.last.group == "nstat" and pair.last.name in _WITNESSES and pair.last.value < pair.first.value
    }
    scopes: dict[str, dict[str, Change]] = {}
    for change in case.changes("nstat"):
        scopes.setdefault(change.counter.at.scope, {})[change.counter.name] = change
    for scope, changes in scopes.items():
        if scope not in strange:
            yield Protocols(scope, changes, any(change.twice for change in changes.values()))


def told(change: Change) -> str:
    """Return `TcpInErrs rose by 3 in 15 s (0.2/s)`; `TcpInErrs is 3 since it began to count`."""
    return f"{change.counter.name} {'rose by' if change.twice else 'is'} {change}"


def evidence(*changes: Change) -> tuple[Place, ...]:
    """Return the lines of all looks at these, each once: many counters stand in one line."""
    places = dict.fromkeys(place for change in changes for place in reversed(change.places))
    return tuple(places)[:6]


def damaged(change: Change, whole: int) -> Severity:
    """Return how much wrong checksums matter: one in ten thousand is felt, and single ones come in from everywhere."""
    if not change.twice:
        return Severity.NOTE
    if not whole or change.rise >= 1e-4 * whole:
        return Severity.PROBLEM
    return Severity.WARNING if change.rise >= 10 else Severity.NOTE


def per_cent(part: int, whole: int) -> str:
    """Return `2.1 %`, `0.04 %`, `100 %`."""
    share = 100 * part / whole if whole else 0.0
    return f"{share:.0f} %" if share >= 10 else f"{share:.2g} %"
