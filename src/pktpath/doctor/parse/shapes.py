"""All shapes of outputs together: whose a line is, in one search whatever their number.

Most lines begin with a letter that few shapes begin with, so there is a pattern for each first letter, of those shapes only
that can begin so.
"""

import re
from contextlib import suppress
from importlib import import_module
from typing import Any

from pktpath.doctor.parse.section import Parser

codes: Any = None
patterns: Any = None
# Not public: without it every shape is tried on every line, which is only slower.
with suppress(ImportError):
    codes, patterns = import_module("re._constants"), import_module("re._parser")

_LETTERS = frozenset(map(chr, range(128)))
_OTHER = ""
"""Stands for every letter beyond ASCII."""


class Shapes:
    """The shapes of all parsers."""

    def __init__(self, parsers: tuple[Parser, ...]) -> None:
        """Sort the parsers that have a shape by the letters that a line of theirs can begin with."""
        self._shaped = [(parser, parser.shape) for parser in parsers if parser.shape]
        self._firsts = [first_letters(shape.pattern) for _, shape in self._shaped]
        self._together: dict[str, re.Pattern[str]] = {}

    def whose(self, text: str) -> Parser | None:
        """Return the parser whose shape this line has; None where nobody knows it."""
        if not text:
            return None
        letter = text[0]
        # Compiled when the first line begins so: few documents have them all.
        if letter not in _LETTERS:
            letter = _OTHER
        pattern = self._together.get(letter) or self._compiled(letter)
        found = pattern.match(text)
        return self._shaped[int((found.lastgroup or "p0")[1:])][0] if found else None

    def _compiled(self, letter: str) -> re.Pattern[str]:
        """Return one pattern of the shapes that can begin with this letter; a group of its own tells which it was."""
        pattern = re.compile(
            "|".join(
                f"(?P<p{number}>{_nameless(shape.pattern)})"
                for number, (_, shape) in enumerate(self._shaped)
                if (first := self._firsts[number]) is None or letter == _OTHER or letter in first
            )
            or "(?!)"
        )
        self._together[letter] = pattern
        return pattern


def first_letters(pattern: str) -> frozenset[str] | None:
    """Return the ASCII letters that what a pattern matches can begin with; None where it may be any, or nothing."""
    if patterns is None:
        return None
    parsed = patterns.parse(pattern)
    return None if parsed.state.flags & re.IGNORECASE else _first(parsed)


def _first(items: Any) -> frozenset[str] | None:
    found: set[str] = set()
    for code, value in items:
        if code in (codes.AT, codes.ASSERT, codes.ASSERT_NOT):
            continue
        letters = _of(code, value)
        if letters is None:
            return None
        found |= letters
        if not _may_be_empty(code, value):
            return frozenset(found)
    return None


def _of(code: Any, value: Any) -> frozenset[str] | None:
    if code is codes.SUBPATTERN:
        return _first(value[-1])
    if code is codes.BRANCH:
        branches = [_first(branch) for branch in value[1]]
        return None if None in branches else frozenset().union(*(branch for branch in branches if branch is not None))
    if code in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
        return _first(value[2])
    if code is codes.LITERAL:
        return frozenset(chr(value)) & _LETTERS
    if code is codes.IN:
        return _members(value)
    return None


def _members(items: Any) -> frozenset[str] | None:
    """Return the letters of a set in square brackets; None of a set that excludes."""
    found: set[str] = set()
    for code, value in items:
        if code is codes.LITERAL:
            found.add(chr(value))
        elif code is codes.RANGE:
            found.update(map(chr, range(value[0], min(value[1], 127) + 1)))
        elif code is codes.CATEGORY:
            kind = {codes.CATEGORY_DIGIT: r"\d", codes.CATEGORY_SPACE: r"\s", codes.CATEGORY_WORD: r"\w"}.get(value)
            if kind is None:
                return None
            found.update(letter for letter in _LETTERS if re.match(kind, letter))
        else:
            return None
    return frozenset(found) & _LETTERS


def _may_be_empty(code: Any, value: Any) -> bool:
    if code in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
        return bool(value[0] == 0)
    return False


def _nameless(pattern: str) -> str:
    """Return a pattern without the names of its groups, which several parsers share."""
    return re.sub(r"\(\?P<\w+>", "(?:", pattern)
