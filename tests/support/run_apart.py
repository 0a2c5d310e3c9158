"""Run a script in a process of its own: with another numba, or where it may crash."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent


def run_apart(script: str, switch: str = "") -> str:
    """Run a script, with a switch of numba set to 1, and return what it printed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent / "src")])}
    if switch:
        environment[switch] = "1"
    if switch == "NUMBA_BOUNDSCHECK":
        # Bounds checks change the compiled code, and numba's cache knows nothing of them.
        environment["NUMBA_CACHE_DIR"] = os.environ["NUMBA_CACHE_DIR"] + "/bounds"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def fuzz(program: str, rounds: int, **environment: str) -> str:
    """Run a program of `support` that puts frames against a page nobody may touch, and return what it says it reached."""
    done = subprocess.run(
        [sys.executable, "-m", f"support.{program}", str(rounds), "1"], cwd=TESTS, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": f"{TESTS.parent / 'src'}:{TESTS}"} | environment,
    )  # fmt: skip
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stderr[-2000:]}"
    return done.stdout
