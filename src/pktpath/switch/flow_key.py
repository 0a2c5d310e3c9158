"""The flow key of a frame: what a flow can match, taken from its bytes.

Enters: a parsed frame. Leaves: the words of its key (`switch.fields`). TCP and UDP over plain IPv4, which `wire.parse`
has proved, take a short way; everything else is read anew by the rules of Open vSwitch, which differ from ours at the
edges: one tag is looked through, 802.3 frames may hold IP behind SNAP, versions are not judged, padding is not read,
and a header that contradicts itself leaves the fields from there on zero.

Source: ovs-fields(7); what a real Open vSwitch 3.1 prints of the same frames.
"""

import numpy as np

from pktpath.batch import FRAMES
from pktpath.jit import inlined, kernel
from pktpath.switch.fields import FRAG_LATER, KEY_WORDS, SHORT_WORDS, VLAN_PRESENT
from pktpath.switch.ip_headers import behind_extensions, behind_snap, ipv4_frag, ipv4_lengths, ipv6_length, is_arp, is_discovery
from pktpath.wire import arp, ethernet, icmp, ipv4, ipv6, link, sctp, tcp, udp
from pktpath.wire.load import load8, load16, load32, load64
from pktpath.wire.parse import CUT, FRAGMENT, MALFORMED, TAGGED, ZERO_LENGTH

_TCP_FLAGS = 0x0FFF
_LABEL = 0xFFFFF
_HALF, _QUARTER = np.uint64(32), np.uint64(16)

# The bytes of `kind`: shape_flags, link, network, in the machine's order (little-endian: numba has no other target here).
_PLAIN_MASK = TAGGED | FRAGMENT | CUT | ZERO_LENGTH | MALFORMED | 0xFF << 16 | 0xFF << 24
_PLAIN = link.ETHERNET << 16 | 4 << 24


@kernel
def extract_keys(batch, keys, words):
    """Fill a row of `keys` (frames, KEY_WORDS) uint64 for each frame of a batch, and `words` with how many words count."""
    for i in range(batch.used[FRAMES]):
        words[i] = extract_key(batch, i, keys, i)


@inlined
def extract_key(batch, i, keys, k):
    """Write the key of parsed frame `i` into row `k` of `keys` and return how many words of it count.

    These are `SHORT_WORDS`, or `KEY_WORDS` where dl_type is that of IPv6, ARP or RARP: so word 0 alone decides it, and
    words from `SHORT_WORDS` on of a short key, which are zero by definition, are not written.
    """
    frame = batch.frames[np.uint64(i)]
    tag = np.int64(frame.tag)
    transport = np.int64(frame.transport_offset)
    if np.int64(frame.kind) & _PLAIN_MASK != _PLAIN or transport == 0:
        ethernet_here = frame.link == link.ETHERNET
        return extract_bytes(
            batch.pool.mem,
            frame.head_addr,
            np.int64(frame.head_len) if ethernet_here else np.int64(0),
            np.int64(frame.frame_len),
            np.int64(frame.in_port),
            tag,
            frame.gso_size > 0,
            keys,
            k,
        )
    mem = batch.pool.mem
    base = frame.head_addr
    at = base + ethernet.LENGTH
    row = np.uint64(k)
    protocol = np.int64(frame.protocol)
    flags = np.int64(0)
    if protocol == tcp.PROTOCOL:
        flags = (load16(mem, base + transport + tcp.FLAG_WORD) & _TCP_FLAGS) << 16
    lower = protocol << 16 | load8(mem, at + ipv4.TOS) << 8 | load8(mem, at + ipv4.TTL)
    keys[row, 0] = np.uint64(np.int64(frame.in_port) << 32 | ethernet.IPV4 << 16 | _tci(tag))
    keys[row, 1] = load64(mem, base)
    keys[row, 2] = np.uint64(load32(mem, base + 8)) << _HALF | np.uint64(lower)
    keys[row, 3] = load64(mem, at + ipv4.SOURCE)
    keys[row, 4] = np.uint64(load32(mem, base + transport)) << _HALF | np.uint64(flags)
    return SHORT_WORDS


@inlined
def _tci(tag):
    """Return vlan_tci of the key from the two descriptor fields of a tag out of line, read as one number."""
    return tag & 0xFFFF | VLAN_PRESENT if tag >> 16 else np.int64(0)


@kernel
def extract_bytes(mem, base, head, size, port, tag, whole, keys, k):
    """Write the key of the Ethernet frame whose first `head` of `size` bytes stand at `base`; return its words.

    `tag` is the tag out of line (descriptor field `tag`). Where `whole` is set, as for a super-frame, an IP length of 0
    means all that is there; else such a packet contradicts itself. What is not among the `head` bytes does not exist.
    """
    row = np.uint64(k)
    keys[row, 0] = np.uint64(port << 32)
    for word in range(1, SHORT_WORDS):
        keys[row, np.uint64(word)] = np.uint64(0)
    if head < ethernet.LENGTH:
        return SHORT_WORDS
    keys[row, 1] = load64(mem, base)
    keys[row, 2] = np.uint64(load32(mem, base + 8)) << _HALF
    tci = _tci(tag)
    offset = np.int64(ethernet.LENGTH)
    dl_type = load16(mem, base + ethernet.ETHERTYPE)
    if tci == 0 and (dl_type == ethernet.VLAN or dl_type == ethernet.QINQ) and offset + ethernet.TAG_LENGTH <= head:
        tci = load16(mem, base + offset) | VLAN_PRESENT
        dl_type = load16(mem, base + offset + 2)
        offset += ethernet.TAG_LENGTH
    if dl_type < ethernet.LEAST_ETHERTYPE:
        dl_type, offset = behind_snap(mem, base, head, offset)
    keys[row, 0] = np.uint64(port << 32 | dl_type << 16 | tci)
    if dl_type == ethernet.IPV4:
        _ipv4_words(mem, base, head, size, offset, whole, keys, row)
        return SHORT_WORDS
    if dl_type not in (ethernet.IPV6, ethernet.ARP, ethernet.RARP):
        return SHORT_WORDS
    for word in range(SHORT_WORDS, KEY_WORDS):
        keys[row, np.uint64(word)] = np.uint64(0)
    if dl_type == ethernet.IPV6:
        _ipv6_words(mem, base, head, size, offset, whole, keys, row)
    else:
        _arp_words(mem, base, head, offset, keys, row)
    return KEY_WORDS


@inlined
def _ipv4_words(mem, base, head, size, offset, whole, keys, row):
    at = base + offset
    header, length = ipv4_lengths(mem, at, head - offset, size - offset, whole)
    if length < 0:
        return
    frag = ipv4_frag(mem, at)
    protocol = load8(mem, at + ipv4.PROTOCOL)
    lower = frag << 24 | protocol << 16 | load8(mem, at + ipv4.TOS) << 8 | load8(mem, at + ipv4.TTL)
    keys[row, 2] |= np.uint64(lower)
    keys[row, 3] = load64(mem, at + ipv4.SOURCE)
    if frag & FRAG_LATER == 0:
        keys[row, 4] = _transport_word(mem, base + offset + header, base + min(head, offset + length), protocol)


@inlined
def _ipv6_words(mem, base, head, size, offset, whole, keys, row):
    at = base + offset
    length = ipv6_length(mem, at, head - offset, size - offset, whole)
    if length < 0:
        return
    for half in range(4):
        keys[row, np.uint64(5 + half)] = load64(mem, at + ipv6.SOURCE + 8 * half)
    end = base + min(head, offset + length)
    protocol, frag, transport, _ = behind_extensions(mem, at, end)
    if protocol < 0:
        return
    first = load32(mem, at)
    lower = frag << 24 | protocol << 16 | (first >> 20 & 0xFF) << 8 | load8(mem, at + ipv6.HOP_LIMIT)
    keys[row, 2] |= np.uint64(lower)
    keys[row, 9] = np.uint64(first & _LABEL) << _HALF
    if frag & FRAG_LATER == 0:
        keys[row, 4] = _transport_word(mem, transport, end, protocol)
        if protocol == icmp.ICMPV6:
            _discovery_words(mem, transport, end, keys, row)


@inlined
def _transport_word(mem, at, end, protocol):
    """Return word 4 of a key: ports and TCP flags, or type and code, of the transport header at `at`; else 0."""
    left = end - at
    if protocol == tcp.PROTOCOL and left >= tcp.LENGTH:
        flags = load16(mem, at + tcp.FLAG_WORD)
        header = (flags >> 12) * 4
        if header < tcp.LENGTH or header > left:
            return np.uint64(0)
        return np.uint64(load32(mem, at)) << _HALF | np.uint64((flags & _TCP_FLAGS) << 16)
    if (protocol == udp.PROTOCOL and left >= udp.LENGTH) or (protocol == sctp.PROTOCOL and left >= sctp.LENGTH):
        return np.uint64(load32(mem, at)) << _HALF
    if protocol in (icmp.ICMP, icmp.ICMPV6, icmp.IGMP) and left >= icmp.LENGTH:
        return np.uint64(load8(mem, at + icmp.TYPE) << 16 | load8(mem, at + icmp.CODE)) << _HALF
    return np.uint64(0)


@inlined
def _discovery_words(mem, at, end, keys, row):
    """Fill target and link-layer addresses of a neighbour solicitation or advertisement that is ICMPv6 at `at`."""
    if not is_discovery(mem, at, end):
        return
    source = target = np.uint64(0)
    option = at + icmp.OPTIONS
    while option + icmp.OPTION_UNIT <= end:
        length = load8(mem, option + 1) * icmp.OPTION_UNIT
        if length == 0 or option + length > end:
            break
        name = load8(mem, option)
        if length == icmp.OPTION_UNIT and (name == icmp.SOURCE_MAC or name == icmp.TARGET_MAC):
            # The same address twice is an error, and then nothing counts; zeros are none.
            address = load64(mem, option) << _QUARTER
            if (source if name == icmp.SOURCE_MAC else target) != np.uint64(0):
                return
            if name == icmp.SOURCE_MAC:
                source = address
            else:
                target = address
        option += length
    keys[row, 10] = source
    keys[row, 11] = target
    keys[row, 12] = load64(mem, at + icmp.TARGET)
    keys[row, 13] = load64(mem, at + icmp.TARGET + 8)


@inlined
def _arp_words(mem, base, head, offset, keys, row):
    at = base + offset
    if not is_arp(mem, at, head - offset):
        return
    operation = load16(mem, at + arp.OPERATION)
    if operation <= 0xFF:
        keys[row, 2] |= np.uint64(operation << 16)
    keys[row, 3] = np.uint64(load32(mem, at + arp.SENDER_IP)) << _HALF | np.uint64(load32(mem, at + arp.TARGET_IP))
    keys[row, 10] = load64(mem, at + arp.SENDER_MAC) >> _QUARTER << _QUARTER
    keys[row, 11] = load64(mem, at + arp.TARGET_MAC) >> _QUARTER << _QUARTER
