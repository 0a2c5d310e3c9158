"""IP reassembly of Ethernet frames the obvious way: on bytes, one datagram as a dictionary of ranges."""

from support.naive_checksum import EXTENSIONS, add


def reassemble(frames, timestamps):
    """Return (bytes, indices of the frames that they came from, reason) of each frame that leaves, in order."""
    waiting, datagrams, member = {}, [], {}
    reasons = {}
    for i, frame in enumerate(frames):
        parsed = dissect(frame)
        if parsed is None:
            continue
        if isinstance(parsed, str):
            reasons[i] = parsed
            continue
        key, version, place, payload, more = parsed
        datagram = waiting.get(key)
        limit = (30 if version == 4 else 60) * 10**9
        if datagram is not None and timestamps[i] - datagram["start"] > limit:
            if datagram["state"] == "missing_fragment":
                datagram["state"] = "fragment_timeout"
            datagram = None
        if datagram is None or datagram["state"] == "whole":
            datagram = {"start": timestamps[i], "state": "missing_fragment", "parts": [], "end": None}
            datagrams.append(datagram)
            waiting[key] = datagram
        if datagram["state"] == "missing_fragment":
            if (place, len(payload)) in [(p, len(data)) for p, data, _, _ in datagram["parts"]]:
                reasons[i] = "duplicate_fragment"
                continue
            member[i] = datagram
            add_part(datagram, place, payload, more, i, frames)
        else:
            member[i] = datagram
    out = []
    for i, frame in enumerate(frames):
        datagram = member.get(i)
        if datagram is None:
            out.append((frame, [i], reasons.get(i, "none")))
        elif datagram["state"] != "whole":
            out.append((frame, [i], datagram["state"]))
        elif i == datagram["completed_by"]:
            out.append((datagram["bytes"], [part[3] for part in sorted(datagram["parts"])], "none"))
    return out


def add_part(datagram, place, payload, more, i, frames):
    end = place + len(payload)
    if end > 65535:
        datagram["state"] = "datagram_too_long"
        return
    ends = [p + len(data) for p, data, _, _ in datagram["parts"]]
    overlaps = any(place < p + len(data) and p < end for p, data, _, _ in datagram["parts"])
    beyond = (not more and (datagram["end"] is not None or max(ends, default=0) > end)) or (
        datagram["end"] is not None and end > datagram["end"]
    )
    if overlaps or beyond:
        datagram["state"] = "overlapping_fragment"
        return
    datagram["parts"].append((place, payload, more, i))
    if not more:
        datagram["end"] = end
    if datagram["end"] is not None and sum(len(data) for _, data, _, _ in datagram["parts"]) == datagram["end"]:
        put_together(datagram, i, frames)


def put_together(datagram, completed_by, frames):
    parts = sorted(datagram["parts"])
    payload = b"".join(data for _, data, _, _ in parts)
    marks = {ecn(frames[i]) for _, _, _, i in parts}
    frame = bytearray(frames[parts[0][3]])
    at = network(frame)
    if frame[at] >> 4 == 4:
        head = frame[: at + (frame[at] & 15) * 4]
        size = len(head) - at + len(payload)
        head[at + 2 : at + 4] = (size & 0xFFFF).to_bytes(2)
        head[at + 6 : at + 8] = bytes([head[at + 6] & 0x40, 0])
        if 3 in marks:
            head[at + 1] |= 3
        head[at + 10 : at + 12] = bytes(2)
        head[at + 10 : at + 12] = (0xFFFF - add(bytes(head[at:]))).to_bytes(2)
    else:
        announced, fragment = fragment_header(frame, at)
        head = frame[:fragment]
        head[announced] = frame[fragment]
        size = fragment - at - 40 + len(payload)
        head[at + 4 : at + 6] = (size & 0xFFFF).to_bytes(2)
        if 3 in marks:
            head[at + 1] |= 0x30
    if size > 65535:
        datagram["state"] = "datagram_too_long"
    elif {0, 3} <= marks:
        datagram["state"] = "fragment_ecn"
    else:
        datagram.update(state="whole", bytes=bytes(head) + payload, completed_by=completed_by)


def ecn(frame):
    at = network(frame)
    return frame[at + 1] & 3 if frame[at] >> 4 == 4 else frame[at + 1] >> 4 & 3


def network(frame):
    at = 14
    while frame[at - 2 : at] in (b"\x81\x00", b"\x88\xa8"):
        at += 4
    return at


def fragment_header(frame, at):
    announced, header = at + 6, at + 40
    while frame[announced] != 44:
        announced, header = header, header + (frame[header + 1] + 1) * 8
    return announced, header


def dissect(frame):
    """Return (key, version, offset, payload, more follow), a reason, or None for a frame that is no fragment."""
    at = network(frame)
    packet = frame[at:]
    if len(packet) < (20 if frame[at - 2 : at] == b"\x08\x00" else 40):
        return None
    if frame[at - 2 : at] == b"\x08\x00":
        header = (packet[0] & 15) * 4
        total, word = int.from_bytes(packet[2:4]), int.from_bytes(packet[6:8])
        if not word & 0x3FFF:
            return None
        key = (frame[:at], packet[12:20], packet[4:6], packet[9])
        place, more, payload, told = (word & 0x1FFF) * 8, bool(word & 0x2000), packet[header:total], total - header
        wrong_sum, version, protocol = add(packet[:header]) != 0xFFFF, 4, packet[9]
    else:
        kind, start = packet[6], 40
        while kind in EXTENSIONS and kind != 44:
            kind, start = packet[start], start + (packet[start + 1] + 1) * 8
        if kind != 44 or len(packet) < start + 8:
            return None
        word, protocol = int.from_bytes(packet[start + 2 : start + 4]), packet[start]
        key = (frame[:at], packet[8:40], packet[start + 4 : start + 8])
        end = 40 + int.from_bytes(packet[4:6])
        place, more, payload, told = word & 0xFFF8, bool(word & 1), packet[start + 8 : end], end - start - 8
        wrong_sum, version = False, 6
    least = {6: 20, 17: 8}.get(protocol, 0)
    if protocol == 6 and len(payload) >= 20:
        least = (payload[12] >> 4) * 4
    if place == 0 and told < least:
        return "malformed"
    if told > len(payload):
        return "cut_by_snaplen"
    if wrong_sum:
        return "bad_ip_checksum"
    if not payload or (more and len(payload) % 8):
        return "bad_fragment"
    if place == 0 and not more:
        return None  # the whole packet (RFC 6946)
    return key, version, place, payload, more
