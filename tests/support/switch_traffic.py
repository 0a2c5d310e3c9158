"""Flow tables and frames that have something to do with each other."""

from pktpath.control.flow_text import parse_flow
from support.checksum_frames import header_of, ipv4_packet, ipv6_packet, sealed
from support.flow_frames import flow_frame, mutated
from support.flow_tables import ACTIONS, MATCHES, add_flow, matches_of
from support.memory_switch import NUMBERS

MACS = [bytes([0, 0, 0, 0, 0, last]) for last in (1, 2, 7, 9)] + [b"\xff" * 6, b"\1\0\x5e\0\0\1"]
IPV4 = [bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), bytes([10, 7, 0, 1]), bytes([11, 0, 0, 1])]
IPV6 = [bytes(15) + b"\1", b"\xfe\x80" + bytes(13) + b"\1", b"\xfe\x80" + bytes(13) + b"\2"]
PORTS = [0, 64, 80, 81, 1024]
TAGS = (b"", b"", b"", b"\x81\x00\x00\x05", b"\x81\x00\x60\x0a", b"\x88\xa8\x00\x05", b"\x81\x00\x00\x00")
OTHER_ACTIONS = ("output:9", "group:1", "group:2", "meter:1", "controller")


def random_flows(rng, *, actions=(*ACTIONS, *OTHER_ACTIONS), most=14):
    """Return a table of flows, each of another priority."""
    flows = []
    for priority in range(1, rng.randint(4, most)):
        kind = rng.choice(("", "", *MATCHES))
        match = rng.sample(matches_of(kind), rng.choice((0, 0, 1, 1, 2)))
        if sum("vlan" in word for word in match) > 1:
            continue  # for Open vSwitch the last of them is the one that counts
        done = [rng.choice(actions) for _ in range(rng.randint(0, 5))]
        add_flow(flows, lambda flow: parse_flow(flow, NUMBERS), rng.choice((0, 0, 1, 2)), priority, kind, match, done)
    # Whatever the others leave goes somewhere.
    return [*flows, "table=1,priority=0,actions=output:2", "priority=0,actions=resubmit(,1),output:3"]


def likely_frame(rng):
    """Return a frame of the few stations that tables speak of."""
    kind = rng.choice(("ipv4", "ipv4", "ipv4", "ipv6", "arp", "other"))
    start = rng.choice(MACS) + rng.choice(MACS[:4]) + rng.choice(TAGS)
    if kind == "arp":
        arp = b"\0\1\x08\0\6\4\0" + bytes([rng.choice((1, 2))])
        return start + b"\x08\x06" + arp + rng.choice(MACS) + rng.choice(IPV4) + bytes(6) + rng.choice(IPV4) + bytes(18)
    if kind == "other":
        return start + rng.choice((b"\x88\xcc", b"\x88\xb5")) + rng.randbytes(rng.choice((46, 100)))
    protocol = rng.choice((6, 6, 17, 1 if kind == "ipv4" else 58))
    payload = rng.randbytes(rng.choice((0, 1, 20, 300, 1200)))
    addresses = rng.choice(IPV4) + rng.choice(IPV4) if kind == "ipv4" else rng.choice(IPV6) + rng.choice(IPV6)
    upper = header_of(protocol, rng, payload)
    if protocol in (6, 17):
        upper = rng.choice(PORTS).to_bytes(2) + rng.choice(PORTS).to_bytes(2) + upper[4:]
    if protocol == 6:
        upper = upper[:13] + bytes([rng.choice((0x10, 2, 0x12, 0x18))]) + upper[14:]
    upper = sealed(upper + payload, protocol, addresses, "right")
    if kind == "ipv4":
        word = rng.choices((0x4000, 0x2000, 0x0010), (8, 1, 1))[0]
        packet = ipv4_packet(upper, protocol, addresses, rng, word=word, tos=rng.choice((0, 0, 32, 33)))
        if rng.random() < 0.1:
            packet = with_ttl(packet, rng.choice((0, 1, 2)))
        return start + b"\x08\x00" + packet
    return start + b"\x86\xdd" + ipv6_packet(upper, protocol, addresses, traffic_class=rng.choice((0, 32)))


def with_ttl(packet, ttl):
    """Return an IPv4 packet with another TTL and the checksum that follows."""
    total = int.from_bytes(packet[10:12]) + (packet[8] - ttl << 8)
    total = (total & 0xFFFF) + (total >> 16)
    return packet[:8] + bytes([ttl]) + packet[9:10] + total.to_bytes(2) + packet[12:]


def random_frame(rng):
    """Return a frame: most of few stations, some of anybody, some not whole."""
    kind = rng.random()
    if kind < 0.75:
        return likely_frame(rng)
    data = flow_frame(rng)
    if kind > 0.9:
        data = mutated(data, rng)
    if len(data) < 18:
        return likely_frame(rng)
    # Open vSwitch, too, forgets the drop eligible bit of a tag that it changes and changes back.
    return data[:14] + bytes([data[14] & 0xEF]) + data[15:] if data[12:14] in (b"\x81\0", b"\x88\xa8") else data
