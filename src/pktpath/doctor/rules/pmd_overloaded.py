"""A poll-mode thread spends nearly all its cycles on packets.

Whatever comes faster than a thread can take waits in the ring of the device and is lost when that is full: at the device, as
`dropped` of dpctl/show -s and `rx_missed_errors` of the interface. The share of cycles spent on packets is the load of a PMD;
its 100 % CPU is not.

Speaks above 95 % with traffic: a problem when receive drops of a port rise between two looks, a warning otherwise.
Silent with less, and without a packet. Where the limit is: pmd-auto-lb, too, takes a thread above 95 % as overloaded
(pmd-auto-lb-load-threshold in ovs-vswitchd.conf.db(5)).
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case, Change
from pktpath.doctor.facts.host import Cores, CpuTime
from pktpath.doctor.facts.ovs import PmdThread, Rxq
from pktpath.doctor.finding import Confidence, Finding, Remedy, Severity, rule
from pktpath.doctor.remedy import other_config
from pktpath.doctor.rules._ovs import cores_of, in_file, mask_of, own_switch, some, value_of
from pktpath.doctor.rules._pmd import Work, pmds

FULL = 95.0


@rule(
    PmdThread,
    ask="ovs-appctl dpif-netdev/pmd-stats-show, twice",
    well="No poll-mode thread is at its limit.",
    topic="pmd",
)
def pmd_overloaded(case: Case) -> Iterator[Finding]:
    """One finding a thread."""
    for work in pmds(case):
        if work.share is None or work.share <= FULL or work.received < 1000:
            continue
        drops = _drops(case, work)
        lost = f", and {drops[0].counter.owner} dropped {drops[0]} on receive" if drops else ""
        rate = f" at {work.rate / 1e3:,.0f} Kpps" if work.rate else ""
        cycles = f", {work.cycles:.0f} cycles each" if work.cycles else ""
        yield Finding(
            severity=Severity.PROBLEM if drops else Severity.WARNING,
            confidence=Confidence.CERTAIN if work.twice or work.seconds else Confidence.LIKELY,
            summary=f"The {work.name} spends {work.share:.1f} % of its cycles on packets {work.span}: "
            f"{work.received:,.0f} packets{rate}{cycles}{lost}.",
            evidence=some([*work.where("busy", "busy iterations", "received"), *(p for drop in drops for p in drop.places)]),
            why="A thread that has no idle cycles left takes packets later than they come; the ring of the device fills, and "
            "what finds it full is dropped.",
            about=work.name,
            remedies=tuple(_more(case)),
            proof="" if work.twice or work.seconds else "ovs-appctl dpif-netdev/pmd-stats-clear, and pmd-stats-show 10 s later",
        )


def _more(case: Case) -> Iterator[Remedy]:
    free = _free(case)
    if free is None:
        return
    cores = sorted({*_mask(case), free})
    if own_switch(case):
        yield in_file(
            "cores",
            str(cores),
            str(sorted(_mask(case))),
            effect=f"A worker on core {free} takes part of the queues.",
            cost=f"Core {free} is at 100 % from now on while `schedule` is poll; a port with one queue stays on one worker.",
            verify="pktpath appctl dpif-netdev/pmd-rxq-show spreads the usage over more threads",
        )
        return
    yield other_config(
        "pmd-cpu-mask",
        mask_of(cores),
        value_of(case, "pmd-cpu-mask"),
        effect=f"Core {free} polls as well, and queues are shared among more threads; it must be a core of the node of the "
        "device that nothing else needs.",
        cost="That core is at 100 % from now on, whether there is traffic or not; a single busy queue stays on one thread: "
        "give its port more queues (options:n_rxq) first. A short gap while queues move.",
        verify="ovs-appctl dpif-netdev/pmd-rxq-show spreads the usage over more threads",
    )


def _mask(case: Case) -> set[int]:
    return cores_of(value_of(case, "pmd-cpu-mask")) or {work.core for work in pmds(case) if work.core is not None}


def _free(case: Case) -> int | None:
    """Return the next core that does not poll yet; None where the host is known to have no other than the first."""
    polling = _mask(case)
    known = {int(one.cpu) for one in case.latest(CpuTime) if one.cpu.isdigit()}
    known |= {cpu for node in case.latest(Cores) for cpu in node.cpus}
    after = max(polling, default=0) + 1
    # The first core does the kernel's own work, as a rule.
    return after if not known or after in known else min(known - polling - {0}, default=None)


def _drops(case: Case, work: Work) -> list[Change]:
    """Return receive drops that rise, at ports of which the thread polls a queue."""
    ports = {queue.port for queue in case.latest(Rxq) if queue.core == work.core}
    found = [
        change
        for change in (
            *case.changes("dpport", "rx_dropped"),
            *case.changes("interface", "rx_missed_errors", "rx_dropped"),
        )
        if change.twice and change.rise > 0 and change.counter.owner.rpartition(" ")[2] in ports
    ]
    return sorted(found, key=lambda change: -change.rise)
