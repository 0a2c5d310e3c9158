"""Vhost-user ports have nobody at the other end.

A vhost-user port works when a virtual machine (or another user of virtio) is connected and has enabled its queues. Until then
pmd-rxq-show lists its queues as disabled, dpctl/show an MTU of 0 or `could not retrieve stats`, and `status` of the interface
says disconnected. That is how ports of machines that are switched off look.

Speaks, as a note, of ports that show one of these. Silent of connected ones. Source: Documentation/topics/dpdk/vhost-user.rst.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.base import Place
from pktpath.doctor.facts.ovs import DatapathPort, OvsInterface, Rxq
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._ovs import some


@rule(
    DatapathPort,
    ask="ovs-appctl dpctl/show and dpif-netdev/pmd-rxq-show",
    well="Every vhost-user port has a guest, or there is none.",
    topic="vhost-user",
)
def vhost_user_without_guest(case: Case) -> Iterator[Finding]:
    """One note for all such ports."""
    ports: dict[str, list[Place]] = {}
    kinds = {port.name: port for port in case.latest(DatapathPort) if "vhostuser" in port.kind}
    for queue in case.latest(Rxq):
        if queue.port in kinds and not queue.enabled:
            ports.setdefault(queue.port, []).append(queue.at)
    for name, port in kinds.items():
        if re.search(r"\bmtu=0\b", port.options):
            ports.setdefault(name, []).append(port.at)
    for interface in case.latest(OvsInterface):
        if "vhostuser" in interface.kind and interface.status.get("status") == "disconnected":
            ports.setdefault(interface.name, []).append(interface.at)
    if not ports:
        return
    names = ", ".join(sorted(ports)[:6]) + (f" and {len(ports) - 6} more" if len(ports) > 6 else "")
    count = f"{len(ports)} vhost-user port" + ("s have" if len(ports) > 1 else " has")
    yield Finding(
        severity=Severity.NOTE,
        confidence=Confidence.LIKELY,
        summary=f"{count} no guest attached: {names}.",
        evidence=some(places[0] for _, places in sorted(ports.items())),
        why="Their queues are disabled, or they have agreed on nothing with the other end yet: no virtual machine is "
        "connected, or its driver is not up. Their queues are still polled for that.",
        about=min(ports),
        proof="ovs-vsctl get interface " + min(ports) + " status: `status=connected` once there is one",
    )
