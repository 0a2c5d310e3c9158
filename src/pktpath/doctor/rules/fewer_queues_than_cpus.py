"""A card uses fewer queues than it has and than there are CPUs, and the CPUs of those queues are full.

Each receive queue is served by one CPU at a time. With one queue all packets of a card wait for one CPU, however idle the
others are.

Speaks when `ethtool -l` shows fewer receive queues than the card allows and than there are CPUs, and one of these says that it
hurts: a CPU at 80 % or more in softirq, the card or the backlog losing frames between two looks.
Silent without such evidence: for a few thousand packets a second one queue is best.
Source: Documentation/networking/scaling.rst, ethtool(8) -L.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.base import Place
from pktpath.doctor.facts.device import Channels
from pktpath.doctor.facts.host import Cores, CpuTime, Interrupt
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.remedy import channels
from pktpath.doctor.rules._devices import is_virtual, kinds_of, places
from pktpath.doctor.rules._load import overload


@rule(
    Channels,
    ask="ethtool -l DEV, /proc/interrupts, mpstat -P ALL",
    well="No card has too few queues for its load.",
    topic="rss",
)
def fewer_queues_than_cpus(case: Case) -> Iterator[Finding]:
    """One finding a device."""
    cpus, kinds = _cpus(case), kinds_of(case)
    for queues in case.latest(Channels):
        device = (queues.at.scope, queues.dev)
        current, maximum = queues.current, queues.maximum
        if queues.which not in {"combined", "rx"} or not current or not maximum or is_virtual(device, kinds):
            continue
        if current >= min(maximum, cpus[0]) or not (loads := overload(case, device)):
            continue
        more = min(maximum, cpus[0])
        yield Finding(
            severity=Severity.WARNING,
            confidence=Confidence.LIKELY,
            summary=f"{queues.dev} spreads what it receives over {current} of {maximum} queues, with {cpus[0]} CPUs, while "
            f"{loads[0].what}.",
            evidence=places(queues.at, *(load.places for load in loads), cpus[1]),
            why="One CPU serves a queue at a time, so at most as many CPUs take packets in as there are queues.",
            about=queues.dev,
            remedies=(
                channels(
                    queues.dev, queues.which, more, current,
                    effect=f"Flows are spread over {more} queues, each with an interrupt of its own.",
                    cost="Most drivers take the link down for a moment and forget a custom indirection table; more queues "
                    "mean more interrupts and smaller batches. Look at the interrupts' CPUs afterwards.",
                ),
            ),
            proof="mpstat -P ALL 1: is one CPU at 100 % in softirq while others idle? One single flow stays on one queue in "
            "any case.",
        )  # fmt: skip


def _cpus(case: Case) -> tuple[int, Place | None]:
    """Return how many CPUs there are, and what says so; 0 where nobody does."""
    cores = case.latest(Cores)
    if cores:
        return len({cpu for node in cores for cpu in node.cpus}), cores[0].at
    interrupts = case.latest(Interrupt)
    if interrupts:
        return len(interrupts[0].cpus), interrupts[0].at
    times = [time for time in case.latest(CpuTime) if time.cpu]
    return len({time.cpu for time in times}), times[0].at if times else None
