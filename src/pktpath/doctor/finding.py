"""What the doctor says, and a rule that says it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from pktpath.doctor.case import Case
from pktpath.doctor.facts.base import Fact, Place


class Severity(IntEnum):
    """How much it matters; the higher, the more."""

    NOTE = 1
    """Worth knowing: it explains what is seen, or is a choice. Nothing is wrong."""
    WARNING = 2
    """It costs performance, or will hurt under load."""
    PROBLEM = 3
    """Frames are lost, connections fail or a core is wasted now."""


class Confidence(IntEnum):
    """How sure it is; the higher, the surer."""

    POSSIBLE = 1
    """One of several explanations."""
    LIKELY = 2
    """The best explanation; `proof` says what would settle it."""
    CERTAIN = 3
    """What was seen leaves no other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """A switch to turn."""

    command: str
    """What to type, exactly."""
    effect: str
    """What then happens."""
    cost: str
    """What it costs, and what it drags along."""
    undo: str
    """What to type to have it back as it was."""
    verify: str
    """How to see that it worked: a command, and what it then shows."""
    lasting: tuple[tuple[str, str], ...] = ()
    """How to make it outlast a restart: who does that (`udev`, `NetworkManager`, `systemd-networkd`, `TuneD`), and how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is going on."""

    severity: Severity
    confidence: Confidence
    summary: str
    """What is going on, in one sentence, with the numbers and names."""
    evidence: tuple[Place, ...]
    """The lines that say so, the most telling first; a handful."""
    why: str
    """Why it is so: the mechanism, in a few sentences."""
    about: str = ""
    """The device, process, thread or datapath."""
    remedies: tuple[Remedy, ...] = ()
    """The best first; empty where nothing should be switched."""
    proof: str = ""
    """What to run to be sure; for everything below certain."""
    rule: str = ""
    """Which rule says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A pure function from a case to findings, and what it needs."""

    id: str
    find: Callable[[Case], Iterator[Finding]]
    needs: tuple[type[Fact], ...]
    """Kinds of facts that must all be there, else it has not been looked at."""
    ask: str
    """What would show it when it is not there: `ethtool -k DEV`."""
    well: str
    """What holds when it finds nothing, in one sentence."""
    topic: str
    """Which topic of `doctor explain` it belongs to."""

    @property
    def text(self) -> str:
        """Return what `doctor explain ID` says of it: the docstring of its module."""
        import inspect
        import sys

        return inspect.cleandoc(sys.modules[self.find.__module__].__doc__ or "")


def rule(
    *needs: type[Fact], ask: str, well: str, topic: str
) -> Callable[[Callable[[Case], Iterator[Finding]]], Callable[[Case], Iterator[Finding]]]:
    """Make a rule of the function, whose name, with hyphens, is its id and whose module has this name too."""

    def decorate(function: Callable[[Case], Iterator[Finding]]) -> Callable[[Case], Iterator[Finding]]:
        made = Rule(id=function.__name__.replace("_", "-"), find=function, needs=needs, ask=ask, well=well, topic=topic)
        function.rule = made  # type: ignore[attr-defined]
        return function

    return decorate
