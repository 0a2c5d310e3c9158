"""The text cases: every rule of inet_lro, against the compiled engine and against its twin."""

import pytest

from pktpath.offload.lro import STATISTICS, lro, make_lro_table
from pktpath.port.memory import load
from support.arrivals import described, told
from support.caseio import Case, read_cases
from support.naive_gro import Arrival
from support.naive_lro import NaiveLro

GROUPS = ("merging", "checks", "limits", "driver")
CASES = [case for group in GROUPS for case in read_cases(f"lro/{group}")]
EACH = pytest.mark.parametrize(
    ("case", "family"), [(c, f) for c in CASES for f in c.families], ids=lambda v: getattr(v, "name", f"v{v}")
)


def assert_case(case: Case, family: int, *, verified: bool = False) -> None:
    """Run a case; `verified` has the checksums looked at beforehand, as a device does."""
    table = make_lro_table(**case.limits)
    outs = []
    for frames in case.polls(family):
        batch = load(frames)
        if verified:
            once = load(frames)
            lro(once)
            batch.ip_summed[:] = once.ip_summed
        outs.append(lro(batch, table))
    frames = [described(out, i) for out in outs for i in range(int(out.used[0]))]
    expected = case.expected("any")
    assert [{name: frame[name] for name in want} for frame, want in zip(frames, expected, strict=True)] == expected
    counted = dict(zip(STATISTICS, map(int, table.statistics), strict=True))
    assert {name: counted[name] for name in case.counters} == case.counters


@pytest.mark.parametrize("verified", [False, True], ids=["software", "device"])
@EACH
def test_case(case: Case, family: int, verified: bool) -> None:
    assert_case(case, family, verified=verified)


@EACH
def test_case_by_the_twin(case: Case, family: int) -> None:
    limits = {name: value for name, value in case.limits.items() if name != "frames"}
    twin, table = NaiveLro(**limits), make_lro_table(**case.limits)
    for frames in case.polls(family):
        for number, frame in enumerate(frames):
            twin.receive(Arrival(frame), number)
        assert told(lro(load(frames), table)) == twin.flush()
    assert list(table.statistics) == [twin.aggregated, twin.flushed, twin.no_desc]
