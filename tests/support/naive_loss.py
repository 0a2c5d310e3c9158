"""What merging loses, from the bytes of the frames: cut the merged one again and look which originals are there."""

import struct
from collections import Counter

from pktpath.features import Feature
from support.naive_gso import naive_gso, ones_sum, pseudo, split, u16

STAMP = bytes([1, 1, 8, 10])


def recut(merged: bytes, network_at: int, gso_type: int, gso_size: int, rules) -> list[bytes]:
    """Return the frames that software segmentation makes of a merged one."""
    wires = naive_gso(merged, network_at=network_at, gso_type=gso_type, gso_size=gso_size, features=Feature.SG, rules=rules)
    return [wire.data for wire in wires]


def fields(frame: bytes, network_at: int) -> dict[str, object]:
    """Return what a frame says besides its payload, lengths, sequence number and checksums."""
    packet = frame[network_at:]
    said: dict[str, object] = {"link": frame[:network_at]}
    if packet[0] >> 4 == 4:
        start = 20
        said |= {"tos": packet[1], "ip_id": packet[4:6], "fragment_bits": packet[6:8], "ttl": packet[8]}
        protocol = packet[9]
    else:
        said |= {"tos": packet[0:2], "ttl": packet[7]}
        protocol, start = packet[6], 40
        while protocol in (0, 43, 60):
            protocol, start = packet[start], start + packet[start + 1] * 8 + 8
        said["extensions"] = packet[40:start]
    said["options"] = b""
    if protocol == 6:
        tcp = packet[start:]
        said |= {"acknowledgment": tcp[8:12], "flags": (tcp[12] & 15, tcp[13]), "window": tcp[14:16], "urgent": tcp[18:20]}
        options = tcp[20 : (tcp[12] >> 4) * 4]
        if len(options) == 12 and options[:4] == STAMP:
            said |= {"options": "stamp", "tsval": options[4:8], "tsecr": options[8:12]}
        else:
            said["options"] = options
    return said


def odd_checksum(frame: bytes, network_at: int) -> bool:
    """Whether a checksum is right in a way in which nobody would write it anew, or left to the device."""
    version, headers, protocol, transport = split(frame, network_at)
    if version == 4 and u16(headers, 10) == 0xFFFF:
        return True
    if protocol == 6 and u16(transport, 16) == 0xFFFF:
        return True
    return ones_sum(struct.pack(">H", pseudo(headers, protocol, len(transport))) + transport) != 0xFFFF


def losses(originals: list[bytes], sizes: list[int], pieces: list[bytes], gso_size: int, network_at: int) -> Counter[str]:
    """Count what `pieces` do not have of `originals`, whose payloads have these sizes and stand behind each other."""
    counts: Counter[str] = Counter()
    at, total = 0, sum(sizes)
    left = Counter(pieces)
    for original, size in zip(originals, sizes, strict=True):
        piece = pieces[at // gso_size]
        found = set()
        if at % gso_size or size != min(gso_size, total - at):
            found.add("boundary")
        one, other = fields(original, network_at), fields(piece, network_at)
        found |= {"options" if name == "extensions" else name for name in one if one[name] != other.get(name)}
        if odd_checksum(original, network_at):
            found.add("checksum")
        if left[original] > 0:
            left[original] -= 1
            assert not found, (found, original.hex(), piece.hex())
        else:
            assert found, (original.hex(), piece.hex())
            counts["lost"] += 1
        counts.update(found)
        at += size
    counts["merged"] += len(originals)
    counts["merged_frames"] += 1
    return counts
