"""Between the workers and the slow path: upcalls are answered, megaflows installed, revalidated and credited."""

import logging
import os
import time
from contextlib import suppress
from typing import NamedTuple

from pktpath.path.live_thread import LiveThread
from pktpath.path.live_types import Control, Ring
from pktpath.path.live_upcall import settle
from pktpath.switch.flow_table import FlowTable
from pktpath.switch.slow_path import SlowPath, Translation

_SLICE = 0.004
"""Seconds that one call of `revalidate` may take."""
_ROUND = 0.5
"""Seconds between two looks at the same megaflow."""
_NANO = 1e-9
_log = logging.getLogger("pktpath.slow_path")


class _Made(NamedTuple):
    """What was known when a megaflow was made, and what has been credited since."""

    key: int
    translation: Translation
    version: int
    created: float
    packets: int
    size: int
    core: int | None


class Upcalls:
    """The Python half of the slow path's work."""

    def __init__(self, slow_path: SlowPath, table: FlowTable, threads: list[LiveThread]) -> None:
        """Serve these workers from this slow path."""
        self.flow_limit = 200_000
        self.max_idle = 10.0
        self.event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._slow_path, self._table, self._threads = slow_path, table, threads
        self._made: dict[int, _Made] = {}
        self._round: list[int] = []
        self._totals: tuple[list[int], list[int], list[int]] = ([], [], [])
        self._seen_version = -1
        self._round_began = 0.0
        self._next_round = 0.0
        self.translated = 0
        """Translations so far."""
        self.most = 0
        """Most megaflows at a time."""
        self.round_seconds = 0.0
        """How long the last look at all megaflows took."""
        self.refused = 0
        """Megaflows that found no room or were above the limit."""
        self.faults = 0
        """Frames whose translation failed."""

    def warm(self) -> None:
        """Let what answers need be compiled before the first upcall waits for it."""
        settle()

    def handle(self, most: int) -> bool:
        """Answer up to `most` upcalls; return whether more are waiting."""
        with suppress(BlockingIOError):
            os.read(self.event, 8)
        for thread in self._threads:
            thread.worker.control[Control.UPCALL_WAKE] = 0
        left = most
        for nth, thread in enumerate(self._threads):
            # Nobody waits behind a worker that asks more than all others.
            left -= self._serve(thread, -(-left // (len(self._threads) - nth)))
        for thread in self._threads:
            thread.worker.control[Control.UPCALL_WAKE] = 1
        if self._table.full and all(_quiet(thread) for thread in self._threads):
            self._table.forget_programs()
        settle()
        # A worker that asked between our last look and the line before writes nothing: look once more.
        return any(_waiting(thread) for thread in self._threads)

    def _serve(self, thread: LiveThread, most: int) -> int:
        waiting = thread.context.waiting
        began = time.monotonic_ns()
        rings, answers, sizes = waiting.rings, waiting.answers, waiting.held.frame_len
        count = min(_waiting(thread), most)
        read, answered, last = int(rings[Ring.READ]), int(rings[Ring.ANSWERED]), len(waiting.asked) - 1
        for nth in range(count):
            place = int(waiting.asked[read + nth & last])
            size = int(sizes[place])
            flow = self._table.find_row(waiting.keys, place)
            if flow >= 0:
                number = int(self._table.table.flows[flow].program)
                self._slow_path.credit(self._made[flow].translation, 1, size, time.monotonic())
            else:
                number = self._safely(self._table.key_in(waiting.keys, place), thread.core, size)
            answers[answered + nth & last] = place, number
            # The index is what the worker looks at, so it is stored behind what it stands for.
            rings[Ring.ANSWERED] = answered + nth + 1
            rings[Ring.READ] = read + nth + 1
        if count:
            thread.upcall_ns += time.monotonic_ns() - began
            thread.wake()
        return count

    def _safely(self, key: int, core: int | None, size: int) -> int:
        """Translate a key; a frame that finds a fault of ours is dropped, and those behind it still have their turn."""
        try:
            return self._translate(key, core, size)
        except MemoryError as error:
            _log.warning("%s; all megaflows are made anew", error)
            self.flush()
        except Exception:  # noqa: BLE001  whatever it is, the other frames go on
            self.faults += 1
            # The first of them says it; a flood must not fill a disk.
            if self.faults & (self.faults - 1) == 0:
                _log.exception("a fault of pktpath's own in the slow path, number %d; the frame is dropped", self.faults)
        return self._table.program_of(())

    def _translate(self, key: int, core: int | None, size: int) -> int:
        """Translate the key of a frame of this size, install what covers it and return the program."""
        translation = self._slow_path.translate(key)
        self.translated += 1
        number = self._table.program_of(translation.actions)
        # The frame itself: the megaflow counts those that come after it.
        self._slow_path.credit(translation, 1, size, time.monotonic())
        if translation.slow:
            return number
        if len(self._table) < self.flow_limit:
            flow = self._table.install(key, translation.mask, translation.actions)
            if flow is not None:
                now = time.monotonic()
                self._made[flow] = _Made(key, translation, self._slow_path.version, now, 0, 0, core)
                self.most = max(self.most, len(self._made))
                return number
        self.refused += 1
        return number

    def revalidate(self, now: float) -> float:
        """Look at some megaflows for a few milliseconds; return seconds until the next call."""
        if not self._round:
            changed = self._slow_path.version != self._seen_version
            if now < self._next_round and not changed:
                return self._next_round - now
            self._seen_version = self._slow_path.version
            self._next_round = now + _ROUND
            self._round = list(self._made)
            self._totals = self._table.totals()
            self._round_began = time.monotonic()
        end = time.monotonic() + _SLICE
        while self._round:
            for flow in self._round[-64:]:
                # Those installed since the round began have their turn in the next one.
                made = self._made.get(flow)
                if made is not None and made.created < self._round_began and flow < len(self._totals[0]):
                    self._look_at(flow, now)
            del self._round[-64:]
            if time.monotonic() > end:
                return 0.0
        self._table.sort()
        self._table.passed()
        self.round_seconds = time.monotonic() - self._round_began
        return max(self._next_round - now, 0.0)

    def _look_at(self, flow: int, now: float) -> None:
        made = self._made[flow]
        packets, size, used_ns = (column[flow] for column in self._totals)
        used = used_ns * _NANO if used_ns else made.created
        made = self._credit(flow, made, packets, size, used)
        if now - used > self.max_idle or len(self._table) > self.flow_limit:
            self.forget(flow)
        elif made.version != self._slow_path.version:
            version = self._slow_path.version
            again = self._slow_path.translate(made.key, packets=0, learn=False)
            if again.slow or again.mask & ~made.translation.mask or again.actions != made.translation.actions:
                # Another answer, or one that looks at more than this megaflow does.
                self.forget(flow)
            else:
                self._made[flow] = made._replace(translation=again._replace(mask=made.translation.mask), version=version)

    def _credit(self, flow: int, made: _Made, packets: int, size: int, used: float) -> _Made:
        """Credit a megaflow's rules with what it has done since the last time."""
        if packets > made.packets:
            self._slow_path.credit(made.translation, packets - made.packets, size - made.size, used)
            made = self._made[flow] = made._replace(packets=packets, size=size)
        return made

    def credit(self) -> None:
        """Credit the rules of all megaflows now."""
        packets, sizes, used = self._table.totals()
        for flow, made in list(self._made.items()):
            self._credit(flow, made, packets[flow], sizes[flow], used[flow] * _NANO)

    def forget(self, flow: int) -> None:
        """Delete a megaflow, crediting what it did last."""
        counts = self._table.counts(flow)
        self._credit(flow, self._made[flow], counts.packets, counts.size, counts.used * _NANO)
        del self._made[flow]
        self._table.delete(flow)

    def flush(self) -> None:
        """Delete all megaflows."""
        for flow in list(self._made):
            self.forget(flow)

    def core_of(self, flow: int) -> int | None:
        """Return the core whose worker asked for a megaflow first."""
        return self._made[flow].core

    def close(self) -> None:
        """Close the eventfd."""
        os.close(self.event)


def _quiet(thread: LiveThread) -> bool:
    """Whether no upcall is on its way, in either direction."""
    rings = thread.context.waiting.rings
    return int(rings[Ring.ASKED]) == int(rings[Ring.TAKEN])


def _waiting(thread: LiveThread) -> int:
    rings = thread.context.waiting.rings
    return int(rings[Ring.ASKED] - rings[Ring.READ])
