"""The engine of the switch, stage for stage as it is compiled, with ports of memory and the real slow path."""

import random
from collections import Counter

import pytest

from pktpath.control.flow_text import parse_flow
from pktpath.jit import JIT_DISABLED
from pktpath.path.live_types import Tally
from pktpath.switch.datapath import Count
from support.memory_switch import LiveSwitch
from support.naive_bytes import NaiveBytes
from support.switch_traffic import random_flows, random_frame

ROUNDS = 3 if JIT_DISABLED else 12
FRAMES = 40 if JIT_DISABLED else 250
GROUPS = (
    "group_id=1,type=all,bucket=output:2,bucket=mod_dl_dst:00:00:00:00:00:09,mod_vlan_vid:3,output:3",
    "group_id=2,type=select,bucket=weight:2,output:2,bucket=weight:1,mod_nw_tos:8,output:3",
)
METERS = ("meter=1,pktps,band=type=drop,rate=1000000",)


def naive_of(switch, flows):
    return NaiveBytes(switch.bridge, [parse_flow(flow, switch.bridge.numbers()) for flow in flows])


def wanted(naive, arrivals):
    """What leaves when these frames come in, in order."""
    found = []
    for number, frame in arrivals:
        try:
            found += naive.frames(number, frame)
        except RecursionError:
            continue  # tables inside of tables: dropped
    return found


def by_port(frames):
    """Frames of each port in their order: ports do not wait for each other."""
    found = {}
    for number, data in frames:
        found.setdefault(number, []).append(data.hex())
    return found


def arrivals(rng, count):
    return [(rng.choice((1, 1, 2, 3, 5)), random_frame(rng)) for _ in range(count)]


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_same_frames_as_the_naive_switch(seed):
    """One after the other, all at once, and again when megaflows and caches know them all."""
    rng = random.Random(seed)
    flows = random_flows(rng)
    with LiveSwitch(flows, groups=GROUPS, meters=METERS, emc_insert_inv_prob=rng.choice((0, 1, 2))) as switch:
        naive = naive_of(switch, flows)
        frames = arrivals(rng, FRAMES)
        for number, frame in frames[: FRAMES // 4]:
            assert by_port(switch.send(number, frame)) == by_port(wanted(naive, [(number, frame)])), (flows, frame.hex())
        expected = wanted(naive, frames)
        # What waits for the slow path comes later.
        assert Counter(switch.send_all(frames)) == Counter(expected), flows
        for number in (1, 2, 3, 5):
            mine = [arrival for arrival in frames if arrival[0] == number]
            assert by_port(switch.send_all(mine)) == by_port(wanted(naive, mine)), flows
        total = switch.check_books()
        assert total[Count.SEEN] == FRAMES // 4 + 2 * FRAMES
        assert total[Count.UPCALLS] < FRAMES + FRAMES // 4 or not expected
        if switch.engine.settings.emc_insert_inv_prob:
            assert switch.tally(Tally.EMC_HITS)
        else:
            assert not switch.tally(Tally.EMC_HITS)
