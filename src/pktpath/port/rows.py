"""Rows of the tables in `Queues`: their memory, and who has which."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pktpath.errors import Refused
from pktpath.port.live import MAX_QUEUES

_LINE = 64
COUNTERS = ("rx_packets", "rx_bytes", "rx_frame_errors", "rx_no_memory", "tx_packets", "tx_bytes", "tx_errors", "tx_refused")
"""What a row counts, if its kind does not say otherwise: frames and bytes; frames whose header or length lied (dropped); times
that a burst ended because no chunk was free; frames taken to be sent and lost; frames not taken."""


def row_type(*fields: str, counters: Sequence[str] = COUNTERS) -> np.dtype[Any]:
    """Return the record of a row, int64 each: `taken`, `errno`, `in_port`, these and the counters.

    It is whole cache lines, since neighbours belong to other threads.
    """
    names = ["taken", "errno", "in_port", *fields, *counters]
    return np.dtype({"names": names, "formats": ["i8"] * len(names), "itemsize": -(-8 * len(names) // _LINE) * _LINE})


def make_rows(kind: np.dtype[Any]) -> Any:
    """Return the table of all queues of a kind, whose rows are of this type: `MAX_QUEUES` free ones."""
    return np.zeros(MAX_QUEUES, kind).view(np.recarray)


class PortRows:
    """The rows of one port in the table of its kind."""

    def __init__(self, table: Any, name: str, number: int, counters: Sequence[str] = COUNTERS) -> None:
        """Take none yet.

        Args:
            table: of `make_rows`.
            name: the port's name.
            number: the port's number in the datapath: `in_port` of its frames.
            counters: the counters in its rows.

        """
        self.table = table
        self._name, self._number = name, number
        self._rows: list[int] = []
        self._gone = dict.fromkeys(counters, 0)

    def take(self) -> int:
        """Return the number of the first row that nobody has; everything in it is 0 but `in_port`.

        Raises:
            Refused: all are taken.

        """
        free = np.flatnonzero(self.table.taken == 0)
        if not len(free):
            message = f"{self._name}: no more than {len(self.table)} queues of its kind: use fewer ports or queues"
            raise Refused(message)
        row = int(free[0])
        np.asarray(self.table)[row] = 0
        self.table.taken[row], self.table.in_port[row] = 1, self._number
        self._rows.append(row)
        return row

    def give(self, row: int) -> None:
        """Give a row back; what it counted stays counted."""
        self._rows.remove(row)
        for name in self._gone:
            self._gone[name] += int(self.table[name][row])
        self.table.taken[row] = 0

    def give_all(self) -> None:
        """Give all back."""
        while self._rows:
            self.give(self._rows[-1])

    def counters(self) -> dict[str, int]:
        """Return the sums of the counters over all rows that the port has and had."""
        return {name: gone + sum(int(self.table[name][row]) for row in self._rows) for name, gone in self._gone.items()}
