"""What receiving costs on this machine: the running kernel is measured, and `Costs` come out.

A process of its own measures, see `calibrate_worker`; it and all that it makes end with it, and it ends with
whoever asked. What cannot be measured keeps its default, and why is said. See docs/calibrate.md.
"""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Any, NamedTuple

from pktpath.lab.calibrate_figures import STEPS, UNITS, Figure, Missing, line
from pktpath.nic.host_types import Costs

_PATIENCE = 90
"""Seconds; a run takes ten to fifteen."""
_SOURCE = Path(__file__).parent.parent.parent


class Calibration(NamedTuple):
    """What was measured and what was not."""

    costs: Costs
    lines: list[str]
    """One for each cost that was measured, in the order of `Costs`: figure, spread, what it contains."""
    missing: list[str]
    """One for each reason why costs keep their defaults: "frame, gro: why"."""


def calibrate(progress: Callable[[int, int, str], object] | None = None) -> Calibration:
    """Measure what receiving costs on this machine, in ten to fifteen seconds.

    Costs of frames are measured in a network namespace, which needs CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_BPF; the
    others without privilege. Nothing is raised for what is not allowed or not there: it is in `missing`.

    Args:
        progress: is called at the beginning of each step with its number from 0, how many there are, and a label.

    """
    found: dict[str, Figure] = {}
    missing: dict[str, str] = {}
    step = 0
    # Closed at once, also when `progress` raises.
    with closing(_work()) as messages:
        for message in messages:
            if isinstance(message, str):
                if progress is not None:
                    progress(step, STEPS, message)
                step += 1
            elif isinstance(message, Figure):
                found[message.cost] = message
            else:
                missing[message.cost] = message.why
    return Calibration(
        Costs(**{cost: round(figure.value) for cost, figure in found.items()}),
        [line(found[cost]) for cost in UNITS if cost in found],
        _reasons({cost: missing[cost] for cost in UNITS if cost in missing}),
    )


def _reasons(missing: dict[str, str]) -> list[str]:
    """Return a line for each reason, with the costs that it is the reason for."""
    costs: dict[str, list[str]] = {}
    for cost, why in missing.items():
        costs.setdefault(why, []).append(cost)
    return [f"{', '.join(names)}: {why}" for why, names in costs.items()]


def _work() -> Generator[str | Figure | Missing, None, None]:
    """Let the process work and yield what it tells, and at last the costs that it did not tell of."""
    read_end, write_end = os.pipe()
    worker = None
    untold = dict.fromkeys(UNITS)
    try:
        try:
            worker = _start(write_end)
        finally:
            os.close(write_end)
        deadline = time.monotonic() + _PATIENCE
        with os.fdopen(read_end, "rb", buffering=0, closefd=False) as messages:
            for text in _lines(messages, deadline):
                told = _message(json.loads(text))
                if not isinstance(told, str):
                    untold.pop(told.cost, None)
                yield told
        if untold:
            why = _why_it_ended(worker, time.monotonic() >= deadline)
            for cost in untold:
                yield Missing(cost, why)
    finally:
        os.close(read_end)
        if worker is not None:
            _end(worker)


def _start(descriptor: int) -> subprocess.Popen[bytes]:
    path = os.pathsep.join(filter(None, (str(_SOURCE), os.environ.get("PYTHONPATH"))))
    # In a session of its own: an interrupt from the terminal is for us, who then end it. Not from the
    # working directory (-P), which is anybody's.
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "pktpath.lab.calibrate_worker", str(descriptor), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=(descriptor,),
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    )


def _end(worker: subprocess.Popen[bytes]) -> None:
    worker.kill()
    worker.wait()
    if worker.stderr is not None:
        worker.stderr.close()


def _lines(messages: IO[bytes], deadline: float) -> Iterator[bytes]:
    """Yield whole lines until the other end is closed or the time is over."""
    rest = b""
    while select.select([messages], [], [], max(deadline - time.monotonic(), 0))[0]:
        piece = messages.read(1 << 16)
        if not piece:
            return
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines


def _message(told: Any) -> str | Figure | Missing:
    if isinstance(told, str):
        return told
    return Missing(*told) if len(told) == len(Missing._fields) else Figure(*told)


def _why_it_ended(worker: subprocess.Popen[bytes], too_late: bool) -> str:
    if too_late:
        return f"no answer within {_PATIENCE} seconds"
    _, errors = worker.communicate()
    last = errors.decode(errors="replace").strip().splitlines()[-1:]
    return f"the measuring process ended early ({last[0] if last else f'status {worker.returncode}'})"
