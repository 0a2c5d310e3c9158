"""What the receive softirq of each CPU did."""

from dataclasses import dataclass

from pktpath.doctor.case import Case, Change
from pktpath.doctor.facts.process import Thread

BUSY_KSOFTIRQD = 20.0
"""Per cent of a CPU that ksoftirqd uses before softirqs are said to wait: it runs only when more came than one turn serves
(10 restarts or 2 ms, `__do_softirq`, kernel/softirq.c)."""
BUSY_FOR_LIFE = 50.0


@dataclass(frozen=True, slots=True)
class Softnet:
    """A row of softnet_stat by names."""

    cpu: str
    changes: dict[str, Change]

    def rise(self, name: str) -> int:
        """Return by how much a column rose."""
        return self.changes[name].rise if name in self.changes else 0


def softnet(case: Case) -> list[Softnet]:
    """Return all rows."""
    rows: dict[str, dict[str, Change]] = {}
    for change in case.changes("softnet"):
        rows.setdefault(change.counter.owner, {})[change.counter.name] = change
    return [Softnet(cpu, changes) for cpu, changes in rows.items()]


def busy_ksoftirqd(case: Case, least: float = BUSY_KSOFTIRQD) -> list[Thread]:
    """Return the threads that serve softirqs and are that busy: now, or for half of their whole life, which is what ps tells."""
    return [
        thread
        for thread in case.latest(Thread)
        if thread.name.startswith("ksoftirqd/") and thread.cpu >= (least if thread.recent else max(least, BUSY_FOR_LIFE))
    ]


def frames(case: Case) -> dict[int, Change]:
    """Return how many frames each CPU of the host took, where that was read twice and the time is known.

    Under load NAPI polls on without interrupts, and one NET_RX softirq serves up to netdev_budget frames: both become rarer the
    busier a CPU is, and a CPU that hands frames over to another (RPS) counts softirqs too. Frames tell what was done.
    """
    found = case.changes("softnet", "processed", scope="")
    return {int(one.counter.owner.removeprefix("cpu")): one for one in found if one.twice and one.rate is not None}


def squeezed(row: Softnet) -> bool:
    """Return whether the softirq ended often with work left over: 10 times a second, or 50 times where the time is not known."""
    change = row.changes.get("time_squeeze")
    if change is None or not change.twice:
        return False
    return change.rate >= 10 if change.rate is not None else change.rise >= 50
