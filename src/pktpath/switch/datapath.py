"""What all workers of a datapath share: megaflows, programs, meters and the ports by number."""

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pktpath.switch.flow_table import Programs
from pktpath.switch.megaflow import Megaflows

MAX_PORTS = 256

PORT = np.dtype([("up", "i8"), ("features", "i8"), ("mtu", "i8")])


class Count(IntEnum):
    """What is counted of each port by each worker.

    In: RX + (copies in the answers to upcalls: none) = MERGED + frames that the datapath saw. Out: HANDED + CUT = TX + TX_DROPPED
    + UNSENDABLE. Over all ports: seen + COPIED = HANDED + the drops + what waits for an answer.
    """

    RX = 0
    RX_BYTES = 1
    MERGED = 2
    """Frames that GRO took into another one."""
    COPIED = 3
    """Outputs of a frame beyond its first."""
    HANDED = 4
    """Frames that actions sent to this port."""
    CUT = 5
    """Frames that GSO made of super-frames for this port, beyond the first of each."""
    TX = 6
    TX_BYTES = 7
    TX_DROPPED = 8
    """The port had no room."""
    UNSENDABLE = 9
    """The port cannot carry the frame and nothing can be done: too long, or of a kind that cannot be cut."""
    # Of frames that came from this port:
    DROP_ACTION = 10
    """The megaflow has no output."""
    DROP_METER = 11
    DROP_LOST = 12
    """No room in the queue of upcalls."""
    DROP_MEMORY = 13
    """No chunk or no room for the headers of a copy."""
    DROP_NO_PORT = 14
    """The output port is not there or not up."""
    SEEN = 15
    """Frames that the datapath looked up."""
    SEEN_BYTES = 16
    UPCALLS = 17
    """Frames that waited for the slow path, answered or not."""
    CONTROLLER = 18
    """Copies for the controller."""
    CONTROLLER_DROPPED = 19
    """Copies that the rate limit or the queue left no room for."""


COUNTS = len(Count)


class Datapath(NamedTuple):
    """Shared by all workers; compiled code takes it as one argument."""

    megaflows: Megaflows
    programs: Programs
    ports: Any
    """(MAX_PORTS,) records by port number: whether it is up, `Feature` bits that its transmit side carries, MTU."""
    meters: Any
    """(meters,) records of `switch.meter`."""


def make_ports() -> Any:
    """Return the table of ports, none of them up."""
    return np.zeros(MAX_PORTS, PORT).view(np.recarray)


def make_counts(workers: int) -> NDArray[np.int64]:
    """Return (workers, MAX_PORTS, COUNTS) zeros."""
    return np.zeros((workers, MAX_PORTS, COUNTS), np.int64)
