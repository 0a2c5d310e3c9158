"""What the doctor says of whole hosts, judged by what was really going on there."""

import dataclasses
import re
import tomllib

import pytest

from pktpath.doctor.diagnose import diagnose
from pktpath.doctor.finding import Severity
from pktpath.doctor.rules import all_rules
from support.doctor import EVIDENCE, evidence

SAYS = {
    "pmd-idle-vhostuser": {
        "thread pmd-c01/id:8 is a poll-mode driver thread: 100 % CPU is by design": (
            r"pmd-c01/id:8.*by design", r"ps-threads|top-threads|stacks",
        ),
        "the real load is 0 %: idle iterations 100 %, Rx packets 0": (
            r"load is 0 %.*idle iterations 100.*Rx packets 0", r"pmd-perf-show",
        ),
        "the other threads are idle; EAGAIN/accept errors in strace are the normal non-blocking poll loop": (
            r"(EAGAIN|accept).*(normal|poll loop)", r"strace",
        ),
        "two vhost-user ports, no guest attached": (r"(two|2) vhost-user.*no guest|no guest.*vhost-user", r"pmd-rxq-show|dpctl"),
    },
    "netdev-partial-checksum": {
        "TcpInCsumErrors rose by 3 on the receiver while InErrs rose by 3": (
            r"TcpInCsumErrors.*rose by 3.*InErrs.*rose by 3", r"h2_proc_net_snmp",
        ),
        "tx checksum offload is on at the sending veth (partial checksums leave it)": (
            r"tx.*checksum.*on.*e1|e1.*tx.*checksum.*on", r"h1_ethtool",
        ),
        "ICMP is unaffected because its checksum is complete": (r"ICMP|ping", r"ping|snmp"),
    },
    "veth-features": {
        "tx off turns TSO off because TSO needs checksum offload": (r"tx off.*TSO.*checksum", r"tx-off"),
        "sg off turns GSO and TSO off because segmentation needs scatter-gather": (
            r"sg off.*(GSO|TSO).*scatter-gather", r"sg-off",
        ),
        "udp segmentation lines marked not requested / requested on are consequences, not causes": (
            r"consequence", r"tx-off|sg-off|tso-off",
        ),
    },
}  # fmt: skip
"""For each folder and sentence of its truth: what a finding must say, and in which file its evidence must be."""
SWITCHES = {
    "pmd-idle-vhostuser": [r"pmd-(max)?sleep(-max)?", r"pmd-cpu-mask"],
    "netdev-partial-checksum": [r"ethtool -K e1 tx off", r"userspace-tso-enable=true"],
}


def asked(*names):
    """Ask every rule; none may fail."""
    diagnosis = diagnose(evidence(*names))
    assert not any("fault of pktpath" in one.why for one in diagnosis.missing), diagnosis.missing
    return diagnosis


def told(finding):
    return f"{finding.summary} {finding.why}"


@pytest.mark.parametrize("folder", SAYS)
def test_what_must_be_said_is_said_and_nothing_else(folder):
    truth = tomllib.loads((EVIDENCE / folder / "truth.toml").read_text())
    assert set(truth["must_say"]) == set(SAYS[folder])
    diagnosis = asked(folder)
    for sentence, (words, files) in SAYS[folder].items():
        good = [
            finding
            for finding in diagnosis.findings
            if re.search(words, told(finding), re.IGNORECASE | re.DOTALL)
            and any(re.search(files, place.source) for place in finding.evidence)
        ]
        assert good, f"nobody says: {sentence}\n" + "\n".join(map(told, diagnosis.findings))
    for sentence in truth.get("must_not_say", []):
        for finding in diagnosis.findings:
            assert not re.search(sentence, finding.summary, re.IGNORECASE), f"{finding.rule} accuses: {finding.summary}"
    for switch in SWITCHES.get(folder, []):
        commands = [remedy.command for finding in diagnosis.findings for remedy in finding.remedies]
        assert any(re.search(switch, command) for command in commands), commands


def test_an_idle_poll_loop_is_no_problem():
    assert asked("pmd-idle-vhostuser").worst == Severity.NOTE


def test_lost_checksums_are_the_worst_of_their_host():
    findings = asked("netdev-partial-checksum").findings
    assert findings[0].severity == Severity.PROBLEM
    assert findings[0].rule == "partial-checksums-reach-a-receiver"
    assert all(finding.severity < Severity.PROBLEM for finding in findings[1:])


DEFENSIBLE: dict[str, str] = {}
"""Rules that may say more than a note of the network node, and why."""


def test_a_healthy_network_node_is_not_accused():
    for finding in asked("sos-ovs-vxlan-node.tar.xz").findings:
        assert finding.severity == Severity.NOTE or finding.rule in DEFENSIBLE, f"{finding.rule}: {finding.summary}"


HEALTHY = sorted(path.name for path in (EVIDENCE / "healthy").iterdir()) if (EVIDENCE / "healthy").exists() else []


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_hosts_are_not_accused(name):
    for finding in asked(f"healthy/{name}").findings:
        assert finding.severity == Severity.NOTE, f"{finding.rule}: {finding.summary}"


def test_there_are_rules_enough():
    assert len(all_rules()) >= 40


@pytest.mark.parametrize("rule", all_rules(), ids=lambda rule: rule.id)
def test_every_finding_is_complete(rule):
    """A sentence, evidence, a cause; switches with their cost, undo and check; a proof for what is not certain."""
    folders = [path for path in (EVIDENCE / "cases").glob("*") if path.name == rule.id.replace("-", "_")]
    said = [
        finding
        for name in (*(str(path.relative_to(EVIDENCE)) for path in folders), *SAYS)
        for finding in asked(name).findings
        if finding.rule == rule.id
    ]
    assert said, "no transcript on which it speaks"
    for finding in said:
        assert finding.summary[-1] == "."
        assert "\n" not in finding.summary
        assert 1 <= len(finding.evidence) <= 8
        assert finding.why
        assert finding.proof or finding.confidence == 3
        for remedy in finding.remedies:
            assert all((remedy.command, remedy.effect, remedy.cost, remedy.undo, remedy.verify)), remedy


def test_a_fault_of_one_rule_silences_no_other(monkeypatch):
    def fault(case):
        yield from ()
        raise ValueError(case)

    rules = all_rules()
    broken = (dataclasses.replace(rules[0], find=fault, needs=()), *rules[1:])
    monkeypatch.setattr("pktpath.doctor.diagnose.all_rules", lambda: broken)
    diagnosis = diagnose(evidence("veth-features"))
    assert diagnosis.findings
    assert "fault of pktpath" in diagnosis.missing[-1].why
