"""Which address was seen behind which port."""

import time
from collections.abc import Callable
from typing import NamedTuple

DEFAULT_AGEING = 300.0
"""Seconds, as Open vSwitch's mac-aging-time."""
DEFAULT_LIMIT = 8192
"""Addresses, as its mac-table-size."""


class MacRow(NamedTuple):
    """One line of `fdb/show`."""

    port: int
    """OpenFlow number."""
    vlan: int
    mac: int
    age: float
    """Seconds since it was seen."""


class MacTable:
    """Learned addresses of one bridge; the oldest goes when it is full."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, ageing: float = DEFAULT_AGEING, limit: int = DEFAULT_LIMIT
    ) -> None:
        self._clock = clock
        self.ageing = ageing
        self.limit = limit
        self._seen: dict[tuple[int, int], tuple[int, float]] = {}
        """(VLAN, address) -> (port, when); least recently seen first."""
        self.learned = self.moved = self.expired = self.evicted = 0

    def learn(self, vlan: int, mac: int, port: int, used: float | None = None) -> bool:
        """Note that an address was seen behind a port; return whether that is news.

        `used`, in monotonic seconds, is when a megaflow saw it: what was seen elsewhere since then stands.
        """
        when = self._clock() if used is None else used
        old = self._seen.get((vlan, mac))
        if old is not None:
            if old[0] != port and when < old[1]:
                return False
            when = max(when, old[1])
            del self._seen[vlan, mac]
        elif len(self._seen) >= self.limit:
            del self._seen[next(iter(self._seen))]
            self.evicted += 1
        self._seen[vlan, mac] = (port, when)
        if old is None:
            self.learned += 1
        elif old[0] != port:
            self.moved += 1
        return old is None or old[0] != port

    def port_of(self, vlan: int, mac: int) -> int | None:
        """Return the port behind which an address was seen, None if it was not."""
        seen = self._seen.get((vlan, mac))
        return None if seen is None else seen[0]

    def expire(self, now: float) -> int:
        """Forget what was not seen for the ageing time; return how many."""
        old = [key for key, (_, when) in self._seen.items() if now - when >= self.ageing]
        for key in old:
            del self._seen[key]
        self.expired += len(old)
        return len(old)

    def forget(self, port: int | None = None) -> int:
        """Forget all addresses behind a port, or every one (`fdb/flush`); return how many."""
        old = [key for key, (where, _) in self._seen.items() if port is None or where == port]
        for key in old:
            del self._seen[key]
        return len(old)

    def rows(self) -> list[MacRow]:
        """Return what was learned, least recently seen first, as `fdb/show` lists it."""
        now = self._clock()
        return [MacRow(port, vlan, mac, max(now - when, 0.0)) for (vlan, mac), (port, when) in self._seen.items()]

    def __len__(self) -> int:
        return len(self._seen)
