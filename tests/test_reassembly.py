"""IP reassembly against its naive twin, and against what was cut."""

import random
from collections import Counter

import numpy as np
import pytest

from pktpath.batch import FRAGS, FRAMES, GSO_UDP, make_batch, release
from pktpath.jit import JIT_DISABLED
from pktpath.offload.reason import Reason
from pktpath.offload.reassembly import make_reassembly_table, reassemble
from pktpath.pool import make_pool
from pktpath.port.memory import load, unload
from support.fragment_frames import TAG, cut, datagram, hostile_stream, piece, whole
from support.naive_reassembly import reassemble as naive

ROUNDS = 5 if JIT_DISABLED else 1500


def put_together(frames, timestamps=None, table=None, pool=None):
    batch = load(frames, timestamps=timestamps, pool=pool)
    out = make_batch(batch.pool, len(frames), len(frames))
    table = table or make_reassembly_table(256)
    reassemble(batch, out, table)
    assert batch.used.tolist() == [0, 0]
    return out, table


def origins(out, j):
    """Frames that frame `j` came from."""
    first, count = int(out.frag_first[j]), int(out.frag_count[j])
    return out.frag_origin[first : first + count].tolist() if count else [int(out.origin[j])]


def test_hostile_streams_come_out_as_from_the_twin():
    rng = random.Random(1)
    reached = Counter()
    table = make_reassembly_table(256)
    for round_ in range(ROUNDS):
        frames, timestamps = hostile_stream(rng)
        out, _ = put_together(frames, timestamps, table)
        expected = naive(frames, timestamps)
        count = int(out.used[FRAMES])
        found = [(frame, origins(out, j), Reason(out.reason[j]).word) for j, frame in enumerate(unload(out))]
        assert found == expected, round_
        for _, came_from, why in expected:
            reached[why if len(came_from) == 1 else "whole"] += 1
            reached["frames"] += len(came_from)
        for j in range(count):
            assert out.frame_len[j] == out.wire_len[j] == len(expected[j][0])
            assert out.timestamp[j] == timestamps[max(origins(out, j))]
        release(out)
        assert out.pool.free_count.sum() == len(out.pool.refs)
    assert table.counts.sum() == reached["frames"] - reached["none"]
    if not JIT_DISABLED:
        wanted = {"whole", "bad_fragment", "duplicate_fragment", "overlapping_fragment", "datagram_too_long", "fragment_ecn",
                  "missing_fragment", "fragment_timeout", "cut_by_snaplen", "bad_ip_checksum", "malformed"}  # fmt: skip
        assert wanted <= set(reached), reached


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("protocol", [17, 6, 1])
@pytest.mark.parametrize("size", [8, 576, 1480])
def test_what_was_cut_is_whole_again(version, protocol, size):
    rng = random.Random(size)
    protocol = 58 if (version, protocol) == (6, 1) else protocol
    packet = datagram(rng, version, protocol, 4000 if size > 8 else 60)
    frames = cut(packet, size, tag=TAG)
    if protocol == 6 and size == 8:
        assert unload(put_together(frames)[0]) == frames  # no fragment holds the TCP header
        return
    rng.shuffle(frames)
    out, table = put_together(frames)
    assert unload(out) == [whole(packet, tag=TAG)]
    assert (out.gso_type[0], out.gso_size[0], out.gso_segs[0]) == (GSO_UDP, size, len(frames))
    assert out.frag_count[0] == len(frames)
    assert out.used[FRAGS] == len(frames)
    assert table.counts[Reason.NONE] == len(frames)


def test_payload_is_shared_and_not_copied():
    packet = datagram(random.Random(2), 4, 17, 3000)
    frames = cut(packet, 1480)
    out, _ = put_together(frames)
    starts = np.cumsum([0, *map(len, frames)])
    assert out.frag_addr[:3].tolist() == [starts[0] + 42, starts[1] + 34, starts[2] + 34]


def test_congestion_marks_go_to_the_datagram():
    packet = datagram(random.Random(3), 4, 17, 100)
    out, _ = put_together([piece(packet, 0, 48, tos=2), piece(packet, 48, 108, tos=3)])
    assert unload(out) == [whole(packet, tos=3)]


def test_a_fragment_that_is_the_whole_packet_stays():
    packet = datagram(random.Random(4), 6, 17, 100)
    frame = piece(packet, 0, 108)
    out, table = put_together([frame])
    assert unload(out) == [frame]
    assert table.counts.sum() == 0


def test_fragments_of_two_ports_never_meet():
    packet = datagram(random.Random(5), 4, 17, 100)
    frames = cut(packet, 64)
    batch = load(frames)
    batch.in_port[1] = 1
    out = make_batch(batch.pool, 4)
    assert reassemble(batch, out, make_reassembly_table(4)) == 0
    assert unload(out) == frames
    assert [Reason(why) for why in out.reason[:2]] == [Reason.MISSING_FRAGMENT] * 2


def test_the_longest_datagram_and_one_more_byte():
    for version, most in ((4, 65535 - 20 - 8), (6, 65535 - 8)):
        for size in (most, most + 1):
            packet = datagram(random.Random(6), version, 58 if version == 6 else 1, size)
            frames = cut(packet, 16000)
            out, table = put_together(frames)
            assert unload(out) == ([whole(packet)] if size == most else frames)
            assert (table.counts[Reason.DATAGRAM_TOO_LONG] > 0) == (size > most)


def test_limits_let_fragments_pass():
    rng = random.Random(7)
    packets = [datagram(rng, 4, 17, 100) for _ in range(8)]
    frames = [frame for ident, packet in enumerate(packets) for frame in cut(packet, 64, ident=ident)]
    out, table = put_together(frames, table=make_reassembly_table(64, datagrams=2))
    assert int(out.used[FRAMES]) == 2 + 12
    assert table.counts[Reason.TOO_MANY_DATAGRAMS] == 12
    out, table = put_together(frames, pool=make_pool(window=8192, header=3))
    assert int(out.used[FRAMES]) == 3 + 10
    assert table.counts[Reason.NO_MEMORY] == 10


def test_without_room_nothing_moves():
    batch = load(cut(datagram(random.Random(8), 4, 17, 100), 64))
    with pytest.raises(ValueError, match="larger table"):
        reassemble(batch, make_batch(batch.pool, 4), make_reassembly_table(1))
    with pytest.raises(ValueError, match="no room"):
        reassemble(batch, make_batch(batch.pool, 1), make_reassembly_table(4))
    assert batch.used[FRAMES] == 2
