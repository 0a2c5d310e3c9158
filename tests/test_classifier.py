"""A table against a list: the same rule, and never a bit too few looked at."""

import random
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pktpath.switch.classifier import FEW, Classifier
from pktpath.switch.fields import FIELDS, KEY_BITS, key_of


class Rule(NamedTuple):
    value: int
    mask: int
    priority: int


# Few fields with few values, so that rules meet; whole, prefix and odd masks.
SOME = {
    "in_port": (1, 2), "dl_type": (0x0800, 0x86DD), "dl_dst": (1, 0x010000000000), "nw_proto": (6, 17),
    "nw_src": (0x0A000001, 0x0A000002, 0x0B000001), "nw_dst": (0x0A000001, 0x0A010001, 0xC0A80101), "tp_dst": (80, 81, 443),
    "ipv6_dst": (1, 2, 1 << 127),
}  # fmt: skip


@st.composite
def rules(draw, most=40):
    found = []
    for priority in range(draw(st.integers(0, most))):
        value = mask = 0
        for name in draw(st.sets(st.sampled_from(sorted(SOME)), max_size=3)):
            field = FIELDS[name]
            width = draw(st.sampled_from([field.bits, field.bits, field.bits // 2, field.bits - 1]))
            bits = ((1 << width) - 1) << field.bits - width
            mask |= bits << field.shift
            value |= (draw(st.sampled_from(SOME[name])) & bits) << field.shift
        found.append(Rule(value, mask, priority))
    return draw(st.permutations(found))


keys = st.builds(key_of, **{name: st.sampled_from((*values, 0, values[0] ^ 1)) for name, values in SOME.items()})
anything = st.integers(0, (1 << KEY_BITS) - 1)


def best(rules, key):
    return max((rule for rule in rules if key & rule.mask == rule.value), key=lambda rule: rule.priority, default=None)


def table_of(rules):
    table = Classifier()
    for rule in rules:
        table.add(rule)
    return table


@given(rules(), keys, keys, st.lists(anything, max_size=4), st.integers(0, 1 << 64))
def test_every_key_with_the_bits_looked_at_has_the_same_rule(rules, key, other, wild, before):
    table = table_of(rules)
    before &= key
    found, looked = table.lookup(key, before)
    assert found == best(rules, key)
    assert looked & before == before
    for random_key in (other, *wild, ~key & (1 << KEY_BITS) - 1):
        alike = key & looked | random_key & ~looked
        assert table.lookup(alike, before)[0] == found
        assert best(rules, alike) == found


@given(rules(), st.data())
def test_removal_leaves_no_trace(rules, data):
    table = table_of(rules)
    gone = data.draw(st.sets(st.sampled_from(rules))) if rules else set()
    for rule in gone:
        table.remove(rule)
    left = [rule for rule in rules if rule not in gone]
    assert sorted(table.rules()) == sorted(left)
    assert len(table) == len(left)
    key = data.draw(keys)
    assert table.lookup(key) == table_of(left).lookup(key)
    for rule in rules:
        assert table.find(rule.value, rule.mask, rule.priority) == (None if rule in gone else rule)


@pytest.mark.parametrize("masked", ["nw_dst", "nw_src", "both"])
def test_large_subtables_look_at_prefixes(masked):
    """Above FEW keys both orders of the bits are prefixes; neither may be wrong, nor longer than the first difference asks."""
    draw = random.Random(masked)
    names = ("nw_src", "nw_dst") if masked == "both" else (masked,)
    mask = sum(FIELDS[name].mask for name in names) | FIELDS["dl_type"].mask | FIELDS["nw_proto"].mask
    rules = []
    for priority in range(20 * FEW):
        fields = {name: draw.getrandbits(32) for name in names}
        rules.append(Rule(key_of(dl_type=0x0800, nw_proto=6, **fields) & mask, mask, priority))
    table = table_of(rules)
    for _ in range(300):
        key = key_of(dl_type=0x0800, nw_proto=6, nw_src=draw.getrandbits(32), nw_dst=draw.getrandbits(32))
        found, looked = table.lookup(key, FIELDS["dl_type"].mask)
        assert found is best(rules, key) is None
        assert all((key ^ rule.value) & looked for rule in rules)
        assert (looked & ~FIELDS["dl_type"].mask).bit_count() <= 8 + 16


def test_a_rule_of_another_type_costs_no_bit():
    rule = Rule(key_of(dl_type=0x0806, nw_dst=1), FIELDS["dl_type"].mask | FIELDS["nw_dst"].mask, 1)
    looked = FIELDS["dl_type"].mask
    assert table_of([rule]).lookup(key_of(dl_type=0x0800, nw_dst=2), looked) == (None, looked)


def test_one_bit_tells_a_packet_from_one_rule():
    rule = Rule(key_of(tp_dst=80), FIELDS["tp_dst"].mask, 1)
    _, looked = table_of([rule]).lookup(key_of(tp_dst=81))
    assert looked == key_of(tp_dst=1)


def test_lower_priorities_are_not_looked_at():
    high = Rule(0, 0, 2)
    low = Rule(key_of(tp_dst=80), FIELDS["tp_dst"].mask, 1)
    assert table_of([low, high]).lookup(key_of(tp_dst=80)) == (high, 0)
