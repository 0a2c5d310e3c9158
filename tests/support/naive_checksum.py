"""Checksums of one Ethernet frame, judged and completed the obvious way, on bytes."""

EXTENSIONS = (0, 43, 44, 60)


def add(data: bytes) -> int:
    """Ones' complement sum of 16-bit words."""
    if len(data) % 2:
        data += b"\0"
    total = sum(int.from_bytes(data[k : k + 2]) for k in range(0, len(data), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def judge(frame: bytes, wire_len: int | None = None) -> tuple[str, str]:
    """Return the states of the transport and of the IPv4 header checksum."""
    wire_len = len(frame) if wire_len is None else wire_len
    found = _ip(frame)
    if isinstance(found, str):
        return found, "not_applicable"
    version, at = found
    packet, on_wire = frame[at:], wire_len - at
    if version == 4:
        return _ipv4(packet, on_wire)
    return _ipv6(packet, on_wire), "not_applicable"


def _ip(frame):
    """Return (version, offset) of the IP header, or the state of a frame without one."""
    if len(frame) < 14:
        return "not_applicable"
    at, kind = 14, frame[12:14]
    while kind in (b"\x81\x00", b"\x88\xa8"):
        if len(frame) < at + 4:
            return "not_verifiable"
        kind = frame[at + 2 : at + 4]
        at += 4
    if kind not in (b"\x08\x00", b"\x86\xdd"):
        return "not_applicable"
    version, least = (4, 20) if kind == b"\x08\x00" else (6, 40)
    if len(frame) < at + least or frame[at] >> 4 != version:
        return "not_verifiable"
    if version == 4 and (frame[at] & 15 < 5 or len(frame) < at + (frame[at] & 15) * 4):
        return "not_verifiable"
    return version, at


def _ipv4(packet, on_wire):
    header = packet[: (packet[0] & 15) * 4]
    state = "right" if add(header) == 0xFFFF else "zero" if header[10:12] == b"\0\0" else "wrong"
    zero_length = packet[2:4] == b"\0\0"
    total = on_wire if zero_length else int.from_bytes(packet[2:4])
    if total < len(header):
        return "not_verifiable", state
    fragment = int.from_bytes(packet[6:8]) & 0x3FFF
    upper = packet[len(header) : total] if total <= len(packet) else None
    return _upper(4, packet[9], header[12:20], upper, fragment=fragment, no_length=zero_length), state


def _ipv6(packet, on_wire):
    length = int.from_bytes(packet[4:6])
    kind, at, jumbo, fragment = packet[6], 40, 0, 0
    while kind in EXTENSIONS:
        if len(packet) < at + 8:
            return "not_verifiable"
        size = 8 if kind == 44 else (packet[at + 1] + 1) * 8
        if len(packet) < at + size:
            return "not_verifiable"
        if kind == 44:
            word = int.from_bytes(packet[at + 2 : at + 4])
            fragment |= word & 0xFFF9
            if word >> 3:
                kind = packet[at]
                return _upper(6, kind, packet[8:40], None, fragment=1, no_length=False)
        elif kind == 43:
            fragment |= packet[at + 3]  # segments left
        elif kind == 0 and length == 0:
            jumbo = _jumbo(packet[at + 2 : at + size])
        kind = packet[at]
        at += size
    if jumbo and kind == 58:
        return "not_verifiable"
    end = 40 + (length or jumbo or on_wire - 40)
    upper = packet[at:end] if end <= len(packet) else None
    if end < at:
        upper = b""
    return _upper(6, kind, packet[8:40], upper, fragment=fragment, no_length=length == 0)


def _jumbo(options):
    k = 0
    while k + 1 < len(options):
        if options[k] == 0:
            k += 1
            continue
        if options[k] == 0xC2 and options[k + 1] == 4 and k + 6 <= len(options):
            return int.from_bytes(options[k + 2 : k + 6])
        k += options[k + 1] + 2
    return 0


def _upper(version, protocol, addresses, upper, *, fragment, no_length):
    """Judge the bytes of a transport packet; `upper` is None where they are not all here."""
    known = (1, 6, 17) if version == 4 else (58, 6, 17)
    too_short = protocol in (6, 17) and not fragment and upper is not None and len(upper) < (20 if protocol == 6 else 8)
    if too_short:
        return "not_verifiable"
    if protocol not in known:
        return "not_applicable"
    if fragment or upper is None or len(upper) < 8:
        return "not_verifiable"
    if protocol == 6 and not 20 <= (upper[12] >> 4) * 4 <= len(upper):
        return "not_verifiable"
    if protocol == 17:
        told = int.from_bytes(upper[4:6])
        if not (told == 0 and no_length):
            if not 8 <= told <= len(upper):
                return "not_verifiable"
            upper = upper[:told]
        if upper[6:8] == b"\0\0":
            return "zero"
    pseudo = b"" if protocol == 1 else addresses + len(upper).to_bytes(4) + protocol.to_bytes(4)
    if add(pseudo + upper) == 0xFFFF:
        return "right"
    if protocol in (1, 58):
        return "wrong"
    field = int.from_bytes(upper[16:18] if protocol == 6 else upper[6:8])
    if field == add(pseudo):
        return "partial"
    return "partial_no_length" if field == add(addresses + protocol.to_bytes(4)) else "wrong"
