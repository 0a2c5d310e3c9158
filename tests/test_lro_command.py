"""`pktpath coalesce --engine lro` as a command: its counters, its reasons, its table, and wrong usage."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support import naive_capture as naive
from support.craft import Packet
from test_path_commands import call

DOCUMENT = Path(__file__).parent.parent / "docs" / "lro.md"


@pytest.fixture
def source(tmp_path):
    flow = Packet(payload=bytes(100))
    made = [
        flow.but(seq=0, ack=1),
        flow.but(seq=100, ack=2),
        flow.but(seq=200, ack=3, flags=0x18),
        flow.but(sport=2, payload=b""),
        flow.but(sport=3),
        flow.but(family=6, sport=4),
        flow.but(sport=5, tos=3),
        flow.but(sport=6, seq=0, id=0),
        flow.but(sport=6, seq=100, id=1),
        flow.but(sport=6, seq=300, id=2),
    ]
    frames = [packet.frame() for packet in made]
    path = tmp_path / "in.pcap"
    path.write_bytes(naive.pcap_file([naive.Frame(frame, len(frame), k) for k, frame in enumerate(frames)]))
    return path


def test_what_it_tells(source, tmp_path):
    done = call("coalesce", "-r", source, "-w", tmp_path / "y.pcapng", "--engine", "lro", "--why", "--json")
    assert done.returncode == 0, done.stderr
    lines, _, rest = done.stdout.decode().partition("\n{\n")
    told = {line["frame"]: line["reason"] for line in map(json.loads, lines.splitlines())}
    result = json.loads("{\n" + rest)
    assert told == {4: "empty", 5: "alone", 6: "not_for_lro", 7: "ce", 10: "out_of_sequence"}
    assert (result["merged"], result["merged_frames"], result["written"]) == (5, 2, 7)
    assert result["sessions"] == {"aggregated": 6, "flushed": 3, "no_desc": 0}
    assert result["reasons"] == {"none": 1, "empty": 1, "alone": 1, "out_of_sequence": 2, "not_for_lro": 1, "ce": 1}
    # All three acknowledgments differ from each other, and the merged frame has the last; fixed IDs without a flag for them.
    lost = {name: count for name, count in result["losses"]["lro"].items() if count}
    assert lost == {"merged_frames": 2, "merged": 5, "lost": 3, "acknowledgment": 2, "flags": 1, "ip_id": 2}
    assert {name: count for name, count in result["losses"]["gro"].items() if count} == {"merged_frames": 1, "merged": 2}
    back = call("segment", "-r", tmp_path / "y.pcapng", "-w", tmp_path / "z.pcap")
    assert back.returncode == 0
    assert (tmp_path / "z.pcap").read_bytes() == source.read_bytes()


def test_the_table(source, tmp_path):
    text = call("coalesce", "-r", source, "-w", tmp_path / "y.pcapng", "--engine", "lro").stdout.decode()
    assert "LRO: 6 segments aggregated, 3 sessions flushed, 0 found no descriptor" in text
    rows = [re.split(r" {2,}", line.strip()) for line in text.splitlines()]
    assert ["what merging loses", "lro", "gro"] in rows
    assert ["of these, cutting cannot rebuild", "3", "0"] in rows
    assert ["TCP acknowledgment", "2", "0"] in rows
    # GRO says what it loses only where it does.
    text = call("coalesce", "-r", source, "-w", tmp_path / "y.pcapng").stdout.decode()
    assert "loses" not in text
    urgent = [Packet(payload=b"x", seq=k, id=k, urgent=k) for k in range(2)]
    source.write_bytes(naive.pcap_file([naive.Frame(p.frame(), len(p.frame()), k) for k, p in enumerate(urgent)]))
    text = call("coalesce", "-r", source, "-w", tmp_path / "y.pcapng").stdout.decode()
    assert re.search(r"TCP urgent pointer +1$", text, re.MULTILINE)


def test_a_pcap_says_how_many_are_lost(source, tmp_path):
    text = call("coalesce", "-r", source, "-w", tmp_path / "y.pcap", "--engine", "lro").stdout.decode()
    # Not cut at all, being short: none of the five can be had back.
    assert "5 of the frames cannot be cut back" in text


def test_limits(source, tmp_path):
    arguments = "coalesce", "-r", source, "-w", tmp_path / "y.pcapng", "--json", "--engine", "lro"
    result = json.loads(call(*arguments, "--max-aggr", 2).stdout)
    assert result["reasons"]["max_aggregated"] == 2
    result = json.loads(call(*arguments, "--max-desc", 1).stdout)
    assert result["sessions"]["no_desc"] == 6
    result = json.loads(call(*arguments, "--mtu", 65500).stdout)
    assert result["reasons"]["no_room_for_mtu"] == 2


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--max-desc", "4"], "--max-desc is a limit of LRO: say --engine lro too"),
        (["--max-aggr", "4"], "--max-aggr is a limit of LRO"),
        (["--mtu", "1500"], "--mtu is a limit of LRO"),
        (["--engine", "lro", "--max-desc", "0"], "0 is not in the range 1<=x<=1024"),
        (["--engine", "lro", "--mtu", "67"], "67 is not in the range 68<=x<=65535"),
        (["--engine", "tso"], "'tso' is not one of 'gro', 'lro'"),
    ],
)
def test_wrong_usage(source, tmp_path, wrong, words):
    done = call("coalesce", "-r", source, "-w", tmp_path / "y.pcapng", *wrong)
    assert done.returncode == 1
    text = done.stderr.decode()
    assert words in text
    assert text.count("\n") == 1
    assert not (tmp_path / "y.pcapng").exists()


def test_the_table_in_the_docs_is_what_is_printed(tmp_path):
    """Its commands, run as they stand there, print what stands there."""
    script, printed = re.findall(r"```(?:sh)?\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)[:2]
    script = script.replace("python ", f"{sys.executable} ").replace("pktpath coalesce", f"{sys.executable} -m pktpath coalesce")
    done = subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == printed
