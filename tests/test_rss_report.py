"""`pktpath rss`: every flow where the twin says, promises kept when they are fed back, odd settings, one line an error."""

import itertools
import json
import random
import re
import shlex
import struct
import subprocess
import sys
import types
from collections import Counter, defaultdict
from ipaddress import ip_address

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pktpath.cli import pktpath
from pktpath.cli.common import run
from pktpath.jit import JIT_DISABLED
from pktpath.nic.settings import NicSettings
from pktpath.offload.rss import DEFAULT_KEY, SYMMETRIC_KEY, make_rss
from pktpath.offload.rss_key import equal_table, parse_key, weight_table
from pktpath.path import rss_plan, rss_report
from pktpath.path.rss_flows import (
    Cause,
    account,
    bucket_loads,
    count_pairs,
    describe,
    enter_again,
    flow_hashes,
    grown,
    make_flows,
    make_tally,
)
from pktpath.path.rss_plan import best_weights, candidates, even_runs, imbalance, keys_tried, least_maximum, queue_loads
from pktpath.path.rss_report import Card, flow_text, rss_capture
from pktpath.port.memory import load
from support.craft import Packet
from support.naive_rss import hashed_header, naive_hash, random_fields, random_frame, tunnel

FEW = 4 if JIT_DISABLED else 1024


@pytest.fixture(autouse=True)
def few_keys(monkeypatch):
    """Interpreted, a thousand keys take too long."""
    if JIT_DISABLED:
        monkeypatch.setattr(rss_report, "keys_tried", lambda flows, most=FEW: min(FEW, most))


def write_pcap(path, frames):
    records = b"".join(struct.pack("<IIII", k, 0, len(frame), len(frame)) + frame for k, frame in enumerate(frames))
    path.write_bytes(struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1) + records)


def client(number, *, back=False, **changes):
    """Return a frame of one of many connections to a server, or of the way back."""
    rng = random.Random(number)
    ends = [(bytes([10, *rng.randbytes(3)]), 1024 + rng.randrange(60000)), (bytes([192, 0, 2, 1]), 443)]
    (source, sport), (destination, dport) = ends[::-1] if back else ends
    return Packet(source=source, destination=destination, sport=sport, dport=dport, **changes).frame()


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Connections of several sizes, both ways, and every odd frame."""
    rng = random.Random(4)
    frames = [client(n, payload=bytes(rng.randrange(900))) for n in range(40) for _ in range(1 + n % 5)]
    frames += [client(n, back=True, payload=bytes(20)) for n in range(0, 40, 3)]
    frames += [random_frame(rng) for _ in range(150)]
    rng.shuffle(frames)
    path = tmp_path_factory.mktemp("rss") / "mixed.pcap"
    write_pcap(path, frames)
    return path, frames


def call(capsys, *arguments):
    status = run(pktpath, ["rss", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def naive_queues(frames, key, table, queues, fields=None, inner=False):
    """Return frames and bytes by queue."""
    sums = [[0, 0] for _ in range(queues)]
    for frame in frames:
        value = naive_hash(frame, key, fields, inner)
        queue = 0 if value == 0 else table[value % len(table)]
        sums[queue][0] += 1
        sums[queue][1] += len(frame)
    return sums


def shown_queues(done):
    return [[row["frames"], row["bytes"]] for row in done["per_queue"]]


@pytest.mark.parametrize(
    ("options", "key", "table", "queues", "fields", "inner"),
    [
        (["--queues", 4], DEFAULT_KEY, equal_table(4, 128), 4, {}, False),
        (["--queues", 3, "--size", 64, "--inner"], DEFAULT_KEY, equal_table(3, 64), 3, {}, True),
        (["--queues", 2, "--indirection", "1,0,0,0", "--key", "symmetric"], SYMMETRIC_KEY, (1, 0, 0, 0), 2, {}, False),
        (["--queues", 5, "--indirection", "weight 1 0 3 2 2", "--size", 16], DEFAULT_KEY, weight_table((1, 0, 3, 2, 2), 16),
         5, {}, False),
        (["--queues", 8, "--fields", "tcp4=sd,udp4=,udp6=n,tcp6=sf", "--key", "i40e", "--inner"], parse_key("i40e"),
         equal_table(8, 128), 8, {"tcp4": "sd", "udp4": "", "udp6": "n", "tcp6": "sf"}, True),
    ],
)  # fmt: skip
def test_every_frame_is_where_the_twin_says(mixed, capsys, options, key, table, queues, fields, inner):
    path, frames = mixed
    status, out, err = call(capsys, "-r", path, "--json", "--top", 1000, *options)
    assert (status, err) == (0, "")
    done = json.loads(out)
    assert shown_queues(done) == naive_queues(frames, key, table, queues, fields, inner)
    assert done["frames"] == len(frames)
    assert done["table"] == list(table)
    named = [flow for row in done["per_queue"] for flow in row["top"]]
    assert len(named) == done["flows"] == sum(row["flows"] for row in done["per_queue"])
    assert sum(flow["frames"] for flow in named) == len(frames)
    assert {int(flow["hash"], 16) for flow in named} == {naive_hash(frame, key, fields, inner) for frame in frames}
    for row in done["per_queue"]:
        assert row["bytes"] == sum(flow["bytes"] for flow in row["top"])
        assert [flow["bytes"] for flow in row["top"]] == sorted((flow["bytes"] for flow in row["top"]), reverse=True)
    for unit, name in enumerate(("frames", "bytes")):
        sums = [row[unit] for row in shown_queues(done)]
        assert done["imbalance"][name] == pytest.approx(max(sums) * queues / sum(sums))


@pytest.mark.parametrize("inner", [False, True])
def test_flows_are_what_their_headers_say(inner):
    frames = [random_frame(random.Random(seed)) for seed in range(300)]
    batch = load(frames)
    flows, rss = make_flows(512), make_rss(inner=inner)
    zeros = np.zeros((3, len(frames)), np.uint32)
    expected = []
    for i, frame in enumerate(frames):
        before = flows.counts[:, 0].copy()
        assert account(batch, i, i + 1, zeros, rss, flows, make_tally(1), False) == i + 1
        (row,) = np.flatnonzero(flows.counts[:, 0] - before)
        flow, header = describe(flows, int(row)), hashed_header(frame, inner)
        expected.append((flow, row))
        if header is None:
            assert flow.network == 0
            continue
        assert (flow.network, *flow.addresses) == (header.version, header.source, header.destination)
        assert (flow.protocol, flow.fragment) == (header.protocol, header.fragment)
        ports = struct.unpack(">HH", header.rest[:4]) if header.rest and len(header.rest) >= 4 else None
        assert flow.ports == (ports if header.protocol in (6, 17, 132) and not header.fragment else None)
        assert str(ip_address(header.source)) in flow_text(flow)
    rows_of = defaultdict(set)
    for flow, row in expected:
        rows_of[flow].add(row)
    assert all(len(rows) == 1 for rows in rows_of.values())


def test_flow_hashes_are_those_of_their_frames():
    rng = random.Random(8)
    for _ in range(10):
        frames = [random_frame(rng) for _ in range(40)]
        key, fields, inner = rng.randbytes(40), random_fields(rng), rng.random() < 0.5
        flows, rss = make_flows(64), make_rss(key, (0,), fields, inner)
        batch = load(frames)
        for i, frame in enumerate(frames):
            before = flows.counts[:, 0].copy()
            account(batch, i, i + 1, np.zeros((3, 40), np.uint32), rss, flows, make_tally(1), False)
            (row,) = np.flatnonzero(flows.counts[:, 0] - before)
            found = np.zeros(64, np.uint32)
            flow_hashes(flows, rss, found)
            assert found[row] == naive_hash(frame, key, fields, inner)


def test_flow_text():
    batch = load([
        Packet(sport=1, dport=2).frame(), Packet(family=6, protocol="udp", sport=1, dport=2).frame(), Packet(mf=True).frame(),
        Packet(protocol="1").frame(), Packet(protocol="99").frame(), Packet(ethertype=0x0806).frame(), b"",
        tunnel("vxlan", Packet().frame(), random.Random(1), sport=5),
    ])  # fmt: skip
    flows = make_flows(16)
    account(batch, 0, 8, np.zeros((3, 8), np.uint32), make_rss(), flows, make_tally(1), False)
    assert [flow_text(describe(flows, row)) for row in range(8)] == [
        "TCP 192.0.2.1:1 > 192.0.2.2:2",
        "UDP [2001:db8::1]:1 > [2001:db8::2]:2",
        "TCP fragments 192.0.2.1 > 192.0.2.2",
        "ICMP 192.0.2.1 > 192.0.2.2",
        "IP protocol 99 192.0.2.1 > 192.0.2.2",
        "ethertype 0x0806",
        "not IP",
        "VXLAN UDP 192.0.2.1:5 > 192.0.2.2:4789",
    ]


# Proposals


def feed_back(capsys, path, command, *options):
    """Return the report under the setting that a proposed command makes."""
    words = shlex.split(command)
    assert words[:2] == ["ethtool", "-X"]
    at = words.index("hkey") if "hkey" in words else len(words)
    more = ["--key", words[at + 1]] if at < len(words) else []
    if "weight" in words:
        more += ["--indirection", " ".join(words[words.index("weight") : at])]
    status, out, _ = call(capsys, "-r", path, "--json", *options, *more)
    assert status == 0
    return json.loads(out)


@pytest.mark.parametrize(
    "options",
    [
        ["--queues", 4],
        ["--queues", 6, "--by", "frames", "--inner"],
        ["--queues", 8, "--size", 32, "--fields", "udp4=sd", "--dev", "eth7"],
        ["--queues", 2, "--indirection", "1,0,0,0"],
    ],
)
def test_proposals_give_what_they_promise(mixed, capsys, options):
    path, _ = mixed
    status, out, _ = call(capsys, "-r", path, "--json", *options)
    done = json.loads(out)
    assert status == 0
    proposals = {row["name"]: row for row in done["proposals"]}
    assert proposals["now"]["imbalance"] == done["imbalance"]
    assert proposals["now"]["together"] == done["together"]
    assert {"now", "symmetric key", "symmetric key and weights"} <= set(proposals)
    best = min(row["imbalance"][done["by"]] for row in proposals.values())
    assert best >= done["floor"] - 1e-9
    device = "eth7" if "eth7" in options else "DEV"
    for name, row in proposals.items():
        if name == "now":
            continue
        assert row["command"].startswith(f"ethtool -X {device} ")
        if "weight" in row["command"] and "--size" not in options and "--indirection" in options:
            continue
        again = feed_back(capsys, path, row["command"], *options)
        assert again["imbalance"] == row["imbalance"]
        assert again["together"] == row["together"]
        if name.startswith("symmetric"):
            assert again["together"] == done["pairs"]
        else:
            assert row["imbalance"][done["by"]] < done["imbalance"][done["by"]]
        if row["weights"]:
            assert sum(row["weights"]) == len(done["table"])
    restored = feed_back(capsys, path, done["undo"], *options) if "weight" not in done["undo"] else done
    assert restored["imbalance"] == done["imbalance"]


def test_weights_with_a_table_that_was_given_come_back(mixed, capsys):
    path, _ = mixed
    given_table = ",".join(map(str, [3] * 20 + [0] * 44))
    status, out, _ = call(capsys, "-r", path, "--json", "--queues", 4, "--indirection", given_table)
    done = json.loads(out)
    row = next(row for row in done["proposals"] if row["name"] == "weights")
    again = feed_back(capsys, path, row["command"], "--queues", 4, "--size", 64)
    assert (status, again["imbalance"]) == (0, row["imbalance"])
    assert done["undo"].startswith("ethtool -X DEV default hkey 6d:5a:")


def brute_force(loads, fixed, queues):
    """Return the least maximum over all divisions into runs, and the least sum of squares that it allows."""
    results = []
    for cuts in itertools.combinations_with_replacement(range(len(loads) + 1), queues - 1):
        ends = [0, *cuts, len(loads)]
        sums = [sum(loads[a:b]) for a, b in itertools.pairwise(ends)]
        sums[0] += fixed
        results.append((max(sums), sum(each * each for each in sums)))
    return min(results)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.integers(0, 60), st.integers(1, 4))
def test_weights_are_the_best_there_are(loads, fixed, queues):
    array = np.array(loads, np.int64)
    most, squares = brute_force(loads, fixed, queues)
    assert least_maximum(array, fixed, queues) == most
    weights = best_weights(array, fixed, queues)
    assert sum(weights) == len(loads)
    sums = queue_loads(array, fixed, tuple(np.repeat(np.arange(queues), weights).tolist()), queues)
    assert (int(sums.max()), int((sums * sums).sum())) == (most, squares)
    assert even_runs.__doc__


def test_imbalance():
    assert imbalance(np.array([3, 1])) == 1.5
    assert imbalance(np.array([0, 0])) is None
    assert imbalance(np.array([7])) == 1.0


def test_candidates_are_always_the_same():
    plain = list(itertools.islice(candidates(DEFAULT_KEY, symmetric=False), 5))
    again = list(itertools.islice(candidates(DEFAULT_KEY, symmetric=False), 5))
    assert plain == again
    assert plain[0] == DEFAULT_KEY
    assert plain[1].hex().startswith("48fcb0840d83e0e78ec41e6f5c94611c")
    paired = list(itertools.islice(candidates(bytes(52), symmetric=True), 20))
    assert paired[0][:40] == SYMMETRIC_KEY
    assert {len(key) for key in paired} == {52}
    assert all(key == key[:2] * 26 and int.from_bytes(key[:2], "big").bit_count() % 2 for key in paired)
    assert len(set(paired)) == 20


def test_many_flows_mean_few_keys():
    assert keys_tried(10) == rss_plan.MOST_KEYS
    assert keys_tried(1 << 20) == 64
    assert keys_tried(1 << 22) == keys_tried(1 << 30) == 16
    assert keys_tried(10, 3) == 3


def test_bucket_loads_are_those_of_the_tally(mixed):
    _, frames = mixed
    batch = load(frames)
    rss, flows, tally = make_rss(indirection=equal_table(4, 16)), make_flows(512), make_tally(16)
    values = np.array([naive_hash(frame, DEFAULT_KEY) for frame in frames], np.uint32)
    account(batch, 0, len(frames), np.stack([values] * 3), rss, flows, tally, False)
    found, loads = np.zeros(512, np.uint32), np.zeros(16, np.int64)
    flow_hashes(flows, rss, found)
    for unit in (0, 1):
        assert bucket_loads(flows, unit, found, rss.mask, loads) == tally.unhashed[unit]
        assert loads.tolist() == tally.buckets[:, unit].tolist()


def test_pairs_by_hand():
    frames = [client(1), client(1, back=True), client(2), client(3, back=True), client(3), client(1)]
    frames += [Packet(family=6, sport=1, dport=2).frame(), Packet(family=6, sport=2, dport=1).frame()]
    six = Packet(family=6)
    frames[-1] = six.but(source=six.addresses[16:], destination=six.addresses[:16], sport=2, dport=1).frame()
    batch, flows = load(frames), make_flows(16)
    rss = make_rss(SYMMETRIC_KEY, (0, 1, 2, 3))
    account(batch, 0, len(frames), np.zeros((3, 8), np.uint32), rss, flows, make_tally(4), False)
    found = np.zeros(16, np.uint32)
    flow_hashes(flows, rss, found)
    assert count_pairs(flows, found, rss) == (3, 3)
    other = make_rss(DEFAULT_KEY, tuple(range(64)))
    flow_hashes(flows, other, found)
    assert count_pairs(flows, found, other) == (3, 0)


# What is said


def test_elephants_and_collapses(tmp_path, capsys):
    rng = random.Random(2)
    frames = [client(n, payload=bytes(100)) for n in range(30)] + [client(99, payload=bytes(1400))] * 30
    frames += [Packet(protocol="udp", mf=True, payload=bytes(64)).frame()] * 7
    frames += [Packet(protocol="47", payload=b"\0\0\x65\x58" + client(n)).frame() for n in range(40)]
    frames += [client(n, protocol="udp", payload=bytes(10)) for n in range(20)]
    frames += [Packet(ethertype=0x0806).frame()] * 3 + [Packet(protocol="50", payload=bytes(20)).frame()] * 2
    rng.shuffle(frames)
    path = tmp_path / "in.pcap"
    write_pcap(path, frames)
    options = ["-r", path, "--queues", 4, "--fields", "udp4=sd"]
    status, out, _ = call(capsys, *options, "--json")
    done = json.loads(out)
    assert status == 0
    (elephant,) = done["elephants"]
    assert elephant["frames"] == 30
    assert elephant["bytes"] * 4 > done["bytes"]
    assert done["floor"] == pytest.approx(elephant["share"] * 4)
    causes = {row["cause"]: row for row in done["collapsed"]}
    assert {name: row["frames"] for name, row in causes.items()} == {
        "no_ip": 3, "fragment": 7, "gre": 40, "udp_addresses": 20, "other_protocol": 2,
    }  # fmt: skip
    assert causes["no_ip"]["largest_queue"] == 0
    assert causes["gre"]["queues"] == causes["fragment"]["queues"] == 1
    (with_inner,), (with_ports,) = causes["gre"]["with"], causes["udp_addresses"]["with"]
    assert with_inner["queues"] == 4
    assert with_ports["option"] == "--fields udp4=sdfn,udp6=sdfn"
    for way, words in ((with_inner, ["--inner"]), (with_ports, ["--fields", "udp4=sdfn,udp6=sdfn"])):
        _, out, _ = call(capsys, *options, "--json", *words)
        assert json.loads(out)["imbalance"] == way["imbalance"]
    _, out, _ = call(capsys, *options)
    assert "GRE: 40 frames" in out
    assert "on queue" in out
    assert "with --inner: on 4 queues, max/mean of all bytes" in out
    assert "not IP: 3 frames" in out
    assert "elephants: 1 above" in out
    assert "ethtool -X DEV weight" in out
    assert "undo:\n  ethtool -X DEV equal 4 hkey 6d:5a:" in out
    assert "\x1b" not in out


def test_causes_of_no_hash_and_of_two_fields(tmp_path):
    frames = [client(1)] * 2 + [client(2, protocol="udp")] * 3 + [Packet(protocol="132", payload=bytes(8)).frame()] * 4
    frames += [tunnel(kind, client(5), random.Random(3), sport=7) for kind in ("vxlan", "geneve", "ipip")]
    write_pcap(tmp_path / "in.pcap", frames)
    done = rss_capture(str(tmp_path / "in.pcap"), Card(queues=2, fields={"tcp4": "sd", "udp4": ""}, most_keys=2))
    causes = {row["cause"]: row["frames"] for row in done.collapsed}
    assert causes == {"no_fields": 5, "ip_in_ip": 1, "addresses": 6}
    done = rss_capture(str(tmp_path / "in.pcap"), Card(queues=2, fields={"tcp4": "sd"}, most_keys=2))
    assert {row["cause"]: row["frames"] for row in done.collapsed} == {"vxlan": 1, "geneve": 1, "ip_in_ip": 1, "addresses": 6}
    assert {Cause[name.upper()] for name in causes} < set(Cause)


def test_the_same_twice_to_the_byte(mixed):
    path, _ = mixed
    expression = ["ip6"] if JIT_DISABLED else ["tcp", "or", "ip6"]
    words = [sys.executable, "-m", "pktpath", "rss", "-r", str(path), "--queues", "7"]
    for more in ([], ["--json"]):
        one, other = (subprocess.run([*words, *more, *expression], capture_output=True, check=True).stdout for _ in range(2))
        assert one == other
        assert one


def test_a_table_that_grows_and_one_that_may_not(tmp_path, monkeypatch):
    frames = [client(n) for n in range(100)] * 2
    write_pcap(tmp_path / "in.pcap", frames)
    monkeypatch.setattr(rss_report, "make_flows", lambda: make_flows(8))
    whole = rss_capture(str(tmp_path / "in.pcap"), Card(queues=6, most_keys=2))
    assert (whole.flows, whole.flows_full, whole.untold_frames) == (100, False, 0)
    assert all(flow["frames"] == 2 for row in whole.per_queue for flow in row["top"])
    full = rss_capture(str(tmp_path / "in.pcap"), Card(queues=6, most_keys=2, most_flows=32))
    assert (full.flows, full.flows_full, full.untold_frames) == (32, True, 136)
    assert [row["bytes"] for row in full.per_queue] == [row["bytes"] for row in whole.per_queue]
    assert full.keys_tried == 0
    assert [row["name"] for row in full.proposals] == ["now", "weights"]
    assert full.proposals[1]["imbalance"] == whole.proposals[1]["imbalance"]


def test_a_full_table_is_said(tmp_path, monkeypatch, capsys):
    write_pcap(tmp_path / "in.pcap", [client(n) for n in range(30)])
    monkeypatch.setattr(rss_report, "make_flows", lambda: make_flows(8))
    card = Card.__init__
    monkeypatch.setattr(Card, "__init__", lambda self, **words: card(self, **words | {"most_flows": 16}))
    status, out, _ = call(capsys, "-r", tmp_path / "in.pcap", "--queues", 2)
    assert status == 0
    assert "the table of flows is full: 14 frames" in out


def test_growing_keeps_every_flow():
    batch = load([client(n) for n in range(60)])
    flows = make_flows(64)
    account(batch, 0, 60, np.zeros((3, 60), np.uint32), make_rss(), flows, make_tally(1), False)
    wide = grown(flows)
    assert enter_again.__doc__
    account(batch, 0, 60, np.zeros((3, 60), np.uint32), make_rss(), wide, make_tally(1), False)
    assert (wide.used[0], len(wide.keys)) == (60, 128)
    assert Counter(wide.counts[:60, 0].tolist()) == {2: 60}


def test_nothing_to_hash(tmp_path, capsys):
    write_pcap(tmp_path / "in.pcap", [])
    status, out, err = call(capsys, "-r", tmp_path / "in.pcap", "--queues", 2)
    assert (status, err) == (0, "")
    assert "0 frames" in out
    done = rss_capture(str(tmp_path / "in.pcap"), Card(queues=2))
    assert (done.imbalance, done.proposals, done.floor) == ({"frames": None, "bytes": None}, [], None)


def test_one_queue_has_nothing_to_balance(tmp_path, capsys):
    write_pcap(tmp_path / "in.pcap", [client(1), client(2)])
    status, out, _ = call(capsys, "-r", tmp_path / "in.pcap", "--queues", 1)
    assert status == 0
    assert "ethtool" not in out


def test_even_queues_need_no_command(tmp_path, capsys):
    write_pcap(tmp_path / "in.pcap", [client(n) for n in range(400)])
    done = rss_capture(str(tmp_path / "in.pcap"), Card(queues=2, most_keys=2))
    assert done.imbalance["bytes"] < 1.1
    even = next(n for n in range(400) if naive_hash(client(n), DEFAULT_KEY) % 2 == 0)
    odd = next(n for n in range(400) if naive_hash(client(n), DEFAULT_KEY) % 2)
    write_pcap(tmp_path / "in.pcap", [client(even), client(odd)])
    _, out, _ = call(capsys, "-r", tmp_path / "in.pcap", "--queues", 2)
    assert "the queues are even: nothing to change" in out
    assert not {"weights:", "key:", "key and weights:"} & set(out.splitlines())


def test_frames_that_no_wire_carries_are_named(tmp_path, capsys):
    write_pcap(tmp_path / "in.pcap", [client(1, payload=bytes(30000)), client(2)])
    _, out, _ = call(capsys, "-r", tmp_path / "in.pcap", "--queues", 2)
    assert "1 frame is longer than 9216 bytes" in out


def test_a_capture_that_ends_too_early_is_counted_up_to_there(tmp_path, capsys):
    path = tmp_path / "in.pcap"
    write_pcap(path, [client(1), client(2)])
    path.write_bytes(path.read_bytes()[:-5])
    status, out, err = call(capsys, "-r", path, "--queues", 2, "--json")
    assert (status, json.loads(out)["frames"]) == (1, 1)
    assert "in.pcap: truncated at offset" in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--queues N is missing: 1 to 128"),
        (["--queues", 0], "0 queues: 1 to 128"),
        (["--queues", 129], "129 queues: 1 to 128"),
        (["--queues", "x"], "'x' is not a valid integer"),
        (["--queues", 2, "--key", "6d5a"], "key '6d5a' has 2 bytes: 40 or 52"),
        (["--queues", 2, "--key", "secret"], "key 'secret' is not hexadecimal"),
        (["--queues", 2, "--indirection", "0,2"], "entry 1 names queue 2: there are 0 to 1"),
        (["--queues", 2, "--indirection", "0,1,0"], "3 entries: a power of two"),
        (["--queues", 2, "--size", 100], "100 entries: a power of two from 1 to 4096"),
        (["--queues", 2, "--fields", "tcp4=xy"], "'x' is none of s, d, f, n"),
        (["--queues", 2, "--fields", "ah4=sd"], "'ah4': the protocols are tcp4"),
        (["--queues", 2, "--top", -1], "--top -1: 0 or more"),
        (["--queues", 2, "nonsense and"], "filter"),
    ],
)
def test_errors_are_one_line(tmp_path, capsys, options, words):
    write_pcap(tmp_path / "in.pcap", [client(1)])
    status, out, err = call(capsys, "-r", tmp_path / "in.pcap", *options)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert words in err


def test_the_settings_of_a_card_are_a_source(mixed, capsys, monkeypatch):
    path, frames = mixed
    held = NicSettings(queues=3, key=SYMMETRIC_KEY, indirection=(2, 1, 0, 0), hash_fields={"udp4": "sd"}, hash_inner=True)
    monkeypatch.setitem(sys.modules, "pktpath.nic.store", types.SimpleNamespace(load_nic=lambda _path: held))
    _, out, _ = call(capsys, "-r", path, "--nic", "card.json", "--json")
    done = json.loads(out)
    assert shown_queues(done) == naive_queues(frames, SYMMETRIC_KEY, (2, 1, 0, 0), 3, {"udp4": "sd"}, inner=True)
    # More queues leave the table that was set as it is, as `ethtool -L` does; another one must be asked for.
    more = ["-r", path, "--nic", "card.json", "--json", "--queues", 4, "--key", "microsoft"]
    for flags, table in (
        ([], (2, 1, 0, 0)),
        (["--indirection", "equal 4", "--size", 4], (0, 1, 2, 3)),
        (["--size", 4], (0, 1, 2, 3)),
    ):
        _, out, _ = call(capsys, *more, *flags)
        done = json.loads(out)
        assert shown_queues(done) == naive_queues(frames, DEFAULT_KEY, table, 4, {"udp4": "sd"}, inner=True)
        assert tuple(done["table"]) == table


def test_fewer_queues_than_the_table_of_a_card_names_are_refused(mixed, capsys, monkeypatch):
    """As the kernel refuses `ethtool -L`; a table of the command line takes the place of the card's."""
    path, _ = mixed
    held = NicSettings(queues=3, indirection=(2, 1, 0, 0))
    monkeypatch.setitem(sys.modules, "pktpath.nic.store", types.SimpleNamespace(load_nic=lambda _path: held))
    status, out, err = call(capsys, "-r", path, "--nic", "card.json", "--queues", 2)
    assert (status, out) == (1, "")
    assert err == "pktpath: indirection entry 0 names queue 2: there are 0 to 1\n"
    assert call(capsys, "-r", path, "--nic", "card.json", "--queues", 2, "--indirection", "0,1")[0] == 0


def test_what_a_snaplen_cut_is_told_apart_from_what_is_not_ip(tmp_path, capsys):
    """Without its IP header a frame counts for queue 0 here, but nobody knows its queue on the wire."""
    frame, arp = client(1, payload=bytes(300)), bytes.fromhex("ffffffffffff02000000000008060001") + bytes(44)
    records = [(frame, len(frame)), (frame[:90], len(frame)), (frame[:20], len(frame)), (frame[:5], len(frame)), (arp, len(arp)),
               (arp[:40], len(arp))]  # fmt: skip
    path = tmp_path / "cut.pcap"
    body = b"".join(struct.pack("<IIII", k, 0, len(data), wire) + data for k, (data, wire) in enumerate(records))
    path.write_bytes(struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1) + body)
    _, out, _ = call(capsys, "-r", path, "--queues", 2, "--indirection", "1,1", "--json")
    done = json.loads(out)
    assert {row["cause"]: row["frames"] for row in done["collapsed"]} == {"no_ip": 2, "cut": 2}
    assert [row["frames"] for row in done["per_queue"]] == [4, 2]
    _, out, _ = call(capsys, "-r", path, "--queues", 2, "--indirection", "1,1")
    assert re.search(r"^cut by a snaplen: 2 frames, .* on queue 0; .*capture with -s 0$", out, re.MULTILINE)
