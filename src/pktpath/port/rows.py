"""Rows of the table of one kind of queues: who has which."""

from typing import Any

import numpy as np

from pktpath.errors import Refused


class RowTable:
    """The rows of one table (`make_packet_queues`, say), handed out one by one and taken back."""

    def __init__(self, table: Any) -> None:
        """Hand out the rows of `table`, an array of records."""
        self.table = table
        self._free = list(range(len(table) - 1, -1, -1))

    def take(self) -> int:
        """Return the number of a row that nobody else has; all its fields are zero.

        Raises:
            Refused: all rows are taken.

        """
        if not self._free:
            message = f"more than {len(self.table)} queues of one kind: use fewer ports, queues or workers"
            raise Refused(message)
        row = self._free.pop()
        self.table[row] = np.zeros((), self.table.dtype)
        return row

    def give(self, row: int) -> None:
        """Take a row back."""
        self._free.append(row)
