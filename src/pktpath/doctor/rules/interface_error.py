"""Open vSwitch could not make an interface of its database.

Such an interface is configured and carries nothing; `error` of the Interface says why. An interface whose device is not there
(`No such device`) is often what a virtual machine or container left behind, and harmless.

Speaks of each interface with an error: a problem, or a warning for devices that are not there. Source: ovs-vswitchd.conf.db(5).
Silent about interfaces without an error, whatever their link.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.ovs import OvsInterface
from pktpath.doctor.finding import Confidence, Finding, Remedy, Severity, rule
from pktpath.doctor.remedy import other_config
from pktpath.doctor.rules._ovs import logged, some, value_of


@rule(
    OvsInterface,
    ask="ovs-vsctl show",
    well="Every interface of Open vSwitch could be made.",
    topic="ovs-vswitchd",
)
def interface_error(case: Case) -> Iterator[Finding]:
    """One finding for each error, one for all that are left behind."""
    gone = []
    for interface in case.latest(OvsInterface):
        if not interface.error:
            continue
        if "No such device" in interface.error:
            gone.append(interface)
            continue
        about = [one for one in logged(case, interface.name) if "|ERR|" in one.message]
        pools = [one for one in about if "memory pool" in one.message]
        pool = bool(pools)
        cause = f" The log says: {(pools or about)[-1].message.rpartition('|')[2]}." if about else ""
        yield Finding(
            severity=Severity.PROBLEM,
            confidence=Confidence.CERTAIN,
            summary=f"Interface {interface.name} does not work: {interface.error}.",
            evidence=some([interface.at, *(one.at for one in reversed(about[-3:]))]),
            why=f"ovs-vswitchd could not open or configure it, and no packet goes through it.{cause}"
            + (" There is not enough huge page memory for another pool of packet buffers." if pool else ""),
            about=interface.name,
            remedies=(_memory(case),) if pool else (),
        )
    if gone:
        names = ", ".join(one.name for one in gone[:4]) + (f" and {len(gone) - 4} more" if len(gone) > 4 else "")
        yield Finding(
            severity=Severity.WARNING,
            confidence=Confidence.LIKELY,
            summary=f"{'Interfaces' if len(gone) > 1 else 'Interface'} {names} of Open vSwitch "
            f"{'have' if len(gone) > 1 else 'has'} no device.",
            evidence=some(one.at for one in gone),
            why="The device was removed, and the port stayed in the database: left behind by a virtual machine or container, "
            "or not there yet. Open vSwitch tries again whenever devices change.",
            about=gone[0].name,
            remedies=(_remove(gone[0]),),
            proof=f"ip link show {gone[0].name}",
        )


def _remove(interface: OvsInterface) -> Remedy:
    bridge = interface.bridge or "BRIDGE"
    return Remedy(
        command=f"ovs-vsctl --if-exists del-port {bridge} {interface.name}",
        effect="The port leaves the database, and is no longer tried.",
        cost="If its device comes back, nobody connects it; settings of the port (tag, external_ids) are lost.",
        undo=f"ovs-vsctl add-port {bridge} {interface.name}  # and its settings: note `ovs-vsctl list port "
        f"{interface.name}` before",
        verify="ovs-vsctl show has no line `error:`",
    )


def _memory(case: Case) -> Remedy:
    before = value_of(case, "dpdk-socket-mem")
    nodes = [int(word) if word.isdigit() and len(word) < 8 else 0 for word in before.split(",")]
    more = ",".join(str(2 * max(1024, size)) for size in nodes)
    return other_config(
        "dpdk-socket-mem",
        more,
        before,
        effect=f"DPDK takes {more} MiB of huge pages (one number a NUMA node, from node 0 on) when ovs-vswitchd starts next.",
        cost="The memory is gone for others, and must be there as huge pages; restarting ovs-vswitchd interrupts traffic.",
        verify="ovs-vsctl show has no line `error:`; ovs-appctl dpdk/get-malloc-stats tells what is left",
    )
