"""A document, prose and prompts included, to facts: cut it into sections and give each to its parser.

A section begins at a prompt whose command a parser knows, or at a line with the shape of a known output. It ends at the next
prompt, at a fence of a code block, or where another shape begins. Lines are read once and never kept.

What people paste is often moved to the right, as Markdown wants it, or quoted as in mail: the margin of a section is what stands
before its prompt and its first line, or before the line that has its shape, and is taken off each of its lines.
"""

import functools
import re
from collections.abc import Iterable, Iterator

from pktpath.doctor.case import Missing, fault_of
from pktpath.doctor.facts.base import Fact
from pktpath.doctor.parse import all_parsers
from pktpath.doctor.parse.prompt import Command, command_of
from pktpath.doctor.parse.section import Line, Parser, Section
from pktpath.doctor.parse.shapes import Shapes

MAX_LINE = 1 << 16
"""Characters of a line; what is longer is cut into several."""
_MARGIN = re.compile(r"((?:> ?){0,8})[ \t]{0,16}")
"""The marks of a quotation, and blanks."""


_MARGINS = (" ", "\t", ">")


class Transcript:
    """One document that is being read."""

    def __init__(
        self, lines: Iterable[str], source: str, *, command: str = "", scope: str = "", when: float | None = None, order: int = 0
    ) -> None:
        """Prepare to read.

        Args:
            lines: with or without line ends.
            source: the name that places carry.
            command: what printed all of it, where that is known from elsewhere (a file's name).
            scope: the network namespace it tells of.
            when: seconds of a clock that other documents share.
            order: which look of the source it is.

        """
        self.missing: list[Missing] = []
        self.sections = 0
        """How many were known."""
        self._source, self._scope, self._when, self._order = source, scope, when, order
        self._command = command
        self._lines = enumerate(lines, 1)
        self._margin = ""
        self._ahead: Line | None = None
        self._parsers = all_parsers()
        self._shapes = _shapes(self._parsers)

    def facts(self) -> Iterator[Fact]:
        """Read all of it."""
        if (found := self._named()) is not None:
            yield from self._section(*found, self._command, self._scope)
        while (line := self._next()) is not None:
            text = line.text
            quote, margin = _margin(text) if text[:1] in _MARGINS else ("", "")
            command = command_of(text[len(quote) :]) if "$ " in text or "#" in text else None
            known = self._known(command.text) if command else None
            if command and known is not None:
                self._margin = margin
                yield from self._section(*known, command.text, command.scope or self._scope, command.typed)
            # Headings of tables begin with # too, as in perf report.
            elif command is None or command.bare:
                # Where the shape has blanks of its own they are no margin.
                for self._margin in (quote,) if quote == margin else (quote, margin):
                    inner = text[len(self._margin) :]
                    if (shaped := self._shape(inner)) is not None:
                        self._ahead = Line(line.number, inner)
                        yield from self._section(*shaped, "", self._scope)
                        break

    def _named(self) -> tuple[Parser, dict[str, str]] | None:
        """Return whose output all of it is by its name, if that says so."""
        if self._command:
            return self._known(self._command)
        path = re.sub(r"\.\d+s?$", "", self._source)
        for parser in self._parsers:
            if parser.file and (found := parser.file.search(path)):
                return parser, found.groupdict()
        return None

    def _known(self, command: str) -> tuple[Parser, dict[str, str]] | None:
        for parser in self._parsers:
            if parser.command and (found := parser.command.match(command)):
                return parser, {name: value for name, value in found.groupdict().items() if value is not None}
        return None

    def _shape(self, text: str) -> tuple[Parser, dict[str, str]] | None:
        parser = self._shapes.whose(text)
        if parser is None or parser.shape is None:
            return None
        found = parser.shape.match(text)
        return parser, {name: value for name, value in (found.groupdict() if found else {}).items() if value is not None}

    def _section(self, parser: Parser, fields: dict[str, str], command: str, scope: str, typed: str = "") -> Iterator[Fact]:
        self.sections += 1
        self._order += 1
        lines = self._body(parser)
        section = Section(command, fields, lines, self._source, scope, self._when, self._order, typed, self.missing)
        try:
            yield from parser.parse(section)
        except (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            self.missing.append(Missing(f"{self._source}: {parser.name}", fault_of(error)))
        # A parser may stop early: the rest of its section is nobody's.
        for _ in lines:
            pass

    def _body(self, own: Parser) -> Iterator[Line]:
        """Give the lines of a section; the line that ends it waits for `facts`."""
        first = self._ahead
        # Behind a prompt it takes a line to know whether the output stands as far to the right.
        margin, sure = self._margin, first is not None
        if first is not None:
            self._ahead = None
            yield first
        after_empty, whose = True, self._shapes.whose
        for number, raw in self._lines:
            text = raw.rstrip("\r\n")
            as_pasted = line = Line(number, text)
            if margin:
                if text.startswith(margin):
                    sure, text = True, text[len(margin) :]
                    line = Line(number, text)
                elif not text.strip("> \t"):
                    line = Line(number, text := "")
                elif sure:
                    self._ahead = as_pasted
                    return
                else:
                    margin = ""
            if ("$ " in text or "# " in text or text[:1] == "#") and (typed := command_of(text)) and self._ends(typed):
                self._ahead = as_pasted
                return
            if text[:3] == "```":
                return
            if (after_empty or not own.bulk) and text and (other := whose(text)) is not None and other is not own:
                self._ahead = as_pasted
                return
            after_empty = not text
            yield line

    def _ends(self, typed: Command) -> bool:
        # Comments and headings of tables begin with # too: only a command that is known ends a section there.
        return not typed.bare or self._known(typed.text) is not None

    def _next(self) -> Line | None:
        if self._ahead is not None:
            line, self._ahead = self._ahead, None
            return line
        for number, raw in self._lines:
            return Line(number, raw.rstrip("\r\n"))
        return None


def _margin(text: str) -> tuple[str, str]:
    """Return the marks of a quotation that a line begins with, and these with the blanks behind them."""
    found = _MARGIN.match(text)
    return (found[1], found[0]) if found else ("", "")


@functools.cache
def _shapes(parsers: tuple[Parser, ...]) -> Shapes:
    return Shapes(parsers)
