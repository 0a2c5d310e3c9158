"""A fact, and the place that says so."""

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, ClassVar, NamedTuple


class Place(NamedTuple):
    """One line of evidence."""

    source: str
    """Name of the file, or of what was read of the running host."""
    line: int
    """Number of the line in it, from 1; 0 where there are no lines."""
    text: str
    """The line as it stands there."""
    scope: str = ""
    """Network namespace or host that it tells of; empty for the one that everything else is about."""
    when: float | None = None
    """Seconds of a clock that all looks of this source share; None where the source does not say."""
    order: int = 0
    """Which look of the source it is: a later one has the higher number."""

    def __str__(self) -> str:
        """Return where it is, as compilers do."""
        return f"{self.source}:{self.line}" if self.line else self.source


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something that was seen at a place."""

    at: Place

    identity: ClassVar[tuple[str, ...]] = ()
    """The fields that say what it is about; the others say what was seen of it."""

    @property
    def key(self) -> tuple[Any, ...]:
        """What it is about: the same for two looks at one thing."""
        return ()

    def __init_subclass__(cls) -> None:
        """Make `key` of the fields of `identity`."""
        if "identity" in vars(cls):
            cls.key = property(_of(cls.identity))  # type: ignore[method-assign, assignment]


def _of(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function that gives the values of these fields; of one name `attrgetter` gives no tuple."""
    get = attrgetter(*names)
    return get if len(names) > 1 else lambda fact: (get(fact),)
