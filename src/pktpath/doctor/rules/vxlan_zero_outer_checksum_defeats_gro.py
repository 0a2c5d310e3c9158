"""A tunnel's packets carry no outer UDP checksum, and the receiver does not merge them.

VXLAN and Geneve may leave the outer UDP checksum zero; Open vSwitch does so unless `options:csum=true`, ip-link when told
`noudpcsum`. A card that cannot look inside the tunnel then says nothing of the checksum that a receiver could use for the inner
one, and kernels before the fix of March 2021 (5.12; in the stable series 5.11.7, 5.10.24, 5.4.106, 4.19.181) did not merge such
packets at all. With an outer checksum, which every card checks, GRO works: antrea-io/antrea#1048 measured twice the throughput.
Later kernels merge either way, so there it costs the sender and gains little.

Speaks when two looks show at least 10,000 packets a second received by the tunnel device with 1000 bytes or more each, none
longer than a frame (so nothing was merged), and the tunnel sends without checksum: a warning on a kernel known to be older than
the fix, a note where nobody says which it is. On kernels known to have the fix it stays silent.
Silent without load: a zero checksum alone is no fault.
Source: net/ipv4/udp_offload.c, ovs-vswitchd.conf.db(5) options:csum, ip-link(8), antrea-io/antrea#1048 and #4250.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.base import Place
from pktpath.doctor.facts.device import Link
from pktpath.doctor.facts.host import Kernel
from pktpath.doctor.facts.ovs import OvsInterface
from pktpath.doctor.finding import Confidence, Finding, Remedy, Severity, rule
from pktpath.doctor.remedy import interface_option
from pktpath.doctor.rules._devices import links_of, places, rate_of
from pktpath.doctor.rules._tunnels import Tunnel, udp_tunnels

BULK_RATE, BULK_SIZE, SLACK = 10_000, 1000, 100
_FIXED_IN = {(4, 19): 181, (5, 4): 106, (5, 10): 24, (5, 11): 7}


@rule(
    Link,
    ask="ip -s -d link twice, ovs-vsctl show",
    well="No busy tunnel receives unmerged packets for want of an outer checksum.",
    topic="vxlan-offload",
)
def vxlan_zero_outer_checksum_defeats_gro(case: Case) -> Iterator[Finding]:
    """One finding a tunnel."""
    links = links_of(case)
    kernel = next(iter(case.latest(Kernel)), None)
    if kernel and _merges_without(kernel.release):
        return
    for tunnel in udp_tunnels(case):
        zero = _without_checksum(case, tunnel)
        rate = rate_of(case, (tunnel.scope, tunnel.name))
        mtu = min((links[card].mtu for card in tunnel.cards if card in links), default=1500)
        if not zero or rate is None or rate.packets < BULK_RATE or not BULK_SIZE <= rate.size <= mtu + SLACK:
            continue
        yield Finding(
            severity=Severity.WARNING if kernel else Severity.NOTE,
            confidence=Confidence.LIKELY if kernel else Confidence.POSSIBLE,
            summary=f"{tunnel.name} receives {rate.packets:,.0f} packets/s of {rate.size:.0f} bytes, unmerged, and its tunnel "
            "carries no outer UDP checksum.",
            evidence=places(rate.places, zero[0], kernel.at if kernel else None),
            why="Without an outer checksum the card says nothing that the kernel could use for the inner one, and kernels "
            "before 5.12 do not merge such packets. The sender decides, so both ends need the switch.",
            about=tunnel.name,
            remedies=(_switch(zero[1], tunnel.name),),
            proof=f"tcpdump -vc 4 -ni CARD udp port {tunnel.link.words.get('dstport', '4789') if tunnel.link else '4789'} shows "
            "[no cksum] and TCP inside (UDP is not merged anyway); uname -r; perf top shows csum_partial near the top.",
        )


def _without_checksum(case: Case, tunnel: Tunnel) -> tuple[Place, str] | None:
    """Return what says that a tunnel sends no outer checksum, and the name of Open vSwitch's interface, empty without."""
    if tunnel.link and "noudpcsum" in tunnel.link.words and "external" not in tunnel.link.words:
        return tunnel.link.at, ""
    if tunnel.link is None or "external" in tunnel.link.words:
        for one in case.latest(OvsInterface):
            if one.kind == tunnel.kind and one.options.get("csum", "false") != "true":
                return one.at, one.name
    return None


def _merges_without(release: str) -> bool:
    found = re.match(r"(\d{1,3})\.(\d{1,3})(?:\.(\d{1,5}))?", release)
    if not found:
        return False
    series, patch = (int(found[1]), int(found[2])), int(found[3] or 0)
    return series >= (5, 12) or patch >= _FIXED_IN.get(series, 1 << 30)


def _switch(interface: str, tunnel: str) -> Remedy:
    effect = "The outer checksum, which every card checks, vouches for the inner one, and the receiver's GRO merges."
    cost = "The sender sums each packet, or its card does (tx-udp_tnl-csum-segmentation); set it at the other end too."
    verify = "the packets/s of the tunnel device fall and its bytes a packet rise above the MTU"
    if interface:
        return interface_option(interface, "options", "csum", "true", effect=effect, cost=cost, verify=verify)
    return Remedy(
        command=f"ip link set dev {tunnel} type vxlan udpcsum  # where the kernel refuses: delete it and add it with udpcsum",
        effect=effect, cost=cost, undo=f"ip link set dev {tunnel} type vxlan noudpcsum", verify=verify,
        lasting=(("systemd-networkd", f"the .netdev file of {tunnel}:\n[VXLAN]\nUDPChecksum=yes"),),
    )  # fmt: skip
