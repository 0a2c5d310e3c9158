"""The Toeplitz hash: Microsoft's vectors, a naive twin, frames at a guard page, tables and keys."""

import os
import random
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pktpath.errors import BadInput
from pktpath.jit import JIT_DISABLED
from pktpath.nic import settings as nic_settings
from pktpath.offload.rss import DEFAULT_KEY, HASH_FIELDS, SYMMETRIC_KEY, make_rss, queue_of, rss_hash
from pktpath.offload.rss_fold import HAVE_CLMUL
from pktpath.offload.rss_key import (
    KEYS,
    check_queues,
    equal_table,
    key_text,
    parse_fields,
    parse_key,
    parse_table,
    table_words,
    weight_table,
)
from pktpath.port.memory import load
from pktpath.wire.link import Link
from support.craft import Packet
from support.naive_rss import naive_hash, random_fields, random_frame, toeplitz, tunnel

# Microsoft, "Verifying the RSS hash calculation": destination, source, hash of the addresses, hash with the TCP ports.
VECTORS = [
    ("161.142.100.80", 1766, "66.9.149.187", 2794, 0x323E8FC2, 0x51CCC178),
    ("65.69.140.83", 4739, "199.92.111.2", 14230, 0xD718262A, 0xC626B0EA),
    ("12.22.207.184", 38024, "24.19.198.95", 12898, 0xD2D0A5DE, 0x5C2B394A),
    ("209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176, 0xAFC7327F),
    ("202.188.127.2", 1303, "153.39.163.191", 44251, 0x5D1809C5, 0x10E828A2),
    ("3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2CC18CD5, 0x40207D3D),
    ("ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0F0C461C, 0xDDE51BBF),
    ("fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, 0x4B61E985, 0x02D1FEEF),
]
TWO_TUPLE = dict.fromkeys(HASH_FIELDS, "sd")


def hashes(frames, key=DEFAULT_KEY, fields=HASH_FIELDS, inner=False, link=Link.ETHERNET):
    batch = load(frames, link=link)
    rss_hash(batch, 0, len(frames), make_rss(key, (0,), fields, inner))
    return batch.hash[: len(frames)].tolist()


def vector_packet(destination, destination_port, source, source_port, protocol="tcp"):
    ends = [ip_address(end) for end in (source, destination)]
    return Packet(
        family=ends[0].version, source=ends[0].packed, destination=ends[1].packed, sport=source_port, dport=destination_port,
        protocol=protocol,
    )  # fmt: skip


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("vector", VECTORS)
def test_microsoft_vectors(vector, protocol):
    frame = vector_packet(*vector[:4], protocol).frame()
    assert hashes([frame]) == [vector[5]]
    assert hashes([frame], fields=TWO_TUPLE) == [vector[4]]
    assert naive_hash(frame, DEFAULT_KEY) == vector[5]


@given(st.integers(0, 2**64 - 1))
def test_the_twin_agrees(seed):
    rng = random.Random(seed)
    frames = [random_frame(rng) for _ in range(8)]
    key, fields, inner = rng.randbytes(rng.choice((40, 52))), random_fields(rng), rng.random() < 0.6
    assert hashes(frames, key, fields, inner) == [naive_hash(frame, key, fields, inner) for frame in frames]


def test_the_twin_sees_every_kind_of_frame():
    rng = random.Random(1)
    frames = [random_frame(rng) for _ in range(400)]
    outer = [naive_hash(frame, DEFAULT_KEY) for frame in frames]
    inner = [naive_hash(frame, DEFAULT_KEY, inner=True) for frame in frames]
    pairs = [naive_hash(frame, DEFAULT_KEY, TWO_TUPLE) for frame in frames]
    assert 20 < outer.count(0) < 120
    assert sum(a != b for a, b in zip(outer, inner, strict=True)) > 60
    assert sum(a != b for a, b in zip(outer, pairs, strict=True)) > 100


def test_all_fragments_of_a_datagram_are_hashed_by_addresses():
    packet = Packet(protocol="udp", payload=bytes(64))
    parts = [packet.but(mf=True).frame(), packet.but(mf=True, fragment_offset=8).frame(), packet.but(fragment_offset=16).frame()]
    six = [Packet(family=6, protocol="udp", extensions=((44, bytes((0, place, 0, 0, 0, 9))),)).frame() for place in (1, 8, 0)]
    whole = [packet.frame(), packet.but(reserved=True).frame()]
    assert len({*hashes(parts), *hashes(whole, fields=TWO_TUPLE)}) == 1
    assert len({*hashes(six), *hashes([Packet(family=6).frame()], fields=TWO_TUPLE)}) == 1
    assert len({*hashes(whole), hashes(parts)[0]}) == 2


def test_fields():
    packet = Packet(sport=1000, dport=2000)
    data = {"s": packet.addresses[:4], "d": packet.addresses[4:], "f": b"\x03\xe8", "n": b"\x07\xd0"}
    for word in ("sdfn", "sd", "s", "d", "f", "n", "fn", "dn", "sn"):
        expected = toeplitz(DEFAULT_KEY, b"".join(data[letter] for letter in word))
        assert hashes([packet.frame()], fields={"tcp4": word}) == [expected]
    assert hashes([packet.frame(), Packet(family=6).frame()], fields={"tcp4": ""})[0] == 0
    sctp = packet.but(protocol="132", payload=b"\x03\xe8\x07\xd0" + bytes(8)).frame()
    assert hashes([sctp]) == hashes([packet.frame()], fields=TWO_TUPLE)
    assert hashes([sctp], fields={"sctp4": "sdfn"}) == hashes([packet.frame()])


def test_what_is_not_ip_has_no_hash():
    frames = [b"", bytes(13), Packet(ethertype=0x0806).frame(), Packet(ethertype=0x86DD).frame(), Packet().frame()[:33]]
    assert hashes(frames) == [0] * len(frames)
    assert queue_of(make_rss(indirection=(3, 1)), np.int64(0)) == 0
    assert queue_of(make_rss(indirection=(3, 1)), np.int64(6)) == 3
    assert queue_of(make_rss(indirection=(3, 1)), np.int64(7)) == 1


@pytest.mark.parametrize("link", [Link.SLL, Link.SLL2, Link.RAW])
def test_link_layers(link):
    packet = Packet(sport=7)
    head = {Link.SLL: bytes(14) + b"\x08\x00", Link.SLL2: b"\x08\x00" + bytes(18), Link.RAW: b""}[link]
    assert hashes([head + packet.frame()[14:]], link=link) == hashes([packet.frame()])


def test_ports_count_where_a_snaplen_cut_the_header_behind_them():
    packet = Packet(options=b"\x01" * 12)
    whole = packet.frame()
    for length in range(34, len(whole)):
        assert hashes([whole[:length]]) == hashes([whole], fields=HASH_FIELDS if length >= 38 else TWO_TUPLE)


@pytest.mark.parametrize("kind", ["vxlan", "geneve", "gre", "ipip"])
@pytest.mark.parametrize("family", [4, 6])
def test_inner_headers_on_request(kind, family):
    inner = Packet(family=family, sport=99, tags=((0x8100, 3),) if kind != "ipip" else ()).frame()
    for seed in range(20):
        frame = tunnel(kind, inner, random.Random(seed), sport=seed)
        if kind == "gre" and int.from_bytes(frame[34:36], "big") & 0x4007:
            assert hashes([frame], inner=True) == hashes([frame])
            continue
        assert hashes([frame], inner=True) == hashes([inner])
        assert hashes([frame]) != hashes([inner])


def test_a_tunnel_that_carries_nothing_known_is_hashed_outside():
    inner = Packet().frame()
    for broken in (inner[:10], inner[:12] + b"\x08\x06" + inner[14:], inner[:14] + b"\x65" + inner[15:]):
        frame = tunnel("vxlan", broken, random.Random(1), sport=5)
        assert hashes([frame], inner=True) == hashes([frame])
    no_identifier = Packet(protocol="udp", dport=4789, payload=bytes(8) + inner).frame()
    assert hashes([no_identifier], inner=True) == hashes([no_identifier])


def test_both_directions_meet_under_the_symmetric_key():
    for family in (4, 6):
        packet = Packet(family=family, sport=1234, dport=80)
        half = len(packet.addresses) // 2
        back = packet.but(source=packet.addresses[half:], destination=packet.addresses[:half], sport=80, dport=1234)
        one, other = hashes([packet.frame(), back.frame()], SYMMETRIC_KEY)
        assert one == other
        assert one >> 16 == one & 0xFFFF
        assert len(set(hashes([packet.frame(), back.frame()]))) == 2


def run_apart(code, **changes):
    path = os.pathsep.join(filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))))
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env=os.environ | {"PYTHONPATH": path} | changes,
    )


def test_frames_that_end_at_a_guard_page():
    rounds = 640 if JIT_DISABLED else 60_000
    done = run_apart(f"from support.naive_rss import guard; guard({rounds})")
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) >= rounds


def test_the_guard_page_guards():
    code = "from support.guard_gro import Guarded, MOST; print(Guarded().mem[MOST])"
    assert run_apart(code).returncode == -11


@pytest.mark.skipif(not HAVE_CLMUL, reason="tables are what is tested here anyway")
def test_tables_where_the_processor_cannot_multiply():
    code = """
import random
from pktpath.offload.rss import make_rss, rss_hash
from pktpath.offload.rss_fold import HAVE_CLMUL
from pktpath.port.memory import load
from support.naive_rss import naive_hash, random_fields, random_frame
assert not HAVE_CLMUL
rng = random.Random(9)
for _ in range(20):
    frames = [random_frame(rng) for _ in range(20)]
    key, fields = rng.randbytes(40), random_fields(rng)
    batch = load(frames)
    rss_hash(batch, 0, 20, make_rss(key, (0,), fields, True))
    assert batch.hash[:20].tolist() == [naive_hash(frame, key, fields, True) for frame in frames]
"""
    done = run_apart(code, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")
    assert done.returncode == 0, done.stderr[-2000:]


# Keys, fields and tables as values


def test_the_card_has_the_same_defaults():
    assert nic_settings.DEFAULT_KEY is DEFAULT_KEY
    assert nic_settings.HASH_FIELDS is HASH_FIELDS


def test_keys_by_name_and_as_digits():
    assert parse_key("microsoft") == DEFAULT_KEY
    assert {len(key) for key in KEYS.values()} == {40, 52}
    for key in KEYS.values():
        assert parse_key(key_text(key)) == parse_key(key.hex()) == parse_key(key.hex().upper()) == key
    assert parse_key(":".join(["5"] * 40)) == bytes([5] * 40)


@pytest.mark.parametrize(
    "text", ["", "intel", "zz" * 40, "6d" * 39, "6d" * 41, "6" * 81, "6d:" * 40, "6d:5a", "111:" * 39 + "1", " 6"]
)
def test_odd_keys(text):
    with pytest.raises(BadInput, match="40 or 52 bytes") as error:
        parse_key(text)
    assert repr(text) in str(error.value)
    assert "\n" not in str(error.value)


def test_odd_key_lengths_for_the_kernel():
    with pytest.raises(BadInput, match="has 39 bytes: 40 or 52"):
        make_rss(bytes(39))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tcp4", "has no '='"),
        ("tcp5=sd", "'tcp5': the protocols are tcp4"),
        ("udp4=sdx", "'x' is none of"),
        ("=sd", "the protocols"),
    ],
)
def test_unknown_fields(text, words):
    with pytest.raises(BadInput, match=words):
        parse_fields(text)


def test_fields_from_words():
    assert parse_fields("tcp4=sd, udp6=sdfn,sctp4=") == {"tcp4": "sd", "udp6": "sdfn", "sctp4": ""}


@pytest.mark.parametrize(
    ("text", "size", "words"),
    [
        ("", None, "queue numbers with commas"),
        ("0,x", None, "'0,x'"),
        ("-1,0", None, "'-1,0'"),
        ("0,1,2", None, "3 entries"),
        ("0,1,4,0", None, "entry 2 names queue 4: there are 0 to 3"),
        ("equal", 8, "queue numbers"),
        ("equal 0", 8, "'equal 0'"),
        ("equal 5", 8, "names queue 4"),
        ("equal 1 2", 8, "takes one number"),
        ("weight 0 0", 8, "not all 0"),
        ("weight 9 9", 8, "the sum is 18, the indirection table has 8"),
        ("weight 1 1 1 1 1", 8, "names queue 4"),
        ("0,1", 8, "2 entries given for a table of 8"),
        ("0,99999999999999999999", None, "names queue"),
    ],
)
def test_odd_tables(text, size, words):
    with pytest.raises(BadInput) as error:
        parse_table(text, 4, size)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_tables_from_words():
    assert parse_table("0,1,2,3", 4) == parse_table("0 1 2 3", 4) == (0, 1, 2, 3)
    assert parse_table("equal 3", 4, 8) == (0, 1, 2, 0, 1, 2, 0, 1)
    assert parse_table("weight 1 0 3", 4, 8) == (0, 0, 2, 2, 2, 2, 2, 2)
    assert len(parse_table("equal 3", 4)) == 128
    for queues, table in ((4, equal_table(4, 8)), (4, (0, 0, 1, 3)), (3, (2, 1, 0, 0))):
        words = table_words(table, queues)
        assert words == "default" or parse_table(words, queues, len(table)) == table
    assert table_words((0, 1, 0, 0), 2) == "default"


@pytest.mark.parametrize("queues", [0, -1, 129, 10**9])
def test_impossible_queue_counts(queues):
    with pytest.raises(BadInput, match=rf"^{queues} queues: 1 to 128 are possible$"):
        check_queues(queues)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=20), st.sampled_from([1, 8, 64, 128, 512]))
def test_weights_are_what_ethtool_makes_of_them(weights, size):
    total = sum(weights)
    if not 0 < total <= size:
        with pytest.raises(BadInput):
            weight_table(weights, size)
        return
    # Entry by entry, as the manual page of ethtool and its behaviour say: the first queue whose share reaches beyond the entry.
    expected = [
        next(queue for queue in range(len(weights)) if entry < size * sum(weights[: queue + 1]) // total) for entry in range(size)
    ]
    assert weight_table(weights, size) == tuple(expected)
    if total == size:
        assert [expected.count(queue) for queue in range(len(weights))] == weights
