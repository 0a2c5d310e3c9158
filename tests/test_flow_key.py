"""The flow key: fields by layout, a twin over bytes, and a real Open vSwitch that reads the same frames."""

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pktpath.batch import FRAMES
from pktpath.switch.fields import FIELDS, KEY_WORDS, SHORT_WORDS, key_of
from pktpath.switch.flow_key import extract_keys
from support import ovs_flow
from support.flow_frames import flow_frame, mutated
from support.naive_flow_key import flow_key
from support.switch_frames import PORT, add_frame, make_room

ROOM = make_room(frames=64)
JUNK = 0xA5A5A5A5A5A5A5A5


def keys_of(frames):
    """Return the keys of (bytes, tag, gso) as integers, after asking that short ones leave the rest of the row alone."""
    ROOM.used[:] = 0
    for data, tag, gso in frames:
        add_frame(ROOM, data, tag=tag, gso=gso)
    keys = np.full((len(ROOM.frames), KEY_WORDS), JUNK, np.uint64)
    words = np.zeros(len(ROOM.frames), np.int64)
    extract_keys(ROOM, keys, words)
    found = []
    for row in range(len(frames)):
        key = keys[row].copy()
        assert words[row] in (SHORT_WORDS, KEY_WORDS)
        if words[row] == SHORT_WORDS:
            assert (key[SHORT_WORDS:] == JUNK).all()
            key[SHORT_WORDS:] = 0
        found.append(whole(key))
    assert (keys[len(frames) :] == JUNK).all()
    assert ROOM.used[FRAMES] == len(frames)
    return found


def whole(words):
    """Return the key whose words these are."""
    return int.from_bytes(words.astype(">u8").tobytes())


def named(key):
    return {name: field.of(key) for name, field in FIELDS.items() if field.of(key)}


@given(st.integers(0, 2**32), st.booleans())
def test_keys_are_those_of_the_twin(seed, spoilt):
    rng = random.Random(seed)
    frames = []
    for _ in range(16):
        data = flow_frame(rng)
        tag = rng.choice((None, None, (0x8100, rng.getrandbits(16)), (0x88A8, 5)))
        frames.append((mutated(data, rng) if spoilt else data, tag, rng.choice((0, 0, 0, 1448))))
    for (data, tag, gso), key in zip(frames, keys_of(frames), strict=True):
        assert named(key) == named(flow_key(data, PORT, tag=tag, whole=gso > 0)), data.hex()


def test_words_follow_from_the_first_one():
    """Two keys with the same word 0 have as many words, whatever is wrong with their packets."""
    macs = bytes(12)
    frames = [(macs + kind + rest, None, 0) for kind in (b"\x08\x06", b"\x86\xdd", b"\x08\x00") for rest in (b"", bytes(60))]
    keys_of(frames)
    keys = np.zeros((len(ROOM.frames), KEY_WORDS), np.uint64)
    words = np.zeros(len(ROOM.frames), np.int64)
    extract_keys(ROOM, keys, words)
    assert words[:6].tolist() == [KEY_WORDS] * 4 + [SHORT_WORDS] * 2


def test_a_tcp_packet_by_hand():
    header = bytes.fromhex("4502002830394000400600 00c0000201c6336401".replace(" ", ""))
    frame = bytes.fromhex("0200000000020200000000010800") + header + bytes.fromhex("1f900050000000010000000050a1220000000000")
    expected = {
        "in_port": PORT, "dl_type": 0x800, "vlan_tci": 0x3007, "dl_dst": 0x020000000002, "dl_src": 0x020000000001,
        "nw_proto": 6, "nw_tos": 2, "nw_ttl": 64, "nw_src": 0xC0000201, "nw_dst": 0xC6336401,
        "tp_src": 8080, "tp_dst": 80, "tcp_flags": 0x0A1,
    }  # fmt: skip
    assert [named(key) for key in keys_of([(frame, (0x8100, 0x2007), 0)])] == [expected]


def test_a_frame_that_is_not_ethernet_has_a_port_only():
    ROOM.used[:] = 0
    add_frame(ROOM, bytes(12) + b"\x08\x06" + bytes(28))
    ROOM.link[0] = 0
    keys, words = np.zeros((64, KEY_WORDS), np.uint64), np.zeros(64, np.int64)
    extract_keys(ROOM, keys, words)
    assert whole(keys[0]) == key_of(in_port=PORT)


@pytest.mark.peer
def test_open_vswitch_reads_the_same(tmp_path):
    if missing := ovs_flow.missing():
        pytest.skip(missing)
    rng = random.Random(5)
    frames = [flow_frame(rng) for _ in range(3000)]
    frames = [frame for frame in frames + [mutated(frame, rng) for frame in frames] if len(frame) >= 14]
    ovs_flow.write_pcap(tmp_path / "frames.pcap", frames)
    judged = ovs_flow.parse_pcap(tmp_path / "frames.pcap")
    assert len(judged) == len(frames)
    keys = [
        key for first in range(0, len(frames), 64) for key in keys_of([(data, None, 0) for data in frames[first : first + 64]])
    ]
    seen = Counter()
    for data, key, expected in zip(frames, keys, judged, strict=True):
        found = named(key)
        del found["in_port"]
        tags = expected.pop("tags")
        if tags == 2:
            # This tool looks through two tags; the switch, as ovs-vswitchd by its default, through one.
            assert found.pop("dl_type") in (0x8100, 0x88A8)
            assert found == {name: expected[name] for name in ("dl_src", "dl_dst", "vlan_tci")}
        else:
            assert found == expected, data.hex()
        seen.update(expected)
        seen[f"tags {tags}"] += 1
    assert {"nd_target", "arp_sha", "arp_tha", "ipv6_label", "tcp_flags", "nw_frag", "tags 2", "tags 1"} <= set(seen)
