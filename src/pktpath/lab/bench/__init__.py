"""The engine and its peers side by side, in one run on one core.

Enters: nothing but how long to measure. Leaves: a list of `Row`. What is timed is the offload
alone, as a peer's is: frames that are parsed already, headers in cache, and whatever readies the
next call outside the time. Peer and pktpath take turns within milliseconds, and each figure is
the median of at least nine turns, so that a busy machine disturbs both alike.
"""

from collections.abc import Callable

from pktpath.lab.bench.common import FULL, QUICK, Row, one_core

BENCHES = ("gro", "gso", "checksum", "rss", "receive", "files")

__all__ = ["BENCHES", "measure"]


def measure(
    names: tuple[str, ...], *, quick: bool = False, progress: Callable[[int], None] = lambda _done: None
) -> tuple[list[Row], str]:
    """Run these benches; return their rows and who the peer is, or why there is none.

    Args:
        names: some of `BENCHES`.
        quick: a few turns on little traffic: whether it works, not how fast.
        progress: called with the number of benches done.

    """
    from pktpath.lab.bench import checksum, files, gro, gso, peer, receive, rss

    effort = QUICK if quick else FULL
    rows: list[Row] = []
    with one_core() as core, peer.started(core) as (dpdk, missing):
        kernels = {"gro": gro.rows, "gso": gso.rows, "checksum": checksum.rows, "rss": rss.rows, "receive": receive.rows}
        for done, name in enumerate(names):
            progress(done)
            rows += files.rows(effort) if name == "files" else kernels[name](dpdk, missing, effort)
        about = str(dpdk.about["version"]) if dpdk else missing
    return rows, about
