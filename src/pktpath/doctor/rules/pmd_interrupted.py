"""A poll-mode thread does not have its core for itself.

A PMD expects a core that runs nothing else. When the scheduler takes it away, for another thread or for the kernel's own work,
its rings fill meanwhile: a millisecond at 10 Gbit/s of small packets is 14,000 of them, and a ring has 2048 descriptors.

Speaks when involuntary context switches of a PMD thread rise by ten a second or more between two looks, or when it was ready and
had no core for a tenth of the time (schedstat of the thread, which a live look reads). Silent below, as the kernel's own
housekeeping takes a core once or twice a second where it is not isolated, and with one look at the switches alone.
The cycles of pmd-perf-show do not show it: time that was taken away counts as the iteration in which it was (measured: 99.9 %
`Used TSC cycles` for a thread that had half a core). Source: proc(5) (nonvoluntary_ctxt_switches), pmd.rst of Open vSwitch.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.case import Case, took
from pktpath.doctor.facts.process import Thread
from pktpath.doctor.finding import Confidence, Finding, Remedy, Severity, rule

RATE, WAITED = 10.0, 10.0
_CORE = re.compile(r"pmd-c(\d{2,4})(?!\d)")
_WHY = (
    "The scheduler gave the core to something else, while packets waited in rings that are not emptied: another process, "
    "interrupts, or the hypervisor under a virtual machine (steal)."
)


@rule(
    Thread,
    ask="/proc/PID/task/TID/status of the PMD threads, twice",
    well="Poll-mode threads have their cores for themselves.",
    topic="pmd",
)
def pmd_interrupted(case: Case) -> Iterator[Finding]:
    """One finding a thread."""
    for pair in case.pairs(Thread):
        thread = pair.last
        core = _CORE.match(thread.name)
        if core is None:
            continue
        waited = f"waited for its core for {thread.delayed:.0f} % of the time" if thread.delayed else ""
        rise, seconds = (thread.involuntary or 0) - (pair.first.involuntary or 0), pair.seconds
        often = thread.involuntary is not None and seconds and rise >= RATE * seconds
        if often or (thread.delayed or 0.0) >= WAITED:
            times = (
                f"lost its core {rise:,} times in {took(seconds)} ({rise / seconds:,.0f} a second)" if often and seconds else ""
            )
            yield Finding(
                severity=Severity.WARNING,
                confidence=Confidence.CERTAIN,
                summary=f"Thread {thread.name} {' and '.join(filter(None, (times, waited)))}.",
                evidence=(pair.last.at, pair.first.at)[: 2 if pair.twice else 1],
                why=_WHY,
                about=thread.name,
                remedies=(_isolate(int(core[1])),),
            )


def _isolate(core: int) -> Remedy:
    return Remedy(
        command=f"tuned-adm profile cpu-partitioning  # with isolated_cores={core} in /etc/tuned/cpu-partitioning-variables.conf",
        effect=f"The scheduler, timers, RCU and interrupts stay away from core {core}.",
        cost="Needs a reboot for the kernel's command line; nothing else runs on that core any more unless it is pinned there.",
        undo="tuned-adm profile OLD  # note `tuned-adm active` before; and reboot",
        verify="nonvoluntary_ctxt_switches of the thread stands still, and top shows it at 100 %",
        lasting=(("kernel command line", f"isolcpus={core} nohz_full={core} rcu_nocbs={core}"),),
    )
