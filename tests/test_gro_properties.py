"""What holds for every round, whatever the rules: no payload is lost, no wrong frame merges, every reason occurs."""

import os
from collections import Counter, defaultdict

import pytest

from pktpath.batch import frame_bytes
from pktpath.features import Feature
from pktpath.offload.flow_hash import flow_hash
from pktpath.offload.gro import DEFAULT_FEATURES, gro
from pktpath.offload.reason import Reason
from pktpath.port.memory import load
from support.craft import Packet
from support.hostile import hostile_round
from support.run_apart import run_apart


def payload_of_flows(batch) -> dict[bytes, bytes]:
    """Return the payload of each TCP flow and direction as delivered."""
    flows: dict[bytes, bytes] = defaultdict(bytes)
    for i in range(int(batch.used[0])):
        start = int(batch.transport_offset[i])
        if batch.protocol[i] == 6 and start:
            data = frame_bytes(batch, i)
            at = int(batch.network_offset[i])
            addresses = data[at + 12 : at + 20] if batch.network[i] == 4 else data[at + 8 : at + 40]
            flows[addresses + data[start : start + 4]] += data[int(batch.payload_offset[i]) :][: int(batch.payload_len[i])]
    return flows


@pytest.mark.parametrize("unlimited", [False, True])
def test_payload_is_conserved(unlimited: bool) -> None:
    for seed in range(200):
        frames = hostile_round(seed)
        out = gro(load(frames), unlimited=unlimited)
        assert int(out.gso_segs[: out.used[0]].sum()) == len(frames)
        before, after = payload_of_flows(load(frames)), payload_of_flows(out)
        assert {flow: Counter(data) for flow, data in before.items()} == {flow: Counter(data) for flow, data in after.items()}


def test_a_bad_checksum_never_merges() -> None:
    for seed in range(100):
        frames = hostile_round(seed)
        size = min(map(len, frames))
        broken = [Packet(payload=bytes([k]) * 50, seq=100 + 50 * k, checksum_error=1 + k).frame() for k in range(5)]
        out = gro(load(frames[:20] + broken + frames[20:]))
        delivered = [frame_bytes(out, i) for i in range(int(out.used[0]))]
        assert all(frame in delivered for frame in broken), size
        bad = [i for i in range(int(out.used[0])) if out.reason[i] == Reason.BAD_CHECKSUM]
        assert all(out.gso_segs[i] == 1 for i in bad)


def test_hash_does_not_decide() -> None:
    """Equal hashes never join two flows; the software hash of a flow is one value."""
    frames = [Packet(sport=port, payload=b"x" * 10, seq=100 + 10 * k).frame() for k in range(2) for port in range(40)]
    batch = load(frames)
    flow_hash(batch, 0, len(frames))
    assert list(batch.hash[:40]) == list(batch.hash[40:80])
    assert len(set(batch.hash[:40].tolist())) == 40
    for value in (0, 7):
        batch = load(frames)
        batch.hash[:] = value
        out = gro(batch, unlimited=True)
        assert [int(segs) for segs in out.gso_segs[: out.used[0]]] == [2] * 40


def udp_train(count: int) -> list[bytes]:
    return [Packet(protocol="udp", payload=b"u" * 10, id=k).frame() for k in range(count)]


def test_every_reason_can_be_reached(capsys) -> None:
    counts: Counter[Reason] = Counter()

    def count(out) -> None:
        counts.update(Reason(int(reason)) for reason in out.reason[: out.used[0]])

    for seed in range(400):
        count(gro(load(hostile_round(seed))))
    pair = [Packet(payload=b"x" * 10, seq=100 + 10 * k).frame() for k in range(2)]
    cut, super_frame, starved = load(pair), load(pair), load(pair)
    cut.wire_len[:] += 1
    cut.shape_flags[:2] |= 64
    super_frame.gso_size[1] = 5
    starved.pool.free_count[:] = 0
    for batch in (cut, super_frame, starved):
        count(gro(batch))
    count(gro(load(udp_train(70))))
    count(gro(load(udp_train(2)), features=DEFAULT_FEATURES & ~Feature.GRO_UDP_FWD))
    count(gro(load(pair), features=Feature.NONE))
    with capsys.disabled():
        print("\n", {reason.word: number for reason, number in sorted(counts.items())})
    assert set(counts) == {reason for reason in Reason if reason < Reason.BAD_FRAGMENT}, "those after are of reassembly"


@pytest.mark.parametrize("switch", ["NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK"])
def test_without_the_compiler_and_with_bounds_checks(switch: str) -> None:
    """The cases and a few hostile rounds, where every index is looked at."""
    run_apart("from support.gro_smoke import smoke; smoke()", switch)


@pytest.mark.fuzz
def test_no_load_outside_a_frame() -> None:
    """Each frame ends at a page that may not be read; a load beyond it kills the child."""
    rounds = os.environ.get("PKTPATH_FUZZ_ROUNDS", "10000")
    run_apart(f"from support.guard_gro import run; run({rounds})")


def test_the_guard_page_guards() -> None:
    with pytest.raises(AssertionError, match="exit -11"):
        run_apart("from support.guard_gro import trip; trip()")
