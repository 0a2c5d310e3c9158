"""What actions do to the bytes of a frame, and token buckets, from the rules: the twin of `switch.rewrite` and `switch.meter`."""

from support.naive_checksum import add

TAGS = (b"\x81\x00", b"\x88\xa8")


def push(data, tpid, tci):
    return data[:12] + tpid.to_bytes(2) + tci.to_bytes(2) + data[12:]


def pop(data):
    return data[:12] + data[16:] if data[12:14] in TAGS and len(data) >= 18 else data


def set_field(data, name, value, mask, *, partial=False, whole=False):
    """Return the frame with these bits of a field written and its checksums kept as right or wrong as they were.

    `partial`: the transport's checksum field holds the sum of the pseudo-header. `whole`: a super-frame.
    """
    if len(data) < 14:
        return data
    if name in ("dl_dst", "dl_src"):
        return write(data, 0 if name == "dl_dst" else 6, 6, value, mask)
    if name == "vlan_tci":
        if data[12:14] not in TAGS or len(data) < 18:
            return data
        return write(data, 14, 2, value & 0xEFFF, mask)
    at = 12
    while data[at : at + 2] in TAGS and len(data) >= at + 6:
        at += 4
    kind, at = int.from_bytes(data[at : at + 2]), at + 2
    if kind < 0x600 and data[at : at + 6] == b"\xaa\xaa\x03\0\0\0" and len(data) >= at + 8:
        kind, at = int.from_bytes(data[at + 6 : at + 8]), at + 8
    change = {0x800: set_ipv4, 0x86DD: set_ipv6, 0x806: set_arp, 0x8035: set_arp}.get(kind)
    if change is None:
        return data
    return data[:at] + change(data[at:], name, value, mask, partial, whole)


def write(data, at, size, value, mask):
    old = int.from_bytes(data[at : at + size])
    mask &= (1 << 8 * size) - 1
    return data[:at] + (old & ~mask | value & mask).to_bytes(size) + data[at + size :]


def settle(summed, at, before, data):
    """Return `data` with the word at `at` chosen so that what `summed` makes of it adds up to `before`."""
    rest = add(summed(data[:at] + bytes(2) + data[at + 2 :]))
    return data[:at] + ((before - rest) % 0xFFFF).to_bytes(2) + data[at + 2 :]


def set_arp(packet, name, value, mask, _partial, _whole):
    place = {"nw_proto": (7, 1), "arp_sha": (8, 6), "nw_src": (14, 4), "arp_tha": (18, 6), "nw_dst": (24, 4)}.get(name)
    if place is None or len(packet) < 28 or packet[:6] != b"\0\1\x08\0\6\4":
        return packet
    if name == "nw_proto" and mask:
        packet = packet[:6] + b"\0" + packet[7:]  # the key knows opcodes of one byte only
    return write(packet, *place, value, mask)


def set_ipv4(packet, name, value, mask, partial, whole):
    if len(packet) < 20:
        return packet
    header, total = packet[0] % 16 * 4, int.from_bytes(packet[2:4])
    if total == 0 and whole:
        total = len(packet)
    if not 20 <= header <= total <= len(packet) <= total + 65535:
        return packet
    fragment = int.from_bytes(packet[6:8]) & 0x3FFF
    later = fragment & 0x1FFF
    head, upper, behind = packet[:header], packet[header:total], packet[total:]
    place = {"nw_tos": (1, 1), "nw_ttl": (8, 1), "nw_src": (12, 4), "nw_dst": (16, 4)}.get(name)
    if place:
        new = write(head, *place, value, mask)
        if new != head:
            upper = upper if later else follow(head[9], upper, head[12:20], new[12:20], partial)
            head = settle(bytes, 10, add(head), new)
    elif not later:
        upper = set_upper(head[9], upper, b"", (name, value, mask), partial=partial, fragment=fragment, version=4)
    return head + upper + behind


def set_ipv6(packet, name, value, mask, partial, whole):
    if len(packet) < 40:
        return packet
    length = int.from_bytes(packet[4:6])
    if length == 0 and whole:
        length = len(packet) - 40
    if not length + 40 <= len(packet) <= length + 40 + 65535:
        return packet
    protocol, at, fragment, routed = packet[6], 40, 0, False
    while protocol in (0, 43, 44, 51, 60):
        rest = packet[at : 40 + length]
        size = 0 if len(rest) < 8 else {44: 8, 51: 4 * rest[1] + 8}.get(protocol, 8 * rest[1] + 8)
        fragment = fragment or (int.from_bytes(rest[2:4]) if protocol == 44 and size else 0)
        if size == 0 or size > len(rest) or (protocol == 44 and int.from_bytes(rest[2:4]) >= 8):
            protocol = None  # no transport to see
            break
        routed |= protocol == 43 and rest[3] > 0
        protocol, at = rest[0], at + size
    head, upper, behind = packet[:at], packet[at : 40 + length], packet[40 + length :]
    places = {"ipv6_src": (8, 16, 0), "ipv6_dst": (24, 16, 0), "nw_tos": (0, 4, 20), "nw_ttl": (7, 1, 0), "ipv6_label": (0, 4, 0)}
    if name in places:
        start, size, shift = places[name]
        mask &= 0xFFFFF if name == "ipv6_label" else mask
        new = write(head, start, size, value << shift, mask << shift)
        if new[8:40] != head[8:40] and protocol is not None and not (routed and name == "ipv6_dst"):
            upper = follow(protocol, upper, head[8:40], new[8:40], partial, version=6)
        head = new
    elif protocol is not None:
        upper = set_upper(protocol, upper, head[8:40], (name, value, mask), partial=partial, fragment=fragment, version=6)
    return head + upper + behind


def checksum_at(protocol, upper, version):
    places = {6: (20, 16), 17: (8, 6), 132: (12, 8), 1: (8, 2) if version == 4 else None, 58: (8, 2) if version == 6 else None}
    place = places.get(protocol)
    return None if place is None or len(upper) < place[0] else place[1]


def follow(protocol, upper, old, new, partial, version=4):
    """Return the transport whose pseudo-header's addresses changed."""
    at = checksum_at(protocol, upper, version)
    if at is None or protocol in (1, 132) or (old == new):
        return upper
    field = int.from_bytes(upper[at : at + 2])
    if protocol == 17 and field == 0 and not partial:
        return upper
    if partial:
        return upper[:at] + ((field - add(old) + add(new) - 1) % 0xFFFF + 1).to_bytes(2) + upper[at + 2 :]
    done = settle(lambda data: new + data, at, add(old + upper), upper)
    return never_none(done, protocol)


def never_none(upper, protocol):
    return upper[:6] + b"\xff\xff" + upper[8:] if protocol == 17 and upper[6:8] == bytes(2) else upper


def set_upper(protocol, upper, addresses, change, *, partial, fragment, version):
    """Return the transport with one of its own fields written."""
    name, value, mask = change
    at = checksum_at(protocol, upper, version)
    if at is None:
        return upper
    place = None
    if name in ("tp_src", "tp_dst"):
        place = (name == "tp_dst", 1) if protocol in (1, 58) else (2 * (name == "tp_dst"), 2)
    elif protocol == 58 and name in ("nd_target", "arp_sha", "arp_tha"):
        place = discovery_place(upper, name)
    if place is None:
        return upper
    new = write(upper, *place, value, mask)
    if new == upper or partial or (protocol == 17 and upper[6:8] == bytes(2)):
        return new
    if protocol == 132:
        if fragment:
            return new
        crc = (crc32c(upper) ^ crc32c(new)).to_bytes(4, "little")
        return new[:8] + bytes(a ^ b for a, b in zip(new[8:12], crc, strict=True)) + new[12:]
    return never_none(settle(lambda data: addresses + data, at, add(addresses + upper), new), protocol)


def discovery_place(upper, name):
    if len(upper) < 24 or upper[0] not in (135, 136) or upper[1]:
        return None
    if name == "nd_target":
        return 8, 16
    at = 24
    while at + 8 <= len(upper) and upper[at + 1]:
        if upper[at] == (1 if name == "arp_sha" else 2) and upper[at + 1] == 1:
            return at + 2, 6
        at += 8 * upper[at + 1]
    return None


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


class Meter:
    """Bands of (rate, burst); a dropped frame is counted by the fastest band that it exceeds."""

    def __init__(self, bands, *, by_packets, now_ms):
        self.by_packets, self.last = by_packets, now_ms
        self.bands = [
            {"rate": rate, "room": 1000 * (burst or rate), "tokens": 1000 * (burst or rate), "dropped": 0}
            for rate, burst in bands
        ]

    def passes(self, now_ms, packets, size):
        cost = packets * 1000 if self.by_packets else size * 8
        for band in self.bands:
            band["tokens"] = min(band["tokens"] + max(now_ms - self.last, 0) * band["rate"], band["room"])
        self.last = max(self.last, now_ms)
        exceeded = []
        for band in self.bands:
            if band["tokens"] >= (min(cost, band["room"]) if packets > 1 else cost):
                band["tokens"] -= cost
            else:
                exceeded.append(band)
        if exceeded:
            max(exceeded, key=lambda band: band["rate"])["dropped"] += packets
        return not exceeded
