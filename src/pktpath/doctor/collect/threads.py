"""What each thread of a process does: CPU over an interval, switches, and whether it may be stopped.

Source: proc_pid_stat(5), proc_pid_status(5).
"""

import os
import re
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pktpath.doctor.collect.proc import field, numbers

_TICK = os.sysconf("SC_CLK_TCK")
_POLICIES = {0: "TS", 1: "FF", 2: "RR", 3: "B", 5: "IDL", 6: "DLN", 7: "EXT"}
_POLLERS = re.compile(r"pmd[-\d]|lcore-|rte-worker|dpdk-worker|vpp_wk|vpp_main")
"""Names of threads that poll devices by design: Open vSwitch's, DPDK's, VPP's."""
BUSY = 80.0
"""Per cent of a core."""
_FEW_CALLS = 0.1
"""Share of its CPU that a busy thread spends in the kernel when it polls memory and makes few system calls."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A thread at one moment."""

    when: float
    name: str
    state: str
    user: float
    """Seconds of CPU so far, in the program."""
    system: float
    """Seconds of CPU so far, in the kernel."""
    processor: int
    policy: str
    voluntary: int
    involuntary: int
    delay: float
    """Seconds so far that it was ready and another thread had the CPU."""


@dataclass(frozen=True, slots=True)
class Use:
    """A thread over an interval."""

    tid: int
    name: str
    cpu: float
    """Per cent of a core."""
    system: float
    """Per cent of a core, in the kernel."""
    delay: float
    """Per cent of the time that it was ready and another thread had the CPU."""

    @property
    def busy(self) -> bool:
        """Whether it takes most of a core, or would if it got it."""
        return self.cpu + self.delay > BUSY

    @property
    def polls(self) -> bool:
        """Whether it polls memory or a device without pause: packets are lost while something stops it."""
        return bool(_POLLERS.match(self.name)) or (self.busy and self.system < _FEW_CALLS * self.cpu)


def sample(pid: int) -> dict[int, Sample]:
    """Return all threads of a process; those that end meanwhile are left out.

    Raises:
        OSError: the process is not there.

    """
    found = {}
    for tid in numbers(f"/proc/{pid}/task"):
        here = Path(f"/proc/{pid}/task/{tid}")
        try:
            stat, status = (here / "stat").read_text(errors="replace"), (here / "status").read_text(errors="replace")
        except OSError:
            continue
        when = time.monotonic()
        name, _, rest = stat.partition("(")[2].rpartition(")")
        fields = rest.split()
        found[tid] = Sample(
            when, name, fields[0], int(fields[11]) / _TICK, int(fields[12]) / _TICK, int(fields[36]),
            _POLICIES.get(int(fields[38]), "?"), _switches(status, "voluntary"), _switches(status, "nonvoluntary"),
            _delay(here),
        )  # fmt: skip
    return found


def _delay(here: Path) -> float:
    """Source: Documentation/scheduler/sched-stats.rst; a kernel built without it says nothing."""
    try:
        return int((here / "schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def _switches(status: str, kind: str) -> int:
    found = re.search(rf"^{kind}_ctxt_switches:\s*(\d+)", status, re.MULTILINE)
    return int(found[1]) if found else 0


def uses(before: Mapping[int, Sample], after: Mapping[int, Sample]) -> list[Use]:
    """Return what each thread that was there both times has used, the busiest first."""
    found = []
    for tid, now in after.items():
        if (then := before.get(tid)) is None or now.when <= then.when:
            continue
        per_cent = 100.0 / (now.when - then.when)
        system = (now.system - then.system) * per_cent
        cpu, delay = (now.user - then.user) * per_cent + system, (now.delay - then.delay) * per_cent
        found.append(Use(tid, now.name, cpu, system, delay))
    return sorted(found, key=lambda use: -use.cpu)


def table(pid: int, command: str, before: Mapping[int, Sample], after: Mapping[int, Sample]) -> str:
    """Return the threads as a text that the parser of this name reads."""
    taken = {use.tid: use for use in uses(before, after)}
    spans = [now.when - before[tid].when for tid, now in after.items() if tid in before]
    rows = [
        f"Process {pid} {command}",
        f"Threads of process {pid} over {max(spans, default=0.0):.2f} s, per cent of a core; %WAIT: ready, but no CPU for it;",
        "context switches since each began:",
        f"{'TID':>8} S {'%CPU':>6} {'%SYS':>6} {'%WAIT':>6} PSR CLS {'VOLUNTARY':>12} {'INVOLUNTARY':>12} COMMAND",
    ]
    for tid, now in after.items():
        if (use := taken.get(tid)) is not None:
            rows.append(
                f"{tid:>8} {now.state} {use.cpu:>6.1f} {use.system:>6.1f} {use.delay:>6.1f} {now.processor:>3} {now.policy:<3} "
                f"{now.voluntary:>12} {now.involuntary:>12} {now.name}"
            )
    return "\n".join(rows) + "\n"


def stopped(pid: int) -> list[int]:
    """Return the threads that are stopped, by a signal or by a tracer, or will be by a signal that they have not seen yet."""
    pending = int(field(pid, "ShdPnd") or "0", 16) >> (signal.SIGSTOP - 1) & 1
    # Asked first: what takes the signal in between is stopped then.
    return [tid for tid, now in sample(pid).items() if now.state in "Tt" or (pending and tid == pid)]
