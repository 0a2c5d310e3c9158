"""A core that polls also runs the threads of DPDK that do not.

pmd-cpu-mask says on which cores poll-mode threads run, dpdk-lcore-mask where all other threads of ovs-vswitchd may: the main
thread, handlers and revalidators inherit it. On a core in both a poll-mode thread, which never sleeps, and those take turns:
packets wait for milliseconds, and upcalls and control do as well.

Speaks when both are set and share a core, unless dpdk-lcore-mask has others too, when it is a note. Silent when one is not set.
Source: ovs-vswitchd.conf.db(5), Documentation/intro/install/dpdk.rst.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.host import Setting
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.remedy import other_config
from pktpath.doctor.rules._ovs import cores_of, mask_of, setting


@rule(
    Setting,
    ask="ovs-vsctl get Open_vSwitch . other_config",
    well="No core is in both pmd-cpu-mask and dpdk-lcore-mask.",
    topic="pmd",
)
def pmd_mask_overlaps_lcore_mask(case: Case) -> Iterator[Finding]:
    """At most one finding."""
    polling, others = setting(case, "pmd-cpu-mask"), setting(case, "dpdk-lcore-mask")
    if polling is None or others is None:
        return
    pmds, lcores = cores_of(polling.value), cores_of(others.value)
    both = sorted(pmds & lcores)
    if not both:
        return
    names = f"core {both[0]} is" if len(both) == 1 else f"cores {', '.join(map(str, both))} are"
    rest = lcores - pmds
    yield Finding(
        severity=Severity.NOTE if rest else Severity.WARNING,
        confidence=Confidence.LIKELY if rest else Confidence.CERTAIN,
        summary=f"{names[0].upper()}{names[1:]} in pmd-cpu-mask {polling.value} and in dpdk-lcore-mask {others.value}.",
        evidence=(polling.at, others.at) if polling.at != others.at else (polling.at,),
        why="The other threads of ovs-vswitchd run where dpdk-lcore-mask lets them, and have to share the core with a thread "
        "that never gives it up by itself." + (" Here they have other cores too." if rest else ""),
        about="ovs-vswitchd",
        remedies=(
            other_config(
                "dpdk-lcore-mask",
                mask_of(rest or {max(pmds) + 1 if 0 in pmds else 0}),
                others.value,
                effect="The other threads of ovs-vswitchd stay off the polling cores.",
                cost="Takes a restart of ovs-vswitchd, which interrupts traffic; fewer cores for these threads.",
                verify="ps -Lo tid,comm,psr -p PID of ovs-vswitchd: only pmd-c… threads on the cores of pmd-cpu-mask",
            ),
        ),
        proof="ps -Lo tid,comm,psr -p PID of ovs-vswitchd" if rest else "",
    )
