"""Ask every rule about a case."""

from dataclasses import dataclass, replace

from pktpath.doctor.case import Case, Missing, fault_of
from pktpath.doctor.finding import Finding, Rule, Severity
from pktpath.doctor.rules import all_rules


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the doctor says about a case."""

    case: Case
    findings: tuple[Finding, ...]
    """The weightiest first."""
    well: tuple[Rule, ...]
    """Rules that looked and found nothing."""
    unasked: tuple[Rule, ...]
    """Rules whose facts are not there."""
    missing: tuple[Missing, ...]
    """What could not be looked at."""

    @property
    def worst(self) -> Severity | None:
        """Return the severity of the weightiest finding; None without any."""
        return max((finding.severity for finding in self.findings), default=None)


def diagnose(case: Case) -> Diagnosis:
    """Return what all rules say, the weightiest first; equal ones in the order of their rules' ids."""
    findings: list[Finding] = []
    well, unasked = [], []
    missing = list(case.missing)
    for rule in all_rules():
        if not all(kind in case for kind in rule.needs):
            unasked.append(rule)
            continue
        try:
            said = [replace(finding, rule=rule.id) for finding in rule.find(case)]
        except Exception as error:  # noqa: BLE001  one rule's fault must not silence the others
            missing.append(Missing(f"the question {rule.id}", fault_of(error)))
            continue
        findings += said
        if not said:
            well.append(rule)
    findings.sort(key=lambda finding: (-finding.severity, -finding.confidence))
    return Diagnosis(case, tuple(findings), tuple(well), tuple(unasked), tuple(missing))
