"""What each thread of the userspace datapath did, whichever table tells it.

`pmd-stats-show` has exact cycles, `pmd-perf-show` has iterations and batches and says how long it measured. With two looks at a
table it is what happened between them; with one, what happened since it was cleared, which is often the start.
"""

from dataclasses import dataclass, field

from pktpath.doctor.case import Case, Pair, took
from pktpath.doctor.facts.base import Place
from pktpath.doctor.facts.ovs import PmdThread

_SAME = {
    "received": ("packets received", "Rx packets"),
    "emc": ("emc hits", "EMC hits"),
    "smc": ("smc hits", "SMC hits"),
    "simple": ("simple match hits", "Simple Match hits"),
    "phwol": ("phwol hits", "PHWOL hits"),
    "megaflow": ("megaflow hits", "Megaflow hits"),
    "upcalls": ("miss with success upcall", "Upcalls", "miss"),
    "failed": ("miss with failed upcall", "Lost upcalls", "lost"),
    "idle": ("idle cycles", "polling cycles"),
    "busy": ("processing cycles",),
    "iterations": ("Iterations",),
    "idle iterations": ("idle iterations",),
    "busy iterations": ("busy iterations",),
    "sleep iterations": ("sleep iterations",),
    "sent": ("Tx packets",),
    "batches": ("Tx batches",),
}
"""Counters, and what each layout calls them."""
_LOOKUPS = ("avg. subtable lookups per megaflow hit", "avg. subtable lookups per hit", "subtbl lookups/hit")
_BATCH = ("avg. packets per output batch", "pkts/batch")
_CYCLES = ("avg processing cycles per packet", "cycles/pkt")


@dataclass
class Work:
    """What a thread did."""

    name: str
    scope: str
    core: int | None
    numa: int | None
    at: Place
    counts: dict[str, float] = field(default_factory=dict)
    """By the keys above; what no table tells is not there."""
    places: dict[str, Place] = field(default_factory=dict)
    """The line of each, in the last look."""
    share: float | None = None
    """Per cent of its cycles that were spent on packets."""
    lookups: float | None = None
    """Subtables that a megaflow hit takes."""
    per_output: float | None = None
    """Packets per output batch."""
    cycles: float | None = None
    """For a packet."""
    seconds: float | None = None
    """How long it was watched."""
    twice: bool = False
    exact: bool = False
    """Whether the share is of what happened between two looks."""

    def __getitem__(self, name: str) -> float:
        """Return a count, 0 for what no table tells."""
        return self.counts.get(name, 0.0)

    @property
    def received(self) -> float:
        """Packets received; the old layout does not say it, but what became of them."""
        if "received" in self.counts:
            return self.counts["received"]
        return self["emc"] + self["megaflow"] + self["upcalls"] + self["failed"]

    @property
    def per_poll(self) -> float | None:
        """Packets of an iteration that found any."""
        return self.received / self["busy iterations"] if self["busy iterations"] else None

    @property
    def rate(self) -> float | None:
        """Packets a second."""
        return self.received / self.seconds if self.seconds else None

    @property
    def span(self) -> str:
        """Return of when the numbers are, in words."""
        if self.twice:
            return f"in {took(self.seconds)}" if self.seconds else "between two looks"
        return f"in {took(self.seconds)}" if self.seconds else "since it began to count"

    def where(self, *names: str) -> tuple[Place, ...]:
        """Return the lines of these counts."""
        return tuple(self.places[name] for name in names if name in self.places) or (self.at,)


def pmds(case: Case) -> list[Work]:
    """Return what each poll-mode thread did; the main thread is none."""
    return [work for work in threads(case) if work.core is not None]


def threads(case: Case) -> list[Work]:
    """Return what each thread did."""
    found: dict[tuple[str, str], Work] = {}
    # The table that was read twice tells most; of the others the one with iterations.
    for pair in sorted(case.pairs(PmdThread), key=lambda pair: (pair.twice, "Iterations" in pair.last.stats)):
        fact = pair.last
        work = found.setdefault(
            (fact.at.scope, fact.thread), Work(fact.thread, fact.at.scope, fact.core, fact.numa, fact.at)
        )  # fmt: skip
        _add(work, pair)
    return [found[name] for name in sorted(found, key=lambda name: (found[name].core is None, found[name].core or 0))]


def _add(work: Work, pair: Pair[PmdThread]) -> None:
    last = pair.last.stats
    twice = pair.twice and not _cleared(pair)
    counts, places = {}, {}
    for name, words in _SAME.items():
        for word in words:
            if word in last:
                counts[name] = last[word] - pair.first.stats.get(word, 0.0) if twice else last[word]
                places[name] = pair.last.places.get(word, pair.last.at)
    # Counts of two tables are of two spans of time: they are never mixed.
    work.counts, work.twice = counts, twice
    work.places = {**work.places, **places}
    work.seconds = pair.seconds if twice else pair.last.seconds
    if twice and work.seconds is None and pair.first.seconds and pair.last.seconds and pair.last.seconds > pair.first.seconds:
        work.seconds = round(pair.last.seconds - pair.first.seconds, 3)
    _ratios(work, pair.last, twice=twice)


def _cleared(pair: Pair[PmdThread]) -> bool:
    """Whether the counters began anew between the looks."""
    return any(pair.last.stats.get(word, 0.0) < pair.first.stats.get(word, 0.0) for words in _SAME.values() for word in words)


def _ratios(work: Work, last: PmdThread, *, twice: bool) -> None:
    spent = work["idle"] + work["busy"]
    if spent:
        work.share = 100.0 * work["busy"] / spent
        work.exact = twice
    elif "busy iterations" in last.shares and not work.exact:
        work.share = last.shares["busy iterations"]
    for name in (name for name in _LOOKUPS if name in last.stats):
        work.lookups, work.places["lookups"] = last.stats[name], last.places.get(name, last.at)
    for name in (name for name in _BATCH if name in last.stats):
        work.per_output, work.places["per output"] = last.stats[name], last.places.get(name, last.at)
    for name in (name for name in _CYCLES if name in last.stats):
        work.cycles, work.places["cycles"] = last.stats[name], last.places.get(name, last.at)
