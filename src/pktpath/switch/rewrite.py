"""What actions do to one frame of a batch: its tags, its fields, their checksums.

Enters: a frame as `wire.parse` left it, `batch, i`. Leaves: the same frame changed, its descriptor what `wire.parse` would
find, or False: no memory, the frame is as it was before this action and the caller drops it. Nobody else's bytes
change: shared and read-only headers are copied first. No payload is touched or read.

Checksums are updated, not made: one that was wrong stays wrong. `hash` stays, it tells which flow the frame came with;
`payload_sum` and the gso fields are about the payload, which no field is part of.

Source: RFC 1624; ovs-actions(7); OVS's odp-execute for what is written where.
"""

import numpy as np

from pktpath.batch import CHECKSUM_PARTIAL
from pktpath.jit import inlined, kernel
from pktpath.switch.actions import SETTABLE, Operation
from pktpath.switch.ip_headers import is_discovery
from pktpath.switch.rewrite_head import clone_frame, writable
from pktpath.switch.rewrite_place import discovery_option, headers_of
from pktpath.switch.rewrite_vlan import insert_tag, pop_vlan, push_vlan, set_vlan_tci
from pktpath.wire import arp, ethernet, icmp, ipv4, ipv6, link, sctp, tcp, udp
from pktpath.wire.checksum import fold
from pktpath.wire.crc32c import crc_of_change
from pktpath.wire.load import load16, load32, store16, store32

_PUSH_VLAN, _POP_VLAN = int(Operation.PUSH_VLAN), int(Operation.POP_VLAN)
_SET, _SET_HIGH = int(Operation.SET), int(Operation.SET_HIGH)
(
    _DL_DST, _DL_SRC, _VLAN_TCI, _NW_SRC, _NW_DST, _NW_TOS, _NW_TTL, _IPV6_SRC, _IPV6_DST, _IPV6_LABEL,
    _TP_SRC, _TP_DST, _NW_PROTO, _ARP_SHA, _ARP_THA, _ND_TARGET,
) = range(len(SETTABLE))  # fmt: skip

_NO_SUM, _PSEUDO, _OWN = 0, 1, 2
"""How a field counts in the transport's checksum: not, as part of the pseudo-header, as part of the transport."""
_WORD = 0xFFFFFFFF

CLONE = 100
"""`rewrite_frame` only: run `clone_frame`."""
INSERT_TAG = 101
"""`rewrite_frame` only: run `insert_tag`."""
WRITABLE = 102
"""`rewrite_frame` only: run `writable`; a: bytes needed."""


@kernel
def rewrite_frame(batch, i, operation, a, b, c):
    """Run one operation on frame `i` from Python: a row of a program, or `CLONE`, `INSERT_TAG`, `WRITABLE`.

    Returns whether there was memory for it; `CLONE` the index of the new frame, or -1.
    """
    if operation == CLONE:
        return clone_frame(batch, i)
    if operation == INSERT_TAG:
        return np.int64(insert_tag(batch, i))
    if operation == WRITABLE:
        return np.int64(writable(batch, i, a))
    return np.int64(run_row(batch, i, operation, a, b, c))


@inlined
def run_row(batch, i, operation, a, b, c):
    """Run a row of a program (`switch.actions`) that changes frame `i`; other operations do nothing.

    False where there is no memory: the frame must be dropped.
    """
    if operation == _SET or operation == _SET_HIGH:
        return set_field(batch, i, a, b, c, operation == _SET_HIGH)
    if operation == _PUSH_VLAN:
        return push_vlan(batch, i, a, b)
    if operation == _POP_VLAN:
        return pop_vlan(batch, i)
    return True


@inlined
def set_field(batch, i, index, value, mask, high):
    """Write the bits `mask` of field `SETTABLE[index]` of frame `i`; `high`: of its upper 64 bits.

    A frame without that field (other protocol, later fragment, header that contradicts itself) stays as it is. SCTP's
    CRC32c is corrected; in a first fragment it cannot be, and the receiver will find it wrong. False: no memory.
    """
    if index == _VLAN_TCI:
        return set_vlan_tci(batch, i, value, mask)
    frame = batch.frames[i]
    mem = batch.pool.mem
    base = frame.head_addr
    if index == _DL_DST or index == _DL_SRC:
        if frame.link != link.ETHERNET or frame.head_len < ethernet.LENGTH:
            return True
        at = base + (ethernet.DESTINATION if index == _DL_DST else ethernet.SOURCE)
        new_upper, new_lower = _changed(mem, at, np.int64(6), value, mask)
        if _same(mem, at, np.int64(6), new_upper, new_lower):
            return True
        if not writable(batch, i, np.int64(ethernet.LENGTH)):
            return False
        _store(mem, at - base + frame.head_addr, np.int64(6), new_upper, new_lower)
        return True
    kind, network, protocol, transport, end, left, routed = headers_of(batch, i)
    at, width, shift, bits, counts = _place_of(mem, index, high, kind, network, protocol, transport, end)
    if at == 0:
        return True
    if index == _NW_PROTO:
        # To the key an opcode beyond 255 is 0, so whoever writes one writes all 16 bits of it.
        value, mask = value & mask & 0xFF, np.int64(0xFF00 if mask & 0xFF else 0) | mask & 0xFF
    new_upper, new_lower = _changed(mem, at, width, value << shift, (mask & bits) << shift)
    if _same(mem, at, width, new_upper, new_lower):
        return True
    if counts == _PSEUDO and routed and index == _IPV6_DST:
        counts = _NO_SUM
    field = _checksum_field(kind, protocol, transport, end, counts)
    last = field + (4 if protocol == sctp.PROTOCOL else 2)
    if not writable(batch, i, max(at + width, network + ipv4.CHECKSUM + 2, last) - base):
        return False
    moved = frame.head_addr - base
    at += moved
    upper, lower = _pair(mem, at, width)
    _store(mem, at, width, new_upper, new_lower)
    change = fold((upper ^ _WORD) + new_upper + (lower ^ _WORD) + new_lower)
    if kind == ethernet.IPV4 and at < network + moved + ipv4.LENGTH:
        _update(mem, network + moved + ipv4.CHECKSUM, change)
    if field == 0:
        return True
    partial = frame.ip_summed == CHECKSUM_PARTIAL and base + frame.csum_start == transport
    if protocol == sctp.PROTOCOL:
        if left > 0 and not partial:
            # Both ports are the first four bytes of what is summed.
            before = (lower ^ new_lower) << (16 if index == _TP_SRC else 0)
            crc = load32(mem, field + moved) ^ crc_of_change(before, left)
            store32(mem, field + moved, crc)
    elif partial:
        if counts == _PSEUDO:
            store16(mem, field + moved, fold(load16(mem, field + moved) + change))
    elif protocol == udp.PROTOCOL:
        if load16(mem, field + moved) != 0:
            _update(mem, field + moved, change)
            if load16(mem, field + moved) == 0:
                store16(mem, field + moved, np.int64(0xFFFF))
    else:
        _update(mem, field + moved, change)
    return True


@inlined
def _place_of(mem, index, high, kind, network, protocol, transport, end):
    """Return where the bits of a field are.

    (address or 0, width in bytes, how far to shift a value up, the bits that a value can have, how the transport's
    checksum counts it)
    """
    nowhere = np.int64(0)
    at = nowhere
    width = np.int64(4)
    shift = np.int64(0)
    bits = np.int64(-1)
    octet = np.int64(0xFF)
    counts = np.int64(_NO_SUM)
    half = np.int64(0) if high else np.int64(8)
    if kind == ethernet.IPV4:
        if index == _NW_SRC or index == _NW_DST:
            at = network + (ipv4.SOURCE if index == _NW_SRC else ipv4.DESTINATION)
            counts = np.int64(_PSEUDO)
        elif index == _NW_TOS:
            at, width, bits = network, np.int64(2), octet
        elif index == _NW_TTL:
            at, width, shift, bits = network + ipv4.TTL, np.int64(2), np.int64(8), octet
    elif kind == ethernet.IPV6:
        if index == _IPV6_SRC or index == _IPV6_DST:
            at, width = network + (ipv6.SOURCE if index == _IPV6_SRC else ipv6.DESTINATION) + half, np.int64(8)
            counts = np.int64(_PSEUDO)
        elif index == _NW_TOS:
            at, shift, bits = network, np.int64(20), octet
        elif index == _NW_TTL:
            at, width, bits = network + ipv6.NEXT_HEADER, np.int64(2), octet
        elif index == _IPV6_LABEL:
            at, bits = network, np.int64(0xFFFFF)
    elif kind == ethernet.ARP:
        if index == _NW_SRC or index == _NW_DST:
            at = network + (arp.SENDER_IP if index == _NW_SRC else arp.TARGET_IP)
        elif index == _NW_PROTO:
            at, width = network + arp.OPERATION, np.int64(2)
        elif index == _ARP_SHA or index == _ARP_THA:
            at, width = network + (arp.SENDER_MAC if index == _ARP_SHA else arp.TARGET_MAC), np.int64(6)
    if at == 0 and transport > 0:
        counts = np.int64(_OWN)
        here = _checksum_field(kind, protocol, transport, end, counts) > 0
        messages = here and (protocol == icmp.ICMP or protocol == icmp.ICMPV6)
        discovery = here and protocol == icmp.ICMPV6 and is_discovery(mem, transport, end)
        if (index == _TP_SRC or index == _TP_DST) and here:
            width = np.int64(2)
            if messages:
                at, shift, bits = transport, np.int64(8 if index == _TP_SRC else 0), octet
            else:
                at = transport + (0 if index == _TP_SRC else 2)
        elif (index == _ARP_SHA or index == _ARP_THA) and discovery:
            wanted = icmp.SOURCE_MAC if index == _ARP_SHA else icmp.TARGET_MAC
            at, width = discovery_option(mem, transport, end, wanted), np.int64(6)
        elif index == _ND_TARGET and discovery:
            at, width = transport + icmp.TARGET + half, np.int64(8)
    return at, width, shift, bits, counts


@inlined
def _checksum_field(kind, protocol, transport, end, counts):
    """Return the address of the transport checksum that a field counts in, or 0."""
    nothing = np.int64(0)
    if transport == 0 or counts == _NO_SUM:
        return nothing
    if protocol == tcp.PROTOCOL:
        return transport + tcp.CHECKSUM if transport + tcp.LENGTH <= end else nothing
    if protocol == udp.PROTOCOL:
        return transport + udp.CHECKSUM if transport + udp.LENGTH <= end else nothing
    if protocol == icmp.ICMPV6 and kind == ethernet.IPV6:
        return transport + icmp.CHECKSUM if transport + icmp.LENGTH <= end else nothing
    if counts == _PSEUDO:
        return nothing
    if protocol == icmp.ICMP and kind == ethernet.IPV4:
        return transport + icmp.CHECKSUM if transport + icmp.LENGTH <= end else nothing
    if protocol == sctp.PROTOCOL:
        return transport + sctp.CHECKSUM if transport + sctp.LENGTH <= end else nothing
    return nothing


@inlined
def _update(mem, at, change):
    """Add a folded change to the complemented checksum at `at`."""
    store16(mem, at, 0xFFFF - fold(0xFFFF - load16(mem, at) + change))


@inlined
def _pair(mem, at, width):
    """Return the 2, 4, 6 or 8 bytes at `at` as two numbers, the lower one of at most 32 bits."""
    if width == 2:
        return np.int64(0), load16(mem, at)
    if width == 4:
        return np.int64(0), load32(mem, at)
    if width == 6:
        return load16(mem, at), load32(mem, at + 2)
    return load32(mem, at), load32(mem, at + 4)


@inlined
def _changed(mem, at, width, value, mask):
    """Return the pair that stands at `at` with the bits `mask` taken from `value`."""
    upper, lower = _pair(mem, at, width)
    upper_mask = mask >> 32 & (0xFFFF if width == 6 else _WORD if width == 8 else 0)
    lower_mask = mask & (0xFFFF if width == 2 else _WORD)
    return upper & ~upper_mask | value >> 32 & upper_mask, lower & ~lower_mask | value & lower_mask


@inlined
def _same(mem, at, width, upper, lower):
    old_upper, old_lower = _pair(mem, at, width)
    return old_upper == upper and old_lower == lower


@inlined
def _store(mem, at, width, upper, lower):
    if width == 2:
        store16(mem, at, lower)
    elif width == 4:
        store32(mem, at, lower)
    elif width == 6:
        store16(mem, at, upper)
        store32(mem, at + 2, lower)
    else:
        store32(mem, at, upper)
        store32(mem, at + 4, lower)
