"""Hardware offload of flows is on, and no flow is in hardware.

other_config:hw-offload makes ovs-vswitchd give megaflows to the card, through tc flower (kernel datapath) or rte_flow (DPDK). The
card must support it, be in switchdev mode, and be able to do what the megaflow says; otherwise each attempt fails, at a cost, and
software forwards as before. While it is on, upcall/show tells `offloaded flows`.

Speaks when hw-offload is on, or upcall/show tells of offloaded flows, and of at least one megaflow none is in hardware.
Silent when one is. Source: Documentation/howto/tc-offload.rst and topics/dpdk/phy.rst of Open vSwitch.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.ovs import MegaflowTotals, Upcalls
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.remedy import other_config
from pktpath.doctor.rules._ovs import logged, setting, some


@rule(
    Upcalls,
    ask="ovs-appctl upcall/show and ovs-vsctl get Open_vSwitch . other_config",
    well="Hardware offload of flows is off, or does what it shall.",
    topic="hw-offload",
)
def hw_offload_without_offloaded_flows(case: Case) -> Iterator[Finding]:
    """One finding a datapath."""
    switch = setting(case, "hw-offload")
    if any(totals.offloaded for totals in case.latest(MegaflowTotals)):
        return
    for upcalls in case.latest(Upcalls):
        if upcalls.offloaded != 0 or upcalls.current < 1:
            continue
        failed = logged(case, "rte_flow creation failed") or logged(case, "offload", "failed")
        said = f" ({failed[0].message.rpartition('|')[2]})" if failed else ""
        yield Finding(
            severity=Severity.WARNING,
            confidence=Confidence.CERTAIN if failed else Confidence.LIKELY,
            summary=f"other_config:hw-offload is on, and none of the {upcalls.current:,} megaflows of {upcalls.datapath} is in "
            f"hardware{said}.",
            evidence=some(
                [upcalls.places.get("offloaded flows"), upcalls.at, switch.at if switch else None, *(one.at for one in failed)]
            ),
            why="The card, its driver or its mode does not take these flows: without switchdev mode (devlink dev eswitch) or "
            "rte_flow support nothing can be offloaded, and each new megaflow is tried in vain.",
            about=upcalls.datapath,
            remedies=(
                other_config(
                    "hw-offload",
                    "false",
                    "true",
                    effect="Nothing is tried any more; forwarding stays as it is. It takes a restart of ovs-vswitchd.",
                    cost="The restart interrupts traffic for a moment. If offload is wanted, set the card to switchdev mode "
                    "instead: devlink dev eswitch set pci/ADDRESS mode switchdev.",
                    verify="ovs-appctl upcall/show no longer has the line `offloaded flows`",
                ),
            ),
            proof="" if failed else "ovs-appctl dpctl/dump-flows -m type=offloaded, and ovs-vswitchd.log for failed attempts",
        )
