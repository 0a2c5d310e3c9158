"""UFO is off, and nothing is wrong with that.

UFO (UDP fragmentation offload) let a device cut one large UDP datagram into IP fragments. Hardly any card ever did; Linux 4.14
took it out of the kernel, but for frames that come from a virtual machine. Tables of older kernels show
`udp-fragmentation-offload: off [fixed]` for nearly every device. What newer kernels have is something else:
`tx-udp-segmentation` makes several datagrams, not fragments, and programs must ask for it (UDP_SEGMENT).

Speaks once for all devices, as a note, where a table shows the line and it is off.
Silent where UFO is on, or no table has the line.
Source: Documentation/networking/segmentation-offloads.rst; the commits "net: Remove references to NETIF_F_UFO" of Linux 4.14.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.device import DeviceFeature
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._devices import features_of, listed, places


@rule(
    DeviceFeature,
    ask="ethtool -k DEV",
    well="No table shows UFO.",
    topic="ufo",
)
def ufo_off_is_normal(case: Case) -> Iterator[Finding]:
    """One finding for all."""
    off = [ufo for known in features_of(case).values() if (ufo := known.get("tx-udp-fragmentation")) and not ufo.active]
    if not off:
        return
    fixed = " and cannot be switched" if all(ufo.fixed for ufo in off) else ""
    yield Finding(
        severity=Severity.NOTE,
        confidence=Confidence.CERTAIN,
        summary=f"UFO (udp-fragmentation-offload) is off{fixed} at {listed(ufo.dev for ufo in off)}: that is normal.",
        evidence=places([ufo.at for ufo in off]),
        why="Hardly any card ever fragmented UDP, and Linux 4.14 took UFO out. Large datagrams are fragmented by the kernel, "
        "which costs little as they are rare; tx-udp-segmentation, of newer kernels, is another thing.",
        about=off[0].dev if len(off) == 1 else "",
    )
