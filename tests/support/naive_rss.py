"""Receive-side scaling the obvious way: the Toeplitz hash bit by bit, headers taken apart as bytes."""

import random
import struct
from typing import NamedTuple

from support.craft import Packet

FIELDS = {"tcp4": "sdfn", "tcp6": "sdfn", "udp4": "sdfn", "udp6": "sdfn", "sctp4": "sd", "sctp6": "sd"}
NAMES = {6: "tcp", 17: "udp", 132: "sctp"}


def toeplitz(key: bytes, data: bytes) -> int:
    bits = "".join(f"{byte:08b}" for byte in key)
    result = 0
    for place, bit in enumerate("".join(f"{byte:08b}" for byte in data)):
        if bit == "1":
            result ^= int(bits[place : place + 32], 2)
    return result


class Header(NamedTuple):
    version: int
    source: bytes
    destination: bytes
    protocol: int
    fragment: bool
    rest: bytes | None
    """What follows the IP headers, up to the end of the packet; None where it is out of reach."""


def ethernet(data: bytes) -> tuple[int, bytes]:
    """Return the ethertype behind all tags, 0 without, and what follows."""
    if len(data) < 14:
        return 0, b""
    kind, rest = int.from_bytes(data[12:14], "big"), data[14:]
    while kind in (0x8100, 0x88A8):
        if len(rest) < 4:
            return 0, b""
        kind, rest = int.from_bytes(rest[2:4], "big"), rest[4:]
    return kind, rest


def ip(kind: int, data: bytes) -> Header | None:
    if kind == 0x0800:
        if len(data) < 20 or data[0] >> 4 != 4 or data[0] & 15 < 5 or len(data) < data[0] % 16 * 4:
            return None
        size, (length, _, word) = data[0] % 16 * 4, struct.unpack_from(">HHH", data, 2)
        packet = data[:length] if length else data
        fragment = word & 0x3FFF != 0
        rest = None if fragment or len(packet) < size else packet[size:]
        return Header(4, data[12:16], data[16:20], data[9], fragment, rest)
    if kind == 0x86DD:
        if len(data) < 40 or data[0] >> 4 != 6:
            return None
        length, protocol = struct.unpack_from(">HB", data, 4)
        rest = data[40 : 40 + length] if length else data[40:]
        head = (6, data[8:24], data[24:40])
        while protocol in (0, 43, 60):
            if len(rest) < 8 or len(rest) < rest[1] * 8 + 8:
                return Header(*head, protocol, fragment=False, rest=None)
            protocol, rest = rest[0], rest[rest[1] * 8 + 8 :]
        if protocol == 44:
            return Header(*head, rest[0] if len(rest) >= 8 else 44, fragment=True, rest=None)
        return Header(*head, protocol, fragment=False, rest=rest)
    return None


def inside(header: Header) -> Header | None:
    """Return the IP header that a tunnel carries."""
    rest = header.rest
    if rest is None:
        return None
    if header.protocol in (4, 41):
        return ip(0x0800 if header.protocol == 4 else 0x86DD, rest)
    kind = 0
    if header.protocol == 17 and len(rest) >= 16:
        port = int.from_bytes(rest[2:4], "big")
        if port == 4789 and rest[8] & 8:
            kind, rest = 0x6558, rest[16:]
        elif port == 6081 and rest[8] >> 6 == 0:
            kind, rest = int.from_bytes(rest[10:12], "big"), rest[16 + rest[8] % 64 * 4 :]
    elif header.protocol == 47 and len(rest) >= 4:
        flags, kind = struct.unpack_from(">HH", rest)
        if flags & 0x4007:
            return None
        rest = rest[4 + 4 * (flags & 0xB000).bit_count() :]
    if kind == 0x6558:
        kind, rest = ethernet(rest)
    return ip(kind, rest)


def hashed_header(frame: bytes, inner: bool) -> Header | None:
    header = ip(*ethernet(frame))
    return (inside(header) if inner and header else None) or header


def hash_input(frame: bytes, fields: dict[str, str], inner: bool) -> bytes | None:
    """Return what is hashed, None for no hash."""
    header = hashed_header(frame, inner)
    if header is None:
        return None
    letters = "sd"
    ports = header.rest[:4] if header.rest else b""
    if header.protocol in NAMES and not header.fragment and len(ports) == 4:
        letters = (FIELDS | fields)[f"{NAMES[header.protocol]}{header.version}"]
        if not letters:
            return None
    parts = {"s": header.source, "d": header.destination, "f": ports[:2], "n": ports[2:]}
    return b"".join(part for letter, part in parts.items() if letter in letters)


def naive_hash(frame: bytes, key: bytes, fields: dict[str, str] | None = None, inner: bool = False) -> int:
    data = hash_input(frame, fields or {}, inner)
    return 0 if data is None else toeplitz(key, data)


# Frames


def tunnel(kind: str, frame: bytes, rng: random.Random, **outer) -> bytes:
    """Return a frame that carries `frame`, or its IP packet."""
    ethertype, packet = ethernet(frame)
    bare = rng.random() < 0.3
    carried = {0x0800: 0x0800, 0x86DD: 0x86DD}.get(ethertype, 0x88B5) if bare else 0x6558
    content = packet if bare else frame
    if kind == "vxlan":
        return Packet(protocol="udp", dport=4789, payload=b"\x08" + bytes(7) + frame, **outer).frame()
    if kind == "geneve":
        options = rng.choice((0, 0, 1, 5))
        head = struct.pack(">BBHI", options, 0, carried, 0) + rng.randbytes(options * 4)
        return Packet(protocol="udp", dport=6081, payload=head + content, **outer).frame()
    if kind == "gre":
        flags = rng.choice((0, 0x2000, 0x1000, 0x8000, 0xB000, 0x3000, 0x4000, 1))
        head = struct.pack(">HH", flags, carried) + rng.randbytes(4 * (flags & 0xB000).bit_count())
        return Packet(protocol="47", payload=head + content, **outer).frame()
    return Packet(protocol="4" if ethertype == 0x0800 else "41", payload=packet, **outer).frame()


def random_packet(rng: random.Random) -> Packet:
    family = rng.choice((4, 4, 6))
    size = 4 if family == 4 else 16
    changes: dict[str, object] = {}
    if family == 4 and rng.random() < 0.2:
        changes = {"mf": rng.random() < 0.7, "fragment_offset": rng.choice((0, 0, 185))}
    if family == 4 and rng.random() < 0.1:
        changes["ip_options"] = b"\x01" * 4 * rng.randrange(1, 11)
    if family == 6 and rng.random() < 0.4:
        kinds = [rng.choice((0, 43, 44, 60)) for _ in range(rng.randrange(1, 4))]
        changes["extensions"] = tuple((kind, rng.randbytes(6 if kind == 44 else 6 + 8 * rng.randrange(3))) for kind in kinds)
    if rng.random() < 0.1:
        changes["ip_length_error"] = rng.choice((-60, -9, -4, 4, 100))
    if rng.random() < 0.3:
        changes["tags"] = ((0x8100, 5),) if rng.random() < 0.6 else ((0x88A8, 7), (0x8100, 5))
    protocol = rng.choice(("tcp", "tcp", "udp", "udp", "132", "1", "50", "6", "17"))
    return Packet(
        family=family,
        protocol=protocol,
        payload=rng.randbytes(rng.choice((0, 3, 4, 8, 40))),
        source=rng.randbytes(size),
        destination=rng.randbytes(size),
        sport=rng.randrange(65536),
        dport=rng.choice((443, 4789, 6081, rng.randrange(65536))),
        data_offset=rng.choice((None, None, None, 0, 15)),
        options=rng.choice((b"", b"\x01" * 12)),
        padding=rng.choice((b"", b"", bytes(10))),
        **changes,
    )


def random_frame(rng: random.Random) -> bytes:
    """Return a frame of any kind: tagged, in fragments, in a tunnel, cut, changed."""
    frame = random_packet(rng).frame()
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        outer = {"family": rng.choice((4, 6)), "sport": rng.randrange(65536)}
        if rng.random() < 0.1:
            outer["tags"] = ((0x8100, 9),)
        if outer["family"] == 4 and rng.random() < 0.1:
            outer["mf"] = True
        if outer["family"] == 6 and rng.random() < 0.2:
            outer["extensions"] = ((60, bytes(6)),)
        frame = tunnel(rng.choice(("vxlan", "geneve", "gre", "ipip")), frame, rng, **outer)
    if rng.random() < 0.2:
        frame = frame[: rng.randrange(len(frame) + 1)]
    if rng.random() < 0.2 and frame:
        data = bytearray(frame)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(min(len(data), 90))] = rng.choice((0, 0xFF, rng.randrange(256)))
        frame = bytes(data)
    return frame


def random_fields(rng: random.Random) -> dict[str, str]:
    words = ("sdfn", "sd", "", "s", "d", "f", "n", "fn", "sf", "dn", "sdf", "sdn", "nfds", "sfn", "dfn")
    return {name: rng.choice(words) for name in rng.sample(list(FIELDS), rng.randrange(7))}


def guard(frames: int) -> None:
    """Hash and account frames that end where reading ends, and compare; a load behind them is a SIGSEGV."""
    import numpy as np

    from pktpath.offload.rss import make_rss, rss_hash
    from pktpath.path.rss_flows import account, make_flows, make_tally
    from support.guard_gro import MOST, SLOTS, Guarded

    rng = random.Random(3)
    guarded = Guarded()
    done = 0
    while done < frames:
        batch = [random_frame(rng)[:MOST] for _ in range(SLOTS)]
        key, fields, inner = rng.randbytes(40), random_fields(rng), rng.random() < 0.7
        guarded.put(batch, [1] * SLOTS)
        rss = make_rss(key, (0, 1), fields, inner)
        rss_hash(guarded.batch, 0, SLOTS, rss)
        hashes = np.tile(np.array(guarded.batch.hash[:SLOTS]), (3, 1))
        assert account(guarded.batch, 0, SLOTS, hashes, rss, make_flows(SLOTS), make_tally(2), False) == SLOTS
        if done < 2000:
            assert hashes[0].tolist() == [naive_hash(frame, key, fields, inner) for frame in batch]
        done += SLOTS
    print(done)
