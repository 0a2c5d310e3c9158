"""One poll-mode thread has the queues with the traffic, another has nothing to do.

Queues are given to threads when ports are configured: in turn, or by the load measured at that time. Traffic moves later, queues
do not, unless somebody asks (pmd-rxq-rebalance) or pmd-auto-lb does.

Speaks when, among threads of one node, one is at 80 % or more by pmd-rxq-show and another at least 50 points lower, and either
the busy one has two queues of 10 % and more, so that one can move, or the single busy queue could be split (n_rxq).
Silent for pinned (isolated) threads, for `NOT AVAIL`, and where all are busy. 25 points are what pmd-auto-lb wants to gain before
it moves queues (pmd-auto-lb-improvement-threshold); this asks for twice as much.
"""

from collections import defaultdict
from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.ovs import PmdOverhead, Rxq
from pktpath.doctor.finding import Confidence, Finding, Remedy, Severity, rule
from pktpath.doctor.remedy import interface_option, other_config
from pktpath.doctor.rules._ovs import some, value_of

BUSY = 80.0
APART = 50.0
MOVABLE = 10.0


@rule(
    Rxq,
    ask="ovs-appctl dpif-netdev/pmd-rxq-show",
    well="Receive queues are spread over the poll-mode threads as the traffic is.",
    topic="pmd",
)
def rxq_imbalance(case: Case) -> Iterator[Finding]:
    """One finding a node, of its busiest thread."""
    nodes: dict[tuple[str, int], dict[int, list[Rxq]]] = defaultdict(lambda: defaultdict(list))
    for queue in case.latest(Rxq):
        if not queue.isolated:
            nodes[queue.at.scope, queue.numa][queue.core].append(queue)
    overheads = {(fact.at.scope, fact.core): fact.usage or 0.0 for fact in case.latest(PmdOverhead)}
    for (scope, _), cores in nodes.items():
        known = {core: queues for core, queues in cores.items() if all(queue.usage is not None for queue in queues)}
        loads = {
            core: sum(queue.usage or 0.0 for queue in queues) + overheads.get((scope, core), 0.0)
            for core, queues in known.items()
        }
        if len(loads) < 2:
            continue
        busy, idle = max(loads, key=loads.__getitem__), min(loads, key=loads.__getitem__)
        if loads[busy] >= BUSY and loads[busy] - loads[idle] >= APART:
            moving = sorted(
                (queue for queue in known[busy] if (queue.usage or 0.0) >= MOVABLE), key=lambda queue: -(queue.usage or 0.0)
            )
            if moving:
                yield _finding(case, busy, idle, loads, moving, known[idle])


def _finding(case: Case, busy: int, idle: int, loads: dict[int, float], moving: list[Rxq], spare: list[Rxq]) -> Finding:
    queues = ", ".join(f"{queue.port} queue {queue.queue} {queue.usage:.0f} %" for queue in moving[:4])
    single = len(moving) == 1
    return Finding(
        severity=Severity.WARNING,
        confidence=Confidence.CERTAIN,
        summary=f"The PMD of core {busy} is {loads[busy]:.0f} % loaded ({queues}) while that of core {idle} is "
        f"{loads[idle]:.0f} % loaded.",
        evidence=some(queue.at for queue in (*moving, *spare)),
        why="All packets of a queue are taken by one thread. "
        + (
            "Here it is one queue: only more queues for its port, over which RSS spreads the flows, can be shared."
            if single
            else "These queues were given to one thread, and stay there until somebody asks for a new assignment."
        ),
        about=f"core {busy}",
        remedies=(_split(moving[0]),) if single else tuple(_rebalance(case)),
    )


def _split(queue: Rxq) -> Remedy:
    return interface_option(
        queue.port,
        "options",
        "n_rxq",
        str(queue.queue + 2),
        effect=f"{queue.port} gets another receive queue, which another thread can poll.",
        cost="The port restarts, some hundred milliseconds without traffic. One flow still stays on one queue. "
        "(A vhost-user port has as many queues as its guest enables.)",
        verify="ovs-appctl dpif-netdev/pmd-rxq-show lists its queues on several cores with usage on each",
    )


def _rebalance(case: Case) -> Iterator[Remedy]:
    way = value_of(case, "pmd-rxq-assign")
    if way == "roundrobin":
        yield other_config(
            "pmd-rxq-assign",
            "cycles",
            way,
            effect="Queues are given out by the load that was measured instead of in turn.",
            cost="A short gap in traffic while queues move.",
            verify="ovs-appctl dpif-netdev/pmd-rxq-show",
        )
    yield Remedy(
        command="ovs-appctl dpif-netdev/pmd-rxq-rebalance",
        effect="Queues are given to threads anew, the busiest first, by the load of the last minute.",
        cost="Threads stop for some milliseconds while queues move: packets may be lost once.",
        undo="ovs-vsctl set Interface PORT other_config:pmd-rxq-affinity=QUEUE:CORE  # pins a queue where it was",
        verify="ovs-appctl dpif-netdev/pmd-rxq-show a minute later shows similar usage on the threads",
        lasting=(("Open vSwitch", "ovs-vsctl set Open_vSwitch . other_config:pmd-auto-lb=true  # moves them by itself"),),
    )
