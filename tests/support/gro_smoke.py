"""The core of the GRO tests for a run without the compiler or with bounds checks, in a process of its own."""

import warnings

from pktpath.offload.gro import gro
from pktpath.offload.reason import Reason
from pktpath.offload.rules import RULES
from pktpath.port.memory import load
from support.caseio import read_cases
from support.hostile import hostile_round

warnings.simplefilter("error")
# A checksum adds 64-bit words and means them to wrap.
warnings.filterwarnings("ignore", "overflow encountered in scalar add", module="pktpath.wire.checksum")


def smoke() -> None:
    """Run every case at 6.18 and some hostile rounds at each version."""
    for case in read_cases("gro/selftest") + read_cases("gro/rules"):
        for family in case.families:
            outs = [gro(load(poll), RULES["6.18"]) for poll in case.polls(family)]
            frames = [
                {"len": str(out.payload_len[i]), "segs": str(out.gso_segs[i]), "reason": Reason(out.reason[i]).word}
                for out in outs
                for i in range(int(out.used[0]))
            ]
            for frame, want in zip(frames, case.expected("6.18"), strict=True):
                assert all(frame.get(name, value) == value for name, value in want.items()), case.name
    for seed in range(10):
        for rules in RULES.values():
            frames = [frame[:1514] for frame in hostile_round(seed, 20)]
            for unlimited in (False, True):
                out = gro(load(frames), rules, unlimited=unlimited)
                assert int(out.gso_segs[: out.used[0]].sum()) == len(frames)
