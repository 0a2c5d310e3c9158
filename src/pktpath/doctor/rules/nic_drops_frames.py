"""A card, or its driver, loses frames.

Frames that a card cannot hand over never reach the kernel's own counters: only `ethtool -S` tells, in words of each driver's
own. This rule knows what they mean for the usual drivers: no free descriptor (the CPU of the queue came too late), the card's
own buffer full (the bus or the memory is too slow), no memory for buffers, a cloud's limit, or nothing sent.

Speaks of what rose between two looks: a PROBLEM from one frame a second, a warning below. Of a single look it speaks only where
the counter is at least a thousandth of all frames received, as a note: that loss may be of last year.
Silent about loss for want of descriptors where the ring can be made longer: ring-below-maximum-while-dropping says that.
Source: the string tables of drivers/net/ethernet/*; Documentation/networking/statistics.rst.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.device import Pause
from pktpath.doctor.facts.host import Counter
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._devices import places
from pktpath.doctor.rules._nic_loss import MEANING, Loss, losses, weighty
from pktpath.doctor.rules._rings import shorter_than_possible

_NEXT = {
    "ring": "Which CPU serves the queue, and is it at 100 % in softirq? See /proc/interrupts, mpstat -P ALL 1 and "
    "/proc/net/softnet_stat while the counter rises.",
    "port": "lspci -vv for the width and speed of the bus (LnkSta), the NUMA node of the card, and whether pause frames are on.",
    "driver": "dmesg for page allocation failures and for frames that were too long; the MTU at the other end.",
    "memory": "dmesg for page allocation failures, and vm.min_free_kbytes.",
    "allowance": "The provider's table of limits for this type of machine.",
    "transmit": "dmesg for NETDEV WATCHDOG, and the driver's other tx_ counters.",
}


@rule(
    Counter,
    ask="ethtool -S DEV, twice some seconds apart",
    well="No card counted lost frames.",
    topic="rings",
)
def nic_drops_frames(case: Case) -> Iterator[Finding]:
    """One finding a device and kind of loss."""
    longer = {(ring.at.scope, ring.dev) for ring in shorter_than_possible(case)}
    for loss in weighty(losses(case)):
        if loss.kind == "ring" and loss.device in longer:
            continue
        often = loss.twice and (not loss.seconds or loss.rise / loss.seconds >= 1)
        lost = loss.kind != "allowance"
        yield Finding(
            severity=Severity.NOTE if not loss.twice else Severity.PROBLEM if often and lost else Severity.WARNING,
            confidence=Confidence.CERTAIN if loss.twice else Confidence.POSSIBLE,
            summary=f"{loss.device[1]} loses frames: {loss}." if loss.twice else f"{loss.device[1]} lost frames: {loss}.",
            evidence=places(loss.places),
            why=f"It means that {MEANING[loss.kind]}.{_pause(case, loss)}"
            + ("" if loss.twice else " One look cannot tell whether that was just now or long ago."),
            about=loss.device[1],
            proof=_NEXT[loss.kind] if loss.twice else f"ethtool -S {loss.device[1]} again after 10 s: does it rise?",
        )


def _pause(case: Case, loss: Loss) -> str:
    off = [
        pause for pause in case.latest(Pause)
        if (pause.at.scope, pause.dev, pause.which, pause.state) == (*loss.device, "tx", "off")
    ]  # fmt: skip
    return " Flow control is off, so the other end is not told to wait." if off and loss.kind in {"ring", "port"} else ""
