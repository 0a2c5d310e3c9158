"""The bench of the Toeplitz hash: its rows, and a peer that computes the same hashes."""

import random

import numpy as np
import pytest

from pktpath.jit import JIT_DISABLED
from pktpath.lab.bench import peer, rss
from pktpath.lab.bench.common import QUICK, one_core
from pktpath.lab.bench.rss import BURST, full_frames, hash_tuples, tuple_length, tuple_view
from pktpath.offload.rss import DEFAULT_KEY, make_rss, rss_hash
from pktpath.offload.rss_key import KEYS
from support.naive_rss import toeplitz

timed = pytest.mark.skipif(JIT_DISABLED, reason="nothing to time without the compiler")


@pytest.fixture(scope="module")
def dpdk():
    with one_core() as core, peer.started(core) as (process, missing):
        if process is None:
            pytest.skip(missing)
        yield process


@timed
def test_rows_without_a_peer():
    rows = rss.rows(None, "none here", QUICK)
    assert len({row.case for row in rows}) == len(rows) == 18
    assert all(row.pktpath > 0 and row.peer is None and row.note == "none here" for row in rows)
    assert [row.case for row in rows if row.goal] == [f"rss IPv{network} frames, beside rte_softrss_be" for network in (4, 6)]


@pytest.mark.peer
@timed
def test_rows_with_the_peer(dpdk):
    rows = rss.rows(dpdk, "", QUICK)
    assert all(row.peer or row.note == "this processor has no GFNI with AVX-512" for row in rows)
    assert all(row.ratio > 0 for row in rows if "softrss" in row.case)


@pytest.mark.parametrize("network", [4, 6])
@pytest.mark.parametrize("spread", [True, False])
def test_frames_and_inputs_have_the_same_hashes(network, spread):
    batch = full_frames(network, spread=spread)
    tuples = np.array(tuple_view(batch, network))
    rss_hash(batch, 0, BURST, make_rss())
    ready = np.zeros(BURST, np.uint32)
    hash_tuples(tuples.reshape(-1), BURST, tuple_length(network), make_rss(), ready)
    expected = [toeplitz(DEFAULT_KEY, row.tobytes()) for row in tuples]
    assert batch.hash[:BURST].tolist() == ready.tolist() == expected
    assert len(set(expected)) == rss.FLOWS


@pytest.mark.peer
@pytest.mark.parametrize("name", sorted(KEYS))
@pytest.mark.parametrize("length", [12, 36])
def test_the_peer_computes_the_same_hashes(dpdk, name, length):
    tuples = np.frombuffer(random.Random(length).randbytes(length * 500), np.uint8).reshape(500, length)
    ours = np.zeros(500, np.uint32)
    hash_tuples(tuples.reshape(-1).copy(), 500, length, make_rss(KEYS[name]), ours)
    gfni = dpdk.load_tuples(tuples, KEYS[name])
    for how in ("softrss", "gfni", "bulk") if gfni else ("softrss",):
        dpdk.ask("rss", how, 3)
        assert dpdk.ask("hashes")["hashes"] == ours.tolist()


@pytest.mark.peer
def test_the_peer_refuses_what_it_cannot(dpdk):
    with pytest.raises(peer.PeerMissingError, match="inputs of 4 to 36 bytes"):
        dpdk.load_tuples(np.zeros((2, 40), np.uint8), DEFAULT_KEY)
    with pytest.raises(peer.PeerMissingError, match="load tuples"):
        dpdk.ask("rss", "softrss", 3)
    with pytest.raises(peer.PeerMissingError, match="a key of whole words"):
        dpdk.load_tuples(np.zeros((2, 36), np.uint8), bytes(36))
