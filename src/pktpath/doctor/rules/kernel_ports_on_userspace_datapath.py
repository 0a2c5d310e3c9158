"""Devices of the kernel are ports of the userspace datapath.

A bridge with datapath_type=netdev can have ordinary interfaces (veth, cards with a kernel driver, TAPs) as ports. They are
read and written by the main thread with AF_PACKET sockets or TAP file descriptors: system calls and copies for each batch, no
poll-mode thread, and, unless userspace-tso-enable is on, no segmentation offload and no checksum offload through them.

Speaks, as a note, when a userspace datapath has ports without a type of their own (or of type `tap` beside the bridge's).
Silent for DPDK, vhost-user and AF_XDP ports. Source: lib/netdev-linux, Documentation/intro/install/userspace.rst.
"""

from collections import defaultdict
from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.ovs import DatapathPort, OvsBridge
from pktpath.doctor.finding import Confidence, Finding, Remedy, Severity, rule
from pktpath.doctor.rules._ovs import some


@rule(
    DatapathPort,
    ask="ovs-appctl dpctl/show",
    well="No userspace datapath moves packets of kernel devices.",
    topic="userspace-datapath",
)
def kernel_ports_on_userspace_datapath(case: Case) -> Iterator[Finding]:
    """One note a datapath."""
    datapaths: dict[str, list[DatapathPort]] = defaultdict(list)
    # Of Open vSwitch only: pktpath's own switch names each of its ports' kinds.
    for port in case.latest(DatapathPort):
        if port.datapath.startswith("netdev@") and not port.kind:
            datapaths[port.datapath].append(port)
    bridges = [bridge for bridge in case.latest(OvsBridge) if bridge.datapath_type == "netdev"]
    for datapath, ports in datapaths.items():
        names = ", ".join(port.name for port in ports[:6]) + (f" and {len(ports) - 6} more" if len(ports) > 6 else "")
        yield Finding(
            severity=Severity.NOTE,
            confidence=Confidence.CERTAIN,
            summary=f"{datapath} moves the packets of kernel devices itself: {names}.",
            evidence=some([*(port.at for port in ports[:4]), *(bridge.at for bridge in bridges[:2])]),
            why="They are read and written by AF_PACKET in the main thread, one system call and a copy for each batch, without "
            "segmentation and checksum offload; the kernel's own datapath moves packets between such devices much cheaper.",
            about=datapath,
            remedies=tuple(_to_kernel(bridge) for bridge in bridges[:1]),
        )


def _to_kernel(bridge: OvsBridge) -> Remedy:
    setting = f"ovs-vsctl set bridge {bridge.name} datapath_type="
    return Remedy(
        command=f"{setting}system",
        effect="The kernel's datapath forwards between these devices, with GSO and checksum offload.",
        cost="Needs the kernel module openvswitch. The bridge is made anew: traffic stops for a moment, and ports that only the "
        "userspace datapath has (dpdk, dpdkvhostuserclient, afxdp) stop working.",
        undo=f"{setting}netdev",
        verify="ovs-appctl dpctl/show lists these ports under system@ovs-system",
        lasting=(("Open vSwitch", "the database keeps it over restarts"),),
    )
