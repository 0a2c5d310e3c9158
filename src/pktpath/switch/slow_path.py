"""What the datapath asks of a slow path, and what it gets: the seam between compiled code and the tables."""

from typing import Any, NamedTuple, Protocol

from pktpath.switch.actions import Actions


class Translation(NamedTuple):
    """The answer to an upcall."""

    mask: int
    """Bits of the key that were looked at: every packet with the same ones gets the same `actions`."""
    actions: Actions
    credit: tuple[Any, ...] = ()
    """Rules (and groups' buckets) whose counters grow with the megaflow's."""
    slow: bool = False
    """The answer is for this packet alone: nothing is installed (a learning packet that changes a table, a controller's)."""


class SlowPath(Protocol):
    """The tables of all bridges."""

    @property
    def version(self) -> int:
        """Grows with every change that may make a translation wrong (flows, groups, ports, learned addresses)."""
        ...

    def translate(self, key: int, *, packets: int = 1, learn: bool = True) -> Translation:
        """Translate one packet; `learn=False` changes nothing (revalidation, tracing)."""
        ...

    def credit(self, translation: Translation, packets: int, size: int, used: float) -> None:
        """Add what a megaflow forwarded to the rules that made it; `used` is in monotonic seconds."""
        ...
