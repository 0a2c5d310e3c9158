"""Meters: what rate a rule lets pass. The datapath measures; here is what it measures by."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from pktpath.errors import BadInput


class Band(NamedTuple):
    """Above this rate packets are dropped."""

    rate: int
    """kbit/s or packets/s, as the meter says."""
    burst: int = 0
    """kbit or packets that may pass at once; 0: the rate's of one second."""


class MeterConfig(NamedTuple):
    """What a controller says of a meter."""

    number: int
    bands: tuple[Band, ...]
    packets: bool = False
    """Whether rates are packets a second (pktps) instead of kbit/s."""
    flags: tuple[str, ...] = ()
    """burst, stats: as written."""


@dataclass(slots=True)
class Meter:
    """One meter, with what went through it."""

    config: MeterConfig
    created: float
    packets: int = 0
    size: int = 0
    dropped: list[tuple[int, int]] = field(default_factory=list)
    """For each band: packets and bytes."""


class MeterTable:
    """Meters of one bridge. `changes` grows with every change, for the datapath's copy."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._meters: dict[int, Meter] = {}
        self.changes = 0

    def add(self, config: MeterConfig) -> None:
        """Add a meter; its number must be free."""
        if config.number in self._meters:
            said = f"meter={config.number}: is there already (mod-meter changes it)"
            raise BadInput(said)
        self._put(config)

    def modify(self, config: MeterConfig) -> None:
        """Give a meter other bands; its counters start again."""
        if config.number not in self._meters:
            said = f"meter={config.number}: is not there (add-meter adds it)"
            raise BadInput(said)
        self._put(config)

    def delete(self, number: int | None) -> None:
        """Remove a meter, None: all."""
        for one in [number] if number is not None else list(self._meters):
            self._meters.pop(one, None)
        self.changes += 1

    def get(self, number: int) -> Meter | None:
        """Return a meter."""
        return self._meters.get(number)

    def __iter__(self) -> Iterator[Meter]:
        return iter([self._meters[number] for number in sorted(self._meters)])

    def _put(self, config: MeterConfig) -> None:
        self._meters[config.number] = Meter(config, self._clock(), dropped=[(0, 0)] * len(config.bands))
        self.changes += 1
