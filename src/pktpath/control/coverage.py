"""How often things happen: counters of a datapath and its bridges, and their rates in the last seconds, minute and hour."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping

from pktpath.control.other_text import Event
from pktpath.switch.bridge import Bridge
from pktpath.switch.views import DatapathView

_STEP, _MINUTE, _HOUR = 5.0, 60.0, 3600.0
_SLACK = 0.5
"""Seconds that a sample may come early: who calls is woken by a timer."""
_OF_WORKERS = ("packets", "emc_hits", "megaflow_hits", "subtable_lookups", "upcalls", "lost", "tx_packets", "tx_batches")
_OF_PORTS = ("rx_errors", "rx_dropped", "tx_errors", "tx_dropped", "merged", "cut", "copied")
_OF_BRIDGES = ("learned", "expired", "evicted", "moved")


def totals(view: DatapathView, bridges: Iterable[Bridge]) -> dict[str, int]:
    """Return how often everything that is counted has happened, by the name of the event."""
    found = Counter({f"datapath_{name}": 0 for name in _OF_WORKERS})
    found.update({f"port_{name}": 0 for name in _OF_PORTS} | {f"mac_learning_{name}": 0 for name in _OF_BRIDGES})
    for worker in view.workers:
        found.update({f"datapath_{name}": worker.counters.get(name, 0) for name in _OF_WORKERS})
    for port in view.ports:
        counted = {name for name in port.counters if name in _OF_PORTS or name.startswith("drop_")}
        found.update({f"port_{name}": port.counters[name] for name in counted})
    for bridge in bridges:
        found.update({f"mac_learning_{name}": getattr(bridge.macs, name) for name in _OF_BRIDGES})
    return dict(found)


class Coverage:
    """Remembers counters, for their rates. `sample` wants to be called every few seconds; without it rates are averages."""

    def __init__(self, read: Callable[[], Mapping[str, int]], now: Callable[[], float]) -> None:
        """Take what reads the totals and a clock in monotonic seconds."""
        self._read, self._now = read, now
        self._start = now()
        self._often: deque[tuple[float, Mapping[str, int]]] = deque(maxlen=round(_MINUTE / _STEP) + 1)
        self._seldom: deque[tuple[float, Mapping[str, int]]] = deque(maxlen=round(_HOUR / _MINUTE) + 1)

    def sample(self) -> None:
        """Remember the counters of now, unless that was done a moment ago."""
        now = self._now()
        for kept, step in ((self._often, _STEP), (self._seldom, _MINUTE)):
            if not kept or now - kept[-1][0] >= step - _SLACK:
                kept.append((now, self._read()))

    def events(self) -> list[Event]:
        """Return all events with their rates, those that happened most often first."""
        now, there = self._now(), self._read()
        second, minute, hour = (self._rates(there, now, window) for window in (_STEP, _MINUTE, _HOUR))
        found = [Event(name, second[name], minute[name], hour[name], total) for name, total in there.items()]
        return sorted(found, key=lambda event: (-event.total, event.name))

    def _rates(self, there: Mapping[str, int], now: float, window: float) -> dict[str, float]:
        samples = [*self._seldom, *self._often]
        # The youngest that is old enough; a daemon younger than the window has done all of it in it.
        old = [sample for sample in samples if sample[0] <= now - window + _SLACK]
        when, before = max(old, key=lambda sample: sample[0]) if old else (self._start, {})
        seconds = max(now - when, window)
        # Who cleared a counter has made it smaller.
        return {name: max(total - before.get(name, 0), 0) / seconds for name, total in there.items()}
