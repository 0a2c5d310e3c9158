"""Random rounds of TCP flows that try every rule of LRO: each from a seed, so that a failure can be repeated."""

import random
import struct

from support.arrivals import hostile_arrivals
from support.craft import Packet, flag_bits
from support.naive_gro import Arrival

_CHANGES = (
    *({"flags": flag_bits(letters)} for letters in ("AC", "AE", "AU", "", "AR", "AS", "AF", "AP", "AP", "AN", "P")),
    *({name: value} for name, value in (("ttl", 3), ("tos", 3), ("tos", 2), ("df", False), ("id", 4711), ("urgent", 9))),
    *({"options": options} for options in (b"", b"\1\1\1\1", b"\x08\x0a" + bytes(7) + b"\1\1\1", b"\x01" * 12)),
    {"payload": b""}, {"padding": bytes(5)}, {"ip_options": b"\1\1\1\0"}, {"mf": True}, {"fragment_offset": 3},
    {"reserved": True},
    {"checksum_error": 1}, {"partial": True}, {"ip_checksum_error": 1}, {"ip_length_error": -4}, {"ip_length_error": 4},
    {"data_offset": 4}, {"data_offset": 15}, {"protocol": "17"}, {"ethertype": 0x806},
)  # fmt: skip


class _Flow:
    def __init__(self, rng: random.Random, number: int) -> None:
        self.rng = rng
        self.packet = Packet(
            sport=number,
            seq=rng.choice((0, 100, 0xFFFFFF00)),
            ack=rng.randrange(1 << 32),
            tags=rng.choice(((), (), ((0x8100, 5),))),
        )
        self.size = rng.choice((1, 33, 100, 1448, 8948, 30000))
        self.stamp = rng.choice((None, None, 7, 0xFFFFFFF0))

    def next(self, hostility: float) -> Packet:
        rng = self.rng
        size = self.size if rng.random() < 0.8 else rng.randrange(1, self.size + 1)
        packet = self.packet.but(
            payload=rng.randbytes(4) * (size // 4) + rng.randbytes(size % 4),
            ack=self.packet.ack + rng.choice((0, 0, 9)), window=rng.choice((65535, 65535, 100)), id=rng.randrange(65536),
            flags=flag_bits(rng.choice(("A", "A", "A", "AP"))),
        )  # fmt: skip
        if self.stamp is not None and rng.random() < 0.95:
            self.stamp += rng.choice((0, 0, 1, 1, -1)) if rng.random() < 0.5 else 1
            packet = packet.but(
                options=b"\x01\x01\x08\x0a" + struct.pack(">II", self.stamp & 0xFFFFFFFF, rng.choice((1, 2, 3, 4, 5, 6, 7, 8, 0)))
            )
        if rng.random() < hostility:
            packet = packet.but(**rng.choice(_CHANGES))
        step = rng.choice((-1, 1, 1000)) if rng.random() < hostility / 4 else 0
        self.packet = self.packet.but(seq=(packet.seq + len(packet.payload) + step) & 0xFFFFFFFF, ack=packet.ack & 0xFFFFFFFF)
        return packet


def lro_round(seed: int, most: int = 60) -> list[Arrival]:
    """Return 1 to `most` frames of 1 to 12 flows, on a port that looks at checksums or does not; some are of no flow at all."""
    if seed % 4 == 3:
        return hostile_arrivals(seed, most)
    rng = random.Random(seed)
    hostility = rng.choice((0.0, 0.03, 0.2))
    flows = [_Flow(rng, number) for number in range(rng.choice((1, 2, 3, 8, 12)))]
    burst = rng.choice((1, 4, 30))
    vouched = rng.choice(("none", "good"))
    arrivals: list[Arrival] = []
    count = rng.randint(1, most)
    while len(arrivals) < count:
        flow = rng.choice(flows)
        for _ in range(rng.randint(1, burst)):
            arrival = Arrival(flow.next(hostility).frame(), checked=vouched)
            if rng.random() < hostility / 8:
                arrival.checked = rng.choice(("good", "bad", "partial"))
            if rng.random() < hostility / 8:
                arrival.tag = rng.choice(((0x8100, 1), (0x88A8, 1), (0x8100, 2)))
            if rng.random() < hostility / 8:
                arrival.in_port = 1
            if rng.random() < hostility / 16:
                arrival.wire_len = len(arrival.data) + 1
            if rng.random() < hostility / 16:
                arrival.gso_size = 100
            arrivals.append(arrival)
    return arrivals[:count]
