"""Frames as ports hand them over: to the engines as a batch, to their twins one by one, and what came of them."""

import random
import struct

from pktpath.batch import (
    CHECKSUM_BAD,
    CHECKSUM_NONE,
    CHECKSUM_PARTIAL,
    CHECKSUM_UNNECESSARY,
    GSO_TCP_ACCECN,
    GSO_TCP_ECN,
    GSO_TCP_FIXEDID,
    Batch,
    frame_bytes,
)
from pktpath.offload.reason import Reason
from pktpath.port.memory import load
from pktpath.wire.link import Link
from pktpath.wire.parse import parse
from support.craft import FLAG_BITS
from support.hostile import hostile_round
from support.naive_gro import Arrival, Delivery

CHECKED = {"none": CHECKSUM_NONE, "good": CHECKSUM_UNNECESSARY, "bad": CHECKSUM_BAD, "partial": CHECKSUM_PARTIAL}
CHECKED_NAMES = {int(number): name for name, number in CHECKED.items()}
COOKED = {"SLL": bytes(14), "SLL2": b"", "NULL": b"", "LOOP": b"", "RAW": b""}


def batch_of(arrivals: list[Arrival]) -> Batch:
    """Return the arrivals as a parsed batch."""
    batch = load([arrival.data for arrival in arrivals])
    for i, arrival in enumerate(arrivals):
        batch.link[i] = Link[arrival.link]
        batch.in_port[i] = arrival.in_port
        batch.hash[i] = arrival.hash
        if arrival.tag:
            batch.vlan_proto[i], batch.vlan_tci[i] = arrival.tag
        batch.ip_summed[i] = CHECKED[arrival.checked]
        batch.wire_len[i] = max(arrival.wire_len, len(arrival.data))
        batch.gso_size[i] = arrival.gso_size
    parse(batch, 0, len(arrivals))
    return batch


def told(out: Batch) -> list[Delivery]:
    """Return what an engine delivered in the form of its twin."""
    deliveries = []
    for i in range(int(out.used[0])):
        rows = range(int(out.frag_first[i]), int(out.frag_first[i] + out.frag_count[i]))
        merged = len(rows) > 0
        kind = int(out.gso_type[i])
        deliveries.append(
            Delivery(
                frame_bytes(out, i), Reason(out.reason[i]).word, CHECKED_NAMES[int(out.ip_summed[i])],
                int(out.gso_segs[i]), int(out.gso_size[i]) if merged else 0, bool(kind & GSO_TCP_FIXEDID),
                bool(kind & (GSO_TCP_ECN | GSO_TCP_ACCECN)),
                tuple(int(out.frag_origin[row]) for row in rows) or (int(out.origin[i]),),
            )
        )  # fmt: skip
    return deliveries


def relinked(rng: random.Random, frame: bytes, link: str) -> bytes:
    """Put what follows an Ethernet header behind another link header."""
    if link == "ETHERNET":
        return frame
    ethertype, rest = frame[12:14], frame[14:]
    if link == "SLL":
        return bytes(13) + bytes([rng.choice((0, 0, 1))]) + ethertype + rest
    if link == "SLL2":
        return ethertype + bytes(18) + rest
    if link == "RAW":
        return rest
    family = {b"\x08\x00": 2, b"\x86\xdd": rng.choice((10, 30))}.get(ethertype, 99)
    return family.to_bytes(4, rng.choice(("big", "little")) if link == "NULL" else "big") + rest


def hostile_arrivals(seed: int, most: int) -> list[Arrival]:
    """Return a hostile round on ports that do more than a TAP does."""
    rng = random.Random(seed ^ 0x5EED)
    link = rng.choice(("ETHERNET", "ETHERNET", "ETHERNET", *COOKED))
    strange = rng.choice((0.0, 0.0, 0.05))
    hashes = rng.choice(([0], [0], [3, 11, 11, 4, 0xFFFFFFFF]))
    tagged = rng.choice((0, 0, 1, 2))
    vouched = rng.choice(("none", "good"))
    arrivals = []
    for frame in hostile_round(seed, most):
        data = relinked(rng, frame, link)
        if tagged and link == "ETHERNET":
            tci = rng.choice((5, 5, 5, 5, 5, 6))
            data = frame[:12] + b"\x88\xa8\0\1" * (tagged - 1) + b"\x81\0" + tci.to_bytes(2) + frame[12:]
        arrival = Arrival(data, link, checked=vouched, hash=hashes[frame[-1] % len(hashes)] if len(hashes) > 1 else 0)
        if rng.random() < strange:
            arrival.in_port = 1
        if rng.random() < strange:
            arrival.tag = rng.choice(((0x8100, 1), (0x88A8, 1), (0x8100, 2)))
        if rng.random() < strange:
            arrival.checked = rng.choice(("good", "bad", "partial"))
        if rng.random() < strange:
            arrival.wire_len = len(data) + 1
        if rng.random() < strange / 2:
            arrival.gso_size = 100
        arrivals.append(arrival)
    return arrivals


def check_books(arrivals, out, table) -> None:
    """Nothing is lost in the books that every engine keeps: counters, chunks, parked descriptors, sums of payload."""
    assert int(table.counts.sum()) == int(out.used[0])
    assert int(table.counts.sum() + table.merged[0]) == len(arrivals)
    assert len(set(table.free_parked.tolist())) == len(table.parked.frames)
    merged = [i for i in range(int(out.used[0])) if out.frag_count[i]]
    assert int(out.pool.refs.sum()) == len(merged)
    for i in merged:
        known = int(out.payload_sum[i])
        if known >= 0:
            payload = frame_bytes(out, i)[int(out.payload_offset[i]) :]
            assert (
                known % 0xFFFF == sum(struct.unpack(f"!{(len(payload) + 1) // 2}H", payload + bytes(len(payload) & 1))) % 0xFFFF
            )


def described(batch: Batch, i: int) -> dict[str, str]:
    """Return a frame in the words of a case: what its descriptor says, and its headers where it has any."""
    told = {
        "len": int(batch.payload_len[i]),
        "segs": int(batch.gso_segs[i]),
        "size": int(batch.gso_size[i]),
        "reason": Reason(batch.reason[i]).word,
    }
    data = frame_bytes(batch, i)
    network, transport = int(batch.network_offset[i]), int(batch.transport_offset[i])
    told["sport"] = int.from_bytes(data[transport : transport + 2])
    if batch.protocol[i] == 6 and transport:
        header = data[transport : int(batch.payload_offset[i])]
        told["seq"], told["ack"] = struct.unpack_from(">II", header, 4)
        told["flags"] = "".join(letter for letter, bit in FLAG_BITS.items() if header[13] & bit)
        told["window"] = int.from_bytes(header[14:16])
        told["urgent"] = int.from_bytes(header[18:20])
        told["options"] = header[20:].hex()
    if batch.network[i] == 4:
        told["tos"], told["id"], told["ttl"] = (
            data[network + 1],
            int.from_bytes(data[network + 4 : network + 6]),
            data[network + 8],
        )
    return {name: str(value) for name, value in told.items()}
