"""A link is slower than both of its ends could be, or takes turns to send.

Two ends that negotiate take the best that both can do. Less than that is a cable with a broken pair (gigabit copper needs all
four), a port that somebody limited, or an end that does not negotiate: then the other one falls back to half duplex, where both
collide as soon as there is load.

Speaks of a link that is up: of half duplex where the card could do full (a warning); of a speed below what the card supports and
the other end advertises (a warning), or below what the card itself advertises, where nobody said what the other end does (a note:
the port or the transceiver there may be no better).
Silent about virtual devices, and about drivers that do not say what they support: some make up speed and duplex.
Source: ethtool(8); IEEE 802.3 clause 28.
"""

import re
from collections.abc import Iterable, Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.device import LinkMode
from pktpath.doctor.finding import Confidence, Finding, Remedy, Severity, rule
from pktpath.doctor.remedy import inside, link_file
from pktpath.doctor.rules._devices import is_virtual, kinds_of

_HALF = "In half duplex frames of both ends collide under load; most often the other end does not negotiate."
_SLOW = "A cable with a broken pair, a port that is limited, or a transceiver of a lower speed makes two ends agree on less."


@rule(LinkMode, ask="ethtool DEV", well="Every link is as fast as its ends can be, in full duplex.", topic="link")
def link_below_its_best(case: Case) -> Iterator[Finding]:
    """One finding a device."""
    kinds = kinds_of(case)
    for link in case.latest(LinkMode):
        can, partner = _best(link.supported), _best(link.partner)
        if not link.detected or not link.speed or not can or is_virtual((link.at.scope, link.dev), kinds):
            continue
        half = link.full is False
        both = min(can, partner) if partner else _best(link.advertised)
        if not half and link.speed >= both:
            continue
        known = half or partner > 0
        what = f"takes turns to send: {link.speed} Mb/s, half duplex" if half else f"runs at {link.speed:,} Mb/s"
        could = f"the card can do full duplex up to {can:,}" if half else (
            f"both ends can do {both:,}" if partner else f"the card offers up to {both:,}"
        )  # fmt: skip
        fixed = " Auto-negotiation is off here: somebody set it." if link.negotiated is False else ""
        yield Finding(
            severity=Severity.WARNING if known else Severity.NOTE,
            confidence=Confidence.LIKELY if known else Confidence.POSSIBLE,
            summary=f"The link of {link.dev} {what}, though {could}.",
            evidence=(link.at,),
            why=(_HALF if half else _SLOW) + fixed,
            about=link.dev,
            remedies=(_negotiate(link),) if link.negotiated is False else (),
            proof=f"Another cable and another port; the settings of the port at the other end; ethtool -S {link.dev} twice: "
            "collisions, CRC errors.",
        )  # fmt: skip


def _best(modes: Iterable[str]) -> int:
    """Return the highest speed of full duplex among modes such as `1000baseT/Full`; 0 for none."""
    return max((int(mode[1]) for one in modes if (mode := re.match(r"(\d{2,6})base.*/Full", one))), default=0)


def _negotiate(link: LinkMode) -> Remedy:
    duplex = "half" if link.full is False else "full"
    return Remedy(
        command=inside(link.at.scope, f"ethtool -s {link.dev} autoneg on"),
        effect="Both ends agree on the best that they can do.",
        cost="The link goes down for some seconds; the other end must negotiate too, or this one falls back to half duplex.",
        undo=inside(link.at.scope, f"ethtool -s {link.dev} autoneg off speed {link.speed} duplex {duplex}"),
        verify=f"ethtool {link.dev} shows Auto-negotiation: on, Duplex: Full",
        lasting=() if link.at.scope else (
            link_file(link.dev, ["AutoNegotiation=yes"]),
            ("NetworkManager", "nmcli connection modify CONNECTION 802-3-ethernet.auto-negotiate yes"),
        ),
    )  # fmt: skip
