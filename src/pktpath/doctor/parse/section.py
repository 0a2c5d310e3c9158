"""A section of a document, the output of one command, and the parser that knows it."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from pktpath.doctor.case import Missing
from pktpath.doctor.facts.base import Fact, Place


class Line(NamedTuple):
    """A line of a document, without its end."""

    number: int
    text: str


@dataclass(slots=True)
class Section:
    """The output of one command. Its lines come as they are read and only once."""

    command: str
    """What was typed, without sudo, time, timeout, `ip netns exec`; empty where only the shape tells."""
    fields: dict[str, str]
    """Named groups of the parser's `command`, `shape` or `file`."""
    lines: Iterable[Line]
    """The output; an empty line is a line."""
    source: str
    scope: str = ""
    when: float | None = None
    order: int = 0
    missing: list[Missing] = field(default_factory=list)

    def place(self, line: Line) -> Place:
        """Return where this line is."""
        return Place(self.source, line.number, line.text, self.scope, self.when, self.order)

    def cannot(self, line: Line | None, why: str) -> None:
        """Say that something of this section could not be read; the first few reasons are kept."""
        if len(self.missing) < 8:
            where = f"{self.source}:{line.number}" if line else self.source
            self.missing.append(Missing(where, why))


@dataclass(frozen=True, slots=True)
class Parser:
    """A function from the lines of a section to facts, and how its sections are known."""

    name: str
    """Of the output: `ethtool -k`, `/proc/net/softnet_stat`."""
    parse: Callable[[Section], Iterator[Fact]]
    command: re.Pattern[str] | None
    """Matched at the beginning of a command, such as `ethtool -k eth0`; named groups become `fields`."""
    shape: re.Pattern[str] | None
    """Matched at the beginning of a line where no command is known; this line is then the section's first."""
    file: re.Pattern[str] | None
    """Searched in the path of a file that holds nothing else, such as `proc/net/softnet_stat`."""
    bulk: bool
    """Whether outputs may be very long: in them other shapes are looked for after an empty line only."""


_parsers: list[Parser] = []


def parser(
    name: str, *, command: str | None = None, shape: str | None = None, file: str | None = None, bulk: bool = False
) -> Callable[[Callable[[Section], Iterator[Fact]]], Callable[[Section], Iterator[Fact]]]:
    """Register the function as the parser of the sections that one of these patterns knows."""

    def decorate(function: Callable[[Section], Iterator[Fact]]) -> Callable[[Section], Iterator[Fact]]:
        patterns = [re.compile(text) if text else None for text in (command, shape, file)]
        _parsers.append(Parser(name, function, patterns[0], patterns[1], patterns[2], bulk))
        return function

    return decorate


def registered() -> tuple[Parser, ...]:
    """Return the parsers that were registered until now."""
    return tuple(_parsers)
