"""Changing one frame: a twin over bytes, Scapy's checksums, memory that runs out, and bytes that belong to others."""

import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pktpath.batch import CHECKSUM_PARTIAL, FRAGS, FRAMES, frame_bytes, release
from pktpath.pool import HEADER, HEADROOM, NO_CHUNK, chunk_address
from pktpath.switch.actions import Controller, Meter, Output, PopVlan, PushVlan, Set
from support.checksum_frames import MACS, header_of, ipv4_packet, ipv6_packet, sealed
from support.naive_checksum import judge
from support.rewrite_runs import Twins, random_action, random_frame
from support.run_apart import fuzz
from support.switch_frames import bytes_of

ROUNDS = int(os.environ.get("PKTPATH_FUZZ_ROUNDS", "10000"))
RNG = random.Random(4)
FULL = {32: (1 << 32) - 1, 48: (1 << 48) - 1, 128: (1 << 128) - 1}
REWRITES = [
    Set("dl_dst", 0x020000000077, FULL[48]), Set("dl_src", 0x020000000078, FULL[48]), Set("nw_src", 0x0A000001, FULL[32]),
    Set("nw_dst", 0x0A000002, 0xFFFF), Set("nw_tos", 0xB8, 0xFC), Set("nw_ttl", 63, 0xFF), Set("tp_src", 1025, 0xFFFF),
    Set("tp_dst", 8, 0xFFFF), Set("ipv6_src", 1 << 127 | 5, FULL[128]), Set("ipv6_dst", 0xFE80 << 112 | 7, FULL[128]),
    Set("ipv6_label", 0xABCDE, 0xFFFFF), PushVlan(0x88A8, 0x2005), PushVlan(0x8100, 7), Set("vlan_tci", 0xF123, 0xFFFF),
]  # fmt: skip


def ethernet(scapy):
    return scapy.Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01")


def tcp_frame(payload=b"x" * 100, version=4, protocol=6, kind="right"):
    addresses = RNG.randbytes(8 if version == 4 else 32)
    upper = sealed(header_of(protocol, RNG, payload) + payload, protocol, addresses, kind)
    if version == 4:
        return MACS + b"\x08\x00" + ipv4_packet(upper, protocol, addresses, RNG)
    return MACS + b"\x86\xdd" + ipv6_packet(upper, protocol, addresses)


@given(st.integers(0, 2**32), st.booleans())
def test_frames_are_what_the_twin_says(seed, spoilt):
    rng = random.Random(seed)
    twins = Twins(frames=32)
    for _ in range(4):
        data, how = random_frame(rng, spoilt=spoilt)
        twins.add(data, **how)
    for _ in range(12):
        twins.run(rng.randrange(len(twins.bytes)), random_action(rng))
        twins.check()
    twins.end(release)


@given(st.integers(0, 2**32))
def test_a_pool_without_room_changes_nothing(seed):
    """Whatever is refused leaves the frame as it was, and no chunk is lost."""
    rng = random.Random(seed)
    twins = Twins(frames=8, header=rng.choice((0, 1, 2)), normal=4, fragments=rng.choice((4, 5, 8)))
    for _ in range(4):
        data, how = random_frame(rng, spoilt=False)
        twins.add(data, **how)
    refused = 0
    for _ in range(20):
        refused += not twins.run(rng.randrange(len(twins.bytes)), random_action(rng))
        twins.check()
    twins.end(release)


@pytest.mark.parametrize("protocol", [6, 17])
@pytest.mark.parametrize("version", [4, 6])
def test_scapy_makes_the_same_checksums(version, protocol):
    """Scapy, told to make every checksum anew, writes the same bytes."""
    scapy = pytest.importorskip("scapy.all")
    for size in (0, 1, 37, 400):
        twins = Twins()
        network = scapy.IP(src="192.0.2.9", dst="198.51.100.1") if version == 4 else scapy.IPv6(src="2001:db8::1", dst="::5")
        transport = scapy.TCP(sport=5, dport=6) if protocol == 6 else scapy.UDP(sport=5, dport=6)
        i = twins.add(bytes(ethernet(scapy) / network / transport / (b"p" * size)), place=None)
        for action in REWRITES:
            assert twins.run(i, action)
        data = bytes_of(twins.batch, i)
        assert data[:12].hex() == "020000000077020000000078"
        packet = scapy.Ether(data)
        if version == 4:
            assert (packet["IP"].src, packet["IP"].dst, packet["IP"].tos, packet["IP"].ttl) == (
                "10.0.0.1",
                "198.51.0.2",
                0xB8,
                63,
            )
            del packet["IP"].chksum
        else:
            assert (packet["IPv6"].dst, packet["IPv6"].fl) == ("fe80::7", 0xABCDE)
        upper = packet["TCP" if protocol == 6 else "UDP"]
        assert (upper.sport, upper.dport) == (1025, 8)
        del upper.chksum
        assert bytes(packet).hex() == data.hex()


def test_scapy_makes_the_same_sctp_checksum():
    scapy = pytest.importorskip("scapy.all")
    from scapy.layers.sctp import SCTP, SCTPChunkData

    for size in (1, 4, 100, 1400):
        frame = bytes(ethernet(scapy) / scapy.IP() / SCTP(sport=5, dport=6) / SCTPChunkData(data=b"z" * size))
        twins = Twins()
        i = twins.add(frame, place=None, head=min(len(frame), 200))
        assert twins.run(i, Set("tp_src", 50000, 0xFFFF))
        assert twins.run(i, Set("tp_dst", 7, 0xFFFF))
        twins.check()
        packet = scapy.Ether(bytes_of(twins.batch, i))
        assert (packet[SCTP].sport, packet[SCTP].dport) == (50000, 7)
        written = packet[SCTP].chksum
        del packet[SCTP].chksum
        assert scapy.Ether(bytes(packet))[SCTP].chksum == written


def test_what_the_twin_judges_is_judged_by_a_checksum_from_scratch():
    """Right stays right and wrong stays wrong, in the state that `pktpath checksum` would print."""
    for version in (4, 6):
        for protocol in (6, 17):
            for kind in ("right", "wrong", "zero") if protocol == 17 else ("right", "wrong"):
                twins = Twins()
                i = twins.add(tcp_frame(b"q" * 61, version, protocol, kind), place=None)
                before = judge(twins.bytes[i])
                assert before[0] == kind
                for action in REWRITES:
                    twins.run(i, action)
                assert judge(bytes_of(twins.batch, i)) == before


def test_a_partial_checksum_follows_addresses_only():
    twins = Twins()
    i = twins.add(tcp_frame(kind="partial"), place=None, partial=True)
    at = 14 + 20 + 16
    before = frame_bytes(twins.batch, i)[at : at + 2]
    twins.run(i, Set("tp_dst", 99, 0xFFFF))
    assert frame_bytes(twins.batch, i)[at : at + 2] == before
    twins.run(i, Set("nw_dst", 0xC0A80001, FULL[32]))
    assert frame_bytes(twins.batch, i)[at : at + 2] != before
    assert judge(frame_bytes(twins.batch, i))[0] == "partial"
    assert twins.batch.ip_summed[i] == CHECKSUM_PARTIAL


def test_a_partial_checksum_further_in_is_not_this_one():
    """An encapsulated packet's: the outer checksum is complete and follows ports too."""
    twins = Twins()
    i = twins.add(tcp_frame(protocol=17), place=None)
    twins.batch.ip_summed[i], twins.batch.csum_start[i] = CHECKSUM_PARTIAL, twins.batch.payload_offset[i] + 28
    twins.run(i, Set("tp_dst", 99, 0xFFFF))
    assert bytes_of(twins.batch, i) == twins.bytes[i]
    assert judge(twins.bytes[i])[0] == "right"


def test_the_crc_of_a_first_fragment_is_left_alone():
    """It is that of the whole packet, whose length nobody knows here."""
    upper = RNG.randbytes(60)
    for word in (0x2000, 0x0000):
        frame = MACS + b"\x08\x00" + ipv4_packet(upper, 132, RNG.randbytes(8), RNG, word=word)
        twins = Twins()
        i = twins.add(frame)
        assert twins.run(i, Set("tp_src", 7, 0xFFFF))
        twins.check()
        assert (twins.bytes[i][42:46] == frame[42:46]) is (word == 0x2000)


def test_long_extension_headers_stay_in_the_head():
    """Nobody noted where they end, so whoever walks them again must find them in one piece."""
    addresses = RNG.randbytes(32)
    upper = bytes([135, 0]) + bytes(22) + bytes([1, 1]) + bytes(6)
    frame = MACS + b"\x86\xdd" + ipv6_packet(upper, 60, addresses, extensions=bytes([58, 24]) + bytes(198))
    twins = Twins()
    i = twins.add(frame, place=None)
    assert twins.run(i, Set("dl_dst", 5, FULL[48]))
    assert twins.run(i, Set("arp_sha", 5, FULL[48]))
    assert twins.bytes[i][-6:] == bytes(5) + b"\5"
    twins.check()


def test_a_head_without_headroom_moves_before_a_tag_goes_in():
    twins = Twins()
    i = twins.add(tcp_frame(b"y" * 1000), tag=(0x8100, 5), place="tight")
    assert twins.run(i, "insert")
    twins.check()
    assert twins.batch.frag_count[i] == 1


def test_a_udp_checksum_never_becomes_zero():
    """It would mean that there is none: a computed 0 is written as 0xFFFF."""
    frame = tcp_frame(b"abcd", 4, 17)
    twins = Twins()
    i = twins.add(frame)
    now = int.from_bytes(frame[40:42])
    # The source port takes what is left of the sum up.
    port = int.from_bytes(frame[34:36])
    new = (port + now) % 0xFFFF
    twins.run(i, Set("tp_src", new, 0xFFFF))
    twins.check()
    assert bytes_of(twins.batch, i)[40:42] == b"\xff\xff"
    assert judge(bytes_of(twins.batch, i)) == ("right", "right")


def test_a_read_only_head_becomes_a_small_chunk_and_a_fragment():
    twins = Twins()
    data = tcp_frame(b"y" * 1000)
    i = twins.add(data, place=None)
    assert twins.run(i, Set("dl_src", 1, FULL[48]))
    frame = twins.batch.frames[i]
    assert frame.head_chunk != NO_CHUNK
    assert frame.head_chunk < twins.batch.pool.first[HEADER + 1]
    assert frame.head_addr == chunk_address(twins.batch.pool, int(frame.head_chunk)) + HEADROOM
    assert (frame.head_len, frame.frag_count) == (frame.payload_offset, 1)
    assert twins.batch.frag_chunk[frame.frag_first] == NO_CHUNK
    # Writing what stands there already copies nothing.
    j = twins.add(data, place=None)
    assert twins.run(j, Set("dl_src", 0x020000000001, FULL[48]))
    assert twins.batch.head_chunk[j] == NO_CHUNK
    twins.check()


def test_a_tag_goes_out_of_line_first_and_into_headroom_later():
    twins = Twins()
    i = twins.add(tcp_frame(), place="own")
    at = int(twins.batch.head_addr[i])
    assert twins.run(i, PushVlan(0x8100, 5))
    assert (twins.batch.head_addr[i], twins.batch.vlan_proto[i], twins.batch.vlan_tci[i]) == (at, 0x8100, 5)
    assert twins.run(i, PushVlan(0x88A8, 6))
    assert (twins.batch.head_addr[i], twins.batch.vlan_proto[i]) == (at - 4, 0x88A8)
    assert twins.run(i, "insert")
    assert (twins.batch.head_addr[i], twins.batch.vlan_proto[i]) == (at - 8, 0)
    twins.check()
    assert twins.run(i, PopVlan())
    assert twins.run(i, PopVlan())
    assert twins.batch.head_addr[i] == at
    twins.check()


def test_a_clone_shares_until_it_writes():
    twins = Twins()
    i = twins.add(tcp_frame(b"y" * 1000), place="own", head=300)
    assert twins.run(i, "clone")
    pool, j = twins.batch.pool, i + 1
    assert twins.batch.head_chunk[i] == twins.batch.head_chunk[j]
    assert pool.refs[twins.batch.head_chunk[i]] == 2
    assert twins.run(j, Set("nw_ttl", 9, 0xFF))
    assert twins.batch.head_chunk[i] != twins.batch.head_chunk[j]
    kept = int(twins.batch.head_chunk[i])
    # The rest of the old head is a fragment of the clone now.
    assert pool.refs[kept] == 2
    release(twins.batch)
    assert (pool.free_count == twins.free).all()


def test_a_clone_needs_a_descriptor_and_rows():
    twins = Twins(frames=2, fragments=3)
    i = twins.add(tcp_frame(b"y" * 400), head=200)
    assert twins.run(i, "clone")
    assert not twins.run(i, "clone")
    assert (twins.batch.used[FRAMES], twins.batch.used[FRAGS]) == (2, 2)
    twins = Twins(frames=4, fragments=1)
    i = twins.add(tcp_frame(b"y" * 400), head=200)
    assert not twins.run(i, "clone")
    assert (twins.batch.used[FRAMES], twins.batch.used[FRAGS]) == (1, 1)


def test_other_operations_are_the_loop_s():
    twins = Twins()
    i = twins.add(tcp_frame())
    before = twins.batch.frames[i].tobytes()
    for action in (Output(3), Meter(1), Controller()):
        twins.bytes[i] = bytes_of(twins.batch, i)
        twins.after = lambda i, _action: twins.bytes[i]
        assert twins.run(i, action)
    assert twins.batch.frames[i].tobytes() == before


@pytest.mark.fuzz
def test_no_byte_beyond_a_frame_is_touched():
    reached = fuzz("fuzz_rewrite", ROUNDS)
    for word in ("long keys", "short keys", "rewritten", "refused", "clones"):
        assert word in reached


@pytest.mark.parametrize(
    "mode", [{"NUMBA_DISABLE_JIT": "1", "PYTHONWARNINGS": "ignore"}, {"NUMBA_BOUNDSCHECK": "1"}], ids=["jit-off", "boundscheck"]
)
def test_the_other_ways_to_run(mode):
    assert "rewritten" in fuzz("fuzz_rewrite", 300, **mode)
