"""The packet port: an existing interface of the kernel, through packet sockets (AF_PACKET).

Super-frames come and go whole, with their virtio_net_hdr; a VLAN tag that the kernel took out is in the descriptor.
The host's own stack still sees what comes in. Nothing is left behind: promiscuous mode ends with the sockets.
"""

import os
import re
import socket
from contextlib import ExitStack
from typing import Any

from pktpath.errors import BadInput
from pktpath.features import Feature
from pktpath.port.live import Kind, LivePort, Memory, RxQueue
from pktpath.port.packet_io import COUNTERS, NO_RING
from pktpath.port.packet_sockets import (
    bind_sender,
    dropped,
    grow,
    is_bound,
    look_up,
    make_ring,
    open_socket,
    refused,
    start,
)
from pktpath.port.rows import PortRows

MODES = ("auto", "ring", "mmsg")
SLOT_BYTES = 2048
MOST_QUEUES = 16
_BASE = Feature.SG | Feature.HW_CSUM | Feature.TSO | Feature.TSO6 | Feature.TSO_ECN | Feature.GSO | Feature.RXCSUM | Feature.GRO


class PacketPort(LivePort):
    """One interface."""

    kind = "packet"

    def __init__(
        self,
        interface: str,
        memory: Memory,
        rows: Any,
        *,
        name: str | None = None,
        number: int = 0,
        queues: int = 1,
        mode: str = "auto",
        slots: int = 2048,
        qdisc_bypass: bool = False,
    ) -> None:
        """Open the receive queues; from here on frames come in.

        Args:
            interface: name of an Ethernet interface; up or not.
            memory: where the rings are mapped.
            rows: the table of all queues of this kind, of rows `PACKET_ROW`.
            name: the port's name, the interface's without.
            number: what becomes `in_port` of its frames.
            queues: receive queues; the kernel shares frames out by a symmetric hash of their flow (PACKET_FANOUT).
            mode: `ring` for a ring of small slots and a second way for large frames, `mmsg` for recvmmsg alone, `auto`.
            slots: slots of a ring, a power of two; 2 KiB each.
            qdisc_bypass: send without the queueing discipline of the interface.

        Raises:
            BadInput: no such interface, or an option that cannot be.
            Refused: no CAP_NET_RAW, no memory, or the kernel says no otherwise.

        """
        if mode not in MODES:
            message = f"{interface}: mode {mode!r} is not one of {', '.join(MODES)}"
            raise BadInput(message)
        if not 1 <= queues <= MOST_QUEUES:
            message = f"{interface}: {queues} queues: 1 to {MOST_QUEUES} are possible"
            raise BadInput(message)
        if not (64 <= slots <= 1 << 16 and slots & slots - 1 == 0):
            message = f"{interface}: {slots} slots: a power of two from 64 to 65536 is possible"
            raise BadInput(message)
        self._interface = look_up(interface)
        self._memory, self._bypass = memory, qdisc_bypass
        self.name = name or interface
        self._rows = PortRows(rows, self.name, number, COUNTERS)
        self.mtu = self._interface.mtu
        self.mode = "ring" if mode == "auto" else mode
        self.able = self.default = _BASE | (Feature.GSO_UDP_L4 if _takes_udp_segments() else Feature.NONE)
        self.options = {"mode": self.mode, "configured_rx_queues": str(queues)}
        self._dropped = 0
        self._senders: dict[int, int] = {}
        self._closing = ExitStack()
        with ExitStack() as opening:
            sockets = [self._open(opening, slots) for _ in range(queues)]
            try:
                start([packet for packet, _ in sockets], self._interface)
            except OSError as error:
                raise refused(self._interface, error) from None
            self._closing = opening.pop_all()
        self._sockets = [packet for packet, _ in sockets]
        self.rx = tuple(RxQueue(Kind.PACKET, row, at, packet.fileno()) for at, (packet, row) in enumerate(sockets))

    def _open(self, opening: ExitStack, slots: int) -> tuple[socket.socket, int]:
        """Return a socket that is ready but for its binding, and its row."""
        packet, row = self._new_socket(opening, send=False)
        record = self._rows.table[row]
        record.ring = NO_RING
        if self.mode == "ring":
            try:
                length = make_ring(packet, slots, SLOT_BYTES)
            except OSError as error:
                raise refused(self._interface, error) from None
            record.ring = self._memory.map_ring(packet.fileno(), length)
            opening.callback(self._memory.unmap, int(record.ring), length)
            record.slots, record.slot_bytes = slots, SLOT_BYTES
        return packet, row

    def _new_socket(self, opening: ExitStack, *, send: bool) -> tuple[socket.socket, int]:
        row = self._rows.take()
        opening.callback(self._rows.give, row)
        packet = opening.enter_context(open_socket(self._interface))
        try:
            grow(packet, send=send)
        except OSError as error:
            raise refused(self._interface, error) from None
        record: Any = self._rows.table[row]
        record.fd = packet.fileno()
        record.mem_base = self._memory.mem.ctypes.data
        return packet, row

    def tx(self, worker: int) -> tuple[Kind, int]:
        """Kind and row of the transmit queue that this worker uses; its socket is opened at the first call.

        Raises:
            Refused: the interface is gone, or there are too many queues.

        """
        if worker not in self._senders:
            with ExitStack() as opening:
                packet, row = self._new_socket(opening, send=True)
                try:
                    bind_sender(packet, self._interface, qdisc_bypass=self._bypass)
                except OSError as error:
                    raise refused(self._interface, error) from None
                self._closing.push(opening.pop_all())
            self._senders[worker] = row
        return Kind.PACKET, self._senders[worker]

    def set_features(self, active: Feature) -> None:
        """Nothing: a packet socket takes every frame that its header can describe."""

    def alive(self) -> bool:
        """Whether the interface is still there, under whatever name (False after it was deleted or moved)."""
        return is_bound(self._sockets[0])

    def statistics(self) -> dict[str, int]:
        """Return the sum of all queues; `rx_dropped` is what the kernel dropped before it came to us."""
        self._dropped += sum(dropped(packet) for packet in self._sockets)
        return self._rows.counters() | {"rx_dropped": self._dropped}

    def close(self) -> None:
        """Close all sockets; rings are unmapped, so no frame of them may be looked at any more."""
        self._closing.close()


def _takes_udp_segments() -> bool:
    """Whether the kernel knows VIRTIO_NET_HDR_GSO_UDP_L4, which came with Linux 6.2."""
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return found is not None and (int(found[1]), int(found[2])) >= (6, 2)
