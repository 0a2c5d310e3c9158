"""Write undo records: cut every merged frame again by prediction and note what differs.

Enters: the batch before GRO (its columns are still there, though it is used up) and the batch after
it. Leaves: encoded options for every written frame that needs a record. No payload byte is read:
GRO shares payload, so only headers can differ from their prediction.
"""

import numpy as np
from numpy.typing import NDArray

from pktpath.batch import FRAMES, GSO_UDP, Batch
from pktpath.jit import inlined, kernel
from pktpath.offload.gso_header import segment_header
from pktpath.offload.gso_layout import has_jumbo_header
from pktpath.offload.gso_plan import plan_frame
from pktpath.offload.rules import KernelRules
from pktpath.path.undo import (
    CUT,
    ENTERPRISE,
    EXPLICIT,
    GROUP_START,
    MAGIC,
    MAGIC_MORE,
    MOST_IN_OPTION,
    OPTION_CODE,
    OPTION_HEADER,
    PLACES,
    WITHOUT_SIGN,
    Records,
    fold_sign,
)
from pktpath.path.undo_read import find_record
from pktpath.pool import chunk_address
from pktpath.wire.checksum import sum_bytes
from pktpath.wire.load import load8

_AT, _START = 0, 1
"""Rows of the cursor: next free byte, start of the open option."""

_SMALLEST_DATA = 1 << 20


def undo_records(
    source: Batch, merged: Batch, scratch: int, rules: KernelRules, data: NDArray[np.uint8] | None = None
) -> Records:
    """Return the undo records of `merged`, made from `source`.

    Args:
        source: the frames as they were read.
        merged: what became of them; together its origins name every frame of `source` once.
        scratch: a `NORMAL` chunk of the pool, for predicted headers.
        rules: the `KernelRules` by which `segment` will cut.
        data: room of an earlier call to use again.

    """
    count = len(merged.head_addr)
    records = Records(
        np.zeros(_SMALLEST_DATA, np.uint8) if data is None else data,
        np.zeros(count, np.int64),
        np.zeros(count, np.int32),
        np.zeros(count, np.int32),
    )
    while not write_records(source, merged, scratch, rules, records, np.zeros(2, np.int64)):
        records = records._replace(data=np.zeros(2 * len(records.data), np.uint8))
    return records


@kernel
def write_records(source, merged, scratch, rules, records, cursor):
    """Fill `records` for every frame; False when `records.data` is too small."""
    scratch = chunk_address(source.pool, scratch)
    first = np.int64(0)
    group = np.int64(0)
    count = merged.used[FRAMES]
    while first < count:
        end, total, in_order = _group(merged, first, group)
        for j in range(first, end):
            if (
                _segments(merged, j) > 1
                or not in_order
                or find_record(source.pool.mem, merged.frames[j].option_addr, merged.frames[j].option_len) >= 0
            ):
                places = not in_order
                if not _write_record(
                    source, merged, j, scratch, rules, records, cursor, places, total if j == first else 0, group
                ):
                    return False
            else:
                records.length[j] = 0
            if _segments(merged, j) == 1:
                records.patched[j] = 0
        first = end
        group += total
    return True


@inlined
def _group(merged, first, start):
    """Return (frame after the group, originals in it, whether they stand in order) from frame `first` on."""
    j = first
    seen = np.int64(0)
    highest = start
    in_order = True
    while j < merged.used[FRAMES]:
        for k in range(_segments(merged, j)):
            origin = _origin(merged, j, k)
            in_order = in_order and origin == start + seen
            highest = max(highest, origin + 1)
            seen += 1
        j += 1
        if highest - start == seen:
            break
    return j, seen, in_order


@inlined
def _segments(merged, j):
    """Number of original frames in written frame `j`."""
    return np.int64(merged.frames[j].frag_count) if merged.frames[j].gso_segs > 1 else np.int64(1)


@inlined
def _origin(merged, j, k):
    """Index in `source` of the k-th original of written frame `j`."""
    frame = merged.frames[j]
    if frame.gso_segs > 1:
        return np.int64(merged.frag_origin[frame.frag_first + k])
    return np.int64(frame.origin)


@inlined
def _write_record(source, merged, j, scratch, rules, records, cursor, places, total, group):
    """Write the record of one frame; False when the room ends."""
    segments = _segments(merged, j)
    explicit = segments > 1 and not _predictable(source, merged, j, segments)
    if not _room(records.data, cursor, 128):
        return False
    records.addr[j] = cursor[_AT]
    _open_option(records.data, cursor, MAGIC)
    flags = np.int64(0)
    if segments > 1:
        flags = np.int64(EXPLICIT if explicit else CUT)
    if places:
        flags |= PLACES | (GROUP_START if total > 0 else 0)
    _put_number(records.data, cursor, flags)
    _put_number(records.data, cursor, np.int64(merged.frames[j].frame_len))
    if flags & GROUP_START:
        _put_number(records.data, cursor, total)
    if flags & CUT:
        _put_number(records.data, cursor, np.int64(merged.frames[j].gso_type))
        _put_number(records.data, cursor, np.int64(merged.frames[j].gso_size))
    if flags & EXPLICIT:
        _put_number(records.data, cursor, np.int64(merged.frames[j].head_len))
    _put_number(records.data, cursor, segments)
    ticks = np.int64(merged.frames[j].ticks)
    records.patched[j] = 0
    # For a frame that is not merged the plan means nothing, and is not looked at.
    _reason, cut = plan_frame(merged, j, rules)
    for k in range(segments):
        i = _origin(merged, j, k)
        head = np.int64(source.frames[i].head_len) if explicit else np.int64(source.frames[i].payload_offset)
        if not _room(records.data, cursor, 128 + 3 * head + source.frames[i].option_len):
            return False
        if places:
            _put_number(records.data, cursor, i - group)
        _put_number(records.data, cursor, fold_sign(np.int64(source.frames[i].ticks) - ticks))
        ticks = np.int64(source.frames[i].ticks)
        if flags & EXPLICIT:
            _put_explicit(source, merged, j, k, i, records.data, cursor)
            records.patched[j] += 1
        elif flags & CUT:
            records.patched[j] += _put_patches(source, cut, k, i, scratch, records.data, cursor)
    _close_option(records.data, cursor)
    records.length[j] = cursor[_AT] - records.addr[j]
    return True


@inlined
def _predictable(source, merged, j, segments):
    """Whether cutting written frame `j` gives frames of the originals' shape: then only header bytes can differ."""
    frame = merged.frames[j]
    if frame.gso_type & GSO_UDP:
        return False
    # Segmentation leaves a jumbo header out.
    if frame.network == 6 and has_jumbo_header(merged.pool.mem, frame.head_addr + frame.network_offset):
        return False
    for k in range(segments):
        original = source.frames[_origin(merged, j, k)]
        if original.wire_len != original.frame_len:
            return False
        # LRO joins segments of any length, with and without options; GRO's are all alike but the last, which may be shorter.
        size = np.int64(merged.frag_len[frame.frag_first + k])
        if (
            size > frame.gso_size
            or (size < frame.gso_size and k < segments - 1)
            or original.payload_offset != frame.payload_offset
        ):
            return False
    return True


@inlined
def _put_patches(source, cut, k, i, scratch, data, cursor):
    """Predict the header of segment `k`, and write where original `i` differs; returns 1 where it does."""
    mem = source.pool.mem
    length = np.int64(source.frames[i].payload_offset)
    original = source.frames[i].head_addr
    payload = np.int64(source.frames[i].payload_len)
    payload_sum = np.int64(source.frames[i].payload_sum)
    if payload_sum < 0:
        payload_sum = sum_bytes(mem, original + length, payload)
    segment_header(mem, scratch, cut, k, payload, payload_sum)
    patches = np.int64(0)
    at = np.int64(0)
    while at < length:  # count first: the number stands before them
        at = _next_difference(mem, original, scratch, at, length)
        if at < length:
            patches += 1
            at = _end_of_difference(mem, original, scratch, at, length)
    options = np.int64(source.frames[i].option_len) if k > 0 else np.int64(0)
    _put_number(data, cursor, patches << 1 | (1 if options > 0 else 0))
    if options > 0:
        _put_bytes(data, cursor, mem, source.frames[i].option_addr, options)
    end = np.int64(0)
    at = np.int64(0)
    for _ in range(patches):
        at = _next_difference(mem, original, scratch, at, length)
        _put_number(data, cursor, at - end)
        end = _end_of_difference(mem, original, scratch, at, length)
        _put_bytes(data, cursor, mem, original + at, end - at)
        at = end
    return 1 if patches > 0 else 0


@inlined
def _next_difference(mem, a, b, at, length):
    while at < length and mem[a + at] == mem[b + at]:
        at += 1
    return at


@inlined
def _end_of_difference(mem, a, b, at, length):
    while at < length and mem[a + at] != mem[b + at]:
        at += 1
    return at


@inlined
def _put_explicit(source, merged, j, k, i, data, cursor):
    """Write what stands before and behind the payload range that fragment `k` shares with original `i`."""
    row = merged.frames[j].frag_first + k
    mem = source.pool.mem
    head = merged.frag_addr[row] - source.frames[i].head_addr
    payload = np.int64(merged.frag_len[row])
    options = np.int64(source.frames[i].option_len) if k > 0 else np.int64(0)
    _put_number(data, cursor, np.int64(1 if options > 0 else 0))
    if options > 0:
        _put_bytes(data, cursor, mem, source.frames[i].option_addr, options)
    _put_bytes(data, cursor, mem, source.frames[i].head_addr, head)
    _put_number(data, cursor, payload)
    _put_bytes(data, cursor, mem, source.frames[i].head_addr + head + payload, source.frames[i].head_len - head - payload)
    _put_number(data, cursor, fold_sign(np.int64(source.frames[i].wire_len) - source.frames[i].frame_len))


@inlined
def _room(data, cursor, size):
    """Whether `size` bytes of records and the options around them still fit."""
    return cursor[_AT] + size + (size // MOST_IN_OPTION + 2) * (OPTION_HEADER + 4) <= len(data)


@inlined
def _open_option(data, cursor, magic):
    at = cursor[_AT]
    cursor[_START] = at
    _store_little(data, at, OPTION_CODE, 2)
    _store_little(data, at + 4, ENTERPRISE, 4)
    _store_little(data, at + 8, magic, 4)
    cursor[_AT] = at + OPTION_HEADER


@inlined
def _close_option(data, cursor):
    _store_little(data, cursor[_START] + 2, cursor[_AT] - cursor[_START] - 4, 2)
    while cursor[_AT] & 3:
        data[cursor[_AT]] = 0
        cursor[_AT] += 1


@inlined
def _store_little(data, at, value, size):
    for k in range(size):
        data[at + k] = value >> 8 * k & 0xFF


@inlined
def _put_byte(data, cursor, byte):
    if cursor[_AT] - cursor[_START] == OPTION_HEADER + MOST_IN_OPTION:
        _close_option(data, cursor)
        _open_option(data, cursor, MAGIC_MORE)
    data[cursor[_AT]] = byte
    cursor[_AT] += 1


@inlined
def _put_number(data, cursor, value):
    while value < 0 or value >= 0x80:
        _put_byte(data, cursor, value & 0x7F | 0x80)
        value = value >> 7 & WITHOUT_SIGN >> 6
    _put_byte(data, cursor, value)


@inlined
def _put_bytes(data, cursor, mem, at, length):
    _put_number(data, cursor, length)
    for k in range(length):
        _put_byte(data, cursor, load8(mem, at + k))
