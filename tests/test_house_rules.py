"""The rules of the house, executable."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pktpath

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "pktpath"
MODULES = sorted(SOURCE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in MODULES}
ROOMS = [
    "cli", "lab", "doctor", "control", "path", "switch", "port", "nic", "offload", "host", "wire",
    "batch", "pool", "device_features", "features", "jit", "errors",
]  # fmt: skip
"""From the top of the house to its ground; an import points down or stays in its room."""


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")


def room_of(module: str) -> int | None:
    """Floor of a module; None for the package itself and its `__main__`, which stand at the door."""
    parts = module.split(".")
    return None if len(parts) < 2 or parts[1] not in ROOMS else ROOMS.index(parts[1])


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            # `from pktpath import x` and `from pktpath.wire import x` may both mean the module x.
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "pktpath"}


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_point_down_only(path):
    floor = room_of(module_name(path))
    if floor is None:
        return
    for name in imports_of(path):
        other = room_of(name)
        assert other is None or other >= floor, f"{module_name(path)} imports {name}, which is above it"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_numba_is_imported_by_jit_first(path):
    """Else it has read its environment before the private cache is chosen, and caches beside the sources."""
    if path.name == "jit.py":
        return
    for node in TREES[path].body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", "")]
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert not any(str(name).split(".")[0] == "numba" for name in names), f"line {node.lineno}"


def test_every_module_is_in_a_room():
    doors = {"pktpath", "pktpath.__main__"}
    homeless = [module_name(path) for path in MODULES if room_of(module_name(path)) is None]
    assert set(homeless) == doors


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_modules_stay_small(path):
    assert path.stat().st_size <= 20_000


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_only_commands_print(path):
    if room_of(module_name(path)) == 0:
        return
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Name):
            assert node.id != "print", f"line {node.lineno}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sys":
            assert node.attr not in {"stdout", "stderr"}, f"line {node.lineno}"


@pytest.mark.parametrize("path", [path for path in MODULES if path.name == "__init__.py"], ids=module_name)
def test_every_room_says_what_it_is(path):
    text = ast.get_docstring(TREES[path])
    assert text
    assert len(text.splitlines()) <= 10


def public_kernels() -> list[str]:
    names = set()
    for tree in TREES.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                decorators = {getattr(decorator, "id", None) for decorator in node.decorator_list}
                if "kernel" in decorators:
                    names.add(node.name)
    return sorted(names)


def reached_by_tests() -> set[str]:
    """Names in the tests, and every name in a function or class of the package that has one of these names."""
    inside: dict[str, set[str]] = {}
    for tree in TREES.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                inside.setdefault(node.name, set()).update(names_in(node))
    reached: set[str] = set()
    new = set().union(*(names_in(ast.parse(path.read_text())) for path in (ROOT / "tests").rglob("*.py")))
    while new:
        reached |= new
        new = set().union(*(inside.get(name, set()) for name in new)) - reached
    return reached


def names_in(tree: ast.AST) -> set[str]:
    return {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute)
    }


def test_every_kernel_is_reached_by_a_test():
    assert set(public_kernels()) - reached_by_tests() == set()


def test_every_reason_is_documented():
    generate = ROOT / "docs" / "generate.py"
    page = subprocess.run(
        [sys.executable, "-c", f"import runpy; print(runpy.run_path({str(generate)!r})['reasons'](), end='')"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert (ROOT / "docs" / "reasons.md").read_text() == page, "run docs/generate.py"


def test_every_reason_is_reached_by_a_kernel():
    names = set()
    for path in (SOURCE / "offload").glob("*.py"):
        if path.name != "reason.py":
            names |= set(re.findall(r"\bReason\.([A-Z_]+)", path.read_text()))
    from pktpath.offload.reason import Reason

    assert {reason.name for reason in Reason} - {"NONE"} <= names


def test_the_public_names_are_sorted_and_there():
    # Constants, classes, functions, as the linter sorts them.
    assert pktpath.__all__ == sorted(pktpath.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    for name in pktpath.__all__:
        value = getattr(pktpath, name)
        assert value.__doc__ or not callable(value)
    assert set(pktpath.__all__) <= set(dir(pktpath))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = pktpath.no_such_name


def test_the_public_names_are_what_their_modules_say():
    for name in set(pktpath.__all__) - {"__version__"}:
        module = importlib.import_module(pktpath._EXPORTS[name])
        assert getattr(module, name) is getattr(pktpath, name)


def documents() -> list[Path]:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").rglob("*.py"), *MODULES]
    return [*pages, *ROOT.glob(".ci/*"), ROOT / "Makefile"]


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_points_into_one_machine(path):
    found = re.findall(r"(?<![\w.])/(?:tmp|work|home|root|opt)/[\w.]+", path.read_text())
    assert not found


def test_nothing_is_left_to_do():
    for path in documents():
        assert not re.search(r"\b(TO[D]O|FIX[M]E|XX[X])\b", path.read_text()), path
