"""What perf counts and samples of a process: it stops nothing.

Source: perf-record(1), perf-report(1), perf-annotate(1), perf-script(1), perf-stat(1).
"""

import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from pktpath.doctor.collect.notebook import Notebook
from pktpath.doctor.collect.tool import MAX_OUTPUT, Ran, find, package_of, run

FREQUENCY = 199
"""Samples a second of each thread that runs; a prime, so as not to keep step with timers."""
_SLACK = 5.0
"""Seconds that perf may take beyond those that it watches."""
_REPORT = 15.0
"""Seconds to read what was recorded: symbols of large programs take a while."""
_ANNOTATED = 256 << 10
"""Bytes of the listing of the hottest functions; the hottest comes first."""


def perf(book: Notebook, pid: int, seconds: float, hot: Sequence[int]) -> None:
    """Take down counts of the process and of its hot threads, hot symbols, the hottest function and the sampled stacks."""
    what = f"hot symbols and counters of process {pid} (perf)"
    if find("perf") is None:
        book.lacks(what, "perf is not installed", package_of("perf"))
        return
    book.progress(f"perf watches process {pid} for {seconds:g} s ({FREQUENCY} samples a second; nothing is stopped)")
    span = f"{seconds:g}"
    counts = [["perf", "stat", *whom, "sleep", span] for whom in (["-p", str(pid)], *(["-t", str(t)] for t in hot))]
    with tempfile.TemporaryDirectory(prefix="pktpath-doctor-") as folder, ThreadPoolExecutor(len(counts) + 1) as pool:
        record = ["perf", "record", "-q", "-g", "-F", str(FREQUENCY), "-p", str(pid), "-o", "perf.data", "sleep", span]
        recording = pool.submit(run, record, limit=seconds + _SLACK, directory=folder)
        counting = [pool.submit(run, words, limit=seconds + _SLACK, errors_too=True) for words in counts]
        for words, future in zip(counts, counting, strict=True):
            _count(book, words, future.result(), what)
        recorded = recording.result()
        if recorded.why:
            book.lacks(what, _reason(recorded), "run as root, or lower kernel.perf_event_paranoid")
        elif os.path.exists(f"{folder}/perf.data"):  # noqa: PTH110
            _tell(book, folder, what)


def _count(book: Notebook, words: Sequence[str], ran: Ran, what: str) -> None:
    if ran.why:
        book.lacks(what, _reason(ran), "run as root, or lower kernel.perf_event_paranoid")
    else:
        book.keep(" ".join(words), ran.text)


def _reason(ran: Ran) -> str:
    paranoid = "perf_event_paranoid" in ran.text or "perf_event_paranoid" in ran.said or "Permission" in ran.said
    return "perf: not permitted (needs CAP_PERFMON)" if paranoid else ran.why


def _tell(book: Notebook, folder: str, what: str) -> None:
    """Read what was recorded."""
    book.progress("perf looks up symbols")
    tellers: tuple[tuple[list[str], int], ...] = (
        (["perf", "report", "--stdio", "--no-children", "--no-inline", "-g", "none", "-i", "perf.data"], MAX_OUTPUT),
        (["perf", "annotate", "--stdio", "-i", "perf.data"], _ANNOTATED),
        (["perf", "script", "--no-inline", "-i", "perf.data"], MAX_OUTPUT),
    )
    for words, enough in tellers:
        ran = run(words, limit=_REPORT, directory=folder, enough=enough)
        if ran.why:
            book.lacks(f"{what}: {' '.join(words[:2])}", ran.why)
        if ran.text and not ran.failed:
            book.keep(" ".join(words), ran.text)
