"""Mirrors: a copy of what passes some ports goes to another."""

from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class Mirror:
    """One mirror of a bridge; ports are OpenFlow numbers.

    A packet is copied at most once: as it came in where its port is among the sources, as it goes out where the port that
    it goes to is among the destinations. The output port is the mirror's alone: NORMAL does not flood to it, and what
    comes in by it goes nowhere.
    """

    name: str
    output: int
    all: bool = False
    sources: frozenset[int] = frozenset()
    destinations: frozenset[int] = frozenset()
    packets: int = 0
    size: int = 0

    def takes_in(self, port: int) -> bool:
        """Whether what comes in by a port is copied."""
        return self.all or port in self.sources

    def takes_out(self, port: int) -> bool:
        """Whether what goes out by a port is copied."""
        return self.all or port in self.destinations

    def credit(self, packets: int, size: int, used: float) -> None:
        """Count copies."""
        self.packets += packets
        self.size += size
