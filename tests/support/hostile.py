"""Random rounds of frames that try every rule of GRO: each from a seed, so that a failure can be repeated."""

import random
import struct

from support.craft import Packet, flag_bits

_SIZES = (1, 2, 7, 64, 100, 101, 536, 1000, 1447, 1448, 8000, 8900)
_OTHER = {
    "window": 77, "ack": 4711, "ttl": 3, "tos": 0x10, "df": False, "reserved": True, "mf": True, "fragment_offset": 3,
    "urgent": 9,
    "checksum_error": 1, "ip_checksum_error": 1, "ip_length_error": -4, "ip_options": b"\x01\x01\x01\x00", "flow_label": 0x12345,
    "udp_length_error": -3, "data_offset": 4, "partial": True, "checksum": 0, "padding": bytes(6), "protocol": "132",
}  # fmt: skip
_TCP_ONLY = {"window", "ack", "urgent", "data_offset"}
_SINGLE_FLAGS = "FSRPUECN"


class _Flow:
    """A sender: where it is in its stream, and what its packets have in common."""

    def __init__(self, rng: random.Random, number: int, sizes: tuple[int, ...]) -> None:
        self.rng = rng
        self.size = rng.choice(sizes)
        self.id = rng.choice((0, 1, 65530, rng.randrange(65536)))
        self.id_step = rng.choice((0, 1, 1, 1, 2))
        self.timestamp = rng.choice((None, None, 7, 0xFFFFFFFF))
        self.timestamp_step = rng.choice((0, 0, 0, 1))
        family = rng.choice((4, 4, 6))
        extensions: tuple[tuple[int, bytes], ...] = ()
        if family == 6 and rng.random() < 0.3:
            kind = rng.choice((0, 43, 60))
            extensions = ((kind, b"\x01\x04\0\0\0\0" if kind != 43 else b"\0\0\0\0\0\0"),)
            if rng.random() < 0.3:
                extensions += ((60, b"\x01\x0c" + bytes(12)),)
        self.packet = Packet(
            family=family, protocol=rng.choice(("tcp", "tcp", "udp")), sport=1000 + number * rng.choice((0, 1, 1)),
            seq=rng.choice((0, 1, 0xFFFFFF00, rng.randrange(1 << 32))), df=rng.random() < 0.7,
            flags=flag_bits(rng.choice(("A", "A", "A", "AE", "AC", "AN", ""))),
            extensions=extensions, flow_label=rng.choice((0, 0, 5)), tos=rng.choice((0, 0, 2, 3, 0xB8)),
        )  # fmt: skip

    def next(self, hostility: float) -> bytes:
        rng = self.rng
        length = self.size
        changes: dict[str, object] = {}
        mutate = rng.random() < hostility
        if mutate and rng.random() < 0.3:
            length = rng.choice((0, 1, max(self.size - 1, 0), self.size + 1, self.size // 2))
        fill = rng.randrange(256)
        payload = bytes((fill, *([fill ^ 0x5A] * max(length - 2, 0)), fill ^ 0xFF))[:length] if length else b""
        packet = self.packet.but(payload=payload, id=self.id & 0xFFFF)
        if self.timestamp is not None and packet.protocol == "tcp":
            packet = packet.but(options=b"\x01\x01\x08\x0a" + struct.pack(">II", self.timestamp & 0xFFFFFFFF, 99))
            self.timestamp += self.timestamp_step
        if mutate:
            changes = self._mutation(packet)
        self.packet = self.packet.but(seq=(self.packet.seq + length) & 0xFFFFFFFF)
        self.id += self.id_step
        frame = packet.but(**changes).frame()
        if mutate and rng.random() < 0.05:
            return _corrupted(rng, frame)
        if mutate and rng.random() < 0.05:
            return frame[: rng.randrange(14, len(frame) + 1)]
        return frame

    def _mutation(self, packet: Packet) -> dict[str, object]:
        rng = self.rng
        changes: dict[str, object] = {}
        for _ in range(rng.choice((0, 1, 1, 1, 2))):
            kind = rng.randrange(10)
            if kind < 2:
                changes["flags"] = packet.flags ^ flag_bits(rng.choice(_SINGLE_FLAGS))
            elif kind == 2:
                changes["seq"] = packet.seq + rng.choice((-1, 1, -self.size, self.size, 1 << 31))
            elif kind == 3:
                changes["id"] = rng.choice((self.id - 1, self.id + 1, 0)) & 0xFFFF
            elif kind == 4 and packet.protocol == "tcp":
                changes["options"] = rng.choice(
                    (b"\x01\x01\x01\x00", b"\x01\x08\x0a\0\0\0\1\0\0\0\2\x01", b"\x02\x04\x05\xb4", b"\x01" * 40)
                )
            elif kind == 5 and packet.family == 6:
                changes["extensions"] = rng.choice(
                    (((60, bytes(6)),), ((44, b"\0\0\0\0\0\1"),), ((0, bytes(6)), (43, bytes(14))), ((255, bytes(6)),))
                )
            elif kind == 6:
                changes["link"] = rng.choice((bytes(12), b"\xff" * 6 + bytes(6), packet.link))
                changes["ethertype"] = rng.choice((None, None, 0x88B5, 0x0806))
            else:
                name = rng.choice(list(_OTHER))
                changes[name] = _OTHER[name]
        if packet.protocol != "tcp":
            changes = {name: value for name, value in changes.items() if name not in _TCP_ONLY}
        return changes


def _corrupted(rng: random.Random, frame: bytes) -> bytes:
    """Change one byte behind the ethertype; not the version nibble, which the kernel does not look at."""
    at = rng.randrange(15, len(frame)) if len(frame) > 15 else 0
    return frame[:at] + bytes([frame[at] ^ 1 << rng.randrange(8)]) + frame[at + 1 :]


def hostile_round(seed: int, most: int = 60) -> list[bytes]:
    """Return 1 to `most` frames of 1 to 12 flows: losses, duplicates, reordering, and fields that change."""
    rng = random.Random(seed)
    hostility = rng.choice((0.0, 0.03, 0.1, 0.4))
    disorder = rng.choice((0.0, 0.0, 0.05, 0.2))
    sizes = rng.choice((_SIZES, (1448,), (8900,), (rng.choice(_SIZES),)))
    flows = [_Flow(rng, number, sizes) for number in range(rng.choice((1, 2, 3, 8, 12)))]
    frames: list[bytes] = []
    burst = rng.choice((1, 4, 16))
    count = rng.randint(1, most)
    while len(frames) < count:
        flow = rng.choice(flows)
        for _ in range(rng.randint(1, burst)):
            frame = flow.next(hostility)
            roll = rng.random()
            if roll < disorder / 3:
                continue
            if roll < disorder * 2 / 3:
                frames.append(frame)
            frames.append(frame)
            if roll < disorder and len(frames) > 1:
                frames[-1], frames[-2] = frames[-2], frames[-1]
    return frames[:count]
