"""The writer of the megaflows: installs, deletes, counts and sorts, while workers read.

Equal action lists share one program. What was taken away is used again after a grace period: `passed()` says whether
every worker has begun another iteration since, and until it has, rows wait.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pktpath.switch.actions import Actions, Output, program
from pktpath.switch.fields import KEY_WORDS, words_of
from pktpath.switch.megaflow import MAX_SUBTABLES, Megaflows, find_flow, make_megaflows, publish, sweep, withdraw

MAX_PROGRAMS, MAX_ROWS = 1 << 16, 1 << 20
NO_PORT = -1

_PROGRAM = np.dtype([("first", "i4"), ("rows", "i4"), ("only_port", "i4"), ("pad", "i4")])


class Programs(NamedTuple):
    """What megaflows do."""

    programs: Any
    """(MAX_PROGRAMS,) records: first row, rows, and the port where the program is nothing but one output, else NO_PORT."""
    rows: NDArray[np.int64]
    """(MAX_ROWS, 4) operation, a, b, c."""


class FlowCounts(NamedTuple):
    """What a megaflow has done, over all workers."""

    packets: int
    size: int
    used: int
    """Monotonic nanoseconds of the last use, 0 for never."""
    tcp_flags: int


class FlowTable:
    """Megaflows by number, and the writing half of their table."""

    def __init__(self, capacity: int, workers: int, epoch: Callable[[], tuple[int, ...]]) -> None:
        """Make an empty table.

        Args:
            capacity: most megaflows.
            workers: rows of statistics.
            epoch: what changes in every place once each worker has begun another iteration; workers that rest count as such.

        """
        self.table: Megaflows = make_megaflows(capacity, workers)
        self.programs = Programs(np.zeros(MAX_PROGRAMS, _PROGRAM).view(np.recarray), np.zeros((MAX_ROWS, 4), np.int64))
        self._ages = self.table.flows.age
        self._counters = self.table.statistics.view(np.int64).reshape(workers, capacity, -1)
        self._epoch = epoch
        self._capacity = capacity
        self._free = list(range(capacity - 1, -1, -1))
        self._waiting: deque[tuple[tuple[int, ...], int]] = deque()
        self._waiting_subtables: list[tuple[tuple[int, ...], int]] = []
        self._subtables: dict[int, int] = {}
        self._members: dict[int, int] = {}
        self._free_subtables = list(range(MAX_SUBTABLES - 1, -1, -1))
        self._programs: dict[Actions, int] = {}
        self._rows_used = 0
        self._slots_used = 0
        self._swept: tuple[int, ...] | None = None
        self.full = False
        """Whether an action list found no room: then all megaflows must go once."""
        self.flows: dict[int, tuple[int, int, Actions]] = {}
        """Number of each megaflow: masked key, mask, actions."""
        # Dropping always has a program, the first one.
        self.program_of(())

    def __len__(self) -> int:
        """Megaflows now."""
        return len(self.flows)

    @property
    def masks(self) -> int:
        """Masks, which is subtables, now."""
        return len(self._subtables)

    def warm(self) -> None:
        """Let the writer's kernels be compiled before the first upcall waits for them."""
        flow = self.install(0, 0, ())
        if flow is not None:
            self.delete(flow)
            sweep(self.table)
            self._slots_used = 0
        self.find(0)
        self.sort()

    def program_of(self, actions: Actions) -> int:
        """Return the number of the program of an action list, writing it if it is new.

        Raises:
            MemoryError: no room for another program.

        """
        number = self._programs.get(actions)
        if number is not None:
            return number
        rows = program(actions)
        if len(self._programs) >= MAX_PROGRAMS or self._rows_used + len(rows) > MAX_ROWS:
            self.full = True
            message = "no room for another list of actions"
            raise MemoryError(message)
        number = len(self._programs)
        first = self._rows_used
        for at, row in enumerate(rows):
            self.programs.rows[first + at] = row
        self._rows_used += len(rows)
        only = actions[0].port if len(actions) == 1 and isinstance(actions[0], Output) else NO_PORT
        self.programs.programs[number] = (first, len(rows), only, 0)
        self._programs[actions] = number
        return number

    def forget_programs(self) -> None:
        """Start anew with programs, if no megaflow has one any more; the caller knows that no answer is on its way."""
        if not self.flows and self.passed():
            self._programs.clear()
            self._rows_used = 0
            self.full = False
            self.program_of(())

    def passed(self) -> bool:
        """Whether all that was taken away may be used again; makes it so where the time has come."""
        now = self._epoch()
        while self._waiting and _past(self._waiting[0][0], now):
            self._free.append(self._waiting.popleft()[1])
        while self._waiting_subtables and _past(self._waiting_subtables[0][0], now):
            self._free_subtables.append(self._waiting_subtables.pop(0)[1])
        if self._swept is not None and _past(self._swept, now):
            self._swept = None
        return not self._waiting and self._swept is None

    def find(self, key: int) -> int:
        """Return the megaflow that covers a key, -1 for none."""
        row = _row_of(key).reshape(1, -1)
        return int(find_flow(self.table, row, 0))

    def find_row(self, keys: NDArray[np.uint64], row: int) -> int:
        """Return the megaflow that covers a row of an array of keys, -1 for none."""
        return int(find_flow(self.table, keys, row))

    def totals(self) -> tuple[list[int], list[int], list[int]]:
        """Return packets, bytes and last use of every row up to the last in use, summed over the workers."""
        rows = self.table.statistics[:, : max(self.flows, default=-1) + 1]
        return rows.packets.sum(axis=0).tolist(), rows.octets.sum(axis=0).tolist(), rows.used.max(axis=0).tolist()

    def install(self, key: int, mask: int, actions: Actions) -> int | None:
        """Install a megaflow and return its number, None where there is no room.

        The caller has made sure that no megaflow covers the same packets (`find`).
        """
        if not self._free:
            self.passed()
        if not self._free or not self._room_for_slot():
            return None
        subtable = self._subtable(mask)
        if subtable is None:
            return None
        number = self.program_of(actions)
        flow = self._free.pop()
        key &= mask
        table = self.table
        table.keys[flow] = _row_of(key)
        table.flows[flow] = (number, subtable, self._ages[flow], 1)
        self._counters[:, flow] = 0
        publish(table, flow)
        self._slots_used += 1
        self._members[subtable] += 1
        self.flows[flow] = (key, mask, actions)
        return flow

    def modify(self, flow: int, actions: Actions) -> None:
        """Let a megaflow do something else from the next packet on."""
        key, mask, _ = self.flows[flow]
        self.table.flows[flow].program = self.program_of(actions)
        self.flows[flow] = (key, mask, actions)

    def delete(self, flow: int) -> None:
        """Take a megaflow away."""
        _, mask, _ = self.flows.pop(flow)
        withdraw(self.table, flow)
        self._waiting.append((self._epoch(), flow))
        subtable = self._subtables[mask]
        self._members[subtable] -= 1

    def clear(self) -> None:
        """Take all megaflows away."""
        for flow in list(self.flows):
            self.delete(flow)

    def counts(self, flow: int) -> FlowCounts:
        """Return what a megaflow has done so far."""
        rows = self.table.statistics[:, flow]
        return FlowCounts(
            int(rows.packets.sum()), int(rows.octets.sum()), int(rows.used.max()), int(np.bitwise_or.reduce(rows.tcp_flags))
        )

    def key_in(self, keys: NDArray[np.uint64], row: int) -> int:
        """Return row `row` of an array of keys as an integer."""
        return int.from_bytes(keys[row].astype(">u8").tobytes(), "big")

    def sort(self) -> None:
        """Put the subtables with most hits first and drop the empty ones (each second, as dpcls does)."""
        hits = self.table.subtable_hits.sum(axis=0)
        self.table.subtable_hits[:] = 0
        empty = []
        for mask, subtable in list(self._subtables.items()):
            if not self._members[subtable]:
                del self._subtables[mask], self._members[subtable]
                empty.append(subtable)
        order = sorted(self._subtables.values(), key=lambda subtable: -int(hits[subtable]))
        if order != self.table.order[: self.table.active[1]].tolist():
            self._publish_order(order)
        self._waiting_subtables += [(self._epoch(), subtable) for subtable in empty]

    def _publish_order(self, order: list[int]) -> None:
        """Let lookups ask these subtables: the longer list is valid at every moment for whoever reads it with the old length."""
        table = self.table
        count = len(order)
        before = int(table.active[1])
        if count < before:
            # A reader with the old length then asks the last ones twice, which does no harm.
            table.order[:before] = np.array(order + table.order[count:before].tolist(), np.int64)
        else:
            table.order[:count] = np.array(order, np.int64)
        table.active[1] = count

    def _subtable(self, mask: int) -> int | None:
        subtable = self._subtables.get(mask)
        if subtable is not None:
            return subtable
        if not self._free_subtables:
            return None
        subtable = self._free_subtables.pop()
        words = words_of(mask)
        self.table.masks[subtable] = np.array(words, np.uint64)
        last = max((at + 1 for at in range(KEY_WORDS) if words[at]), default=0)
        seed = int(self.table.multipliers[0]) * (2 * subtable + 1) & (1 << 64) - 1
        self.table.subtables[subtable] = (last, seed)
        self._subtables[mask] = subtable
        self._members[subtable] = 0
        self._publish_order([*self.table.order[: self.table.active[1]].tolist(), subtable])
        return subtable

    def _room_for_slot(self) -> bool:
        """Whether lookups still end soon with another slot taken; sweeps when too many were taken away."""
        if self._slots_used < self.table.slots.shape[1] * 3 // 4:
            return True
        self.passed()
        if self._swept is not None:
            return False
        sweep(self.table)
        self._swept = self._epoch()
        self._slots_used = len(self.flows)
        return True


def _row_of(key: int) -> NDArray[np.uint64]:
    """Return a key as its words."""
    return np.frombuffer(key.to_bytes(8 * KEY_WORDS, "big"), ">u8").astype(np.uint64)


def _past(then: tuple[int, ...], now: tuple[int, ...]) -> bool:
    return len(then) != len(now) or all(a != b or b < 0 for a, b in zip(then, now, strict=True))
