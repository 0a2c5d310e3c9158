"""A tunnel's MTU and its headers together are longer than the device below can send.

VXLAN and Geneve add 50 bytes over IPv4 and 70 over IPv6 (Ethernet, tunnel, UDP and IP header; Geneve's options come on top),
gretap 38. A full frame of the tunnel is then fragmented outside, which defeats GRO and spreading at the receiver, or dropped
where fragments or the DF flag forbid it: small things work, bulk transfers hang.

Speaks when the MTU of a tunnel device that is up, with the headers, exceeds that of the device it names (`dev`) or whose
address it uses.
Silent about tunnel devices of Open vSwitch (`external`), whose MTU of 65000 limits nothing: there the ports decide.
Source: `vxlan_headroom` (include/net/vxlan.h), `geneve_link_config` (drivers/net/geneve.c), ip-link(8).
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.device import Link
from pktpath.doctor.finding import Confidence, Finding, Remedy, Severity, rule
from pktpath.doctor.remedy import inside, link_file
from pktpath.doctor.rules._devices import links_of, places
from pktpath.doctor.rules._tunnels import TUNNELS, underlays

_IPV6 = 20


@rule(
    Link,
    ask="ip -d link, ip addr",
    well="Every tunnel's MTU leaves room for its headers.",
    topic="mtu",
)
def tunnel_mtu_too_large(case: Case) -> Iterator[Finding]:
    """One finding a tunnel."""
    for (scope, dev), link in links_of(case).items():
        if link.kind not in TUNNELS or "external" in link.words or "UP" not in link.flags:
            continue
        lower = next((one for one in underlays(case, scope, link) if one.dev != dev), None)
        added = TUNNELS[link.kind] + (_IPV6 if ":" in link.words.get("local", link.words.get("remote", "")) else 0)
        if lower is None or not lower.mtu or link.mtu + added <= lower.mtu:
            continue
        fits = lower.mtu - added
        command = inside(scope, f"ip link set dev {dev} mtu {fits}")
        yield Finding(
            severity=Severity.WARNING,
            confidence=Confidence.LIKELY,
            summary=f"{dev} ({link.kind}) has an MTU of {link.mtu}; with {added} bytes of headers that is "
            f"{link.mtu + added - lower.mtu} more than the {lower.mtu} of {lower.dev}.",
            evidence=places(link.at, lower.at),
            why="A full frame is fragmented outside the tunnel, which defeats GRO and receive-side scaling at the other end, "
            "or is dropped where fragments cannot pass: then ping works and bulk transfers hang.",
            about=dev,
            remedies=(
                Remedy(
                    command=command,
                    effect="TCP learns the smaller size at its next connection; nothing is fragmented any more.",
                    cost="Both ends, and whatever is bridged with the tunnel (containers, guests), should have the same MTU.",
                    undo=inside(scope, f"ip link set dev {dev} mtu {link.mtu}"),
                    verify=f"ping -M do -s {fits - 28} through the tunnel is answered; IpFragCreates of nstat does not rise",
                    lasting=(
                        ("NetworkManager", f"nmcli connection modify CONNECTION 802-3-ethernet.mtu {fits}"),
                        link_file(dev, [f"MTUBytes={fits}"]),
                    ),
                ),
                Remedy(
                    command=inside(scope, f"ip link set dev {lower.dev} mtu {link.mtu + added}"),
                    effect="The device below takes the longer packets.",
                    cost="Every switch and host of that network must take frames of that size; most drivers take the link down "
                    "for a moment.",
                    undo=inside(scope, f"ip link set dev {lower.dev} mtu {lower.mtu}"),
                    verify=f"ping -M do -s {link.mtu + added - 28} to the other end of the tunnel is answered",
                ),
            ),
            proof=f"ping -M do -s {link.mtu - 28} through the tunnel: is it answered? nstat: does IpFragCreates rise?",
        )
