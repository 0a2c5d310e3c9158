"""A diagnosis as lines of text, for a terminal or a pipe.

A line is made of spans, each with the name of a style; who prints it gives the styles their colours, or none. Commands and
recipes are never broken: they are there to be copied.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from pktpath.doctor.diagnose import Diagnosis
from pktpath.doctor.finding import Finding, Remedy
from pktpath.doctor.report.words import Group, asked_by, clean, count_of, grouped, line_of, named, sure, verdict

_HEAD = 9
"""Columns of PROBLEM and WARNING, and what follows them."""
_LABEL = 12
_OTHERS = 8
"""Findings of the same rule that are told in a line each; how many more there are is said."""
_MISSING = 12
_ASKS = 8
"""Lines of what could not be looked at, and of what would have to be asked."""
_NARROW = 40


class Span(NamedTuple):
    """A piece of a line."""

    text: str
    style: str = ""
    """`problem`, `warning`, `note`, `title`, `label`, `source`, `command`, `quiet`, `well`; empty for plain text."""


Line = tuple[Span, ...]


def text_of(diagnosis: Diagnosis, *, width: int = 80, fold: bool = False, everything: bool = False) -> Iterator[Line]:
    """Give a diagnosis line by line.

    Args:
        diagnosis: what is told.
        width: columns that prose may take.
        fold: whether evidence is broken at the width too, as for a terminal; otherwise one line of it is one line.
        everything: whether findings of one rule, and what could not be looked at, are all told in full.

    """
    page = _Page(max(width, _NARROW), fold=fold, everything=everything)
    worst = named(diagnosis.worst) if diagnosis.worst else "well"
    yield from page.prose(verdict(diagnosis), style=worst)
    for group in grouped(diagnosis.findings):
        yield ()
        yield from page.group(group)
    yield from page.well(diagnosis)
    yield from page.missing(diagnosis)
    yield from page.unasked(diagnosis)


def plain(lines: Iterable[Line]) -> str:
    """Return lines without their styles."""
    return "".join("".join(span.text for span in line).rstrip() + "\n" for line in lines)


class _Page:
    """How wide a text is, and how much is told."""

    def __init__(self, width: int, *, fold: bool, everything: bool) -> None:
        self._width, self._fold, self._everything = width, fold, everything

    # Findings

    def group(self, group: Group) -> Iterator[Line]:
        first, others = group
        yield from self._finding(first)
        if self._everything:
            for other in others:
                yield ()
                yield from self._finding(other)
        elif others:
            head = Span(f"  {'the same':<{_LABEL - 2}}", "label")
            for other in others[:_OTHERS]:
                yield from self._wrapped(line_of(other.summary), head, _LABEL)
                head = Span(" " * _LABEL)
            if len(others) > _OTHERS:
                yield (
                    head,
                    Span(f"… and {count_of(len(others) - _OTHERS, 'more finding')} of this kind (--all tells them)", "quiet"),
                )

    def _finding(self, finding: Finding) -> Iterator[Line]:
        style = named(finding.severity)
        yield from self._wrapped(finding.summary, Span(f"{style.upper():<{_HEAD}}", style), _HEAD, style="title")
        yield from self._label("how sure", sure(finding))
        yield from self._evidence(finding)
        yield from self._label("why", finding.why)
        for number, remedy in enumerate(finding.remedies, 1):
            yield from self._remedy(remedy, first=number == 1)
        yield from self._label("to prove", finding.proof)
        if finding.rule:
            yield from self._label("more", f"pktpath doctor explain {finding.rule}", style="quiet")

    def _evidence(self, finding: Finding) -> Iterator[Line]:
        label = Span(f"  {'seen':<{_LABEL - 2}}", "label")
        for place in finding.evidence:
            scope = f" [{line_of(place.scope, 60)}]" if place.scope else ""
            where, said = f"{line_of(str(place), 200)}{scope}: ", line_of(place.text)
            said = " ".join(said.split()) if self._fold and len(where) + len(said) > self._width - _LABEL else said.lstrip()
            if not self._fold:
                yield label, Span(where, "source"), Span(said)
            else:
                yield from self._folded(label, where, said)
            label = Span(" " * _LABEL)

    def _folded(self, label: Span, where: str, said: str) -> Iterator[Line]:
        room = self._width - _LABEL
        if len(where) + len(said) <= room:
            yield label, Span(where, "source"), Span(said)
            return
        # The source has a line of its own where both have no room beside each other.
        yield label, Span(where.rstrip(), "source")
        room -= 2
        for at in range(0, len(said), room):
            yield Span(" " * (_LABEL + 2)), Span(said[at : at + room])

    def _remedy(self, remedy: Remedy, *, first: bool) -> Iterator[Line]:
        yield from self._commands("switch" if first else "or", remedy.command)
        yield from self._label("", remedy.effect)
        yield from self._label("costs", remedy.cost)
        head = "to last"
        if first or self._everything:
            for by, how in remedy.lasting:
                yield from self._recipe(head, by, how)
                head = ""
        elif remedy.lasting:
            yield from self._label(head, f"{', '.join(by for by, _ in remedy.lasting)} (--all tells how)", style="quiet")
        yield from self._commands("undo", remedy.undo)
        yield from self._label("check", remedy.verify)

    def _recipe(self, label: str, by: str, how: str) -> Iterator[Line]:
        lines = clean(how).splitlines() or [""]
        head = Span(f"  {label:<{_LABEL - 2}}", "label")
        if len(lines) == 1:
            yield head, Span(f"{clean(by)}: ", "quiet"), Span(lines[0])
            return
        # A file's name stands before its lines, with a colon.
        first = lines.pop(0) if lines[0].endswith(":") else ""
        yield head, Span(f"{clean(by)}: ", "quiet"), Span(first)
        for line in lines:
            yield Span(" " * (_LABEL + 2)), Span(line)

    def _commands(self, label: str, command: str) -> Iterator[Line]:
        for line in clean(command).splitlines():
            yield Span(f"  {label:<{_LABEL - 2}}", "label"), Span(line, "command")
            label = ""

    # What was looked at, and what was not

    def well(self, diagnosis: Diagnosis) -> Iterator[Line]:
        if diagnosis.well:
            yield ()
            yield (Span("Looked at and found well", "title"),)
            for rule in diagnosis.well:
                yield from self._wrapped(rule.well, Span("  ✓ ", "well"), 4)

    def missing(self, diagnosis: Diagnosis) -> Iterator[Line]:
        if diagnosis.missing:
            yield ()
            yield (Span("Could not look at", "title"),)
            shown = diagnosis.missing if self._everything else diagnosis.missing[:_MISSING]
            for each in shown:
                help_ = f" \N{EN DASH} {each.remedy}" if each.remedy else ""
                yield from self._wrapped(line_of(f"{each.what}: {each.why}{help_}"), Span("  - ", "quiet"), 4)
            if rest := len(diagnosis.missing) - len(shown):
                yield (Span(f"    … and {rest:,} more (--all tells them)", "quiet"),)

    def unasked(self, diagnosis: Diagnosis) -> Iterator[Line]:
        if diagnosis.unasked and diagnosis.case.live and not self._everything:
            # Who looks at a host without a switch does not want to hear what one could be asked.
            yield ()
            count = count_of(len(diagnosis.unasked), "question")
            words = f"{count} about what is not here, or takes a closer look (--pid N); --all tells them."
            yield from self._wrapped(words, Span("Not asked: ", "title"), 11)
        elif diagnosis.unasked:
            yield ()
            yield (Span(f"Not asked: {count_of(len(diagnosis.unasked), 'question')}, for want of", "title"),)
            asks = asked_by(diagnosis.unasked)
            shown = asks if self._everything else asks[:_ASKS]
            for ask, rules in shown:
                words = f"{line_of(ask)} ({', '.join(rules)})" if self._everything else line_of(ask)
                yield from self._wrapped(words, Span("  - ", "quiet"), 4)
            if rest := len(asks) - len(shown):
                yield (Span(f"    … and {rest:,} more (--all tells them, and which rules wait)", "quiet"),)

    # Lines

    def prose(self, text: str, *, style: str = "") -> Iterator[Line]:
        return self._wrapped(text, Span(""), 0, style=style)

    def _label(self, label: str, text: str, *, style: str = "") -> Iterator[Line]:
        if text:
            yield from self._wrapped(text, Span(f"  {label:<{_LABEL - 2}}", "label"), _LABEL, style=style)

    def _wrapped(self, text: str, head: Span, indent: int, *, style: str = "") -> Iterator[Line]:
        for line in _wrap(clean(text).split(), self._width - indent):
            yield head, Span(line, style)
            head = Span(" " * indent)


def _wrap(words: Sequence[str], width: int) -> Iterator[str]:
    """Put words into lines; one that is too long for any stays whole, and a number keeps its per cent sign."""
    line = ""
    pieces: list[str] = []
    for word in words:
        if word[:1] == "%" and pieces:
            pieces[-1] += f" {word}"
        else:
            pieces.append(word)
    for piece in pieces:
        if line and len(line) + 1 + len(piece) > width:
            yield line
            line = piece
        else:
            line = f"{line} {piece}" if line else piece
    if line:
        yield line
