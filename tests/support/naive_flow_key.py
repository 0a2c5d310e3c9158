"""The flow key of a frame's bytes, as ovs-fields(7) and a real Open vSwitch have it: the twin of `switch.flow_key`."""

from pktpath.switch.fields import key_of


def flow_key(frame, in_port=0, *, tag=None, whole=False):
    """Return the key, as one integer, of a frame whose outer tag may stand beside it as (protocol, tci)."""
    if len(frame) < 14:
        return key_of(in_port=in_port)
    found = {"in_port": in_port, "dl_dst": number(frame[:6]), "dl_src": number(frame[6:12])}
    rest = frame[12:]
    if tag is not None:
        rest = tag[0].to_bytes(2) + tag[1].to_bytes(2) + rest
    if rest[:2] in (b"\x81\x00", b"\x88\xa8") and len(rest) >= 6:
        found["vlan_tci"] = number(rest[2:4]) | 0x1000
        rest = rest[4:]
    kind, rest = number(rest[:2]), rest[2:]
    if kind < 0x600:
        if len(rest) >= 8 and rest[:6] == b"\xaa\xaa\x03\0\0\0" and rest[6] >= 6:
            kind, rest = number(rest[6:8]), rest[8:]
        else:
            kind = 0x5FF
    found["dl_type"] = kind
    read = {0x800: ipv4, 0x86DD: ipv6, 0x806: arp, 0x8035: arp}.get(kind)
    if read:
        found |= read(rest, whole)
    return key_of(**found)


def number(data):
    return int.from_bytes(data, "big")


def ipv4(packet, whole):
    if len(packet) < 20:
        return {}
    header, total = packet[0] % 16 * 4, number(packet[2:4])
    if total == 0 and whole:
        total = len(packet)
    if not 20 <= header <= total <= len(packet) <= total + 65535:
        return {}
    place = number(packet[6:8])
    more, offset = place & 0x2000, place & 0x1FFF
    found = {
        "nw_src": number(packet[12:16]), "nw_dst": number(packet[16:20]), "nw_tos": packet[1], "nw_ttl": packet[8],
        "nw_proto": packet[9], "nw_frag": 3 if offset else 1 if more else 0,
    }  # fmt: skip
    return found if offset else found | transport(packet[9], packet[header:total])


def ipv6(packet, whole):
    if len(packet) < 40:
        return {}
    length = number(packet[4:6])
    if length == 0 and whole:
        length = len(packet) - 40
    if not length + 40 <= len(packet) <= length + 40 + 65535:
        return {}
    addresses = {"ipv6_src": number(packet[8:24]), "ipv6_dst": number(packet[24:40])}
    word, protocol, rest = number(packet[:4]), packet[6], packet[40 : 40 + length]
    fragment = 0
    while protocol in (0, 43, 44, 51, 60):
        if len(rest) < 8:
            return addresses
        size = {44: 8, 51: 4 * rest[1] + 8}.get(protocol, 8 * rest[1] + 8)
        if size > len(rest):
            return addresses
        if protocol == 44 and number(rest[2:4]):
            fragment = 3 if number(rest[2:4]) >= 8 else 1
            if fragment == 3:
                protocol = 44
                break
        protocol, rest = rest[0], rest[size:]
    found = addresses | {
        "nw_tos": word >> 20 & 255, "nw_ttl": packet[7], "nw_proto": protocol, "nw_frag": fragment, "ipv6_label": word & 0xFFFFF,
    }  # fmt: skip
    if fragment == 3:
        return found
    found |= transport(protocol, rest)
    return found | discovery(rest) if protocol == 58 else found


def transport(protocol, data):
    least = {6: 20, 17: 8, 132: 12, 1: 8, 58: 8, 2: 8}.get(protocol)
    if least is None or len(data) < least:
        return {}
    if protocol in (1, 2, 58):
        return {"tp_src": data[0], "tp_dst": data[1]}
    ports = {"tp_src": number(data[:2]), "tp_dst": number(data[2:4])}
    if protocol == 6:
        if not 20 <= data[12] // 16 * 4 <= len(data):
            return {}
        ports["tcp_flags"] = number(data[12:14]) & 0xFFF
    return ports


def discovery(data):
    if len(data) < 24 or data[0] not in (135, 136) or data[1] != 0:
        return {}
    found = {1: 0, 2: 0}
    rest = data[24:]
    while len(rest) >= 8:
        kind, size = rest[0], rest[1] * 8
        if not 0 < size <= len(rest):
            break
        if kind in found and size == 8:
            if found[kind]:
                return {}
            found[kind] = number(rest[2:8])
        rest = rest[size:]
    return {"nd_target": number(data[8:24]), "arp_sha": found[1], "arp_tha": found[2]}


def arp(packet, _whole):
    if len(packet) < 28 or packet[:6] != b"\0\1\x08\0\6\4":
        return {}
    operation = number(packet[6:8])
    return {
        "nw_proto": operation if operation < 256 else 0,
        "arp_sha": number(packet[8:14]), "nw_src": number(packet[14:18]),
        "arp_tha": number(packet[18:24]), "nw_dst": number(packet[24:28]),
    }  # fmt: skip
