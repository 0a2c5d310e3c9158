"""The undo record: what a capture must remember so that cutting a merged frame gives the originals.

GRO forgets: the times of later segments, their places among the frames of other flows, urgent
pointers, a checksum of 0xFFFF for 0x0000. `coalesce` cuts every merged frame again by prediction and
writes what differs into options of the frame's pcapng block; `segment` replays it. The options are
custom binary ones that a tool must not copy when it changes the frame (code 19373, pcapng draft
section 3.5.1). A long record goes on in the next option.

    option    number, magic, bytes of the record
    record    flags, frame length,
              [number of original frames in this group]        GROUP_START
              [gso_type, gso_size]                             CUT
              [offset at which payload starts]                 EXPLICIT
              number of segments, then for each segment
                [place in the group]                           PLACES
                ticks since the segment before it
                count of patches * 2 + (1 if it has options)
                [length, bytes] of its own options
                patches: distance from the last one's end, length, bytes
                EXPLICIT instead of patches: [length, bytes] of the head, payload length,
                [length, bytes] of what follows the payload, bytes on the wire less those

A custom option of the section header says that frames without a record were not merged: they stay as
they are, however long. A capture that is coalesced twice has two such options, and a frame whose
record is from the first time gets a second one behind it: the last record counts.

Every number is a little-endian base-128 one (LEB128); signed ones are folded (0, -1, 1, -2 ...).
A *group* is the smallest run of written frames that holds an unbroken run of original frames: only
inside it can the order have changed. All of it is untrusted input when it is read.
"""

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pktpath.jit import inlined

OPTION_CODE = 19373
"""Custom option, binary, not to be copied when the packet changes."""
ENTERPRISE = 32473
"""The enterprise number that RFC 5612 keeps for documentation: pktpath has none of its own."""
MAGIC = 0x6F647031
"""What tells pktpath's records, version 1, from others under that number ("1pdo" in the file)."""
MAGIC_MORE = 0x6F646D31
"""The same for the options in which a long record goes on ("1mdo")."""
OPTION_HEADER = 12
"""Bytes of code, length, number and magic in front of a record's bytes."""
MOST_IN_OPTION = 65520
"""Bytes of a record in one option: with number and magic its length still fits 16 bits, 4-aligned."""

CUT, PLACES, GROUP_START, EXPLICIT = 1, 2, 4, 8
WITHOUT_SIGN = (1 << 63) - 1
"""What makes a right shift of a signed value a logical one."""

_SECTION_OPTIONS = 24
"""Where the options of a section header block start."""
_SNAPLEN, _INTERFACE_OPTIONS = 12, 16
"""Where the snaplen of an interface block stands, and where its options start."""
WIDE_SNAPLEN = 262144
"""What tcpdump and Wireshark write when nothing is to be cut."""
MAGIC_SNAPLEN = 0x6F647331
"""What tells the option with the snaplen that an interface had ("1sdo")."""


def _mark(big_endian: bool) -> bytes:
    return struct.pack(">HHII" if big_endian else "<HHII", OPTION_CODE, 8, ENTERPRISE, MAGIC)


def mark_section(block: bytes, *, big_endian: bool) -> bytes:
    """Return a section header block with the mark of a section that has undo records, as its first option.

    Nothing but the mark and the lengths changes, so that `unmark_section` gives the block back.
    """
    return _with_length(block[:_SECTION_OPTIONS] + _mark(big_endian) + block[_SECTION_OPTIONS:], big_endian)


def unmark_section(block: bytes, *, big_endian: bool) -> bytes | None:
    """Return a section header block without its mark, None where it has none."""
    end = _SECTION_OPTIONS + len(_mark(big_endian))
    if block[_SECTION_OPTIONS:end] != _mark(big_endian):
        return None
    return _with_length(block[:_SECTION_OPTIONS] + block[end:], big_endian)


def widen_interface(block: bytes, *, big_endian: bool) -> bytes:
    """Return an interface block whose snaplen lets merged frames pass; libpcap refuses longer ones.

    What it was stands in an option, the first one, so that `narrow_interface` gives the block back.
    """
    order = ">" if big_endian else "<"
    (snaplen,) = struct.unpack_from(order + "I", block, _SNAPLEN)
    wide = max(snaplen, WIDE_SNAPLEN) if snaplen else 0
    kept = struct.pack(order + "HHIII", OPTION_CODE, 12, ENTERPRISE, MAGIC_SNAPLEN, snaplen)
    return _with_length(block[:_SNAPLEN] + struct.pack(order + "I", wide) + kept + block[_INTERFACE_OPTIONS:], big_endian)


def narrow_interface(block: bytes, *, big_endian: bool) -> bytes:
    """Return an interface block as it was before `widen_interface`; any other one as it is."""
    order = ">" if big_endian else "<"
    kept = struct.pack(order + "HHII", OPTION_CODE, 12, ENTERPRISE, MAGIC_SNAPLEN)
    at = _INTERFACE_OPTIONS + len(kept)
    if block[_INTERFACE_OPTIONS:at] != kept or len(block) < at + 8:
        return block
    return _with_length(block[:_SNAPLEN] + block[at : at + 4] + block[at + 4 :], big_endian)


def _with_length(block: bytes, big_endian: bool) -> bytes:
    total = struct.pack(">I" if big_endian else "<I", len(block))
    return block[:4] + total + block[8:-4] + total


class Records(NamedTuple):
    """Undo options of a batch: what a capture writer takes as extra options."""

    data: NDArray[np.uint8]
    """Encoded options, each padded to four bytes."""
    addr: NDArray[np.int64]
    """(frames,) offset of the frame's options in `data`."""
    length: NDArray[np.int32]
    """(frames,) bytes of options, 0 for a frame that needs no record."""
    patched: NDArray[np.int32]
    """(frames,) segments of the frame whose headers differ from their prediction."""


@inlined
def get_number(mem, at, end):
    """Read one number; returns (value, next address), address -1 when it is cut or too large."""
    value = np.int64(0)
    shift = np.int64(0)
    while at < end and shift < 64:
        byte = np.int64(mem[at])
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    return np.int64(0), np.int64(-1)


@inlined
def unfold(value):
    """Signed value of a folded number."""
    return value >> 1 & WITHOUT_SIGN ^ -(value & 1)


@inlined
def fold_sign(value):
    """Folded number of a signed value."""
    return value << 1 ^ value >> 63
