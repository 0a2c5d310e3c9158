"""Poll-mode threads turn all the time, and there is nothing to do.

A thread of OVS-DPDK (PMD) asks its queues for packets in a loop and never sleeps, so that its core shows 100 % CPU whether there
is traffic or not. Its real load is the share of cycles in iterations that found packets, which pmd-perf-show and pmd-stats-show
tell. From Open vSwitch 3.1 on it may sleep between empty polls: other_config:pmd-maxsleep, called pmd-sleep-max since 3.2.

Speaks, as a note, of threads with less than 1 % of their cycles spent on packets. Silent of all others.
Source: Documentation/topics/dpdk/pmd.rst of Open vSwitch; its NEWS for the names.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.ovs import PmdThread
from pktpath.doctor.facts.process import Thread
from pktpath.doctor.finding import Confidence, Finding, Remedy, Severity, rule
from pktpath.doctor.remedy import other_config
from pktpath.doctor.rules._ovs import cores_of, in_file, mask_of, own_switch, setting, some, value_of, version
from pktpath.doctor.rules._pmd import Work, pmds

IDLE = 1.0
"""Per cent of the cycles; the rest is polling."""


@rule(
    PmdThread,
    ask="ovs-appctl dpif-netdev/pmd-perf-show",
    well="No poll-mode thread burns a core without traffic.",
    topic="pmd",
)
def pmd_idle(case: Case) -> Iterator[Finding]:
    """One note for all idle threads."""
    working = pmds(case)
    idle = [work for work in working if work.share is not None and work.share < IDLE]
    if not idle:
        return
    named = [thread for work in idle for thread in _threads(case, work)]
    names = ", ".join(thread.name for thread in named) or ", ".join(work.name for work in idle)
    received = sum(work.received for work in idle)
    share = sum(100.0 - (work.share or 0.0) for work in idle) / len(idle)
    load = sum(work.share or 0.0 for work in idle) / len(idle)
    yield Finding(
        severity=Severity.NOTE,
        confidence=Confidence.CERTAIN,
        summary=f"The poll-mode threads of {_cores(idle)} have nothing to do: the real load is {load:.2g} %, "
        f"idle iterations {share:.1f} %, Rx packets {received:.0f} {idle[0].span}.",
        evidence=some(
            [place for work in idle for place in (work.where("idle iterations", "idle")[0], work.where("received")[0])][:4]
            + [thread.at for thread in named]
        ),
        why=f"Thread {names}: it asks its queues without end and never sleeps, so that 100 % CPU is by design and says nothing "
        "about load; that is the share of cycles that found packets.",
        about=idle[0].name,
        remedies=tuple(_remedies(case, working, idle)),
    )


def _threads(case: Case, work: Work) -> list[Thread]:
    """Return the thread in the tables of ps or top: `pmd-c01/id:8`."""
    found = {thread.tid: thread for thread in case.all(Thread) if thread.name.startswith(f"pmd-c{work.core:02d}/")}
    return list(found.values())


def _cores(idle: list[Work]) -> str:
    cores = [str(work.core) for work in idle]
    return f"core {cores[0]}" if len(cores) == 1 else f"cores {', '.join(cores)}"


def _remedies(case: Case, working: list[Work], idle: list[Work]) -> Iterator[Remedy]:
    if own_switch(case):
        yield in_file(
            "sleep_max_us",
            "100",
            "0",
            effect="A worker whose polls stay empty sleeps up to 100 µs between them, and its core goes idle.",
            cost="The first frames after a pause wait up to 100 µs longer.",
            verify="pktpath appctl dpif-netdev/pmd-perf-show counts `sleep iterations`, and top shows the thread below 100 %",
        )
        return
    told = version(case)
    # Before 3.1 there is neither the sleep nor the line that counts it.
    can_sleep = told >= (3, 1) if told else any("sleep iterations" in work.counts for work in working)
    if can_sleep and not any(work["sleep iterations"] for work in working):
        names = ("pmd-maxsleep", "pmd-sleep-max")
        for name in names if told is None else names[told > (3, 1) :][:1]:
            which = "Open vSwitch 3.1" if name == "pmd-maxsleep" else "Open vSwitch 3.2 and later"
            yield other_config(
                name,
                "100",
                value_of(case, name),
                effect=f"({which}.) A thread whose polls stay empty sleeps up to 100 µs between them, and the core goes idle.",
                cost="The first packets after a pause wait up to 100 µs longer and meet a fuller ring; "
                "pmd-rxq-show counts sleep as idle.",
                verify="pmd-perf-show counts `sleep iterations`, and top shows the thread below 100 %",
            )
    keep = {work.core for work in working if work.core is not None} - {work.core for work in idle if work.core is not None}
    keep = keep or {min(work.core for work in idle if work.core is not None)}
    before = setting(case, "pmd-cpu-mask")
    if before and cores_of(before.value) == keep:
        # There is one such thread only, and there must be one.
        return
    one = len(keep) == 1
    yield other_config(
        "pmd-cpu-mask",
        mask_of(keep),
        before.value if before else "",
        effect=f"{'Core' if one else 'Cores'} {', '.join(map(str, sorted(keep)))} alone {'polls' if one else 'poll'}; "
        "each core less in the mask is a core back for others. One per NUMA node with ports is the least.",
        cost="All queues move to the threads that are left, with a short gap in traffic while they do; "
        "less room when load comes.",
        verify="ovs-appctl dpif-netdev/pmd-rxq-show lists these threads only",
    )
