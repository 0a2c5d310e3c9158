"""Hostile frames at the edge of memory, compiled, interpreted and with every index checked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROUNDS = int(os.environ.get("PKTPATH_FUZZ_ROUNDS", "10000"))


def fuzz(rounds, **environment):
    done = subprocess.run(
        [sys.executable, "-m", "support.fuzz_checksum", str(rounds), "1"], cwd=TESTS, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": f"{TESTS.parent / 'src'}:{TESTS}"} | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.fuzz
def test_no_byte_beyond_a_frame_is_touched():
    reached = fuzz(ROUNDS)
    print(reached)
    for word in (
        "RIGHT",
        "WRONG",
        "PARTIAL",
        "ZERO",
        "NOT_VERIFIABLE",
        "OVERLAPPING_FRAGMENT",
        "MISSING_FRAGMENT",
        "BAD_FRAGMENT",
    ):
        assert word in reached


@pytest.mark.parametrize(
    "mode", [{"NUMBA_DISABLE_JIT": "1", "PYTHONWARNINGS": "ignore"}, {"NUMBA_BOUNDSCHECK": "1"}], ids=["jit-off", "boundscheck"]
)
def test_the_other_ways_to_run(mode):
    assert "RIGHT" in fuzz(300, **mode)
