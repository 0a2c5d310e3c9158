"""What holds for the whole doctor: what it imports, how its rules are written, that its page of findings is current."""

import ast
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import pktpath.doctor
from pktpath.doctor.finding import Rule
from pktpath.doctor.rules import all_rules

DOCTOR = Path(pktpath.doctor.__file__).parent
ROOT = Path(__file__).parents[1]
MODULES = sorted(DOCTOR.rglob("*.py"))
RULES = sorted(path for path in (DOCTOR / "rules").glob("*.py") if not path.name.startswith("_"))
BELOW = {"pktpath.errors", "pktpath.features", "pktpath.host"}
"""What any module of the doctor may stand on."""
COLLECTORS = BELOW | {
    "pktpath.control.unixctl_client",
    "pktpath.control.ethtool_text", "pktpath.control.features_text",  # a live look is written in ethtool's words
}  # fmt: skip
HEAVY = ("numba", "numpy", "llvmlite", "scapy", "pyroute2", "jinja2", "rich", "psutil")
LIGHT = ("pktpath.doctor.diagnose", "pktpath.doctor.parse.source", "pktpath.doctor.explain", "pktpath.doctor.report.text")


def name_of(path: Path) -> str:
    return str(path.relative_to(DOCTOR).with_suffix(""))


def imported_by(path: Path) -> set[str]:
    """Return the modules of ours that a file names; `from a import b` may mean the module a.b."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.startswith("pktpath.") and not name.startswith("pktpath.doctor")}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_doctor_stands_on_little(path):
    allowed = COLLECTORS if "collect" in path.parts else BELOW
    for name in imported_by(path):
        assert name == "pktpath.__version__" or any(f"{name}.".startswith(f"{room}.") for room in allowed), name


@pytest.mark.parametrize("path", RULES, ids=name_of)
def test_rules_know_nothing_of_files_and_tools(path):
    """They are pure functions: facts, and what belongs to a rule."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.module is not None
            assert not node.module.startswith(("pktpath.doctor.parse", "pktpath.doctor.collect", "pktpath.doctor.report")), (
                node.module
            )
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not {name.partition(".")[0] for name in names} & {"os", "subprocess", "socket", "pathlib", "time"}, names
        assert not (isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"open", "print", "exec", "eval"})


@pytest.mark.parametrize("path", [path for path in MODULES if path.parent.name == "facts"], ids=name_of)
def test_facts_know_no_other_room_of_the_doctor(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pktpath.doctor"):
            assert node.module.startswith("pktpath.doctor.facts"), node.module


@pytest.mark.parametrize("module", LIGHT)
def test_what_is_heavy_is_not_imported(module):
    """Neither when the module is imported nor when all rules are."""
    script = (
        f"import sys, {module}\n"
        "from pktpath.doctor.rules import all_rules\n"
        "all_rules()\n"
        f"print(*sorted(set(sys.modules) & set({HEAVY!r})))\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


@pytest.mark.parametrize("path", RULES, ids=name_of)
def test_a_rule_file_has_the_rule_of_its_name(path):
    rules = {rule.id: rule for rule in all_rules()}
    rule = rules[path.stem.replace("_", "-")]
    assert isinstance(rule, Rule)
    assert rule.find.__name__ == path.stem
    assert rule.find.__module__ == f"pktpath.doctor.rules.{path.stem}"


@pytest.mark.parametrize("rule", all_rules(), ids=lambda rule: rule.id)
def test_a_rule_says_when_it_speaks_and_when_not(rule):
    text = " ".join(rule.text.split())
    first = rule.text.partition("\n")[0]
    assert re.search(r"\b[Ss]peaks\b", text), "Speaks when …"
    assert re.search(r"\b[Ss]ilent\b", text), "Silent when …"
    assert first.endswith(".")
    assert len(text) > 200, "half a page: what it is, when it speaks, when not, where that comes from"
    assert "\t" not in rule.text
    assert rule.well.endswith(".")
    assert rule.ask
    assert not rule.ask.endswith(".")
    assert "`" not in rule.ask
    assert rule.needs


def test_no_two_rules_say_the_same_of_themselves():
    for words in ([rule.well for rule in all_rules()], [rule.text.partition("\n")[0] for rule in all_rules()]):
        assert sorted(words) == sorted(set(words))


def test_every_finding_is_documented():
    page = runpy.run_path(str(ROOT / "docs" / "generate.py"))["findings"]()
    assert (ROOT / "docs" / "doctor-findings.md").read_text() == page, "run docs/generate.py"
    assert all(f"| `{rule.id}` |" in page for rule in all_rules())
