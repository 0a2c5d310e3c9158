"""What every live port is to the path: queues of a kind, each with one compiled receive and one compiled transmit.

A port's Python class opens files and rings and describes itself; the path sees only numbers: the kind of a queue and
its row in the table of that kind (`Queues`). The kernels of a kind are in its own module, `<kind>_io.py`:

    <kind>_receive(queues, row, batch, budget, scratch) -> frames
        Append up to `budget` frames to `batch`: everything that a descriptor says before `wire.parse` (address, lengths,
        link, in_port, ip_summed, csum_*, gso_*, vlan_*, timestamp 0 unless the port has one). A negative result is -errno.
    <kind>_give_back(queues, row)
        The path has finished with all frames received so far: ring slots return to the kernel. Until then their bytes may be
        read, not written: `head_chunk` is `NO_CHUNK`. Frames in chunks belong to the batch like any other.
    <kind>_transmit(queues, row, batch, order, first, last, scratch) -> frames taken
        Send frames `order[first:last]` of a batch that already is as the port's features want it. The batch keeps its frames;
        a port that sends later holds their chunks (`chunk_get`) or copies. Fewer than asked means that the rest found no
        room. `queues.<kind>[row].errno` says why.
"""

from enum import IntEnum
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pktpath.features import Feature, FeatureState

MAX_QUEUES = 64
"""Rows in the table of each kind."""
MAX_BURST = 256
"""Most frames in one receive or transmit."""
MAX_PIECES = 24
"""Pieces a frame may have on the average of a burst: `Scratch.iovecs` has so many rows for each."""


class Kind(IntEnum):
    """Kinds of queues."""

    TAP = 0
    PACKET = 1
    XDP = 2
    PCAP = 3
    MEMORY = 4


class Queues(NamedTuple):
    """The tables of all queues of a process; a row of each is a record that only the module of that kind knows."""

    tap: Any
    packet: Any
    xdp: Any
    pcap: Any
    memory: Any


class Scratch(NamedTuple):
    """Room for system calls of one thread."""

    iovecs: NDArray[np.uint64]
    """(MAX_BURST * MAX_PIECES, 2) struct iovec: address in the process, length."""
    messages: NDArray[np.uint64]
    """(MAX_BURST, 8) struct mmsghdr: 64 bytes each."""
    headers: NDArray[np.uint8]
    """(MAX_BURST, 16) struct virtio_net_hdr of each message, 10 bytes used."""
    controls: NDArray[np.uint8]
    """(MAX_BURST, 64) room for ancillary data of each message."""
    chunks: NDArray[np.int64]
    """(2, MAX_BURST) chunks offered to a receive."""


def make_scratch() -> Scratch:
    """Return room for the system calls of one thread."""
    return Scratch(
        np.zeros((MAX_BURST * MAX_PIECES, 2), np.uint64),
        np.zeros((MAX_BURST, 8), np.uint64),
        np.zeros((MAX_BURST, 16), np.uint8),
        np.zeros((MAX_BURST, 64), np.uint8),
        np.zeros((2, MAX_BURST), np.int64),
    )


class Memory(Protocol):
    """Where the rings of ports lie: the window at the front of the one array of bytes that every pool of the process shares."""

    mem: NDArray[np.uint8]

    def map_ring(self, fd: int, length: int) -> int:
        """Map `length` bytes (whole pages) of a socket's ring into the window and return its address in `mem`.

        Raises:
            Refused: the window is used up, or the kernel maps nothing.

        """
        ...

    def reserve(self, length: int) -> int:
        """Take `length` bytes of anonymous memory in the window (a capture, a ring of our own); return the address in `mem`."""
        ...

    def unmap(self, address: int, length: int) -> None:
        """Give a range back."""
        ...


class RxQueue(NamedTuple):
    """One receive queue as the path sees it."""

    kind: Kind
    row: int
    number: int
    """Queue number within its port."""
    fd: int
    """What epoll waits for; -1 where there is always something (a looped capture)."""


class LivePort(Protocol):
    """One port: opened with what a configuration says, closed exactly once. Every kind inherits from it."""

    name: str
    kind: str
    """tap, packet, xdp, pcap, memory, internal."""
    mtu: int
    able: Feature
    """Transmit and receive features that it can be switched to: what `ethtool -k` shows as not fixed."""
    default: Feature
    """Those that are on at the start."""
    rx: tuple[RxQueue, ...]
    options: dict[str, str]
    """What `dpctl/show` shows beside its type."""
    homes: tuple[int, ...] = ()
    """The worker of each receive queue, where their frames lie in its pool; without, any worker may poll any queue."""

    def tx(self, worker: int) -> tuple[Kind, int]:
        """Kind and row of the transmit queue that this worker uses; each worker has its own, opened at the first call."""
        ...

    def set_features(self, active: Feature) -> None:
        """Tell the kernel what is on now, where it must know."""
        ...

    def statistics(self) -> dict[str, int]:
        """Return what all its queues counted: `rx_packets`, `rx_bytes`, `tx_errors`… by name."""
        ...

    def warnings(self) -> list[str]:
        """Return one line for each thing that is not as one may expect."""
        return []

    def alive(self) -> bool:
        """Whether the interface behind it is still there (False after it was deleted)."""
        ...

    def close(self) -> None:
        """Leave everything as it was found."""
        ...


class EnginePort(NamedTuple):
    """A port as it is handed to the engine."""

    number: int
    """Its number in the datapath, from 1; free again after `remove_port`."""
    bridge: str
    openflow: int
    port: LivePort
    features: FeatureState
    """`active` is what the path does on it from the first frame."""
