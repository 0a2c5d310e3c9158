"""A port is polled from another NUMA node than the one it is on.

Packets, descriptors and the ring are in the memory of the device's node; a thread of another node reaches each over the link
between the sockets. Open vSwitch avoids it as long as pmd-cpu-mask has a core of that node, and says so in its log when not.

Speaks when the log says so, or when `numa_id` in the status of an interface (ovs-vsctl list interface) is not the node of a
thread that polls it. Silent without either. Source: dpif-netdev of Open vSwitch; ovs-vswitchd.conf.db(5), status:numa_id.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.base import Place
from pktpath.doctor.facts.host import Cores
from pktpath.doctor.facts.ovs import OvsInterface, Rxq
from pktpath.doctor.finding import Confidence, Finding, Remedy, Severity, rule
from pktpath.doctor.remedy import other_config
from pktpath.doctor.rules._ovs import cores_of, logged, mask_of, some, value_of

_PORT = re.compile(r"numa node (\d{1,4})\..*?[Pp]ort '([^']{1,64})'|numa node (\d{1,4})\. Queue \d+ on port '([^']{1,64})'")


@rule(
    Rxq,
    ask="ovs-appctl dpif-netdev/pmd-rxq-show, ovs-vsctl list interface and ovs-vswitchd.log",
    well="Nothing says that a port is polled from another NUMA node.",
    topic="pmd",
)
def rxq_on_another_node(case: Case) -> Iterator[Finding]:
    """One finding a port."""
    queues = case.latest(Rxq)
    homes = {
        one.name: (int(one.status["numa_id"]), one.at)
        for one in case.latest(OvsInterface)
        if one.status.get("numa_id", "").isdigit() and len(one.status["numa_id"]) < 5
    }
    said: set[str] = set()
    for queue in queues:
        home = homes.get(queue.port)
        if home and home[0] != queue.numa and queue.enabled and queue.port not in said:
            said.add(queue.port)
            yield _finding(case, queue.port, home[0], queue.numa, (queue.at, home[1]), Confidence.CERTAIN)
    for message in logged(case, "available (non-isolated) pmd thread on numa node"):
        found = _PORT.search(message.message)
        port = found and (found[2] or found[4])
        now = [queue for queue in queues if queue.port == port]
        if found and port and port not in said and now:
            said.add(port)
            node = int(found[1] or found[3])
            if now[0].numa != node:
                yield _finding(case, port, node, now[0].numa, some([now[0].at, message.at]), Confidence.CERTAIN)


def _finding(case: Case, port: str, home: int, node: int, places: tuple[Place, ...], sure: Confidence) -> Finding:
    near = next((cores.cpus for cores in case.latest(Cores) if cores.node == home), ())
    mask = cores_of(value_of(case, "pmd-cpu-mask")) | {queue.core for queue in case.latest(Rxq)}
    remedies: tuple[Remedy, ...] = ()
    if near:
        remedies = (
            other_config(
                "pmd-cpu-mask",
                mask_of(mask | {near[-1]}),
                value_of(case, "pmd-cpu-mask"),
                effect=f"Core {near[-1]} of node {home} polls as well, and takes the queues of that node.",
                cost=f"Core {near[-1]} is at 100 % from now on and lost to others.",
                verify=f"ovs-appctl dpif-netdev/pmd-rxq-show lists {port} under numa_id {home}",
            ),
        )
    return Finding(
        severity=Severity.WARNING,
        confidence=sure,
        summary=f"Port {port} is on NUMA node {home} and is polled by a thread of node {node}.",
        evidence=places,
        why="Each packet, its descriptor and its buffer cross the link between the sockets, which takes about twice as long as "
        f"memory of one's own node. pmd-cpu-mask has no core of node {home} that is not pinned to other queues.",
        about=port,
        remedies=remedies,
    )
