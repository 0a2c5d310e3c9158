"""Frames for the benches: bulk TCP over IPv4, the same bytes on every machine, made by whole columns."""

from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

HEADERS = 14 + 20 + 32
"""Ethernet, IPv4, and TCP with the timestamp option."""
PAYLOAD = 1448
"""What is left of an MTU of 1500."""

_PSH_ACK, _ACK = 0x18, 0x10
_TEXT = np.frombuffer(np.random.default_rng(1).bytes(1 << 16), np.uint8)

Columns = NDArray[np.integer]


def tcp_frames(
    flow: Columns, sequence: Columns, ident: Columns, *, payload: int = PAYLOAD, clock: Columns | int = 1000, reverse: bool = False
) -> NDArray[np.uint8]:
    """Return TCP/IPv4 frames with right checksums, one a row.

    Args:
        flow: number of each frame's flow, below 65536: the ports follow from it.
        sequence: sequence number; with `reverse` the acknowledgment number.
        ident: IP identification.
        payload: bytes of payload in each frame.
        clock: value of the timestamp option.
        reverse: frames of the other direction.

    """
    flow = np.asarray(flow, np.int64)
    frames = np.zeros((len(flow), HEADERS + payload), np.uint8)
    words = np.zeros((len(flow), HEADERS // 2), np.int64)
    words[:, :7] = [0x0200, 0, 2, 0x0200, 0, 1, 0x0800]
    words[:, 7] = 0x4500
    words[:, 8] = HEADERS - 14 + payload
    words[:, 9] = np.asarray(ident) & 0xFFFF
    words[:, 10:12] = [0x4000, 0x4006]
    here, there = [0x0A00, 1], [0x0A00, 2]
    words[:, 13:17] = [*there, *here] if reverse else [*here, *there]
    ports = np.stack([20000 + flow % 40000, 5201 + flow // 40000], axis=1)
    words[:, 17:19] = ports[:, ::-1] if reverse else ports
    _put32(words, 21 if reverse else 19, np.asarray(sequence))
    _put32(words, 19 if reverse else 21, np.asarray(1))
    words[:, 23] = 0x8000 | _ACK
    words[:, 24] = 512
    words[:, 27] = 0x0101
    words[:, 28] = 0x080A
    _put32(words, 29, np.asarray(clock))
    _put32(words, 31, np.asarray(clock) - 1)
    total = words[:, 13:].sum(axis=1) + 6 + 32 + payload
    if payload:
        # Any place in the text will do, as long as the stream of a flow does not repeat too soon.
        place = ((np.asarray(sequence) + flow * 4096) % len(_TEXT)) & ~1
        text = np.concatenate([_TEXT, np.resize(_TEXT, payload + 1)])
        frames[:, HEADERS:] = sliding_window_view(text, payload)[place]
        total = total + _payload_sums(text, payload, place)
    words[:, 12] = 0xFFFF ^ _fold(words[:, 7:17].sum(axis=1))
    words[:, 25] = 0xFFFF ^ _fold(total)
    frames[:, :HEADERS] = words.astype(">u2").view(np.uint8)
    return frames


def _put32(words: NDArray[np.int64], column: int, value: Columns) -> None:
    words[:, column] = value >> 16 & 0xFFFF
    words[:, column + 1] = value & 0xFFFF


def _fold(total: NDArray[np.int64]) -> NDArray[np.int64]:
    for _ in range(3):
        total = (total >> 16) + (total & 0xFFFF)
    return total


def _payload_sums(text: NDArray[np.uint8], payload: int, place: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum of big-endian words of the payload at each (even) place."""
    running = np.concatenate([[0], np.cumsum(text[: len(text) & ~1].view(">u2"), dtype=np.int64)])
    total = running[(place + payload) // 2] - running[place // 2]
    return total + (text[place + payload - 1].astype(np.int64) << 8) if payload & 1 else total


def in_turn(flows: int, count: int) -> NDArray[np.uint8]:
    """Return `count` full-sized frames of `flows` flows that take turns, each flow in sequence."""
    number = np.arange(count)
    return tcp_frames(number % flows, 1 + number // flows * PAYLOAD, number // flows)


def super_frame(segments: int) -> NDArray[np.uint8]:
    """Return one frame, as one row, whose payload is that of so many full segments."""
    one = np.zeros(1, np.int64)
    return tcp_frames(one, one + 1, one, payload=segments * PAYLOAD)


# A capture: cycles of 16 flows that send trains of 16 frames, and the acknowledgments of every second frame.

_FLOWS, _TRAIN = 16, 16
_DATA, _ACKS = _FLOWS * _TRAIN, _FLOWS * _TRAIN // 2
_DATA_RECORD, _ACK_RECORD = 16 + HEADERS + PAYLOAD, 16 + HEADERS
_CYCLE = _DATA * _DATA_RECORD + _ACKS * _ACK_RECORD
_CYCLE_NS = 320_000
"""Time of one cycle: 10 Gbit/s."""


def write_capture(path: Path, size: int) -> int:
    """Write a pcap file of about `size` bytes, microsecond timestamps, and return the number of frames."""
    cycles = max(size // _CYCLE, 1)
    with path.open("wb") as file:
        file.write(np.array([0xA1B2C3D4, 2 | 4 << 16, 0, 0, 262144, 1], "<u4").tobytes())
        for first in range(0, cycles, 32):
            file.write(_cycles(np.arange(first, min(first + 32, cycles))).tobytes())
    return cycles * (_DATA + _ACKS)


def _cycles(cycle: NDArray[np.int64]) -> NDArray[np.uint8]:
    records = np.empty((len(cycle), _CYCLE), np.uint8)
    split = _DATA * _DATA_RECORD
    _fill(records[:, :split].reshape(len(cycle), _DATA, _DATA_RECORD), cycle, np.arange(_DATA), reverse=False)
    _fill(records[:, split:].reshape(len(cycle), _ACKS, _ACK_RECORD), cycle, np.arange(_ACKS) * 2 + 1, reverse=True)
    return records


def _fill(records: NDArray[np.uint8], cycle: NDArray[np.int64], place: NDArray[np.int64], *, reverse: bool) -> None:
    """Fill pcap records of (cycle, place in the cycle): the frame at that place, or what acknowledges it."""
    flow = np.tile(place // _TRAIN, len(cycle))
    segment = np.add.outer(cycle * _TRAIN, place % _TRAIN).ravel()
    share = _DATA + _ACKS
    order = place if not reverse else _DATA + np.arange(len(place))
    microseconds = np.add.outer(cycle * _CYCLE_NS, order * _CYCLE_NS // share).ravel() // 1000
    frames = tcp_frames(
        flow,
        1 + (segment + reverse) * PAYLOAD,
        segment,
        payload=0 if reverse else PAYLOAD,
        clock=1000 + microseconds // 1000,
        reverse=reverse,
    )
    header = np.empty((len(flow), 4), "<u4")
    header[:, 0] = 1_700_000_000 + microseconds // 1_000_000
    header[:, 1] = microseconds % 1_000_000
    header[:, 2:] = frames.shape[1]
    records[:, :, :16] = header.view(np.uint8).reshape(*records.shape[:2], 16)
    records[:, :, 16:] = frames.reshape(*records.shape[:2], -1)
