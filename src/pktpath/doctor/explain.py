"""What `pktpath doctor explain` says: of a mechanism, from topics/*.md, and of a finding, from the docstring of its rule.

A topic is one Markdown file, named as everybody calls the thing: a title line `# NAME: what it is`, lines `aliases: …`, then
the sections of `SECTIONS` in this order. Half a page, to be read in a terminal.
"""

import functools
import re
from dataclasses import dataclass
from importlib.resources import files

from pktpath.doctor.finding import Rule
from pktpath.doctor.rules import all_rules
from pktpath.errors import BadInput

SECTIONS = ("What it is", "On the way", "When it helps", "When it hurts", "Depends on", "See it", "Switch it", "Source")
_ALIASES = "aliases:"
_WIDTH = 96
"""Columns of prose."""
_NEAR = 4
"""Names that a refusal offers."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One thing that is explained."""

    name: str
    line: str
    """What it is, in one line."""
    aliases: tuple[str, ...]
    text: str
    """All of it, as a terminal shows it: without marks."""


def topics() -> list[tuple[str, str]]:
    """Return name and one line of each topic, sorted by name."""
    return [(topic.name, topic.line) for topic in _topics()]


def findings() -> list[tuple[str, str]]:
    """Return id and one line of each rule, sorted by id."""
    return sorted((rule.id, rule.text.partition("\n")[0]) for rule in all_rules())


def explain(name: str) -> str:
    """Return half a page on a topic or on a finding.

    Args:
        name: a topic or one of its aliases, or the id of a rule; case does not matter, nor do brackets; spaces,
            hyphens and underscores are alike.

    Raises:
        BadInput: nothing has this name; the message has the nearest ones.

    """
    word = _plain(name)
    if topic := _by_name().get(word):
        return topic.text
    rules = {_plain(rule.id): rule for rule in all_rules()}
    if rule := rules.get(word):
        return _about(rule)
    raise BadInput(_unknown(name, word, [*_by_name(), *rules]))


def topic_named(name: str) -> Topic | None:
    """Return the topic that has this name or alias; None without one."""
    return _by_name().get(_plain(name))


@functools.cache
def _topics() -> tuple[Topic, ...]:
    folder = files("pktpath.doctor") / "topics"
    pages = [page for page in folder.iterdir() if page.name.endswith(".md")]
    return tuple(
        _read(page.name.removesuffix(".md"), page.read_text("utf-8")) for page in sorted(pages, key=lambda page: page.name)
    )


@functools.cache
def _by_name() -> dict[str, Topic]:
    """Return topics by their names and aliases; a name goes before an alias."""
    found = {_plain(alias): topic for topic in _topics() for alias in topic.aliases}
    return found | {_plain(topic.name): topic for topic in _topics()}


def _read(name: str, page: str) -> Topic:
    title, *body = page.splitlines()
    aliases = [word for line in body if line.startswith(_ALIASES) for word in line.removeprefix(_ALIASES).split()]
    shown = [line.removeprefix("## ") for line in body if not line.startswith(_ALIASES)]
    text = "\n".join([title.removeprefix("# "), *shown]) + "\n"
    return Topic(name, title.partition(": ")[2], tuple(aliases), text)


def _about(rule: Rule) -> str:
    topic = topic_named(rule.topic)
    lines = [
        f"{rule.id}: a finding of pktpath doctor",
        "",
        *_folded(rule.text),
        "",
        *_folded(f"Looks at: {rule.ask}"),
        *_folded(f"When it finds nothing: {rule.well}"),
    ]
    if topic is not None:
        lines.append(f"More: pktpath doctor explain {topic.name}  ({topic.line})")
    return "\n".join(lines) + "\n"


def _folded(text: str) -> list[str]:
    """Return the lines of a text as wide as those of a topic; tables and examples stay as they are."""
    import textwrap

    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        lines.append("")
        if "\n " in paragraph or paragraph.startswith(" ") or "\n- " in paragraph:
            lines += paragraph.splitlines()
        else:
            lines += textwrap.wrap(paragraph, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return lines[1:]


def _unknown(name: str, word: str, known: list[str]) -> str:
    from difflib import get_close_matches

    # Whoever pastes a page as the name gets its first words back.
    shown = "".join(letter if letter.isprintable() else "?" for letter in " ".join(name.split())[:60])
    parts = [candidate for candidate in known if len(word) > 2 and word in candidate]
    near = list(dict.fromkeys([*get_close_matches(word[:60], known, n=_NEAR), *parts]))[:_NEAR]
    hint = f"nearest: {', '.join(near)}" if near else "`pktpath doctor explain` lists them"
    return f"{shown}: no such topic; {hint}"


def _plain(name: str) -> str:
    return re.sub(r"[\s_\[\]-]+", "-", name.strip().lower()).strip("-")
