"""A device interrupts CPUs of another NUMA node than its own.

What a device writes lies in the memory, and often in the cache, of the node that its slot belongs to. A CPU of another node
fetches every descriptor and header over the link between the nodes. Source: Documentation/networking/scaling.rst;
/sys/class/net/DEV/device/numa_node.

Speaks when the host has several nodes, the device's own is known and not -1, and 80 % or more of at least 1,000 receive
interrupts a second between two looks went to CPUs of others. Silent without any of that.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.host import Cores, Interrupt, Setting
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._queues import delivered, devices
from pktpath.doctor.rules._steering import irq_affinity

_MOST, _RATE = 0.8, 1_000


@rule(
    Interrupt, Cores, Setting, ask="cat /proc/interrupts twice; numactl -H; grep . /sys/class/net/*/device/numa_node",
    well="Devices interrupt CPUs of their own NUMA node.", topic="numa",
)  # fmt: skip
def interrupt_on_a_remote_node(case: Case) -> Iterator[Finding]:
    """One finding a device."""
    nodes = {cores.node: cores for cores in case.latest(Cores) if cores.cpus}
    homes = {one.name.partition("/")[0]: one for one in case.latest(Setting) if one.name.endswith("/device/numa_node")}
    for device in devices(case):
        home = homes.get(device.dev)
        if len(nodes) < 2 or home is None or not home.value.isdigit() or device.rate is None or device.rate < _RATE:
            continue
        own = nodes.get(int(home.value[:6]))
        counts = device.by_cpu()
        total = sum(counts.values())
        remote = sum(count for cpu, count in counts.items() if own and cpu not in own.cpus)
        if own is None or remote < _MOST * total:
            continue
        worst = max(device.queues, key=lambda pair: sum(n for cpu, n in delivered(pair).items() if cpu not in own.cpus)).last
        yield Finding(
            severity=Severity.WARNING,
            confidence=Confidence.LIKELY,
            summary=f"{device.dev} belongs to NUMA node {own.node}, but {100 * remote / total:.0f} % of its "
            f"{device.rate:,.0f} receive interrupts a second go to CPUs of other nodes.",
            evidence=(worst.at, home.at, own.at),
            why="Descriptors and frames lie in the memory of the device's node; each access from another one crosses the link "
            "between them.",
            about=device.dev,
            remedies=(
                irq_affinity(worst.irq, ",".join(map(str, own.cpus)), "", f"{worst.label} is served by CPUs of node {own.node}."),
            ),
            proof="perf stat -e node-load-misses on the CPUs that serve it, before and after",
        )  # fmt: skip
