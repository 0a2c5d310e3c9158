"""Frames for the benches, out of the built-in traffic: bursts, a super-frame, a capture of any size."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pktpath.batch import CHECKSUM_UNNECESSARY, FRAMES, Batch
from pktpath.lab.traffic import Plan, bulk, frames
from pktpath.offload.flow_hash import flow_hash
from pktpath.port.capture import create_capture
from pktpath.port.capture_types import MICROSECONDS, Interface
from pktpath.wire import tcp

PAYLOAD = 1448
"""What an MTU of 1500 leaves to TCP with timestamps."""


def burst(flows: int, count: int, *, header: int, train: int = 1) -> Batch:
    """Return `count` full frames of `flows` flows that take turns: all in sequence, one clock, verified by hardware.

    `header` is how many header chunks the pool has, `train` how many frames of a flow follow each other.
    """
    plan = bulk(flows, count, train=train)
    batch = frames(plan._replace(flags=np.full(count, tcp.ACK), stamp=np.zeros(count, np.int64)), header=header)
    batch.ip_summed[:count] = CHECKSUM_UNNECESSARY
    flow_hash(batch, 0, count)
    return batch


def super_frame(segments: int, *, header: int = 0, normal: int = 0) -> Batch:
    """Return one frame whose payload is that of so many full segments; chunks as for `frames`."""
    plan = bulk(1, 1, payload=segments * PAYLOAD)
    return frames(plan._replace(gso_size=np.full(1, PAYLOAD)), header=header, normal=normal)


def as_rows(batch: Batch) -> NDArray[np.uint8]:
    """Return the bytes of frames of one length that lie end to end, a frame a row."""
    count, length, first = int(batch.used[FRAMES]), int(batch.head_len[0]), int(batch.head_addr[0])
    return batch.pool.mem[first : first + count * length].reshape(count, length)


# A capture: cycles of 16 flows that send trains of 16 frames, and an acknowledgment for every second frame.

_FLOWS, _TRAIN = 16, 16
_DATA = _FLOWS * _TRAIN
_CYCLE = _DATA + _DATA // 2
_CYCLE_BYTES = _DATA * (16 + 66 + PAYLOAD) + _DATA // 2 * (16 + 66)
_CYCLES_AT_ONCE = 32
_FRAMES_IN_A_MILLISECOND = 1200


def write_capture(path: Path, size: int) -> int:
    """Write a pcap of about `size` bytes of bulk TCP and return the number of its frames."""
    cycles = max(size // _CYCLE_BYTES, 1)
    with create_capture(path, format="pcap", interfaces=[Interface(ticks_per_second=MICROSECONDS)]) as writer:
        start = 0
        for first in range(0, cycles, _CYCLES_AT_ONCE):
            batch = frames(_cycles(first, min(first + _CYCLES_AT_ONCE, cycles)), start=start)
            start = int(batch.timestamp[batch.used[FRAMES] - 1])
            writer.write(batch)
    return cycles * _CYCLE


def _cycles(first: int, last: int) -> Plan:
    """Plan the cycles `first` to `last` (excluded)."""
    data = bulk(_FLOWS, _DATA, train=_TRAIN)
    answers = np.arange(1, _DATA, 2)
    once = {
        "flow": np.concatenate([data.flow, data.flow[answers]]),
        "reverse": np.repeat([0, 1], [_DATA, _DATA // 2]),
        "network": np.full(_CYCLE, 4),
        "protocol": np.full(_CYCLE, tcp.PROTOCOL),
        "length": np.concatenate([data.length, np.zeros(_DATA // 2, np.int64)]),
        "sequence": np.concatenate([data.sequence, np.zeros(_DATA // 2, np.int64)]),
        "acknowledgment": np.concatenate([np.zeros(_DATA, np.int64), data.sequence[answers] + PAYLOAD]),
        "flags": np.full(_CYCLE, tcp.ACK),
        "ident": np.concatenate([data.ident, data.ident[answers]]),
        "gso_size": np.zeros(_CYCLE, np.int64),
    }
    columns = {name: np.tile(column, last - first) for name, column in once.items()}
    cycle = np.arange(first, last).repeat(_CYCLE)
    sent = cycle * _TRAIN * PAYLOAD
    columns["sequence"] += np.where(columns["reverse"] == 0, sent, 0)
    columns["acknowledgment"] += np.where(columns["reverse"] == 1, sent, 0)
    columns["ident"] += cycle * _TRAIN
    columns["stamp"] = np.arange(first * _CYCLE, last * _CYCLE) // _FRAMES_IN_A_MILLISECOND
    return Plan(**columns)
