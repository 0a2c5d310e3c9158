"""The whole way from the wire to the stack: card, RSS, NAPI, GRO, on one core and on the wall's clock.

Frames lie where a card would have written them, with a descriptor that says where and how long. Timed is all that
follows: parse, hash, queue, ring, interrupt, softirq rounds, polls, GRO, up to the batch that the stack is given.
"""

import numpy as np

from pktpath.batch import CHECKSUM_NONE, CHECKSUM_UNNECESSARY, FRAMES, Batch, release
from pktpath.features import Feature
from pktpath.jit import kernel
from pktpath.lab.bench.common import Effort, Row, clock_cost, make_timespec, take_turns
from pktpath.lab.bench.peer import Peer
from pktpath.lab.bench.traffic import PAYLOAD, burst
from pktpath.nic.clock import monotonic
from pktpath.nic.host import make_card, make_host
from pktpath.nic.host_types import Costs, Limits
from pktpath.nic.napi import napi_enable
from pktpath.nic.settings import NicSettings
from pktpath.offload.rss import make_rss
from pktpath.path.host_loop import run
from pktpath.path.receive import Receiver, Switches, make_receiver
from pktpath.path.steer import steer
from pktpath.pool import make_pool
from pktpath.wire.checksum import sum_bytes
from pktpath.wire.parse import parse

_BURST = 1024
_FLOWS = 64
_QUEUES = 8
_WEIGHT = 64
_TRAIN = 8
"""Frames of a flow that follow each other, as a sender with TSO sends them."""
_GOAL_RATE, _GOAL_SHARE = 15.0, 0.5
_FEATURES = Feature.GRO | Feature.RXCSUM | Feature.RXHASH
_COLD = 192 << 20
"""Bytes of frames that follow each other: no cache of this size class holds them until they come again."""


@kernel
def _receive(r, batch, first, last, rss, queue_of_frame, verified):
    """Let frames of a batch arrive, as a card tells of them, and work until nothing is left."""
    parse(batch, first, last)
    if verified:
        for i in range(first, last):
            batch.frames[np.uint64(i)].ip_summed = CHECKSUM_UNNECESSARY
    steer(batch, first, last, rss, queue_of_frame, True)
    run(r, batch, first, last, queue_of_frame, True)


@kernel
def _time_receive(r, batch, told, size, rss, queue_of_frame, verified, timespec, times):
    """Fill `times` with the nanoseconds of each burst of `size` frames; `told` is what the card tells of all."""
    first = 0
    delivered = 0
    for turn in range(len(times)):
        for i in range(first, first + size):
            batch.frames[np.uint64(i)] = told[np.uint64(i)]
        start = monotonic(timespec)
        _receive(r, batch, first, first + size, rss, queue_of_frame, verified)
        times[turn] = monotonic(timespec) - start
        delivered += r.stack.used[FRAMES]
        release(r.stack)
        first = first + size if first + 2 * size <= len(told) else 0
    return delivered


@kernel
def _time_read(mem, length, piece, timespec, times):
    """Fill `times` with the nanoseconds of reading pieces of memory that follow each other, as a checksum does."""
    at = 0
    for turn in range(len(times)):
        start = monotonic(timespec)
        mem[length] = sum_bytes(mem, at, piece) & 0xFF
        times[turn] = monotonic(timespec) - start
        at = at + piece if at + 2 * piece <= length else 0


@kernel
def _time_pieces(mem, addr, piece, length, timespec, times):
    """Fill `times` with the nanoseconds of reading the next `piece` ranges of `length` bytes, in the order of `addr`."""
    first = 0
    for turn in range(len(times)):
        start = monotonic(timespec)
        total = np.int64(0)
        for i in range(first, first + piece):
            total += sum_bytes(mem, addr[np.uint64(i)], length)
        times[turn] = monotonic(timespec) - start
        # Stored where nobody reads: or else nothing need be summed up.
        mem[len(mem) - 1] = total & 0xFF
        first = first + piece if first + 2 * piece <= len(addr) else 0


def make_host_of_one_core(batch: Batch, group: int = _WEIGHT) -> Receiver:
    """Return a receiver of `_QUEUES` queues, all served by this core on the wall's clock."""
    settings = NicSettings(queues=_QUEUES, rx_ring=_BURST)
    host = make_host(settings, 1, limits=Limits(), costs=Costs(), weight=_WEIGHT, wall=True)
    for number in range(len(host.napis)):
        napi_enable(host.napis[number], False)
    switches = Switches(
        features=int(_FEATURES),
        lro=False,
        gro=True,
        verify=False,
        netif_rx=False,
        copy=False,
        grain=_WEIGHT,
        group=group,
        busy_poll=0,
    )
    return make_receiver(batch.pool, make_card(settings), host, switches)


class _Ours:
    """One case of ours, ready to be timed."""

    def __init__(self, frames: int, turns: int, *, verified: bool, train: int = 1) -> None:
        self.batch = burst(_FLOWS, frames, header=4096, train=train)
        # A card that verifies nothing says nothing: what `burst` says of checksums would spare the CPU all of them.
        self.batch.ip_summed[:frames] = CHECKSUM_NONE
        self.told = self.batch.frames.copy()
        self.frames_out = 0.0
        self.octets = int(self.batch.head_len[:_BURST].sum())
        rss = make_rss(indirection=[entry % _QUEUES for entry in range(128)])
        self.queue_of_frame = np.zeros(frames, np.int64)
        receiver = make_host_of_one_core(self.batch)
        self._arguments = (receiver, self.batch, self.told, _BURST, rss, self.queue_of_frame, verified, make_timespec())
        self._clock = clock_cost()
        self._turns = turns

    def __call__(self) -> float:
        """Return nanoseconds a frame."""
        times = np.zeros(self._turns, np.int64)
        self.frames_out = _time_receive(*self._arguments, times) / self._turns
        return (float(np.median(times)) - self._clock) / _BURST


def rows(peer: Peer | None, missing: str, effort: Effort) -> list[Row]:
    """Measure the receive path with checksums of the card and with those of the CPU."""
    turns = max(effort.frames // _BURST, 3)
    warm = _Ours(_BURST, turns, verified=True)
    trains = _Ours(_BURST, turns, verified=True, train=_TRAIN)
    cold_frames = _COLD // (PAYLOAD + 66) // _BURST * _BURST if effort.turns > 3 else 4 * _BURST
    cold = _Ours(cold_frames, turns, verified=False)
    mem = make_pool(window=_COLD + 64, header=0).mem
    mem[:] = 1
    piece = cold.octets
    clock = clock_cost()

    def reading() -> float:
        times = np.zeros(turns, np.int64)
        _time_read(mem, _COLD, piece, make_timespec(), times)
        return (float(np.median(times)) - clock) / piece

    # The payloads of a burst as the polls come to them: queue after queue.
    cold(), cold()
    queues = cold.queue_of_frame[: len(cold.told) // _BURST * _BURST].reshape(-1, _BURST)
    order = (np.argsort(queues, axis=1, kind="stable") + np.arange(len(queues))[:, None] * _BURST).ravel()
    addr = cold.told.head_addr[order] + cold.told.payload_offset[0]

    def reading_pieces() -> float:
        times = np.zeros(turns, np.int64)
        _time_pieces(cold.batch.pool.mem, addr, _BURST, PAYLOAD, make_timespec(), times)
        return (float(np.median(times)) - clock) / (_BURST * PAYLOAD)

    hardware, in_trains, software, read, pieces = take_turns(effort.turns, warm, trains, cold, reading, reading_pieces)
    case = f"receive {_FLOWS} flows on {_QUEUES} queues"
    return [
        Row(
            case=f"{case}, checksums of the card",
            pktpath=1000 / hardware.median,
            peer=None,
            unit="Mframes/s",
            more={"delivered": warm.frames_out},
            note=f"of {_BURST}, {warm.frames_out:.0f} frames to the stack; goal: {_GOAL_RATE:.0f} Mframes/s",
        ),
        Row(
            case=f"{case}, in trains of {_TRAIN}, checksums of the card",
            pktpath=1000 / in_trains.median,
            peer=None,
            unit="Mframes/s",
            more={"delivered": trains.frames_out},
            note=f"of {_BURST}, {trains.frames_out:.0f} frames to the stack",
        ),
        Row(
            case=f"{case}, checksums of the CPU, beside reading memory",
            pktpath=piece / _BURST / software.median,
            peer=1 / read.median,
            unit="GB/s",
            goal=_GOAL_SHARE,
            more={"Mframes/s": 1000 / software.median},
        ),
        Row(
            case=f"{case}, checksums of the CPU, beside reading the same payloads in the same order",
            pktpath=PAYLOAD / software.median,
            peer=1 / pieces.median,
            unit="GB/s",
        ),
    ]
