"""A diagnosis as text, JSON and a page: all of it is told, in order, and nothing from outside does anything."""

import json
import re
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pktpath import __version__
from pktpath.doctor.case import Case, Missing
from pktpath.doctor.diagnose import Diagnosis, diagnose
from pktpath.doctor.facts.host import Counter
from pktpath.doctor.facts.perf import SampledStack
from pktpath.doctor.finding import Confidence, Severity
from pktpath.doctor.report.as_json import document_of
from pktpath.doctor.report.flame import flame_of
from pktpath.doctor.report.html import page_of
from pktpath.doctor.report.redact import Redactor, redact
from pktpath.doctor.report.tables import DRAWN, calls_of, features_of, sources_of, threads_of
from pktpath.doctor.report.text import plain, text_of
from pktpath.doctor.report.words import LONGEST, clean, count_of, grouped, line_of, verdict
from support.doctor import evidence
from support.doctor_report import HOSTILE, a_rule, diagnosis, finding, place, stacks, tso

XHTML = "{http://www.w3.org/1999/xhtml}"


def text(*arguments, **options) -> str:
    return plain(text_of(*arguments, **options))


def page(told: Diagnosis) -> ET.Element:
    return ET.fromstring(page_of(told))


def words(element: ET.Element) -> str:
    return " ".join(" ".join(element.itertext()).split())


# Text


def test_the_text_tells_all_of_a_finding_in_order():
    told = text(diagnosis())
    assert told.startswith("1 problem, 3 warnings, 1 note.\n\nPROBLEM  CPU 3 drops 1,204 frames a second")
    parts = [
        "how sure  certain", "seen      proc_net_softnet_stat.5s:4: 00015c73 000004b4", "why       RPS puts",
        "switch    sysctl -w net.core.netdev_max_backlog=4000", "Four times as many", "costs     Frames wait longer",
        "to last   sysctl.d: /etc/sysctl.d/90-pktpath.conf:\n              net.core.netdev_max_backlog = 4000",
        "undo      sysctl -w net.core.netdev_max_backlog=1000", "check     the second column", "or        ethtool -K eth0 tx on",
        "more      pktpath doctor explain softnet-drops", "WARNING  eth1", "NOTE     pmd-c01", "to prove  ovs-appctl",
        "Looked at and found well\n  ✓ No ring is smaller", "Could not look at\n  - system calls",
        "Not asked: 3 questions, for want of\n  - ethtool -k DEV\n  - ovs-appctl dpif-netdev/pmd-rxq-show",
    ]  # fmt: skip
    places = [told.index(part) for part in parts]
    assert places == sorted(places)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_prose_fits_the_width_and_commands_stay_whole(width):
    told = text(diagnosis(), width=width, fold=True)
    assert "ethtool -K eth0 tx on\n" in told
    assert 'ACTION=="add", SUBSYSTEM=="net", NAME=="eth1", RUN+="/usr/sbin/ethtool -K eth1 tx on"\n' in told
    command = re.compile(r"ethtool|nmcli|ACTION|net\.core|OriginalName|Checksum|/etc|devices|proc_net|tx-|explain")
    for line in told.splitlines():
        assert len(line) <= width or command.search(line), line
    assert any(len(line) > width - 12 for line in told.splitlines())


def test_findings_of_one_rule_do_not_flood():
    flood = [finding(rule="flood", summary=f"tap{k} floods.", remedies=(tso(f"tap{k}"),)) for k in range(200)]
    told = text(diagnosis(*flood))
    assert told.count("ethtool -K tap") == 3  # its command, its recipe for udev, its undo
    assert told.count(" floods.") == 9
    assert "… and 191 more findings of this kind" in told
    everything = text(diagnosis(*flood), everything=True)
    assert everything.count(" floods.") == 200
    assert "ethtool -K tap199 tx on" in everything


def test_a_group_is_of_one_rule_and_weight():
    several = [
        finding(rule="a", severity=Severity.PROBLEM), finding(rule="b"), finding(rule="a"), finding(rule="a", about="eth1"),
        finding(rule="", about="x"), finding(rule="", about="y"),
    ]  # fmt: skip
    groups = [(group.first.rule, len(group.others)) for group in grouped(several)]
    assert groups == [("a", 0), ("b", 0), ("a", 1), ("", 0), ("", 0)]


@pytest.mark.parametrize(
    ("severities", "line"),
    [
        ([], "No problems, no warnings, no notes. Nothing that was looked at needs a switch."),
        (["NOTE"], "No problems, no warnings, 1 note. Nothing that was looked at needs a switch."),
        (["WARNING", "WARNING", "PROBLEM"], "1 problem, 2 warnings, no notes."),
    ],
)
def test_the_verdict_counts(severities, line):
    found = tuple(finding(severity=Severity[name], rule=name + str(k)) for k, name in enumerate(severities))
    told = replace(diagnosis(), findings=found)
    assert verdict(told) == line
    if severities == ["NOTE"]:
        choice = replace(told, findings=(finding(severity=Severity.NOTE, remedies=(tso("e1"),)),))
        assert verdict(choice) == f"{line[:-1]}; what the notes offer is a choice."
    assert text(told).splitlines()[0] == line[: len(text(told).splitlines()[0])]


def test_nothing_is_no_verdict():
    nothing = Diagnosis(Case([]), (), (), (a_rule("a"),), (Missing("x", "empty"),))
    assert text(nothing).startswith("Nothing could be looked at.\n")


def test_counts_are_words():
    assert [count_of(n, "box") for n in (0, 1, 2, 12345)] == ["no boxs", "1 box", "2 boxs", "12,345 boxs"]


# What comes from outside


@given(st.text() | st.binary().map(lambda data: data.decode("utf-8", "surrogateescape")))
def test_cleaned_text_has_nothing_that_a_terminal_obeys(raw):
    out = clean(raw)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", out)
    assert clean(out) == out
    out.encode()


@pytest.mark.parametrize(
    ("raw", "seen"),
    [
        ("a\x1b[1;31mb\x1b[0mc", "abc"),
        ("a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\b", "alinkb"),
        ("a\x9b31mb", "ab"),
        ("x\ty", "x       y"),
        ("\u202eabc", "abc"),
        ("half \ud800", "half \N{REPLACEMENT CHARACTER}"),
        ("ä → 漢字 ✓", "ä → 漢字 ✓"),
    ],
)
def test_escape_sequences_go_whole(raw, seen):
    assert clean(raw) == seen


def test_long_lines_are_cut():
    assert line_of("x" * 1000) == "x" * (LONGEST - 1) + "…"
    assert line_of("x" * LONGEST) == "x" * LONGEST
    assert line_of("\x1b[31m" * 1000 + "x") == "…"


def hostile() -> Diagnosis:
    """Make a diagnosis in which every string is hostile."""
    lasting = ((HOSTILE, f"{HOSTILE}:\n{HOSTILE}"),)
    remedy = replace(
        tso("eth0"), command=HOSTILE, effect=HOSTILE, cost=HOSTILE, undo=HOSTILE, verify=HOSTILE, lasting=lasting
    )  # fmt: skip
    bad = place(HOSTILE + "x" * 5000, 1, HOSTILE, scope=HOSTILE)
    told = finding(summary=HOSTILE, why=HOSTILE, about=HOSTILE, proof=HOSTILE, evidence=(bad, bad), remedies=(remedy, remedy))
    made = diagnosis(told, replace(told, about="other"), missing=(Missing(HOSTILE, HOSTILE, HOSTILE),))
    stack = SampledStack(at=bad, command=HOSTILE, tid=0, frames=(HOSTILE, "]]>", "--></script>"), samples=9)
    rows = [replace(fact, name=HOSTILE) for fact in made.case if type(fact).__name__ in {"Thread", "Syscall", "DeviceFeature"}]
    return replace(
        made, case=Case([stack, *rows]), well=(a_rule(HOSTILE, well=HOSTILE),), unasked=(a_rule(HOSTILE, ask=HOSTILE),)
    )


def test_hostile_text_is_text_on_a_terminal():
    for told in (text(hostile()), text(hostile(), fold=True, everything=True)):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", told)
        assert "<script>alert(1)</script>" in told
        told.encode()


def test_hostile_text_is_text_in_a_page():
    raw = page_of(hostile(), about=HOSTILE)
    root = ET.fromstring(raw)
    assert len(root.findall(f".//{XHTML}script")) == 1
    assert raw.count("<script>") == 1
    assert "{{ 7 * 7 }}" in words(root)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", raw)
    for element in root.iter():
        assert not [name for name in element.attrib if name.startswith("on")]
        assert element.tag.removeprefix(XHTML) not in {"iframe", "object", "img", "link", "base", "form"}


def test_hostile_text_is_whole_in_json():
    document = json.loads(json.dumps(document_of(hostile())))
    assert document["findings"][0]["summary"] == HOSTILE
    assert document["findings"][0]["evidence"][0]["text"] == HOSTILE + "x" * 5000


# JSON


def test_json_keeps_its_keys():
    document = document_of(diagnosis())
    assert list(document) == ["pktpath", "schema", "live", "verdict", "summary", "findings", "well", "unasked", "missing"]
    assert (document["pktpath"], document["schema"], document["live"]) == (__version__, 1, False)
    assert document["summary"] == {"problems": 1, "warnings": 3, "notes": 1, "well": 2, "unasked": 3, "missing": 2}
    first = document["findings"][0]
    assert list(first) == ["rule", "severity", "confidence", "about", "summary", "evidence", "why", "remedies", "proof"]
    assert (first["severity"], first["confidence"], first["rule"]) == ("problem", "certain", "softnet-drops")
    assert first["evidence"][0] == {
        "source": "proc_net_softnet_stat.5s", "line": 4, "text": "00015c73 000004b4 0000000a 00000000 00000000", "scope": "",
    }  # fmt: skip
    assert list(first["remedies"][0]) == ["command", "effect", "cost", "lasting", "undo", "verify"]
    assert first["remedies"][0]["lasting"][1]["by"] == "TuneD"
    assert document["missing"][0] == {
        "what": "system calls of ovs-vswitchd", "why": "strace is not installed", "remedy": "apt-get install strace",
    }  # fmt: skip
    assert document["unasked"][0]["ask"] == "ethtool -k DEV"
    assert document["well"][0]["well"].startswith("No ring")


# The page


def test_the_page_has_every_section_and_the_same_page_for_the_same_diagnosis():
    assert page_of(diagnosis()) == page_of(diagnosis())
    root = page(diagnosis())
    ids = [element.get("id") for element in root.iter(f"{XHTML}section")]
    assert ids == ["verdict", "findings", "stacks", "threads", "calls", "features", "well", "missing"]
    links = [element.get("href") for element in root.iter(f"{XHTML}a")]
    assert links == [f"#{name}" for name in ids[1:]]
    commands = [element.text for element in root.iter(f"{XHTML}pre")]
    assert {"ethtool -K eth1 tx on", "ethtool -K eth1 tx off", "[sysctl]\nnet.core.netdev_max_backlog=4000"} <= set(commands)


def test_the_page_needs_nothing_else():
    raw = page_of(diagnosis())
    assert not re.search(r"(?:src|href)=\"(?!#)|url\(|@import|https?://(?!www\.w3\.org/1999/xhtml)", raw)
    policy = next(meta for meta in page(diagnosis()).iter(f"{XHTML}meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy.get("content", "").startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy.get("content", "")


def test_sections_without_facts_are_left_out():
    root = page(Diagnosis(Case([]), (), (a_rule("a"),), (), ()))
    assert [element.get("id") for element in root.iter(f"{XHTML}section")] == ["verdict", "well"]


def test_the_flame_graph_merges_and_sorts():
    flame = flame_of(stacks())
    assert (flame.samples, flame.left_out) == (951, 0)
    boxes = {(box.name, box.depth): box for box in flame.boxes}
    assert boxes["all", 0][2:] == (0.0, 1.0, 951)
    assert boxes["netdev_rxq_recv", 6].samples == 480
    assert boxes["rte_vhost_dequeue_burst", 8].width == pytest.approx(420 / 951)
    for depth in range(9):
        level = sorted((box for box in flame.boxes if box.depth == depth), key=lambda box: box.left)
        for one, next_ in pairwise(level):
            assert one.left + one.width <= next_.left + 1e-9
    assert boxes["ovs-vswitchd", 1].left == 0.0  # before pmd-…
    assert boxes["pmd-c01/id:8", 1].left == pytest.approx(21 / 951)


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b"]), st.lists(st.sampled_from("fgh"), max_size=5), st.integers(0, 1000)), max_size=12
    )
)
def test_no_box_is_wider_than_what_it_stands_on(given_stacks):
    made = [SampledStack(at=place(""), command=c, tid=0, frames=tuple(frames), samples=n) for c, frames, n in given_stacks]
    flame = flame_of(made)
    assert flame.samples == sum(n for _, _, n in given_stacks)
    assert len(flame.boxes) == len({(box.depth, box.left) for box in flame.boxes})
    for box in flame.boxes:
        if box.depth:
            below = [b for b in flame.boxes if b.depth == box.depth - 1 and b.left <= box.left + 1e-9]
            under = max(below, key=lambda b: b.left)
            assert box.left + box.width <= under.left + under.width + 1e-9


def test_enormous_flames_are_bounded():
    made = [
        SampledStack(at=place(""), command="c", tid=0, frames=(f"f{k}", *["deep"] * 1000), samples=1 + k % 3)
        for k in range(20_000)
    ]
    flame = flame_of(made)
    assert len(flame.boxes) <= 4000
    assert flame.left_out > 0


def test_tables_tell_threads_calls_and_features():
    case = diagnosis().case
    threads = threads_of(case)
    assert [(bar.name, bar.text) for bar in threads.bars] == [("pmd-c01/id:8", "99.9 %"), ("ovs-vswitchd", "0.3 %")]
    assert threads.rest == "1 thread at 0 %"
    runs = calls_of(case)
    assert [(run.who, run.source, len(run.rows), run.rest) for run in runs] == [
        ("ovs-vswitchd 2291", "node/ethtool_-k_eth0", 2, ""), ("pmd-c01/id:8 25650", "node/ethtool_-k_eth0", 1, ""),
    ]  # fmt: skip
    assert runs[0].rows[0] == ("accept", "1,290", "1,290", "EAGAIN 1,290", "0.012000")
    matrix = features_of(case)
    assert matrix.columns == [("eth0", "eth0"), ("eth1", "eth1"), ("tap1, tap2", "tap1, tap2")]
    cells = {row.name: [f"{cell.text} {cell.words}".strip() for cell in row.cells] for row in matrix.rows}
    assert cells["tx-tcp-segmentation"] == ["on", "off requested on", "on"]
    assert cells["rx-vlan-filter"] == ["on fixed", "on fixed", ""]
    assert matrix.never == ["large-receive-offload"]


def test_real_evidence_becomes_a_report():
    told = diagnose(evidence("veth-features"))
    lines = text(told)
    assert "WARNING  e1 does no TCP segmentation offload" in lines
    assert "veth-features/tx-off.txt:15: tx-checksum-ip-generic: off" in lines
    root = page(told)
    assert "off [requested on]" in words(root)


# Redaction


def redacted_text(raw: str) -> str:
    redactor = Redactor()
    for line in raw.splitlines():
        redactor.learn(line)
    return redactor.text(raw)


@pytest.mark.parametrize(
    ("raw", "out"),
    [
        ("inet 10.0.0.1/24 brd 10.0.0.255", "inet ip-1/24 brd ip-2"),
        ("ping 10.0.0.1 from 10.0.0.2: 10.0.0.1", "ping ip-1 from ip-2: ip-1"),
        ("fe80::1 FE80:0:0::1 fe80::2%eth0", "ip-1 ip-1 ip-2%eth0"),
        ("64 bytes from 2001:db8::1: icmp_seq=1", "64 bytes from ip-1: icmp_seq=1"),
        ("tcp:[2001:db8::1]:6640", "tcp:[ip-1]:6640"),
        ("::ffff:192.0.2.7", "ip-1"),
        ("remote_ip=192.0.2.7, local_ip=192.0.2.8", "remote_ip=ip-1, local_ip=ip-2"),
        ("ping_192.0.2.7.txt", "ping_ip-1.txt"),
        ("link/ether 52:54:00:AB:cd:ef brd ff:ff:ff:ff:ff:ff", "link/ether mac-1 brd ff:ff:ff:ff:ff:ff"),
        ("52:54:00:ab:cd:ef 52-54-00-AB-CD-EF", "mac-1 mac-1"),
        (
            "eth(src=52:54:00:ab:cd:ef/ff:ff:ff:ff:ff:ff,dst=01:00:00:00:00:00)",
            "eth(src=mac-1/ff:ff:ff:ff:ff:ff,dst=01:00:00:00:00:00)",
        ),
        ("enx525400abcdef: <UP>", "enxmac-1: <UP>"),
        ("qrouter-8a2f6b0e-1c5d-4e0a-9f3b-0123456789ab", "qrouter-uuid-1"),
        ("127.0.0.1 0.0.0.0 255.255.255.0 ::1 :: ffff:ffff::", "127.0.0.1 0.0.0.0 255.255.255.0 ::1 :: ffff:ffff::"),
        ("bob@node7:~$ cat /home/bob/x; hostname node7", "user-1@host-1:~$ cat /home/user-1/x; hostname host-1"),
        ("[root@node7.example.com ~]# ping db.example.com node7", "[root@host-1 ~]# ping host-2 host-1"),
        ("Linux node7 6.1.0-13-amd64 #1 SMP\nnode7 is up", "Linux host-1 6.1.0-13-amd64 #1 SMP\nhost-1 is up"),
        ("Nov 21 16:16:59 node7 ovs-vswitchd: x", "Nov 21 16:16:59 host-1 ovs-vswitchd: x"),
    ],
)
def test_names_and_addresses_get_pseudonyms(raw, out):
    assert redacted_text(raw) == out
    assert redacted_text(out) == out


@pytest.mark.parametrize(
    "raw",
    [
        "system@ovs-system: lookups: hit:308129543 missed:38878373 lost:0",
        "8: eth0@if25: <BROADCAST,MULTICAST,UP> mtu 1500 # 12",
        "0000:01:00.0 librte_vhost.so.4.1 net.core.netdev_budget eth0.100 6.1.0-13-amd64 memcpy@GLIBC_2.14",
        "00015c73 000004b4 0000000a 00000000 00000000",
        "16:16:59 up 12 days, load average: 0.00, 0.01, 0.05",
        "std::vector::push_back net::dev_queue_xmit",
        "hkey 6d:5a:56:da:25:5b:0e:c2:41:67:25:3d:43:a3:8f:b0:d0:ca:2b:cb:ae:7b:30:b4:77:cb:2d:a3:80:30:f2:0c:6a:42:b7:3b",
        "udp 1-3-7-15-31-63 s",
    ],
)
def test_what_tells_nothing_stays(raw):
    assert redacted_text(raw) == raw


@given(st.lists(st.integers(0, 2**64) | st.floats(0, 1e12), max_size=30), st.sampled_from([" ", ", ", "\t", ":", "/"]))
def test_numbers_are_never_touched(numbers, between):
    raw = between.join(str(number) for number in numbers)
    assert redacted_text(raw) == clean(raw)


@given(st.lists(st.integers(0, 0xFFFFFFFF).map(lambda n: f"{n:08x}"), max_size=15))
def test_columns_of_softnet_are_never_touched(columns):
    assert redacted_text(" ".join(columns)) == " ".join(columns)


@given(st.lists(st.ip_addresses(), min_size=1, max_size=20))
def test_equal_addresses_have_equal_pseudonyms_and_others_have_others(addresses):
    told = [
        (address, redacted)
        for address, redacted in zip(addresses, redacted_text(" ".join(map(str, addresses))).split(), strict=True)
    ]
    kept = {address for address, redacted in told if redacted == str(address)}
    for address in kept:
        assert address.is_loopback or address.is_unspecified or bin(int(address)).count("01") <= 1
    pairs = {pair for pair in told if pair[0] not in kept}
    assert len(pairs) == len({address for address, _ in pairs}) == len({redacted for _, redacted in pairs})


@given(st.lists(st.uuids().map(str) | st.binary(min_size=6, max_size=6).map(lambda b: b.hex(":")), max_size=20))
def test_no_mac_and_no_uuid_is_left(values):
    out = redacted_text(" ".join(values)).split()
    assert len(set(zip(values, out, strict=True))) == len(set(values)) == len(set(out))
    assert all(re.fullmatch(r"(mac|uuid)-\d+|(00:){6}|(ff:){6}", word.ljust(18, ":") if ":" in word else word) for word in out)


def secret() -> Diagnosis:
    said = "bob@node7:~$ ip a: 192.0.2.7 52:54:00:ab:cd:ef 8a2f6b0e-1c5d-4e0a-9f3b-0123456789ab"
    remedy = replace(
        tso("eth0"), command="ping 192.0.2.7", effect="node7 answers", lasting=(("udev", "192.0.2.7:\n52:54:00:ab:cd:ef"),)
    )
    told = finding(
        summary="node7 loses 1,204 frames to 192.0.2.7.", why="192.0.2.7 is gone.", proof="ping 192.0.2.7", about="192.0.2.7",
        evidence=(place(said, 7, "/home/bob/node7.txt", scope="192.0.2.7"),), remedies=(remedy,),
    )  # fmt: skip
    made = diagnosis(told, missing=(Missing("node7", "192.0.2.7 does not answer"),))
    stack = SampledStack(at=place(said), command="bob-192.0.2.7", tid=7, frames=("call_52:54:00:ab:cd:ef",), samples=1204)
    return replace(made, case=Case([*made.case, stack], made.missing))


def test_nothing_secret_is_left_in_any_report():
    told = redact(secret())
    for report in (text(told), text(told, everything=True, fold=True), json.dumps(document_of(told)), page_of(told)):
        assert not re.search(r"192\.0\.2\.7|52:54:00|8a2f6b0e|node7|\bbob\b", report)
        assert "1,204 frames to ip-1" in report
    assert "/home/user-1/host-1.txt:7" in text(told)
    assert told.case.all(SampledStack)[-1].samples == 1204


def test_facts_that_no_report_draws_leave_only_their_source():
    counters = [
        Counter(at=place(f"rx: {k} 192.0.2.7", k, f"/home/bob/{k % 3}"), group="nic", owner="e", name="rx", value=k)
        for k in range(9)
    ]
    told = redact(replace(diagnosis(), case=Case(counters)))
    assert Counter not in told.case
    assert sources_of(told.case) == 3
    assert "bob" not in repr(list(told.case))


def test_names_of_the_running_host_are_known_beforehand():
    told = redact(diagnosis(finding(summary="borg is slow for alice.")), hosts=["borg.example.org"], users=["alice", "root"])
    assert told.findings[0].summary == "host-1 is slow for user-1."


def test_redaction_leaves_a_diagnosis_without_secrets_as_it_is():
    told = diagnosis(finding(confidence=Confidence.CERTAIN))
    assert redact(told).findings == told.findings
    drawn = [fact for fact in redact(told).case if type(fact) in DRAWN]
    assert sorted(map(repr, drawn)) == sorted(repr(fact) for fact in told.case)


def test_a_live_report_does_not_list_what_is_not_here():
    told = replace(diagnosis(live=True), unasked=tuple(a_rule(f"r{k}", ask=f"ovs-appctl a{k}") for k in range(30)))
    short = " ".join(text(told).split())
    assert "Not asked: 30 questions about what is not here, or takes a closer look (--pid N)" in short
    assert "ovs-appctl a" not in short
    assert "ovs-appctl a29" in text(told, everything=True)
    assert "ovs-appctl a0" in text(replace(told, case=Case([])))
