"""What merging loses: which frames cutting a merged one again would not give back, and what they said.

Enters: the batch before GRO or LRO (its descriptors are still there, though it is used up) and the batch
after it. Each original is set against the segment that cutting by `gso_size` makes where its payload
starts: it is *lost* where that segment has other bounds or other header bytes. Only headers are
read. What follows from a loss is none of its own: a checksum over another window, say. Places and times are not looked at.
"""

import numpy as np
from numpy.typing import NDArray

from pktpath.batch import CHECKSUM_PARTIAL, FRAMES, GSO_TCP_ACCECN, GSO_TCP_FIXEDID, GSO_UDP
from pktpath.jit import inlined, kernel
from pktpath.offload.gso_layout import has_jumbo_header
from pktpath.wire import ipv4, ipv6, tcp
from pktpath.wire.load import load8, load16, load32, same_bytes

LOSSES = {
    "merged_frames": "merged frames",
    "merged": "frames that went into them",
    "lost": "of these, cutting cannot rebuild",
    "boundary": "where it started and ended",
    "acknowledgment": "TCP acknowledgment",
    "window": "TCP window",
    "tsval": "TCP timestamp (TSval)",
    "tsecr": "TCP timestamp echo (TSecr)",
    "options": "TCP options or their absence, IPv6 jumbo header",
    "flags": "TCP flags (PSH, CWR, AE)",
    "urgent": "TCP urgent pointer",
    "ip_id": "IPv4 ID",
    "fragment_bits": "IPv4 DF or reserved bit",
    "ttl": "TTL or hop limit",
    "tos": "TOS or traffic class",
    "checksum": "checksum left to the device, or 0xFFFF for 0",
    "link": "link addresses",
}
"""Rows of the counters, and what they count: frames of each kind, then lost ones by what is lost of them."""
(
    MERGED_FRAMES, MERGED, LOST, _BOUNDARY, _ACKNOWLEDGMENT, _WINDOW, _TSVAL, _TSECR, _OPTIONS, _FLAGS, _URGENT, _IP_ID,
    _FRAGMENT_BITS, _TTL, _TOS, _CHECKSUM, _LINK,
) = range(len(LOSSES))  # fmt: skip

_FLAG_BITS = 0x0FFF
"""The flag word less the data offset."""


FRAME_COUNTS = ("merged_frames", "merged", "lost")
"""The rows that count frames; each of the others counts lost frames by what is lost of them, and one may be in several."""


def make_counts() -> NDArray[np.int64]:
    """Return the `counts` argument of `count_losses`: zeros."""
    return np.zeros(len(LOSSES), np.int64)


def named(counts: NDArray[np.int64]) -> dict[str, int]:
    """Return counters by their names."""
    return dict(zip(LOSSES, map(int, counts), strict=True))


@kernel
def count_losses(source, merged, first, counts):
    """Add to `counts` what the frames of `merged` from `first` on have lost.

    Every `frag_origin` of a merged frame names its original in `source`, whose descriptors and header
    bytes must still be there. IP fragments that were put together are left out: nothing cuts these again.
    """
    for j in range(first, merged.used[FRAMES]):
        if merged.frames[j].gso_segs > 1 and not merged.frames[j].gso_type & GSO_UDP:
            frame_losses(source, merged, j, np.int64(merged.frames[j].gso_size), counts)


@inlined
def frame_losses(source, merged, j, size, counts):
    """Add to `counts` what merged frame `j` has lost when it is cut by `size` bytes; return the originals that are lost."""
    frame = merged.frames[j]
    total = np.int64(frame.payload_len)
    segments = np.int64(frame.frag_count)
    at = np.int64(0)
    lost = np.int64(0)
    for k in range(segments):
        row = frame.frag_first + k
        length = np.int64(merged.frag_len[row])
        segment = at // size
        start = segment * size
        losses = _header_losses(source, merged.frag_origin[row], merged, j, segment, start + size >= total)
        original = source.frames[merged.frag_origin[row]]
        # A capture may claim fewer bytes on the wire than it holds of a frame: no segment would.
        if start != at or min(size, total - at) != length or original.wire_len != original.frame_len:
            losses |= 1 << _BOUNDARY
        if losses:
            lost += 1
            for field in range(_BOUNDARY, _LINK + 1):
                counts[field] += losses >> field & 1
        at += length
    counts[MERGED_FRAMES] += 1
    counts[MERGED] += segments
    counts[LOST] += lost
    return lost


@inlined
def _header_losses(source, i, merged, j, segment, last):
    """Return a bit for each field of original `i` that the `segment`-th piece of merged frame `j` does not have."""
    original = source.frames[i]
    frame = merged.frames[j]
    mem = merged.pool.mem
    here = original.head_addr
    there = frame.head_addr
    network_offset = np.int64(frame.network_offset)
    losses = np.int64(0)
    if original.network_offset != network_offset or not same_bytes(mem, here, there, network_offset):
        losses |= 1 << _LINK
    here += np.int64(original.network_offset)
    there += network_offset
    if frame.network == 4:
        step = np.int64(0) if frame.gso_type & GSO_TCP_FIXEDID else segment
        losses |= _ipv4_losses(mem, here, there, step)
    else:
        losses |= _ipv6_losses(mem, here, there)
    if original.ip_summed == CHECKSUM_PARTIAL:
        losses |= 1 << _CHECKSUM
    if frame.protocol == tcp.PROTOCOL:
        flags = load16(mem, frame.head_addr + np.int64(frame.transport_offset) + tcp.FLAG_WORD)
        if not last:
            flags &= ~(tcp.FIN | tcp.PSH)
        if segment > 0 and not frame.gso_type & GSO_TCP_ACCECN:
            flags &= ~tcp.CWR
        losses |= _tcp_losses(mem, original, frame, flags)
    return losses


@inlined
def _ipv4_losses(mem, here, there, step):
    losses = np.int64(0)
    if load16(mem, here + ipv4.ID) != (load16(mem, there + ipv4.ID) + step) & 0xFFFF:
        losses |= 1 << _IP_ID
    if load16(mem, here + ipv4.FRAGMENT) != load16(mem, there + ipv4.FRAGMENT):
        losses |= 1 << _FRAGMENT_BITS
    if load8(mem, here + ipv4.TTL) != load8(mem, there + ipv4.TTL):
        losses |= 1 << _TTL
    if load8(mem, here + ipv4.TOS) != load8(mem, there + ipv4.TOS):
        losses |= 1 << _TOS
    if load16(mem, here + ipv4.CHECKSUM) == 0xFFFF:
        losses |= 1 << _CHECKSUM
    return losses


@inlined
def _ipv6_losses(mem, here, there):
    losses = np.int64(0)
    if load8(mem, here + ipv6.HOP_LIMIT) != load8(mem, there + ipv6.HOP_LIMIT):
        losses |= 1 << _TTL
    if load16(mem, here) != load16(mem, there):
        losses |= 1 << _TOS
    if has_jumbo_header(mem, here):
        losses |= 1 << _OPTIONS
    return losses


@inlined
def _tcp_losses(mem, original, frame, flags):
    """Losses in the TCP header of an original; `flags` is the flag word of its segment."""
    here = original.head_addr + np.int64(original.transport_offset)
    there = frame.head_addr + np.int64(frame.transport_offset)
    losses = np.int64(0)
    if load32(mem, here + tcp.ACKNOWLEDGMENT) != load32(mem, there + tcp.ACKNOWLEDGMENT):
        losses |= 1 << _ACKNOWLEDGMENT
    if load16(mem, here + tcp.WINDOW) != load16(mem, there + tcp.WINDOW):
        losses |= 1 << _WINDOW
    if load16(mem, here + tcp.URGENT) != load16(mem, there + tcp.URGENT):
        losses |= 1 << _URGENT
    if (load16(mem, here + tcp.FLAG_WORD) ^ flags) & _FLAG_BITS:
        losses |= 1 << _FLAGS
    if load16(mem, here + tcp.CHECKSUM) == 0xFFFF:
        losses |= 1 << _CHECKSUM
    header = np.int64(original.payload_offset) - original.transport_offset
    stamped = header == tcp.STAMPED_LENGTH and load32(mem, here + tcp.STAMP) == tcp.STAMP_WORD
    if header == np.int64(frame.payload_offset) - frame.transport_offset:
        if stamped and load32(mem, there + tcp.STAMP) == tcp.STAMP_WORD:
            if load32(mem, here + tcp.TSVAL) != load32(mem, there + tcp.TSVAL):
                losses |= 1 << _TSVAL
            if load32(mem, here + tcp.TSECR) != load32(mem, there + tcp.TSECR):
                losses |= 1 << _TSECR
        elif not same_bytes(mem, here + tcp.LENGTH, there + tcp.LENGTH, header - tcp.LENGTH):
            losses |= 1 << _OPTIONS
    else:
        losses |= 1 << _OPTIONS
        if stamped:
            losses |= 1 << _TSVAL | 1 << _TSECR
    return losses
