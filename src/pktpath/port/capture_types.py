"""The nouns of capture files: error, interface, block, extra options."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pktpath.errors import BadInput
from pktpath.wire.link import LINKTYPES, Link

NANOSECONDS = 10**9
MICROSECONDS = 10**6
MAX_RECORD = 64 << 20
"""A record that claims more bytes than this lies about its length."""
DEFAULT_SNAPLEN = 262144


class CaptureError(BadInput):
    """A capture cannot be read or written any further; `str()` is one line."""

    def __init__(self, file: str, message: str, *, offset: int | None = None, field: str | None = None) -> None:
        """Say what is wrong, in which file, at which byte, in which field of the format."""
        self.file, self.message, self.offset, self.field = file, message, offset, field
        where = "" if offset is None else f" at offset {offset}"
        what = "" if field is None else f" {field}:"
        super().__init__(f"{file}:{what} {message}{where}")


class Interface(NamedTuple):
    """Where frames of a capture came from; a pcap file has exactly one."""

    linktype: int = 1
    """LINKTYPE_ number; in pcap the upper 16 bits may tell the length of the frame check sequence."""
    snaplen: int = DEFAULT_SNAPLEN
    ticks_per_second: int = NANOSECONDS
    """Resolution of `Batch.ticks`; 0 where the file states one that 64 bits cannot count."""
    offset: int = 0
    """Seconds to add to every timestamp (if_tsoffset)."""
    name: str = ""
    options: bytes = b""
    """Raw options of the interface block, little-endian, without opt_endofopt; empty: made from the fields above."""
    big_endian: bool = False
    """Byte order of the file or section that declared it."""

    @property
    def link(self) -> Link:
        """What its frames start with."""
        return LINKTYPES.get(self.linktype & 0xFFFF, Link.UNKNOWN)


class Block(NamedTuple):
    """A pcapng block that is not a packet, as it stands in the file."""

    type: int
    """Block type number: 0x0A0D0D0A section header, 1 interface, 4 names, 5 statistics…"""
    data: bytes
    """The whole block, from its type to its second total length."""
    big_endian: bool
    interface: int = -1
    """Index in `CaptureReader.interfaces` of the interface that this block declares, else -1."""


class ExtraOptions(NamedTuple):
    """Encoded pcapng options for each frame of a batch, to stand after the frame's own.

    Each entry is a run of whole options, little-endian, padded to 4 bytes, without opt_endofopt.
    In a big-endian section the writer turns the numbers that it knows (codes, lengths,
    enterprise numbers, flags) and leaves the rest of each value alone.
    """

    data: NDArray[np.uint8]
    addr: NDArray[np.int64]
    """(frames,) where the options of each frame start in `data`."""
    length: NDArray[np.int32]
    """(frames,) bytes of options of each frame, 0 for none."""
