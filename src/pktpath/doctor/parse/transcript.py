"""A document, prose and prompts included, to facts: cut it into sections and give each to its parser.

A section begins at a prompt whose command a parser knows, or at a line with the shape of a known output. It ends at the next
prompt, at a fence of a code block, or where another shape begins. Lines are read once and never kept.

What people paste is often moved to the right, as Markdown wants it, or quoted as in mail: the margin of a section is what stands
before its prompt and its first line, or before the line that has its shape, and is taken off each of its lines.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial

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
_line: Callable[[tuple[int, str]], Line] = partial(tuple.__new__, Line)
"""Make a line of a pair, in half the time: there are millions."""


class Transcript:
    """One document that is being read."""

    def __init__(
        self, lines: Iterable[str], source: str, *, command: str = "", scope: str = "", when: float | None = None, order: int = 0
    ) -> None:
        """Prepare to read.

        Args:
            lines: without their ends.
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
        whose, unread = self._shapes.whose, self._unread()
        for number, text in unread:
            quote, margin = _margin(text) if text[:1] in _MARGINS else ("", "")
            typed = "$ " in text or "# " in text or text[len(quote) : len(quote) + 1] == "#"
            command = command_of(text[len(quote) :]) if typed else None
            known = self._known(command.text) if command else None
            if command and known is not None:
                self._margin = margin
                yield from self._section(*known, command.text, command.scope or self._scope, command.typed)
            # Headings of tables begin with # too, as in perf report.
            elif command is None or command.bare:
                # Where the shape has blanks of its own they are no margin.
                for self._margin in (quote,) if quote == margin else (quote, margin):
                    inner = text[len(self._margin) :] if self._margin else text
                    if (parser := whose(inner)) is not None:
                        self._ahead = Line(number, inner)
                        yield from self._section(parser, _fields(parser, inner), "", self._scope)
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
        for pair in self._lines:
            as_pasted = line = _line(pair)
            number, text = pair
            if margin:
                if text.startswith(margin):
                    sure, text = True, text[len(margin) :]
                    line = _line((number, text))
                elif not text.strip("> \t"):
                    line = Line(number, text := "")
                elif sure:
                    self._ahead = as_pasted
                    return
                else:
                    margin = ""
            # An empty line begins with nothing, which is in every string.
            if text[:1] in "#`" or "$ " in text or "# " in text:
                if (typed := command_of(text)) and self._ends(typed):
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

    def _unread(self) -> Iterator[Line]:
        """Give the lines that are nobody's until now: those between sections."""
        while True:
            if self._ahead is not None:
                line, self._ahead = self._ahead, None
                yield line
                continue
            for pair in self._lines:
                yield _line(pair)
                # Whoever took it may have read on.
                if self._ahead is not None:
                    break
            else:
                return


def _fields(parser: Parser, text: str) -> dict[str, str]:
    """Return what the groups of a parser's shape say of a line."""
    found = parser.shape.match(text) if parser.shape else None
    return {name: value for name, value in found.groupdict().items() if value is not None} if found else {}


def _margin(text: str) -> tuple[str, str]:
    """Return the marks of a quotation that a line begins with, and these with the blanks behind them."""
    found = _MARGIN.match(text)
    return (found[1], found[0]) if found else ("", "")


@cache
def _shapes(parsers: tuple[Parser, ...]) -> Shapes:
    return Shapes(parsers)
