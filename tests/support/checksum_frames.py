"""Random Ethernet frames with right, wrong, partial and missing checksums."""

from itertools import pairwise

from support.naive_checksum import add

KINDS = ("right", "wrong", "partial", "partial_no_length", "zero")
MACS = bytes.fromhex("020000000002020000000001")


def header_of(protocol, rng, payload):
    ports = rng.randbytes(4)
    if protocol == 6:
        options = rng.randbytes(4 * rng.choice((0, 0, 3, 10)))
        return ports + rng.randbytes(8) + bytes([(5 + len(options) // 4) << 4, 0x10]) + rng.randbytes(2) + bytes(4) + options
    if protocol == 17:
        return ports + (8 + len(payload)).to_bytes(2) + bytes(2)
    return bytes([rng.choice((8, 128))]) + bytes(7)


def sealed(upper, protocol, addresses, kind):
    """Write the checksum of this kind into a transport packet."""
    at = {6: 16, 17: 6}.get(protocol, 2)
    pseudo = b"" if protocol == 1 else addresses + len(upper).to_bytes(4) + protocol.to_bytes(4)
    value = 0xFFFF - add(pseudo + upper)
    if protocol == 17 and value == 0:
        value = 0xFFFF
    if kind == "wrong":
        value ^= 0x1234
    elif kind == "partial":
        value = add(pseudo)
    elif kind == "partial_no_length":
        value = add(addresses + protocol.to_bytes(4))
    elif kind == "zero":
        value = 0
    return upper[:at] + value.to_bytes(2) + upper[at + 2 :]


def ipv4_packet(upper, protocol, addresses, rng, *, ident=None, word=0x4000, tos=0, options=b"", checksum="right", length=None):
    total = 20 + len(options) + len(upper) if length is None else length
    ident = rng.getrandbits(16) if ident is None else ident
    header = (
        bytes([0x45 + len(options) // 4, tos]) + total.to_bytes(2) + ident.to_bytes(2) + word.to_bytes(2) + bytes([64, protocol])
    )
    value = 0xFFFF - add(header + bytes(2) + addresses + options)
    value = {"right": value, "wrong": value ^ 0x0101, "zero": 0}[checksum]
    return header + value.to_bytes(2) + addresses + options + upper


def ipv6_packet(upper, next_header, addresses, *, extensions=b"", traffic_class=0, length=None):
    size = len(extensions) + len(upper) if length is None else length
    return (
        (0x60000000 | traffic_class << 20).to_bytes(4)
        + size.to_bytes(2)
        + bytes([next_header, 64])
        + addresses
        + extensions
        + upper
    )


def random_frame(rng, kind=None):
    """Return one frame; most are whole and well-formed."""
    kind = kind or rng.choice(KINDS)
    version = rng.choice((4, 6))
    protocol = rng.choice((6, 6, 17, 17, 1 if version == 4 else 58, 47))
    addresses = rng.randbytes(8 if version == 4 else 32)
    payload = rng.choice((b"", b"\xff" * 40, bytes(33), rng.randbytes(rng.choice((1, 7, 100, 1448, 1449)))))
    upper = sealed(header_of(protocol, rng, payload) + payload, protocol, addresses, kind)
    zero_length = rng.random() < 0.05
    if version == 4:
        options = rng.choice((b"", b"", b"\x01" * 8))
        header = rng.choices(("right", "wrong", "zero"), (8, 1, 1))[0]
        word = rng.choices((0x4000, 0, 0x2000, 0x0010), (12, 4, 1, 1))[0]
        packet = ipv4_packet(
            upper, protocol, addresses, rng, word=word, options=options, checksum=header, length=0 if zero_length else None
        )
    else:
        packet = _ipv6(rng, upper, protocol, addresses, zero_length=zero_length)
    tag = rng.choice((b"", b"", b"\x81\x00\x00\x07", b"\x88\xa8\x00\x01\x81\x00\x00\x07"))
    padding = b"" if zero_length else rng.choice((b"", b"", bytes(6)))
    return MACS + tag + (b"\x08\x00" if version == 4 else b"\x86\xdd") + packet + padding


def _ipv6(rng, upper, protocol, addresses, *, zero_length):
    draw = rng.random()
    if draw < 0.1:  # destination options
        return ipv6_packet(upper, 60, addresses, extensions=bytes([protocol, 0, 1, 4, 0, 0, 0, 0]))
    if draw < 0.2:  # a fragment header: the whole packet, or not
        word = rng.choice((0, 0, 1, 8))
        return ipv6_packet(upper, 44, addresses, extensions=bytes([protocol, 0]) + word.to_bytes(2) + bytes(4))
    if draw < 0.25:  # routing, with and without segments left
        return ipv6_packet(upper, 43, addresses, extensions=bytes([protocol, 0, 0, rng.choice((0, 1)), 0, 0, 0, 0]))
    if draw < 0.3:  # jumbo
        jumbo = bytes([protocol, 0, 0xC2, 4]) + (8 + len(upper)).to_bytes(4)
        return ipv6_packet(upper, 0, addresses, extensions=jumbo, length=0)
    return ipv6_packet(upper, protocol, addresses, length=0 if zero_length else None)


def mutated(frame, rng):
    """Return the frame with some bits changed, cut or longer."""
    data = bytearray(frame)
    for _ in range(rng.randrange(4)):
        data[rng.randrange(len(data)) if rng.random() < 0.3 else rng.randrange(min(80, len(data)))] = rng.choice(
            (0, 0xFF, rng.getrandbits(8), rng.choice((0, 6, 17, 43, 44, 58, 60)))
        )
    if rng.random() < 0.3:
        del data[rng.randrange(1, len(data) + 1) :]
    return bytes(data)


def scatter(batch, rng):
    """Move part of the payload of each frame to fragments, cut at random places; nothing is copied."""
    row = int(batch.used[1])
    for i in range(int(batch.used[0])):
        start = int(batch.payload_offset[i])
        if start == 0:
            continue
        end, length = int(batch.head_len[i]), int(batch.head_len[i]) - start
        cuts = sorted({start + rng.randrange(length + 1) for _ in range(rng.randrange(1, 4))} | {end})
        batch.head_len[i] = cuts[0]
        batch.frag_first[i] = row
        for one, other in pairwise(cuts):
            batch.frag_addr[row], batch.frag_len[row], batch.frag_chunk[row] = batch.head_addr[i] + one, other - one, -1
            row += 1
        batch.frag_count[i] = row - batch.frag_first[i]
    batch.used[1] = row
