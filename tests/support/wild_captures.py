"""Whole captures that try everything at once, each from a seed: hostile flows on several interfaces, clocks and link types."""

import random
import struct
from dataclasses import dataclass

from pktpath.wire.link import Link
from support import naive_capture as naive
from support.craft import Packet
from support.gso_frames import LINKS, random_super
from support.hostile import hostile_round

LINKTYPES = {Link.ETHERNET: 1, Link.RAW: 101, Link.SLL: 113, Link.SLL2: 276, Link.NULL: 0, Link.LOOP: 108}
UNKNOWN_LINKTYPE = 147
RESOLUTIONS = (None, 6, 6, 9, 9, 12, 0x8A, 0xBC, 3, 0, 19, 40)
"""Microseconds, nanoseconds, picoseconds, 2^-10, 2^-60, ..., ten to the minus 19, and what 64 bits cannot count."""


@dataclass
class Wild:
    """A capture as bytes, and what it was made of."""

    data: bytes
    frames: list[naive.Frame]


def onto(frame: bytes, link: Link) -> bytes:
    """Put what an Ethernet frame carries behind another link header; a frame that has no IP directly inside stays."""
    kind = frame[12:14]
    if link is Link.ETHERNET or kind not in (b"\x08\x00", b"\x86\xdd"):
        return frame
    return LINKS[link](kind) + frame[14:]


def fragments(rng: random.Random, family: int, number: int) -> list[bytes]:
    """Cut one UDP datagram into IP fragments: whole, or with one lost, doubled, padded or out of place."""
    packet = Packet(
        family=family, protocol="udp", payload=rng.randbytes(rng.choice((9, 700, 3000))), sport=number, df=False, id=number
    )
    body = packet._transport()
    size = rng.choice((8, 24, 256, 1480)) if len(body) < 1000 else rng.choice((256, 1480))
    pieces = []
    for at in range(0, len(body), size):
        piece, more = body[at : at + size], at + size < len(body)
        if family == 4:
            one = packet.but(protocol="17", payload=piece, mf=more, fragment_offset=at // 8)
        else:
            header = struct.pack(">HI", at | more, number)
            one = packet.but(protocol="17", payload=piece, extensions=((44, header),))
        if rng.random() < 0.1:
            one = one.but(padding=bytes(rng.randrange(1, 20)))
        pieces.append(one.frame())
    roll = rng.random()
    if roll < 0.15:
        del pieces[rng.randrange(len(pieces))]
    elif roll < 0.3:
        pieces.append(rng.choice(pieces))
    elif roll < 0.6:
        rng.shuffle(pieces)
    return pieces


def _odd_sums(rng: random.Random, number: int) -> list[bytes]:
    """Trains in which one checksum is the other form of zero, a jumbo header stands where none may, or tags come and go."""
    family = rng.choice((4, 6))
    changes = rng.choice(
        (
            {},
            {"tags": ((0x8100, 5),)},
            {"tags": ((0x88A8, 5), (0x8100, 6))},
            {"family": 6, "extensions": ((0, b"\xc2\x04" + struct.pack(">I", 1100)),)},
            {"family": 6, "extensions": ((60, bytes(6)), (43, bytes(6)))},
            {"family": 6, "extensions": ((60, bytes(30)), (0, bytes(22)), (43, bytes(254)))},
            {"options": b"\x01" * 40},
            {"ip_options": b"\x01\x01\x01\x00"},
            {"urgent": 77},
            {"flags": 0x90},
            {"flags": 0x110 | 0x80},
        )
    )
    packet = Packet(family=family, sport=3000 + number, seq=rng.randrange(2**32), id=rng.randrange(65536), df=rng.random() < 0.5)
    packet = packet.but(**changes)
    train = []
    size = rng.choice((8, 100, 101, 1000))
    for k in range(rng.randrange(2, 6)):
        payload = rng.randbytes(size)
        one = packet.but(payload=payload, seq=packet.seq + k * size, id=(packet.id + k) & 0xFFFF)
        if rng.random() < 0.5:
            one = _with_zero_sum(one, rng.random() < 0.5)
        if rng.random() < 0.1:
            one = one.but(partial=True)
        train.append(one.frame())
    return train


def _with_zero_sum(packet: Packet, ones: bool) -> Packet:
    """Give the packet payload whose checksum is 0, written as 0x0000 or as 0xFFFF."""
    at = len(packet.payload) - 2 - len(packet.payload) % 2
    packet = packet.but(payload=packet.payload[:at] + bytes(len(packet.payload) - at))
    field = packet._transport()[16:18]
    packet = packet.but(payload=packet.payload[:at] + field + packet.payload[at + 2 :])
    return packet.but(checksum=0xFFFF if ones else 0)


def wild_frames(rng: random.Random) -> list[bytes]:
    """Return frames of Ethernet, without times."""
    frames: list[bytes] = []
    for _ in range(rng.randrange(1, 5)):
        kind = rng.randrange(10)
        if kind < 4:
            new = hostile_round(rng.randrange(1 << 40))
        elif kind < 6:
            number = rng.randrange(1, 65536)
            new = [piece for k in range(rng.randrange(1, 4)) for piece in fragments(rng, rng.choice((4, 6)), number + k & 0xFFFF)]
            if rng.random() < 0.4:
                rng.shuffle(new)
        elif kind == 6:
            new = [random_super(rng).data for _ in range(rng.randrange(1, 3))]
        elif kind == 7:
            new = [b"", b"\0", rng.randbytes(14), rng.randbytes(rng.randrange(1, 100)), bytes(60)][: rng.randrange(1, 6)]
        else:
            new = [frame for k in range(rng.randrange(1, 4)) for frame in _odd_sums(rng, k)]
        if frames and rng.random() < 0.5:  # interleaved
            for frame in new:
                frames.insert(rng.randrange(max(0, len(frames) - 40), len(frames) + 1), frame)
        else:
            frames += new
    return frames


def _cut(rng: random.Random, data: bytes, whole: float) -> tuple[bytes, int]:
    """Return the bytes that a capture kept of a frame, and the length that it claims for the wire."""
    if rng.random() < whole:
        return data, len(data)
    roll = rng.random()
    if roll < 0.7:
        return data[: rng.choice((0, 14, 34, 54, 66, 96, 1000))], len(data)
    return data, max(0, len(data) + rng.choice((-1, -20, -len(data), 1, 4, 100000)))


def _times(rng: random.Random):
    """Yield ticks: mostly close together, sometimes back, sometimes anywhere."""
    style = rng.choice(("steady", "steady", "back", "anywhere", "still"))
    now = rng.choice((0, 1_700_000_000_000_000, rng.randrange(1 << 62)))
    while True:
        if style == "anywhere":
            now = rng.choice((0, 1, 2**32, 2**63, 2**64 - 1, rng.randrange(1 << 64)))
        elif style != "still":
            now += rng.choice((0, 1, 3, 10, 1000))
            if rng.random() < 0.02:
                now += 10**7
            if style == "back" and rng.random() < 0.1:
                now = max(0, now - rng.randrange(5000))
        yield now & 0xFFFFFFFFFFFFFFFF


def _options(rng: random.Random, order: str) -> bytes:
    if rng.random() < 0.8:
        return b""
    out = b""
    for _ in range(rng.randrange(1, 4)):
        code = rng.choice((1, 1, 2, 4, 5, 6, 2988, 2989, 19372, 19373, 40000))
        size = {2: 4, 4: 8, 5: 8, 6: 4}.get(code, rng.choice((4, 5, 30, 300)))
        value = rng.randbytes(size)
        if code == 19373 and rng.random() < 0.5:
            value = struct.pack(order + "I", 32473) + rng.randbytes(size)
        out += naive.option(code, value, order)
    return out


def wild_pcapng(seed: int) -> Wild:
    """Return a pcapng of one or several sections, every option block as common programs write it."""
    rng = random.Random(seed)
    out, made = b"", []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        order = rng.choice("<<>")
        links = [
            rng.choice([*LINKTYPES, Link.UNKNOWN]) if rng.random() < 0.5 else Link.ETHERNET
            for _ in range(rng.choice((1, 1, 2, 4)))
        ]
        out += naive.section(order)
        blocks = [
            naive.interface(
                order, linktype=LINKTYPES.get(link, UNKNOWN_LINKTYPE), resolution=rng.choice(RESOLUTIONS),
                offset=rng.choice((None, None, 0, 5, -7)), name=rng.choice((None, "eth0")),
            )
            for link in links
        ]  # fmt: skip
        early = rng.randrange(1, len(blocks) + 1)
        out += b"".join(blocks[:early])
        frames, times, whole = wild_frames(rng), _times(rng), rng.choice((1.0, 1.0, 0.98, 0.8))
        noise = rng.choice((0, 0, 0.02))
        declared = early
        port = 0
        for k, frame in enumerate(frames):
            if declared < len(blocks) and k == len(frames) // 2:
                out += b"".join(blocks[declared:])
                declared = len(blocks)
            if rng.random() < 0.2:
                port = rng.randrange(declared)
            link = links[port]
            data, wire = _cut(rng, frame if link is Link.UNKNOWN else onto(frame, link), whole)
            one = naive.Frame(data, wire, next(times), port)
            made.append(one)
            out += naive.packet(one, order, raw_options=_options(rng, order))
            if rng.random() < noise:
                kind = rng.choice((4, 5, 10, 0x0BAD, 0x40000BAD, 0x80000001))
                out += naive.block(kind, struct.pack(order + "I", 0) + rng.randbytes(rng.randrange(40)), order)
        out += b"".join(blocks[declared:])
    return Wild(out, made)


def wild_pcap(seed: int) -> Wild:
    """Return a pcap of either byte order, microseconds or nanoseconds."""
    rng = random.Random(seed)
    link = rng.choice([*LINKTYPES, Link.UNKNOWN]) if rng.random() < 0.5 else Link.ETHERNET
    nanoseconds = rng.random() < 0.5
    times, whole = _times(rng), rng.choice((1.0, 1.0, 0.9))
    made = []
    for frame in wild_frames(rng):
        data, wire = _cut(rng, frame if link is Link.UNKNOWN else onto(frame, link), whole)
        made.append(naive.Frame(data, wire, next(times) % (2**32 * (10**9 if nanoseconds else 10**6))))
    linktype = LINKTYPES.get(link, UNKNOWN_LINKTYPE) | rng.choice((0, 0, 1 << 26 | 2 << 28))
    data = naive.pcap_file(
        made, order=rng.choice("<>"), nanoseconds=nanoseconds, linktype=linktype, snaplen=rng.choice((262144, 65535))
    )
    return Wild(data, made)
