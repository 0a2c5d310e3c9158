"""The engine and its peers side by side, in one run on one core.

Enters: nothing but how long to measure. Leaves: a list of `Row`. What is timed is the offload
alone, as a peer's is: frames that are parsed already, headers in cache, and whatever readies the
next call outside the time (`switch` is the whole daemon). Peer and pktpath take turns within milliseconds, and each figure is
the median of at least nine turns, so that a busy machine disturbs both alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from pktpath.lab.bench.common import FULL, QUICK, Row, one_core

BENCHES = ("gro", "gso", "checksum", "rss", "receive", "files", "doctor", "switch")

__all__ = ["BENCHES", "measure"]


def measure(
    names: tuple[str, ...],
    *,
    quick: bool = False,
    seconds: float | None = None,
    only: Sequence[str] = (),
    progress: Callable[[int, str], None] = lambda _done, _label: None,
) -> tuple[list[Row], str]:
    """Run these benches; return their rows and who the peer is, or why there is none.

    Args:
        names: some of `BENCHES`.
        quick: a few turns on little traffic: whether it works, not how fast.
        seconds: length of one measurement of `switch`, 1 without.
        only: some of the cases of `switch`, all without.
        progress: called with the number of benches done and what is at work.

    """
    from pktpath.lab.bench import checksum, doctor, files, gro, gso, peer, receive, rss

    whole = {"files": files.rows, "doctor": doctor.rows}
    effort = QUICK if quick else FULL
    rows: list[Row] = []
    alone = tuple(name for name in names if name != "switch")
    if not alone:
        return _switch(len(alone), quick=quick, seconds=seconds, only=only, progress=progress)
    with one_core() as core, peer.started(core) as (dpdk, missing):
        kernels = {"gro": gro.rows, "gso": gso.rows, "checksum": checksum.rows, "rss": rss.rows, "receive": receive.rows}
        for done, name in enumerate(alone):
            progress(done, f"bench {name}")
            rows += whole[name](effort) if name in whole else kernels[name](dpdk, missing, effort)
        about = str(dpdk.about["version"]) if dpdk else missing
    if len(alone) == len(names):
        return rows, about
    from pktpath.lab.bench.switch import refusal

    if why := refusal():
        return [*rows, Row("switch", None, None, "Gbit/s", note=why)], about
    # Forwarders and those who send through them want both cores.
    more, others = _switch(len(alone), quick=quick, seconds=seconds, only=only, progress=progress)
    return rows + more, f"{about}; {others}"


def _switch(
    done: int, *, quick: bool, seconds: float | None, only: Sequence[str], progress: Callable[[int, str], None]
) -> tuple[list[Row], str]:
    from pktpath.lab.bench import switch
    from pktpath.lab.bench.switch_peers import versions

    effort = switch.QUICK if quick else switch.FULL
    if seconds is not None:
        effort = replace(effort, seconds=seconds)
    return switch.rows(effort, lambda what: progress(done, what), only), versions()
