"""What all reports share: text from outside made harmless, findings put together, the verdict."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pktpath.doctor.diagnose import Diagnosis
from pktpath.doctor.finding import Confidence, Finding, Rule, Severity

LONGEST = 300
"""Characters of a line of evidence; what is longer is cut."""
_TAB = 8
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,16}[@-~]"  # colours, movements (ECMA-48 5.4)
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]{0,4096}(?:\x07|\x1b\\|\x9c)"  # titles, links, device strings
    r"|\x1b[ -/]{0,4}[0-~]"
)
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    r"\U000e0000-\U000e0fff]"
)
"""Control characters, marks that turn the direction of text, characters without a width; the line's end is none of them."""
_HALF = re.compile(r"[\ud800-\udfff]")


def clean(text: str) -> str:
    """Return text that a terminal or a browser shows as it is: no escape sequences, controls or turned directions."""
    if text.isascii() and text.isprintable():
        return text
    text = _SEQUENCE.sub("", text)
    if "\t" in text:
        text = text.expandtabs(_TAB)
    return _HALF.sub("\N{REPLACEMENT CHARACTER}", _UNSEEN.sub("", text))


def line_of(text: str, longest: int = LONGEST) -> str:
    """Return one line of clean text, cut where it is too long."""
    # No more than can be shown is looked at: a line of evidence may have many thousand characters.
    short = clean(text[: 4 * longest]).replace("\n", " ").rstrip()
    cut = len(short) > longest or len(text) > 4 * longest
    return short[: longest - 1].rstrip() + "…" if cut else short


def count_of(count: int, one: str) -> str:
    """Return a count with its noun: `1 problem`, `no problems`."""
    return f"{f'{count:,}' if count else 'no'} {one}{'' if count == 1 else 's'}"


class Counts(NamedTuple):
    """How many findings of each severity."""

    problems: int
    warnings: int
    notes: int


def counts(findings: Iterable[Finding]) -> Counts:
    """Count findings by their severity."""
    kinds = [finding.severity for finding in findings]
    return Counts(*(kinds.count(kind) for kind in (Severity.PROBLEM, Severity.WARNING, Severity.NOTE)))


def verdict(diagnosis: Diagnosis) -> str:
    """Return the answer in one line."""
    found = counts(diagnosis.findings)
    words = ", ".join(count_of(count, name) for count, name in zip(found, ("problem", "warning", "note"), strict=True))
    words = words[0].upper() + words[1:] + "."
    if found.problems or found.warnings:
        return words
    if not diagnosis.findings and not diagnosis.well:
        return "Nothing could be looked at."
    if any(finding.remedies for finding in diagnosis.findings):
        return f"{words} Nothing that was looked at needs a switch; what the notes offer is a choice."
    return f"{words} Nothing that was looked at needs a switch."


class Group(NamedTuple):
    """Findings of one rule that are of one weight: the first stands for all."""

    first: Finding
    others: tuple[Finding, ...]


def grouped(findings: Sequence[Finding]) -> list[Group]:
    """Put findings together that one rule says of several devices, in the order of the first of each."""
    groups: dict[object, list[Finding]] = {}
    for number, finding in enumerate(findings):
        # Without a rule each stands alone.
        groups.setdefault((finding.severity, finding.rule or number), []).append(finding)
    return [Group(first, tuple(others)) for first, *others in groups.values()]


def named(severity: Severity) -> str:
    """Return a severity in lower case."""
    return severity.name.lower()


def sure(finding: Finding) -> str:
    """Return in words how sure a finding is."""
    return {
        Confidence.CERTAIN: "certain: what was seen leaves no other explanation",
        Confidence.LIKELY: "likely: the best explanation of what was seen",
        Confidence.POSSIBLE: "possible: one of several explanations",
    }[finding.confidence]


def asked_by(rules: Iterable[Rule]) -> list[tuple[str, list[str]]]:
    """Return what would have to be asked, and the rules that wait for it; those first that most wait for."""
    asks: dict[str, list[str]] = {}
    for rule in rules:
        asks.setdefault(rule.ask, []).append(rule.id)
    return sorted(asks.items(), key=lambda item: (-len(item[1]), item[0]))
