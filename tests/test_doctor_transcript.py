"""How documents are cut into sections, and what files of all kinds come to."""

import bz2
import dataclasses
import gzip
import io
import lzma
import os
import re
import tarfile

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pktpath.doctor.facts.device import DeviceFeature, FeatureChange
from pktpath.doctor.parse import all_parsers
from pktpath.doctor.parse.file_name import command_in
from pktpath.doctor.parse.prompt import command_of, plain
from pktpath.doctor.parse.shapes import Shapes, first_letters
from pktpath.doctor.parse.source import MAX_FACTS, read
from pktpath.doctor.parse.transcript import MAX_LINE, Transcript
from pktpath.errors import BadInput
from support.doctor import EVIDENCE, facts_of

TABLE = "Features for eth0:\nrx-checksumming: on\ntx-checksumming: off\n\ttx-checksum-ipv4: off [fixed]\n"
CHANGE = """# ethtool -K eth0 tx off
Actual changes:
tx-checksum-ip-generic: off
tx-tcp-segmentation: off [not requested]
"""


def features(*texts):
    return [(fact.dev, fact.name, fact.active) for text in texts for fact in facts_of(text, DeviceFeature)]


THREE = [("eth0", "rx-checksumming", True), ("eth0", "tx-checksumming", False), ("eth0", "tx-checksum-ipv4", False)]


MOVED = {"Markdown": "    ", "a tab": "\t", "a blank": " ", "mail": "> ", "mail in mail": ">> "}


@pytest.mark.parametrize("mark", MOVED.values(), ids=MOVED)
@pytest.mark.parametrize("prompt", ["# ethtool -k eth0\n", ""], ids=["prompt", "shape"])
def test_what_was_pasted_moved_or_quoted(mark, prompt):
    """People indent a block for Markdown, and answer mail."""
    moved = "".join(mark + line for line in (prompt + TABLE + CHANGE).splitlines(keepends=True))
    facts = facts_of(f"Look at this:\n\n{moved}\nWhat is wrong?\ntx-checksumming: on\n")
    known = [fact for fact in facts if isinstance(fact, DeviceFeature)]
    assert [(fact.dev, fact.name, fact.active) for fact in known] == THREE
    assert [bool(fact.group) for fact in known] == [False, False, True], "the table's own indentation stays"
    assert [(fact.dev, fact.name) for fact in facts if isinstance(fact, FeatureChange)] == [
        ("eth0", "tx-checksum-ip-generic"), ("eth0", "tx-tcp-segmentation"),
    ]  # fmt: skip


def test_an_output_that_stands_further_left_than_its_prompt():
    assert features("  # ethtool -k eth0\n" + TABLE) == THREE


# Prompts


@pytest.mark.parametrize(
    ("line", "command", "scope"),
    [
        ("$ ethtool -k eth0", "ethtool -k eth0", ""),
        ("# ethtool -k eth0", "ethtool -k eth0", ""),
        ("#ovs-appctl dpif-netdev/pmd-rxq-show", "ovs-appctl dpif-netdev/pmd-rxq-show", ""),
        ("root@node-1:~# ethtool -k eth0", "ethtool -k eth0", ""),
        ("[root@node ~]# ethtool -k eth0", "ethtool -k eth0", ""),
        ("(venv) user@host:/tmp$ sudo /usr/sbin/ethtool -k eth0", "ethtool -k eth0", ""),
        ("    ~/tmp $ sudo -E ethtool -k eth0", "ethtool -k eth0", ""),
        ("$ time sudo  strace -v  -T -r -c -p 2291", "strace -v  -T -r -c -p 2291", ""),
        ("$ timeout -s INT 5 strace -f -c -p 7", "strace -f -c -p 7", ""),
        ("$ timeout --signal=INT 5s strace -p 7", "strace -p 7", ""),
        ("$ sudo -u root timeout 9 perf stat -p 1", "perf stat -p 1", ""),
        ("$ ip netns exec h1 ethtool -k e1", "ethtool -k e1", "h1"),
        ("$ sudo nsenter -t 5 -n ethtool -k e1", "ethtool -k e1", "pid-5"),
        ("$ nsenter --target=5 --net ip -s link", "ip -s link", "pid-5"),
        ("$ sudo ip netns exec h1 sudo ethtool -k e1", "ethtool -k e1", "h1"),
        ("$ ip -n h2 -s link", "ip -s link", "h2"),
        ("$ LC_ALL=C ethtool -k e1", "ethtool -k e1", ""),
        ("$ sh -c perf annotate --stdio -i perf.data 2>/dev/null", "perf annotate --stdio -i perf.data 2>/dev/null", ""),
        ("$ ovs-appctl -t /run/x.ctl dpctl/show -s", "ovs-appctl dpctl/show -s", ""),
        ("$ ovs-vsctl -t 5 --db=unix:/run/db.sock show", "ovs-vsctl show", ""),
        ("$ pktpath dpctl show", "ovs-dpctl show", ""),
        ("# ethtool \N{EN DASH}k eth0", "ethtool -k eth0", ""),
    ],
)
def test_a_command_is_found_behind_its_prompt(line, command, scope):
    found = command_of(line)
    assert (found.text, found.scope) == (command, scope)


@pytest.mark.parametrize(
    "line",
    [
        "#0  0x000000000053e91c in netdev_rxq_recv ()", "costs 5$ and more", "#kernel", "", "$", "$ ", "#9382", "a # b",
        "          | # 4", "  40.02%  ovs-vswitchd  [.] main",
    ],
)  # fmt: skip
def test_other_lines_are_no_commands(line):
    assert command_of(line) is None


@given(st.text())
def test_no_line_and_no_name_breaks_the_reading(text):
    command_of(text)
    command_in(text)
    plain(text)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ethtool_-k_eth0", ("ethtool -k eth0", "", None)),
        ("ethtool_-S_vxlan_sys_4789", ("ethtool -S vxlan_sys_4789", "", None)),
        ("ip_netns_exec_qrouter-9_ethtool_-S_rfp-98", ("ethtool -S rfp-98", "qrouter-9", None)),
        ("ovs-appctl_dpctl.show_-s_system_ovs-system", ("ovs-appctl dpctl/show -s system@ovs-system", "", None)),
        ("h2_proc_net_snmp.15s", ("", "h2", 15.0)),
        ("proc_interrupts.0", ("", "", 0.0)),
        ("h1_ethtool_-k_e1.txt", ("ethtool -k e1", "h1", None)),
        ("nstat_-zas.2.5s.txt", ("nstat -zas", "", 2.5)),
        ("notes.md", ("", "", None)),
    ],
)
def test_names_of_files_say_their_command(name, expected):
    assert tuple(command_in(name)) == expected


# Sections


def test_a_shape_is_enough():
    assert features(TABLE) == THREE


def test_prose_prompts_and_fences_end_a_section():
    text = f"Look:\n```sh\n# ethtool -k eth0\n\n{TABLE}```\nnot-a-feature: on\n$ ls\nanother: on\n{CHANGE}"
    assert features(text) == THREE
    changed = facts_of(text, FeatureChange)
    assert [(one.dev, one.name, one.asked) for one in changed] == [
        ("eth0", "tx-checksum-ip-generic", True), ("eth0", "tx-tcp-segmentation", False),
    ]  # fmt: skip


def test_another_shape_begins_another_section():
    assert [dev for dev, *_ in features(TABLE + TABLE.replace("eth0", "eth1"))] == ["eth0"] * 3 + ["eth1"] * 3


def test_sections_that_follow_each_other_at_once():
    """Each prompt ends the section before it, and must not be lost on the way."""
    names = [f"eth{number}" for number in range(7)]
    text = "".join(f"# ethtool -k {name}\nrx-checksumming: on\n" for name in names)
    assert [dev for dev, *_ in features(text)] == names


def test_places_say_where(tmp_path):
    file = tmp_path / "look.txt"
    file.write_text(f"prose\r\n\r\n$ ip netns exec h1 ethtool -k eth0\r\n{TABLE}")
    at = read([file]).all(DeviceFeature)[1].at
    assert (at.source, at.line, at.text, at.scope) == (str(file), 6, "tx-checksumming: off", "h1")
    assert str(at) == f"{file}:6"


def test_two_looks_have_an_order_and_a_time(tmp_path):
    (tmp_path / "ethtool_-k_eth0.0").write_text(TABLE)
    (tmp_path / "ethtool_-k_eth0.5s").write_text(TABLE.replace("tx-checksumming: off", "tx-checksumming: on"))
    pair = next(pair for pair in read([tmp_path]).pairs(DeviceFeature) if pair.last.name == "tx-checksumming")
    assert (pair.first.active, pair.last.active, pair.seconds) == (False, True, 5.0)
    again = Transcript((TABLE + "$ ethtool -k eth0\n" + TABLE).splitlines(), "text")
    assert len({fact.at.order for fact in again.facts()}) == 2


def test_shapes_are_known_by_their_first_letters(monkeypatch):
    """Sorting them is for speed only: without, the same lines are known."""
    assert first_letters(r"(?:Features|Offload) for") == frozenset("FO")
    assert first_letters(r"\s{0,2}x?[0-2]+: ") == frozenset("x012 \t\n\r\f\v\x1c\x1d\x1e\x1f")
    assert first_letters(r"[^:]+:") is None
    assert first_letters(r"(?i)qdisc") is None
    lines = {line for _, text in SAMPLES for line in text.splitlines()[:40]}
    sorted_ones = Shapes(all_parsers())
    monkeypatch.setattr("pktpath.doctor.parse.shapes.patterns", None)
    all_of_them = Shapes(all_parsers())
    for line in lines:
        assert sorted_ones.whose(line) is all_of_them.whose(line), line


# Files


def packed(kind, data):
    if kind == "zst":
        return zstandard.compress(data)
    return {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress, "txt": bytes}[kind](data)


@pytest.mark.parametrize("kind", ["txt", "gz", "xz", "bz2", "zst"])
def test_files_and_archives_of_all_kinds(tmp_path, kind):
    (tmp_path / f"look.{kind}").write_bytes(packed(kind, TABLE.encode()))
    assert len(read([tmp_path / f"look.{kind}"]).all(DeviceFeature)) == 3
    box = io.BytesIO()
    with tarfile.open(fileobj=box, mode="w") as archive:
        for name in ("sos/sos_commands/networking/ethtool_-k_eth0", "sos/ethtool_-k_eth1"):
            member = tarfile.TarInfo(name)
            member.size = len(TABLE)
            archive.addfile(member, io.BytesIO(TABLE.encode()))
    (tmp_path / f"sos.tar.{kind}").write_bytes(packed(kind, box.getvalue()))
    facts = read([tmp_path / f"sos.tar.{kind}"]).all(DeviceFeature)
    assert [fact.at.source for fact in facts[::3]] == ["sos/sos_commands/networking/ethtool_-k_eth0", "sos/ethtool_-k_eth1"]


def test_a_document_of_another_system(tmp_path):
    (tmp_path / "a.txt").write_bytes(TABLE.replace("\n", "\r\n").encode("utf-16"))
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbf" + TABLE.encode())
    (tmp_path / "c.txt").write_bytes(b"\xff\xfe\xfa caf\xe9\n" + TABLE.encode("latin-1"))
    assert len(read([tmp_path / "a.txt", tmp_path / "b.txt"]).all(DeviceFeature)) == 6


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x7fELF\x00\x01", "binary"), (b"", "empty"), (b" \n", "empty"), (b"Hallo Welt\n", "no output"),
        (gzip.compress(b"x" * 9)[:-5], "damaged"),
    ],
)  # fmt: skip
def test_what_holds_nothing_is_said(tmp_path, data, why):
    (tmp_path / "odd").write_bytes(data)
    alone = read([tmp_path / "odd"])
    assert not list(alone)
    assert why in alone.missing[0].why
    (tmp_path / "good").write_text(TABLE)
    case = read([tmp_path / "odd", tmp_path / "good"])
    assert why in case.missing[0].why
    assert len(case.all(DeviceFeature)) == 3


def test_prose_alone_leads_to_its_topics(tmp_path):
    (tmp_path / "notes.md").write_text("NAPI 之后, GRO and TSO.\n" * 9)
    assert "it speaks of GRO, NAPI, TSO: pktpath doctor explain GRO" in read([tmp_path / "notes.md"]).missing[0].why


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(BadInput, match="no such file"):
        read([tmp_path / "none"])


def test_a_damaged_archive_gives_what_was_good(tmp_path):
    whole = (EVIDENCE / "sos-ovs-vxlan-node.tar.xz").read_bytes()
    (tmp_path / "cut.tar.xz").write_bytes(whole[: len(whole) // 2])
    case = read([tmp_path / "cut.tar.xz"])
    assert case.all(DeviceFeature)
    assert any("damaged" in one.why for one in case.missing)


def test_endless_lines_and_endless_tables_are_cut(tmp_path):
    (tmp_path / "a.txt").write_text(f"{'x' * (3 * MAX_LINE)}\n{TABLE}")
    case = read([tmp_path / "a.txt"])
    assert [fact.at.line for fact in case.all(DeviceFeature)] == [3, 4, 5]
    assert any("were cut" in one.why for one in case.missing)
    (tmp_path / "b.txt").write_text("Features for eth0:\n" + "".join(f"f{i}: on\n" for i in range(MAX_FACTS + 7)))
    case = read([tmp_path / "b.txt"])
    assert len(case.all(DeviceFeature)) == MAX_FACTS
    assert any("7 lines of DeviceFeature" in one.what for one in case.missing)


def test_a_fifo_in_a_folder_is_left_alone(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "good").write_text(TABLE)
    (tmp_path / "loop").symlink_to(tmp_path)
    assert len(read([tmp_path]).all(DeviceFeature)) == 3


# Every parser


HOSTILE = st.one_of(
    st.text(max_size=200),
    st.lists(
        st.sampled_from(["on", ":", "0x", "9" * 40, "-1", "%", "[fixed]", "pid", "total", "\t", "  ", "(", "eth0", "é", "nan"])
    ).map(" ".join),
)


@pytest.mark.parametrize("parser", all_parsers(), ids=lambda parser: parser.name)
def test_no_parser_fails_on_what_is_not_its_own(parser):
    from pktpath.doctor.parse.section import Line, Section

    @given(st.lists(HOSTILE, max_size=20))
    def check(lines):
        section = Section("", {}, (Line(i, text) for i, text in enumerate(lines, 1)), "text")
        for fact in parser.parse(section):
            assert fact.at.line <= len(lines)

    check()


SAMPLES = [
    (str(path), path.read_text(errors="replace"))
    for path in sorted(EVIDENCE.rglob("*"))
    if path.is_file() and path.stat().st_size < 20_000 and path.suffix != ".xz"
]


@settings(max_examples=600)
@given(st.sampled_from(SAMPLES), st.data(), st.sampled_from(["", "9" * 30, "\0", "%", "-", "\n", ")", "é"]))
def test_no_parser_fails_on_damaged_transcripts(sample, data, between):
    path, text = sample
    first, last = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, len(text)))
    document = Transcript((text[:first] + between + text[last:]).splitlines(), path)
    list(document.facts())
    assert not any("fault of pktpath" in one.why for one in document.missing), document.missing


def test_a_fault_of_one_parser_silences_no_other(monkeypatch):
    parser = all_parsers()[0]

    def fault(section):
        yield from ()
        raise ValueError(section.source)

    broken = dataclasses.replace(parser, parse=fault, command=re.compile("ethtool -k broken"))
    monkeypatch.setattr("pktpath.doctor.parse.transcript.all_parsers", lambda: (broken, *all_parsers()))
    document = Transcript(f"$ ethtool -k broken\nx\n$ ethtool -k eth0\n{TABLE}".splitlines(), "text")
    assert len(list(document.facts())) == 3
    assert "fault of pktpath" in document.missing[0].why
