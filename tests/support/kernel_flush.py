"""When does the running kernel flush what GRO holds, under `gro_flush_timeout` and `napi_defer_hard_irqs`?

A child process as in `kernel_gro` writes frames to a TAP with threaded NAPI, in one poll for each write, at given times,
and looks at given times what the stack has got so far. Writer and NAPI thread have real-time priority on one CPU: a poll
follows its write at once, and the watchdog's poll its timer.

Which jiffy it is can be seen: CLOCK_MONOTONIC_COARSE goes on when jiffies do. So a round starts at a chosen place in
a jiffy, and the child tells where each write and look really was. A round in which the jiffy changed while a poll ran, or in
which the machine was late, is done again.
"""

import fcntl
import os
import pickle
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from support.kernel_gro import _DEVICE as DEVICE
from support.kernel_gro import _NO_VNET_HDR, KernelGro, Round, _napi_threads, _Tap, _write

_COARSE = 6  # CLOCK_MONOTONIC_COARSE
_SETTLED = 150_000
"""Nanoseconds after which a poll that was asked for is over."""
_LATE = 150_000
"""Nanoseconds: a machine that comes back later from a sleep was taken away, and its timers and threads were late too."""
_TRIES = 60
_SIOCGIFFLAGS = 0x8913


class Asked(NamedTuple):
    """A round: times are nanoseconds after its start."""

    timeout: int
    """gro_flush_timeout, nanoseconds."""
    defer: int
    """napi_defer_hard_irqs."""
    phase: int
    """Nanoseconds from a tick to the start."""
    events: Sequence[tuple[int, Sequence[bytes] | None]]
    """Frames to write, or None to look; in the order of time, a write at least `_SETTLED` before what follows."""


class Answer(NamedTuple):
    """What the kernel did."""

    at: list[tuple[int, int]]
    """(jiffy, nanoseconds since its tick) of each event."""
    seen: list[Round]
    """What the stack got between each look and the one before."""


def jiffy_ns() -> int:
    """Nanoseconds in a jiffy of this kernel."""
    return round(time.clock_getres(_COARSE) * 1e9)


class KernelFlush(KernelGro):
    """The oracle: a context manager around the child process."""

    def __init__(self) -> None:
        paths = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
        self._child = subprocess.Popen(
            [sys.executable, "-c", "from support import kernel_flush; kernel_flush.serve()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=paths,
        )  # fmt: skip
        if self._receive() != "ready":
            message = "the kernel oracle did not start"
            raise RuntimeError(message)

    def ask(self, asked: Asked) -> Answer | None:
        """Return what the kernel did, None where every try was blurred."""
        pickle.dump(asked, self._child.stdin)
        self._child.stdin.flush()
        return self._receive()


class _Flush(_Tap):
    """In the child."""

    def __init__(self) -> None:
        others = _napi_threads()
        super().__init__()
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
        for thread in _napi_threads() - others:
            os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(40))
        self.tick = jiffy_ns()
        self.reader.setblocking(False)

    def ask(self, asked: Asked) -> Answer | None:
        _write(f"/sys/class/net/{DEVICE}/gro_flush_timeout", str(asked.timeout))
        _write(f"/sys/class/net/{DEVICE}/napi_defer_hard_irqs", str(asked.defer))
        for _ in range(_TRIES):
            self.look()
            answer = self.once(asked)
            if answer is not None:
                return answer
            # Let every timer of the round that failed come.
            time.sleep((asked.timeout * (asked.defer + 2) + 2 * self.tick) / 1e9)
        return None

    def once(self, asked: Asked) -> Answer | None:
        coarse = time.clock_gettime_ns(_COARSE)
        while (first := time.clock_gettime_ns(_COARSE)) == coarse:
            pass
        # What the coarse clock says is behind by a part of a jiffy; when it changes is what counts.
        ticked = time.monotonic_ns()
        start = ticked + asked.phase
        at, seen = [], []
        for when, frames in asked.events:
            late = _until(start + when)
            before = time.clock_gettime_ns(_COARSE)
            if frames is None:
                seen.append(self.look())
                now = time.monotonic_ns()
            else:
                for frame in frames:
                    os.write(self.tap, _NO_VNET_HDR + frame)
                now = time.monotonic_ns()
                late = max(late, _until(now + _SETTLED))
                if time.clock_gettime_ns(_COARSE) != before:
                    return None
            jiffy = round((before - first) / self.tick)
            inside = now - ticked - jiffy * self.tick
            if late > _LATE or not 0 <= inside < self.tick:
                return None
            at.append((jiffy, inside))
        return Answer(at, seen)

    def look(self) -> Round:
        got: Round = []
        while True:
            try:
                data = self.reader.recv(1 << 18)
            except BlockingIOError:
                return got
            got.append((struct.unpack("<BBHHHH", data[:10]), data[10:]))


def _until(when: int) -> int:
    """Sleep, and return by how much it became too long."""
    while (left := when - time.monotonic_ns()) > 0:
        time.sleep(left / 1e9)
    return -left


def _is_up() -> bool:
    with socket.socket() as any_socket:
        flags = fcntl.ioctl(any_socket, _SIOCGIFFLAGS, struct.pack("16s24x", DEVICE.encode()))
    return bool(struct.unpack_from("H", flags, 16)[0] & 1)


def serve() -> None:
    """Answer, in the child."""
    kernel = _Flush()
    if not _is_up():
        message = f"{DEVICE} is not up"
        raise RuntimeError(message)
    pickle.dump("ready", sys.stdout.buffer)
    sys.stdout.buffer.flush()
    while True:
        try:
            asked = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(kernel.ask(asked), sys.stdout.buffer)
        sys.stdout.buffer.flush()
