"""The doctor beside its limits: how fast it reads long transcripts, what a look at this host costs, how soon it answers.

No other program reads these texts, so the peer's column holds the limit that the doctor sets itself.
"""

import random
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from pktpath.lab.bench.common import FULL, Effort, Row, take_turns

_BYTES = 100_000_000
_LEAST_RATE = 50.0
"""MB/s."""
_MOST_LOOK = 2000.0
"""ms of CPU of a look at the host."""
_MOST_START = 150.0
"""ms until the help is there."""
_TURNS = 5
_BLOCK = 1_000_000


def rows(effort: Effort) -> list[Row]:
    """Measure every case on transcripts of 100 MB; of a fiftieth for a quick look."""
    size = _BYTES if effort.capture_bytes >= FULL.capture_bytes else _BYTES // 50
    turns = min(_TURNS, effort.turns)
    result = []
    with TemporaryDirectory(prefix="pktpath-bench-") as directory:
        for name, text in _TRANSCRIPTS.items():
            path = Path(directory) / "transcript.txt"
            _fill(path, text, size)
            result.append(_reading(name, path, turns))
    (start,) = take_turns(max(turns, 3), lambda: 1e3 * _run("--help")[0])
    (look,) = take_turns(min(turns, 3), lambda: 1e3 * _run("--seconds", "1")[1])
    for case, figure, limit in (
        ("doctor --help, until it is there", start.median, _MOST_START),
        ("doctor, CPU of a look at this host", look.median, _MOST_LOOK),
    ):
        result.append(Row(case, figure, limit, "ms", goal=1, note="the peer is the limit"))
    return result


def _reading(name: str, path: Path, turns: int) -> Row:
    size = path.stat().st_size / 1e6
    most = 0

    def seconds() -> float:
        nonlocal most
        elapsed, _, resident = _run("--json", str(path))
        most = max(most, resident)
        return elapsed

    (taken,) = take_turns(turns, seconds)
    more = {"resident MB": most / 1e6, "file MB": size}
    # Where every line is a fact of its own, facts are what takes time.
    goal = None if name == _FACTS else 1
    return Row(
        f"doctor reads {name}", size / taken.median, _LEAST_RATE, "MB/s", goal=goal, more=more, note="the peer is the limit"
    )


_CHILD = """
import sys
from pktpath.cli import main
try:
    main(["doctor", *sys.argv[1:]])
finally:
    sys.stderr.write(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])
"""
"""The doctor, and at its end what memory it had at most: what the kernel tells of a child counts its parent's too."""


def _run(*words: str) -> tuple[float, float, int]:
    """Run the doctor; return seconds, seconds of CPU with all that it starts, and resident bytes at most."""
    begin, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", _CHILD, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    elapsed, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return elapsed, cpu, int(re.findall(rb"\d+", done.stderr)[-1]) * 1024


def _fill(path: Path, text: Callable[[random.Random], Iterator[str]], size: int) -> None:
    lines = text(random.Random(7))  # noqa: S311
    begin, block = next(lines), ""
    while len(block) < _BLOCK:
        block += "".join(islice(lines, 100))
    with path.open("w") as file:
        file.write(begin)
        for _ in range(size // len(block) + 1):
            file.write(block)


# Transcripts, each begun with its prompt


def _strace(rng: random.Random) -> Iterator[str]:
    yield "$ strace -f -p 4100\nstrace: Process 4100 attached with 3 threads\n"
    while True:
        pid, fd = rng.randint(4100, 4102), rng.randint(3, 60)
        yield f"[pid  {pid}] recvmsg({fd}, {{msg_namelen=0}}, MSG_DONTWAIT) = -1 EAGAIN (Resource temporarily unavailable)\n"
        yield f'[pid  {pid}] read({fd}, "\\0", 512)                     = 1\n'


def _perf_script(rng: random.Random) -> Iterator[str]:
    yield "$ perf script -i perf.data\n"
    names = [f"function_{number}" for number in range(60)]
    stacks = [
        "".join(f"\tffffffff{rng.randint(0, 1 << 31):08x} {rng.choice(names)} ([kernel.kallsyms])\n" for _ in range(20))
        for _ in range(400)
    ]
    while True:
        yield f"iperf3 {rng.randint(4100, 4103)} [000] 441995.133575:     250000 cpu-clock:pppH: \n{rng.choice(stacks)}\n"


def _flows(rng: random.Random) -> Iterator[str]:
    yield "$ ovs-appctl dpctl/dump-flows -m\n"
    while True:
        yield (
            f"ufid:{rng.randint(0, 1 << 31):08x}-99e8-4869-be1c-12d3255fcf5a, recirc_id(0),in_port(p2),eth_type(0x0800),"
            f"ipv4(src=10.0.{rng.randint(0, 255)}.{rng.randint(0, 255)},proto=6,frag=no),tcp(dst={rng.randint(1, 65535)}), "
            f"packets:{rng.randint(0, 9999)}, bytes:{rng.randint(0, 999999)}, used:0.5s, flags:S, dp:ovs, actions:p1\n"
        )


def _counters(rng: random.Random) -> Iterator[str]:
    while True:
        rows = "".join(f"     rx_queue_{queue}_packets: {rng.randint(0, 1 << 40)}\n" for queue in range(64))
        yield f"$ ethtool -S eth{rng.randint(0, 9)}\nNIC statistics:\n{rows}\n"


def _prose(rng: random.Random) -> Iterator[str]:
    yield "Yesterday the switch was slow.\n"
    while True:
        yield f"Then I looked at {rng.randint(0, 9999)} more of them: all on, but nothing was to be seen, and so I went home.\n"


_FACTS = "ethtool -S, over and over"
_TRANSCRIPTS = {
    "lines of strace -f": _strace,
    "perf script": _perf_script,
    "dpctl/dump-flows -m": _flows,
    _FACTS: _counters,
    "prose": _prose,
}
