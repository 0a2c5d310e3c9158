"""`pktpath checksum`, and tshark's opinion of what it writes."""

import json
import random
import shutil
import struct
import subprocess
import sys

import pytest

from pktpath.batch import make_batch
from pktpath.cli import pktpath
from pktpath.cli.common import run
from pktpath.features import Feature
from pktpath.jit import JIT_DISABLED
from pktpath.offload.gso import gso_segment
from pktpath.offload.reassembly import make_reassembly_table, reassemble
from pktpath.offload.rules import DEFAULT_RULES, RULES
from pktpath.path.checksum import STATES, checksum_capture
from pktpath.port.capture import read
from pktpath.port.memory import load, unload
from pktpath.wire.parse import JUMBO, ZERO_LENGTH
from support.checksum_frames import random_frame
from support.fragment_frames import cut, datagram, whole
from support.naive_checksum import judge

COUNT = 60 if JIT_DISABLED else 600
PEER = pytest.mark.skipif(
    shutil.which("tshark") is None, reason="tshark is missing (run .ci/run as root, or: apt-get install tshark)"
)


def write_pcap(path, frames):
    records = b"".join(struct.pack("<IIII", k, 0, len(frame), len(frame)) + frame for k, frame in enumerate(frames))
    path.write_bytes(struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1) + records)


def read_pcap(path):
    data, at, frames = path.read_bytes(), 24, []
    while at < len(data):
        size = struct.unpack_from("<I", data, at + 8)[0]
        frames.append(data[at + 16 : at + 16 + size])
        at += 16 + size
    return frames


@pytest.fixture
def capture(tmp_path):
    rng = random.Random(5)
    frames = [random_frame(rng) for _ in range(COUNT)]
    write_pcap(tmp_path / "in.pcap", frames)
    return tmp_path / "in.pcap", frames


def totals(done):
    return {state: sum(row[state] for row in done["transport"]) for state in STATES}


def call(capsys, *arguments):
    status = run(pktpath, ["checksum", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_counts_are_those_of_the_twin(capture, capsys):
    path, frames = capture
    status, out, err = call(capsys, "-r", path, "--json")
    assert (status, err) == (0, "")
    done = json.loads(out)
    judged = [judge(frame) for frame in frames]
    assert done["frames"] == len(frames)
    assert done["without"] == sum(state == "not_applicable" for state, _ in judged)
    assert totals(done) == {word: sum(state == word for state, _ in judged) for word in STATES}
    assert done["ipv4_header"] == {word: sum(state == word for _, state in judged) for word in STATES}
    wrong = [k + 1 for k, (state, _) in enumerate(judged) if state == "wrong"]
    assert done["first_wrong"] == wrong[:10]
    sizes = [sum(row[state] for state in STATES) for row in done["transport"]]
    assert sizes == sorted(sizes, reverse=True)
    assert {"protocol", "sender", *STATES} == set(done["transport"][0])


def test_text_says_what_partial_is_and_how_many_more(capture, capsys):
    path, _ = capture
    status, out, _ = call(capsys, "-r", path)
    assert status == 0
    assert "left to the device: captured at its sender" in out
    assert " more (all with --json)" in out
    assert "\x1b" not in out


def test_a_filter_selects(tmp_path, capsys):
    write_pcap(tmp_path / "in.pcap", [whole(datagram(random.Random(k), 4, protocol)) for k, protocol in enumerate((6, 17, 17))])
    status, out, _ = call(capsys, "-r", tmp_path / "in.pcap", "--json", "udp")
    assert (status, json.loads(out)["frames"]) == (0, 2)


@pytest.mark.parametrize("repair", [False, True])
def test_fix_writes_what_was_left_and_keeps_the_rest(capture, capsys, repair):
    path, frames = capture
    before = path.read_bytes()
    target = path.with_name("out.pcap")
    status, out, _ = call(capsys, "-r", path, "-w", target, "--fix-wrong" if repair else "--fix", "--json")
    assert status == 0
    assert path.read_bytes() == before
    fixed = 0
    for old, new in zip(frames, read_pcap(target), strict=True):
        (was, was_header), (now, header) = judge(old), judge(new)
        fixed += was != now
        assert now not in ("partial", "partial_no_length")
        assert header != "zero"
        assert (was, was_header) != (now, header) or old == new
        if not repair:
            assert (now == "wrong") == (was == "wrong")
    assert json.loads(out)["fixed"] == fixed > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-w", "out.pcap"], "-w needs --fix"),
        (["--fix"], "--fix needs -w"),
        (["--fix", "-w", "in.pcap"], "is the input"),
        (["--fix", "-w", "nowhere/out.pcap"], "nowhere"),
        (["nonsense and"], "filter"),
    ],
)
def test_errors_are_one_line(capture, capsys, monkeypatch, arguments, words):
    path, _ = capture
    monkeypatch.chdir(path.parent)
    status, out, err = call(capsys, "-r", "in.pcap", *arguments)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert words in err


def test_a_capture_that_ends_too_early_is_counted_and_written_up_to_there(capture, capsys):
    path, frames = capture
    fixed = path.with_name("out.pcap")
    path.write_bytes(path.read_bytes()[:-5])
    status, out, err = call(capsys, "-r", path, "-w", fixed, "--fix")
    assert status == 1
    assert "in.pcap: truncated at offset" in err
    assert out
    assert sum(int(batch.used[0]) for batch in read(fixed)) == len(frames) - 1


def test_streams(capture):
    path, frames = capture
    done = subprocess.run(
        [sys.executable, "-m", "pktpath", "checksum", "-r", "-", "-w", "-", "--fix", "--json"],
        input=path.read_bytes(), capture_output=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stderr)["written"] == len(frames)
    assert done.stdout[:4] in (b"\x0a\x0d\x0d\x0a", b"\xd4\xc3\xb2\xa1")


def tshark(path):
    """Return tshark's states of the IP header, TCP and UDP checksums of each frame."""
    fields = ("ip.checksum.status", "tcp.checksum.status", "udp.checksum.status")
    words = [part for name in fields for part in ("-e", name)]
    checks = [part for name in ("ip", "tcp", "udp") for part in ("-o", f"{name}.check_checksum:TRUE")]
    done = subprocess.run(
        ["tshark", "-n", "-r", path, *checks, "-T", "fields", *words], capture_output=True, text=True, check=True
    )
    return [tuple(line.split("\t")) for line in done.stdout.splitlines()]


def plain_frames():
    """Return whole TCP and UDP frames that tshark judges: it leaves IPv6 packets without a length aside."""
    rng = random.Random(6)
    frames = [random_frame(rng) for _ in range(4 * COUNT)]
    batch = load(frames)
    return [
        frame
        for frame, protocol, network, shape in zip(frames, batch.protocol, batch.network, batch.shape_flags, strict=True)
        if protocol in (6, 17)
        and judge(frame)[0] not in ("not_verifiable", "not_applicable")
        and not (network == 6 and shape & (JUMBO | ZERO_LENGTH))
    ]


@PEER
@pytest.mark.peer
def test_tshark_agrees_before_and_after(tmp_path):
    frames = plain_frames()
    source, target = tmp_path / "in.pcap", tmp_path / "out.pcap"
    write_pcap(source, frames)
    # Of tshark: 0 bad, 1 good, 3 not present, 4 illegal (UDP over IPv6 without).
    seen = {"right": set(), "wrong": set(), "partial": set(), "partial_no_length": set(), "zero": set()}
    for frame, (header, *transport) in zip(frames, tshark(source), strict=True):
        state, header_state = judge(frame)
        seen[state].add("".join(transport)[:1])
        assert header == {"right": "1", "wrong": "0", "zero": "0", "not_applicable": ""}[header_state]
    assert seen["right"] == {"1"}
    assert seen["wrong"] == seen["partial"] == seen["partial_no_length"] == {"0"}
    assert seen["zero"] == {"3", "4"}
    checksum_capture(str(source), str(target), repair=True)
    for frame, (header, *transport) in zip(frames, tshark(target), strict=True):
        assert header in ("1", "")
        assert ("".join(transport)[:1] == "1") == (judge(frame)[0] != "zero")


@PEER
@pytest.mark.peer
def test_tshark_sees_one_changed_byte(tmp_path):
    frame = next(frame for frame in plain_frames() if judge(frame)[0] == "right")
    write_pcap(tmp_path / "x.pcap", [frame, frame[:-9] + bytes([frame[-9] ^ 1]) + frame[-8:]])
    good, bad = tshark(tmp_path / "x.pcap")
    assert "1" in good[1:]
    assert "0" in bad[1:]


@pytest.mark.parametrize("size", [576, 1480])
def test_ufo_cuts_a_reassembled_datagram_into_the_same_fragments(size):
    packet = datagram(random.Random(9), 4, 17, 9000)
    frames = cut(packet, size)
    batch = load(frames)
    out, wire = make_batch(batch.pool, 64), make_batch(batch.pool, 64)
    assert reassemble(batch, out, make_reassembly_table(64)) == 1
    assert gso_segment(out, 0, wire, int(Feature.SG), RULES[DEFAULT_RULES]) == 1
    assert unload(wire) == frames
