"""The core of the LRO tests for a process of its own: without the compiler, with bounds checks, or at guard pages."""

import random
import warnings

from pktpath.batch import FRAMES, make_batch
from pktpath.offload.lro import lro_flush_all, lro_receive, make_lro_table
from pktpath.offload.reason import REASONS, Reason
from pktpath.wire.link import Link
from support.arrivals import batch_of
from support.guard_gro import MOST, SLOTS, Guarded, give_back, mutated
from support.lro_frames import lro_round


def smoke() -> None:
    """Run every case, and some hostile rounds beside the twin."""
    warnings.simplefilter("error")
    # A checksum adds 64-bit words and means them to wrap.
    warnings.filterwarnings("ignore", "overflow encountered in scalar add", module="pktpath.wire.checksum")
    from test_lro import both, random_limits
    from test_lro_cases import CASES, assert_case

    for case in CASES:
        for family in case.families:
            assert_case(case, family)
    for seed in range(16):
        ours, theirs = both(lro_round(seed, 20), random_limits(random.Random(seed)))
        assert ours == theirs
        # Held from one call to the next.
        batch = batch_of(lro_round(seed, 20))
        count = int(batch.used[FRAMES])
        table, out = make_lro_table(), make_batch(batch.pool, count, count)
        lro_receive(batch, 0, count // 2, out, table)
        lro_receive(batch, count // 2, count, out, table)
        lro_flush_all(out, table)
        assert int(out.gso_segs[: out.used[FRAMES]].sum()) == count


def guard(frames: int) -> None:
    """Send at least so many mutated frames through tables of several sizes and print what became of them."""
    rng = random.Random(1)
    guarded = Guarded()
    tables = [make_lro_table(), make_lro_table(1, 2), make_lro_table(64, 1000, 9000)]
    out = make_batch(guarded.batch.pool, SLOTS, SLOTS)
    links = [int(link) for link in Link]
    done = 0
    while done < frames:
        odd = rng.random() < 0.2
        batch = [mutated(rng, arrival.data[:MOST]) for arrival in lro_round(rng.randrange(1 << 30), SLOTS)]
        for table in tables:
            guarded.put(batch, [rng.choice(links) if odd else int(Link.ETHERNET) for _ in batch])
            # A checksum that somebody vouched for opens the way to every rule behind it.
            guarded.batch.ip_summed[:] = rng.choice((0, 1, 1))
            half = rng.randrange(len(batch) + 1)
            lro_receive(guarded.batch, 0, half, out, table)
            lro_receive(guarded.batch, half, len(batch), out, table)
            lro_flush_all(out, table)
            give_back(out)
            done += len(batch)
    counts = sum(table.counts for table in tables)
    print({Reason(reason).word: int(counts[reason]) for reason in range(REASONS) if counts[reason]})
    assert sum(int(table.merged[0]) for table in tables) > frames // 50
