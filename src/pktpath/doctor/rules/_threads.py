"""Threads as several tables tell of them, and how threads that poll are known.

Sources: `ovs_set_program_name` and `pmd_thread_main` of Open vSwitch (lib/dpif-netdev.c: `pmd-cNN/id:N`, before 2.15 `pmdN`), the
thread names of DPDK (lib/eal: `lcore-worker-N`, before 20.11 `lcore-slave-N`) and of VPP (`vpp_wk_N`).
"""

import re
from dataclasses import dataclass, field

from pktpath.doctor.case import Case
from pktpath.doctor.facts.base import Place
from pktpath.doctor.facts.process import OpenFile, Process, Stack, Thread

POLL_NAME = re.compile(r"pmd\d{0,6}$|pmd-c\d|lcore-(?:wor|sla)|rte-worke|dpdk-work|vpp_wk_\d")
POLL_FRAMES = frozenset(
    ("pmd_thread_main", "dp_netdev_process_rxq_port", "eal_thread_loop", "eal_worker_thread_loop", "vlib_worker_loop")
)
POLLS = 20.0
"""Per cent of a core: below, the thread sleeps more than it polls; it may have to share its core with others."""
_MOVES = re.compile(r"ovs-vswitchd|ovs-vswit|pmd|lcore|dpdk|testpmd|vpp|handler\d|revalidator\d|vhost|pktpath")


@dataclass(slots=True)
class Known:
    """A thread, by all tables together."""

    pid: int
    tid: int
    name: str
    state: str
    cpu: float
    recent: bool
    delayed: float = 0.0
    """Per cent of the time that it was ready and another thread had the CPU."""
    places: list[Place] = field(default_factory=list)

    @property
    def wanted(self) -> float:
        """Return what it would take, per cent of a core: what it got, and what it waited for."""
        return self.cpu + self.delayed

    @property
    def polls(self) -> bool:
        """Whether its name is one of a poll-mode thread."""
        return POLL_NAME.match(self.name) is not None

    def __str__(self) -> str:
        """Return the name and number, as evidence has them."""
        return f"{self.name} ({self.tid})" if self.name else str(self.tid)


def threads(case: Case) -> dict[int, Known]:
    """Return the threads by their numbers: names from where they were not cut, CPU from where it is recent."""
    known: dict[int, Known] = {}
    for fact in case.latest(Thread):
        known.setdefault(fact.tid, _known(fact))
    for fact in case.all(Thread):
        one = known[fact.tid]
        one.places.append(fact.at)
        if fact.recent or not one.recent:
            one.cpu, one.recent, one.state = fact.cpu, fact.recent, fact.state
            one.delayed = fact.delayed or 0.0
        if len(fact.name.rstrip("+")) > len(one.name.rstrip("+")) and " " not in fact.name:
            one.name = fact.name
        one.pid = one.pid or fact.pid
    for one in known.values():
        one.places.reverse()
    _leaders(known)
    return known


def _known(fact: Thread) -> Known:
    return Known(fact.pid, fact.tid, fact.name, fact.state, fact.cpu, fact.recent, fact.delayed or 0.0)


def _leaders(known: dict[int, Known]) -> None:
    """Give back what a process's first thread was charged for all: some versions of procps show its row so."""
    others: dict[int, float] = {}
    for one in known.values():
        if one.tid != one.pid:
            others[one.pid] = others.get(one.pid, 0.0) + one.cpu
    for one in known.values():
        if one.tid == one.pid and one.state != "R" and (rest := others.get(one.pid, 0.0)) and one.cpu >= 0.9 * min(rest, 100.0):
            one.cpu = max(0.0, one.cpu - rest)


def poll_stacks(case: Case) -> dict[int, list[Stack]]:
    """Return by thread the stacks that stand in the loop of a poll-mode thread."""
    found: dict[int, list[Stack]] = {}
    for stack in case.all(Stack):
        if POLL_FRAMES.intersection(stack.frames) or POLL_NAME.match(stack.name):
            found.setdefault(stack.tid, []).append(stack)
    return found


def is_poll_thread(case: Case, tid: int) -> bool:
    """Return whether anything says that this thread polls."""
    one = threads(case).get(tid)
    return (one is not None and one.polls) or tid in poll_stacks(case)


def process_name(case: Case, pid: int) -> str:
    """Return `ovs-vswitchd (41246)`, `process 41246` where its name is not known, `the process` without a number."""
    names = [fact.name for fact in case.all(Process) if fact.pid == pid and fact.name]
    if not pid:
        return "the process"
    if not names:
        return f"process {pid}"
    name = max(names, key=len)
    # lsof shows 9 letters of a name, the kernel 15: the program's own file has all of them.
    files = [file.name for file in case.all(OpenFile) if file.pid == pid and file.fd == "txt"] if len(name) in (9, 15) else []
    whole = next((file.split(" (")[0].rsplit("/", 1)[-1] for file in files), "")
    return f"{whole if whole.startswith(name) else name} ({pid})"


def begin(who: str) -> str:
    """Return the words at the beginning of a sentence: names of programs stay as they are."""
    return who[:1].upper() + who[1:] if who.startswith(("process ", "the ", "thread ")) else who


def moves_packets(name: str) -> bool:
    """Return whether a process or thread of this name moves packets."""
    return _MOVES.search(name) is not None
