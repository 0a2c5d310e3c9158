"""`coalesce --engine lro`: nothing is lost in a pcapng, what a pcap loses is counted, and what merging loses is true."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from pktpath.batch import FRAMES, GSO_UDP, frame_bytes
from pktpath.offload.gro import gro
from pktpath.offload.lro import lro, make_lro_table
from pktpath.offload.rules import RULES
from pktpath.path.coalesce import Options, coalesce_capture
from pktpath.path.loss import LOSSES, count_losses, make_counts, named
from pktpath.port.memory import load
from support import naive_capture as naive
from support.arrivals import batch_of, hostile_arrivals
from support.craft import Packet
from support.lro_frames import lro_round
from support.naive_loss import losses, recut
from support.wild_captures import wild_pcap, wild_pcapng
from test_lro import random_limits
from test_path_round_trip import ROUNDS, assert_same, random_options, through
from test_path_sizes import truth


def lro_options(seed: int) -> Options:
    rng = random.Random(seed)
    limits = {name: value for name, value in random_limits(rng).items() if name != "trust_partial"}
    options = replace(random_options(rng), engine="lro", **limits)
    return options if seed % 3 == 0 else replace(options, poll=64, flush_timeout=10**10, max_desc=8)


def lro_capture(seed: int) -> bytes:
    """Return a pcap of flows that LRO likes."""
    rng = random.Random(seed)
    frames = [arrival.data for part in range(rng.choice((1, 3))) for arrival in lro_round(8 * seed + part, 120)]
    kept = (frame for frame in frames if len(frame) < 60000)
    return naive.pcap_file([naive.Frame(frame, len(frame), 1000 * k) for k, frame in enumerate(kept)])


@pytest.mark.fuzz
def test_any_pcapng_comes_back_to_the_byte(tmp_path):
    merged = reassembled = 0
    for seed in range(ROUNDS // 2):
        options = lro_options(seed)
        wild = wild_pcapng(seed)
        found, done, _ = through(tmp_path, wild.data, options, seed, suffix=".pcapng")
        assert_same(found, wild.data, seed, options)
        assert done.frames == len(wild.frames)
        merged, reassembled = merged + done.merged, reassembled + done.reassembled
    assert merged > ROUNDS // 4
    assert reassembled > ROUNDS // 200


@pytest.mark.fuzz
def test_segments_of_any_size_come_back(tmp_path):
    merged = lost = 0
    for seed in range(ROUNDS // 2):
        options = lro_options(seed)
        data = lro_capture(seed)
        found, done, _ = through(tmp_path, data, options, seed, suffix=".pcap")
        assert_same(found, data, seed, options)
        merged, lost = merged + done.merged, lost + done.losses["lro"]["lost"]
    assert merged > 10 * ROUNDS
    # Most of them would be gone without the undo records.
    assert lost > merged // 2


@pytest.mark.fuzz
def test_what_gro_merged_before_comes_back_too(tmp_path):
    """Two layers of records: LRO over what GRO left of a capture."""
    layers = 0
    for seed in range(ROUNDS // 12):
        data = lro_capture(seed)
        (tmp_path / "0.pcap").write_bytes(data)
        coalesce_capture(str(tmp_path / "0.pcap"), str(tmp_path / "1.pcapng"), Options(poll=4))
        once = (tmp_path / "1.pcapng").read_bytes()
        found, done, _ = through(tmp_path, once, lro_options(seed), seed, suffix=".pcapng")
        assert_same(found, once, seed)
        layers += done.merged
    assert layers > 0


def test_what_a_pcap_loses(tmp_path):
    total = 0
    for seed in range(40):
        options = lro_options(seed)
        for data in (wild_pcap(seed + 300).data, lro_capture(seed)):
            said, lost, _ = truth(tmp_path, data, options)
            assert (seed, said.not_restorable) == (seed, lost)
            total += lost
    assert total > 1000


def counted(source, merged) -> Counter[str]:
    counts = make_counts()
    count_losses(source, merged, 0, counts)
    return Counter({name: count for name, count in named(counts).items() if count})


def by_the_twin(frames: list[bytes], merged, rules) -> Counter[str]:
    """Return the losses of a batch that was merged, from the bytes alone."""
    found: Counter[str] = Counter()
    for j in range(int(merged.used[FRAMES])):
        rows = range(int(merged.frag_first[j]), int(merged.frag_first[j] + merged.frag_count[j]))
        if merged.gso_segs[j] < 2 or merged.gso_type[j] & GSO_UDP:
            continue
        at, size = int(merged.network_offset[j]), int(merged.gso_size[j])
        pieces = recut(frame_bytes(merged, j), at, int(merged.gso_type[j]), size, rules)
        originals = [frames[merged.frag_origin[row]] for row in rows]
        found += losses(originals, [int(merged.frag_len[row]) for row in rows], pieces, size, at)
    return found


def test_losses_by_the_twin() -> None:
    """Every lost original is really not among the segments, every other one is; and field by field for both engines."""
    total: Counter[str] = Counter()
    for seed in range(400):
        rules = list(RULES.values())[seed % len(RULES)]
        arrivals = lro_round(seed, 60) if seed % 2 else hostile_arrivals(seed, 60)
        # Who merges on trust may merge what is wrong, and segmentation puts it right.
        frames = [arrival.data for arrival in arrivals if arrival.checked != "bad"]
        for engine in ("lro", "gro"):
            batch = batch_of([replace(arrival, checked="none") for arrival in arrivals if arrival.checked != "bad"])
            if engine == "lro":
                merged = lro(batch, make_lro_table(max_aggr=random.Random(seed).choice((3, 64)), trust_partial=seed % 4 == 0))
            else:
                merged = gro(batch, rules, trust_partial=seed % 4 == 0)
            ours, theirs = counted(batch, merged), by_the_twin(frames, merged, rules)
            assert ours == theirs, (seed, engine)
            total += Counter({f"{engine} {name}": count for name, count in ours.items()})
    print(total)
    assert {name.split()[1] for name in total} == set(LOSSES)
    assert total["lro lost"] * total["gro merged"] > 4 * total["gro lost"] * total["lro merged"]


FIRST = Packet(payload=bytes(100), seq=100, id=1, options=b"\1\1\x08\x0a\0\0\0\5\0\0\0\5")


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        ({}, {}),
        ({"ack": 7}, {"acknowledgment": 1}),
        ({"window": 7}, {"window": 1}),
        ({"options": b"\1\1\x08\x0a\0\0\0\6\0\0\0\5"}, {"tsval": 1}),
        ({"options": b"\1\1\x08\x0a\0\0\0\5\0\0\0\6"}, {"tsecr": 1}),
        ({"options": b""}, {"options": 1}),
        ({"flags": 0x18}, {"flags": 1}),
        ({"urgent": 5}, {"urgent": 1}),
        ({"id": 77}, {"ip_id": 1}),
        ({"df": False}, {"fragment_bits": 1}),
        ({"ttl": 3}, {"ttl": 1}),
        ({"tos": 4}, {"tos": 1}),
        ({"partial": True}, {"checksum": 1}),
        ({"link": bytes(12)}, {"link": 1}),
        ({"payload": bytes(99)}, {"boundary": 2, "ip_id": 1}),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else str(value),
)
def test_each_field(change: dict, lost: dict) -> None:
    """The third of four segments differs; what the merged frame takes from the last one is that of the first."""
    packets = [FIRST.but(seq=100 + 100 * k, id=1 + k) for k in range(4)]
    packets[2] = packets[2].but(**change)
    packets[3] = packets[3].but(seq=packets[2].seq + len(packets[2].payload))
    batch = load([packet.frame() for packet in packets])
    merged = lro(batch, make_lro_table(trust_partial=True))
    assert merged.gso_segs[0] == 4
    expected = Counter({"merged": 4, "merged_frames": 1, **lost})
    if lost:
        expected["lost"] = max(lost.values())
    assert counted(batch, merged) == expected


def test_a_header_checksum_of_all_ones() -> None:
    """It is as right as 0, which segmentation writes."""
    check = int.from_bytes(FIRST.frame()[24:26])
    ids = range(FIRST.id + check - 2, FIRST.id + check + 2)
    packets = [FIRST.but(seq=100 + 100 * k, id=number) for k, number in enumerate(ids)]
    assert packets[2].frame()[24:26] == b"\0\0"
    packets[2] = packets[2].but(ip_checksum_error=-1)
    for engine in (lro, gro):
        batch = load([packet.frame() for packet in packets])
        merged = engine(batch)
        assert counted(batch, merged) == {"merged": 4, "merged_frames": 1, "lost": 1, "checksum": 1}


def test_what_the_command_says_of_both(tmp_path) -> None:
    """The engines see the same polls, so the losses of GRO beside LRO are those that GRO alone has."""
    total = 0
    for seed in range(12):
        (tmp_path / "x.pcap").write_bytes(lro_capture(seed))
        options = lro_options(seed)
        arguments = str(tmp_path / "x.pcap"), str(tmp_path / "y.pcapng")
        both = coalesce_capture(*arguments, options)
        alone = coalesce_capture(*arguments, replace(options, engine="gro"))
        assert list(both.losses) == ["lro", "gro"]
        assert both.losses["gro"] == alone.losses["gro"]
        assert both.losses["lro"]["merged"] == both.merged
        assert both.sessions["aggregated"] >= both.merged
        # In a pcapng the same headers are patched that are counted as lost.
        assert alone.losses["gro"]["lost"] == alone.patched
        assert both.losses["lro"]["lost"] <= both.patched
        total += both.merged
    assert total > 500


def test_what_a_pcap_loses_of_frames_whose_length_lies(tmp_path):
    """Captures that claim fewer bytes on the wire than they hold: no segment claims that."""
    for seed in (1070, 1098, 1454):
        said, lost, _ = truth(tmp_path, wild_pcap(seed).data, random_options(random.Random(seed)))
        assert (seed, said.not_restorable) == (seed, lost)
        assert lost > 0


def test_what_gro_loses_is_what_its_undo_records_patch(tmp_path) -> None:
    """Byte for byte, on captures with odd forms of zero, jumbo headers and everything else: two ways to the same count."""
    lost = 0
    for seed in range(200):
        wild = wild_pcapng(seed)
        (tmp_path / "x.pcapng").write_bytes(wild.data)
        options = replace(random_options(random.Random(seed)), reassemble=False)
        done = coalesce_capture(str(tmp_path / "x.pcapng"), str(tmp_path / "y.pcapng"), options)
        if all(frame.wire_len >= len(frame.data) for frame in wild.frames):
            assert (seed, done.losses["gro"]["lost"]) == (seed, done.patched)
            lost += done.patched
        else:  # a frame whose length lies has the whole merged one written out
            assert done.losses["gro"]["lost"] <= done.patched
    assert lost > 100
