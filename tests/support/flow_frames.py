"""Random frames with everything that a flow key can hold, whole and mutated."""

from support.checksum_frames import header_of, ipv4_packet, ipv6_packet, sealed

TAGS = (
    b"",
    b"",
    b"",
    b"\x81\x00\x20\x07",
    b"\x88\xa8\x10\x01",
    b"\x88\xa8\x00\x01\x81\x00\x00\x07",
    b"\x81\x00\xef\xff\x81\x00\x00\x07",
)
PROTOCOLS = (6, 6, 6, 17, 17, 1, 58, 132, 2, 47)


def flow_frame(rng):
    """Return one Ethernet frame; most are whole and well-formed."""
    kind = rng.choices(("ipv4", "ipv6", "nd", "arp", "other", "length"), (8, 8, 3, 3, 1, 1))[0]
    tag = rng.choice(TAGS)
    ethertype, packet = {"ipv4": _ipv4, "ipv6": _ipv6, "nd": _discovery, "arp": _arp, "other": _other, "length": _length}[kind](
        rng
    )
    if kind != "length" and rng.random() < 0.05:
        ethertype, packet = len(packet).to_bytes(2) if len(packet) < 1500 else b"\5\0", b"\xaa\xaa\x03\0\0\0" + ethertype + packet
    padding = bytes(rng.choice((0, 0, 0, 6, 18)))
    return rng.randbytes(12) + tag + ethertype + packet + padding


def mutated(frame, rng):
    """Return a frame with some bytes changed, or cut, or with its length fields shifted."""
    data = bytearray(frame)
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        data[rng.randrange(12, min(len(data), 12 + rng.choice((10, 40, 90))))] = rng.choice((0, 1, 0xFF, rng.getrandbits(8)))
    if rng.random() < 0.3:
        del data[rng.randrange(len(data)) :]
    return bytes(data)


def _upper(rng, addresses, protocols=PROTOCOLS):
    protocol = rng.choice(protocols)
    payload = rng.randbytes(rng.choice((0, 1, 11, 40, 40, 301)))
    if protocol in (6, 17):
        upper = header_of(protocol, rng, payload) + payload
        upper = upper[:12] + bytes([upper[12], rng.getrandbits(8)]) + upper[14:] if protocol == 6 else upper
        return protocol, sealed(upper, protocol, addresses, rng.choice(("right", "right", "wrong", "partial", "zero")))
    if protocol in (1, 58):
        return protocol, rng.randbytes(8) + payload
    return protocol, rng.randbytes(rng.choice((4, 12, 20))) + payload


def _ipv4(rng):
    addresses = rng.randbytes(8)
    protocol, upper = _upper(rng, addresses)
    word = rng.choices((0x4000, 0, 0x2000, 0x0010, 0x2010, 0x8000), (8, 4, 1, 1, 1, 1))[0]
    options = rng.choice((b"", b"", b"", b"\1" * 8))
    packet = ipv4_packet(upper, protocol, addresses, rng, word=word, tos=rng.getrandbits(8), options=options)
    return b"\x08\x00", packet


def _extensions(rng, protocol):
    """Return (next header, bytes) of some extension headers before a transport."""
    kind, data = protocol, b""
    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        new = rng.choice((0, 43, 44, 51, 60))
        if new == 44:
            place = rng.choices((0, 1, 2, 8, 0x29), (3, 3, 1, 1, 1))[0]
            header = bytes([kind, rng.getrandbits(8)]) + place.to_bytes(2) + rng.randbytes(4)
        elif new == 51:
            units = rng.choice((0, 1, 4))
            header = bytes([kind, units]) + rng.randbytes(4 * units + 6)
        else:
            units = rng.choice((0, 0, 1))
            header = bytes([kind, units]) + rng.randbytes(8 * units + 6)
        kind, data = new, header + data
    return kind, data


def _ipv6(rng, upper=None):
    addresses = rng.randbytes(32)
    protocol, data = upper or _upper(rng, addresses)
    kind, extensions = _extensions(rng, protocol)
    packet = bytearray(ipv6_packet(data, kind, addresses, extensions=extensions, traffic_class=rng.getrandbits(8)))
    packet[1] |= rng.getrandbits(4)
    packet[2:4] = rng.randbytes(2)
    return b"\x86\xdd", bytes(packet)


def _discovery(rng):
    data = bytes([rng.choice((135, 136)), rng.choices((0, 1), (9, 1))[0]]) + rng.randbytes(6) + rng.randbytes(16)
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        units = rng.choice((1, 1, 1, 2))
        address = rng.choice((rng.randbytes(6), rng.randbytes(6), bytes(6)))
        data += bytes([rng.choice((1, 2, 2, 5)), units]) + address + bytes(8 * units - 8)
    return _ipv6(rng, (58, data))


def _arp(rng):
    operation = rng.choice((1, 2, 3, 255, 256, 0x101))
    head = rng.choices((b"\0\1\x08\0\6\4", b"\0\2\x08\0\6\4"), (9, 1))[0]
    return rng.choice((b"\x08\x06", b"\x08\x06", b"\x80\x35")), head + operation.to_bytes(2) + rng.randbytes(20)


def _other(rng):
    return rng.choice((b"\x88\xcc", b"\x88\x47", b"\x06\x00", b"\x88\x08")), rng.randbytes(46)


def _length(rng):
    return rng.randrange(0x600).to_bytes(2), rng.randbytes(46)
