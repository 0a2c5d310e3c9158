"""Rows of the tables in `Queues`: their memory, and who has which."""

from typing import Any

import numpy as np

from pktpath.errors import Refused
from pktpath.port.live import MAX_QUEUES

_LINE = 64
COUNTERS = ("rx_packets", "rx_bytes", "rx_frame_errors", "rx_no_memory", "tx_packets", "tx_bytes", "tx_errors", "tx_refused")
"""What every row here counts: frames and bytes; frames whose header or length lied (dropped); times that a burst ended because
no chunk was free; frames taken to be sent and lost; frames not taken."""


def row_type(*fields: tuple[str, str]) -> np.dtype[Any]:
    """Return the record of a row: `taken`, `errno`, `in_port`, the counters and these; whole cache lines, as threads differ."""
    plain = np.dtype(
        [("taken", "i8"), ("errno", "i8"), ("in_port", "i8"), *fields, *((name, "i8") for name in COUNTERS)], align=True
    )
    places: Any = plain.fields
    return np.dtype(
        {
            "names": list(plain.names or ()),
            "formats": [places[name][0] for name in plain.names or ()],
            "offsets": [places[name][1] for name in plain.names or ()],
            "itemsize": -(-plain.itemsize // _LINE) * _LINE,
        }
    )


def make_rows(kind: np.dtype[Any]) -> Any:
    """Return a table of `MAX_QUEUES` free rows."""
    return np.zeros(MAX_QUEUES, kind).view(np.recarray)


def claim_row(table: Any, name: str) -> int:
    """Take the first free row for a queue of port `name` and return its number; everything in it is 0.

    Raises:
        Refused: all are taken.

    """
    free = np.flatnonzero(table.taken == 0)
    if not len(free):
        message = f"{name}: no more than {len(table)} queues of its kind: use fewer ports or queues"
        raise Refused(message)
    row = int(free[0])
    np.asarray(table)[row] = 0
    table.taken[row] = 1
    return row


def free_row(table: Any, row: int) -> None:
    """Give a row back; its counters stay readable until somebody takes it."""
    table.taken[row] = 0


def counters_of(table: Any, rows: tuple[int, ...]) -> dict[str, int]:
    """Return the sums of the counters of these rows."""
    return {name: int(sum(int(table[name][row]) for row in rows)) for name in COUNTERS}
