"""Segmentation of lying headers stays inside its buffers; the uncompiled and the checked kernels agree too."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pktpath.offload.reason import Reason

TESTS = Path(__file__).parent
REACHED = (
    Reason.NOT_IP, Reason.MALFORMED, Reason.CUT_BY_SNAPLEN, Reason.IP_FRAGMENT, Reason.OTHER_PROTOCOL, Reason.BAD_UDP_LENGTH,
    Reason.IP_ID, Reason.NO_MEMORY,
)  # fmt: skip


def run(*arguments, **environment):
    """Run Python on the tests' modules in a process of its own, which may die."""
    path = os.pathsep.join([str(TESTS.parent / "src"), str(TESTS), *sys.path[1:]])
    # The cache of this process holds kernels compiled without the switches.
    inherited = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    settings = {**inherited, "PYTHONPATH": path, **environment}
    return subprocess.run([sys.executable, *arguments], env=settings, capture_output=True, text=True, check=False, timeout=3600)


@pytest.mark.fuzz
def test_frames_that_end_at_a_guard_page():
    rounds = os.environ.get("PKTPATH_FUZZ_ROUNDS", "10000")
    done = run("-m", "support.gso_guard", rounds, "1")
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    print(seen)
    assert seen["cut"] > int(rounds) // 10
    for reason in REACHED:
        assert seen.get(reason.word, 0) > 0, reason


def test_the_guard_kills():
    code = "from support.gso_guard import *; pool, ends = guarded_pool(); pool.mem[ends[0]]"
    assert run("-c", code).returncode < 0


@pytest.mark.parametrize("switch", ["NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK"])
def test_without_compiler_and_with_bounds_check(switch, tmp_path):
    arguments = (
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-W",
        "ignore:overflow",
        f"{TESTS}/test_gso_twin.py",
        "-k",
        "one_of_each",
    )
    done = run(*arguments, **{switch: "1", "XDG_CACHE_HOME": str(tmp_path)})
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout
