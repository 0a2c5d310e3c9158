"""A diagnosis as a dictionary for programs. Keys are added in later versions, never renamed; `schema` counts other changes."""

from typing import Any

from pktpath import __version__
from pktpath.doctor.diagnose import Diagnosis
from pktpath.doctor.facts.base import Place
from pktpath.doctor.finding import Finding, Remedy
from pktpath.doctor.report.words import counts, named, verdict

SCHEMA = 1


def document_of(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return all that a diagnosis says, with strings, numbers, lists and dictionaries only; nothing is cut or cleaned."""
    found = counts(diagnosis.findings)
    return {
        "pktpath": __version__,
        "schema": SCHEMA,
        "live": diagnosis.case.live,
        "verdict": verdict(diagnosis),
        "summary": {
            "problems": found.problems,
            "warnings": found.warnings,
            "notes": found.notes,
            "well": len(diagnosis.well),
            "unasked": len(diagnosis.unasked),
            "missing": len(diagnosis.missing),
        },
        "findings": [_finding(finding) for finding in diagnosis.findings],
        "well": [{"rule": rule.id, "topic": rule.topic, "well": rule.well} for rule in diagnosis.well],
        "unasked": [{"rule": rule.id, "topic": rule.topic, "ask": rule.ask} for rule in diagnosis.unasked],
        "missing": [{"what": each.what, "why": each.why, "remedy": each.remedy} for each in diagnosis.missing],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "severity": named(finding.severity),
        "confidence": finding.confidence.name.lower(),
        "about": finding.about,
        "summary": finding.summary,
        "evidence": [_place(place) for place in finding.evidence],
        "why": finding.why,
        "remedies": [_remedy(remedy) for remedy in finding.remedies],
        "proof": finding.proof,
    }


def _place(place: Place) -> dict[str, Any]:
    return {"source": place.source, "line": place.line, "text": place.text, "scope": place.scope}


def _remedy(remedy: Remedy) -> dict[str, Any]:
    return {
        "command": remedy.command,
        "effect": remedy.effect,
        "cost": remedy.cost,
        "lasting": [{"by": by, "how": how} for by, how in remedy.lasting],
        "undo": remedy.undo,
        "verify": remedy.verify,
    }
