"""IP fragments for tests: datagrams cut at chosen places, and streams of them with everything that goes wrong."""

from support.checksum_frames import MACS, header_of, ipv4_packet, ipv6_packet, sealed

TAG = b"\x81\x00\x00\x07"


def datagram(rng, version=None, protocol=None, size=None):
    """Return (version, protocol, addresses, transport packet)."""
    version = version or rng.choice((4, 6))
    protocol = protocol or rng.choice((17, 17, 17, 6, 1 if version == 4 else 58))
    addresses = bytes(7 if version == 4 else 31) + bytes([rng.randrange(3)])
    payload = rng.randbytes(size or rng.choice((40, 100, 3000)))
    return version, protocol, addresses, sealed(header_of(protocol, rng, payload) + payload, protocol, addresses, "right")


def whole(packet, *, ident=1, tos=0, tag=b"", unfragmented=b""):
    """Return the frame of a datagram that was not cut; `unfragmented` is an IPv6 destination options header."""
    version, protocol, addresses, upper = packet
    if version == 4:
        return MACS + tag + b"\x08\x00" + ipv4_packet(upper, protocol, addresses, None, ident=ident, word=0, tos=tos)
    body = ipv6_packet(upper, 60 if unfragmented else protocol, addresses, traffic_class=tos,
                       extensions=bytes([protocol]) + unfragmented[1:] if unfragmented else b"")  # fmt: skip
    return MACS + tag + b"\x86\xdd" + body


def piece(packet, start, end, *, ident=1, tos=0, tag=b"", unfragmented=b"", more=None):
    """Return the frame of bytes `start` to `end` of a datagram's transport packet."""
    version, protocol, addresses, upper = packet
    more = end < len(upper) if more is None else more
    if version == 4:
        word = start // 8 | (0x2000 if more else 0)
        body = ipv4_packet(upper[start:end], protocol, addresses, None, ident=ident, word=word, tos=tos)
        return MACS + tag + b"\x08\x00" + body
    fragment = bytes([protocol, 0]) + (start & 0xFFF8 | more).to_bytes(2) + ident.to_bytes(4)
    before = bytes([44]) + unfragmented[1:] if unfragmented else b""
    body = ipv6_packet(upper[start:end], 60 if before else 44, addresses, traffic_class=tos, extensions=before + fragment)
    return MACS + tag + b"\x86\xdd" + body


def cut(packet, size, **how):
    """Return the fragments of a datagram, `size` bytes of payload in each but the last."""
    total = len(packet[3])
    return [piece(packet, start, min(start + size, total), **how) for start in range(0, total, size)]


def hostile_stream(rng, datagrams=6):
    """Return (frames, timestamps) of interleaved datagrams: reordered, duplicated, overlapping, missing, lying."""
    trains = []
    for _ in range(datagrams):
        packet = datagram(rng)
        total = len(packet[3])
        how = {
            "ident": rng.randrange(3),
            "tag": rng.choice((b"", b"", TAG)),
            "unfragmented": rng.choice((b"", b"", b"\x00\x00\x01\x04\x00\x00\x00\x00")),
        }
        places = sorted({0, *(8 * rng.randrange(1, total // 8) for _ in range(rng.randrange(1, 6)))})
        ranges = list(zip(places, [*places[1:], total], strict=True))
        train = [piece(packet, one, other, tos=rng.choices((0, 1, 3), (0, 30, 1))[0], **how) for one, other in ranges]
        fault = rng.randrange(12)
        one, other = rng.choice(ranges)
        if fault == 0:
            train.pop(rng.randrange(len(train)))
        elif fault == 1:
            train.append(rng.choice(train))
        elif fault == 2:
            train.append(piece(packet, max(one - 8, 0), other, **how))
        elif fault == 3:
            train.append(piece(packet, one, other, more=True, **how))
        elif fault == 4:
            train.append(piece(packet, one, min(other + 3, total), more=bool(rng.getrandbits(1)), **how))
        elif fault == 5:
            train.append(piece(packet, 65528, 65528, more=False, **how)[: rng.choice((None, -1))])
        elif fault == 6:
            big = (*packet[:3], bytes(65528) + rng.randbytes(16))
            train.append(piece(big, 65520, 65528 + rng.choice((0, 16)), more=False, **how))
        elif fault == 7:
            train.append(whole(packet, **how))
        elif fault == 8:
            k = rng.randrange(len(train))
            train[k] = train[k][: -rng.randrange(1, 9)]
        elif fault == 9:
            k = rng.randrange(len(train))
            train[k] = train[k][:24] + bytes([train[k][24] ^ 1]) + train[k][25:]
        elif fault == 10:
            train[0] = piece(packet, 0, places[1] if len(places) > 1 else total, tos=0, **how)
        train = [frame + bytes(rng.choice((0, 0, 4))) for frame in train]
        if rng.random() < 0.6:
            rng.shuffle(train)
        trains.append(train)
    frames = []
    while any(trains):
        frames.append(rng.choice([train for train in trains if train]).pop(0))
    now, timestamps = 10**18, []
    for _ in frames:
        now += rng.choices((1000, 10**9, 25 * 10**9), (40, 5, 2))[0]
        timestamps.append(now)
    return frames, timestamps
