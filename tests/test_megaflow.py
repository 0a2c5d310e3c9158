"""The table of megaflows and the exact-match cache against dictionaries."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pktpath.jit import kernel
from pktpath.switch.actions import Meter, Output
from pktpath.switch.emc import ENTRIES, emc_insert, emc_lookup, make_emc
from pktpath.switch.fields import FIELDS, KEY_WORDS, SHORT_WORDS, key_of, mask_of, words_of
from pktpath.switch.flow_table import FlowTable
from pktpath.switch.megaflow import hash_key, megaflow_lookup


class Turns:
    """A worker's iterations, turned by hand."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        return (self.now,)


@kernel
def look(table, keys, out):
    for k in range(len(keys)):
        out[k], _ = megaflow_lookup(table, keys, k, 0)


@kernel
def cached(emc, flows, keys, words, hashes, out):
    for k in range(len(keys)):
        out[k] = emc_lookup(emc, flows, keys, k, words[k], hashes[k])


@kernel
def enter(emc, flows, keys, words, hashes, flow):
    for k in range(len(keys)):
        emc_insert(emc, flows, keys, k, words[k], hashes[k], flow[k])


@kernel
def hash_all(table, keys, words, out):
    for k in range(len(keys)):
        out[k] = hash_key(table.multipliers, keys, k, words[k])


def rows(keys):
    return np.array([words_of(key) for key in keys], np.uint64)


def looked_up(flows, keys):
    out = np.zeros(len(keys), np.int64)
    look(flows.table, rows(keys), out)
    return out.tolist()


KEYS = st.builds(
    lambda port, src, dst, kind, tun: key_of(in_port=port, nw_src=src, tp_dst=dst, dl_type=kind, tun_id=tun),
    st.integers(0, 3), st.sampled_from([0, 1, 0x0A000001, 0xFFFFFFFF]), st.integers(0, 2), st.sampled_from([0x800, 0x86DD]),
    st.sampled_from([0, 1, 1 << 63]),
)  # fmt: skip
MASKS = st.sets(st.sampled_from(["in_port", "nw_src", "tp_dst", "dl_type", "tun_id"])).map(lambda names: mask_of(*names))


def test_fields_do_not_overlap_and_words_come_back():
    seen = 0
    for field in FIELDS.values():
        assert not seen & field.mask
        seen |= field.mask
    key = random.Random(1).getrandbits(64 * KEY_WORDS)
    assert FlowTable(1, 1, Turns()).key_in(rows([key]), 0) == key
    assert FIELDS["tp_dst"].of(key_of(tp_dst=80)) == 80


@settings(deadline=None)
@given(st.lists(st.tuples(KEYS, MASKS, st.booleans()), max_size=30), st.lists(KEYS, min_size=1, max_size=10))
def test_lookups_agree_with_a_dictionary(changes, asked):
    """Whatever was installed and deleted, and whenever the order was sorted, places used again and tables swept."""
    turns = Turns()
    flows = FlowTable(8, 1, turns)
    twin: dict[tuple[int, int], int] = {}
    for key, mask, keep in changes:
        turns.now += 1
        found = flows.find(key)
        covering = {number for (masked, under), number in twin.items() if key & under == masked}
        assert found in (covering or {-1})
        if covering:
            if not keep:
                flows.delete(found)
                twin = {entry: number for entry, number in twin.items() if number != found}
            continue
        number = flows.install(key, mask, (Output(len(twin)),))
        assert (number is None) == (len(twin) == 8)
        if number is not None:
            twin[key & mask, mask] = number
        flows.sort()
        flows.passed()
    for key, number in zip(asked, looked_up(flows, asked), strict=True):
        assert number in ({found for (masked, mask), found in twin.items() if key & mask == masked} or {-1})
    assert len(flows) == len(twin)


def test_a_row_waits_for_the_workers_before_it_is_used_again():
    turns = Turns()
    flows = FlowTable(1, 1, turns)
    first = flows.install(key_of(in_port=1), mask_of("in_port"), (Output(2),))
    age = int(flows.table.flows[first].age)
    flows.delete(first)
    assert flows.install(key_of(in_port=2), mask_of("in_port"), (Output(3),)) is None
    turns.now += 1
    assert flows.install(key_of(in_port=2), mask_of("in_port"), (Output(3),)) == first
    assert int(flows.table.flows[first].age) == age + 1
    assert looked_up(flows, [key_of(in_port=1), key_of(in_port=2)]) == [-1, first]


def test_many_generations_leave_lookups_short():
    """Places taken away are swept out; the table works after many times its size."""
    turns = Turns()
    flows = FlowTable(16, 1, turns)
    for n in range(500):
        turns.now += 1
        flows.passed()
        number = flows.install(key_of(nw_src=n), mask_of("nw_src"), (Output(1),))
        assert number is not None
        assert flows.find(key_of(nw_src=n)) == number
        if n >= 8:
            flows.delete(flows.find(key_of(nw_src=n - 8)))
    assert looked_up(flows, [key_of(nw_src=n) for n in range(480, 500)]).count(-1) == 12


def test_programs_are_shared_and_change():
    flows = FlowTable(4, 1, Turns())
    one = flows.install(key_of(in_port=1), mask_of("in_port"), (Output(2), Output(3)))
    two = flows.install(key_of(in_port=2), mask_of("in_port"), (Output(2), Output(3)))
    assert flows.table.flows[one].program == flows.table.flows[two].program
    flows.modify(two, (Output(9),))
    program = flows.programs.programs[flows.table.flows[two].program]
    assert (int(program.only_port), flows.flows[two][2]) == (9, (Output(9),))
    # An output and a meter of one number are not one program.
    assert flows.program_of((Meter(9),)) != flows.program_of((Output(9),))


@pytest.mark.parametrize("short", [True, False])
def test_cache_gives_what_was_entered_and_nothing_of_the_dead(short):
    flows = FlowTable(64, 1, Turns())
    rng = random.Random(2)
    names = ["in_port", "nw_src", "tp_dst"] + ([] if short else ["ipv6_src", "nd_target"])
    keys = [key_of(**{name: rng.getrandbits(min(FIELDS[name].bits, 60)) for name in names}) for _ in range(2000)]
    words = np.full(len(keys), SHORT_WORDS if short else KEY_WORDS, np.int64)
    numbers = [flows.install(key_of(in_port=n), mask_of("in_port"), (Output(1),)) for n in range(64)]
    owner = np.array([numbers[n % 64] for n in range(len(keys))], np.int64)
    table, hashes, out = rows(keys), np.zeros(len(keys), np.uint64), np.zeros(len(keys), np.int64)
    hash_all(flows.table, table, words, hashes)
    emc = make_emc(1)
    enter(emc, flows.table.flows, table, words, hashes, owner)
    cached(emc, flows.table.flows, table, words, hashes, out)
    hit = out >= 0
    assert hit.mean() > 0.9
    assert (out[hit] == owner[hit]).all()
    flows.delete(numbers[0])
    cached(emc, flows.table.flows, table, words, hashes, out)
    assert (out != numbers[0]).all()
    other = table.copy()
    other[:, SHORT_WORDS - 1 if short else KEY_WORDS - 4] ^= np.uint64(1)
    cached(emc, flows.table.flows, other, words, hashes, out)
    assert (out == -1).all()


@pytest.mark.parametrize(("inverse", "low", "high"), [(0, 0, 0), (1, 4000, 4096), (4, 800, 1200), (100, 15, 80)])
def test_chance_to_enter(inverse, low, high):
    flows = FlowTable(1, 1, Turns())
    number = flows.install(0, 0, ())
    keys = rows([key_of(nw_src=n) for n in range(4096)])
    words, hashes = np.full(4096, SHORT_WORDS, np.int64), np.zeros(4096, np.uint64)
    hash_all(flows.table, keys, words, hashes)
    emc = make_emc(inverse)
    enter(emc, flows.table.flows, keys, words, hashes, np.full(4096, number, np.int64))
    entered = int((emc.entries.words > 0).sum())
    assert low * 0.8 <= entered <= high
    assert len(emc.entries) == ENTRIES
