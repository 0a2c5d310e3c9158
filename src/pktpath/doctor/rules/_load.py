"""Signs that receiving is too much for the CPUs that do it."""

from dataclasses import dataclass

from pktpath.doctor.case import Case
from pktpath.doctor.facts.base import Place
from pktpath.doctor.facts.host import CpuTime
from pktpath.doctor.rules._devices import Device
from pktpath.doctor.rules._nic_loss import losses

FULL = 80.0
"""Per cent of a CPU in softirq: ksoftirqd then competes with everything else on it."""


@dataclass(frozen=True, slots=True)
class Load:
    """One sign."""

    what: str
    places: tuple[Place, ...]


def overload(case: Case, device: Device) -> list[Load]:
    """Return the signs, the surest first: frames lost by the card, packets lost in the backlog, a CPU that does nothing else."""
    found = [Load(f"it loses frames ({loss})", loss.places) for loss in losses(case)
             if loss.device == device and loss.twice and loss.kind in {"ring", "port"}]  # fmt: skip
    found += [
        Load(f"the backlog of {change.counter.owner} drops packets ({change})", change.places)
        for change in case.changes("softnet", "dropped", scope=device[0])
        if change.twice and change.rise
    ]
    found += [
        Load(f"CPU {time.cpu} is at {time.softirq:.0f} % in softirq", (time.at,))
        for time in case.latest(CpuTime)
        if time.cpu and time.per_cent and time.softirq >= FULL
    ]
    return found
