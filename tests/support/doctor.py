"""Cases from texts and files, and what the rules say of them."""

import re
from pathlib import Path

import pytest

from pktpath.doctor.case import Case
from pktpath.doctor.finding import Finding
from pktpath.doctor.parse.transcript import Transcript
from pktpath.doctor.rules import all_rules

EVIDENCE = Path(__file__).parent.parent / "evidence"


def case_of(*texts: str, **more) -> Case:
    """Make a case of pasted documents."""
    facts, missing = [], []
    for number, text in enumerate(texts, 1):
        document = Transcript(text.splitlines(), f"text{number}", order=1000 * number, **more)
        facts += document.facts()
        missing += document.missing
    return Case(facts, missing)


def facts_of(text: str, kind=None, **more) -> list:
    """Return the facts of a pasted document, of one kind only where one is named."""
    facts = list(Transcript(text.splitlines(), "text", **more).facts())
    return facts if kind is None else [fact for fact in facts if isinstance(fact, kind)]


def evidence(*names: str) -> Case:
    """Make a case of a folder of tests/evidence, or of some files in it."""
    from pktpath.doctor.parse.source import read

    return read([EVIDENCE / name for name in names])


def findings(case: Case, rule: str | None = None) -> list[Finding]:
    """Return what all rules say of a case, or what one says."""
    rules = [one for one in all_rules() if rule is None or one.id == rule]
    assert rules, f"no rule {rule}"
    return [finding for one in rules if all(kind in case for kind in one.needs) for finding in one.find(case)]


def says(case: Case, rule: str, *words: str) -> Finding:
    """Return the finding of a rule whose summary or why has all these words; fail without."""
    found = findings(case, rule)
    for finding in found:
        if all(re.search(word, f"{finding.summary} {finding.why}", re.IGNORECASE) for word in words):
            assert finding.evidence, "a finding without evidence"
            return finding
    pytest.fail(f"{rule} does not say {words}: {[finding.summary for finding in found]}")
