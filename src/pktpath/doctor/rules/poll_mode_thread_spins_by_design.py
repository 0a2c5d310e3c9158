"""A poll-mode thread uses all of its core, with or without traffic, because it never sleeps.

A poll-mode driver (PMD) has no interrupts: its thread asks its receive queues again and again, so top, ps and perf show 100 %
of a core from the first moment on. That is what the core was given for; how much of it is work is told by the daemon alone
(`ovs-appctl dpif-netdev/pmd-perf-show`: busy and idle iterations), not by the CPU that it uses.

Speaks when a thread of which the name is that of a poll-mode thread uses more than a fifth of a core, or when a call stack
stands in the loop of one (Open vSwitch lib/dpif-netdev.c `pmd_thread_main`; DPDK `lcore-worker`; VPP workers). It is a note.
Silent when such a thread mostly sleeps (pmd-sleep-max). Other threads of the process are judged by rules of their own.
Sources: Documentation/topics/dpdk/pmd.rst of Open vSwitch (pmd-sleep-max since 3.2, pmd-maxsleep in 3.1),
ovs-vswitchd.conf.db(5).
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.base import Place
from pktpath.doctor.facts.ovs import PmdThread
from pktpath.doctor.facts.process import Stack, Thread
from pktpath.doctor.finding import Confidence, Finding, Remedy, Severity, rule
from pktpath.doctor.remedy import other_config
from pktpath.doctor.rules._threads import POLLS, Known, poll_stacks, threads


@rule(
    Thread | Stack,
    ask="ps -L -p PID -o pid,tid,psr,stat,pcpu,comm",
    well="No thread spins: there is no poll-mode thread, or it sleeps.",
    topic="pmd",
)
def poll_mode_thread_spins_by_design(case: Case) -> Iterator[Finding]:
    """One finding for all poll-mode threads of a process."""
    stacks = poll_stacks(case)
    by_pid: dict[int, list[tuple[str, float | None, list[Place]]]] = {}
    told = threads(case)
    for one in told.values():
        if one.polls and one.cpu >= POLLS:
            places = [*one.places[:2], *(stack.at for stack in stacks.get(one.tid, ())[:2])]
            by_pid.setdefault(one.pid, []).append((str(one), one.cpu, places))
    for tid, looks in stacks.items():
        if tid not in told:
            by_pid.setdefault(0, []).append(
                (f"{looks[0].name} ({tid})" if looks[0].name else str(tid), None, [one.at for one in looks])
            )
    for pid, found in by_pid.items():
        names = ", ".join(name for name, _, _ in found[:4]) + (f" and {len(found) - 4} more" if len(found) > 4 else "")
        used = [cpu for _, cpu, _ in found if cpu is not None]
        are = "Thread {} is a poll-mode thread" if len(found) == 1 else "Threads {} are poll-mode threads"
        part = _part(used)
        frames = {frame for looks in stacks.values() for look in looks for frame in look.frames}
        ovs = "pmd_thread_main" in frames or any(name.startswith("pmd") for name, _, _ in found)
        counted = (
            "ovs-appctl dpif-netdev/pmd-perf-show tells how many rounds were busy." if ovs else "The program's own counters tell."
        )
        yield Finding(
            severity=Severity.NOTE,
            confidence=Confidence.CERTAIN,
            summary=f"{are.format(names)}: {part} is by design, with or without traffic.",
            evidence=tuple(dict.fromkeys(place for _, _, places in found for place in places))[:6],
            why="Such a thread asks its receive queues in a loop and never sleeps, so the CPU that it uses says nothing about "
            f"its load. {counted}{_others(pid, told)}",
            about=f"process {pid}" if pid else names,
            # Who has asked the switch gets these from pmd-idle, where they help.
            remedies=_sleep() if ovs and PmdThread not in case else (),
        )


def _part(used: list[float]) -> str:
    if not used or max(used) >= 90:
        return f"{max(used):g} % CPU" if used else "100 % CPU"
    return f"all the CPU that it gets ({max(used):g} %, beside others on its core)"


def _others(pid: int, told: dict[int, Known]) -> str:
    rest = [one.cpu for one in told.values() if one.pid == pid and not one.polls]
    return f" The other {len(rest)} threads are idle: {sum(rest):.1f} % together." if rest and pid and sum(rest) < 5 else ""


def _sleep() -> tuple[Remedy, ...]:
    return (
        other_config(
            "pmd-sleep-max", "50",
            effect="A PMD thread whose queues stay empty sleeps up to 50 us between two rounds; pmd-maxsleep is the name in 3.1.",
            cost="The first packet after a pause waits up to that long, and a burst may overrun a short receive ring; only where "
            "the core or its power is wanted for something else.",
            verify="ovs-appctl dpif-netdev/pmd-perf-show counts sleep iterations, and top shows less CPU when there is "
            "no traffic",
        ),
        other_config(
            "pmd-cpu-mask", "0x2",
            effect="PMD threads run on the cores of this mask only (here core 1): fewer cores poll.",
            cost="Traffic stops for a moment while the threads are made anew, and the cores that are left must carry all queues.",
            verify="ovs-appctl dpif-netdev/pmd-rxq-show lists the queues of the cores that are left",
        ),
    )  # fmt: skip
