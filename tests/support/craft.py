"""Frames from named fields, right unless a field says otherwise."""

import struct
from dataclasses import dataclass, field, replace

FLAG_BITS = {"F": 0x001, "S": 0x002, "R": 0x004, "P": 0x008, "A": 0x010, "U": 0x020, "E": 0x040, "C": 0x080, "N": 0x100}
ADDRESSES = {
    4: (bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2])),
    6: (b"\x20\x01\x0d\xb8" + bytes(11) + b"\1", b"\x20\x01\x0d\xb8" + bytes(11) + b"\2"),
}


def word_sum(data: bytes) -> int:
    """Ones' complement sum of big-endian words, folded."""
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total >> 16) + (total & 0xFFFF)
    return total


def flag_bits(letters: str) -> int:
    """Return the TCP flag word of letters out of FSRPAUEC and N (the AE bit)."""
    return sum(FLAG_BITS[letter] for letter in letters)


@dataclass(frozen=True)
class Packet:
    """One TCP or UDP packet; `frame()` gives its bytes."""

    family: int = 4
    protocol: str = "tcp"
    payload: bytes = b""
    # link
    link: bytes = bytes.fromhex("020000000009 020000000008")
    """Whatever stands before the ethertype; b"" and `bare` for a raw IP packet."""
    bare: bool = False
    tags: tuple[tuple[int, int], ...] = ()
    """VLAN tags: (ethertype, TCI)."""
    ethertype: int | None = None
    padding: bytes = b""
    # network
    source: bytes = b""
    destination: bytes = b""
    ttl: int = 64
    tos: int = 0
    id: int = 0
    df: bool = True
    mf: bool = False
    reserved: bool = False
    fragment_offset: int = 0
    ip_options: bytes = b""
    ip_checksum_error: int = 0
    ip_length_error: int = 0
    flow_label: int = 0
    extensions: tuple[tuple[int, bytes], ...] = ()
    """IPv6 extension headers: (type, everything after the length byte)."""
    # transport
    sport: int = 1500
    dport: int = 8000
    seq: int = 100
    ack: int = 100
    flags: int = 0x10
    window: int = 65535
    urgent: int = 0
    options: bytes = b""
    data_offset: int | None = None
    checksum_error: int = 0
    """Added to the right checksum."""
    checksum: int | None = field(default=None)
    """Stands instead of the right one."""
    partial: bool = False
    """The checksum field holds the pseudo-header sum, as at a sender with checksum offload."""
    udp_length_error: int = 0

    def but(self, **changes: object) -> "Packet":
        """Return the same packet with other fields."""
        return replace(self, **changes)

    def frame(self) -> bytes:
        """Return the bytes on the wire."""
        return self._link_header() + self._network() + self.padding

    def _link_header(self) -> bytes:
        if self.bare:
            return self.link
        ethertype = self.ethertype or (0x0800 if self.family == 4 else 0x86DD)
        tags = b"".join(struct.pack(">HH", kind, tci) for kind, tci in self.tags)
        return self.link + tags + struct.pack(">H", ethertype)

    @property
    def addresses(self) -> bytes:
        """Source and destination."""
        source, destination = ADDRESSES[self.family]
        return (self.source or source) + (self.destination or destination)

    @property
    def number(self) -> int:
        """Protocol number."""
        return {"tcp": 6, "udp": 17}.get(self.protocol) or int(self.protocol)

    def _network(self) -> bytes:
        body = self._transport()
        if self.family == 6:
            kinds = [kind for kind, _ in self.extensions] + [self.number]
            extensions = b""
            for (_, content), following in zip(self.extensions, kinds[1:], strict=True):
                extensions += bytes([following, (len(content) + 2) // 8 - 1]) + content
            first = 6 << 28 | self.tos << 20 | self.flow_label
            length = (len(extensions) + len(body) + self.ip_length_error) & 0xFFFF
            return struct.pack(">IHBB", first, length, kinds[0], self.ttl) + self.addresses + extensions + body
        header_length = 20 + len(self.ip_options)
        fragment = self.reserved << 15 | self.df << 14 | self.mf << 13 | self.fragment_offset
        length = (header_length + len(body) + self.ip_length_error) & 0xFFFF
        head = struct.pack(">BBHHHBB", 0x40 | header_length // 4, self.tos, length, self.id, fragment, self.ttl, self.number)
        tail = self.addresses + self.ip_options
        check = (~word_sum(head + tail) + self.ip_checksum_error) & 0xFFFF
        return head + struct.pack(">H", check) + tail + body

    def _transport(self) -> bytes:
        if self.protocol == "udp":
            length = 8 + len(self.payload)
            head = struct.pack(">HHH", self.sport, self.dport, (length + self.udp_length_error) & 0xFFFF)
            tail = self.payload
        elif self.protocol == "tcp":
            offset = self.data_offset if self.data_offset is not None else 5 + len(self.options) // 4
            words = (self.sport, self.dport, self.seq & 0xFFFFFFFF, self.ack & 0xFFFFFFFF, offset << 12 | self.flags, self.window)
            head = struct.pack(">HHIIHH", *words)
            tail = struct.pack(">H", self.urgent) + self.options + self.payload
        else:
            return self.payload
        pseudo = word_sum(self.addresses + struct.pack(">HH", self.number, (len(head) + 2 + len(tail)) & 0xFFFF))
        check = (~word_sum(struct.pack(">H", pseudo) + head + tail) + self.checksum_error) & 0xFFFF
        if self.protocol == "udp" and check == 0:
            check = 0xFFFF
        if self.partial:
            check = pseudo
        if self.checksum is not None:
            check = self.checksum
        return head + struct.pack(">H", check) + tail
