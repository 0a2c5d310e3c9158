"""The DPDK peer: a small C program, compiled when libdpdk is there, that answers one command a line."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SOURCE = Path(__file__).parents[4] / "bench" / "dpdk" / "peer.c"
INSTALL = "peer not installed: apt-get install libdpdk-dev gcc pkg-config"

# Without huge pages, as pktpath's own memory is; nothing of the machine is touched.
_EAL = ("--no-huge", "--no-pci", "--no-telemetry", "--no-shconf", "-m", "256", "--log-level=error")


class PeerMissingError(Exception):
    """The peer cannot be compiled or started; the message says what to install."""


class Peer:
    """A running peer."""

    def __init__(self, program: Path, core: int) -> None:
        self._process = subprocess.Popen(
            [program, "-l", str(core), *_EAL],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.about = self._answer()

    def ask(self, *words: object) -> dict[str, Any]:
        """Send one command and return its answer.

        Raises:
            PeerMissingError: the peer has ended, or does not do this.

        """
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        line = self._process.stdout.readline()
        if not line:
            said = self._process.stderr.read().strip().splitlines()
            message = f"the DPDK peer ended: {said[-1] if said else 'no message'}"
            raise PeerMissingError(message)
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            message = f"the DPDK peer: {answer['error']}"
            raise PeerMissingError(message)
        return answer

    def load(self, frames: NDArray[np.uint8]) -> None:
        """Hand over frames, one a row."""
        with tempfile.NamedTemporaryFile(prefix="pktpath-frames-", dir=_fast_directory()) as file:
            file.write(frames.tobytes())
            file.flush()
            self.ask("load", file.name, frames.shape[1], frames.shape[0])

    def load_tuples(self, tuples: NDArray[np.uint8], key: bytes) -> bool:
        """Hand over inputs of the Toeplitz hash, one a row, and its key; return whether GFNI is there."""
        with tempfile.NamedTemporaryFile(prefix="pktpath-tuples-", dir=_fast_directory()) as file:
            file.write(tuples.tobytes())
            file.flush()
            return bool(self.ask("tuples", file.name, tuples.shape[1], tuples.shape[0], key.hex())["gfni"])

    def close(self) -> None:
        """End the peer."""
        self._process.communicate()


def _fast_directory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  a name of its own is made there


@contextmanager
def started(core: int) -> Iterator[tuple[Peer | None, str]]:
    """Yield the peer running on `core`, or None and why not."""
    try:
        peer = Peer(compiled(), core)
    except PeerMissingError as error:
        yield None, str(error)
        return
    try:
        yield peer, ""
    finally:
        peer.close()


def compiled() -> Path:
    """Return the program, compiled for this machine into the cache unless it is there.

    Raises:
        PeerMissingError: no libdpdk, no compiler, or no source.

    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or shutil.which("pkg-config") is None:
        raise PeerMissingError(INSTALL)
    if not SOURCE.is_file():
        message = "peer not installed: its source, bench/dpdk, comes with the source tree only"
        raise PeerMissingError(message)
    version, flags = _pkg_config("--modversion"), _pkg_config("--cflags", "--libs")
    # DPDK asks for the oldest machine that it runs on; its own loops deserve this one.
    words = [word for word in flags.split() if not word.startswith("-march")]
    options = ["-O3", "-march=native", "-DALLOW_EXPERIMENTAL_API"]
    digest = hashlib.sha256(SOURCE.read_bytes() + " ".join([version, *words, *options]).encode()).hexdigest()[:16]
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pktpath"
    program = base / f"dpdk-peer-{digest}"
    if program.exists():
        return program
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=base) as directory:
        fresh = Path(directory) / "peer"
        made = subprocess.run([compiler, *options, "-o", fresh, SOURCE, *words], capture_output=True, text=True, check=False)
        if made.returncode:
            message = f"peer not compiled: {next((line for line in made.stderr.splitlines() if 'error' in line), 'no message')}"
            raise PeerMissingError(message)
        fresh.rename(program)
    return program


def _pkg_config(*asked: str) -> str:
    answer = subprocess.run(["pkg-config", *asked, "libdpdk"], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise PeerMissingError(INSTALL)
    return answer.stdout.strip()
