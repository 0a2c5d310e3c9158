"""What each CPU does now."""

from dataclasses import dataclass

from pktpath.doctor.case import Case
from pktpath.doctor.facts.base import Place
from pktpath.doctor.facts.host import CpuTime


@dataclass(frozen=True, slots=True)
class CpuShare:
    """Shares of the time between two looks, or of what a tool watched; 0 to 1."""

    cpu: int
    idle: float
    softirq: float
    place: Place


def cpu_shares(case: Case) -> dict[int, CpuShare]:
    """Return the CPUs of which it is known; one look at /proc/stat tells of all time since the start, which says nothing."""
    found: dict[int, CpuShare] = {}
    for pair in case.pairs(CpuTime):
        last, first = pair.last, pair.first
        if not last.cpu.isdigit() or last.at.scope:
            continue
        now, before = _spent(last), _spent(first)
        if not last.per_cent:
            if not pair.twice or any(a < b for a, b in zip(now, before, strict=True)):
                continue
            now = tuple(a - b for a, b in zip(now, before, strict=True))
        if (total := sum(now)) > 0:
            found[int(last.cpu)] = CpuShare(int(last.cpu), (now[0] + now[1]) / total, now[2] / total, last.at)
    return found


def _spent(time: CpuTime) -> tuple[float, ...]:
    return time.idle, time.iowait, time.softirq, time.user, time.nice, time.system, time.irq, time.steal
