"""Hostile frames at the edge of memory, compiled, interpreted and with every index checked."""

import os

import pytest

from support.run_apart import fuzz

ROUNDS = int(os.environ.get("PKTPATH_FUZZ_ROUNDS", "10000"))


@pytest.mark.fuzz
def test_no_byte_beyond_a_frame_is_touched():
    reached = fuzz("fuzz_checksum", ROUNDS)
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
    assert "RIGHT" in fuzz("fuzz_checksum", 300, **mode)
