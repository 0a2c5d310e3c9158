"""A missing judge is a skip at home and a failure in CI."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES = """
import pytest

@pytest.mark.peer
def test_missing(): pytest.skip("tshark is missing")

@pytest.mark.peer
def test_listed(): pytest.skip("this kernel has no 8021q")

def test_ordinary(): pytest.skip("not today")
"""


@pytest.mark.parametrize(("ci", "failed", "skipped"), [("0", 0, 3), ("1", 1, 2)])
def test_a_skipped_judge_fails_only_in_ci_and_only_unlisted(tmp_path, ci, failed, skipped):
    here = Path(__file__).parent
    (tmp_path / "test_cases.py").write_text(CASES)
    (tmp_path / "conftest.py").write_text((here / "conftest.py").read_text())
    (tmp_path / "unjudged.txt").write_text((here / "unjudged.txt").read_text())
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  oracle:\n  peer:\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(tmp_path)]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PKTPATH_CI": ci}, capture_output=True, text=True, check=False
    )
    assert f"{skipped} skipped" in done.stdout
    assert (f"{failed} failed" in done.stdout) == bool(failed), done.stdout
    if failed:
        assert "not judged: Skipped: tshark is missing" in done.stdout


def test_a_root_user_is_needed_and_the_reason_says_so(monkeypatch):
    from conftest import kernel_missing

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    kernel_missing.cache_clear()
    try:
        assert "root" in kernel_missing()
        assert "apt-get install ethtool iproute2" in kernel_missing()
    finally:
        kernel_missing.cache_clear()
