"""What `pktpath doctor explain` says."""

import re
from pathlib import Path

import pytest

import pktpath.doctor
from pktpath.doctor.explain import SECTIONS, explain, findings, topic_named, topics
from pktpath.doctor.rules import all_rules
from pktpath.errors import BadInput

PAGES = sorted((Path(pktpath.doctor.__file__).parent / "topics").glob("*.md"))
NAMES = [page.stem for page in PAGES]
ASKED_FOR = (
    "NAPI", "TSO", "GSO", "UFO", "LRO", "GRO", "RSS", "VXLAN offload", "PMD", "EAGAIN", "EMC", "megaflow masks",
    "stalled-cycles-backend", "USO", "checksum", "interrupts", "coalescing", "affinity", "softnet", "backlog", "budget", "rings",
    "channels", "RPS", "poll-mode driver", "upcall", "revalidator", "hw-offload", "vhost-user", "AF_XDP", "huge pages", "MTU",
    "conntrack", "link", "retransmissions", "stacks", "perf", "ethtool", "[fixed]", "[requested on]", "[not requested]",
)  # fmt: skip
"""Words that people say."""


def test_topics_are_sorted_and_each_has_a_line():
    rows = topics()
    assert [name for name, _ in rows] == NAMES == sorted(NAMES)
    assert len(rows) > 25
    for name, line in rows:
        assert 10 < len(line) < 70, name
        assert not line.endswith("."), name


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_a_topic_has_all_its_parts_in_half_a_page(page):
    text = page.read_text("utf-8")
    lines = text.splitlines()
    assert re.sub(r"[ _]", "-", lines[0].partition(": ")[0]).lower() == f"#-{page.stem}", "the title begins with the name"
    assert lines[1].startswith("aliases: ")
    assert tuple(line.removeprefix("## ") for line in lines if line.startswith("## ")) == SECTIONS
    assert 35 <= len(lines) <= 55
    assert max(map(len, lines)) <= 100
    assert text.isascii()
    assert "\t" not in text
    assert all(line == line.rstrip() for line in lines)
    parts = dict(zip(SECTIONS, re.split(r"^## .*\n", text, flags=re.MULTILINE)[1:], strict=True))
    assert all(part.strip() for part in parts.values())
    picture = parts["On the way"].strip("\n").splitlines()
    assert all(line.startswith("    ") and len(line) <= 90 for line in picture)
    assert any(mark in parts["On the way"] for mark in ("-->", "<--"))
    assert re.search(r"^    \S", parts["See it"], re.MULTILINE), "a command"


@pytest.mark.parametrize("word", ASKED_FOR)
def test_what_people_say_is_a_topic(word):
    assert explain(word).splitlines()[0].partition(": ")[2] in dict(topics()).values()


@pytest.mark.parametrize("name", NAMES)
def test_a_topic_is_found_under_its_name_and_its_aliases(name):
    topic = topic_named(name)
    assert topic is not None
    assert topic.name == name
    for alias in topic.aliases:
        assert topic_named(alias) is topic
        assert explain(f"  {alias.upper().replace('-', ' ')} ") == topic.text


def test_no_two_topics_have_the_same_alias():
    names = [re.sub(r"[_-]", "-", name) for topic in map(topic_named, NAMES) for name in (topic.name, *topic.aliases)]
    assert sorted(names) == sorted(set(names))


def test_no_rule_has_the_name_of_a_topic():
    assert [rule.id for rule in all_rules() if topic_named(rule.id)] == []


@pytest.mark.parametrize("rule", all_rules(), ids=lambda rule: rule.id)
def test_a_rule_is_explained(rule):
    text = explain(rule.id)
    assert text == explain(rule.id.upper().replace("-", "_"))
    assert text.startswith(f"{rule.id}: ")
    words = " ".join(text.split())
    for part in (rule.text, rule.ask, rule.well):
        assert " ".join(part.split()) in words
    assert max(map(len, text.splitlines())) <= 130
    topic = topic_named(rule.topic)
    assert topic is not None, f"{rule.topic}: neither a topic nor an alias of one"
    assert f"pktpath doctor explain {topic.name}" in text
    assert dict(findings())[rule.id] == rule.text.splitlines()[0]


def test_marks_of_markdown_are_not_shown():
    text = explain("tso")
    assert "#" not in text
    assert "aliases" not in text
    assert "\nWhen it hurts\n" in text
    assert text.endswith("\n")


@pytest.mark.parametrize(
    ("name", "near"),
    [("tzo", "tso"), ("large-receive", "large-receive-offload"), ("tso-off-for-want", "tso-off-for-want-of-checksum")],
)
def test_an_unknown_name_is_refused_with_near_ones(name, near):
    with pytest.raises(BadInput, match=rf"^{name}: no such topic; nearest: .*{near}"):
        explain(name)


@pytest.mark.parametrize("name", ["", "  ", "qqqqqqqq", "\x00", "../../etc/passwd", "tso\nlro", "a" * 10_000, "[", "\ud800"])
def test_nonsense_is_refused_in_one_line(name):
    with pytest.raises(BadInput) as caught:
        explain(name)
    message = str(caught.value)
    assert "\n" not in message
    assert "no such topic" in message
    assert len(message) < 300
