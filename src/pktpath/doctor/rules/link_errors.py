"""Frames arrive damaged, or the link goes up and down.

CRC, frame, alignment and symbol errors come from the wire: a bad cable, a dirty or too weak optic, a wrong duplex or FEC. The
card drops such frames, so TCP sees loss that no tuning of the host removes. Carrier errors and changes say that the link itself
comes and goes.

Speaks when such a counter rises between two looks: a PROBLEM from one a second or 1 in 10,000 frames, else a warning. Of one look
only where it is at least a thousandth of all frames received, as a note.
Silent about virtual devices, and about rx_errors without a cause: what else it sums up, other rules tell.
Source: include/uapi/linux/if_link.h; IEEE 802.3 expects less than one bad frame in many millions.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.case import Case, Change
from pktpath.doctor.facts.host import Counter
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._devices import Device, is_virtual, kinds_of, places
from pktpath.doctor.rules._nic_loss import received

_WIRE = re.compile(
    r"(?:^|.*[ .:_\]])(?:rx_crc_errors(?:_phy)?|rx_frame_errors|rx_align(?:ment)?_errors|rx_symbol_err(?:or)?s?(?:_phy)?|"
    r"rx_alignment_symbol_errors|rx_fcs_errors|rx_fcs_err_frames|RxFCSErrors|crc_errors|"
    r"tx_carrier_errors|carrier_changes|link_down_events(?:_phy)?)(?:\.nic)?$"
)
_MANY, _SHARE, _FEW = 1.0, 1e-4, 1e-3


@rule(
    Counter,
    ask="ip -s -s link, ethtool -S DEV, twice some seconds apart",
    well="No link counted damaged frames.",
    topic="link",
)
def link_errors(case: Case) -> Iterator[Finding]:
    """One finding a device."""
    kinds = kinds_of(case)
    found: dict[Device, list[Change]] = {}
    for change in (*case.changes("link"), *case.changes("nic")):
        device = (change.counter.at.scope, change.counter.owner)
        if change.rise and _WIRE.match(change.counter.name[:200]) and not is_virtual(device, kinds):
            found.setdefault(device, []).append(change)
    for device, changes in found.items():
        twice = any(change.twice for change in changes)
        worst = max((c for c in changes if c.twice == twice), key=lambda change: change.rise)
        came = received(case, device, twice)
        share = worst.rise / (worst.rise + came) if came else None
        if not twice and (share is None or share < _FEW or _is_link(worst)):
            continue
        much = (worst.rate or 0) >= _MANY or (share or 0) >= _SHARE
        yield Finding(
            severity=Severity.NOTE if not twice else Severity.PROBLEM if much else Severity.WARNING,
            confidence=Confidence.CERTAIN if twice else Confidence.POSSIBLE,
            summary=f"{device[1]} {'has' if twice else 'had'} trouble on its link: {worst.counter.name} {worst}"
            + (f", {share:.2%} of what came." if share and not _is_link(worst) else "."),
            evidence=places(worst.places, *(change.places for change in changes)),
            why="The link itself comes and goes." if _is_link(worst) else "Such frames were damaged on their way: a cable, an "
            "optic, a wrong duplex or forward error correction. "
            "The card drops them, and no switch of this host "
            "helps.",
            about=device[1],
            proof=f"ethtool -m {device[1]} for the optic's power, ethtool {device[1]} for speed and duplex, another cable, "
            "and the counters of the port at the other end.",
        )  # fmt: skip


def _is_link(change: Change) -> bool:
    return "carrier" in change.counter.name or "link_down" in change.counter.name
