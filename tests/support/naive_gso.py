"""Segmentation in plain Python, from the rules: bytes in, a list of bytes out. Slow and obvious."""

import struct
from dataclasses import dataclass

from pktpath.batch import (
    GSO_PARTIAL,
    GSO_TCP_ACCECN,
    GSO_TCP_ECN,
    GSO_TCP_FIXEDID,
    GSO_TCPV4,
    GSO_TCPV6,
    GSO_UDP,
    GSO_UDP_L4,
)
from pktpath.features import Feature

TCP, UDP = 6, 17


@dataclass(frozen=True)
class Wire:
    """One outgoing frame, and what the device still has to do."""

    data: bytes
    partial: tuple[int, int] | None = None
    """(csum_start, csum_offset) of a checksum left to the device."""
    gso_size: int = 0
    gso_segs: int = 1


def ones_sum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(word for (word,) in struct.iter_unpack("!H", data))
    while total > 0xFFFF:
        total = total // 0x10000 + total % 0x10000
    return total


def u16(data, at):
    return int.from_bytes(data[at : at + 2], "big")


def put16(data, at, value):
    return data[:at] + struct.pack("!H", value) + data[at + 2 :]


def split(frame, network_at):
    """Return (version, IP headers, protocol, transport and payload) by the frame's own headers."""
    packet = frame[network_at:]
    if packet[0] >> 4 == 4:
        size = packet[0] % 16 * 4
        length = u16(packet, 2) or len(packet)
        return 4, packet[:size], packet[9], packet[size:length]
    length, at, following = u16(packet, 4), 40, packet[6]
    if following == 0 and packet[41] == 0 and packet[42:44] == b"\xc2\x04":
        # BIG TCP: the jumbo header says the length and goes.
        length = length or int.from_bytes(packet[44:48], "big")
        packet = packet[:6] + packet[40:41] + packet[7:40] + packet[48:]
        length -= 8
        following = packet[6]
    while following in (0, 43, 60):
        following = packet[at]
        at += (packet[at + 1] + 1) * 8
    return 6, packet[:at], following, packet[at : 40 + length]


def pseudo(headers, protocol, length):
    addresses = headers[12:20] if headers[0] >> 4 == 4 else headers[8:40]
    return ones_sum(addresses + struct.pack("!II", length, protocol))


def with_length(headers, length, ident=None):
    """Finish the IP headers for `length` bytes that follow them."""
    if headers[0] >> 4 == 6:
        return put16(headers, 4, len(headers) - 40 + length)
    headers = put16(put16(headers, 2, len(headers) + length), 10, 0)
    if ident is not None:
        headers = put16(headers, 4, ident % 65536)
    return put16(headers, 10, 0xFFFF - ones_sum(headers))


def device_sums(version, features):
    return bool(features & (Feature.HW_CSUM | (Feature.IP_CSUM if version == 4 else Feature.IPV6_CSUM)))


def carried(frame, network_at, gso_type, features):
    """Whether the port takes the super-frame as it is, its checksum being partial."""
    pairs = {
        GSO_TCPV4: Feature.TSO,
        GSO_TCPV6: Feature.TSO6,
        GSO_TCP_ECN: Feature.TSO_ECN,
        GSO_TCP_ACCECN: Feature.TSO_ACCECN,
        GSO_TCP_FIXEDID: Feature.TSO_MANGLEID,
        GSO_UDP: Feature.GSO_UDP,
        GSO_UDP_L4: Feature.GSO_UDP_L4,
        GSO_PARTIAL: Feature.GSO_PARTIAL,
    }
    version = frame[network_at] >> 4
    if version == 4 and gso_type & GSO_TCP_FIXEDID and not frame[network_at + 6] & 0x40:
        return False
    return all(features & need for bit, need in pairs.items() if gso_type & bit) and device_sums(version, features)


def naive_gso(frame, *, network_at, gso_type, gso_size, features, rules, fragment_ident=0):
    """Return the `Wire` frames of a super-frame, or None where the rules of a version refuse it."""
    link = frame[:network_at]
    version, headers, protocol, rest = split(frame, network_at)
    if protocol == UDP and gso_type & GSO_UDP:
        return naive_ufo(link, headers, rest, gso_size, fragment_ident)
    transport_len = rest[12] // 16 * 4 if protocol == TCP else 8
    transport, payload = rest[:transport_len], rest[transport_len:]
    if gso_type & GSO_TCP_FIXEDID and version == 4 and rules.fixed_id_needs_df and not headers[6] & 0x40:
        return None
    partial = device_sums(version, features)
    pieces = [payload[at : at + gso_size] for at in range(0, len(payload), gso_size)]
    groups = [1] * len(pieces)
    if partial and features & Feature.SG and features & Feature.GSO_PARTIAL:
        together = min(len(payload), 65534) // gso_size
        if together > 1:
            joined = [pieces[at : at + together] for at in range(0, len(pieces), together)]
            groups = [len(group) for group in joined]
            pieces = [b"".join(group) for group in joined]
    out = []
    done = sequence = 0
    for number, (piece, group) in enumerate(zip(pieces, groups, strict=True)):
        header = transport
        if protocol == TCP:
            flags = header[13]
            if number < len(pieces) - 1:
                flags &= ~(0x01 | 0x08)
            if number > 0 and not (gso_type & GSO_TCP_ACCECN and rules.accurate_ecn):
                flags &= ~0x80
            first = (int.from_bytes(header[4:8], "big") + sequence) % 2**32
            header = header[:4] + struct.pack("!I", first) + header[8:13] + bytes([flags]) + header[14:]
        else:
            header = put16(header, 4, 8 + len(piece))
        field = 16 if protocol == TCP else 6
        sum_of_pseudo = pseudo(headers, protocol, transport_len + len(piece))
        if partial:
            checksum = sum_of_pseudo
        else:
            checksum = 0xFFFF - ones_sum(struct.pack("!H", sum_of_pseudo) + put16(header, field, 0) + piece)
            if protocol == UDP and checksum == 0:
                checksum = 0xFFFF
        header = put16(header, field, checksum)
        counted = gso_size if group > 1 else len(piece)
        ident = None
        if version == 4:
            ident = u16(headers, 4) + (0 if gso_type & GSO_TCP_FIXEDID else done)
        ip = with_length(headers, transport_len + counted, ident)
        out.append(
            Wire(
                link + ip + header + piece,
                (len(link) + len(ip), field) if partial else None,
                gso_size if group > 1 else 0,
                group,
            )
        )
        done += group
        sequence += len(piece)
    return out


def naive_ufo(link, headers, datagram, gso_size, ident):
    """Return a UDP datagram as IP fragments: checksum first, then pieces of a multiple of 8 bytes."""
    datagram = put16(put16(datagram, 4, len(datagram)), 6, 0)
    checksum = 0xFFFF - ones_sum(struct.pack("!H", pseudo(headers, UDP, len(datagram))) + datagram)
    datagram = put16(datagram, 6, checksum or 0xFFFF)
    unit = gso_size // 8 * 8
    out = []
    for at in range(0, len(datagram), unit):
        piece = datagram[at : at + unit]
        more = at + unit < len(datagram)
        if headers[0] >> 4 == 4:
            ip = with_length(put16(headers, 6, at // 8 | (0x2000 if more else 0)), len(piece))
        else:
            # The last next-header field names the fragment header, which names UDP.
            field, following = 6, 40
            while following < len(headers):
                field, following = following, following + (headers[following + 1] + 1) * 8
            before = headers[:field] + bytes([44]) + headers[field + 1 :]
            ip = with_length(before + struct.pack("!BBHI", UDP, 0, at | more, ident), len(piece))
        out.append(Wire(link + ip + piece))
    return out


def naive_checksum(frame, start, offset):
    """Return the frame with its partial checksum completed; 0 becomes 0xFFFF for all protocols."""
    checksum = 0xFFFF - ones_sum(frame[start:])
    return put16(frame, start + offset, checksum or 0xFFFF)
