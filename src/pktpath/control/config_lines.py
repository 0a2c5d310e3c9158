"""In which line of a TOML file a value stands: tomllib reads values, and this finds them again for errors.

The text has passed tomllib, so that every bracket and quote here is known to close.
"""

import re
from bisect import bisect_left

Path = tuple[str | int, ...]
"""Keys from the root of the document, numbers where the step is into an array."""
_KEY = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)\s*""")
_BARE = re.compile(r"[^,\]}\n#]*")
_SPACE = re.compile(r"(?:[ \t\r\n,]|#[^\n]*)*")
_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'')


def lines_of(text: str) -> dict[Path, int]:
    """Return the line, counted from 1, of each table, key and element of an array."""
    scanner = _Scanner(text)
    scanner.document()
    return scanner.found


def line_at(lines: dict[Path, int], path: Path) -> int | None:
    """Return the line of a value, or that of the nearest thing around it that has one."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return None


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.found: dict[Path, int] = {}
        self.arrays: dict[Path, int] = {}
        self.ends = [at for at, letter in enumerate(text) if letter == "\n"]

    def document(self) -> None:
        table: Path = ()
        while self.space() < len(self.text):
            start = self.at
            if self.text[start] == "[":
                double = self.text.startswith("[[", start)
                self.at += 2 if double else 1
                table = self.keys((), "]")
                if double:
                    number = self.arrays.get(table, -1) + 1
                    self.arrays[table] = number
                    table = (*table, number)
                self.at += 2 if double else 1
                self.note(table, start)
            else:
                self.pair(table)

    def space(self) -> int:
        # Commas are space: the text is known to be right, and so they stand where they should.
        self.at = self._match(_SPACE).end()
        return self.at

    def note(self, path: Path, at: int) -> None:
        line = bisect_left(self.ends, at) + 1
        for depth in range(1, len(path) + 1):
            self.found.setdefault(path[:depth], line)

    def keys(self, path: Path, end: str) -> Path:
        """Read a dotted key; inside a header a step into an array of tables goes into its last one."""
        while True:
            match = self._match(_KEY)
            word = match[1]
            path = (*path, word[1:-1] if word[0] in "\"'" else word)
            self.at = match.end()
            if self.text[self.at] == end:
                return path
            self.at += 1
            if end == "]" and path in self.arrays:
                path = (*path, self.arrays[path])

    def pair(self, table: Path) -> None:
        start = self.at
        path = self.keys(table, "=")
        self.note(path, start)
        self.at += 1
        self.value(path)

    def value(self, path: Path) -> None:
        self.space()
        opening = self.text[self.at]
        for quote in ('"""', "'''"):
            if self.text.startswith(quote, self.at):
                self.long_string(quote)
                return
        if opening in "\"'":
            self.at = self._match(_STRING).end()
        elif opening == "[":
            self.at += 1
            number = 0
            while self.text[self.space()] != "]":
                self.note((*path, number), self.at)
                self.value((*path, number))
                number += 1
            self.at += 1
        elif opening == "{":
            self.at += 1
            while self.text[self.space()] != "}":
                self.pair(path)
            self.at += 1
        else:
            self.at = self._match(_BARE).end()

    def long_string(self, quote: str) -> None:
        self.at += 3
        while not self.text.startswith(quote, self.at):
            self.at += 2 if self.text[self.at] == "\\" and quote[0] == '"' else 1
        self.at += 3
        # Up to two quotes may stand before the three that end it.
        while self.text.startswith(quote[0], self.at):
            self.at += 1

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str]:
        match = pattern.match(self.text, self.at)
        if match is None:  # pragma: no cover  tomllib would have refused
            raise AssertionError(self.at)
        return match
