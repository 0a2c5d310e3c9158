"""Large packets vanish on the way, small ones do not.

A link whose MTU is smaller than the sender's must answer a packet that may not be cut with ICMP `fragmentation needed`, so that
the sender learns of it (RFC 1191, RFC 8201). Where that answer is filtered, or the limit is one of a switch or tunnel that knows
no IP, large packets vanish: connections come about, and hang with the first full segment.

Speaks when pings of small packets to a host were answered and all of larger ones (that fit the device) were lost without an
answer that says why. When the sender was told the limit (`message too long`, `Frag needed`), that is noted: path MTU discovery
works. Silent otherwise.
Silent when nothing gets through at all.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.traffic import Ping
from pktpath.doctor.finding import Confidence, Finding, Remedy, Severity, rule
from pktpath.doctor.remedy import inside, sysctl

_LARGE, _LEAST = 1000, 3
_HEADERS = 28
"""IPv4 and ICMP."""
_TOLD = re.compile(r"(?i)too long|too big|frag needed")


@rule(Ping, ask="ping -c 3 HOST; ping -c 3 -M do -s 1472 HOST", well="Large packets get through like small ones.", topic="mtu")
def path_mtu_trouble(case: Case) -> Iterator[Finding]:
    """One finding a host."""
    small = {
        (one.at.scope, one.target): one
        for one in case.all(Ping)
        if 0 < one.sent == one.received and one.size is not None and one.size < _LARGE
    }
    for ping in case.all(Ping):
        answered = small.get((ping.at.scope, ping.target))
        if ping.size is None or ping.size < _LARGE or answered is None:
            continue
        if _TOLD.search(ping.error):
            yield Finding(
                severity=Severity.NOTE,
                confidence=Confidence.CERTAIN,
                summary=f"The path to {ping.target} takes no packets of {ping.size + _HEADERS} bytes, and the sender is told "
                f"so: {ping.error}.",
                evidence=(ping.at, answered.at),
                why="Path MTU discovery works: TCP adapts by itself. Only programs that send larger datagrams and forbid "
                "cutting are hurt.",
                about=ping.target,
            )
        elif not ping.error and ping.sent >= _LEAST and ping.received == 0:
            yield Finding(
                severity=Severity.PROBLEM,
                confidence=Confidence.LIKELY,
                summary=f"Packets of {ping.size + _HEADERS} bytes to {ping.target} vanish without an answer ({ping.sent} of "
                f"{ping.sent}), while those of {(answered.size or 0) + _HEADERS} bytes get through.",
                evidence=(ping.at, answered.at),
                why="A device on the way takes only smaller packets and nobody tells the sender: a tunnel or switch with a "
                "smaller MTU, or a filter that drops ICMP. Connections hang as soon as they send full segments.",
                about=ping.target,
                remedies=(
                    Remedy(
                        command=inside(ping.at.scope, "ip link set DEV mtu SIZE"),
                        effect="The host sends no packet that the path does not take (50 bytes less for VXLAN over IPv4).",
                        cost="More packets for the same data; best set where the tunnel ends, or raise the MTU below the "
                        "tunnel instead.",
                        undo=inside(ping.at.scope, "ip link set DEV mtu OLD") + "  # note `ip link show DEV` before",
                        verify=f"ping -c 3 -M do -s {ping.size} {ping.target} says message too long, and transfers no longer "
                        "hang",
                        lasting=(
                            ("systemd-networkd", "the .network file of the device:\n[Link]\nMTUBytes=SIZE"),
                            ("NetworkManager", "nmcli connection modify CONNECTION 802-3-ethernet.mtu SIZE")),
                    ),
                    sysctl(
                        "net.ipv4.tcp_mtu_probing", "1", "0", effect="TCP finds the size by itself when segments vanish.",
                        cost="Only TCP, and only after some seconds of loss.", verify="transfers no longer hang",
                    ),
                ),
                proof=f"ping -c 3 -M do -s SIZE {ping.target} with sizes between {answered.size} and {ping.size}: the largest "
                "that is answered, plus 28, is the path's MTU",
            )  # fmt: skip
