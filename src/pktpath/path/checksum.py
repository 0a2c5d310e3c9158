"""The way of `pktpath checksum`: what the checksums of a capture say, and writing those left to a device.

capture ─ classify ─ tally by protocol and sender ─ (complete) ─ capture
"""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pktpath.batch import FRAMES, Batch, make_batch, release
from pktpath.jit import inlined, kernel
from pktpath.offload.checksum import ICMP, ICMPV6, ChecksumState, classify, complete, verify
from pktpath.port.capture import CaptureWriter, create_capture, open_capture
from pktpath.wire import ipv4, ipv6, tcp, udp
from pktpath.wire.load import word32, word64

_BATCH = 4096
_SENDERS = 8192
"""Most pairs of protocol and sender that are told apart; later ones count in the last row."""
_FIRST_WRONG = 10
_STATES = len(ChecksumState)
_NOT_APPLICABLE, _WRONG = int(ChecksumState.NOT_APPLICABLE), int(ChecksumState.WRONG)
_PROTOCOLS = {tcp.PROTOCOL: "tcp", udp.PROTOCOL: "udp", ICMP: "icmp", ICMPV6: "icmpv6", 0: "malformed"}

STATES = tuple(state.name.lower() for state in list(ChecksumState)[1:])
"""The words that count frames: right, wrong, partial, partial_no_length, zero, not_verifiable."""


class Tally(NamedTuple):
    """Counts by protocol and sender; compiled code fills it."""

    slots: NDArray[np.int32]
    """Hash table of row numbers, -1 where free."""
    used: NDArray[np.int64]
    """(1,) rows in use."""
    kind: NDArray[np.int32]
    """(rows,) protocol << 8 | IP version."""
    address: NDArray[np.uint64]
    """(rows, 2) the sender's address, as it lies in memory."""
    counts: NDArray[np.int64]
    """(rows + 1, states); the last row is that of senders that found no row."""
    headers: NDArray[np.int64]
    """(states,) of IPv4 headers."""
    wrong: NDArray[np.int64]
    """(2, some) numbers of the first frames with a wrong transport and a wrong header checksum."""
    wrong_count: NDArray[np.int64]
    """(2,) how many of them."""


@dataclass
class Checked:
    """What `checksum` found and did."""

    frames: int = 0
    """Frames read."""
    written: int = 0
    """Frames written."""
    without: int = 0
    """Frames without a transport checksum that is looked at."""
    ipv4_header: dict[str, int] = field(default_factory=dict)
    """IPv4 header checksums by `STATES`; zero ones were left to the device."""
    transport: list[dict[str, int | str]] = field(default_factory=list)
    """One row for each protocol and sender: `protocol`, `sender` and a count for each of `STATES`."""
    first_wrong: list[int] = field(default_factory=list)
    """Numbers of the first frames with a wrong transport checksum, from 1, among those that the filter selects."""
    first_wrong_header: list[int] = field(default_factory=list)
    """The same for IPv4 headers."""
    fixed: int = 0
    """Transport checksums written."""
    fixed_headers: int = 0
    """IPv4 header checksums written."""
    warnings: list[str] = field(default_factory=list)
    """What the reader had to say."""
    damaged: bool = False
    """The input ends too early or lies; what came before is counted and written."""


def checksum_capture(
    source: str,
    target: str | None = None,
    *,
    repair: bool = False,
    expression: str = "",
    progress: Callable[[int], None] = lambda _offset: None,
) -> Checked:
    """Judge every checksum of capture `source`; with a `target`, write it with the partial ones completed.

    Args:
        source: file name, or "-" for standard input.
        target: file name, or "-" for standard output; None only looks.
        repair: write right checksums over wrong ones too.
        expression: pcap-filter expression; other frames are left out.
        progress: called with the offset reached in the input, in bytes.

    Raises:
        CaptureError: a capture cannot be read or written any further.

    """
    result = Checked()
    tally = _make_tally()
    transport, header = np.zeros(_BATCH, np.uint8), np.zeros(_BATCH, np.uint8)
    with ExitStack() as stack:
        reader = stack.enter_context(open_capture(source, filter=expression or None, batch_size=_BATCH, recycle=True))
        writer = None if target is None else stack.enter_context(create_capture(target, like=reader))
        for item in reader.kept_items():
            progress(reader.bytes_read)
            if not isinstance(item, Batch):
                if writer is not None:
                    writer.write_block(item)
                continue
            count = int(item.used[FRAMES])
            classify(item, 0, count, transport, header)
            result.without += int(count_states(item, transport, header, tally, result.frames + 1))
            result.frames += count
            if writer is not None:
                item = _with_room(item)  # noqa: PLW2901  the same frames
                _write(item, writer, result, repair)
            release(item)
        result.warnings = reader.warnings
        result.damaged = bool(reader.damage)
    _report(tally, result)
    return result


def _write(batch: Batch, writer: CaptureWriter, result: Checked, repair: bool) -> None:
    """Complete the checksums of a batch and write it."""
    count = int(batch.used[FRAMES])
    verify(batch, 0, count)
    transports, headers, missed = complete(batch, 0, count, repair)
    if missed:
        message = f"the pool had no chunk for {missed} headers"
        raise MemoryError(message)
    result.fixed += int(transports)
    result.fixed_headers += int(headers)
    result.written += count
    writer.write(batch)


def _with_room(batch: Batch) -> Batch:
    """Return a batch without fragments with a fragment table that has a row for each frame.

    Where a header is written, the rest of its frame becomes a fragment (`offload.head`).
    """
    rows = make_batch(batch.pool, 1, max(int(batch.used[FRAMES]), 1))
    return batch._replace(
        frag_addr=rows.frag_addr, frag_len=rows.frag_len, frag_chunk=rows.frag_chunk, frag_origin=rows.frag_origin
    )


def _make_tally() -> Tally:
    return Tally(
        slots=np.full(2 * _SENDERS, -1, np.int32),
        used=np.zeros(1, np.int64),
        kind=np.zeros(_SENDERS, np.int32),
        address=np.zeros((_SENDERS, 2), np.uint64),
        counts=np.zeros((_SENDERS + 1, _STATES), np.int64),
        headers=np.zeros(_STATES, np.int64),
        wrong=np.zeros((2, _FIRST_WRONG), np.int64),
        wrong_count=np.zeros(2, np.int64),
    )


@kernel
def count_states(batch, transport, header, tally, number):
    """Count the states of a batch, whose first frame has this number; returns how many have no transport checksum."""
    without = 0
    for i in range(batch.used[FRAMES]):
        tally.headers[header[i]] += 1
        if header[i] == _WRONG:
            _note_wrong(tally, 1, number + i)
        if transport[i] == _NOT_APPLICABLE:
            without += 1
            continue
        tally.counts[_row(batch, tally, i), transport[i]] += 1
        if transport[i] == _WRONG:
            _note_wrong(tally, 0, number + i)
    return without


@inlined
def _note_wrong(tally, which, number):
    k = tally.wrong_count[which]
    if k < _FIRST_WRONG:
        tally.wrong[which, k] = number
        tally.wrong_count[which] = k + 1


@inlined
def _row(batch, tally, i):
    """Row of the protocol and the sender of frame `i`, the last one when all are taken."""
    frame = batch.frames[i]
    mem = batch.pool.mem
    at = frame.head_addr + frame.network_offset
    network = np.int64(frame.network)
    kind = np.int64(frame.protocol) << 8 | network
    low = high = np.uint64(0)
    if network == 4:
        low = np.uint64(word32(mem, at + ipv4.SOURCE))
    elif network == 6:
        low = word64(mem, at + ipv6.SOURCE)
        high = word64(mem, at + ipv6.SOURCE + 8)
    mixed = (low ^ low >> np.uint64(29) ^ high ^ high >> np.uint64(31)) + np.uint64(kind)
    mask = len(tally.slots) - 1
    slot = np.int64((mixed ^ mixed >> np.uint64(15)) & np.uint64(mask))
    while tally.slots[slot] >= 0:
        row = np.int64(tally.slots[slot])
        if tally.kind[row] == kind and tally.address[row, 0] == low and tally.address[row, 1] == high:
            return row
        slot = (slot + 1) & mask
    row = tally.used[0]
    if row == _SENDERS:
        return row
    tally.used[0] = row + 1
    tally.slots[slot] = row
    tally.kind[row] = kind
    tally.address[row, 0] = low
    tally.address[row, 1] = high
    return row


def _report(tally: Tally, result: Checked) -> None:
    """Turn the counts into rows, most frames first."""
    rows = []
    for row in range(int(tally.used[0])):
        protocol, network = int(tally.kind[row]) >> 8, int(tally.kind[row]) & 0xFF
        rows.append(_named(_PROTOCOLS.get(protocol, str(protocol)), _sender(tally, row, network), tally.counts[row]))
    rows.sort(key=lambda row: -sum(int(row[state]) for state in STATES))
    if tally.counts[_SENDERS].any():
        rows.append(_named("any", "others", tally.counts[_SENDERS]))
    result.transport = rows
    result.ipv4_header = {state: int(count) for state, count in zip(STATES, tally.headers[1:], strict=True)}
    result.first_wrong, result.first_wrong_header = (tally.wrong[k, : tally.wrong_count[k]].tolist() for k in (0, 1))


def _named(protocol: str, sender: str, counts: NDArray[np.int64]) -> dict[str, int | str]:
    return {"protocol": protocol, "sender": sender} | {state: int(counts[k + 1]) for k, state in enumerate(STATES)}


def _sender(tally: Tally, row: int, network: int) -> str:
    if network == 0:
        return "-"
    raw = b"".join(int(word).to_bytes(8, sys.byteorder) for word in tally.address[row])
    return str(ip_address(raw[: 4 if network == 4 else 16]))
