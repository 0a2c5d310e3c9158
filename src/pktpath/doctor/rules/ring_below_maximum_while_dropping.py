"""Frames are lost for want of descriptors, and the receive ring is shorter than it may be.

A ring holds what arrives until NAPI comes for it. When the CPU comes late (another softirq, a VM that was not scheduled, a
burst), a short ring runs full and the card drops. A longer one bridges some milliseconds; it does not help against a CPU that
is too slow all the time, and many long rings push each other out of the cache.

Speaks when a counter of lost receive frames (the words that nic-drops-frames knows) rises and `ethtool -g` shows the ring below
its maximum: a PROBLEM from one frame a second. Of one look only where at least a thousandth of all frames was lost, as a note.
Silent about short rings that lose nothing: a short ring is good for latency.
Source: ethtool(8) -g and -G; Documentation/networking/scaling.rst.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.device import Ring
from pktpath.doctor.facts.host import Counter
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.remedy import rings
from pktpath.doctor.rules._devices import places
from pktpath.doctor.rules._nic_loss import MEANING, losses, weighty
from pktpath.doctor.rules._rings import shorter_than_possible

_ENOUGH = 2048


@rule(
    Ring,
    Counter,
    ask="ethtool -g DEV, and ethtool -S DEV twice",
    well="No card drops frames while its receive ring could be longer.",
    topic="rings",
)
def ring_below_maximum_while_dropping(case: Case) -> Iterator[Finding]:
    """One finding a device."""
    lost = {loss.device: loss for loss in weighty(losses(case)) if loss.kind == "ring"}
    for ring in shorter_than_possible(case):
        loss = lost.get((ring.at.scope, ring.dev))
        if loss is None or ring.current is None or ring.maximum is None:
            continue
        often = loss.twice and (not loss.seconds or loss.rise / loss.seconds >= 1)
        longer = min(ring.maximum, max(2 * ring.current, _ENOUGH))
        yield Finding(
            severity=Severity.PROBLEM if often else Severity.WARNING if loss.twice else Severity.NOTE,
            confidence=Confidence.LIKELY if loss.twice else Confidence.POSSIBLE,
            summary=f"{ring.dev} {'loses' if loss.twice else 'lost'} frames ({loss}) with a receive ring of {ring.current} "
            f"descriptors, of {ring.maximum} possible.",
            evidence=places(loss.places, ring.at),
            why=f"It means that {MEANING['ring']}. A longer ring bridges a CPU that is late now and then; it does not help one "
            "that is too slow all the time."
            + ("" if loss.twice else " One look cannot tell whether that was just now or long ago."),
            about=ring.dev,
            remedies=(
                rings(
                    ring.dev,
                    {"rx": longer},
                    {"rx": ring.current},
                    effect=f"Each receive queue holds {longer} frames until its CPU comes.",
                    cost="Most drivers take the link down for a moment; more memory for each queue, more cache misses, and "
                    "frames may wait longer before they are seen.",
                ),
            )
            if loss.twice
            else (),
            proof="mpstat -P ALL 1: if the CPU of the queue is at 100 % in softirq, spread the load first."
            if loss.twice
            else f"ethtool -S {ring.dev} again after 10 s: does it rise?",
        )
