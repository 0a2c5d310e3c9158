"""The text cases, at every rules version, and at 6.18 against the running kernel."""

import numpy as np
import pytest

from pktpath.batch import Batch
from pktpath.offload.gro import gro
from pktpath.offload.rules import RULES
from pktpath.port.memory import load
from support.arrivals import described
from support.caseio import Case, read_cases
from support.kernel_fixture import kernel_gro  # noqa: F401  a fixture
from support.vnet import as_kernel_tells

CASES = read_cases("gro/selftest") + read_cases("gro/rules")
EACH = pytest.mark.parametrize(
    ("case", "family"), [(c, f) for c in CASES for f in c.families], ids=lambda v: getattr(v, "name", f"v{v}")
)
SELFTEST_NAMES = 33


def delivered(case: Case, family: int, version: str, *, verified: bool) -> list[tuple[Batch, int]]:
    """Return what comes out; `verified` has the checksums looked at beforehand, as a device does."""
    outs = []
    for frames in case.polls(family):
        batch = load(frames)
        if verified:
            once = load(frames)
            gro(once, RULES[version])
            batch.ip_summed[:] = once.ip_summed
        outs.append(gro(batch, RULES[version]))
    return [(out, i) for out in outs for i in range(int(out.used[0]))]


@pytest.mark.parametrize("verified", [False, True], ids=["software", "device"])
@pytest.mark.parametrize("version", RULES)
@EACH
def test_case(case: Case, family: int, version: str, verified: bool) -> None:
    frames = [described(*frame) for frame in delivered(case, family, version, verified=verified)]
    expected = case.expected(version)
    assert [{name: frame[name] for name in want} for frame, want in zip(frames, expected, strict=True)] == expected


def test_every_selftest_case_is_there() -> None:
    names = {case.name.removesuffix("_v6") for case in read_cases("gro/selftest")}
    assert len(names) == SELFTEST_NAMES


@pytest.mark.oracle
@EACH
def test_case_against_the_kernel(case: Case, family: int, kernel_gro) -> None:  # noqa: F811
    theirs = [frame for poll in case.polls(family) for frame in kernel_gro.run(poll)]
    batches = [gro(load(poll), RULES["6.18"]) for poll in case.polls(family)]
    ours = [frame for batch in batches for frame in as_kernel_tells(batch)]
    assert ours == theirs


def test_merged_payload_is_not_copied() -> None:
    batch = load(CASES[0].polls(4)[0])
    merged = gro(batch)
    rows = slice(int(merged.frag_first[0]), int(merged.frag_first[0] + merged.frag_count[0]))
    assert list(merged.frag_addr[rows]) == [54, 154 + 54]
    assert list(merged.frag_origin[rows]) == [0, 1]
    assert np.all(merged.frag_chunk[rows] == -1)
    assert merged.head_chunk[0] >= 0
