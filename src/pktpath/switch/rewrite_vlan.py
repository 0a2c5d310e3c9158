"""VLAN tags of one frame: outside the frame as long as that goes, in its bytes where it must be.

A tag out of line stands before every tag in the bytes. Offsets in the descriptor stay what `wire.parse` would find.

Source: IEEE 802.1Q; ovs-actions(7) `push_vlan`, `strip_vlan`.
"""

import numpy as np

from pktpath.batch import CHECKSUM_PARTIAL
from pktpath.jit import inlined
from pktpath.offload.head import fresh_head
from pktpath.pool import chunk_address
from pktpath.switch.rewrite_head import header_part, writable
from pktpath.wire import ethernet, link
from pktpath.wire.load import load16, load32, store16, store32
from pktpath.wire.parse import TAGGED


@inlined
def push_vlan(batch, i, tpid, tci):
    """Give frame `i` another outer tag; False where there is no room to put the one before into the bytes."""
    frame = batch.frames[i]
    if frame.vlan_proto != 0 and not insert_tag(batch, i):
        return False
    frame.vlan_proto = tpid
    frame.vlan_tci = tci
    return True


@inlined
def pop_vlan(batch, i):
    """Take the outer tag of frame `i` away, if there is one; False where there is no memory for a private header."""
    frame = batch.frames[i]
    if frame.vlan_proto != 0:
        frame.vlan_proto = 0
        frame.vlan_tci = 0
        return True
    if not tag_in_bytes(batch, i):
        return True
    if not writable(batch, i, np.int64(ethernet.LENGTH + ethernet.TAG_LENGTH)):
        return False
    _move_addresses(batch, i, np.int64(ethernet.TAG_LENGTH))
    if not tag_in_bytes(batch, i):
        frame.shape_flags &= ~np.uint16(TAGGED)
    return True


@inlined
def insert_tag(batch, i):
    """Put the tag out of line of frame `i`, if there is one, into its bytes.

    False, and nothing has changed, where there is no memory for a private header with room before it, or the frame
    is shorter than an Ethernet header.
    """
    frame = batch.frames[i]
    if frame.vlan_proto == 0:
        return True
    need = np.int64(ethernet.LENGTH)
    if frame.link != link.ETHERNET or frame.head_len < need or not writable(batch, i, need):
        return False
    before = frame.head_addr - chunk_address(batch.pool, np.int64(frame.head_chunk))
    if before < ethernet.TAG_LENGTH and not fresh_head(batch, i, header_part(batch, i, need)):
        return False
    tag = np.int64(frame.vlan_proto) << 16 | np.int64(frame.vlan_tci)
    _move_addresses(batch, i, np.int64(-ethernet.TAG_LENGTH))
    store32(batch.pool.mem, frame.head_addr + ethernet.ETHERTYPE, tag)
    frame.shape_flags |= np.uint16(TAGGED)
    frame.vlan_proto = 0
    frame.vlan_tci = 0
    return True


@inlined
def set_vlan_tci(batch, i, value, mask):
    """Write bits of the outer tag of frame `i`, wherever it stands; a frame without one stays as it is.

    `VLAN_PRESENT` of the key is the drop-eligible bit here: where the mask has it, it is cleared, as it is in a tag that
    Open vSwitch writes.
    """
    frame = batch.frames[i]
    value = value & mask & 0xEFFF
    keep = ~mask & 0xFFFF
    if frame.vlan_proto != 0:
        frame.vlan_tci = np.int64(frame.vlan_tci) & keep | value
        return True
    if not tag_in_bytes(batch, i):
        return True
    if not writable(batch, i, np.int64(ethernet.LENGTH + ethernet.TAG_LENGTH)):
        return False
    at = frame.head_addr + ethernet.LENGTH
    store16(batch.pool.mem, at, load16(batch.pool.mem, at) & keep | value)
    return True


@inlined
def tag_in_bytes(batch, i):
    """Whether a whole tag stands in the bytes of frame `i`."""
    frame = batch.frames[i]
    if frame.link != link.ETHERNET or frame.head_len < ethernet.LENGTH + ethernet.TAG_LENGTH:
        return False
    ethertype = load16(batch.pool.mem, frame.head_addr + ethernet.ETHERTYPE)
    return ethertype == ethernet.VLAN or ethertype == ethernet.QINQ


@inlined
def _move_addresses(batch, i, forward):
    """Move both Ethernet addresses of a private header `forward` bytes (4 or -4): the frame starts there."""
    frame = batch.frames[i]
    mem = batch.pool.mem
    at = frame.head_addr
    first, second, third = load32(mem, at), load32(mem, at + 4), load32(mem, at + 8)
    at += forward
    store32(mem, at, first)
    store32(mem, at + 4, second)
    store32(mem, at + 8, third)
    frame.head_addr = at
    frame.head_len -= forward
    frame.frame_len -= forward
    frame.wire_len -= forward
    frame.network_offset -= forward
    if frame.transport_offset > 0:
        frame.transport_offset -= forward
        frame.payload_offset -= forward
    if frame.ip_summed == CHECKSUM_PARTIAL:
        frame.csum_start -= forward
