"""Captures the obvious way: read, and built, field by field from bytes."""

import struct
from dataclasses import dataclass, field
from fractions import Fraction

MAGICS = {0xA1B2C3D4: (16, 10**6), 0xA1B23C4D: (16, 10**9), 0xA1B2CD34: (24, 10**6)}
LIMIT = 64 * 1024 * 1024


@dataclass
class Frame:
    data: bytes
    wire_len: int
    ticks: int
    port: int = 0
    options: bytes = b""
    """Little-endian."""
    nanoseconds: int = 0


@dataclass
class Contents:
    items: list = field(default_factory=list)
    """`Frame`, or the bytes of another block."""
    end: str = "whole"
    """whole, truncated or lie"""

    @property
    def frames(self):
        return [item for item in self.items if isinstance(item, Frame)]

    @property
    def blocks(self):
        return [item for item in self.items if isinstance(item, bytes)]


def read(data: bytes) -> Contents:
    return read_pcapng(data) if data[:4] == b"\x0a\x0d\x0d\x0a" else read_pcap(data)


def read_pcap(data: bytes) -> Contents:
    order = "<" if struct.unpack("<I", data[:4])[0] in MAGICS else ">"
    header, rate = MAGICS[struct.unpack(order + "I", data[:4])[0]]
    contents = Contents()
    rest = data[24:]
    while rest:
        if len(rest) < header:
            contents.end = "truncated"
            break
        seconds, fraction, captured, original = struct.unpack(order + "4I", rest[:16])
        if captured > LIMIT or original >= 2**31:
            contents.end = "lie"
            break
        if len(rest) < header + captured:
            contents.end = "truncated"
            break
        ticks = seconds * rate + fraction
        contents.items.append(Frame(rest[header : header + captured], original, ticks, nanoseconds=ticks * 10**9 // rate))
        rest = rest[header + captured :]
    return contents


def options_of(data: bytes, order: str) -> list[tuple[int, bytes]] | None:
    found = []
    while data:
        if len(data) < 4:
            return None
        code, length = struct.unpack(order + "HH", data[:4])
        if code == 0:
            break
        padded = (length + 3) // 4 * 4
        if len(data) < 4 + padded:
            return None
        found.append((code, data[4 : 4 + padded], length))
        data = data[4 + padded :]
    return found


def little_endian(options, order: str) -> bytes:
    out = b""
    for code, value, length in options:
        turned = value
        if order == ">":
            if code in (2988, 2989, 19372, 19373) and length >= 4:
                turned = value[3::-1] + value[4:]
            elif (code in (2, 6) and length == 4) or (code in (4, 5) and length == 8):
                turned = value[::-1]
        out += struct.pack("<HH", code, length) + turned
    return out


def read_pcapng(data: bytes) -> Contents:
    contents = Contents()
    order, base, interfaces = "<", 0, []
    rest = data
    while rest:
        if len(rest) < 12:
            contents.end = "truncated"
            break
        is_section = rest[:4] == b"\x0a\x0d\x0d\x0a"
        of_block = order
        if is_section:
            if rest[8:12] not in (b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a"):
                contents.end = "lie"
                break
            of_block = ">" if rest[8:12] == b"\x1a\x2b\x3c\x4d" else "<"
        kind, total = struct.unpack(of_block + "II", rest[:8])
        if total % 4 or total < (28 if is_section else 12) or total > LIMIT + 4096:
            contents.end = "lie"
            break
        if len(rest) < total:
            contents.end = "truncated"
            break
        block, after = rest[:total], rest[total:]
        if block[-4:] != block[4:8]:
            contents.end = "lie"
            break
        order = of_block
        if kind in (2, 3, 6):
            frame = packet_of(block, kind, order, interfaces, base)
            if frame is None:
                contents.end = "lie"
                break
            contents.items.append(frame)
        else:
            if is_section:
                base = len(interfaces)
            if kind == 1:
                if total < 20:
                    contents.end = "lie"
                    break
                interfaces.append(interface_of(block, order))
            contents.items.append(block)
        rest = after
    return contents


def interface_of(block: bytes, order: str):
    snaplen = struct.unpack(order + "I", block[12:16])[0]
    rate, offset = 10**6, 0
    body = block[16:-4]
    while len(body) >= 4:
        code, length = struct.unpack(order + "HH", body[:4])
        if code == 0 or len(body) < 4 + length:
            break
        value = body[4 : 4 + length]
        if code == 9 and length == 1:
            rate = 2 ** (value[0] - 128) if value[0] >= 128 else 10 ** value[0]
        if code == 14 and length == 8:
            offset = struct.unpack(order + "q", value)[0]
        body = body[4 + (length + 3) // 4 * 4 :]
    return snaplen, rate, offset


def packet_of(block: bytes, kind: int, order: str, interfaces, base: int) -> Frame | None:
    if kind == 3:
        if len(block) < 16 or base >= len(interfaces):
            return None
        original = struct.unpack(order + "I", block[8:12])[0]
        snaplen = interfaces[base][0]
        captured = min(original, snaplen) if snaplen else original
        if (captured + 3) // 4 * 4 > len(block) - 16 or original >= 2**31:
            return None
        return Frame(block[12 : 12 + captured], original, 0, base)
    if len(block) < 32:
        return None
    number, high, low, captured, original = struct.unpack(order + "5I", block[8:28])
    if kind == 2:
        number = struct.unpack(order + "H", block[8:10])[0]
    if base + number >= len(interfaces) or (captured + 3) // 4 * 4 > len(block) - 32 or original >= 2**31:
        return None
    options = options_of(block[28 + (captured + 3) // 4 * 4 : -4], order)
    _, rate, offset = interfaces[base + number]
    ticks = high << 32 | low
    return Frame(
        block[28 : 28 + captured], original, ticks, base + number,
        b"" if options is None else little_endian(options, order),
        int(Fraction(ticks * 10**9, rate) // 1) + offset * 10**9 if rate < 2**64 else 0,
    )  # fmt: skip


def pcap_file(frames, *, order="<", nanoseconds=False, linktype=1, snaplen=262144) -> bytes:
    rate = 10**9 if nanoseconds else 10**6
    out = struct.pack(order + "IHHiIII", 0xA1B23C4D if nanoseconds else 0xA1B2C3D4, 2, 4, 0, 0, snaplen, linktype)
    for frame in frames:
        out += struct.pack(order + "4I", frame.ticks // rate, frame.ticks % rate, len(frame.data), frame.wire_len) + frame.data
    return out


def block(kind: int, body: bytes, order="<") -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)


def option(code: int, value: bytes, order="<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order="<", options=b"") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1) + options, order)


def interface(order="<", *, linktype=1, snaplen=262144, resolution=None, offset=None, name=None) -> bytes:
    options = b""
    if name is not None:
        options += option(2, name.encode(), order)
    if resolution is not None:
        options += option(9, bytes([resolution]), order)
    if offset is not None:
        options += option(14, struct.pack(order + "q", offset), order)
    if options:
        options += option(0, b"", order)
    return block(1, struct.pack(order + "HHI", linktype, 0, snaplen) + options, order)


def packet(frame: Frame, order="<", *, number=None, raw_options=b"") -> bytes:
    """`raw_options` stand in the order of the file."""
    number = frame.port if number is None else number
    body = struct.pack(order + "5I", number, frame.ticks >> 32, frame.ticks & 0xFFFFFFFF, len(frame.data), frame.wire_len)
    body += frame.data + bytes(-len(frame.data) % 4)
    if raw_options:
        body += raw_options + bytes(4)
    return block(6, body, order)
