"""Receive-side scaling: the Toeplitz hash that a device computes, and the queue that it leads to.

Enters: parsed frames. Leaves: their `hash`. Addresses count as they stand in the IP header: Microsoft's variants that
take them from an IPv6 home address option or routing header are not offered, as Linux drivers do not.

Source: Microsoft's RSS hashing functions and types; ethtool(8); Documentation/networking/scaling.rst.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pktpath.jit import inlined, kernel
from pktpath.offload.rss_fold import finish, fold_pair, fold_value, key_tables, key_windows
from pktpath.offload.rss_headers import locate
from pktpath.offload.rss_key import DEFAULT_KEY, HASH_FIELDS, SYMMETRIC_KEY, check_fields, check_key, check_size
from pktpath.wire import ipv4, ipv6, tcp, udp
from pktpath.wire.load import load32
from pktpath.wire.parse import FRAGMENT

__all__ = ["DEFAULT_KEY", "HASH_FIELDS", "SYMMETRIC_KEY", "Rss", "make_rss", "queue_of", "rss_frame", "rss_hash"]

SOURCE, DESTINATION, FIRST_PORT, SECOND_PORT = 1, 2, 4, 8
ADDRESSES, PORTS = SOURCE | DESTINATION, FIRST_PORT | SECOND_PORT
"""Bits of a choice of fields."""
_LETTERS = {"s": SOURCE, "d": DESTINATION, "f": FIRST_PORT, "n": SECOND_PORT}
_PROTOCOLS = ("tcp4", "udp4", "sctp4", "tcp6", "udp6", "sctp6")


class Rss(NamedTuple):
    """What a device was told: key, fields, indirection table; kernels take it as one argument."""

    windows: NDArray[np.uint64]
    """What `rss_fold` multiplies with."""
    tables: NDArray[np.uint32]
    """What it looks up where it does not multiply."""
    indirection: NDArray[np.int32]
    """(a power of two,) queue of each value of the hash's low bits."""
    mask: int
    """Which bits these are."""
    choices: NDArray[np.int64]
    """(6,) fields of TCP, UDP and SCTP over IPv4, then over IPv6."""
    inner: bool
    """Whether the header inside of a tunnel is hashed."""
    whole: NDArray[np.uint8]
    """(256,) by protocol: bit 4 where addresses and both ports over IPv4 are hashed, whatever is inside; bit 6 over IPv6."""


def make_rss(
    key: bytes = DEFAULT_KEY, indirection: Sequence[int] = (0,), fields: Mapping[str, str] = HASH_FIELDS, inner: bool = False
) -> Rss:
    """Prepare a key, an indirection table and fields.

    Args:
        key: 40 or 52 bytes; the longest input needs the first 40.
        indirection: the queue of each entry; a power of two of them.
        fields: letters of `ethtool -N DEV rx-flow-hash` by protocol, `HASH_FIELDS` for those that are not given. What is
            chosen makes the input, in the order s, d, f, n and without gaps; an empty word means no hash.
        inner: hash the header inside of VXLAN, Geneve, GRE and IP in IP where there is one.

    Raises:
        BadInput: a key or table of a length that is not possible, an unknown protocol or letter.

    """
    check_key(key)
    check_size(len(indirection))
    words = check_fields(fields)
    choices = [sum(_LETTERS[letter] for letter in set(words[protocol])) for protocol in _PROTOCOLS]
    whole = np.zeros(256, np.uint8)
    for protocol in (tcp.PROTOCOL,) if inner else (tcp.PROTOCOL, udp.PROTOCOL):
        row = 0 if protocol == tcp.PROTOCOL else 1
        whole[protocol] = sum(bit for bit, at in ((1 << 4, row), (1 << 6, row + 3)) if choices[at] == ADDRESSES | PORTS)
    return Rss(
        windows=key_windows(key),
        tables=key_tables(key),
        indirection=np.array(indirection, np.int32),
        mask=len(indirection) - 1,
        choices=np.array(choices, np.int64),
        inner=bool(inner),
        whole=whole,
    )


@kernel
def rss_hash(batch, first, last, rss):
    """Fill `hash` of frames `first` to `last` (excluded) as a device does: 0 where it hashes nothing.

    IP fragments, the first one too, and other protocols than TCP, UDP and SCTP are hashed by their addresses.
    """
    for i in range(first, last):
        batch.frames[np.uint64(i)].hash = rss_frame(batch, np.uint64(i), rss)


@inlined
def rss_frame(batch, i, rss):
    """Return the hash of frame `i` (see `rss_hash`)."""
    frame = batch.frames[i]
    transport = np.int64(frame.transport_offset)
    network = np.int64(frame.network)
    # What nearly all frames are: proved by parsing, hashed whole.
    if transport > 0 and not frame.shape_flags & FRAGMENT and np.int64(rss.whole[np.uint64(frame.protocol)]) >> network & 1:
        at = frame.head_addr + np.int64(frame.network_offset)
        mem = batch.pool.mem
        ports = load32(mem, frame.head_addr + transport)
        if network == 4:
            return finish(fold_pair(rss, 0, mem, at + ipv4.SOURCE) ^ fold_value(rss, 2, ports))
        return finish(_both_ipv6(rss, mem, at) ^ fold_value(rss, 8, ports))
    return _any_frame(batch, i, rss)


@inlined
def _both_ipv6(rss, mem, at):
    """What both addresses of the IPv6 header at `at` add."""
    source = fold_pair(rss, 0, mem, at + ipv6.SOURCE) ^ fold_pair(rss, 2, mem, at + ipv6.SOURCE + 8)
    return source ^ fold_pair(rss, 4, mem, at + ipv6.DESTINATION) ^ fold_pair(rss, 6, mem, at + ipv6.DESTINATION + 8)


@inlined
def _any_frame(batch, i, rss):
    """Return the hash of a frame of any kind."""
    network, at, protocol, ports, _ = locate(batch, i, rss.inner)
    if network == 0:
        return np.int64(0)
    mem = batch.pool.mem
    fields = fields_of(rss, network, protocol, ports)
    total, word = np.uint64(0), 0
    if network == 4:
        if fields & SOURCE:
            total = fold_value(rss, 0, load32(mem, at + ipv4.SOURCE))
            word = 1
        if fields & DESTINATION:
            total ^= fold_value(rss, word, load32(mem, at + ipv4.DESTINATION))
            word += 1
    else:
        if fields & SOURCE:
            total = fold_pair(rss, 0, mem, at + ipv6.SOURCE) ^ fold_pair(rss, 2, mem, at + ipv6.SOURCE + 8)
            word = 4
        if fields & DESTINATION:
            total ^= fold_pair(rss, word, mem, at + ipv6.DESTINATION) ^ fold_pair(rss, word + 2, mem, at + ipv6.DESTINATION + 8)
            word += 4
    if fields & PORTS:
        total ^= fold_value(rss, word, chosen_ports(fields, load32(mem, ports)))
    return finish(total)


@inlined
def fields_of(rss, network, protocol, ports):
    """Return the bits of the fields that a packet is hashed by; `ports` is not positive where it shows none."""
    if ports <= 0:
        return np.int64(ADDRESSES)
    row = 0 if network == 4 else 3
    if protocol == udp.PROTOCOL:
        row += 1
    elif protocol != tcp.PROTOCOL:
        row += 2
    return rss.choices[np.uint64(row)]


@inlined
def chosen_ports(fields, value):
    """Return the word of input that two ports make: both, or the chosen one as its first half."""
    if fields & PORTS == FIRST_PORT:
        return value & 0xFFFF0000
    if fields & PORTS == SECOND_PORT:
        return value << 16 & 0xFFFF0000
    return value


@inlined
def queue_of(rss, value):
    """Return the queue of a frame with this hash; without a hash, 0, a frame goes to queue 0 whatever the table says."""
    if value == 0:
        return np.int64(0)
    return np.int64(rss.indirection[np.uint64(value & rss.mask)])
