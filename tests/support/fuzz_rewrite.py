"""Mutated frames that end at a page nobody may touch, through flow keys and every rewrite.

Run as a program, for a touch ends the process: fuzz_rewrite ROUNDS SEED. Prints what was reached.
"""

import random
import sys
from collections import Counter

import numpy as np

from pktpath.batch import CHECKSUM_PARTIAL, FRAMES, make_batch, release
from pktpath.switch.actions import Set, program
from pktpath.switch.fields import KEY_WORDS
from pktpath.switch.flow_key import extract_keys
from pktpath.switch.rewrite import CLONE, INSERT_TAG, rewrite_frame
from support.flow_frames import flow_frame, mutated
from support.fuzz_checksum import COUNT, guarded_pool, place
from support.rewrite_runs import random_action


def main(rounds, seed):
    rng = random.Random(seed)
    pool = guarded_pool()
    batch = make_batch(pool, 2 * COUNT)
    keys, words = np.zeros((2 * COUNT, KEY_WORDS), np.uint64), np.zeros(2 * COUNT, np.int64)
    reached = Counter()
    chunks = int(pool.free_count.sum())
    for _ in range(0, rounds, COUNT):
        frames = [mutated(flow_frame(rng), rng) for _ in range(COUNT)]
        batch.vlan_proto[:] = 0
        batch.gso_size[:] = 0
        place(batch, frames, rng)
        for i in range(COUNT):
            if rng.random() < 0.3:
                batch.vlan_proto[i], batch.vlan_tci[i] = 0x8100, rng.getrandbits(16)
            if rng.random() < 0.2:
                batch.gso_size[i] = 1448
            if rng.random() < 0.2:
                batch.ip_summed[i], batch.csum_start[i] = CHECKSUM_PARTIAL, rng.choice((0, batch.transport_offset[i]))
        extract_keys(batch, keys, words)
        reached.update("short keys" if count < KEY_WORDS else "long keys" for count in words[:COUNT])
        for _ in range(2 * COUNT):
            i = rng.randrange(int(batch.used[FRAMES]))
            reached[outcome(batch, i, random_action(rng))] += 1
        extract_keys(batch, keys, words)
        release(batch)
        assert int(pool.free_count.sum()) == chunks, "a chunk was lost"
    print(dict(reached))


def outcome(batch, i, action):
    """Run an action on a frame and say how it ended."""
    if action == "clone":
        return "clones" if rewrite_frame(batch, i, CLONE, 0, 0, 0) >= 0 else "refused"
    rows = [(INSERT_TAG, 0, 0, 0)] if action == "insert" else [] if isinstance(action, int) else program((action,))
    done = all(rewrite_frame(batch, i, *map(int, row)) for row in rows)
    return ("rewritten" if isinstance(action, Set) else "tagged") if done else "refused"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
