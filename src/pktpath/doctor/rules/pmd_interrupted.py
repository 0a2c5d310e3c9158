"""A poll-mode thread does not have its core for itself.

A PMD expects a core that runs nothing else. When the scheduler takes it away, for another thread or for the kernel's own work,
its rings fill meanwhile: a millisecond at 10 Gbit/s of small packets is 14,000 of them, and a ring has 2048 descriptors.

Speaks when involuntary context switches of a PMD thread rise by more than one a second over at least 10 between two looks, or
when pmd-perf-show saw the thread run for less than 95 % of at least 30 s in which it did not sleep. Silent with one look at
context switches. Healthy threads show 99 % and more of `Used TSC cycles`; 200 involuntary switches in 5 minutes is where the
alert of openstack-network-exporter begins. Source: proc(5), pmd.rst of Open vSwitch.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.ovs import PmdThread
from pktpath.doctor.facts.process import Thread
from pktpath.doctor.finding import Confidence, Finding, Remedy, Severity, rule
from pktpath.doctor.rules._pmd import pmds

RATE = 1.0
LEAST = 10
RUN = 95.0
LONG = 30.0
_WHY = (
    "The scheduler gave the core to something else, while packets waited in rings that are not emptied: another process, "
    "interrupts, or the hypervisor under a virtual machine (steal)."
)


@rule(
    PmdThread,
    ask="ovs-appctl dpif-netdev/pmd-perf-show, and /proc/PID/task/TID/status of the PMD threads, twice",
    well="Poll-mode threads have their cores for themselves.",
    topic="pmd",
)
def pmd_interrupted(case: Case) -> Iterator[Finding]:
    """One finding a thread, by the surer sign."""
    said: set[int] = set()
    for pair in case.pairs(Thread):
        thread, before = pair.last, pair.first.involuntary
        core = thread.name[5:7]
        if not thread.name.startswith("pmd-c") or not core.isdigit() or before is None or thread.involuntary is None:
            continue
        rise, seconds = thread.involuntary - before, pair.seconds
        if seconds and rise >= LEAST and rise / seconds > RATE:
            said.add(int(core))
            yield Finding(
                severity=Severity.WARNING,
                confidence=Confidence.CERTAIN,
                summary=f"Thread {thread.name} lost its core {rise:,} times in {seconds:g} s (involuntary context switches).",
                evidence=(pair.last.at, pair.first.at),
                why=_WHY,
                about=thread.name,
                remedies=(_isolate(int(core)),),
            )
    for work in pmds(case):
        if work.core in said or work.core is None or work.used is None or work.used >= RUN or work["sleep iterations"]:
            continue
        if (work.seconds or 0.0) >= LONG:
            yield Finding(
                severity=Severity.WARNING,
                confidence=Confidence.LIKELY,
                summary=f"The {work.name} ran only {work.used:.1f} % of {work.seconds:g} s, though it never sleeps.",
                evidence=work.where("used", "iterations"),
                why=_WHY,
                about=work.name,
                remedies=(_isolate(work.core),),
                proof=f"pidstat -wt 5 of the thread pmd-c{work.core:02d}: nvcswch/s should be 0; top shows `st` where a "
                "hypervisor "
                "takes the core",
            )


def _isolate(core: int) -> Remedy:
    return Remedy(
        command=f"tuned-adm profile cpu-partitioning  # with isolated_cores={core} in /etc/tuned/cpu-partitioning-variables.conf",
        effect=f"The scheduler, timers, RCU and interrupts stay away from core {core}.",
        cost="Needs a reboot for the kernel's command line; nothing else runs on that core any more unless it is pinned there.",
        undo="tuned-adm profile balanced  # and reboot",
        verify="nonvoluntary_ctxt_switches of the thread stands still, and `Used TSC cycles` is above 99 %",
        lasting=(("kernel command line", f"isolcpus={core} nohz_full={core} rcu_nocbs={core}"),),
    )
