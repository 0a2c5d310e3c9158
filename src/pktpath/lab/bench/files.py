"""Whole processes over a capture in memory, beside `cp` of the same file and the tools that people use.

`coalesce` reads wire frames and writes a pcapng with undo records; `segment` reads that and gives the
capture back. The other tools copy (editcap), or write every checksum anew (tcprewrite, Scapy).
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from pktpath.errors import Refused
from pktpath.lab.bench.common import FULL, Effort, Row, take_turns
from pktpath.lab.bench.traffic import write_capture

_GOAL = 0.5
_TURNS = 5
_STEADY_SHARE = 10
"""The steady rate is that of the bytes between a capture of one tenth and the whole."""
_SCAPY_BYTES = 10_000_000
"""Scapy gets no more than this, and its rate is taken for the whole."""

_SCAPY = """
import sys
from scapy.layers.inet import IP, TCP
from scapy.utils import PcapReader, PcapWriter
with PcapReader(sys.argv[1]) as reader, PcapWriter(sys.argv[2]) as writer:
    for frame in reader:
        del frame[IP].chksum, frame[TCP].chksum
        writer.write(frame)
"""

Command = Callable[[Path, Path], list[str]]


def rows(effort: Effort) -> list[Row]:
    """Measure every case on a capture of `effort.capture_bytes`."""
    shared = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  a name of its own is made there
    with TemporaryDirectory(prefix="pktpath-bench-", dir=shared) as directory:
        return _Files(Path(directory), effort).rows()


@dataclass(frozen=True)
class _Tool:
    """Another program that rewrites captures."""

    name: str
    command: Command
    missing: str
    """What to say where it is not installed, else empty."""
    most: int = 0
    """Largest input in bytes, 0 for any."""


def _tools() -> list[_Tool]:
    def absent(program: str, package: str) -> str:
        return "" if shutil.which(program) else f"peer not installed: apt-get install {package}"

    scapy = [sys.executable, "-c", _SCAPY]
    return [
        _Tool("editcap", lambda i, o: ["editcap", "-F", "pcap", str(i), str(o)], absent("editcap", "wireshark-common")),
        _Tool(
            "tcprewrite --fixcsum",
            lambda i, o: ["tcprewrite", "--fixcsum", f"-i{i}", f"-o{o}"],
            absent("tcprewrite", "tcpreplay"),
        ),
        _Tool(
            "Scapy",
            lambda i, o: [*scapy, str(i), str(o)],
            "" if find_spec("scapy") else "peer not installed: pip install scapy",
            most=_SCAPY_BYTES,
        ),
    ]


class _Files:
    """The captures of one run."""

    def __init__(self, directory: Path, effort: Effort) -> None:
        self._directory, self._effort = directory, effort
        self._turns = min(_TURNS, effort.turns)
        self._wire = directory / "wire.pcap"
        self._merged = directory / "merged.pcapng"
        self._part = {"coalesce": directory / "part.pcap", "segment": directory / "part.pcapng"}
        self._out = directory / "out"
        frames = write_capture(self._wire, effort.capture_bytes)
        write_capture(self._part["coalesce"], effort.capture_bytes // _STEADY_SHARE)
        self._about: dict[str, float] = {"input_bytes": self._wire.stat().st_size, "input_frames": frames}
        _run(_pktpath("coalesce", self._wire, self._merged))
        _run(_pktpath("coalesce", self._part["coalesce"], self._part["segment"]))

    def rows(self) -> list[Row]:
        """Time both ways beside `cp`, and each other tool once."""
        result = []
        for way, source, suffix in (("coalesce", self._wire, ".pcapng"), ("segment", self._merged, ".pcap")):
            size = source.stat().st_size
            ours = partial(self._seconds, partial(_pktpath, way), source, suffix)
            part = partial(self._seconds, partial(_pktpath, way), self._part[way], suffix)
            copy = partial(self._seconds, lambda i, o: ["cp", str(i), str(o)], source, suffix)
            whole, small, copied = take_turns(self._turns, ours, part, copy)
            speed = size / whole.median / 1e6
            more = self._about | {"seconds": whole.median}
            if whole.median > 1.2 * small.median:
                more["steady MB/s"] = (size - self._part[way].stat().st_size) / (whole.median - small.median) / 1e6
            if way == "segment":
                more["identical"] = self._gives_back()
            result.append(
                Row(
                    case=f"files {way}, beside cp",
                    pktpath=speed,
                    peer=size / copied.median / 1e6,
                    unit="MB/s",
                    goal=_GOAL if self._effort.capture_bytes >= FULL.capture_bytes else None,
                    more=more,
                )
            )
            result += [self._beside(way, speed, source, tool) for tool in _tools()]
        return result

    def _beside(self, way: str, speed: float, source: Path, tool: _Tool) -> Row:
        """Compare with one tool, which rewrites the capture of wire frames."""
        case = f"files {way}, beside {tool.name}"
        if tool.missing:
            return Row(case=case, pktpath=speed, peer=None, unit="MB/s", note=tool.missing)
        source, note = self._wire, ""
        if tool.most and source.stat().st_size > tool.most:
            source = self._directory / f"slice-{tool.most}.pcap"
            if not source.exists():
                write_capture(source, tool.most)
            note = f"the peer on {source.stat().st_size / 1e6:.0f} MB only"
        seconds = self._seconds(tool.command, source, ".pcap")
        return Row(case=case, pktpath=speed, peer=source.stat().st_size / seconds / 1e6, unit="MB/s", note=note)

    def _seconds(self, command: Command, source: Path, suffix: str) -> float:
        """Run a command from `source` to a file that is taken away again; return how long it took."""
        target = self._out.with_suffix(suffix)
        words = command(source, target)
        start = time.monotonic()
        _run(words)
        seconds = time.monotonic() - start
        with suppress(FileNotFoundError):
            target.unlink()
        return seconds

    def _gives_back(self) -> bool:
        """Whether `segment` of what `coalesce` made is the capture that it was made of."""
        target = self._out.with_suffix(".pcap")
        _run(_pktpath("segment", self._merged, target))
        same = subprocess.run(["cmp", "--silent", self._wire, target], check=False).returncode == 0
        target.unlink()
        return same


def _pktpath(way: str, source: Path, target: Path) -> list[str]:
    return [sys.executable, "-m", "pktpath", way, "-r", str(source), "-w", str(target)]


def _run(words: list[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"{' '.join(words[:4])} …: {(done.stderr.strip().splitlines() or ['failed'])[-1]}"
        raise Refused(message)
