"""Flows of a capture and what a hash makes of them: a compiled table that grows, and sums by queue.

A flow is what the device can tell apart: addresses, protocol and ports of the header that is hashed; of IP fragments the
addresses and the protocol. Sums by queue and by entry of the indirection table count every frame, also when the
table of flows is full.
"""

import os
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pktpath.jit import inlined, kernel
from pktpath.offload.rss import DESTINATION, PORTS, SOURCE, chosen_ports, fields_of, queue_of
from pktpath.offload.rss_fold import finish, fold_value
from pktpath.offload.rss_headers import IN_FRAGMENT, NO_TUNNEL, locate, tunnel_of
from pktpath.offload.rss_key import MOST_QUEUES
from pktpath.wire import ethernet, ipv4, ipv6, link, udp
from pktpath.wire.load import load16, load32

FIRST_FLOWS = 1 << 14
MOST_FLOWS = 1 << 22
"""Room for flows at first and at most: 56 bytes each, and as many in a table of twice so many places."""


class Cause(IntEnum):
    """By what a frame is hashed, and why by no more."""

    PORTS = 0
    """By its ports, as far as they are chosen, and addresses."""
    NO_IP = 1
    """Not at all: no IP header."""
    NO_FIELDS = 2
    """Not at all: no field is chosen for its protocol."""
    FRAGMENT = 3
    """By its addresses: an IP fragment."""
    VXLAN = 4
    """By the header outside of a tunnel; also the next three."""
    GENEVE = 5
    GRE = 6
    IP_IN_IP = 7
    UDP_ADDRESSES = 8
    """By its addresses: no port of UDP is chosen."""
    ADDRESSES = 9
    """By its addresses: no port of TCP or SCTP is chosen."""
    OTHER_PROTOCOL = 10
    """By its addresses: a protocol without ports, or ports that are not here."""
    CUT = 11
    """Not at all here: a snaplen left no IP header of what was IP on the wire, or may have been."""


CAUSES = len(Cause)
_BY_PORTS, _NO_IP, _NO_FIELDS, _FRAGMENT, _FIRST_TUNNEL = 0, 1, 2, 3, 4
_UDP_ADDRESSES, _BY_ADDRESSES, _OTHER_PROTOCOL, _CUT = 8, 9, 10, 11
TUNNEL_CAUSES = (Cause.VXLAN, Cause.GENEVE, Cause.GRE, Cause.IP_IN_IP)

NOW, INNER, UDP_PORTS = 0, 1, 2
"""Ways to hash the same capture: as it was asked, with the headers inside of tunnels, and with the ports of UDP."""
WAYS = 3
FRAMES, BYTES = 0, 1
"""What is summed."""

# The last word of a key: ports, protocol, network, whether a fragment, the tunnel outside.
_NETWORK_SHIFT, _PROTOCOL_SHIFT, _PORTS_SHIFT = np.uint64(4), np.uint64(8), np.uint64(32)
_FRAGMENT_BIT, _NO_PORTS_BIT, _TUNNEL_BITS = np.uint64(8), np.uint64(1 << 16), np.uint64(7)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


class Flows(NamedTuple):
    """A table of flows in the order of their first frames; compiled code fills it."""

    slots: NDArray[np.int32]
    """Hash table of row numbers, -1 where free."""
    used: NDArray[np.int64]
    """(1,) rows in use."""
    seed: NDArray[np.uint64]
    """(1,) so that nobody can choose flows that meet in the table; no result depends on it."""
    keys: NDArray[np.uint64]
    """(rows, 5) addresses, and what `describe` takes apart."""
    counts: NDArray[np.int64]
    """(rows, 2) frames and bytes."""


class Tally(NamedTuple):
    """Sums over all frames."""

    queues: NDArray[np.int64]
    """(ways, causes, queues, 2) frames and bytes; the causes are those of the first way in all of them."""
    buckets: NDArray[np.int64]
    """(entries of the indirection table, 2) of hashed frames."""
    unhashed: NDArray[np.int64]
    """(2,) of the other frames, which go to queue 0."""
    untold: NDArray[np.int64]
    """(2,) of frames whose flow found no room in the table."""


class Flow(NamedTuple):
    """A flow in words."""

    network: int
    """4, 6, or 0 for what is not IP."""
    protocol: int
    fragment: bool
    tunnel: int
    """The tunnel that the frame is (outer header) or came in (inner header): a member of `rss_headers.TUNNELS`."""
    addresses: tuple[bytes, bytes]
    ports: tuple[int, int] | None
    """None where the flow has none; of what is not IP (ethertype, 0)."""


def make_flows(rows: int = FIRST_FLOWS) -> Flows:
    """Make an empty table with room for so many flows."""
    return Flows(
        slots=np.full(2 * rows, -1, np.int32),
        used=np.zeros(1, np.int64),
        seed=np.frombuffer(os.urandom(8), np.uint64).copy(),
        keys=np.zeros((rows, 5), np.uint64),
        counts=np.zeros((rows, 2), np.int64),
    )


def grown(flows: Flows) -> Flows:
    """Return the same flows in a table of twice the size."""
    rows = len(flows.keys)
    wide = make_flows(2 * rows)
    wide.used[0] = flows.used[0]
    wide.keys[:rows] = flows.keys
    wide.counts[:rows] = flows.counts
    enter_again(wide)
    return wide


def make_tally(size: int) -> Tally:
    """Make sums of nothing for an indirection table of so many entries."""
    return Tally(
        queues=np.zeros((WAYS, CAUSES, MOST_QUEUES, 2), np.int64),
        buckets=np.zeros((size, 2), np.int64),
        unhashed=np.zeros(2, np.int64),
        untold=np.zeros(2, np.int64),
    )


@kernel
def enter_again(flows):
    """Enter every row into the empty places of a table."""
    mask = len(flows.slots) - 1
    for row in range(flows.used[0]):
        slot = np.int64(_mixed(flows, flows.keys[row, 0], flows.keys[row, 1], flows.keys[row, 2], flows.keys[row, 3],
                               flows.keys[row, 4]) & np.uint64(mask))  # fmt: skip
        while flows.slots[slot] >= 0:
            slot = (slot + 1) & mask
        flows.slots[slot] = row


@kernel
def account(batch, first, last, hashes, rss, flows, tally, whole):
    """Count frames `first` to `last` (excluded); return where it stopped because the table is full.

    Args:
        hashes: (WAYS, frames) of each frame by each way.
        rss: what the first way is.
        whole: the table cannot grow: count what finds no room as untold, and go on.

    """
    for i in range(first, last):
        a, b, c, d, e = _key(batch, i, rss.inner)
        row = _row(flows, a, b, c, d, e)
        length = np.int64(batch.frames[i].wire_len)
        if row >= 0:
            flows.counts[row, 0] += 1
            flows.counts[row, 1] += length
        elif whole:
            tally.untold[0] += 1
            tally.untold[1] += length
        else:
            return i
        cause = _cause(batch, i, rss)
        for way in range(WAYS):
            queue = queue_of(rss, np.int64(hashes[way, i]))
            tally.queues[way, cause, queue, 0] += 1
            tally.queues[way, cause, queue, 1] += length
        value = np.int64(hashes[0, i])
        if value == 0:
            tally.unhashed[0] += 1
            tally.unhashed[1] += length
        else:
            tally.buckets[value & rss.mask, 0] += 1
            tally.buckets[value & rss.mask, 1] += length
    return last


@inlined
def _key(batch, i, inner):
    """Return the five words that tell the flow of frame `i` from others."""
    mem = batch.pool.mem
    network, at, protocol, ports, tunnel = locate(batch, i, inner)
    zero = np.uint64(0)
    if network == 0:
        return zero, zero, zero, zero, np.uint64(_ethertype(batch, i) << 16) << _PORTS_SHIFT
    if not inner:
        tunnel = tunnel_of(batch, i)
    last = np.uint64(tunnel) | np.uint64(network) << _NETWORK_SHIFT | np.uint64(protocol) << _PROTOCOL_SHIFT
    if ports > 0:
        last |= np.uint64(load32(mem, ports)) << _PORTS_SHIFT
    else:
        last |= _NO_PORTS_BIT
        if ports == IN_FRAGMENT:
            last |= _FRAGMENT_BIT
    if network == 4:
        pair = np.uint64(load32(mem, at + ipv4.SOURCE)) << _HALF | np.uint64(load32(mem, at + ipv4.DESTINATION))
        return pair, zero, zero, zero, last
    return (
        _long(mem, at + ipv6.SOURCE),
        _long(mem, at + ipv6.SOURCE + 8),
        _long(mem, at + ipv6.DESTINATION),
        _long(mem, at + ipv6.DESTINATION + 8),
        last,
    )


@inlined
def _ethertype(batch, i):
    """The ethertype of frame `i`, 0 where its link header has none or is cut."""
    frame = batch.frames[i]
    if frame.network_offset >= ethernet.LENGTH and (frame.link == link.ETHERNET or frame.link == link.SLL):
        return load16(batch.pool.mem, frame.head_addr + np.int64(frame.network_offset) - 2)
    return np.int64(0)


@inlined
def _long(mem, at):
    return np.uint64(load32(mem, at)) << _HALF | np.uint64(load32(mem, at + 4))


@inlined
def _mixed(flows, a, b, c, d, e):
    """Stir five words and the seed."""
    value = flows.seed[0]
    for word in (a, b, c, d, e):
        value = (value ^ word) * np.uint64(0x9FB21C651E98DF25)
        value ^= value >> np.uint64(32)
    return value


@inlined
def _slot(flows, a, b, c, d, e):
    """Slot that the flow with this key has, or would have."""
    mask = len(flows.slots) - 1
    slot = np.int64(_mixed(flows, a, b, c, d, e) & np.uint64(mask))
    keys = flows.keys
    while flows.slots[slot] >= 0:
        row = np.int64(flows.slots[slot])
        if keys[row, 0] == a and keys[row, 4] == e and keys[row, 1] == b and keys[row, 2] == c and keys[row, 3] == d:
            break
        slot = (slot + 1) & mask
    return slot


@inlined
def _row(flows, a, b, c, d, e):
    """Row of the flow with this key, a new one if there is room, else -1."""
    slot = _slot(flows, a, b, c, d, e)
    row = np.int64(flows.slots[slot])
    keys = flows.keys
    if row >= 0 or flows.used[0] == len(keys):
        return row
    row = np.int64(flows.used[0])
    flows.used[0] = row + 1
    flows.slots[slot] = row
    keys[row, 0] = a
    keys[row, 1] = b
    keys[row, 2] = c
    keys[row, 3] = d
    keys[row, 4] = e
    return row


@inlined
def _cause(batch, i, rss):
    """Return by what frame `i` is hashed: a `Cause`."""
    network, _, protocol, ports, _ = locate(batch, i, rss.inner)
    if network == 0:
        frame = batch.frames[i]
        if frame.wire_len <= frame.frame_len:
            return _NO_IP
        kind = _ethertype(batch, i)
        return _CUT if kind in (0, ethernet.IPV4, ethernet.IPV6) else _NO_IP
    if ports == IN_FRAGMENT:
        return _FRAGMENT
    fields = fields_of(rss, network, protocol, ports)
    if fields == 0:
        return _NO_FIELDS
    if not rss.inner:
        outside = tunnel_of(batch, i)
        if outside != NO_TUNNEL:
            return _FIRST_TUNNEL + outside - 1
    if ports == 0:
        return _OTHER_PROTOCOL
    if fields & PORTS:
        return _BY_PORTS
    return _UDP_ADDRESSES if protocol == udp.PROTOCOL else _BY_ADDRESSES


@kernel
def flow_hashes(flows, rss, hashes):
    """Fill `hashes` with that of each flow: what each of its frames has."""
    for row in range(flows.used[0]):
        last = flows.keys[row, 4]
        network = np.int64(last >> _NETWORK_SHIFT & np.uint64(15)) & 6
        if network == 0:
            hashes[row] = 0
            continue
        ports = np.int64(0) if last & _NO_PORTS_BIT else np.int64(1)
        fields = fields_of(rss, network, np.int64(last >> _PROTOCOL_SHIFT & np.uint64(0xFF)), ports)
        total, word = np.uint64(0), 0
        for side in range(2):
            if not fields & (SOURCE if side == 0 else DESTINATION):
                continue
            if network == 4:
                pair = flows.keys[row, 0]
                total ^= fold_value(rss, word, np.int64(pair >> _HALF if side == 0 else pair & _LOW))
                word += 1
            else:
                for k in range(2):
                    long = flows.keys[row, 2 * side + k]
                    total ^= fold_value(rss, word, np.int64(long >> _HALF)) ^ fold_value(rss, word + 1, np.int64(long & _LOW))
                    word += 2
        if fields & PORTS:
            total ^= fold_value(rss, word, chosen_ports(fields, np.int64(last >> _PORTS_SHIFT)))
        hashes[row] = finish(total)


@kernel
def count_pairs(flows, hashes, rss):
    """Return how many connections have flows in both directions, and of how many these are on one queue."""
    pairs = np.int64(0)
    together = np.int64(0)
    for row in range(flows.used[0]):
        a, b, c, d, e = (
            flows.keys[row, 0], flows.keys[row, 1], flows.keys[row, 2], flows.keys[row, 3], flows.keys[row, 4]
        )  # fmt: skip
        network = np.int64(e >> _NETWORK_SHIFT & np.uint64(15)) & 6
        if network == 0 or e & _NO_PORTS_BIT:
            continue
        turned = e & _LOW | (e >> _PORTS_SHIFT & np.uint64(0xFFFF)) << np.uint64(48) | e >> np.uint64(48) << _PORTS_SHIFT
        if network == 4:
            other = np.int64(flows.slots[_slot(flows, a >> _HALF | a << _HALF, b, c, d, turned)])
        else:
            other = np.int64(flows.slots[_slot(flows, c, d, a, b, turned)])
        if other > row:
            pairs += 1
            together += queue_of(rss, np.int64(hashes[row])) == queue_of(rss, np.int64(hashes[other]))
    return pairs, together


@kernel
def bucket_loads(flows, unit, hashes, mask, loads):
    """Sum `counts[:, unit]` of the flows by the low bits of their hashes; return the sum of those without a hash."""
    loads[:] = 0
    unhashed = np.int64(0)
    for row in range(flows.used[0]):
        value = np.int64(hashes[row])
        if value == 0:
            unhashed += flows.counts[row, unit]
        else:
            loads[value & mask] += flows.counts[row, unit]
    return unhashed


def describe(flows: Flows, row: int) -> Flow:
    """Take the key of a flow apart."""
    words = [int(word) for word in flows.keys[row]]
    last = words[4]
    network = last >> 4 & 6
    ports = None if last & int(_NO_PORTS_BIT) else (last >> 48, last >> 32 & 0xFFFF)
    if network == 4:
        both = words[0].to_bytes(8, "big")
    else:
        both = b"".join(word.to_bytes(8, "big") for word in words[:4])
    half = len(both) // 2
    return Flow(
        network=network,
        protocol=last >> 8 & 0xFF,
        fragment=bool(last & int(_FRAGMENT_BIT)),
        tunnel=last & int(_TUNNEL_BITS),
        addresses=(both[:half], both[half:]),
        ports=ports,
    )
